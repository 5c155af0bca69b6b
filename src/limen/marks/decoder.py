"""Decoders: how much each leaked slot speaks for or against a copy, normalised so that nobody innocent can gain on average.

Slots fall into classes that look alike to everyone: same bias, same symbol, same bits of the copies found already. In a
class with P(bit = 1) = p, a decoder's weights obey p e^w1 + (1 - p) e^w0 = 1, so the exponential of a copy's score has
mean 1 if its bits had no part in the leak, whatever else is true (docs/marks.md). They may depend on the leak and on
other copies' bits, never on the bits of the copy that is scored. Sources: Tardos 2008; Skoric et al. 2008 (symmetric
score); Laarhoven 2014 (interleaving log-likelihood ratio); Meerwald & Furon 2012 (EM fit of the collusion, side information).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np

from limen.marks.code import BIASES
from limen.marks.registry import WITHHELD

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

BANK: Final = "limen-bank/1"
ZERO, ONE, BOTH, PRESENT = range(4)  # symbols: a pair's side 0, side 1, both; a withheld record that is there
COLLUDERS: Final = (1, 2, 3, 4, 6, 8)
FLOOR: Final = 0.004  # a symbol that the model rules out still happens this often: mis-reads, foreign records
_EM_ROUNDS: Final = 60
_EM_ENDS: Final = 6.0  # pseudo-counts for "all hold it, so it is there" and its opposite
_EM_MIDDLE: Final = 0.6
_LEVEL_SHARES: Final = np.array([16_272, 16_496, 16_496, 16_272]) / 65_536


@dataclass(frozen=True, slots=True)
class Classes:
    """Classes of slots: P(bit = 1), symbol, how many of the found copies hold a 1, which key; and slots in each."""

    bias: Floats
    symbol: NDArray[np.int64]
    held: NDArray[np.int64]
    key: NDArray[np.int64]
    count: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Decoder:
    """Weights by class for a bit of 1 and of 0, with the decoder's share of the bank and the coalition it looks for."""

    name: str
    colluders: int
    share: float
    one: Floats
    zero: Floats


def symbols(kind: NDArray[np.uint8], seen: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Symbols of observed slots."""
    return np.where(kind == WITHHELD, PRESENT, np.array([ZERO, ZERO, ONE, BOTH])[seen])


def bank(classes: Classes, *, found: int, threshold: float) -> list[Decoder]:
    """All decoders, for a search in which `found` copies are known to have taken part. Shares sum to 1.

    The list is fixed by version BANK before any copy is looked at; `threshold` (nats) sets the symmetric score's scale.
    """
    sizes = sorted({c for c in COLLUDERS if c > found} | {found + 1, found + 2})
    out: list[Decoder] = []
    if found == 0:
        # A lone leaker is the likeliest case, and these need no fit: clean, one in twenty and one in seven misread.
        for flips, share in ((FLOOR, 8.0), (0.05, 1.5), (0.15, 1.5)):
            theta = np.array([[1 - flips - FLOOR, flips], [flips, 1 - flips - FLOOR], [FLOOR, FLOOR]])
            out.append(_decoder(f"one copy, {flips:.1%} misread", 1, theta, share=share, classes=classes, found=found))
    for c in sizes:
        out.append(_decoder(f"{c}, fitted", c, _fit(classes, c, found), share=1.0, classes=classes, found=found))
        if c > 1:
            out.append(_decoder(f"{c}, random pick", c, _random_pick(c), share=1.0, classes=classes, found=found))
    out.append(_symmetric(classes, threshold))
    out += [_of_key(decoder, classes, key) for key in np.unique(classes.key) for decoder in out[:]] * (
        len(np.unique(classes.key)) > 1
    )
    total = sum(decoder.share for decoder in out)
    return [Decoder(d.name, d.colluders, d.share / total, d.one, d.zero) for d in out]


def log_evalues(decoders: list[Decoder], scores: Floats) -> Floats:
    """Natural logarithm of the bank's mean e-value for each copy, from (copies x decoders) scores."""
    shifted = scores + np.log([decoder.share for decoder in decoders])
    top = shifted.max(axis=1, keepdims=True)
    return np.asarray(top[:, 0] + np.log(np.exp(shifted - top).sum(axis=1)))


def chernoff(decoder: Decoder, classes: Classes, score: float) -> float:
    """A bound on P(an innocent copy scores this high or higher): inf over t of exp(-t score + sum of ln E[e^(t w)])."""

    def exponent(t: float) -> float:
        ones, zeros = np.log(classes.bias) + t * decoder.one, np.log1p(-classes.bias) + t * decoder.zero
        return float(classes.count @ np.logaddexp(ones, zeros)) - t * score

    # The exponent is convex in t and 0 at t = 0; golden-section search needs nothing more.
    low, high = 0.0, 64.0
    ratio = (math.sqrt(5) - 1) / 2
    a, b = high - ratio * (high - low), low + ratio * (high - low)
    at_a, at_b = exponent(a), exponent(b)
    for _ in range(100):
        if at_a < at_b:
            high, b, at_b = b, a, at_a
            a = high - ratio * (high - low)
            at_a = exponent(a)
        else:
            low, a, at_a = a, b, at_b
            b = low + ratio * (high - low)
            at_b = exponent(b)
    return math.exp(min(0.0, at_a, at_b))


def slots_for(colluders: int, *, threshold: float, detection: float = 0.99) -> int:
    """About how many leaked pair slots of a tier name at least one of `colluders`, picking sides at random."""
    mean, variance = _information(colluders)
    # Each colluder is about as visible as the others: all escape with probability (1 - detection).
    z = NormalDist().inv_cdf(1 - (1 - detection) ** (1 / colluders))
    root = (z * math.sqrt(variance) + math.sqrt(max(0.0, z * z * variance + 4 * mean * threshold))) / (2 * mean)
    return math.ceil(root * root)


def power(colluders: int, *, slots: int, threshold: float) -> float:
    """About how likely at least one of `colluders` is named from that many slots of a tier."""
    if not slots:
        return 0.0
    mean, variance = _information(colluders)
    one = NormalDist().cdf((slots * mean - threshold) / math.sqrt(slots * variance))
    return 1 - (1 - one) ** colluders


def _decoder(name: str, colluders: int, theta: Floats, *, share: float, classes: Classes, found: int) -> Decoder:
    """Log-likelihood ratios of "one of the coalition" against "not", given theta[symbol, how many hold a 1]."""
    full = np.vstack([theta, FLOOR + (1 - FLOOR) * np.arange(colluders + 1) / colluders])
    others = colluders - found - 1
    with_one = np.zeros(len(classes.bias))
    with_zero = np.zeros(len(classes.bias))
    for more in range(others + 1):
        chance = math.comb(others, more) * classes.bias**more * (1 - classes.bias) ** (others - more)
        with_one += chance * full[classes.symbol, classes.held + more + 1]
        with_zero += chance * full[classes.symbol, classes.held + more]
    either = classes.bias * with_one + (1 - classes.bias) * with_zero
    return Decoder(name, colluders, share, np.log(with_one / either), np.log(with_zero / either))


def _random_pick(colluders: int) -> Floats:
    held = np.arange(colluders + 1) / colluders
    one = FLOOR + (1 - 3 * FLOOR) * held
    return np.vstack([1 - FLOOR - one, one, np.full(colluders + 1, FLOOR)])


def _fit(classes: Classes, colluders: int, found: int) -> Floats:
    """theta[symbol, holders] by expectation-maximisation on pair slots' class counts, near the marking assumption."""
    held = np.arange(colluders + 1) / colluders
    prior = np.vstack([(1 - held) * 0.85, held * 0.85, np.full(colluders + 1, 0.15)])
    prior[:, 0], prior[:, -1] = (1 - 2 * FLOOR, FLOOR, FLOOR), (FLOOR, 1 - 2 * FLOOR, FLOOR)
    weight = np.full(colluders + 1, _EM_MIDDLE)
    weight[[0, -1]] = _EM_ENDS
    pairs = classes.symbol != PRESENT
    bias, symbol, known, count = (a[pairs] for a in (classes.bias, classes.symbol, classes.held, classes.count))
    others = colluders - found
    chances = np.zeros((len(bias), colluders + 1))
    for more in range(others + 1):
        chances[np.arange(len(bias)), known + more] = math.comb(others, more) * bias**more * (1 - bias) ** (others - more)
    theta = prior
    for _ in range(_EM_ROUNDS):
        joint = chances * theta[symbol]
        joint *= (count / joint.sum(axis=1))[:, None]
        theta = prior * weight
        for s in (ZERO, ONE, BOTH):
            theta[s] += joint[symbol == s].sum(axis=0)
        theta /= theta.sum(axis=0)
    return np.asarray(np.maximum(theta, FLOOR / 10))


def _symmetric(classes: Classes, threshold: float) -> Decoder:
    """Skoric's symmetric score as e^(t S - K(t)); t is set by the number of slots and the threshold alone."""
    high, low = np.sqrt((1 - classes.bias) / classes.bias), np.sqrt(classes.bias / (1 - classes.bias))
    sign = np.select([classes.symbol == ONE, classes.symbol == ZERO, classes.symbol == PRESENT], [1.0, -1.0, 1.0], 0.0)
    t = math.sqrt(2 * threshold / max(1, int(classes.count.sum())))
    one, zero = t * sign * high, -t * sign * low
    scale = np.logaddexp(np.log(classes.bias) + one, np.log1p(-classes.bias) + zero)
    return Decoder("symmetric", 0, 1.0, one - scale, zero - scale)


def _of_key(decoder: Decoder, classes: Classes, key: int) -> Decoder:
    """The decoder that believes one lineage only: a version re-registered under a new key shows both, fed by one."""
    here = classes.key == key
    return Decoder(decoder.name, decoder.colluders, decoder.share, decoder.one * here, decoder.zero * here)


def _information(colluders: int) -> tuple[float, float]:
    """Mean and variance of a colluder's random-pick weight per slot, over the code's levels."""
    mean = square = 0.0
    for bias, share in zip(BIASES.tolist(), _LEVEL_SHARES.tolist(), strict=True):
        for bit, chance in ((1, bias), (0, 1 - bias)):
            one = (bit + (colluders - 1) * bias) / colluders
            for symbol, base in ((one, bias), (1 - one, 1 - bias)):
                if symbol > 0:
                    weight = math.log(symbol / base)
                    mean += share * chance * symbol * weight
                    square += share * chance * symbol * weight**2
    return mean, square - mean**2
