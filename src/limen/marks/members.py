"""Gzip shards: JSONL, CSV and text by paragraph, packed. Slots are members, each compressed twice and of one length.

The shard is unpacked, cut into records, and packed again as many members (RFC 1952, section 2.2: a stream is its members, one
behind the other). A slot's two groups of records become two members, the shorter of which is padded with empty blocks of
deflate (`formats.gzipmembers`). Common records gather in members of `COMMON` bytes: they may move behind slots that they
stood before, by no more than that. A CSV header stays first and a record without its terminator stays last.
"""

from __future__ import annotations

import gzip
import mmap
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

from limen.core.errors import Invalid
from limen.formats import gzipmembers
from limen.marks.layout import NOBODY, Writer
from limen.marks.records import scan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from limen.marks.groups import Group
    from limen.marks.records import Media, Scan

COMMON: Final = 1 << 16
MOST: Final = 1 << 36  # bytes that a shard may unpack to
_AT_ONCE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What a gzip shard holds, in a mapped scratch of its own."""

    raw: memoryview
    media: Media
    scan: Scan

    def record(self, number: int) -> bytes:
        """A record with its terminator."""
        return bytes(self.raw[int(self.scan.start[number]) : int(self.scan.next[number])])


def unpack(source: Path, media: Media, scratch: Path, *, most: int = MOST) -> Unpacked:
    """Unpack a gzip shard into `scratch` and cut it into records. Invalid if it is damaged, or too much."""
    written = 0
    try:
        with gzip.open(source, "rb") as packed, scratch.open("wb") as out:
            while piece := packed.read(_AT_ONCE):
                written += out.write(piece)
                if written > most:
                    raise Invalid("source", f"unpacks to more than {most} bytes; register it in parts")
    except (EOFError, zlib.error, gzip.BadGzipFile) as e:
        raise Invalid("source", "is damaged gzip") from e
    if not written:
        return Unpacked(memoryview(b""), media, scan(memoryview(b""), media))
    with scratch.open("rb") as stream:
        raw = memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    return Unpacked(raw, media, scan(raw, media))


@dataclass(slots=True)
class Groups:
    """Which records each entry's group holds, by number of the group."""

    bounds: list[int] = field(default_factory=lambda: [0])
    records: list[int] = field(default_factory=list)

    def add(self, records: Sequence[int]) -> int:
        """A group of these records; its number."""
        self.records += records
        self.bounds.append(len(self.records))
        return len(self.bounds) - 2


def lay_members(source: Unpacked, slots: Sequence[Group], canaries: Sequence[tuple[int, bytes]], *, writer: Writer) -> Groups:
    """Write both streams; the records of each entry's group.

    `canaries`: (the record in whose place it goes, its line), by canary number.
    """
    first = {group.first: number for number, group in enumerate(slots)}
    taken = {record for group in slots for record in (*group.zero, *group.one)}
    baits: dict[int, list[int]] = {}
    for number, (anchor, _) in enumerate(canaries):
        baits.setdefault(anchor, []).append(number)
    out = _Packer(source, writer)
    out.share_bytes(bytes(source.raw[: source.scan.header]))
    for record in range(len(source.scan)):
        for number in baits.get(record, ()):
            out.bait(canaries[number][1], number, len(source.scan) + number)
        if record in first:
            slot = first[record]
            out.choose(slots[slot].zero, slots[slot].one, slot)
        elif record not in taken:
            out.share(record)
    out.flush()
    return out.groups


@dataclass(slots=True)
class _Packer:
    source: Unpacked
    writer: Writer
    groups: Groups = field(default_factory=Groups)
    waiting: list[int] = field(default_factory=list)
    size: int = 0

    def share_bytes(self, raw: bytes) -> None:
        """A member that everyone gets and that is nobody's record."""
        if raw:
            one = gzipmembers.member(raw)
            self.writer.share(one.padded(len(one)))

    def share(self, record: int) -> None:
        """A record that everyone gets: it waits for others to share its member."""
        self.waiting.append(record)
        self.size += len(self.source.record(record))
        if self.size >= COMMON:
            self.flush()

    def flush(self) -> None:
        """Pack what waits."""
        if self.waiting:
            packed = gzipmembers.member(b"".join(map(self.source.record, self.waiting)))
            group = self.groups.add(self.waiting)
            self.writer.entries.append((self.writer.at, len(packed.head), len(packed.head), group, group, NOBODY))
            self.writer.share(packed.padded(len(packed)))
            self.waiting, self.size = [], 0

    def choose(self, zero: Sequence[int], one: Sequence[int], slot: int) -> None:
        """A slot: two members of one length."""
        members = [gzipmembers.member(b"".join(map(self.source.record, side))) for side in (zero, one)]
        groups = [self.groups.add(side) for side in (zero, one)]
        self._lay((members[0], members[1]), (groups[0], groups[1]), slot=slot)

    def bait(self, line: bytes, canary: int, record: int) -> None:
        """A canary's member; the others' is empty."""
        members = gzipmembers.member(b""), gzipmembers.member(line + b"\n")
        self._lay(members, (NOBODY, self.groups.add([record])), canary=canary)

    def _lay(
        self,
        members: tuple[gzipmembers.Member, gzipmembers.Member],
        groups: tuple[int, int],
        *,
        slot: int = NOBODY,
        canary: int = NOBODY,
    ) -> None:
        length = gzipmembers.length_for(*members)
        start = self.writer.at
        region = self.writer.choose(members[0].padded(length), members[1].padded(length), slot=slot, canary=canary)
        held = [len(one.head) if group >= 0 else 0 for one, group in zip(members, groups, strict=True)]
        self.writer.entries.append((start, held[0], held[1], groups[0], groups[1], region))


def inner(media: str) -> Media:
    """What is packed: `jsonl` of `jsonl.gz`."""
    return cast("Media", media.removesuffix(".gz"))


def sizes_of(source: Unpacked) -> NDArray[np.int64]:
    """Bytes of each record."""
    return source.scan.next - source.scan.start
