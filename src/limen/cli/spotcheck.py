"""`limen spotcheck`: random audits of a vendor that neither side can steer, and that anybody can compute again."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003  click reads the annotation's value

import click

from limen.cli.link import call, data_option, json_option, print_json, say, table

_COLUMNS = ["commit", "vendor", "entries", "ask", "draw", "result", "drawn", "passed"]


@click.group()
def spotcheck() -> None:
    """Random audits: committed to, drawn, and what was found, each an entry of the log."""


@spotcheck.command()
@click.argument("vendor")
@click.option("--people", type=click.IntRange(min=0), default=0, help="How many people to draw.")
@click.option("--accesses", type=click.IntRange(min=0), default=0, help="How many accesses to draw.")
@click.option("--rotations", type=click.IntRange(min=0), default=0, help="How many rotations to draw.")
@click.option("--nonce-digest", "nonce", help="SHA-256 of 32 bytes that only the vendor knows (`spotcheck.py nonce`).")
@click.option("--witness", help="Or: the key of the witness whose cosignature is the chance (vkey).")
@click.option("--start", type=click.IntRange(min=0), help="First entry to draw from (default: where the last audit ended).")
@data_option
@json_option
def commit(
    data: Path,
    vendor: str,
    people: int,
    accesses: int,
    rotations: int,
    *,
    nonce: str | None,
    witness: str | None,
    start: int | None,
    as_json: bool,
) -> None:
    """Fix what an audit of VENDOR draws from, before anybody can know what will be drawn."""
    args = {"vendor": vendor, "people": people, "accesses": accesses, "rotations": rotations}
    found = call(data, "spotcheck.commit", {**args, "nonce": nonce, "witness": witness, "start": start})
    if as_json:
        print_json("limen/spotcheck.commit/v1", found)
        return
    click.echo(f"entry {found['entry']}: {vendor}, entries {found['start']} to {found['end'] - 1}")
    for name, (count, _) in found["population"].items():
        click.echo(f"  {found['ask'][name]} of {count} {name}")
    whose = "ask the vendor for its bytes" if nonce else "wait for the witness"
    say(f"limen: {whose}, then: limen spotcheck draw {found['entry']}{' --nonce HEX' if nonce else ''}")


@spotcheck.command()
@click.argument("commit", metavar="COMMIT", type=click.IntRange(min=0))
@click.option("--nonce", help="The vendor's 32 bytes in hex, if the chance is the vendor's.")
@data_option
@json_option
def draw(data: Path, commit: int, nonce: str | None, *, as_json: bool) -> None:
    """Draw what entry COMMIT committed to. It is drawn once."""
    found = call(data, "spotcheck.draw", {"commit": commit, "nonce": nonce})
    if as_json:
        print_json("limen/spotcheck.draw/v1", found)
        return
    click.echo(f"entry {found['entry']}: drawn for the audit of {found['vendor']} that entry {commit} committed to")
    for name, items in found["drawn"].items():
        for item in items:
            click.echo(f"  {name}:{item}")
    say("limen: look at each, then: limen spotcheck result DRAW [--failed ITEM]")


@spotcheck.command()
@click.argument("draw", metavar="DRAW", required=False, type=click.IntRange(min=0))
@click.option("--failed", multiple=True, metavar="ITEM", help="An item that did not hold, as `draw` prints it; again for more.")
@click.option(
    "--refused", type=click.IntRange(min=0), metavar="COMMIT", help="The vendor did not tell its bytes for this commit."
)
@click.option("--note", default="", help="What was found, in words; kept sealed beside the entry.")
@data_option
@json_option
def result(data: Path, draw: int | None, *, failed: tuple[str, ...], refused: int | None, note: str, as_json: bool) -> None:
    """Enter what the audit of entry DRAW found. A refusal counts as failed altogether."""
    if (draw is None) == (refused is None):
        raise click.UsageError("give DRAW, or --refused COMMIT")
    found = call(data, "spotcheck.result", {"draw": draw, "failed": list(failed), "refused": refused, "note": note})
    if as_json:
        print_json("limen/spotcheck.result/v1", found)
        return
    click.echo(f"entry {found['entry']}: {found['passed']} of {found['drawn']} passed")


@spotcheck.command(name="list")
@click.argument("vendor", required=False)
@data_option
@json_option
def list_(data: Path, vendor: str | None, *, as_json: bool) -> None:
    """List audits. One that was committed to and never drawn is open, and shows."""
    found = call(data, "spotcheck.list", {"vendor": vendor})
    if as_json:
        print_json("limen/spotcheck.list/v1", {"audits": found})
        return
    rows = [{**row, "entries": "{}-{}".format(*row["entries"]), "ask": "/".join(map(str, row["ask"].values()))} for row in found]
    click.echo(table(rows, _COLUMNS))


@spotcheck.command()
@click.argument("draw", metavar="DRAW", type=click.IntRange(min=0))
@click.option("--log", "place", type=click.Path(), help="A published log as a directory (default: that of --data).")
@click.option("--vkey", help="The log's key, or a file that holds it (default: the one beside the log, which shows damage only).")
@data_option
def verify(data: Path, draw: int, place: str | None, *, vkey: str | None) -> None:
    """Compute a draw again from the published log, as the vendor can with spotcheck.py. Exit code 5: not as promised."""
    from limen.verify.evidence import given
    from limen.verify.spotcheck import main

    where = place or str(data / "log")
    key = given(vkey or f"{where}/vkey")
    raise click.exceptions.Exit(main(["check", where, "--log", key, "--draw", str(draw)]))
