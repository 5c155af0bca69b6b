"""From what two models make of both sides of each slot to leans: numbers above 0 where the suspect took to side 1.

`loss` is in nats over a record's whole text, lower where a model knows it better; `hits` counts true next words among a
completion's candidates, higher where it does. A pair leans by the difference of its sides, a withheld record by its one
side. Everything is read against the reference model: texts differ in difficulty far more than training moves them. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from limen.marks.registry import WITHHELD

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

Measure = Literal["loss", "hits"]
CLIP: Final = 3.0  # standard leans beyond this count as this: one odd record must not decide
_NORMAL: Final = 1.4826  # a normal's standard deviation over its median absolute value
_SIGN: Final = {"loss": -1.0, "hits": 1.0}


def leans(suspect: Floats, reference: Floats, kind: NDArray[np.uint8], *, measure: Measure) -> Floats:
    """Each slot's lean from two (slots x 2 sides) tables; NaN where a side that it needs was not measured.

    The side 0 of a withheld slot is nothing at all, and is never read. Withheld records lean from their own median: training
    on anything alike moves them all.
    """
    moved = _SIGN[measure] * (suspect - reference)
    alone = kind == WITHHELD
    lean = np.where(alone, moved[:, 1], moved[:, 1] - moved[:, 0])
    own = lean[alone & ~np.isnan(lean)]
    if len(own):
        lean = np.where(alone, lean - np.median(own), lean)
    return np.asarray(np.where(np.isfinite(lean), lean, np.nan))


def standard(lean: Floats, kind: NDArray[np.uint8]) -> Floats:
    """Leans in units of their usual size, pairs and withheld records apart, cut at CLIP. NaN stays."""
    out = np.full(len(lean), np.nan)
    for alone in (False, True):
        mine = ((kind == WITHHELD) == alone) & ~np.isnan(lean)
        if mine.any():
            out[mine] = np.clip(lean[mine] / _size(lean[mine]), -CLIP, CLIP)
    return out


def _size(lean: Floats) -> float:
    """The usual size: from the median, or, where most leans are 0, from the mean square."""
    middle = float(np.median(np.abs(lean))) * _NORMAL
    whole = float(np.sqrt(np.mean(lean**2)))
    return middle or whole or 1.0
