"""Was a model trained on a served copy, and on whose: the theorem of copies, read out of how a model's losses lean.

A slot's **lean** says how much more a model takes to side 1 than to side 0, against a reference model that was named
before anybody looked: [loss(0) - loss(1)] of the suspect less the same of the reference. It depends on the models and on
texts; a copy that fed neither has bits that are independent of it. So every score of leans and bits has the null law of
docs/marks.md, whatever the model, the training or the data are: the same e-values name a copy, under the same bound.

The bank is fixed by METHOD. Weights depend on leans and biases alone, never on a copy's bits. Pure; randomness is a seed.
Sources: Tardos 2008 (the code); Chernoff 1952 (the tilt); Vovk & Wang 2021 (e-values); Shokri et al. 2017 and Carlini et
al. 2022 (loss against a reference as evidence of training).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from limen.marks.book import DealtBook
from limen.marks.code import PERSON, VENDOR
from limen.marks.leaning import standard
from limen.marks.trace import log_priors

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from limen.core.types import Recipient
    from limen.marks.keys import MarkKey

    Floats = NDArray[np.float64]

METHOD: Final = "limen-model-test/1"
ALPHA: Final = 1e-9
DRAWS: Final = 20_000
TIERS: Final = 2  # each has half of alpha
TRAINERS: Final = (1, 2, 3, 5)  # copies that a mixture member expects in the training set
_LINEAR, _SIGN, _MIXED = 3.0, 1.0, 1.0  # weights in the bank
_STRAY: Final = 0.02  # of leans that a mixture expects anywhere
_STRENGTHS: Final = np.linspace(0.1, 0.95, 12)  # of a lean's mean square: what training explains
_AT_ONCE: Final = 4096
_DOUBLINGS: Final = 12
_STEPS: Final = 40
MEANING: Final = (
    "If this copy had no part in what the model or the reference was made of, a score this high has probability at most p"
    " over our secret marks; corrected for all copies that were compared and all models that the case has room for, at most"
    " q. This is not the probability of innocence. A copy is implicated, not a person: it does not say who trained the model,"
    " nor how the copy got there. That no copy is named does not show that none was used."
)


@dataclass(frozen=True, slots=True)
class Asked:
    """The slots that a test asks about: equally long arrays. `key` indexes `keys`, the ids of the mark keys."""

    keys: tuple[str, ...]
    key: NDArray[np.int64]
    tier: NDArray[np.uint8]
    level: NDArray[np.uint8]
    kind: NDArray[np.uint8]
    index: NDArray[np.uint32]

    def of_tier(self, tier: int) -> NDArray[np.bool_]:
        """Which slots are of a tier."""
        return np.asarray(self.tier == tier)

    def thresholds(self, keys: Mapping[str, MarkKey]) -> NDArray[np.uint8]:
        """Each slot's bias, in 256ths, by the table of its key."""
        out = np.zeros(len(self.level), dtype=np.uint8)
        for number, name in enumerate(self.keys):
            mine = self.key == number
            out[mine] = keys[name].table.thresholds[self.level[mine]]
        return out

    def book(self, tier: int, whose: Sequence[str], keys: Mapping[str, MarkKey]) -> DealtBook:
        """Who holds what in the slots of one tier."""
        mine = self.of_tier(tier)
        return DealtBook(tier, whose, self.keys, keys, self.key[mine], self.level[mine].copy(), self.index[mine].copy())


@dataclass(frozen=True, slots=True)
class Fed:
    """A copy, or a vendor's, with its figures.

    `p`: Chernoff's bound for this copy alone; `q`: the verdict's own bound, corrected for copies, tiers and models. `rank`
    of `draws` + 1: its place by the linear score among fresh copies drawn by the code; `rank_p` = rank / (draws + 1) is
    exactly uniform, or above, for a copy that had no part. `agree` of `slots` leans go its way.
    """

    recipient: str
    vendor: str | None
    copy_id: str
    p: float
    q: float
    log10_e: float
    rank: int
    rank_p: float
    score: float
    slots: int
    agree: int


@dataclass(frozen=True, slots=True)
class Innocents:
    """How copies score that nobody was dealt: counts between `edges`, and the score that would name the likeliest copy."""

    draws: int
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    needed: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a model's losses say about copies. `best`: the person's copy nearest to being named, or first among those named."""

    verdict: Literal["named", "abstain"]
    copies: tuple[Fed, ...]
    vendors: tuple[Fed, ...]
    best: Fed | None
    slots_person: int
    slots_vendor: int
    erased: int
    compared: int
    alpha: float
    models: int
    innocents: Innocents
    method: str = METHOD

    def to_json(self) -> dict[str, Any]:
        """The outcome as JSON values, with the sentence that every report carries."""
        return {**asdict(self), "meaning": MEANING}


def compare(
    asked: Asked,
    lean: Floats,
    recipients: Sequence[Recipient],
    *,
    keys: Mapping[str, MarkKey],
    served: Collection[str],
    alpha: float = ALPHA,
    models: int = 1,
    seed: bytes = b"",
    draws: int = DRAWS,
) -> Outcome:
    """Compare every recipient's copy, and every vendor's, with a model's leans; NaN is a slot that was not measured.

    `alpha` is the case's, for all the `models` that it has room for. `served`: copy ids of those who had any access to the
    asset; never narrower. `seed` fixes the fresh copies.
    """
    z = standard(lean, asked.kind)
    people = {r.copy_id: r for r in recipients}
    firms = {r.vendor_copy_id: r for r in recipients if r.vendor is not None}
    served_firms = {r.vendor_copy_id for r in recipients if r.copy_id in served}
    person = _Tier.of(asked, z, PERSON, list(people), keys=keys, served=served, alpha=alpha / models, seed=seed, draws=draws)
    vendor = _Tier.of(asked, z, VENDOR, list(firms), keys=keys, served=served_firms, alpha=alpha / models, seed=seed, draws=draws)
    copies = tuple(person.figures(j, people[person.whose[j]], models=models) for j in person.named)
    vendors = tuple(vendor.figures(j, firms[vendor.whose[j]], models=models, firm=True) for j in vendor.named)
    first = person.first
    return Outcome(
        verdict="named" if copies or vendors else "abstain",
        copies=copies,
        vendors=vendors,
        best=None if first is None else person.figures(first, people[person.whose[first]], models=models),
        slots_person=len(person.z),
        slots_vendor=len(vendor.z),
        erased=int(np.count_nonzero(np.isnan(z))),
        compared=len(people),
        alpha=alpha,
        models=models,
        innocents=person.innocents(),
    )


@dataclass(frozen=True, slots=True)
class Score:
    """Slot weights for a bit of 1 and of 0, with their share of the bank. `most`: the largest tilt that makes sense."""

    name: str
    share: float
    one: Floats
    zero: Floats
    most: float

    def of(self, bits: NDArray[np.uint8]) -> Floats:
        """The score of each copy of a (slots x copies) book."""
        return np.asarray((self.one - self.zero) @ bits + self.zero.sum())


def bank(z: Floats, bias: Floats) -> list[Score]:
    """All scores that a test of METHOD tries, from standard leans alone. Shares sum to 1."""
    heavy = math.inf
    scores = [
        Score("linear", _LINEAR, z * (1 - bias), -z * bias, heavy),
        Score("sign", _SIGN, np.sign(z) * (1 - bias), -np.sign(z) * bias, heavy),
        *(Score(f"{c} trained together", _MIXED, *_mixture(z, bias, c), 1.0) for c in TRAINERS),
    ]
    total = sum(score.share for score in scores)
    return [Score(s.name, s.share / total, s.one, s.zero, s.most) for s in scores]


def chernoff(score: Score, bias: Floats, reached: float) -> float:
    """The logarithm of the bound on P(score >= reached) for a copy that had no part: inf over t > 0 of K(t) - t reached."""
    high = 1.0
    for _ in range(_DOUBLINGS):
        if _cumulant(score, bias, high)[1] >= reached:
            break
        high *= 2
    low = 0.0
    for _ in range(_STEPS):
        t = (low + high) / 2
        low, high = (t, high) if _cumulant(score, bias, t)[1] < reached else (low, t)
    return min(0.0, _cumulant(score, bias, high)[0] - high * reached)


def evalue(score: Score, bias: Floats, needed: float) -> Score:
    """The score tilted to an e-value: p e^one + (1 - p) e^zero = 1 in every slot.

    Its tilt asks for the lowest score at which the e-value reaches `needed` nats: there it equals Chernoff's bound.
    """
    t = _tilt(score, bias, needed)
    one, zero = t * score.one, t * score.zero
    scale = np.logaddexp(np.log(bias) + one, np.log1p(-bias) + zero)
    return Score(score.name, score.share, one - scale, zero - scale, 1.0)


def fresh(below: NDArray[np.uint8], draws: int, seed: bytes) -> NDArray[np.uint8]:
    """(slots x draws) bits of copies that nobody was dealt: bytes below the slot's threshold, as the code draws them."""
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(b"limen fresh copies\0" + seed).digest(), "big")))
    return np.asarray(rng.integers(0, 256, size=(len(below), draws), dtype=np.uint8) < below[:, None], dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class _Tier:
    """One tier's test: measured slots, the bank as e-values, and what each copy came to."""

    z: Floats
    bias: Floats
    whose: list[str]
    book: DealtBook
    measured: NDArray[np.bool_]
    scores: list[Score]
    linear: Floats
    log_e: Floats
    log_q: Floats
    alpha: float
    needed: float
    innocent: Floats

    @classmethod
    def of(
        cls,
        asked: Asked,
        z: Floats,
        tier: int,
        whose: list[str],
        *,
        keys: Mapping[str, MarkKey],
        served: Collection[str],
        alpha: float,
        seed: bytes,
        draws: int,
    ) -> _Tier:
        mine = asked.of_tier(tier)
        measured = ~np.isnan(z[mine])
        own = z[mine][measured]
        below = asked.thresholds(keys)[mine][measured]
        bias = below / 256
        book = asked.book(tier, whose, keys)
        log_tiers = math.log(TIERS) - math.log(alpha)
        nothing = np.zeros(0)
        if not whose:
            return cls(own, bias, whose, book, measured, [], nothing, nothing, nothing, alpha, log_tiers, nothing)
        scores = bank(own, bias)
        prior = log_priors(whose, served)
        needed = log_tiers - float(prior.max())
        evalues = [evalue(score, bias, needed - math.log(score.share)) for score in scores]
        log_share = np.log([score.share for score in scores])
        linear, log_e = np.zeros(len(whose)), np.zeros(len(whose))
        for start in range(0, len(whose), _AT_ONCE):
            some = range(start, min(start + _AT_ONCE, len(whose)))
            bits = book.bits(some)[measured]
            linear[some] = scores[0].of(bits)
            log_e[some] = np.logaddexp.reduce(log_share[:, None] + np.stack([e.of(bits) for e in evalues]), axis=0)
        innocent = np.sort(scores[0].of(fresh(below, draws, seed + bytes([tier]))))
        log_q = np.minimum(0.0, log_tiers + math.log(alpha) - prior - log_e)
        return cls(own, bias, whose, book, measured, scores, linear, log_e, log_q, alpha, needed, innocent)

    @property
    def named(self) -> list[int]:
        """Copies whose e-value reaches what their prior asks for, best first."""
        new = np.flatnonzero(self.log_q <= math.log(self.alpha))
        return [int(j) for j in new[np.argsort(-self.log_e[new], kind="stable")]]

    @property
    def first(self) -> int | None:
        """The copy that comes nearest, by the verdict's bound and then by the linear score."""
        return int(np.lexsort((-self.linear, -self.log_e, self.log_q))[0]) if self.whose else None

    def figures(self, j: int, recipient: Recipient, *, models: int, firm: bool = False) -> Fed:
        bits = self.book.bits([j])[self.measured]
        # The best of several bounds is a bound once each has paid for its share of the bank.
        log_p = min(chernoff(s, self.bias, float(s.of(bits)[0])) - math.log(s.share) for s in self.scores)
        rank = 1 + len(self.innocent) - int(np.searchsorted(self.innocent, self.linear[j] - _ROUNDING, side="left"))
        return Fed(
            recipient=str(recipient.vendor) if firm else recipient.id,
            vendor=recipient.vendor,
            copy_id=self.whose[j],
            p=_probability(log_p),
            q=_probability(float(self.log_q[j]) + math.log(models)),
            log10_e=round(float(self.log_e[j]) / math.log(10), 3),
            rank=rank,
            rank_p=rank / (len(self.innocent) + 1),
            score=round(float(self.linear[j]), 4),
            slots=len(self.z),
            agree=int(np.count_nonzero((self.z > 0) & (bits[:, 0] == 1)) + np.count_nonzero((self.z < 0) & (bits[:, 0] == 0))),
        )

    def innocents(self) -> Innocents:
        """The picture's numbers: fresh copies' linear scores, and the score at which that member alone would name a copy."""
        if not self.scores:
            return Innocents(0, (), (), 0.0)
        linear = self.scores[0]
        needed = self.needed - math.log(linear.share)
        t = _tilt(linear, self.bias, needed)
        reach = (needed + _cumulant(linear, self.bias, t)[0]) / t if t else math.inf
        counts, edges = np.histogram(self.innocent, bins=40)
        return Innocents(
            len(self.innocent),
            tuple(round(float(edge), 4) for edge in edges),
            tuple(int(count) for count in counts),
            round(reach, 4) if math.isfinite(reach) else 0.0,
        )


_ROUNDING: Final = 1e-9  # two ways of adding up the same weights must tie


def _tilt(score: Score, bias: Floats, needed: float) -> float:
    """The t that spends exactly `needed` nats of t K'(t) - K(t), or the largest that makes sense if there is less to spend."""
    high = 1.0
    while _spent(score, bias, high) < needed and high < score.most and high < 2.0**_DOUBLINGS:
        high *= 2
    high = min(high, score.most)
    if _spent(score, bias, high) <= needed:
        return high
    low = 0.0
    for _ in range(_STEPS):
        t = (low + high) / 2
        low, high = (low, t) if _spent(score, bias, t) > needed else (t, high)
    return low


def _spent(score: Score, bias: Floats, t: float) -> float:
    k, mean = _cumulant(score, bias, t)
    return t * mean - k


def _cumulant(score: Score, bias: Floats, t: float) -> tuple[float, float]:
    """K(t) = sum of ln E[e^(t w)] over an innocent copy's bits, and its derivative."""
    ones, zeros = np.log(bias) + t * score.one, np.log1p(-bias) + t * score.zero
    scale = np.logaddexp(ones, zeros)
    chance = np.exp(ones - scale)
    return float(scale.sum()), float((chance * score.one + (1 - chance) * score.zero).sum())


def _mixture(z: Floats, bias: Floats, trainers: int) -> tuple[Floats, Floats]:
    """Log-likelihood ratios of "one of so many copies trained on" against "not", its strength fitted to the leans.

    With k of c copies holding side 1, a lean is normal about mu (2k/c - 1). The strength is the likeliest of a grid: it sees
    leans and biases, never a bit.
    """
    square = float(np.mean(z**2)) if len(z) else 1.0
    held = np.arange(trainers + 1)
    others = np.array([math.comb(trainers - 1, k) for k in range(trainers)], dtype=np.float64)
    best: tuple[float, Floats, Floats] | None = None
    for strength in _STRENGTHS:
        spread = math.sqrt(max(1e-12, square * (1 - strength)))
        mean = math.sqrt(max(1e-12, square * strength))
        density = _normal(z[:, None], mean * (2 * held / trainers - 1)[None, :], spread)
        density = (1 - _STRAY) * density + _STRAY * _normal(z[:, None], 0.0, 6 * math.sqrt(max(square, 1e-12)))
        chance = others * bias[:, None] ** np.arange(trainers) * (1 - bias[:, None]) ** (trainers - 1 - np.arange(trainers))
        with_one = (chance * density[:, 1:]).sum(axis=1)
        with_zero = (chance * density[:, :-1]).sum(axis=1)
        either = bias * with_one + (1 - bias) * with_zero
        likely = float(np.log(either).sum())
        if best is None or likely > best[0]:
            best = (likely, np.log(with_one / either), np.log(with_zero / either))
    assert best is not None  # noqa: S101  the grid is not empty
    return best[1], best[2]


def _normal(z: Floats, mean: Floats | float, spread: float) -> Floats:
    return np.asarray(np.exp(-(((z - mean) / spread) ** 2) / 2) / (spread * math.sqrt(2 * math.pi)))


def _probability(log_p: float) -> float:
    """A probability that JSON can hold; bounds below 1e-300 are stated as 1e-300."""
    return min(1.0, max(1e-300, math.exp(max(-690.7, min(0.0, log_p)))))
