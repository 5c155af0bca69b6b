"""Classes of leaked slots that look alike to everyone: what decoders are fitted to and copies are counted by. Pure.

A copy's score needs only how many of its bits are 1 in each class, never which.
"""

from __future__ import annotations

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
        rows = np.stack([level.reshape(-1), self.symbol, held.astype(np.int64), self.key], axis=1)
        kinds, which, count = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
        return Classes(biases[kinds[:, 0]], kinds[:, 1], kinds[:, 2], kinds[:, 3], count), which.reshape(-1)

    @classmethod
    def together(cls, parts: list[Shown]) -> Shown:
        """Several looks' slots, one behind the other."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("bias", "symbol", "key")))
