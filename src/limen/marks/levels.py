"""Tables of bias levels: which probabilities slots have, and how often each is drawn. Pure; a mark key names its table.

Nuida et al.'s discrete distributions ("An improvement of discrete Tardos fingerprinting codes", 2009) for up to c0
colluders: the Gauss-Legendre points of c0/2 nodes, moved to (0, 1), each with a weight proportional to
(p(1 - p))^(-3/2) / L'(p)^2. Points are rounded to n/256 and cumulative weights to n/65536, so that both are exact.
`nuida8` rounds its weights to four digits first (.2483 .2517 .2517 .2483), as limen-code/1 has from its beginning.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CUT_UNITS: Final = 65_536


@dataclass(frozen=True)
class Levels:
    """One table. A bit of level k is 1 with probability `of_256[k]`/256; a slot has as its level how many cuts it reaches."""

    name: str
    of_256: tuple[int, ...]
    cut: tuple[int, ...]  # of 65,536; one fewer than the levels

    def __len__(self) -> int:
        """How many levels."""
        return len(self.of_256)

    @cached_property
    def thresholds(self) -> NDArray[np.uint8]:
        """By level: a keystream byte below this is a 1."""
        return np.array(self.of_256, dtype=np.uint8)

    @cached_property
    def biases(self) -> NDArray[np.float64]:
        """By level: P(bit = 1)."""
        return np.asarray(self.thresholds / 256)

    @cached_property
    def cuts(self) -> NDArray[np.int64]:
        """Where the next level begins, of 65,536."""
        return np.array(self.cut, dtype=np.int64)

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """By level: how often it is drawn."""
        return np.asarray(np.diff([0, *self.cut, CUT_UNITS]) / CUT_UNITS)


NUIDA8: Final = Levels("nuida8", (18, 84, 172, 238), (16_272, 32_768, 49_264))
NUIDA16: Final = Levels("nuida16", (5, 26, 61, 105, 151, 195, 230, 251), (8_096, 16_307, 24_535, 32_768, 41_001, 49_229, 57_440))
LEVELS: Final = {table.name: table for table in (NUIDA8, NUIDA16)}
DEFAULT: Final = NUIDA8.name
