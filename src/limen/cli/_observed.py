"""How the observed part of an exposure is told in words: beside what is measured, under its own name, never added to it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import click

from limen.cli.link import table

SHOWN: Final = 40  # unknown principals; --json has them all
COLUMNS: Final = ["asset or place", "who", "objects", "reads", "bytes", "denied", "first", "last", "grade"]
WORDS: Final = {"one-of": "one of {}", "vendor": "somebody at {}"}


def tell(observed: dict[str, Any]) -> None:
    """Print the observed part."""
    click.echo()
    click.echo("Observed in other systems' logs (not measured by limen; by those systems' clocks)")
    for source in observed["sources"]:
        skew = f", clock within {source['skew_s']} s" if source["skew_s"] else ""
        for scope in source["scopes"]:
            click.echo(f"  {source['source']} ({source['kind']}{skew}) {scope['scope']}: {_coverage(scope['uncovered'])}")
    if observed["rows"]:
        click.echo()
        click.echo(table([{**_line(row), "who": _who(row)} for row in observed["rows"]], COLUMNS))
    if observed["unknown_principals"]:
        click.echo()
        click.echo("Unknown principals: each may be anybody")
        ranked = sorted(observed["unknown_principals"], key=lambda row: -row["observations"])
        names = [{**_line(row), "who": " ".join(filter(None, (row["principal"], row["session"])))} for row in ranked]
        click.echo(table(names[:SHOWN], COLUMNS))
        if len(names) > SHOWN:
            click.echo(f"… and {len(names) - SHOWN} more rows of them (--json)")
    for noun, count in (("the lab's own", observed["lab"]), ("other vendors", observed["others"])):
        if count["observations"]:
            click.echo(f"left out: {count['observations']} observations of {noun}")
    for line in observed["unknown"]:
        click.echo(f"UNKNOWN: {line}")


def moment(at_us: int) -> str:
    """A time as people read it."""
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _coverage(uncovered: list[list[int]]) -> str:
    gaps = ", ".join(f"{moment(start)} to {moment(end)}" for start, end in uncovered[:3])
    more = f" and {len(uncovered) - 3} more" if len(uncovered) > 3 else ""  # noqa: PLR2004  as many as were named
    return f"NOT COVERED {gaps}{more}" if uncovered else "covered"


def _line(row: dict[str, Any]) -> dict[str, Any]:
    untold = f" and {row['bytes_untold']} reads of unknown size" if row["bytes_untold"] else ""
    times = {"first": moment(row["first_us"]), "last": moment(row["last_us"])}
    return {**row, **times, "asset or place": row["asset"] or row["place"], "bytes": f"{row['bytes']}{untold}"}


def _who(row: dict[str, Any]) -> str:
    names = ", ".join(row["people"] or row["vendors"])
    return WORDS.get(row["who"], "{}").format(names)
