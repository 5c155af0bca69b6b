"""`limen ledger`: the log's head, its verification, proofs of single entries, and its newest lines. Reads only.

Works on a data directory, served or not, and on a copy of the published directory alone (`DATA/log`): what a verifier
needs is the files and the log's key. No command here takes the lock or asks the gateway.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from limen.cli.link import data_option, json_option, print_json, say
from limen.core.errors import LimenError, NotFound, TamperDetected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from limen.core.types import Checkpoint
    from limen.formats.note import Verifier
    from limen.verify.published import Published

NOT_SHOWN = frozenset({"v", "kind", "at", "story_at", "salt", "commit"})
SHOWN_FIRST = ("who", "vendor", "project", "action", "asset", "version", "shard", "status", "rule", "of", "end")

vkey_option = click.option(
    "--vkey", help="The log's key as you were given it, or a file that holds it. Without it, the one beside the log is used."
)


@click.group()
def ledger() -> None:
    """Read and verify the log of every access."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a log lies: its published files, its key, and its database if that is there too."""

    log: Published
    verifier: Verifier
    key_given: bool
    database: Path | None

    @classmethod
    def find(cls, path: Path, vkey: str | None) -> Place:
        """The log in a data directory, or in a published directory itself. NotFound if there is none."""
        from limen.formats.note import Verifier
        from limen.verify.published import CHECKPOINT, Published

        inside = path / "log"
        root = inside if not (path / CHECKPOINT).exists() and inside.is_dir() else path
        log = Published(root)
        database = path / "ledger.db"
        verifier = Verifier.from_vkey(_text_or_content(vkey)) if vkey else log.verifier()
        return cls(log, verifier, bool(vkey), database if root is inside and database.exists() else None)

    def head(self) -> Checkpoint:
        """The newest checkpoint: the database's, else the published one. Verified."""
        if self.database is None:
            return self.log.checkpoint(self.verifier)
        from limen.ledger.fsck import stored_head

        return stored_head(self.database, self.verifier).checkpoint

    def entries(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Entries as they are stored, unverified."""
        if self.database is None:
            return self.log.entries(start, end)
        from limen.ledger.sqlite import SqliteStore

        return SqliteStore.to_look_at(self.database, self.verifier.name).entries(start, end)


@ledger.command()
@data_option
@vkey_option
@json_option
def head(data: Path, vkey: str | None, *, as_json: bool) -> None:
    """Print the newest signed checkpoint."""
    place = Place.find(data, vkey)
    found = place.head()
    if as_json:
        print_json("limen/ledger-head/v1", {**_public(found), "checkpoint": found.note.decode()})
    else:
        click.echo(found.note.decode(), nl=False)
    say(f"limen: {found.size} entries, signed by {place.verifier.vkey}{_whose(place)}")


@ledger.command()
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@data_option
@vkey_option
@json_option
def verify(directory: Path | None, data: Path, vkey: str | None, *, as_json: bool) -> None:
    """Check the signature, every entry and every tile; of a data directory also the database. Exit code 5 on damage."""
    try:
        answer, place = _verified(directory or data, vkey)
    except TamperDetected as e:
        bad = e.index if e.index >= 0 else None
        if as_json:
            print_json("limen/ledger-verify/v1", {"ok": False, "first_bad": bad, "why": str(e)})
        where = "no single entry can be named" if bad is None else f"first bad index {bad}"
        raise TamperDetected(f"{e} ({where})", index=e.index) from e
    if as_json:
        print_json("limen/ledger-verify/v1", {"ok": True, "first_bad": None, **answer})
        return
    click.echo(f"log       {answer['origin']}")
    click.echo(f"size      {answer['size']}")
    click.echo(f"root      {answer['root']}")
    click.echo(f"first at  {_moment(answer['first_at'])}")
    click.echo(f"last at   {_moment(answer['last_at'])}")
    click.echo(f"key       {place.verifier.vkey}{_whose(place)}")
    if answer["database"]:
        click.echo(f"database  OK, {answer['database']['size']} entries")
    click.echo("OK")


def _verified(path: Path, vkey: str | None) -> tuple[dict[str, Any], Place]:
    from limen.verify import published

    place = Place.find(path, vkey)
    verified = published.verify(place.log, place.verifier)
    stored = None
    if place.database is not None:
        from limen.ledger.fsck import verify_stored

        stored = verify_stored(place.database, place.log, verified.checkpoint, verifier=place.verifier)
    answer = {
        **_public(verified.checkpoint),
        "first_at": _at(verified.first),
        "last_at": _at(verified.last),
        "vkey": place.verifier.vkey,
        "key_given": place.key_given,
        "database": None if stored is None else {"size": stored.size, "low_water": stored.low_water},
    }
    return answer, place


@ledger.command()
@click.argument("index", type=click.IntRange(min=0))
@data_option
@vkey_option
@json_option
def prove(index: int, data: Path, vkey: str | None, *, as_json: bool) -> None:
    """Print a proof that an entry is in the published log (c2sp.org/tlog-proof@v1); checked before it is printed."""
    from limen.formats.merkle import leaf_hash
    from limen.verify import published

    place = Place.find(data, vkey)
    proof, entry = published.prove(place.log, place.verifier, index)
    text = proof.encode().decode()
    if as_json:
        fields = {"index": index, "entry": entry.decode(errors="replace"), "leaf_hash": _base64(leaf_hash(entry))}
        print_json("limen/ledger-prove/v1", {**fields, "vkey": place.verifier.vkey, "proof": text})
    else:
        click.echo(text, nl=False)
    say(f"limen: {_line(index, entry)}")


@ledger.command()
@click.option("-n", "count", default=10, show_default=True, type=click.IntRange(min=0), help="How many entries.")
@data_option
@vkey_option
@json_option
def tail(count: int, data: Path, vkey: str | None, *, as_json: bool) -> None:
    """Print the newest entries, one a line; with --json as JSON lines. Shows what is stored; `verify` checks it."""
    place = Place.find(data, vkey)
    size = place.head().size
    for index, raw in place.entries(max(0, size - count), size):
        click.echo(_json_line(index, raw) if as_json else _line(index, raw))


def _json_line(index: int, raw: bytes) -> str:
    fields = _fields(raw)
    value = {"entry": fields} if fields else {"unreadable": raw.hex()}
    return json.dumps({"schema": "limen/ledger-entry/v1", "index": index, **value}, ensure_ascii=False)


def _line(index: int, raw: bytes) -> str:
    """One entry for people: index, time, kind, and what it says."""
    fields = _fields(raw)
    if fields is None:
        return f"{index}  not an entry: {len(raw)} bytes"
    names = [name for name in SHOWN_FIRST if name in fields]
    names += sorted(fields.keys() - set(SHOWN_FIRST) - NOT_SHOWN)
    told = " (story)" if "story_at" in fields else ""
    moment = _moment(fields.get("story_at", fields["at"]))
    return f"{index}  {moment}{told}  {fields['kind']}  {' '.join(f'{name}={_shown(fields[name])}' for name in names)}".rstrip()


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


def _at(raw: bytes | None) -> int | None:
    fields = _fields(raw) if raw is not None else None
    return fields["at"] if fields else None


def _moment(at_us: int | None) -> str:
    if at_us is None:
        return "unknown"
    try:
        return datetime.fromtimestamp(at_us / 1_000_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (OverflowError, ValueError, OSError):
        return f"{at_us} us"


def _public(checkpoint: Checkpoint) -> dict[str, Any]:
    return {"origin": checkpoint.origin, "size": checkpoint.size, "root": _base64(checkpoint.root)}


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _whose(place: Place) -> str:
    return "" if place.key_given else " (the key beside the log: compare it with the one you were given)"


def _text_or_content(vkey: str) -> str:
    """The key itself, or what is in the file of that name. A key has a plus sign; no path that we would write has."""
    if "+" in vkey:
        return vkey
    try:
        return Path(vkey).read_text()
    except (OSError, UnicodeDecodeError) as e:
        raise NotFound(f"a key: {vkey!r} is neither one nor a file that holds one") from e
