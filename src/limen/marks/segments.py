"""Preparing a version whose slots are segments: groups of records, encoded twice, of one length. For what is compressed.

`members` packs JSONL, CSV and text as gzip; `columnar` is Parquet. What this adds to them is the same for both: which records
make up which slot, the tables by which a leak of any of a group's records shows the slot, and what else a prepared version has.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from limen.core.errors import Invalid
from limen.marks import members
from limen.marks.choose import keyed_order
from limen.marks.copy import Prepared
from limen.marks.groups import SIDE, choose_groups, sides_of
from limen.marks.layout import Writer
from limen.marks.records import read
from limen.marks.registry import COMMON, Registry
from limen.marks.staging import SLOT, Staged, Unmarked, look_up, told_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from limen.marks.choose import Pairs, Withhold
    from limen.marks.gold import Canaries
    from limen.marks.groups import Group
    from limen.marks.keys import MarkKey
    from limen.marks.records import Media, Reading

FORMAT: Final = "limen/prepared/v2"


class Carrier(Protocol):
    """A source that is served in segments."""

    readings: list[Reading]
    sizes: NDArray[np.int64]  # of each record, in bytes
    windows: NDArray[np.int64]  # stretches of the source that a new slot stays within
    side: int  # bytes of records that a new slot's side is to have

    def lay(
        self, slots: Sequence[Group], canaries: Sequence[tuple[int, bytes]], writer: Writer, path: Path
    ) -> tuple[members.Groups, dict[str, Any]]:
        """Write both streams, and parts of its own to `path`; the records of each group, and what the manifest needs to know."""


@dataclass(slots=True)
class _Told:
    sound: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    whole: NDArray[np.uint64]
    name: NDArray[np.uint64]
    named: NDArray[np.bool_]

    @classmethod
    def of(cls, readings: list[Reading]) -> _Told:
        names = ("sound", "valid", "whole", "name", "named")
        return cls(*(np.concatenate([getattr(reading, name) for reading in readings]) for name in names))


def prepare_segments(
    source: Path,
    *,
    media: Media,
    key: MarkKey,
    registry: Path,
    out: Path,
    pairs: Pairs,
    withhold: Withhold,
    dealt: Canaries,
    scope: str,
    least: int,
    settle: Callable[[Path], None],
) -> Prepared | Unmarked:
    """As `prepare.prepare`. `pairs` is a share of the records; none is withheld."""
    if not isinstance(pairs, float | int) or not isinstance(withhold, float | int):
        raise Invalid("pairs", f"{media} is marked in segments of several records: give a share of them, not which")
    canaries = dealt.lines
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = out.with_name(out.name + ".scratch")
    carrier: Carrier | Unmarked
    try:
        if media == "parquet":
            carrier = _rows(source, scope.encode())
        else:
            carrier = _Packed.read(source, media, scratch, scope=scope.encode())
    finally:
        scratch.unlink(missing_ok=True)
    if isinstance(carrier, Unmarked):
        return carrier
    told = _Told.of(carrier.readings)
    known = Registry.load(registry)
    slots = choose_groups(
        key, told, known, sizes=carrier.sizes, windows=carrier.windows, pairs=float(pairs), least=least, side=carrier.side
    )
    why = "" if slots else _why(media, told, least)
    if why and not canaries:
        registry.parent.mkdir(parents=True, exist_ok=True)
        known.save(registry)
        return Unmarked(why, len(told.sound))
    baits = _place(key, told, canaries)
    staged = Staged.at(out, settle)
    with staged.open("base") as base, staged.open("other") as other:
        writer = Writer(base, other)
        groups, more = carrier.lay(slots, baits, writer, staged.path)
    layout = writer.finish()
    staged.save("group_at", np.array(groups.bounds, dtype=np.int64))
    staged.save("grouped", np.array(groups.records, dtype=np.int64))
    staged.save("whole", told.whole)
    staged.write_tables(layout, _slots(told, known, slots))
    tables = look_up(carrier.readings, len(told.sound), canaries)
    staged.write_look_up(tables, _refs(len(told.sound), slots, len(canaries)))
    staged.keep_gold(dealt, tables, told.name[told.named], scope=scope.encode())
    with source.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    manifest = {
        "format": FORMAT,
        "media": media,
        "source": digest,
        "source_length": source.stat().st_size,
        "records": len(told.sound),
        "pairs": len(slots),
        "withheld": 0,
        **told_of(dealt),
        "unmarked_why": why,
        **more,
    }
    staged.finish(key, manifest, registry=known, registry_path=registry)
    return Prepared.open(out)


@dataclass(slots=True)
class _Packed:
    """A gzip shard as a carrier."""

    source: members.Unpacked
    readings: list[Reading]
    sizes: NDArray[np.int64]
    windows: NDArray[np.int64]
    side: int

    @classmethod
    def read(cls, source: Path, media: Media, scratch: Path, *, scope: bytes) -> _Packed | Unmarked:
        inside = members.inner(media)
        try:
            held = members.unpack(source, inside, scratch)
        except Invalid as e:
            return Unmarked(f"cannot be fingerprinted: it {e.why}", 0)
        if held.scan.why or not len(held.scan):
            return Unmarked(f"cannot be fingerprinted: {held.scan.why or 'it has no records'}", len(held.scan))
        readings = list(read(held.raw, inside, held.scan, scope=scope))
        return cls(held, readings, members.sizes_of(held), np.zeros(len(held.scan), dtype=np.int64), SIDE)

    def lay(
        self, slots: Sequence[Group], canaries: Sequence[tuple[int, bytes]], writer: Writer, path: Path
    ) -> tuple[members.Groups, dict[str, Any]]:
        del path  # a gzip stream has no part besides
        return members.lay_members(self.source, slots, canaries, writer=writer), {}


def _rows(source: Path, scope: bytes) -> Carrier | Unmarked:
    from limen.marks import columnar  # noqa: PLC0415  Parquet is a large library, and most shards are none

    try:
        rows = columnar.Rows.read(source, scope=scope)
        columnar.way_of(rows.source)
    except columnar.Unreadable as e:
        return Unmarked(f"cannot be fingerprinted: it {e}", 0)
    return rows if rows.readings else Unmarked("cannot be fingerprinted: it has no rows", 0)


def _why(media: Media, told: _Told, least: int) -> str:
    able = int(np.count_nonzero(told.sound))
    what = "rows" if media == "parquet" else "records"
    return (
        f"cannot be fingerprinted: {able} of its {len(told.sound)} {what} could carry a mark, which makes"
        f" {able // 2} slots at most, and {least} are needed"
    )


def _place(key: MarkKey, told: _Told, canaries: Sequence[bytes]) -> list[tuple[int, bytes]]:
    """Each canary in a place of its own, keyed."""
    able = np.flatnonzero(told.valid)
    if len(able) < len(canaries):
        raise Invalid("canaries", f"{len(canaries)} are too many for {len(able)} records")
    order = np.argsort(keyed_order(key, told.whole[able]), kind="stable").tolist() if canaries else []
    return [(int(able[at]), canary) for at, canary in zip(order, canaries, strict=False)]


def _slots(told: _Told, registry: Registry, groups: Sequence[Group]) -> NDArray[np.void]:
    numbers = np.array([group.number for group in groups], dtype=np.int64)
    slots = np.zeros(len(numbers), dtype=SLOT)
    slots["number"] = numbers
    for name in ("id", "tier", "level", "kind", "index"):
        slots[name] = registry.slots[name][numbers]
    for at, group in enumerate(groups):
        slots["sides"][at] = sides_of(told, group)
    return slots


def _refs(records: int, groups: Sequence[Group], canaries: int) -> NDArray[np.int64]:
    refs = np.full(records + canaries, COMMON, dtype=np.int64)
    for slot, group in enumerate(groups):
        refs[list(group.zero)], refs[list(group.one)] = 2 * slot, 2 * slot + 1
    refs[records:] = -2 - np.arange(canaries)
    return refs
