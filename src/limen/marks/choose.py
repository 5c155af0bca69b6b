"""Which records become which slots of a version: what the registry remembers first, then new pairs and withheld records.

All choices are keyed and depend on nothing else than the key, the source and the registry. A record that is not chosen
is common to all copies and stays so. Pure but for the registry that it is handed.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from limen.core.errors import Invalid
from limen.marks.code import draw
from limen.marks.registry import COMMON, PAIR, WITHHELD, Registry
from limen.marks.tables import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from limen.marks.keys import MarkKey
    from limen.marks.records import Media, Scan

Pairs = float | list[tuple[int, int]]
Withhold = float | list[int]
_SLACK: Final = 64  # bytes by which a pair's members may differ, besides half of the shorter
_UNPLACED: Final = -3


class Told(Protocol):
    """What records say, by record number: arrays of `records.Reading`."""

    sound: NDArray[np.bool_]
    whole: NDArray[np.uint64]
    name: NDArray[np.uint64]
    named: NDArray[np.bool_]


@dataclass(slots=True)
class Source:
    """A scanned and read source: arrays by record number."""

    raw: memoryview
    media: Media
    scan: Scan
    sound: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    whole: NDArray[np.uint64]
    name: NDArray[np.uint64]
    named: NDArray[np.bool_]

    def content(self, number: int) -> bytes:
        """A record's bytes without its terminator."""
        return bytes(self.raw[int(self.scan.start[number]) : int(self.scan.end[number])])

    def terminator(self, number: int) -> bytes:
        """What ends a record: LF, CRLF, a paragraph's blank lines too; nothing for an unterminated last one."""
        return bytes(self.raw[int(self.scan.end[number]) : int(self.scan.next[number])])

    def can_swap(self, a: int, b: int) -> bool:
        """Whether one may stand in the other's place: JSONL pads to equal length, the others can't."""
        same_length = self.media == "jsonl" or self.length(a) == self.length(b)
        return same_length and self.terminator(a) == self.terminator(b)

    def length(self, number: int) -> int:
        """Bytes of a record's content."""
        return int(self.scan.end[number] - self.scan.start[number])


@dataclass(slots=True)
class Chosen:
    """Slots of this version by registry number: `pairs` as (number, record of side 0, record of side 1)."""

    pairs: list[tuple[int, int, int]] = field(default_factory=list)
    withheld: list[tuple[int, int]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.pairs) + len(self.withheld)


def choose(key: MarkKey, source: Source, registry: Registry, *, pairs: Pairs, withhold: Withhold, least: int) -> Chosen:
    """Choose the version's slots and register them, and every other record as common.

    Fewer than `least` slots, and none from earlier versions, means none at all: then every record is common, and stays
    so, because everyone is served it now. Invalid for an explicit pair or withheld record that can't be one.
    """
    refs = known(source, registry)
    chosen, lost = _standing(source, registry, refs)
    if len(lost):
        registry.retire(lost)
        refs[np.isin(refs >> 1, lost) & (refs >= 0)] = COMMON
    free = source.sound & (refs == ABSENT) & ~repeated(source.whole)
    new_pairs = _new_pairs(key, source, free, pairs, taken=2 * len(chosen.pairs))
    free[[record for pair in new_pairs for record in pair]] = False
    gone = {max(a, b) for _, a, b in chosen.pairs} | {max(pair) for pair in new_pairs}
    new_withheld = _new_withheld(key, source, free, withhold, gone=gone, taken=len(chosen.withheld))
    if len(chosen) + len(new_pairs) + len(new_withheld) < least and not len(chosen):
        new_pairs, new_withheld = [], []
    _register(key, source, registry, chosen, refs, new_pairs=new_pairs, new_withheld=new_withheld)
    return chosen


def followed(source: Source, gone: Iterable[int]) -> NDArray[np.int64]:
    """For each record that keeps its place, the one before it in the copy; -1 for the first, _UNPLACED if it has none."""
    stays = np.ones(len(source.scan), dtype=np.bool_)
    stays[list(gone)] = False
    order = np.flatnonzero(stays)
    before = np.full(len(source.scan), _UNPLACED, dtype=np.int64)
    before[order] = np.concatenate([[-1], order[:-1]])[: len(order)]
    return before


def keyed_order(key: MarkKey, digests: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A rank for each record that says nothing without the key."""
    raw = digests.astype(">u8").tobytes()
    ranks = b"".join(hmac.digest(key.subkeys.order, raw[at : at + 16], "sha256")[:8] for at in range(0, len(raw), 16))
    return np.frombuffer(ranks, dtype="<u8").astype(np.uint64)


def can_follow(source: Source, record: int, before: int) -> bool:
    """Whether a record may be given or not behind `before`: not first, not after a line that is no record."""
    return before >= 0 and bool(source.valid[before]) and source.terminator(before) == source.terminator(record)


def known(source: Told, registry: Registry) -> NDArray[np.int64]:
    """What the registry says of each record: by its text first, then by its id, so that an edit keeps slot and side."""
    refs = registry.standing(registry.members.find(source.whole))
    by_name = registry.standing(registry.names.find(source.name))
    use = (refs == ABSENT) & source.named & ~repeated(source.name)
    refs[use] = by_name[use]
    refs[~source.sound & (refs == ABSENT)] = COMMON
    refs[repeated(source.whole) & (refs == ABSENT)] = COMMON
    return refs


def _standing(source: Source, registry: Registry, refs: NDArray[np.int64]) -> tuple[Chosen, NDArray[np.int64]]:
    """Slots of earlier versions that live on, and those that end here because a member is missing or can't be served."""
    claims: dict[int, dict[int, list[int]]] = {}
    for record in np.flatnonzero(refs >= 0).tolist():
        claims.setdefault(int(refs[record]) >> 1, {}).setdefault(int(refs[record]) & 1, []).append(record)
    chosen, lost = Chosen(), []
    single: list[tuple[int, int]] = []
    for number, sides in sorted(claims.items()):
        records = [record for some in sides.values() for record in some]
        sound = all(source.sound[record] for record in records)
        if registry.slots["kind"][number] == WITHHELD:
            if sound and len(records) == 1 and source.media == "jsonl":
                single.append((number, records[0]))
            else:
                lost.append(number)
        elif sound and sorted(sides) == [0, 1] and len(records) == 2 and source.can_swap(*records):  # noqa: PLR2004  a pair
            chosen.pairs.append((number, sides[0][0], sides[1][0]))
        else:
            lost.append(number)
    before = followed(source, {max(a, b) for _, a, b in chosen.pairs})
    for number, record in single:
        if can_follow(source, record, int(before[record])):
            chosen.withheld.append((number, record))
        else:
            lost.append(number)
    return chosen, np.array(sorted(lost), dtype=np.int64)


def _new_pairs(key: MarkKey, source: Source, free: NDArray[np.bool_], pairs: Pairs, *, taken: int) -> list[tuple[int, int]]:
    if not isinstance(pairs, float | int):
        return _authored(source, free, pairs)
    candidates = np.flatnonzero(free)
    ranks = keyed_order(key, source.whole[candidates])
    want = max(0, int(pairs * np.count_nonzero(source.sound)) - taken) // 2 * 2
    first = np.argsort(ranks, kind="stable")[:want]
    found: list[tuple[int, int]] = []
    waiting: dict[object, int] = {}
    # By length, then by rank: neighbours are of about equal length, and which of them pair is keyed.
    lengths = (source.scan.end - source.scan.start)[candidates[first]]
    bucket = lengths if source.media != "jsonl" else (8 * np.log2(np.maximum(lengths, 1))).astype(np.int64)
    for at in np.lexsort((ranks[first], bucket)).tolist():
        record = int(candidates[first[at]])
        kind = source.terminator(record) if source.media == "jsonl" else (source.terminator(record), int(lengths[at]))
        other = waiting.pop(kind, None)
        if other is not None and 2 * (source.length(record) - _SLACK) <= 3 * source.length(other):
            found.append((min(record, other), max(record, other)))
        else:
            waiting[kind] = record
    return sorted(found)


def _authored(source: Source, free: NDArray[np.bool_], pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    seen: set[int] = set()
    for number, (a, b) in enumerate(pairs):
        where = f"pairs[{number}]"
        for record in (a, b):
            if not 0 <= record < len(source.scan):
                raise Invalid(where, f"there is no record {record}")
            if record in seen or not free[record]:
                raise Invalid(where, f"record {record} can't be paired: it is taken, repeated, too short, or known as common")
            seen.add(record)
        if a == b or not source.can_swap(a, b):
            raise Invalid(where, f"records {a} and {b} can't stand in each other's place: length or terminator differs")
    return sorted((min(pair), max(pair)) for pair in pairs)


def _new_withheld(
    key: MarkKey, source: Source, free: NDArray[np.bool_], withhold: Withhold, *, gone: set[int], taken: int
) -> list[int]:
    before = followed(source, gone)
    able = [n for n in np.flatnonzero(free).tolist() if before[n] >= 0 and can_follow(source, n, int(before[n]))]
    if not isinstance(withhold, float | int):
        for number, record in enumerate(withhold):
            if record not in able or source.media != "jsonl":
                raise Invalid(f"withhold[{number}]", f"record {record} can't be withheld")
        return sorted(set(withhold))
    if not withhold or source.media != "jsonl":
        return []
    want = max(0, int(withhold * np.count_nonzero(source.sound)) - taken)
    ranks = keyed_order(key, source.whole[able])
    return sorted(able[at] for at in np.argsort(ranks, kind="stable")[:want].tolist())


def _register(
    key: MarkKey,
    source: Source,
    registry: Registry,
    chosen: Chosen,
    refs: NDArray[np.int64],
    *,
    new_pairs: list[tuple[int, int]],
    new_withheld: list[int],
) -> None:
    raw = source.whole.astype(">u8").tobytes()
    ids, drawn, sides = [], [], []
    members = [*new_pairs, *((record,) for record in new_withheld)]
    for some in members:
        text = bytes([len(some)]) + b"".join(raw[16 * record : 16 * record + 16] for record in some)
        slot_id = hmac.digest(key.subkeys.slot, text, "sha256")[:16]
        tier, level, side = draw(key, slot_id)
        ids.append(slot_id)
        drawn.append((tier, level))
        sides.append(side)
    numbers = registry.add_slots(ids, drawn, [PAIR] * len(new_pairs) + [WITHHELD] * len(new_withheld))
    for number, side, some in zip(numbers.tolist(), sides, members, strict=True):
        if len(some) == 1:
            chosen.withheld.append((number, some[0]))
            refs[some[0]] = 2 * number + 1
        else:
            zero, one = (some[0], some[1]) if side == 0 else (some[1], some[0])
            chosen.pairs.append((number, zero, one))
            refs[zero], refs[one] = 2 * number, 2 * number + 1
    refs[refs == ABSENT] = COMMON
    new = registry.members.find(source.whole) == ABSENT
    registry.add_members(source.whole[new], refs[new])
    named = source.named & ~repeated(source.name)
    named &= registry.names.find(source.name) == ABSENT
    registry.add_names(source.name[named], refs[named])


def repeated(digests: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which rows occur more than once."""
    _, where, counts = np.unique(digests, axis=0, return_inverse=True, return_counts=True)
    return np.asarray(counts[where.reshape(-1)] > 1)
