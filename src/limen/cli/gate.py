"""`limen gate`: a vendor judged by its contract."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003  click reads the annotation
from typing import Any

import click

from limen.cli.link import call, data_option, json_option, print_json, say, table
from limen.core.errors import Invalid

FORMATS = ("text", "json", "sarif", "oscal", "vsa")
GAP = ["control", "ref", "required", "measured", "state", "owner", "due"]


@click.command()
@click.argument("vendor")
@click.option("--renewal", is_flag=True, help="Decide on renewal: what is overdue then blocks it.")
@click.option("--onboarding", is_flag=True, help="Admit the vendor if it passes: grants to its people wait for that.")
@click.option("--as-of", help="RFC 3339: as far as was known then. Nothing is enforced by such a run.")
@click.option("--contract", "id_", help="Another of the vendor's contracts, by id.")
@click.option("--gap", "as_gap", is_flag=True, help="List required, measured and unknown, control by control.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="text", show_default=True)
@click.option("--dry-run", is_flag=True, help="Enter the run, and enforce nothing.")
@click.option("--replay", type=click.IntRange(min=0), metavar="ENTRY", help="Judge a former run again, and compare every byte.")
@data_option
@json_option
@click.pass_context
def gate(
    ctx: click.Context,
    data: Path,
    vendor: str,
    *,
    as_of: str | None,
    id_: str | None,
    form: str,
    replay: int | None,
    renewal: bool,
    onboarding: bool,
    as_gap: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Judge VENDOR by its contract, and enforce what follows. Every run is an entry.

    Exit codes: 0 pass, 1 fail, 2 invalid, 5 the facts can't be verified, 6 undecided.
    """
    from limen.cli.exposure import microseconds

    if renewal and onboarding:
        raise Invalid("--renewal", "and --onboarding are two questions; ask one")
    if replay is not None:
        answer = call(data, "gate.replay", {"vendor": vendor, "entry": replay})
    else:
        purpose = "renewal" if renewal else "onboarding" if onboarding else "standing"
        args = {"vendor": vendor, "purpose": purpose, "contract": id_, "dry_run": dry_run}
        answer = call(data, "gate", {**args, "as_of_us": microseconds("--as-of", as_of)})
    if as_gap:
        _print_gap(answer, as_json=as_json)
    elif as_json:
        print_json("limen/gate/v1", answer)
    else:
        _print(answer["verdict"], form)
        if form == "text":
            _say_what_followed(answer)
    ctx.exit(answer["exit"])


def _print(verdict: dict[str, Any], form: str) -> None:
    match form:
        case "text":
            from limen.assurance.gate.text import lines

            click.echo("\n".join(lines(verdict)))
        case "json":
            from limen.verify.verdict import canonical

            click.echo(canonical(verdict))  # its digest is that of these bytes, without the last line break
        case "sarif":
            from limen.formats import sarif

            _print_document(sarif.log(verdict))
        case "oscal":
            from limen.formats import oscal

            _print_document(oscal.assessment_results(verdict))
        case _:
            from limen.formats import vsa

            _print_document(vsa.statement(verdict))


def _print_document(value: dict[str, Any]) -> None:
    click.echo(json.dumps(value, ensure_ascii=False, indent=2))


def _print_gap(answer: dict[str, Any], *, as_json: bool) -> None:
    from limen.assurance.gate.gap import gap
    from limen.assurance.profile import definition

    manual = {one["id"]: [each["says"] for each in one.get("manual", ())] for one in definition()["controls"]}
    rows = gap(answer["verdict"], manual)
    if as_json:
        print_json("limen/gate.gap/v1", {"vendor": answer["verdict"]["vendor"], "entry": answer["entry"], "rows": rows})
        return
    shown = [{**row, "due": f"{row['due']} OVERDUE" if row["overdue"] else row["due"]} for row in rows]
    click.echo(table(shown, GAP))
    for row in rows:
        if row["unknown"]:
            say(f"limen: UNKNOWN: {row['ref']}: {row['unknown']}")
    counts = {state: len([row for row in rows if row["state"] == state]) for state in ("met", "breached", "unknown", "manual")}
    say("limen: " + ", ".join(f"{count} {state}" for state, count in counts.items()) + f" (run {answer['entry']})")


def _say_what_followed(answer: dict[str, Any]) -> None:
    if answer.get("same"):
        say(f"limen: run {answer['entry']} judged again: the same, byte for byte; SHA-256 {answer['digest']}")
        if not answer["log_same"]:
            say("limen: the log holds more of that very moment than was judged; the same follows from it")
        return
    say(f"limen: run {answer['entry']}, SHA-256 {answer['digest']}; judge it again with --replay {answer['entry']}")
    for one in answer["followed"]:
        if one["failed"]:
            say(f"limen: NOT DONE: {one['does']}: {one['failed']}")
        else:
            say(f"limen: {one['does']}: {one['because']} (entry {one['entry']})")
    if not answer["binding"]:
        say("limen: nothing was enforced: the run is about the past, or a dry run")
