"""How sure a share is: the exact interval of Clopper and Pearson (1934) for right answers among n. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIDENCE: Final = 0.95
_HALVINGS: Final = 60


def clopper_pearson(right: int, n: int, *, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The shares under which `right` or more, and `right` or fewer, would not be rarer than (1 - confidence) / 2.

    It holds the true share at least so often, at any n and share; it is wide for small n, and for n = 0 it is everything.
    """
    if not 0 <= right <= n:
        raise RuntimeError(f"{right} of {n}")
    tail = (1 - confidence) / 2
    low = 0.0 if right == 0 else _root(lambda p: _at_least(right, n, p) - tail)
    high = 1.0 if right == n else _root(lambda p: tail - _at_most(right, n, p))
    return low, high


def _root(rising: Callable[[float], float]) -> float:
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _at_least(k: int, n: int, p: float) -> float:
    return math.fsum(_chance(i, n, p) for i in range(k, n + 1))


def _at_most(k: int, n: int, p: float) -> float:
    return math.fsum(_chance(i, n, p) for i in range(k + 1))


def _chance(k: int, n: int, p: float) -> float:
    if p in {0.0, 1.0}:
        return float(k == n * p)
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(p) + (n - k) * math.log1p(-p))
