"""The search of one tier: whose copies fed a case's samples, round by round, under one bound for all of it. Pure.

Copy j is implicated if its e-value reaches 1 / (alpha' pi_j s), where s is the test's share of the tier's alpha. The
**first** test multiplies the looks' e-values: each slot is weighed once, when it is first shown, so the product is a
martingale for an innocent copy and may be looked at after every sample (Ville 1939; Vovk & Wang 2021). **Further** tests
of a look weigh all slots again with the copies found so far as side information; each is an e-value of its own and has
its own part of alpha. Nothing that weighs copy j ever depends on j's bits or on whether j was found (docs/marks.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from limen.marks import decoder as dec
from limen.marks.classes import Classes, Shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TIERS: Final = 2  # each has half of alpha
ROUNDS: Final = 24
FIRST: Final = 0.75  # of the tier's alpha, for all looks together


class Book(Protocol):
    """Who holds what in a look's slots, in the copies' fixed order. Nothing says how it is kept, or that it is."""

    def bits(self, copies: Sequence[int]) -> NDArray[np.uint8]:
        """(slots x copies) bits of a few copies."""
        ...

    def ones(self, which: NDArray[np.int64], classes: int) -> NDArray[np.uint32]:
        """(all copies x classes): how many ones each copy holds in each class, given each slot's class."""
        ...


@dataclass(frozen=True, slots=True)
class Look:
    """One sample of a case in one tier: the slots that no earlier sample of the case showed."""

    shown: Shown
    book: Book


@dataclass(frozen=True, slots=True)
class Found:
    """Copy number `copy`, implicated (or the nearest to it). `log_q`: the verdict's bound; implicated if at most ln alpha.

    `p`: Chernoff's bound for this copy alone, by the decoder that speaks loudest for it, which looks for `colluders` (0: any
    number). `look` and `round` count from 1.
    """

    copy: int
    look: int
    round: int
    log_e: float
    log_q: float
    p: float
    colluders: int


@dataclass(frozen=True, slots=True)
class Search:
    """What the search came to. `threshold`: nats that the likeliest copy needs in the first test. `best`: of those not found."""

    threshold: float
    found: tuple[Found, ...]
    best: Found | None


def search(looks: Sequence[Look], log_prior: Floats, *, alpha: float, rounds: int = ROUNDS) -> Search:
    """Whose copies fed these looks, in their order. `log_prior`: ln pi_j of the whole case; the pi_j sum to 1 at most.

    Asked again with one look more it says the same about the looks before. `rounds` = 1 stops at the first test.
    """
    threshold = _needed(FIRST, alpha) - float(log_prior.max())
    found: list[Found] = []
    best: Found | None = None
    first: list[_Scored] = []
    for number, look in enumerate(looks, 1):
        if not len(look.shown):
            continue
        first.append(_Scored.of([look], (), threshold=threshold))
        test = _Test(number, 1, tuple(first), log_prior, _needed(FIRST, alpha), alpha)
        new, best = test.outcome(found)
        found += new
        for turn in range(2, rounds + 1):
            if not found or (turn > 2 and not new):  # noqa: PLR2004  earlier looks' copies are side information at once
                break
            share = (1 - FIRST) * 2.0 ** (1 - turn) * 2.0**-number
            needed = _needed(share, alpha)
            known = tuple(one.copy for one in found)
            again = _Scored.of(looks[:number], known, threshold=needed - float(log_prior.max()))
            new, best = _Test(number, turn, (again,), log_prior, needed, alpha).outcome(found)
            found += new
    return Search(threshold, tuple(found), best)


def threshold_for(alpha: float, copies: int) -> float:
    """Nats that a copy needs in the first test, if as many copies share the prior evenly."""
    return _needed(FIRST, alpha) + math.log(max(1, copies))


def _needed(share: float, alpha: float) -> float:
    """Nats that a copy of prior 1 would need in a test with this share of one tier's alpha."""
    return math.log(TIERS) - math.log(share) - math.log(alpha)


@dataclass(frozen=True, slots=True)
class _Scored:
    """Slots weighed together: their classes, the bank for them, and each copy's score by each decoder."""

    classes: Classes
    decoders: list[dec.Decoder]
    scores: Floats

    @classmethod
    def of(cls, looks: Sequence[Look], known: tuple[int, ...], *, threshold: float) -> _Scored:
        """Weigh the slots of these looks, with copies `known` as side information."""
        some = [look for look in looks if len(look.shown)]
        held = np.concatenate([look.book.bits(known).sum(axis=1, dtype=np.int64) for look in some])
        classes, which = Shown.together([look.shown for look in some]).classes(held)
        decoders = dec.bank(classes, found=len(known), threshold=threshold)
        gain = np.stack([d.one - d.zero for d in decoders], axis=1)
        floor = np.array([float(classes.count @ d.zero) for d in decoders])
        parts = np.split(which, np.cumsum([len(look.shown) for look in some])[:-1])
        ones = sum((look.book.ones(part, len(classes.count)) for look, part in zip(some, parts, strict=True)), start=0)
        return cls(classes, decoders, np.asarray(ones @ gain + floor))

    def lead(self, copy: int) -> int:
        """The decoder that speaks loudest for a copy."""
        return int(np.argmax(self.scores[copy] + np.log([d.share for d in self.decoders])))


@dataclass(frozen=True, slots=True)
class _Test:
    """One test of all copies: the parts whose e-values multiply, and what a copy of prior 1 needs."""

    look: int
    round: int
    parts: tuple[_Scored, ...]
    log_prior: Floats
    needed: float
    alpha: float

    def outcome(self, found: list[Found]) -> tuple[list[Found], Found | None]:
        """The copies that this test adds, best first; and the best of the rest."""
        log_e = np.sum([dec.log_evalues(part.decoders, part.scores) for part in self.parts], axis=0)
        # The bound that the verdict rests on: both tiers, this test's share of alpha, the copy's prior.
        log_q = self.needed + math.log(self.alpha) - self.log_prior - log_e
        log_q[[one.copy for one in found]] = np.inf
        new = np.flatnonzero(log_q <= math.log(self.alpha))
        added = [self._figures(int(j), log_e, log_q) for j in new[np.argsort(log_q[new], kind="stable")]]
        log_q[new] = np.inf
        rest = int(np.argmin(log_q))
        return added, self._figures(rest, log_e, log_q) if log_q[rest] < np.inf else None

    def _figures(self, j: int, log_e: Floats, log_q: Floats) -> Found:
        leads = [part.decoders[part.lead(j)] for part in self.parts]
        whole = Classes(*(np.concatenate([getattr(part.classes, name) for part in self.parts]) for name in Classes.__slots__))
        one, zero = (np.concatenate([getattr(lead, name) for lead in leads]) for name in ("one", "zero"))
        score = float(sum(part.scores[j, part.lead(j)] for part in self.parts))
        # The best of several bounds is a bound once each has paid for its share of the bank.
        share = math.prod(lead.share for lead in leads)
        p = dec.chernoff(dec.Decoder("", 0, share, one, zero), whole, score) / share
        return Found(j, self.look, self.round, float(log_e[j]), float(log_q[j]), p, leads[-1].colluders)
