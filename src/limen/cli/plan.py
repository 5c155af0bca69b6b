"""`limen asset plan`: what a version would carry, before it is registered. Needs no gateway and no data directory.

What else `limen asset` can do is in `limen.cli.catalog`, which begins the group.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from limen.cli.catalog import asset
from limen.cli.link import json_option, print_json, say, table

if TYPE_CHECKING:
    from limen.marks.power import Reach
    from limen.planning import PartPlan, Plan

SHOWN = 40  # lines of parts

__all__ = ["asset"]


@asset.command(name="plan")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--recipients", default=20, show_default=True, help="People who will be granted it.")
@click.option("--vendors", default=1, show_default=True, help="Vendors that they are of.")
@click.option("--alpha", default=1e-9, show_default=True, help="Bound on naming any innocent copy in a case.")
@click.option("--withhold", "--withhold-percent", "withhold", default=0, show_default=True, help="As for `register`.")
@click.option("--pairs", "--pairs-percent", "pairs", default=100, show_default=True, help="As for `register`.")
@click.option("--canaries", type=click.Path(path_type=Path, exists=True), help="As for `register`.")
@json_option
def asset_plan(  # noqa: PLR0917  click passes options by name
    paths: tuple[Path, ...],
    recipients: int,
    vendors: int,
    alpha: float,
    withhold: int,
    pairs: int,
    canaries: Path | None,
    *,
    as_json: bool,
) -> None:
    """Say what copies of these files would carry: slots, who sees what, whom a leak could name. Keeps nothing."""
    from limen.planning import plan
    from limen.registration import Marking, sources_below

    lines = canaries.read_text().splitlines() if canaries else []
    marking = Marking(pairs_percent=pairs, withhold_percent=withhold, canaries=tuple(line for line in lines if line.strip()))
    made = plan(sources_below(list(paths)), marking, recipients=recipients, vendors=vendors, alpha=alpha)
    if as_json:
        print_json("limen/asset-plan/v1", made.to_json())
        return
    for line in text_of(made):
        click.echo(line)
    say(
        "limen: nothing was registered or kept; tiers and levels are drawn by the asset's own key, so figures are means over keys"
    )


def text_of(plan: Plan) -> list[str]:
    """The plan in lines."""
    return [*_parts(plan), "", *_coverage(plan), "", *_power(plan)]


def _parts(plan: Plan) -> list[str]:
    shown = [_row(part) for part in plan.parts[:SHOWN]]
    out = table(shown, ["part", "carrier", "records", "slots", "source bytes", "served bytes"]).splitlines()
    if len(plan.parts) > SHOWN:
        out.append(f"and {len(plan.parts) - SHOWN} parts more (--json lists them)")
    why = [f"{part.path}: {part.why}" for part in plan.parts if part.why]
    out += [f"  {line}" for line in why[:SHOWN]]
    if len(why) > SHOWN:
        out.append(f"  and {len(why) - SHOWN} more that can't be marked")
    return out


def _row(part: PartPlan) -> dict[str, str]:
    numbers = (part.records, part.slots, part.bytes_source, part.bytes_served)
    return dict(
        zip(
            ("part", "carrier", "records", "slots", "source bytes", "served bytes"),
            (part.path, part.carrier, *(f"{number:,}" for number in numbers)),
            strict=True,
        )
    )


def _coverage(plan: Plan) -> list[str]:
    from limen.marks.code import VENDOR_SHARE
    from limen.marks.prepare import LEAST_SLOTS

    records, source, served = (plan.total(name) for name in ("records", "bytes_source", "bytes_served"))
    marked = sum(part.slots > 0 for part in plan.parts)
    vendor = round(plan.slots * VENDOR_SHARE)
    withheld = int(plan.total("withheld_slots"))
    parts = "one part" if len(plan.parts) == 1 else f"{len(plan.parts)} parts"
    out = [f"{parts}, {marked} marked: {plan.slots:,} slots"]
    if plan.slots:
        kinds = f", {withheld:,} of them withheld records" if withheld else ""
        out[0] += f"{kinds}; about {plan.slots - vendor:,} of the person tier, {vendor:,} of the vendor tier"
    elif plan.could:
        more = LEAST_SLOTS - plan.could
        out.append(
            f"CANNOT BE FINGERPRINTED: {plan.could} slots are all it could have, {LEAST_SLOTS} are needed: {more} more would do"
        )
    else:
        out.append(f"CANNOT BE FINGERPRINTED: nothing in it can carry a slot, {LEAST_SLOTS} are needed")
    seen, common = _of(plan.total("mean_records"), records), int(plan.total("common"))
    out.append(f"each recipient sees about {seen} records; {common:,} are everyone's")
    if all(part.mean_bytes is not None for part in plan.parts):
        content = plan.total("mean_bytes")
        out[-1] += f"; about {content:,.0f} bytes of content, {int(plan.total('common_bytes')):,} of them everyone's"
    people = f"{plan.recipients} {'recipient' if plan.recipients == 1 else 'recipients'}"
    firms = f"{plan.vendors} {'vendor' if plan.vendors == 1 else 'vendors'}"
    out.append(f"with {people} of {firms}, about {_of(plan.unseen, records)} records reach nobody")
    padding = sum(part.padding or 0 for part in plan.parts)
    spaces = f", of which about {padding:,.0f} are padding" if all(part.padding is not None for part in plan.parts) else ""
    out.append(f"served: {served:,} bytes to each{spaces}; {served / max(1, source):.0%} of the source's {source:,}")
    return out


def _of(count: float, whole: float) -> str:
    return f"{count:,.0f} of {whole:,.0f} ({count / max(1, whole):.1%})"


def _power(plan: Plan) -> list[str]:
    if not plan.slots:
        return ["nobody could be named by a leak: there are no slots"]
    head = f"who could be named, 99 times in 100, at alpha {plan.alpha:g} a case among {plan.recipients:,} copies:"
    return [head, *(_said(reach) for reach in plan.reach)]


def _said(reach: Reach) -> str:
    match reach.colluders:
        case 0:
            who = "a vendor, whatever its accounts do"
        case 1:
            who = "one leaker"
        case c:
            who = f"one of {c} colluders"
    if reach.leaked is None:
        needs = math.ceil(reach.slots * reach.records / max(1, reach.has))
        return (
            f"  {who:<35} cannot be named: needs {needs:,} leaked records ({reach.slots:,} slots), a copy has {reach.records:,}"
        )
    share = reach.leaked / max(1, reach.records)
    leaked = f"{reach.leaked:,} leaked records of a copy's {reach.records:,} ({share:.0%})"
    return f"  {who:<35} {leaked}, which show {reach.slots:,} slots"
