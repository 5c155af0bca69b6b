"""What a coalition of c seems to have done: P(symbol | k of c hold a 1), fitted to how often each symbol is shown. Pure.

Expectation-maximisation after Meerwald & Furon 2012, held near the marking assumption by pseudo-counts: what nobody
held is not shown, but for misreads. A bad fit costs power and nothing else; no copy's bits but those already found enter.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from limen.marks.classes import BOTH, ONE, PRESENT, ZERO, Classes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FLOOR: Final = 0.004  # a symbol that a model rules out still happens this often: misreads, foreign records
_ROUNDS: Final = 40
_ENDS: Final = 6.0  # pseudo-counts for "all hold it, so it is there" and its opposite
_MIDDLE: Final = 0.6


def random_pick(colluders: int) -> Floats:
    """theta[symbol, holders] if each slot shows a colluder's side, drawn at random."""
    one = FLOOR + (1 - 3 * FLOOR) * np.arange(colluders + 1) / colluders
    return np.vstack([1 - FLOOR - one, one, np.full(colluders + 1, FLOOR)])


def fitted(classes: Classes, colluders: int, found: int) -> Floats:
    """theta[symbol, holders] by expectation-maximisation on pair slots' class counts, near the marking assumption."""
    held = np.arange(colluders + 1) / colluders
    prior = np.vstack([(1 - held) * 0.85, held * 0.85, np.full(colluders + 1, 0.15)])
    prior[:, 0], prior[:, -1] = (1 - 2 * FLOOR, FLOOR, FLOOR), (FLOOR, 1 - 2 * FLOOR, FLOOR)
    weight = np.full(colluders + 1, _MIDDLE)
    weight[[0, -1]] = _ENDS
    pairs = classes.symbol != PRESENT
    bias, symbol, known, count = (a[pairs] for a in (classes.bias, classes.symbol, classes.held, classes.count))
    others = colluders - found
    chances = np.zeros((len(bias), colluders + 1))
    for more in range(others + 1):
        chances[np.arange(len(bias)), known + more] = math.comb(others, more) * bias**more * (1 - bias) ** (others - more)
    shows = [(symbol == s).astype(np.float64) for s in (ZERO, ONE, BOTH)]
    theta = prior
    for _ in range(_ROUNDS):
        joint = chances * theta[symbol]
        joint *= (count / joint.sum(axis=1))[:, None]
        theta = prior * weight + np.stack([show @ joint for show in shows])
        theta /= theta.sum(axis=0)
    return np.asarray(np.maximum(theta, FLOOR / 10))
