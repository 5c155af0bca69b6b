"""The decoders once more, written for reading: who is implicated by which figures. Standard library only.

limen-bank/2 as docs/marks.md tells it; nothing is shared with what scored. Python 3.10 or later. Numbers are plain floats, sums
are taken in the order of the text, and speed is nobody's aim here: ten thousand copies and a small sample take minutes.
"""

from __future__ import annotations

import math
import os
import sys
from statistics import NormalDist
from typing import Any, NamedTuple

if __package__:
    from limen.verify import dealing
else:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100,PTH120  -I leaves it out
    import dealing  # type: ignore[import-not-found,no-redef]

BANK = "limen-bank/2"
ZERO, ONE, BOTH, PRESENT = range(4)  # as in `dealing`


# --- the decoders: classes of slots, and what a bit of 1 or 0 is worth in each

FLOOR = 0.004
LONE = ((FLOOR, 3.0), (0.05, 1.0), (0.15, 1.0))
SIZES = (1, 2, 3, 4, 5, 6, 8, 12)


class Class(NamedTuple):
    """Slots that look alike to everyone: P(bit = 1), the symbol, how many found copies hold a 1, the key."""

    bias: float
    symbol: int
    held: int
    key: str


class Decoder(NamedTuple):
    """By class: the weights of a 1 and of a 0."""

    colluders: int
    share: float
    weights: list[tuple[float, float]]


Counts = list[tuple[Class, int]]  # classes, and how many slots are in each


def _logadd(a: float, b: float) -> float:
    top = max(a, b)
    return top + math.log1p(math.exp(min(a, b) - top))


def _chance(others: int, ones: int, bias: float) -> float:
    return math.comb(others, ones) * bias**ones * (1 - bias) ** (others - ones)


def random_pick(c: int) -> list[list[float]]:
    """P(symbol | k of c hold a 1) where each slot shows somebody's side by chance."""
    ones = [FLOOR + (1 - 3 * FLOOR) * k / c for k in range(c + 1)]
    return [[1 - FLOOR - one for one in ones], ones, [FLOOR] * (c + 1)]


def fitted(classes: Counts, c: int, found: int) -> list[list[float]]:
    """The same, fitted to the leak: 40 rounds of EM from, and with pseudo-counts of, what is near the marking assumption."""
    start = [[(1 - k / c) * 0.85 for k in range(c + 1)], [k / c * 0.85 for k in range(c + 1)], [0.15] * (c + 1)]
    for symbol in (ZERO, ONE, BOTH):
        start[symbol][0] = 1 - 2 * FLOOR if symbol == ZERO else FLOOR
        start[symbol][c] = 1 - 2 * FLOOR if symbol == ONE else FLOOR
    pseudo = [6.0 if k in (0, c) else 0.6 for k in range(c + 1)]
    theta = [row[:] for row in start]
    pairs = [(one, count) for one, count in classes if one.symbol != PRESENT]
    chances = [
        [_chance(c - found, k - one.held, one.bias) if 0 <= k - one.held <= c - found else 0.0 for k in range(c + 1)]
        for one, _ in pairs
    ]
    for _ in range(40):
        new = [[start[s][k] * pseudo[k] for k in range(c + 1)] for s in (ZERO, ONE, BOTH)]
        for (one, count), chance in zip(pairs, chances, strict=True):
            joint = [chance[k] * theta[one.symbol][k] for k in range(c + 1)]
            total = sum(joint)
            for k in range(c + 1):
                new[one.symbol][k] += count * joint[k] / total
        sums = [sum(new[s][k] for s in (ZERO, ONE, BOTH)) for k in range(c + 1)]
        theta = [[new[s][k] / sums[k] for k in range(c + 1)] for s in (ZERO, ONE, BOTH)]
    return [[max(value, FLOOR / 10) for value in row] for row in theta]


def _ratio(classes: Counts, c: int, found: int, theta: list[list[float]]) -> list[tuple[float, float]]:
    """By class: ln of P(symbol | this copy is one of c, and holds 1 or 0) over P(symbol)."""
    full = [*theta, [FLOOR + (1 - FLOOR) * k / c for k in range(c + 1)]]
    others = c - found - 1
    weights = []
    for one, _ in classes:
        row = full[one.symbol]
        with_one = sum(_chance(others, k, one.bias) * row[one.held + k + 1] for k in range(others + 1))
        with_zero = sum(_chance(others, k, one.bias) * row[one.held + k] for k in range(others + 1))
        either = one.bias * with_one + (1 - one.bias) * with_zero
        weights.append((math.log(with_one / either), math.log(with_zero / either)))
    return weights


def _cumulants(classes: Counts, weights: list[tuple[float, float]], t: float) -> tuple[float, float, float]:
    """K(t) = sum of ln E[e^(t w)] over an innocent copy's bits, and its first two derivatives."""
    k = mean = spread = 0.0
    for (one, count), (w1, w0) in zip(classes, weights, strict=True):
        a, b = math.log(one.bias) + t * w1, math.log1p(-one.bias) + t * w0
        scale = _logadd(a, b)
        p = math.exp(a - scale)
        k += count * scale
        mean += count * (p * w1 + (1 - p) * w0)
        spread += count * p * (1 - p) * (w1 - w0) ** 2
    return k, mean, spread


def bank(classes: Counts, found: int, threshold: float) -> list[Decoder]:
    """All decoders: models with their weights, shares by how far their colluder would stand out, tilted to the threshold."""
    models: list[Decoder] = []
    if not found:
        for flips, weight in LONE:
            theta = [[1 - flips - FLOOR, flips], [flips, 1 - flips - FLOOR], [FLOOR, FLOOR]]
            models.append(Decoder(1, weight, _ratio(classes, 1, 0, theta)))
    for c in sorted({c for c in SIZES if c > found} | {found + 1, found + 2}):
        models.append(Decoder(c, 1.0, _ratio(classes, c, found, fitted(classes, c, found))))
        if c > 1:
            models.append(Decoder(c, 0.7, _ratio(classes, c, found, random_pick(c))))
    keys = sorted({one.key for one, _ in classes})
    if len(keys) > 1:  # and each once more for whoever fed one lineage only
        models += [
            Decoder(
                m.colluders,
                m.share,
                [w if one.key == key else (0.0, 0.0) for (one, _), w in zip(classes, m.weights, strict=True)],
            )
            for key in keys
            for m in list(models)
        ]
    symmetric = []
    for one, _ in classes:
        sign = {ONE: 1.0, PRESENT: 1.0, ZERO: -1.0, BOTH: 0.0}[one.symbol]
        symmetric.append((sign * math.sqrt((1 - one.bias) / one.bias), -sign * math.sqrt(one.bias / (1 - one.bias))))
    shares = [m.share * math.exp(-_spare(classes, m.weights, threshold)) for m in models]
    shares.append(0.05 * sum(shares))
    total = sum(shares)
    made = [*models, Decoder(0, 1.0, symmetric)]
    return [_tilted(classes, m, share / total, threshold) for m, share in zip(made, shares, strict=True)]


def _spare(classes: Counts, weights: list[tuple[float, float]], threshold: float) -> float:
    """By how many nats a model's share falls."""
    _, mean, spread = _cumulants(classes, weights, 1.0)
    if mean + 2.5 * math.sqrt(spread) < threshold:
        return 1.2
    return min(12.0, max(0.0, mean - 3.0 * math.sqrt(spread) - threshold) / 2)


def _tilted(classes: Counts, model: Decoder, share: float, threshold: float) -> Decoder:
    """e^(tS - K(t)) with the t that spends threshold - ln share nats of t K'(t) - K(t), or the model's own if that is less."""

    def spent(t: float) -> float:
        k, mean, _ = _cumulants(classes, model.weights, t)
        return t * mean - k

    needed = threshold - math.log(share)
    t = 1.0 if model.colluders else math.sqrt(2 * needed / max(1, sum(count for _, count in classes)))
    if spent(t) > needed:
        low, high = 0.0, t
        for _ in range(26):
            t = (low + high) / 2
            low, high = (low, t) if spent(t) > needed else (t, high)
    weights = []
    for (one, _), (w1, w0) in zip(classes, model.weights, strict=True):
        scale = _logadd(math.log(one.bias) + t * w1, math.log1p(-one.bias) + t * w0)
        weights.append((t * w1 - scale, t * w0 - scale))
    return Decoder(model.colluders, share, weights)


def chernoff(parts: list[tuple[Counts, list[tuple[float, float]]]], score: float) -> float:
    """The logarithm of a bound on P(an innocent copy scores this high): the least of K(t) - t score, which is convex in t."""

    def exponent(t: float) -> float:
        return sum(_cumulants(classes, weights, t)[0] for classes, weights in parts) - t * score

    low, high = 0.0, 64.0
    for _ in range(120):
        a, b = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, b) if exponent(a) < exponent(b) else (a, high)
    return min(0.0, exponent((low + high) / 2))


# --- the search of one tier


class Shown(NamedTuple):
    """What a look adds in one tier: slots, and by copy the bits of those slots."""

    slots: list[dealing.Slot]
    bits: list[bytes]


class Found(NamedTuple):
    """A copy that is implicated, or the nearest to it."""

    copy: int
    look: int
    round: int
    log_e: float
    log_q: float
    log_p: float
    colluders: int


class Weighed(NamedTuple):
    """Slots weighed together: classes, decoders, and by copy its score by each decoder."""

    classes: Counts
    decoders: list[Decoder]
    scores: list[list[float]]

    def lead(self, copy: int) -> int:
        """The decoder that speaks loudest for a copy."""
        spoken = [score + math.log(d.share) for score, d in zip(self.scores[copy], self.decoders, strict=True)]
        return spoken.index(max(spoken))


def _weighed(looks: list[Shown], known: list[int], threshold: float, bias: Any) -> Weighed:
    order: dict[Class, int] = {}
    counts: list[int] = []
    which: list[list[int]] = []
    for look in looks:
        places = []
        for at, slot in enumerate(look.slots):
            one = Class(bias(slot), slot.symbol, sum(look.bits[j][at] for j in known), slot.key)
            place = order.setdefault(one, len(order))
            if place == len(counts):
                counts.append(0)
            counts[place] += 1
            places.append(place)
        which.append(places)
    classes = list(zip(order, counts, strict=True))
    decoders = bank(classes, len(known), threshold)
    floors = [sum(count * w0 for (_, count), (_, w0) in zip(classes, d.weights, strict=True)) for d in decoders]
    gains = [[w1 - w0 for w1, w0 in d.weights] for d in decoders]
    scores = []
    for copy in range(len(looks[0].bits)):
        ones = [0] * len(classes)
        for look, places in zip(looks, which, strict=True):
            for place, bit in zip(places, look.bits[copy], strict=True):
                ones[place] += bit
        scores.append(
            [floor + sum(n * g for n, g in zip(ones, gain, strict=True)) for floor, gain in zip(floors, gains, strict=True)]
        )
    return Weighed(classes, decoders, scores)


def search(looks: list[Shown], log_prior: list[float], alpha: float, bias: Any) -> tuple[float, list[Found], Found | None]:
    """The threshold of the first test, who is found, best first in each test, and the best of those who are not."""

    def needed(share: float) -> float:
        return math.log(2) - math.log(share) - math.log(alpha)

    top = max(log_prior)
    threshold = needed(0.75) - top
    found: list[Found] = []
    best: Found | None = None
    first: list[Weighed] = []
    for number, look in enumerate(looks, 1):
        if not look.slots:
            continue
        some = [one for one in looks[:number] if one.slots]
        first.append(_weighed([look], [], threshold, bias))
        new, best = _test(number, 1, first, log_prior, needed(0.75), alpha, found)
        found += new
        for turn in range(2, 25):
            if not found or (turn > 2 and not new):  # noqa: PLR2004  the second test is always made
                break
            share = 0.25 * 2.0 ** (1 - turn) * 2.0**-number
            again = _weighed(some, [one.copy for one in found], needed(share) - top, bias)
            new, best = _test(number, turn, [again], log_prior, needed(share), alpha, found)
            found += new
    return threshold, found, best


def _test(  # noqa: PLR0917  one test's parts, in order
    number: int, turn: int, parts: list[Weighed], log_prior: list[float], needed: float, alpha: float, found: list[Found]
) -> tuple[list[Found], Found | None]:
    out = {one.copy for one in found}
    rows: list[tuple[float, int, float]] = []
    for copy, prior in enumerate(log_prior):
        if copy in out:
            continue
        log_e = 0.0
        for part in parts:
            spoken = [score + math.log(d.share) for score, d in zip(part.scores[copy], part.decoders, strict=True)]
            top = max(spoken)
            log_e += top + math.log(sum(math.exp(one - top) for one in spoken))
        rows.append((needed + math.log(alpha) - prior - log_e, copy, log_e))

    def figures(row: tuple[float, int, float]) -> Found:
        log_q, copy, log_e = row
        leads = [part.lead(copy) for part in parts]
        chosen = [part.decoders[lead] for part, lead in zip(parts, leads, strict=True)]
        score = sum(part.scores[copy][lead] for part, lead in zip(parts, leads, strict=True))
        whole = [(part.classes, d.weights) for part, d in zip(parts, chosen, strict=True)]
        log_p = chernoff(whole, score) - sum(math.log(d.share) for d in chosen)
        return Found(copy, number, turn, log_e, log_q, log_p, chosen[-1].colluders)

    new = sorted(row for row in rows if row[0] <= math.log(alpha))
    rest = [row for row in rows if row[0] > math.log(alpha)]
    return [figures(row) for row in new], figures(min(rest)) if rest else None


# --- what a report estimates besides: how much would do, and the power


def _information(c: int) -> tuple[float, float]:
    """Mean and variance of a colluder's random-pick weight a slot, over the levels of nuida8."""
    of_256, cuts = dealing.LEVELS["nuida8"]
    shares = [(b - a) / 65_536 for a, b in zip((0, *cuts), (*cuts, 65_536), strict=True)]
    mean = square = 0.0
    for n, share in zip(of_256, shares, strict=True):
        bias = n / 256
        for bit, chance in ((1, bias), (0, 1 - bias)):
            one = (bit + (c - 1) * bias) / c
            for symbol, base in ((one, bias), (1 - one, 1 - bias)):
                if symbol > 0:
                    weight = math.log(symbol / base)
                    mean += share * chance * symbol * weight
                    square += share * chance * symbol * weight**2
    return mean, square - mean**2


def power(c: int, slots: int, threshold: float) -> float:
    """About how likely at least one of c is named."""
    if not slots:
        return 0.0
    mean, variance = _information(c)
    return 1 - (1 - NormalDist().cdf((slots * mean - threshold) / math.sqrt(slots * variance))) ** c


def slots_for(c: int, threshold: float) -> int:
    """About how many slots of a tier name at least one of c, 99 times in 100."""
    mean, variance = _information(c)
    z = NormalDist().inv_cdf(1 - 0.01 ** (1 / c))
    root = (z * math.sqrt(variance) + math.sqrt(max(0.0, z * z * variance + 4 * mean * threshold))) / (2 * mean)
    return math.ceil(root * root)


def slots_needed(threshold: float, slots: int, *, found: bool, both: int) -> int:
    """Matched slots of both tiers that would do, for the smallest coalition that this sample can't rule on."""
    for c in (1, 2, 3, 4, 6, 8):
        needed = math.ceil(1.5 * slots_for(c, threshold + 1.5))
        if not (c == 1 and both) and (found or needed > 1.5 * slots):
            return needed
    return math.ceil(1.5 * slots_for(12, threshold + 1.5))
