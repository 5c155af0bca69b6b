"""Classes of leaked slots that look alike to everyone: what decoders are fitted to and copies are counted by. Pure.

A copy's score needs only how many of its bits are 1 in each class, never which.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ZERO, ONE, BOTH, PRESENT = range(4)  # symbols: a pair's side 0, side 1, both; a withheld record that is there
SYMBOLS: Final = 4


@dataclass(frozen=True, slots=True)
class Classes:
    """Classes of slots: P(bit = 1), symbol, how many of the found copies hold a 1, which key; and slots in each."""

    bias: NDArray[np.float64]
    symbol: NDArray[np.int64]
    held: NDArray[np.int64]
    key: NDArray[np.int64]
    count: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Shown:
    """What a sample shows of one tier's slots, one row a slot: P(bit = 1), symbol, which key."""

    bias: NDArray[np.float64]
    symbol: NDArray[np.int64]
    key: NDArray[np.int64]

    def __len__(self) -> int:
        """How many slots."""
        return len(self.symbol)

    def classes(self, held: NDArray[np.int64]) -> tuple[Classes, NDArray[np.int64]]:
        """The classes, given how many of the found copies hold a 1 in each slot; and each slot's class."""
        biases, level = np.unique(self.bias, return_inverse=True)
        columns = (level.reshape(-1), self.symbol, held.astype(np.int64), self.key)
        sizes = [int(column.max()) + 1 for column in columns]
        code = np.ravel_multi_index(columns, sizes)
        count = np.bincount(code, minlength=math.prod(sizes))
        kinds = np.flatnonzero(count)
        place = np.zeros(len(count), dtype=np.int64)
        place[kinds] = np.arange(len(kinds))
        level, symbol, known, key = np.unravel_index(kinds, sizes)
        return Classes(biases[level], symbol, known, key, count[kinds]), place[code]

    @classmethod
    def together(cls, parts: list[Shown]) -> Shown:
        """Several looks' slots, one behind the other."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("bias", "symbol", "key")))
