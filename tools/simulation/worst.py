"""The worst a coalition can do per leaked slot, searched for: least information about one colluder, biases known to nobody.

An attack is theta[symbol, how many hold a 1]; I(bit; symbol | bias) is convex in it, and the code treats both sides alike,
so the least lies at a theta that does too. `choosing` only chooses sides; `selecting` also decides, by how a slot is split,
whether to leak it at all, which is harder to see through and costs the leakers those slots.
"""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from limen.marks.levels import NUIDA8, Levels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

STEPS = 2000
STARTS = 3


def slots_needed(theta: Floats, threshold: float, detection: float = 0.99, *, table: Levels = NUIDA8) -> float:
    """About how many leaked slots would do for a decoder that knew theta and paid nothing for its bank."""
    mean, variance = _information(theta, table)
    colluders = theta.shape[1] - 1
    z = NormalDist().inv_cdf(1 - (1 - detection) ** (1 / colluders))
    # The tilted e-value takes back what a threshold below the mean costs a likelihood ratio: about z^2 / 2 nats.
    reach = max(1.0, threshold - max(0.0, z) ** 2 / 2)
    root = (z * math.sqrt(variance) + math.sqrt(max(0.0, z * z * variance + 4 * mean * reach))) / (2 * mean)
    return root * root


@cache
def _choosing(colluders: int, threshold: float, table: Levels) -> bytes:
    def build(u: Floats) -> Floats:
        one = np.concatenate([[0.0], u, 1 - u[: (colluders - 1) // 2][::-1], [1.0]])
        if colluders % 2 == 0:
            one[colluders // 2] = 0.5
        return np.vstack([1 - one, one])

    start = (np.arange(1, colluders) / colluders)[: colluders // 2]
    return build(_climb(build, [start], threshold, table)).tobytes()


@cache
def _selecting(colluders: int, threshold: float, table: Levels) -> bytes:
    n = colluders + 1

    def build(u: Floats) -> Floats:
        keep, one = u[:n], u[n:].copy()
        keep, one = (keep + keep[::-1]) / 2, (one + 1 - one[::-1]) / 2
        one[0], one[-1] = 0.0, 1.0
        return np.vstack([1 - one, one]) * np.maximum(keep, 1e-3)

    rng = np.random.default_rng(colluders)
    starts = [np.concatenate([np.ones(n), np.arange(n) / colluders]), *(rng.random(2 * n) for _ in range(STARTS - 1))]
    return build(_climb(build, starts, threshold, table)).tobytes()


def choosing(colluders: int, threshold: float, table: Levels = NUIDA8) -> Floats:
    """The worst choice of sides."""
    return np.frombuffer(_choosing(colluders, threshold, table)).reshape(2, -1)


def selecting(colluders: int, threshold: float, table: Levels = NUIDA8) -> Floats:
    """The worst choice of sides and of what to leak at all."""
    return np.frombuffer(_selecting(colluders, threshold, table)).reshape(2, -1)


def _climb(build: object, starts: list[Floats], threshold: float, table: Levels) -> Floats:
    """Random moves whose size grows with success: crude, seeded, and enough for so few parameters."""
    rng, best, at = np.random.default_rng(7), -math.inf, starts[0]
    for start in starts:
        u, value, size = start, slots_needed(build(start), threshold, table=table), 0.3  # type: ignore[operator]
        for _ in range(STEPS if len(start) else 0):
            moved = np.clip(u + rng.normal(size=len(u)) * size * (rng.random(len(u)) < 0.4), 0, 1)  # noqa: PLR2004
            there = slots_needed(build(moved), threshold, table=table)  # type: ignore[operator]
            if there > value:
                u, value, size = moved, there, min(0.5, size * 1.3)
            else:
                size = max(1e-3, size * 0.985)
        if value > best:
            best, at = value, u
    return at


def _information(theta: Floats, table: Levels) -> tuple[float, float]:
    """Mean and variance, per leaked slot, of a colluder's log-likelihood ratio."""
    colluders = theta.shape[1] - 1
    k = np.arange(colluders + 1)
    ways = np.array([math.comb(colluders, i) for i in k])
    p = table.biases[:, None]
    chance = ways * p**k * (1 - p) ** (colluders - k)
    shown = chance @ theta.T
    held = (chance @ (theta * k / colluders).T) / np.maximum(shown, 1e-300)
    one = np.log(np.maximum(held, 1e-300) / p)
    zero = np.log(np.maximum(1 - held, 1e-300) / (1 - p))
    weight = table.shares[:, None] * shown
    weight /= weight.sum()
    mean = float((weight * (held * one + (1 - held) * zero)).sum())
    square = float((weight * (held * one**2 + (1 - held) * zero**2)).sum())
    return mean, square - mean**2
