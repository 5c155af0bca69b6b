"""`limen ledger head` and `tail`: what the log says of itself, as it is stored. `verify` checks it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from limen.cli._place import Place, trust_options
from limen.cli.link import data_option, json_option, print_json, say
from limen.core.errors import LimenError

if TYPE_CHECKING:
    from pathlib import Path

NOT_SHOWN = frozenset({"v", "kind", "at", "story_at", "salt", "commit"})
SHOWN_FIRST = ("who", "vendor", "project", "action", "asset", "version", "shard", "status", "rule", "of", "end")


@click.command()
@data_option
@trust_options
@json_option
def head(data: Path, policy: Path | None, vkey: str | None, *, as_json: bool) -> None:
    """Print the newest signed checkpoint."""
    from limen.verify.answer import head_fields

    place = Place.find(data, policy=policy, vkey=vkey)
    found = place.head()
    if as_json:
        fields = head_fields(found.origin, found.size, found.root)
        print_json("limen/ledger-head/v1", {**fields, "checkpoint": found.note.decode()})
    else:
        click.echo(found.note.decode(), nl=False)
    say(f"limen: {found.size} entries, signed by {place.verifier.vkey}{place.whose}")


@click.command()
@click.option("-n", "count", default=10, show_default=True, type=click.IntRange(min=0), help="How many entries.")
@data_option
@trust_options
@json_option
def tail(count: int, data: Path, policy: Path | None, vkey: str | None, *, as_json: bool) -> None:
    """Print the newest entries, one a line; with --json as JSON lines. Shows what is stored; `verify` checks it."""
    place = Place.find(data, policy=policy, vkey=vkey)
    size = place.head().size
    for index, raw in place.entries(max(0, size - count), size):
        click.echo(_json_line(index, raw) if as_json else entry_line(index, raw))


def _json_line(index: int, raw: bytes) -> str:
    fields = _fields(raw)
    value = {"entry": fields} if fields else {"unreadable": raw.hex()}
    return json.dumps({"schema": "limen/ledger-entry/v1", "index": index, **value}, ensure_ascii=False)


def entry_line(index: int, raw: bytes) -> str:
    """One entry for people: index, time, kind, and what it says."""
    from limen.verify.answer import moment

    fields = _fields(raw)
    if fields is None:
        return f"{index}  not an entry: {len(raw)} bytes"
    names = [name for name in SHOWN_FIRST if name in fields]
    names += sorted(fields.keys() - set(SHOWN_FIRST) - NOT_SHOWN)
    told = " (story)" if "story_at" in fields else ""
    when = moment(fields.get("story_at", fields["at"]))
    return f"{index}  {when}{told}  {fields['kind']}  {' '.join(f'{name}={_shown(fields[name])}' for name in names)}".rstrip()


def _shown(value: Any) -> str:
    """A value that can't be taken for another field, and can't steer the terminal."""
    if isinstance(value, str) and value.isprintable() and value and not any(c in value for c in ' "='):
        return value
    return json.dumps(value, separators=(",", ":"))


def _fields(raw: bytes) -> dict[str, Any] | None:
    from limen.core.events import decode

    try:
        fields = decode(raw)
    except LimenError:
        return None
    return fields if isinstance(fields.get("at"), int) and isinstance(fields.get("kind"), str) else None
