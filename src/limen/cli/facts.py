"""`limen fact`: what is known of a vendor in figures; papers about it; disputes."""

from __future__ import annotations

import sys
from pathlib import Path  # noqa: TC003  click reads the annotation's value
from typing import Any

import click

from limen.cli._papers import document_option, put, reason_option, tell
from limen.cli.exposure import microseconds
from limen.cli.link import call, data_option, json_option, print_json, say, table
from limen.core.errors import Invalid

_COLUMNS = ["from", "measure", "grade", "value", "at", "entries", "note"]
_SUMMED = ["measure", "grade", "facts", "disputed", "samples", "newest", "worst", "at", "entries"]
_SHOWN = 3
_UNITS = (
    ("d", 86_400_000_000, "h", 3_600_000_000),
    ("h", 3_600_000_000, "min", 60_000_000),
    ("min", 60_000_000, "s", 1_000_000),
)


# --- facts


@click.group()
def fact() -> None:
    """Measures of a vendor, each with its grade, its days and the entries that show it."""


@fact.command()
@data_option
@json_option
def measures(data: Path, *, as_json: bool) -> None:
    """List the measures that there are: the closed table."""
    rows = call(data, "fact.measures", {})
    if as_json:
        print_json("limen/fact.measures/v1", {"measures": rows})
        return
    click.echo(table(rows, ["measure", "kind", "unit", "shape", "grade", "control"]))
    click.echo()
    for row in rows:
        click.echo(f"{row['measure']}: {row['sentence']}")


@fact.command()
@click.argument("vendor")
@click.option("--as-of", metavar="TIME", help="What was known then (RFC 3339). Default: now.")
@click.option("--from", "since", metavar="TIME", help="The first day. Default: that on which the vendor was entered.")
@data_option
def show(data: Path, vendor: str, as_of: str | None, since: str | None) -> None:
    """Write the facts document of a VENDOR: canonical JSON, the same bytes for the same log and the same time."""
    from limen.core.events import canonical

    document = call(data, "fact.document", _asked(vendor, as_of, since))
    sys.stdout.buffer.write(canonical(document) + b"\n")


@fact.command(name="list")
@click.argument("vendor")
@click.option("--measure", multiple=True, help="Every sample of this one; may be given again. Default: a line for each measure.")
@click.option("--as-of", metavar="TIME", help="What was known then (RFC 3339). Default: now.")
@click.option("--from", "since", metavar="TIME", help="The first day. Default: that on which the vendor was entered.")
@data_option
@json_option
def list_(data: Path, vendor: str, *, measure: tuple[str, ...], as_of: str | None, since: str | None, as_json: bool) -> None:
    """List what is known of a VENDOR: by measure, or sample by sample; and on which days nobody can say."""
    document = call(data, "fact.document", _asked(vendor, as_of, since))
    if unknown := [name for name in measure if name not in document["census"]]:
        raise Invalid("--measure", f"{unknown[0]!r} is none; `limen fact measures` lists them")
    wanted = set(measure) or set(document["census"])
    facts = [one for one in document["facts"] if one["measure"] in wanted]
    gaps = [one for one in document["unknown"] if one["measure"] in wanted]
    if as_json:
        print_json("limen/fact.list/v1", {**document, "facts": facts, "unknown": gaps})
        return
    click.echo(
        f"Facts of {vendor} as of {document['as_of']}; ledger {document['log']['origin']}, {document['log']['size']} entries"
    )
    click.echo()
    if measure:
        click.echo(table([row for one in facts for row in _rows(one)], _COLUMNS))
    else:
        click.echo(table(_summary(facts), _SUMMED))
    click.echo()
    for gap in gaps:
        click.echo(f"UNKNOWN: {gap['measure']} from {gap['from']} to {gap['to']}: {gap['why']}")
    for one in document["contradictions"]:
        said, counted = (
            f"{row['measure']} {{}} {value_text(row['value'], row['measure'])} (entries {_list(row['entries'])})"
            for row in (one["declared"], one["measured"])
        )
        click.echo(f"CONTRADICTION: {said.format('says')}; {counted.format('was')} at {one['measured']['at']}")


@fact.command()
@click.argument("vendor")
@click.argument("stated", nargs=-1, required=True, metavar="MEASURE=VALUE...")
@click.option("--from", "since", required=True, metavar="TIME", help="From when it speaks: the start of its period or validity.")
@click.option("--to", "until", metavar="TIME", help="Until when (exclusive). Default: open.")
@click.option("--dated", metavar="TIME", help="From when its age counts. Default: the period's end for SOC 2, else --from.")
@click.option("--source", required=True, help="Who says so: the auditor, the insurer, the questionnaire.")
@click.option("--note", default="", help="Its scope, in a line.")
@click.option("--replaces", type=int, metavar="ENTRY", help="The entry that counts no more from now on.")
@document_option
@data_option
@json_option
def add(
    data: Path,
    vendor: str,
    *,
    stated: tuple[str, ...],
    since: str,
    until: str | None,
    dated: str | None,
    source: str,
    note: str,
    replaces: int | None,
    document: Path | None,
    as_json: bool,
) -> None:
    """File a paper about a VENDOR, or its own word: `soc2_report=2`, `insurance=5000000.00`, `declared.mfa=yes`."""
    from limen.assurance.facts.stating import typed

    facts = []
    for one in stated:
        name, equals, text = one.partition("=")
        if not equals:
            raise Invalid(name, "say its value, as MEASURE=VALUE")
        facts.append({"measure": name, "value": typed(name, text)})
    soc2 = any(one["measure"] in {"soc2_report", "soc2_exceptions"} for one in facts)
    args = {
        "vendor": vendor,
        "facts": facts,
        "from_us": microseconds("--from", since),
        "to_us": microseconds("--to", until),
        "of_us": microseconds("--dated", dated or (until if soc2 else None)),
        "source": source,
        "note": note,
        "replaces": replaces,
    }
    answer = call(data, "fact.add", {**args, **put(data, document)})
    tell("limen/fact.add/v1", answer, f"{vendor}: {', '.join(stated)}", as_json=as_json)
    if document is None and not as_json and any(not one["measure"].startswith("declared.") for one in facts):
        say("limen: without the document it counts as declared; file it again with --document and --replaces")


@fact.command()
@click.argument("vendor")
@click.argument("measure")
@click.option("--from", "since", required=True, metavar="TIME", help="The first day that is disputed.")
@click.option("--to", "until", metavar="TIME", help="The first day that is not any more. Default: open.")
@reason_option
@data_option
@json_option
def dispute(data: Path, vendor: str, *, measure: str, since: str, until: str | None, reason: str, as_json: bool) -> None:
    """Set a MEASURE of a VENDOR aside for some days, until the dispute is settled."""
    args = {"from_us": microseconds("--from", since), "to_us": microseconds("--to", until), "reason": reason}
    answer = call(data, "fact.dispute", {"vendor": vendor, "measure": measure, **args})
    tell("limen/fact.dispute/v1", answer, f"{vendor}: {measure} is set aside until the dispute is settled", as_json=as_json)


@fact.command()
@click.argument("entry", type=int)
@click.option("--outcome", required=True, type=click.Choice(["stands", "upheld"]), help="For the lab, or for the vendor.")
@reason_option
@data_option
@json_option
def settle(data: Path, entry: int, outcome: str, reason: str, *, as_json: bool) -> None:
    """Settle the dispute of an ENTRY: the facts stand, or the vendor is upheld and they never count."""
    answer = call(data, "fact.settle", {"dispute": entry, "outcome": outcome, "reason": reason})
    word = "the facts count again" if outcome == "stands" else "the facts never count"
    tell("limen/fact.settle/v1", answer, f"dispute {entry}: {word}", as_json=as_json)


# --- words


def value_text(value: Any, measure: str = "") -> str:
    """A value as a person reads it; a duration in units of time."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return f"{value[0]}/{value[1]}"
    return duration(value) if measure.endswith("_us") else str(value)


def duration(us: int) -> str:
    """Microseconds in the largest two units that fit, cut off below."""
    for unit, length, next_unit, next_length in _UNITS:
        if us >= length:
            return f"{us // length} {unit} {us % length // next_length} {next_unit}"
    return f"{us // 1_000_000}.{us % 1_000_000 // 1_000:03} s"


def _summary(facts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A line for each measure of which there is any fact: how many, how it is known, the newest sample and the worst."""
    by_measure: dict[str, list[dict[str, Any]]] = {}
    for one in facts:
        by_measure.setdefault(one["measure"], []).append(one)
    rows = []
    for name, mine in by_measure.items():
        samples = [sample for one in mine for sample in one["samples"]]
        worst = worst_of(name, samples)
        grades = dict.fromkeys(one["grade"] for one in mine)
        rows.append(
            {
                "measure": name,
                "grade": ", ".join(grades),
                "facts": len(mine),
                "disputed": sum(1 for one in mine if one["disputed"]) or None,
                "samples": len(samples),
                "newest": value_text(samples[-1]["value"], name) if samples else "-",
                "worst": value_text(worst["value"], name) if worst else "-",
                "at": worst["at"] if worst else "",
                "entries": _list(worst["entries"]) if worst else "",
            }
        )
    return rows


def worst_of(measure: str, samples: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The worst sample of a measure, the first of several; None of none."""
    from decimal import Decimal
    from fractions import Fraction

    from limen.assurance.measures import MEASURES

    def size(sample: dict[str, Any]) -> Fraction:
        value = sample["value"]
        return Fraction(*value) if isinstance(value, list) else Fraction(Decimal(value))

    if not samples:
        return None
    return max(samples, key=size) if MEASURES[measure].worse == "more" else min(samples, key=size)


def _rows(one: dict[str, Any]) -> list[dict[str, Any]]:
    common = {"from": one["from"], "measure": one["measure"], "grade": one["grade"] + (" (disputed)" if one["disputed"] else "")}
    if not one["samples"]:
        return [{**common, "value": "-", "note": "nothing"}]
    return [
        {
            **common,
            "value": value_text(sample["value"], one["measure"]),
            "at": sample["at"],
            "entries": _list(sample["entries"]),
            "note": sample.get("note", ""),
        }
        for sample in one["samples"]
    ]


def _list(entries: list[int]) -> str:
    return ", ".join(map(str, entries[:_SHOWN])) + (", …" if len(entries) > _SHOWN else "")


def _asked(vendor: str, as_of: str | None, since: str | None) -> dict[str, Any]:
    return {"vendor": vendor, "as_of_us": microseconds("--as-of", as_of), "from_us": microseconds("--from", since)}
