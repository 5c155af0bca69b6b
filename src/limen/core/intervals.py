"""Stretches of time as one value: a sorted set of half-open intervals [start, end) in microseconds, none touching another.

What is known of a time outside them is nothing: no method here ever fills a hole that its caller did not name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True, slots=True)
class Intervals:
    """Half-open intervals, sorted and merged. Make it with `of`; iterate it for (start, end)."""

    spans: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, int]], *, bridge: int = 0) -> Intervals:
        """Any intervals in any order; empty ones go. Two that lie at most `bridge` apart become one."""
        merged: list[tuple[int, int]] = []
        for start, end in sorted((start, end) for start, end in pairs if start < end):
            if merged and start - merged[-1][1] <= bridge:
                merged[-1] = (merged[-1][0], max(merged[-1][1], end))
            else:
                merged.append((start, end))
        return cls(tuple(merged))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self.spans)

    def __bool__(self) -> bool:
        return bool(self.spans)

    @property
    def length(self) -> int:
        """Microseconds in all."""
        return sum(end - start for start, end in self.spans)

    def holds(self, moment: int) -> bool:
        """Whether a moment lies in one of them."""
        return any(start <= moment < end for start, end in self.spans)

    def union(self, other: Intervals) -> Intervals:
        """What lies in either."""
        return Intervals.of((*self.spans, *other.spans))

    def common(self, other: Intervals) -> Intervals:
        """What lies in both."""
        found: list[tuple[int, int]] = []
        mine, theirs = list(self.spans), list(other.spans)
        i = j = 0
        while i < len(mine) and j < len(theirs):
            found.append((max(mine[i][0], theirs[j][0]), min(mine[i][1], theirs[j][1])))
            if mine[i][1] < theirs[j][1]:
                i += 1
            else:
                j += 1
        return Intervals.of(found)

    def minus(self, other: Intervals) -> Intervals:
        """What lies here and not there."""
        left: list[tuple[int, int]] = []
        holes = list(other.spans)
        first = 0
        for start, end in self.spans:
            at = start
            while first < len(holes) and holes[first][1] <= start:
                first += 1
            for hole_start, hole_end in holes[first:]:
                if hole_start >= end:
                    break
                left.append((at, min(hole_start, end)))
                at = max(at, hole_end)
            left.append((at, end))
        return Intervals.of(left)

    def within(self, start: int, end: int) -> Intervals:
        """What of them lies in one interval."""
        return self.common(Intervals.of([(start, end)]))
