"""Decoders: how much each leaked slot speaks for or against a copy, normalised so that nobody innocent can gain on average.

Slots fall into classes that look alike to everyone: same bias, same symbol, same bits of the copies found already. In a
class with P(bit = 1) = p, a decoder's weights obey p e^w1 + (1 - p) e^w0 = 1, so the exponential of a copy's score has
mean 1 if its bits had no part in the leak, whatever else is true (docs/marks.md). They may depend on the leak and on
other copies' bits, never on the bits of the copy that is scored. Sources: Tardos 2008; Skoric et al. 2008 (symmetric
score); Laarhoven 2014 (interleaving log-likelihood ratio); Meerwald & Furon 2012 (EM fit of the collusion, side
information); Chernoff 1952 (the tilt that needs the lowest score).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np

from limen.marks.classes import BOTH, ONE, PRESENT, ZERO, Classes
from limen.marks.fit import FLOOR, fitted, random_pick
from limen.marks.levels import NUIDA8, Levels
from limen.marks.registry import WITHHELD

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["BANK", "BOTH", "ONE", "PRESENT", "ZERO", "Classes", "Decoder", "bank", "chernoff", "log_evalues", "symbols"]
BANK: Final = "limen-bank/2"
COLLUDERS: Final = (1, 2, 3, 4, 5, 6, 8, 12)
LONE: Final = ((FLOOR, 3.0), (0.05, 1.0), (0.15, 1.0))  # share of symbols misread, weight in the bank
_FITTED: Final = 1.0
_PICKED: Final = 0.7
_SYMMETRIC: Final = 0.05  # of all others together
_FAR: Final = 3.0  # standard deviations
_SHORT: Final = 2.5
_MOST: Final = 12.0  # nats by which a decoder's share may fall because its colluders would stand out anyway
_HOPELESS: Final = 1.2  # nats by which it falls if they could not be seen at this size
_BISECTIONS: Final = 26


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

    The rule is fixed by version BANK before any copy is looked at. Shares and tilts depend on the leak and on `threshold`
    (nats that a served copy needs) alone: a model whose colluder would stand far above it needs little of the bank.
    """
    models: list[Decoder] = []
    if found == 0:
        # A lone leaker is the likeliest case, and these need no fit.
        for flips, weight in LONE:
            theta = np.array([[1 - flips - FLOOR, flips], [flips, 1 - flips - FLOOR], [FLOOR, FLOOR]])
            models.append(_decoder(f"one copy, {flips:.1%} misread", 1, theta, share=weight, classes=classes, found=found))
    for c in sorted({c for c in COLLUDERS if c > found} | {found + 1, found + 2}):
        theta = fitted(classes, c, found)
        models.append(_decoder(f"{c}, fitted", c, theta, share=_FITTED, classes=classes, found=found))
        if c > 1:
            models.append(_decoder(f"{c}, random pick", c, random_pick(c), share=_PICKED, classes=classes, found=found))
    keys = np.unique(classes.key)
    if len(keys) > 1:
        models += [_of_key(model, classes, key) for key in keys for model in models[:]]
    weights = [model.share * math.exp(-_spare(model, classes, threshold)) for model in models]
    weights.append(_SYMMETRIC * sum(weights))
    total = sum(weights)
    return [
        _tilted(score, weight / total, classes, threshold)
        for score, weight in zip([*models, _symmetric(classes)], weights, strict=True)
    ]


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
    mean, variance = information(colluders)
    # Each colluder is about as visible as the others: all escape with probability (1 - detection).
    z = NormalDist().inv_cdf(1 - (1 - detection) ** (1 / colluders))
    root = (z * math.sqrt(variance) + math.sqrt(max(0.0, z * z * variance + 4 * mean * threshold))) / (2 * mean)
    return math.ceil(root * root)


def power(colluders: int, *, slots: int, threshold: float) -> float:
    """About how likely at least one of `colluders` is named from that many slots of a tier."""
    if not slots:
        return 0.0
    mean, variance = information(colluders)
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


def _spare(model: Decoder, classes: Classes, threshold: float) -> float:
    """By how many nats a model's share may fall: half of what an unlucky colluder would have to spare, if the model held."""
    _, mean, variance = _cumulants(model, classes, 1.0)
    if mean + _SHORT * math.sqrt(variance) < threshold:
        return _HOPELESS
    return min(_MOST, max(0.0, mean - _FAR * math.sqrt(variance) - threshold) / 2)


def _tilted(score: Decoder, share: float, classes: Classes, threshold: float) -> Decoder:
    """The e-value e^(t S - K(t)) whose t asks for the lowest score S at the threshold: there it equals Chernoff's bound.

    That t spends exactly `threshold - ln share` nats of t K'(t) - K(t), or is 1 (growth-optimal) if there is less to spend.
    """
    needed = threshold - math.log(share)
    # A likelihood ratio is at its best at 1; the symmetric score has no unit of its own.
    t = 1.0 if score.colluders else math.sqrt(2 * needed / max(1, int(classes.count.sum())))
    if _spent(score, classes, t) > needed:
        low, high = 0.0, t
        for _ in range(_BISECTIONS):
            t = (low + high) / 2
            low, high = (low, t) if _spent(score, classes, t) > needed else (t, high)
    one, zero = t * score.one, t * score.zero
    scale = np.logaddexp(np.log(classes.bias) + one, np.log1p(-classes.bias) + zero)
    return Decoder(score.name, score.colluders, share, one - scale, zero - scale)


def _spent(score: Decoder, classes: Classes, t: float) -> float:
    k, mean, _ = _cumulants(score, classes, t)
    return t * mean - k


def _cumulants(score: Decoder, classes: Classes, t: float) -> tuple[float, float, float]:
    """K(t) = sum of ln E[e^(t w)] over an innocent copy's bits, with its first and second derivative."""
    ones, zeros = np.log(classes.bias) + t * score.one, np.log1p(-classes.bias) + t * score.zero
    scale = np.logaddexp(ones, zeros)
    chance = np.exp(ones - scale)
    mean = chance * score.one + (1 - chance) * score.zero
    spread = chance * (1 - chance) * (score.one - score.zero) ** 2
    return float(classes.count @ scale), float(classes.count @ mean), float(classes.count @ spread)


def _symmetric(classes: Classes) -> Decoder:
    """Skoric's symmetric score."""
    high, low = np.sqrt((1 - classes.bias) / classes.bias), np.sqrt(classes.bias / (1 - classes.bias))
    sign = np.select([classes.symbol == ONE, classes.symbol == ZERO, classes.symbol == PRESENT], [1.0, -1.0, 1.0], 0.0)
    return Decoder("symmetric", 0, 1.0, sign * high, -sign * low)


def _of_key(decoder: Decoder, classes: Classes, key: int) -> Decoder:
    """The decoder that believes one lineage only: a version re-registered under a new key shows both, fed by one."""
    here = classes.key == key
    return Decoder(decoder.name, decoder.colluders, decoder.share, decoder.one * here, decoder.zero * here)


def information(colluders: int, table: Levels = NUIDA8) -> tuple[float, float]:
    """Mean and variance of a colluder's random-pick weight per slot, over a table's levels."""
    mean = square = 0.0
    for bias, share in zip(table.biases.tolist(), table.shares.tolist(), strict=True):
        for bit, chance in ((1, bias), (0, 1 - bias)):
            one = (bit + (colluders - 1) * bias) / colluders
            for symbol, base in ((one, bias), (1 - one, 1 - bias)):
                if symbol > 0:
                    weight = math.log(symbol / base)
                    mean += share * chance * symbol * weight
                    square += share * chance * symbol * weight**2
    return mean, square - mean**2
