"""Setting who is who: an entry first, then the mapping that reports read. No import is repeated for it.

`DATA/observed/who.toml` is the mapping in force, `who.entry` the index of the entry that set it. A new one waits beside
them, durable, before its entry is written; if a crash comes in between, the next start looks whether the entry is there:
then the mapping is put in force, else it is dropped.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final

from limen.core import events
from limen.core.errors import Invalid, NotFound
from limen.durable import write_atomically
from limen.observe.who import PlaceRule, Who

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from limen.catalog.snapshot import Snapshot
    from limen.custody import Custody

KIND: Final = "observe.who"
MAPPING: Final = "who.toml"
ENTRY: Final = "who.entry"
_WAITING: Final = re.compile(r"who\.next-(\d+)\.toml\Z")


class WhoIsWho:
    """The mapping of one data directory. `root` is its folder of observations."""

    def __init__(self, custody: Custody, root: Path) -> None:
        self._custody = custody
        self._root = root
        self._lock = asyncio.Lock()
        self._read: tuple[bytes, Who] = (b"", Who())  # replaced whole: any thread may read it

    async def set(self, raw: bytes, *, by: str) -> dict[str, Any]:
        """Put a mapping in force; returns its entry. Invalid names a rule that is wrong, or whom the catalog lacks."""
        who = self.check(raw)
        fields = {"digest": who.digest, "rules": len(who.rules), "places": len(who.places), "by": by}
        async with self._lock:
            self._root.mkdir(mode=0o700, exist_ok=True)
            waiting = self._root / f"who.next-{self._custody.ledger.head().size}.toml"
            write_atomically(waiting, raw)
            receipt = await self._custody.ledger.append(*self._custody.scribe.write(KIND, fields, None))
            self._enforce(waiting, raw, receipt.index)
        return {**fields, "entry": receipt.index}

    def check(self, raw: bytes) -> Who:
        """The mapping that these bytes are, every id in it known to the catalog; Invalid otherwise."""
        who = Who.read(raw)
        _check(who, self._custody.catalog.snapshot)
        return who

    def finish(self) -> None:
        """Put in force what was set before a crash, and drop what was not. At start-up, before anything is asked."""
        for waiting in sorted(self._root.glob("who.next-*.toml")):
            name, raw = _WAITING.match(waiting.name), waiting.read_bytes()
            index = self._set_since(int(name[1]), Who.read(raw).digest) if name else None
            if index is None:
                waiting.unlink()
            else:
                self._enforce(waiting, raw, index)

    def current(self) -> Who:
        """The mapping in force, and where adopted assets lie; without rules if none was ever set."""
        raw = self.raw() if (self._root / MAPPING).exists() else b""
        read = self._read
        if raw != read[0]:
            read = self._read = (raw, Who.read(raw) if raw else Who())
        return read[1].with_places(adopted(self._custody.catalog.snapshot))

    def raw(self) -> bytes:
        """The mapping in force as it was written; NotFound if none was ever set."""
        try:
            return (self._root / MAPPING).read_bytes()
        except FileNotFoundError:
            raise NotFound("a mapping; set one with `limen who set FILE`") from None

    def said(self, who: Who) -> tuple[int | None, list[str]]:
        """The entry that set this mapping; and, in words, what is wrong if the log does not know it."""
        if not who.digest:
            return None, []
        try:
            index = int((self._root / ENTRY).read_text())
        except (OSError, ValueError):
            index = -1
        for _, raw in self._custody.ledger.entries(index, index + 1) if index >= 0 else ():
            entry = events.decode(raw)
            if entry["kind"] == KIND and entry["digest"] == who.digest:
                return index, []
        return None, [f"{MAPPING} is not what the log says was set: it was changed by hand; set it with `limen who set`"]

    def _set_since(self, start: int, digest: str) -> int | None:
        mark = f'"kind":"{KIND}"'.encode()
        for index, raw in self._custody.ledger.entries(start):
            if mark in raw and events.decode(raw)["digest"] == digest:
                return index
        return None

    def _enforce(self, waiting: Path, raw: bytes, index: int) -> None:
        write_atomically(self._root / MAPPING, raw)
        write_atomically(self._root / ENTRY, str(index).encode())
        waiting.unlink()


def adopted(snapshot: Snapshot) -> list[PlaceRule]:
    """The places of adopted assets, which map themselves: the folder that holds all objects of the newest version."""
    found = []
    for asset in snapshot.assets():
        version = snapshot.version(asset.id)
        urls = [s.upstream.url for s in version.shards if s.upstream and s.upstream.url.startswith("s3://")] if version else []
        if urls:
            first, last = min(urls), max(urls)
            common = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
            folder = first[: first.rindex("/", 0, common) + 1] if len(urls) > 1 else first
            found.append(PlaceRule(f"{folder}*" if folder.endswith("/") else folder, asset.id))
    # Of two folders within each other, the inner one is the narrower rule.
    return sorted(found, key=lambda place: -len(place.resource))


def _check(who: Who, snapshot: Snapshot) -> None:
    """Refuse ids that the catalog lacks: a misspelt person would be somebody that no report is about."""
    for number, rule in enumerate(who.rules):
        for person in rule.attribution.people:
            _known(f"who[{number}]", snapshot.holder_by_id, person, "person")
        if not rule.attribution.people and rule.attribution.vendor:
            _known(f"who[{number}].vendor", snapshot.vendor, rule.attribution.vendor, "vendor")
    for number, place in enumerate(who.places):
        _known(f"place[{number}].asset", snapshot.asset, place.asset, "asset")


def _known(where: str, look_up: Callable[[str], object], id_: str, noun: str) -> None:
    try:
        look_up(id_)
    except NotFound:
        raise Invalid(where, f"there is no {noun} {id_!r} in the catalog; nothing was set") from None
