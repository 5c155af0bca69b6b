"""`limen backup` and `limen restore`: a consistent copy of a data directory, and the way back from it."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from limen.cli import PARTLY_DONE
from limen.cli.link import data_option, json_option, print_json, say

if TYPE_CHECKING:
    from limen.core.types import Checkpoint
    from limen.ledger.rollback.evidence import Evidence


@click.command()
@click.argument("destination", metavar="DEST", type=click.Path(path_type=Path))
@click.option("--with-keys", is_flag=True, help="Copy the keys too: then the backup is as powerful as the gateway.")
@data_option
@json_option
def backup(destination: Path, data: Path, *, with_keys: bool, as_json: bool) -> None:
    """Copy the data directory to DEST, also while it is served. What was copied is verified before this returns."""
    from limen.backup import make
    from limen.config import load

    made = make(load(data), destination, with_keys=with_keys, now=int(time.time()))
    size = sum(length for _, length in made.files.values())
    if as_json:
        fields = {"files": len(made.files), "bytes": size, "keys": made.keys, "left_out": made.left_out}
        print_json("limen/backup/v1", {**_reached(made.checkpoint), "vkey": made.vkey, **fields})
    else:
        click.echo(made.checkpoint.note.decode(), nl=False)
    reach = f"the log up to entry {made.checkpoint.size - 1}; verified"
    say(f"limen: {destination} holds {len(made.files)} files, {size} bytes, and {reach}")
    for name, why in made.left_out.items():
        say(f"limen: left out: {name} ({why})")
    if not made.keys:
        say("limen: keep the keys apart from this, and back them up once; nothing that is restored can be served without them")
    say("limen: control.db holds people's names and the keys of their side records: keep the backup as secret as the original")


@click.command()
@click.argument("source", metavar="BACKUP", type=click.Path(path_type=Path))
@click.argument("data", metavar="DATA", type=click.Path(path_type=Path))
@click.option("--vkey", help="The log's key as you were given it. Without it, the one that the backup names is believed.")
@json_option
def restore(source: Path, data: Path, vkey: str | None, *, as_json: bool) -> None:
    """Put BACKUP back as the new data directory DATA, and say how far its log reaches. Exit code 6 if a longer one is known."""
    from limen.backup import restore as put_back

    restored = put_back(source, data, vkey=vkey)
    if as_json:
        fields = {"vkey": restored.vkey, "key_given": restored.key_given, "keys": restored.keys, "unseen": restored.unseen}
        print_json("limen/restore/v1", {**_reached(restored.checkpoint), **fields, "ahead": [_seen(e) for e in restored.ahead]})
    else:
        click.echo(restored.checkpoint.note.decode(), nl=False)
    whose = "" if restored.key_given else " (as the backup names it: compare it with the one you were given)"
    say(f"limen: restored {data}: every digest, {restored.checkpoint.size} entries and the signature are right")
    say(f"limen: the log's key is {restored.vkey}{whose}")
    if not restored.keys:
        say(f"limen: the backup has no keys: put yours into {data / 'keys'} before anything else")
    for line in restored.unseen:
        say(f"limen: could not look: {line}")
    for seen in restored.ahead:
        say(f"limen: THE LOG HAD COME FURTHER: {seen}; this backup ends at {restored.checkpoint.size}")
    if restored.ahead:
        say("limen: if no newer copy of ledger.db and control.db is left, go on with `limen ledger new-epoch --reason …`")
        sys.exit(PARTLY_DONE)
    say("limen: no longer log is known here. Witnesses are asked when limen starts; a receipt may still know of one")


def _reached(checkpoint: Checkpoint) -> dict[str, Any]:
    fields = {"origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex()}
    return {**fields, "checkpoint": checkpoint.note.decode()}


def _seen(evidence: Evidence) -> dict[str, Any]:
    return {"where": evidence.where, **_reached(evidence.checkpoint)}
