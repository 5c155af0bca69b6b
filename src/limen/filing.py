"""Files a document that somebody gave the lab: bills of material, advisories, contracts, evidence.

Its bytes rest in the blob store before the entry that names their digest; the entry is durable before anybody counts it. The
log is the record: what is made of such documents (`limen.derived`) follows from entries and blobs alone, and may be deleted.
A crash between the two leaves a blob that no entry names, which does no harm.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limen.core.events import decode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limen.core.types import Side
    from limen.custody import Custody


@dataclass(frozen=True, slots=True)
class Filed:
    """Where a document stands in the log: its entry, when that was written (µs; the story's time if one is told), its bytes."""

    entry: int
    at_us: int
    digest: str
    length: int


class Filing:
    """Files documents. Its coroutines run on the event loop's thread."""

    def __init__(self, custody: Custody) -> None:
        self._custody = custody

    def path(self, digest: str) -> str:
        """Where the bytes with this digest rest; NotFound if they were never filed here."""
        return str(self._custody.blobs.path(digest))

    def read(self, digest: str) -> bytes:
        """The bytes with this digest, as they were given. NotFound if they were never filed here. Reads the disk."""
        return self._custody.blobs.path(digest).read_bytes()

    async def file(self, kind: str, fields: Mapping[str, Any], raw: bytes, *, by: str, side: Side | None = None) -> Filed:
        """Keep the bytes and enter them; durable on return. LedgerUnavailable if nothing can be logged: it was not filed."""
        digest, length = await asyncio.to_thread(self._custody.blobs.put, [raw])
        return await self.enter(kind, fields, digest=digest, length=length, by=by, side=side)

    async def enter(
        self, kind: str, fields: Mapping[str, Any], *, digest: str, length: int, by: str, side: Side | None = None
    ) -> Filed:
        """Enter bytes that are in the blob store already: a command puts large ones there itself."""
        return await self._write(kind, {**fields, "digest": digest, "length": length, "by": by}, side, digest, length)

    async def note(self, kind: str, fields: Mapping[str, Any], *, by: str, side: Side | None = None) -> Filed:
        """Enter a statement that has no document."""
        return await self._write(kind, {**fields, "by": by}, side, "", 0)

    async def _write(self, kind: str, fields: Mapping[str, Any], side: Side | None, digest: str, length: int) -> Filed:
        raw, sealed = self._custody.scribe.write(kind, fields, side)
        receipt = await self._custody.ledger.append(raw, sealed)
        return Filed(receipt.index, time_of(decode(raw)), digest, length)


def time_of(entry: Mapping[str, Any]) -> int:
    """When an entry counts as written, in µs: the story's time if one is told, else the real one."""
    return int(entry.get("story_at", entry["at"]))
