"""`limen drop`: what came back: scored against gold items, released to training without canaries, checked for any."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from limen.cli import PARTLY_DONE
from limen.cli.exposure import microseconds
from limen.cli.link import call, data_option, json_option, print_json, say, table
from limen.core.errors import Invalid

COLUMNS = ["who", "vendor", "served", "returned", "right", "n", "accuracy", "95 %", "not_returned", "unanswered"]
SHOWN = 20
FOUND = 5


@click.group()
def drop() -> None:
    """Returned work: how good it is, and what of it may go on to training."""


@drop.command()
@click.argument("box")
@click.option("--person", help="One person alone: VENDOR/HANDLE, or a pseudonym.")
@click.option("--since", help="RFC 3339: only gold items that were first handed over since then.")
@click.option("--field", "answer", help="The returned rows' field with the answer, if it isn't called as in the gold items.")
@data_option
@json_option
def quality(data: Path, box: str, person: str | None, since: str | None, answer: str | None, *, as_json: bool) -> None:
    """Score what people returned into BOX against the gold items that were theirs. The table is secret."""
    args = {"box": box, "person": person, "since_us": microseconds("--since", since), "answer": answer}
    report = call(data, "drop.quality", args)
    if as_json:
        print_json(report.pop("schema"), report)
        return
    total = report["all"]
    if not report["people"]:
        click.echo(f"{box}: nobody was handed a gold item, or returned one")
    else:
        click.echo(table([_row(line) for line in [*report["people"], {**total, "who": "all", "vendor": None}]], COLUMNS))
    for line in report["people"]:
        for name, text in _ASIDE.items():
            if line[name]:
                click.echo(f"{line['who']}: {line[name]} {text}")
    for one in report["unread"][:SHOWN]:
        click.echo(f"NOT READ: {one['path']} of {one['who']}: {one['why']}")
    for gap in report["unknown"]:
        click.echo(f"UNKNOWN: {gap}")
    say(f"limen: intervals are exact ({report['interval']}, {report['confidence']:.0%}); n is what was answered")
    for note in report["notes"]:
        say(f"limen: {note}")


_ASIDE = {
    "answered_again": "answers took the place of earlier ones; the newest counts",
    "returned_unserved": "items came back that the ledger does not show as handed over; they don't count",
    "of_others": "rows show items made for somebody else; they don't count",
    "unclear": "items have other answers in other versions; they don't count",
}


def _row(line: dict[str, Any]) -> dict[str, Any]:
    share = "" if line["accuracy"] is None else f"{line['accuracy']:.2f}"
    return {**line, "accuracy": share, "95 %": f"{line['low']:.2f}-{line['high']:.2f}" if line["n"] else "cannot say"}


@drop.command()
@click.argument("box")
@click.option(
    "--as", "asset", required=True, metavar="ASSET", help="The asset whose next version it becomes: what training reads."
)
@data_option
@json_option
def release(data: Path, box: str, asset: str, *, as_json: bool) -> None:
    """Register what was returned into BOX as the next version of ASSET, without a row that shows anybody's canary."""
    found = call(data, "drop.release", {"box": box, "asset": asset})
    if as_json:
        print_json(found.pop("schema"), found)
    else:
        by: dict[str, int] = {}
        for one in found["objects"]:
            for name, count in one["stripped"].items():
                by[name] = by.get(name, 0) + count
        known = f" ({', '.join(f'{count} by {name}' for name, count in sorted(by.items()))})" if by else ""
        released = found["counted"] - found["left_out"]
        click.echo(
            f"{asset} version {found['version']}: {released} of {found['counted']} objects of {box} (entry {found['entry']})"
        )
        click.echo(f"  rows in {found['rows']}, stripped {found['stripped']}{known}, out {found['out']}")
        click.echo(f"  looked for {found['canaries']} canaries; what is left shows 0 of them")
        click.echo(f"  in  sha256:{found['digest_in']}")
        click.echo(f"  out sha256:{found['digest_out']}")
        for one in [one for one in found["objects"] if one["why"]][:SHOWN]:
            click.echo(f"NOT RELEASED: {one['path']} of {one['writer']}: {one['why']}")
        _warn(found["faint"])
    if found["left_out"]:
        sys.exit(PARTLY_DONE)


@drop.command()
@click.argument("asset", required=False)
@click.option("--path", "paths", multiple=True, type=click.Path(path_type=Path), help="Look here instead of in an asset.")
@data_option
@json_option
def check(data: Path, asset: str | None, paths: tuple[Path, ...], *, as_json: bool) -> None:
    """Look for anybody's canaries in ASSET's newest version, or in files. Exits 5 if there are any, 6 if it can't say."""
    if (asset is None) == (not paths):
        raise Invalid("ASSET", "name an asset, or files with --path, one of the two")
    found = call(data, "drop.check", {"asset": asset, "paths": [str(path.resolve()) for path in paths]})
    if as_json:
        print_json(found.pop("schema"), found)
    else:
        what = f"{asset} version {found['version']}" if asset else f"{found['objects']} files"
        count = sum(one["rows"] for one in found["shown"])
        click.echo(f"{what}: {count} of {found['rows']} rows show a canary ({found['canaries']} canaries looked for)")
        for one in found["shown"][:SHOWN]:
            click.echo(f"  {one['path']}: {one['rows']} rows")
        for one in found["unread"][:SHOWN]:
            click.echo(f"CANNOT SAY: {one['path']}: {one['why']}")
        _warn(found["faint"])
    if found["shown"]:
        sys.exit(FOUND)
    if found["unread"]:
        sys.exit(PARTLY_DONE)


def _warn(faint: int) -> None:
    say("limen: a paraphrase that keeps neither id nor half of the letters is not recognised, nor what was encoded")
    if faint:
        say(f"limen: {faint} canaries have neither an id nor a text of their own: where they came back, nobody can say")
