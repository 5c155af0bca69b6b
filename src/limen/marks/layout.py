"""The bytes of a prepared version: two variant streams of equal length, and what lies where in them.

`base` is the copy of somebody whose every bit is 0; `other` holds, packed, what takes a region's place when the bit is 1.
A region is a run of bytes that the bit chooses; a record's terminator belongs to the pair before it, or to the withheld
record or canary after it, so that leaving those out turns "terminator, record" into spaces that end the line before.
Everything else is common. Segments cut all of it into pieces of at most `SEGMENT` bytes, each wholly common or wholly of
one region: what `copy` gathers from. An entry is where one record lies in either variant, or, in a segment that was
compressed (`members`, `columnar`), a group of records, which only all of its bytes give.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from awscrt import checksums

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from limen.marks.choose import Chosen, Source

SEGMENT: Final = 1 << 16
NOBODY: Final = -1
REGION: Final = np.dtype([("slot", "<i4"), ("canary", "<i4"), ("change", "<u8")])
ENTRY: Final = np.dtype(
    [("start", "<i8"), ("length0", "<i8"), ("length1", "<i8"), ("record0", "<i8"), ("record1", "<i8"), ("region", "<i4")]
)


class Sink(Protocol):
    """Where a stream's bytes go."""

    def write(self, piece: bytes, /) -> object:
        """Take the next bytes."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What lies where.

    `segments` are bounds in `base`, `others` the same segments' bounds in `other`, where a common segment is empty.
    `crc` is CRC-64/NVME of `base`; a region's `change` is what choosing its variant 1 does to it.
    """

    length: int
    crc: int
    regions: NDArray[np.void]
    entries: NDArray[np.void]
    segments: NDArray[np.int64]
    others: NDArray[np.int64]
    segment_region: NDArray[np.int32]


@dataclass(slots=True)
class Writer:
    """Writes both streams and notes what lies where; `close` and `finish` end a run of common bytes."""

    base: Sink
    other: Sink
    at: int = 0
    crc: int = 0
    common: int = 0  # bytes since the last region, written but not yet cut into segments
    bounds: list[int] = field(default_factory=lambda: [0])
    other_bounds: list[int] = field(default_factory=lambda: [0])
    of: list[int] = field(default_factory=list)
    regions: list[tuple[int, int]] = field(default_factory=list)
    changes: list[tuple[int, int]] = field(default_factory=list)
    entries: list[tuple[int, int, int, int, int, int]] = field(default_factory=list)

    def share(self, piece: bytes) -> None:
        """Write bytes that all copies have."""
        self._put(piece)
        self.common += len(piece)

    def choose(self, zero: bytes, one: bytes, *, slot: int = NOBODY, canary: int = NOBODY) -> int:
        """Write a region of two equally long variants; its number."""
        self.close()
        number = len(self.regions)
        self.regions.append((slot, canary))
        self._put(zero)
        self.other.write(one)
        self.changes.append((checksums.crc64nvme(zero) ^ checksums.crc64nvme(one), self.at))
        self._cut(len(zero), number)
        return number

    def close(self) -> None:
        """Cut what is common so far into segments."""
        self._cut(self.common, NOBODY)
        self.common = 0

    def _put(self, piece: bytes) -> None:
        self.base.write(piece)
        self.crc = checksums.crc64nvme(piece, self.crc)
        self.at += len(piece)

    def _cut(self, length: int, region: int) -> None:
        while length > 0:
            step = min(length, SEGMENT)
            self.bounds.append(self.bounds[-1] + step)
            self.other_bounds.append(self.other_bounds[-1] + (step if region >= 0 else 0))
            self.of.append(region)
            length -= step

    def finish(self) -> Layout:
        """All that was laid."""
        self.close()
        regions = np.zeros(len(self.regions), dtype=REGION)
        if self.regions:
            regions["slot"], regions["canary"] = np.array(self.regions, dtype=np.int32).T
        # A CRC is affine: changing bytes x to y changes it by crc(x) ^ crc(y), carried past the bytes that follow.
        carry = checksums.combine_crc64nvme
        regions["change"] = [carry(change, 0, self.at - end) for change, end in self.changes]
        return Layout(
            length=self.at,
            crc=self.crc,
            regions=regions,
            entries=np.array(self.entries, dtype=ENTRY),
            segments=np.array(self.bounds, dtype=np.int64),
            others=np.array(self.other_bounds, dtype=np.int64),
            segment_region=np.array(self.of, dtype=np.int32),
        )


def lay(source: Source, chosen: Chosen, canaries: Sequence[tuple[int, bytes]], *, base: Sink, other: Sink) -> Layout:
    """Write both streams. `canaries`: (record that it follows, content), by canary number; they follow valid records only."""
    pair_at = {min(zero, one): (zero, one, slot) for slot, (_, zero, one) in enumerate(chosen.pairs)}
    second = {max(zero, one) for _, zero, one in chosen.pairs}
    withheld = {record: len(chosen.pairs) + slot for slot, (_, record) in enumerate(chosen.withheld)}
    baits: dict[int, list[int]] = {}
    for number, (anchor, _) in enumerate(canaries):
        baits.setdefault(anchor, []).append(number)

    out = Writer(base, other)
    out.share(bytes(source.raw[: source.scan.header]))
    pending = b""  # the terminator of what was written last
    stays = [record for record in range(len(source.scan)) if record not in second]
    for place, record in enumerate(stays):
        content, terminator = source.content(record), source.terminator(record)
        following = stays[place + 1] if place + 1 < len(stays) else NOBODY
        # What may be left out takes the terminator before it along.
        gives_up = record in baits or following in withheld
        if record in withheld:
            region = out.choose(b" " * len(pending + content), pending + content, slot=withheld[record])
            out.entries.append((out.at - len(content), 0, len(content), NOBODY, record, region))
            pending = terminator
        elif record in pair_at:
            zero, one, slot = pair_at[record]
            _pair(out, source, (zero, one, slot), ending=b"" if gives_up else terminator)
            pending = terminator if gives_up else b""
        else:
            out.entries.append((out.at, len(content), len(content), record, record, NOBODY))
            out.share(content)
            pending = terminator
        for number in baits.get(record, ()):
            bait = canaries[number][1]
            region = out.choose(b" " * len(pending + bait), pending + bait, canary=number)
            out.entries.append((out.at - len(bait), 0, len(bait), NOBODY, len(source.scan) + number, region))
        if following not in withheld:
            out.share(pending)
    return out.finish()


def _pair(out: Writer, source: Source, pair: tuple[int, int, int], *, ending: bytes) -> None:
    zero, one, slot = pair
    texts = source.content(zero), source.content(one)
    width = max(map(len, texts))
    start = out.at
    region = out.choose(texts[0].ljust(width) + ending, texts[1].ljust(width) + ending, slot=slot)
    out.entries.append((start, len(texts[0]), len(texts[1]), zero, one, region))
