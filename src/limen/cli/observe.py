"""`limen observe`: what other systems logged, imported as observations. Reading runs here; the gateway only commits.

The words of docs/observe.md: grade *observed*, covered intervals, holes, and *cannot say* for everything else.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from limen.cli import PARTLY_DONE
from limen.cli.link import call, data_option, json_option, print_json, say, table
from limen.core.errors import Conflict, Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from limen.core.intervals import Intervals
    from limen.observe.depot import Depot
    from limen.observe.manifest import Manifest
    from limen.observe.reader import Reader

KINDS: Final = ("cloudtrail", "s3access", "github", "vault", "generic")
TRIES: Final = 20
SHOWN: Final = 10
EVERY_S: Final = 0.1


@click.group()
def observe() -> None:
    """Import what other systems logged, and see what the imports cover. Nothing here is ever a ledger access."""


@observe.command(name="import")
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("paths", nargs=-1, required=True, metavar="PATH…")
@click.option("--source", required=True, help="Your name of where these logs come from, such as `trail-eu`.")
@click.option("--scope", "scopes", multiple=True, help="A bucket, organisation or mount that this source logs in full.")
@click.option("--covers", metavar="FROM/TO", help="Your word that the source is complete between two RFC 3339 times.")
@click.option("--gap", "gap_s", type=int, help="Seconds without any event after which it is unknown whether the log lived.")
@click.option("--skew", "skew_s", type=int, default=0, show_default=True, help="Seconds by which its clock may be wrong.")
@click.option("--map", "mapping", type=click.Path(path_type=Path), help="How a generic log reads, in TOML.")
@click.option("--dry-run", is_flag=True, help="Read, and say what an import would do.")
@data_option
@json_option
def import_(  # noqa: PLR0917  click passes options by name
    data: Path,
    kind: str,
    paths: tuple[str, ...],
    source: str,
    scopes: tuple[str, ...],
    covers: str | None,
    gap_s: int | None,
    skew_s: int,
    mapping: Path | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Import logs: files, directories, s3://BUCKET/PREFIX; plain or gzip. Importing the same again changes nothing.

    Exit code 6: some of it could not be read. What could be, was imported, and the rest is named.
    """
    from limen.observe.importing import Order
    from limen.observe.kinds import reader_of

    reader = reader_of(kind, mapping)
    told = _interval(covers) if covers else None
    if told and told.spans[-1][1] > time.time_ns() // 1000:
        raise Invalid("--covers", "ends in the future, of which nobody has a log")
    options = {"map": mapping.read_text()} if mapping else {}
    order = Order(source=source, scopes=scopes, told=told, gap_s=gap_s, skew_s=skew_s, options=options)
    if not (data / "ledger.db").exists():
        raise Invalid("--data", f"{data} is not a data directory; make one with `limen init {data}`")
    manifest, entry = _imported(data, reader, paths, order, dry_run=dry_run)
    answer = {"entry": entry, "dry_run": dry_run, **_answer(manifest)}
    if as_json:
        print_json("limen/observe-import/v1", answer)
    else:
        _tell(manifest, entry, dry_run=dry_run)
    if manifest.bad_count or any(given.damaged for given in manifest.inputs):
        sys.exit(PARTLY_DONE)


def _imported(data: Path, reader: Reader, paths: tuple[str, ...], order: Any, *, dry_run: bool) -> tuple[Manifest, int | None]:
    """Stage, then commit; the manifest, and its entry if there is one."""
    from limen.config import storage_account
    from limen.observe.depot import Depot, base_of, connect
    from limen.observe.importing import manifest_of, read, says_nothing_new
    from limen.observe.inputs import find
    from limen.observe.manifest import digest
    from limen.observe.places import FOLDER
    from limen.observe.staging import Staging

    connect().close()  # if the extra is missing, say so before hours of reading
    depot = Depot.open(data / FOLDER)
    inputs = list(find(paths, storage_account()))
    if not inputs:
        raise Invalid("PATH", "there is nothing to import below what was named")
    staging = Staging.begin(data / FOLDER, os.urandom(8).hex())
    try:
        progress = _progress(sum(given.length for given in inputs))
        found = read(reader, inputs, order, staging, now_us=time.time_ns() // 1000, progress=progress)
        for _ in range(TRIES):
            base = base_of(depot, order.source)
            manifest = manifest_of(reader, order, found, staging, staging.gather(order.source, depot))
            if dry_run or says_nothing_new(manifest, depot):
                return manifest, None
            raw = staging.finish(manifest)
            answer = _commit(data, {"staged": staging.name, "manifest": digest(raw), "base": base})
            if not answer.get("behind"):
                return manifest, int(answer["entry"])
        raise Conflict(f"other imports of {order.source} kept coming in between; nothing was imported, try again")
    finally:
        staging.close()


def _commit(data: Path, args: dict[str, Any]) -> dict[str, Any]:
    """Commit through whoever owns the data directory; wait a little for a command that holds it."""
    wait_s = 0.05
    while True:
        try:
            answer: dict[str, Any] = call(data, "observe.commit", args)
        except Conflict:
            if wait_s > 15:  # noqa: PLR2004  half a minute in all
                raise
            time.sleep(wait_s)
            wait_s *= 2
        else:
            return answer


@observe.command(name="list")
@data_option
@json_option
def list_(data: Path, *, as_json: bool) -> None:
    """List the imports that count."""
    depot = _depot(data)
    rows: list[dict[str, Any]] = [{"entry": each.entry, **_answer(each.manifest)} for each in depot.imports()]
    if as_json:
        print_json("limen/observe-list/v1", {"imports": rows})
    elif rows:
        shown: list[dict[str, Any]] = [{**row, "inputs": len(row["inputs"])} for row in rows]
        for row in shown:
            row |= {"from": _moment(row["first_us"]), "to": _moment(row["last_us"])}
        click.echo(table(shown, ["entry", "source", "kind", "inputs", "events", "new", "bad", "damaged", "from", "to"]))
    else:
        say("limen: nothing was imported yet")


@observe.command()
@click.option("--source", help="Only this one.")
@data_option
@json_option
def gaps(data: Path, source: str | None, *, as_json: bool) -> None:
    """Show what the imports cover, and the gaps between: there limen cannot say what happened."""
    coverage = _depot(data).coverage(source)
    rows: list[dict[str, Any]] = [
        {"source": name, "scope": scope, "covered": list(spans), "gaps": _between(spans)}
        for (name, scope), spans in coverage.items()
    ]
    if as_json:
        print_json("limen/observe-gaps/v1", {"coverage": rows})
        return
    for row in rows:
        spans = row["covered"]
        if not spans:
            click.echo(f"{row['source']}  {row['scope']}: nothing is covered")
            continue
        click.echo(f"{row['source']}  {row['scope']}: covered from {_moment(spans[0][0])} to {_moment(spans[-1][1])}")
        for start, end in row["gaps"]:
            click.echo(f"  CANNOT SAY from {_moment(start)} to {_moment(end)}")
    say("limen: before, after and between these intervals, and of anything not listed, limen cannot say what happened")


def _between(spans: Intervals) -> list[tuple[int, int]]:
    known = list(spans)
    return [(one[1], other[0]) for one, other in pairwise(known)]


def _depot(data: Path) -> Depot:
    from limen.observe.depot import Depot
    from limen.observe.places import FOLDER

    return Depot.open(data / FOLDER)


def _answer(manifest: Manifest) -> dict[str, Any]:
    """What programs are told of an import."""
    from limen.observe.coverage import covered

    return {
        "source": manifest.source,
        "kind": manifest.kind,
        "grade": "observed",
        "events": manifest.events,
        "kept": manifest.kept,
        "new": manifest.new,
        "left_out": manifest.left_out,
        "bad": manifest.bad_count,
        "damaged": sum(1 for given in manifest.inputs if given.damaged),
        "first_us": manifest.first_us,
        "last_us": manifest.last_us,
        "gap_s": manifest.gap_s,
        "skew_s": manifest.skew_s,
        "covered": [{"scope": scope, "spans": list(spans)} for (_, scope), spans in covered([manifest]).items()],
        "holes": [[hole.input, hole.start_us, hole.end_us, hole.why] for hole in manifest.holes],
        "errors": [[bad.input, bad.offset, bad.why] for bad in manifest.bad]
        + [[given.name, given.damaged_at, given.damaged] for given in manifest.inputs if given.damaged],
        "inputs": [[given.name, given.digest, given.length] for given in manifest.inputs],
        "fields": list(manifest.fields),
    }


def _tell(manifest: Manifest, entry: int | None, *, dry_run: bool) -> None:
    answer = _answer(manifest)
    click.echo(f"{manifest.source}: {manifest.events} events in {len(manifest.inputs)} inputs; {manifest.new} new observations")
    for why, count in manifest.left_out.items():
        click.echo(f"  left out: {count} {why}")
    for row in answer["covered"][:SHOWN]:
        for start, end in row["spans"][:SHOWN]:
            click.echo(f"  covers {row['scope']} from {_moment(start)} to {_moment(end)}")
        if len(row["spans"]) > SHOWN:
            click.echo(f"  covers {row['scope']} in {len(row['spans']) - SHOWN} more intervals (`limen observe gaps`)")
    if len(answer["covered"]) > SHOWN:
        click.echo(f"  covers {len(answer['covered']) - SHOWN} more scopes (`limen observe gaps`)")
    for name, offset, why in answer["errors"][:SHOWN]:
        click.echo(f"  CAN'T READ {name} at byte {offset}: {why}")
    hidden = manifest.bad_count + answer["damaged"] - len(answer["errors"][:SHOWN])
    if hidden > 0:
        click.echo(f"  CAN'T READ {hidden} more places (--json names {len(answer['errors'])})")
    if dry_run:
        click.echo("nothing was imported: --dry-run")
    elif entry is None:
        click.echo("nothing changed: all of it was imported before")
    else:
        click.echo(f"imported, grade observed (entry {entry})")


def _progress(total: int) -> Callable[[int, int], None]:
    """A line that is written over ten times a second, on a terminal; silence elsewhere."""
    if not sys.stderr.isatty():
        return lambda _done, _events: None
    shown_at = 0.0

    def show(done: int, events: int) -> None:
        nonlocal shown_at
        if done < total and time.monotonic() < shown_at + EVERY_S:
            return
        shown_at = time.monotonic()
        share = done * 100 // max(total, 1)
        click.echo(f"\r{share:3} %  {done >> 20} of {total >> 20} MiB  {events} events", nl=done >= total, err=True)

    return show


def _interval(text: str) -> Intervals:
    from limen.core.intervals import Intervals

    start, slash, end = text.partition("/")
    if not slash:
        raise Invalid("--covers", "is FROM/TO, two RFC 3339 times like 2026-04-01T00:00:00Z/2026-05-01T00:00:00Z")
    pair = _microseconds(start), _microseconds(end)
    if pair[0] >= pair[1]:
        raise Invalid("--covers", "ends before it begins")
    return Intervals.of([pair])


def _microseconds(text: str) -> int:
    from limen.observe.moments import rfc3339

    try:
        return rfc3339(text)
    except ValueError as e:
        raise Invalid("--covers", f"{text!r} is not an RFC 3339 time like 2026-04-02T09:00:00Z") from e


def _moment(at_us: int | None) -> str:
    return "" if at_us is None else datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
