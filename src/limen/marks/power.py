"""How much of an asset must leak for its copies to be named: the measured lengths, scaled to an asset. Pure.

`MEASURED` are leaked slots of one tier that named at least one of c colluders in 99 of 100 leaks or more, whatever sides they
chose, at alpha 1e-9 among 100,000 copies (docs/marks.md, "How much is enough"). Another alpha or number of copies needs more
or less in the proportion that `decoder.slots_for` gives for a random pick. Two thirds of an asset's slots are of the person
tier, one third of the vendor tier. A withheld record that leaked counts as much as what it says beside a pair's side, if the
colluders show every record that one of them has: as much for one copy, four fifths for two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from limen.marks.code import VENDOR_SHARE
from limen.marks.decoder import information, slots_for
from limen.marks.levels import NUIDA8
from limen.marks.registry import WITHHELD
from limen.marks.search import threshold_for

if TYPE_CHECKING:
    from numpy.typing import NDArray

MEASURED: Final = {1: 110, 2: 520, 3: 1_150, 5: 2_700, 8: 7_500}
MEASURED_VENDOR: Final = 100  # vendor slots, a thousand accounts of one among a hundred vendors
MEASURED_ALPHA: Final = 1e-9
MEASURED_COPIES: Final = 100_000
MEASURED_VENDORS: Final = 100
_BISECTIONS: Final = 60


@dataclass(frozen=True, slots=True)
class Reach:
    """Whether an asset's copies name one of `colluders` (0: a vendor, however many of its accounts).

    `slots` matched, of both tiers, would do; a whole copy shows `has` on average. `leaked`: how many of a copy's `records`,
    drawn at random, show as many, or None if all of them don't.
    """

    colluders: int
    slots: int
    has: int
    leaked: int | None
    records: int


def reaches(slots: NDArray[np.void], *, records: float, recipients: int, vendors: int, alpha: float) -> list[Reach]:
    """For 1, 2, 3, 5, 8 colluders and for a vendor. `slots` as `coverage.Held` has them, each once; `records` of a copy."""
    needed = {c: math.ceil(measured_for(c, recipients, alpha) / (1 - VENDOR_SHARE)) for c in MEASURED}
    scale = _scale(1, alpha, vendors, MEASURED_VENDORS)
    needed[0] = math.ceil(MEASURED_VENDOR * scale / VENDOR_SHARE)
    showing = _Showing.of(slots)
    return [_reach(c, count, showing, records) for c, count in needed.items()]


@dataclass(frozen=True, slots=True)
class _Showing:
    """How many slots need a withheld record, and how many need one of so many records."""

    withheld: int
    sizes: NDArray[np.float64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, slots: NDArray[np.void]) -> _Showing:
        given = slots["kind"] == WITHHELD
        sizes, counts = np.unique(np.maximum(slots["size"][~given], 1.0), return_counts=True)
        return cls(int(np.count_nonzero(given)), sizes, counts)

    def slots(self, share: float, colluders: int) -> float:
        """Slots' worth of a random share of a copy's records; a copy has half of the withheld ones."""
        return self.withheld * worth_of_present(colluders) * share / 2 + float(self.counts @ (1 - (1 - share) ** self.sizes))


def worth_of_present(colluders: int) -> float:
    """What a withheld record that leaked says of one of so many copies, if all that any of them has is leaked; a pair says 1.

    By the mean log-likelihood ratio of a colluder's bit, over the code's levels.
    """
    bias, share = NUIDA8.biases, NUIDA8.shares
    seen, seen_without = 1 - (1 - bias) ** colluders, 1 - (1 - bias) ** (colluders - 1)
    lacking = np.log(np.maximum(seen_without, 1e-300) / seen) * seen_without
    gain = float(share @ (bias * np.log(1 / seen) + (1 - bias) * lacking)) / float(share @ seen)
    return min(1.0, gain / information(colluders)[0])


def measured_for(colluders: int, copies: int, alpha: float) -> float:
    """Slots of the person tier for so many colluders among so many copies, all of which had access."""
    return MEASURED[colluders] * _scale(colluders, alpha, copies, MEASURED_COPIES)


def _scale(colluders: int, alpha: float, copies: int, measured: int) -> float:
    here, there = (threshold_for(a, n) for a, n in ((alpha, copies), (MEASURED_ALPHA, measured)))
    return slots_for(colluders, threshold=here) / slots_for(colluders, threshold=there)


def _reach(colluders: int, needed: int, showing: _Showing, records: float) -> Reach:
    has = math.floor(showing.slots(1.0, colluders or 1))
    if has < needed:
        return Reach(colluders, needed, has, None, math.floor(records))
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (low, middle) if showing.slots(middle, colluders or 1) >= needed else (middle, high)
    return Reach(colluders, needed, has, math.ceil(high * records), math.floor(records))
