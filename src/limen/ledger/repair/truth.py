"""Which of several copies of a tree holds what was signed, and where each of them departs from it. RFC 6962 §2.1.

The leaves of a log lie in up to three places: the database's rows, the tiles, and the bundles of entries. Each may be
damaged anywhere. A signed root decides: walking down from it, a node is believed if two children are found that hash to it:
as one copy or another has them, else as most copies have each leaf, else as any has it. So a single sound copy of a leaf is
enough to name every bad one, unless so many are in dispute that not all combinations can be tried (TRIED a node); what is
not proven stays unknown. Pure; leaves are asked for, not kept.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

from limen.formats.merkle import EMPTY_ROOT, Frontier, node_hash, root_of, split
from limen.formats.tiles import WIDTH

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

TRIED: Final = 4096

Leaf = bytes | None
"""A leaf hash, or None where a copy has no entry."""


class Hints(Protocol):
    """Whoever may know the hash of a node."""

    def hash(self, start: int, end: int) -> bytes | None:
        """What it says that the node over the leaves [start, end) hashes to; None if it can't say."""


class Copy:
    """One copy of all leaves, in blocks of 256. `roots` are the blocks' roots, None for one with a gap.

    `read` gives a block's leaves.
    """

    def __init__(self, name: str, roots: Sequence[bytes | None], read: Callable[[int], Sequence[Leaf]]) -> None:
        self.name = name
        self._roots = roots
        self._block = lru_cache(maxsize=8)(read)
        self._nodes: dict[tuple[int, int], bytes | None] = {}

    def hash(self, start: int, end: int) -> bytes | None:
        """The hash of these leaves as this copy has them; None if one is missing."""
        if start == end:
            return EMPTY_ROOT
        number, first = divmod(start, WIDTH)
        if first + end - start <= WIDTH:
            if first == 0 and end - start == WIDTH:
                return self._roots[number] if number < len(self._roots) else None
            leaves = self.leaves(start, end)
            return None if any(leaf is None for leaf in leaves) else root_of([leaf for leaf in leaves if leaf])
        if (start, end) not in self._nodes:
            middle = start + split(end - start)
            left, right = self.hash(start, middle), self.hash(middle, end)
            self._nodes[start, end] = None if left is None or right is None else node_hash(left, right)
        return self._nodes[start, end]

    def has_nothing(self, start: int, end: int) -> bool:
        """Whether this copy lacks every one of these leaves, within one block."""
        return all(leaf is None for leaf in self.leaves(start, end))

    def leaves(self, start: int, end: int) -> Sequence[Leaf]:
        """Leaves within one block; None for those that this copy lacks."""
        if start == end:
            return []
        number, first = divmod(start, WIDTH)
        block = self._block(number)
        found = list(block[first : first + end - start])
        return found + [None] * (end - start - len(found))


class Peaks:
    """A frontier, which knows the largest perfect subtrees of its tree."""

    def __init__(self, frontier: Frontier) -> None:
        self._known: dict[tuple[int, int], bytes] = {}
        start = 0
        for at, peak in enumerate(frontier.peaks):
            rest = frontier.size - start
            self._known[start, frontier.size] = Frontier(rest, frontier.peaks[at:]).root()
            width = 1 << (rest.bit_length() - 1)
            self._known[start, start + width] = peak
            start += width

    def hash(self, start: int, end: int) -> bytes | None:
        """A peak, or what the last few make."""
        return self._known.get((start, end))


@dataclass(slots=True)
class Verdict:
    """What a signed root says about each copy, by the copy's name.

    `bad`: indexes whose leaf is not the signed one. `unknown`: ranges that no copy could prove, each within which every copy
    fails somewhere. `proven`: for indexes at which some copy has another leaf, the signed one.
    """

    bad: dict[str, list[int]]
    unknown: list[tuple[int, int]] = field(default_factory=list)
    proven: dict[int, bytes] = field(default_factory=dict)

    def is_sound(self, name: str, start: int, end: int) -> bool:
        """Whether this copy is right in a whole range."""
        return not self.bad_within(name, start, end) and not any(low < end and start < high for low, high in self.unknown)

    def bad_within(self, name: str, start: int, end: int) -> Sequence[int]:
        """Where this copy is wrong in a range."""
        indexes = self.bad[name]
        return indexes[bisect_left(indexes, start) : bisect_left(indexes, end)]


def judge(size: int, root: bytes, copies: Sequence[Copy], hints: Sequence[Hints] = ()) -> Verdict:
    """Hold the first `size` leaves of every copy against a signed root. Hints are believed where they fit."""
    verdict = Verdict({copy.name: [] for copy in copies})
    offers: list[Offer] = [_Told(copies, hints), _Combined(copies, hints, choose=_most), _Combined(copies, hints, choose=_any)]
    if size:
        _descend(0, size, root, copies=copies, offers=offers, verdict=verdict)
    for indexes in verdict.bad.values():
        indexes.sort()
    return verdict


def _descend(start: int, end: int, signed: bytes, *, copies: Sequence[Copy], offers: Sequence[Offer], verdict: Verdict) -> None:
    wrong = [copy for copy in copies if copy.hash(start, end) != signed]
    if not wrong:
        return
    if end - start <= WIDTH:
        for copy in [copy for copy in wrong if copy.has_nothing(start, end)]:
            wrong.remove(copy)
            copies = [other for other in copies if other is not copy]
            verdict.bad[copy.name].extend(range(start, end))
        if not wrong:
            return
    if end - start == 1:
        verdict.proven[start] = signed
        for copy in wrong:
            verdict.bad[copy.name].append(start)
        return
    middle = start + split(end - start)
    pair = next((pair for offer in offers if (pair := _children(start, middle, end, signed, offer))), None)
    if pair is None:
        verdict.unknown.append((start, end))
        return
    for low, high, child in ((start, middle, pair[0]), (middle, end, pair[1])):
        _descend(low, high, child, copies=copies, offers=offers, verdict=verdict)


def _children(start: int, middle: int, end: int, signed: bytes, offer: Offer) -> tuple[bytes, bytes] | None:
    """Two hashes that make the signed one, if they are on offer."""
    lefts, rights = offer.hashes(start, middle), offer.hashes(middle, end)
    if len(lefts) * len(rights) > TRIED:
        return None
    return next(((left, right) for left in lefts for right in rights if node_hash(left, right) == signed), None)


class Offer(Protocol):
    """A way to come by hashes that a node may have. Nothing on offer is believed before it makes a signed hash."""

    def hashes(self, start: int, end: int) -> AbstractSet[bytes]:
        """What the node over the leaves [start, end) may hash to."""


class _Told:
    """Each copy's own hash, and each hint's."""

    def __init__(self, copies: Sequence[Copy], hints: Sequence[Hints]) -> None:
        self._speakers: list[Hints] = [*copies, *hints]

    def hashes(self, start: int, end: int) -> AbstractSet[bytes]:
        return {found for speaker in self._speakers if (found := speaker.hash(start, end))}


class _Combined:
    """Every combination of what the copies have below, at most TRIED to a node. Where all agree there is one."""

    def __init__(self, copies: Sequence[Copy], hints: Sequence[Hints], *, choose: Callable[[Sequence[Leaf]], set[bytes]]) -> None:
        self._copies, self._told, self._choose = copies, _Told(copies, hints), choose
        self._known: dict[tuple[int, int], AbstractSet[bytes]] = {}

    def hashes(self, start: int, end: int) -> AbstractSet[bytes]:
        found = self._known.get((start, end))
        if found is None:
            found = self._known[start, end] = self._combined(start, end)
        return found

    def _combined(self, start: int, end: int) -> AbstractSet[bytes]:
        own = [copy.hash(start, end) for copy in self._copies]
        if None not in own and len(set(own)) == 1:
            return {found for found in own if found}
        if end - start == 1:
            return self._choose(own)
        middle = start + split(end - start)
        lefts, rights = self.hashes(start, middle), self.hashes(middle, end)
        if len(lefts) * len(rights) > TRIED:
            return self._told.hashes(start, end)
        return {node_hash(left, right) for left in lefts for right in rights}


def _most(leaves: Sequence[Leaf]) -> set[bytes]:
    """The leaf that two copies or more have; without one, all."""
    return {leaf for leaf in leaves if leaf and leaves.count(leaf) > 1} or _any(leaves)


def _any(leaves: Sequence[Leaf]) -> set[bytes]:
    return {leaf for leaf in leaves if leaf}


def first_disagreement(copies: Sequence[Copy], start: int, end: int) -> int:
    """The first index in a range at which the copies do not all have the same leaf; the start if they agree."""
    for low in range(start, end, WIDTH):
        high = min(low + WIDTH - low % WIDTH, end)
        rows = [copy.leaves(low, high) for copy in copies]
        for index, leaves in enumerate(zip(*rows, strict=True), low):
            if len(set(leaves)) > 1 or leaves[0] is None:
                return index
    return start


def composed(verdict: Verdict, copies: Mapping[str, Copy], size: int) -> Copy:
    """A copy of what is proven of the first `size` leaves: each from whoever has it right; None where nobody has."""

    def block(number: int) -> Sequence[Leaf]:
        start = number * WIDTH
        end = max(start, min(start + WIDTH, size))
        leaves: list[Leaf] = [None] * (end - start)
        for name, copy in copies.items():
            wrong = set(verdict.bad_within(name, start, end))
            for index, leaf in enumerate(copy.leaves(start, end), start):
                if index not in wrong and leaves[index - start] is None:
                    leaves[index - start] = leaf
        for low, high in verdict.unknown:
            for index in range(max(low, start), min(high, end)):
                leaves[index - start] = None
        return leaves

    roots: list[bytes | None] = []
    for number in range(size // WIDTH):
        start, end = number * WIDTH, (number + 1) * WIDTH
        sound = next((copy for name, copy in copies.items() if verdict.is_sound(name, start, end)), None)
        if sound is not None:
            roots.append(sound.hash(start, end))
        else:
            leaves = block(number)
            roots.append(None if any(leaf is None for leaf in leaves) else root_of([leaf for leaf in leaves if leaf]))
    return Copy("proven", roots, block)
