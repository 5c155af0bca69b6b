"""Sorted look-up by 128-bit digest: two u64 columns, the first sorted, beside an int64 value. No I/O.

A digest that is added with two different values is kept with `AMBIGUOUS`: it proves nothing about either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ABSENT: Final = -(2**62)
AMBIGUOUS: Final = ABSENT + 1


@dataclass(frozen=True, slots=True)
class Table:
    """Digest -> value. Arrays may be memory-mapped; a look-up reads no more of them than the pages around what it asks for."""

    high: NDArray[np.uint64]
    low: NDArray[np.uint64]
    value: NDArray[np.int64]

    @classmethod
    def build(cls, digests: NDArray[np.uint64], values: NDArray[np.int64]) -> Table:
        """From (n, 2) digests and n values; equal pairs fold, a digest with two values becomes AMBIGUOUS."""
        order = np.lexsort((values, digests[:, 1], digests[:, 0]))
        rows, values = digests[order], values[order].copy()
        first = np.ones(len(rows), dtype=np.bool_)
        first[1:] = (rows[1:] != rows[:-1]).any(axis=1)
        group = np.cumsum(first) - 1
        starts = np.flatnonzero(first)
        clash = values != values[starts[group]] if len(rows) else np.zeros(0, dtype=np.bool_)
        out = values[starts]
        out[group[clash]] = AMBIGUOUS
        kept = rows[starts]
        return cls(np.ascontiguousarray(kept[:, 0]), np.ascontiguousarray(kept[:, 1]), out)

    @classmethod
    def empty(cls) -> Table:
        """A table that holds nothing."""
        return cls.build(np.zeros((0, 2), dtype=np.uint64), np.zeros(0, dtype=np.int64))

    def find(self, digests: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The value of each (n, 2) digest; ABSENT where there is none."""
        out = np.full(len(digests), ABSENT, dtype=np.int64)
        if not len(self.high) or not len(digests):
            return out
        # In order, so that neighbours in the table are asked for one after the other: four times faster on one too big for
        # the processor's cache, and one pass over a table that is still on the disk.
        order = np.argsort(digests[:, 0])
        wanted = digests[order]
        left = np.searchsorted(self.high, wanted[:, 0], side="left")
        # Two digests may share their first half (once in 2^64 pairs); looking one further is enough.
        for step in (1, 0):
            at = np.minimum(left + step, len(self.high) - 1)
            near = np.flatnonzero(self.high[at] == wanted[:, 0])
            at = at[near]
            hit = self.low[at] == wanted[near, 1]
            out[order[near[hit]]] = self.value[at[hit]]
        return out

    def plus(self, digests: NDArray[np.uint64], values: NDArray[np.int64]) -> Table:
        """What this holds and more, as a new table."""
        old = np.stack([self.high, self.low], axis=1)
        return Table.build(np.concatenate([old, digests]), np.concatenate([self.value, values]))


def as_digests(raw: bytes) -> NDArray[np.uint64]:
    """Concatenated 16-byte digests as (n, 2) numbers."""
    return np.frombuffer(raw, dtype=">u8").astype(np.uint64).reshape(-1, 2)
