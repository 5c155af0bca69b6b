"""Slots of several records a side: which records go into which segment. As `choose` does for pairs, by the same registry.

A segment is compressed by itself, so it has to hold more than one short record. A side holds about `SIDE` bytes of records;
fewer, so that a shard has `WISHED` slots; never less than one record. The two sides of a new slot have equally many records of
about equal length. A slot of earlier versions lives while both its sides have a record left: a side may shrink, no record
ever changes its side, and nothing is added. All choices depend on the key, the source and the registry alone.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from limen.marks.choose import keyed_order, known, repeated
from limen.marks.code import draw
from limen.marks.registry import COMMON, PAIR, WITHHELD, Registry
from limen.marks.tables import ABSENT, as_digests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from limen.marks.choose import Told
    from limen.marks.keys import MarkKey

SIDE: Final = 4096  # bytes of a side's records: what smaller segments cost is in docs/marks.md
WISHED: Final = 720  # slots that name one of two colluders: two thirds are of the person tier, which needs 476
NEAR: Final = 512  # records among which a slot's are sought, so that they lie near each other in the source and in length
_TWO: Final = b"\x02"
_PERSON: Final = b"limen side v1"


@dataclass(frozen=True, slots=True)
class Group:
    """A slot of this version: its number in the registry, and the records of either side, in the source's order."""

    number: int
    zero: tuple[int, ...]
    one: tuple[int, ...]

    @property
    def first(self) -> int:
        """The record whose place the slot has."""
        return min(*self.zero, *self.one)


def choose_groups(
    key: MarkKey,
    told: Told,
    registry: Registry,
    *,
    sizes: NDArray[np.int64],
    windows: NDArray[np.int64],
    pairs: float,
    least: int,
    side: int = SIDE,
) -> list[Group]:
    """Choose the version's slots, by place in the source, and register them, and every other record as common.

    `sizes`: bytes of each record; a new slot stays within one of `windows`, a number for each record, ascending. `side`: about
    how many bytes a new slot's side has. Fewer than `least` slots, and none from earlier versions, means none at all, as in
    `choose.choose`.
    """
    refs = known(told, registry)
    standing, lost = _standing(told, registry, refs)
    if len(lost):
        registry.retire(lost)
        refs[np.isin(refs >> 1, lost) & (refs >= 0)] = COMMON
    free = told.sound & (refs == ABSENT) & ~repeated(told.whole)
    taken = sum(len(group.zero) + len(group.one) for group in standing)
    want = int(pairs * np.count_nonzero(told.sound)) - taken
    new = _new(key, told, free, sizes=sizes, windows=windows, want=want, side=side)
    if len(new) < least and not standing:
        new = []
    groups = sorted([*standing, *_register(key, told, registry, refs, new)], key=lambda group: group.first)
    refs[refs == ABSENT] = COMMON
    fresh = registry.members.find(told.whole) == ABSENT
    registry.add_members(told.whole[fresh], refs[fresh])
    named = told.named & ~repeated(told.name)
    named &= registry.names.find(told.name) == ABSENT
    registry.add_names(told.name[named], refs[named])
    return groups


def records_a_side(sizes: NDArray[np.int64], *, side: int = SIDE) -> int:
    """How many of these records a new slot's side holds."""
    if not len(sizes):
        return 1
    by_bytes = round(max(side, SIDE) / max(1.0, float(sizes.mean())))
    return max(1, min(by_bytes, len(sizes) // (2 * WISHED)))


def side_digest(told: Told, records: Sequence[int]) -> bytes:
    """What names a side: its record's digest, or, of several, BLAKE2b-128 over theirs in the source's order."""
    raw = told.whole[list(records)].astype(">u8").tobytes()
    return raw if len(records) == 1 else hashlib.blake2b(raw, digest_size=16, person=_PERSON).digest()


def sides_of(told: Told, group: Group) -> NDArray[np.uint64]:
    """Both sides' digests, as the manifest's leaves have them."""
    return as_digests(side_digest(told, group.zero) + side_digest(told, group.one))


def _standing(told: Told, registry: Registry, refs: NDArray[np.int64]) -> tuple[list[Group], NDArray[np.int64]]:
    """Slots of earlier versions that live on, and those that end here because a side is gone or can't be served."""
    claims: dict[int, tuple[list[int], list[int]]] = {}
    for record in np.flatnonzero(refs >= 0).tolist():
        claims.setdefault(int(refs[record]) >> 1, ([], []))[int(refs[record]) & 1].append(record)
    living, lost = [], []
    for number, (zero, one) in claims.items():
        sound = bool(told.sound[zero].all() and told.sound[one].all())
        if zero and one and sound and registry.slots["kind"][number] != WITHHELD:
            living.append(Group(number, tuple(zero), tuple(one)))
        else:
            lost.append(number)
    return living, np.array(sorted(lost), dtype=np.int64)


def _new(
    key: MarkKey,
    told: Told,
    free: NDArray[np.bool_],
    *,
    sizes: NDArray[np.int64],
    windows: NDArray[np.int64],
    want: int,
    side: int,
) -> list[tuple[list[int], list[int]]]:
    candidates = np.flatnonzero(free)
    ranks = keyed_order(key, told.whole[candidates])
    drawn = np.sort(np.argsort(ranks, kind="stable")[: max(0, want)])
    candidates, ranks = candidates[drawn], ranks[drawn]
    each = records_a_side(sizes[candidates], side=side)
    near = max(NEAR // (2 * each), 1) * 2 * each
    new: list[tuple[list[int], list[int]]] = []
    for window in np.unique(windows[candidates]).tolist():
        here = np.flatnonzero(windows[candidates] == window)
        for at in range(0, len(here), near):
            some = here[at : at + near]
            # By length, then by rank; two and two go to the sides crosswise, so that neither gets all the longer ones.
            some = some[np.lexsort((ranks[some], sizes[candidates[some]]))]
            for first in range(0, len(some) - 1, 2 * each):
                part = candidates[some[first : first + 2 * each]]
                part = part[: len(part) // 2 * 2]
                turn = np.arange(len(part)) // 2 % 2 ^ np.arange(len(part)) % 2
                new.append((sorted(part[turn == 0].tolist()), sorted(part[turn == 1].tolist())))
    return [(a, b) if min(a) < min(b) else (b, a) for a, b in new]


def _register(
    key: MarkKey, told: Told, registry: Registry, refs: NDArray[np.int64], new: list[tuple[list[int], list[int]]]
) -> list[Group]:
    ids, drawn, sides = [], [], []
    for a, b in new:
        slot_id = hmac.digest(key.subkeys.slot, _TWO + side_digest(told, a) + side_digest(told, b), "sha256")[:16]
        tier, level, side = draw(key, slot_id)
        ids.append(slot_id)
        drawn.append((tier, level))
        sides.append(side)
    groups = []
    for number, side, (a, b) in zip(registry.add_slots(ids, drawn, [PAIR] * len(new)).tolist(), sides, new, strict=True):
        zero, one = (a, b) if side == 0 else (b, a)
        refs[zero], refs[one] = 2 * number, 2 * number + 1
        groups.append(Group(number, tuple(zero), tuple(one)))
    return groups
