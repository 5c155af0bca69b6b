"""Trace: which copies fed a leak, under a bound on implicating an innocent copy that holds whatever the leakers did.

The verdict rests on e-values alone: copy j is implicated if E_j >= 1 / (alpha' pi_j), where alpha' is half of alpha for
each tier and halves again with each round of the search. Copies found become side information for the next round; the
weights for a copy never use its own bits or status. It implicates copies, never persons. Theorem, conditions and what
breaks it: docs/marks.md. Pure but for memory-mapped tables behind `Observed`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from limen.marks import decoder as dec
from limen.marks.code import BIASES, PERSON, VENDOR, codebook

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from limen.core.types import Recipient
    from limen.marks.index import Observed
    from limen.marks.keys import MarkKey

ALPHA: Final = 1e-9
SERVED_SHARE: Final = 0.9
ROUNDS: Final = 24
SLOT_SHARE: Final = {PERSON: 3 / 2, VENDOR: 3.0}  # slots of both tiers for each one of this tier
MEANING: Final = (
    "If this copy had no part in the leak, a score this high has probability at most p over our secret marks; corrected"
    " for all copies that were compared, at most q. This is not the probability of innocence. A copy is implicated, not a"
    " person: it does not say who typed, and a stolen session looks the same."
)
_AT_ONCE: Final = 8192


@dataclass(frozen=True, slots=True)
class Implicated:
    """A copy with its figures.

    `p`: Chernoff bound for this copy alone; `q`: the verdict's bound, corrected for copies,
    tiers and rounds. `agree` of `slots` shown slots of the tier hold what this copy holds. `log10_e`: of the e-value.
    """

    recipient: str
    vendor: str | None
    copy_id: str
    p: float
    q: float
    log10_e: float
    slots: int
    agree: int
    round: int
    attack: str


@dataclass(frozen=True, slots=True)
class TraceResult:
    """What a sample says about copies.

    `slots_needed`: about how many matched slots would name one copy of the smallest
    coalition that this sample can't rule on yet. `power`: chance of naming a coalition of 1, 2, 3 at this size.
    """

    verdict: Literal["named", "none", "abstain"]
    copies: tuple[Implicated, ...]
    vendors: tuple[Implicated, ...]
    second_best: Implicated | None
    slots_matched: int
    slots_person: int
    slots_vendor: int
    slots_both: int
    slots_needed: int
    attack: str
    power: dict[int, float]
    canaries: tuple[dict[str, Any], ...]
    alpha: float
    compared: int
    unclear: int
    bank: str = dec.BANK

    def to_json(self) -> dict[str, Any]:
        """The result as JSON values, with the sentence that every report carries."""
        return {**asdict(self), "power": {str(c): round(v, 4) for c, v in self.power.items()}, "meaning": MEANING}


def score(
    observed: Observed,
    recipients: Sequence[Recipient],
    *,
    keys: Mapping[str, MarkKey],
    served: Collection[str],
    alpha: float = ALPHA,
) -> TraceResult:
    """Score every recipient's copy, and every vendor's, against what a sample shows.

    `served`: copy ids of those who had any access to the assets before the sample was logged; never narrower (which
    records somebody fetched depends on their bits). `keys` by id, for all of `observed.keys`.
    """
    people = {r.copy_id: r for r in recipients}
    firms = {r.vendor_copy_id: r for r in recipients if r.vendor is not None}
    served_firms = {r.vendor_copy_id for r in recipients if r.copy_id in served}
    person = _search(observed, PERSON, list(people), keys=keys, served=served, alpha=alpha)
    vendor = _search(observed, VENDOR, list(firms), keys=keys, served=served_firms, alpha=alpha)
    matched = len(observed.slots)
    verdict: Literal["named", "none", "abstain"] = "abstain"
    if person.found or vendor.found:
        verdict = "named"
    elif not observed.matched and not observed.unclear:
        verdict = "none"  # common records and canaries are ours too: a sample that holds them is not "none"
    both = int(np.count_nonzero(observed.slots["seen"] == 3))  # noqa: PLR2004  both sides
    best = person.best
    return TraceResult(
        verdict=verdict,
        copies=tuple(_named(f, people[f.copy_id]) for f in person.found),
        vendors=tuple(_firm(f, firms[f.copy_id]) for f in vendor.found),
        second_best=_named(best, people[best.copy_id]) if best else None,
        slots_matched=matched,
        slots_person=person.slots,
        slots_vendor=vendor.slots,
        slots_both=both,
        slots_needed=_needed(person, both=both),
        attack=person.found[0].attack if person.found else "",
        power={c: dec.power(c, slots=person.slots, threshold=person.threshold) for c in (1, 2, 3)},
        canaries=_canaries(observed, recipients),
        alpha=alpha,
        compared=len(people),
        unclear=observed.unclear,
    )


@dataclass(frozen=True, slots=True)
class _Search:
    """What the search in one tier came to. `threshold`: nats that a served copy needs in the first round."""

    slots: int
    threshold: float
    found: list[Implicated]
    best: Implicated | None


def _search(
    observed: Observed, tier: int, whose: list[str], *, keys: Mapping[str, MarkKey], served: Collection[str], alpha: float
) -> _Search:
    shown = observed.slots[observed.slots["tier"] == tier]
    log_prior = _log_priors(whose, served)
    if not whose:
        return _Search(len(shown), 0.0, [], None)
    least = math.log(4 / alpha) - float(log_prior.max())  # two tiers, and the first round's half
    if not len(shown):
        return _Search(0, least, [], None)
    symbol = dec.symbols(shown["kind"], shown["seen"])
    bits = _Bits(observed, shown, tier, whose, keys)
    found: list[int] = []
    named: list[Implicated] = []
    best: Implicated | None = None
    for turn in range(1, ROUNDS + 1):
        held = bits.of(found).sum(axis=1)
        classes, order, starts = _classes(shown, symbol, held)
        decoders = dec.bank(classes, found=len(found), threshold=least)
        scores = bits.scores(classes, order, starts, decoders)
        log_e = dec.log_evalues(decoders, scores)
        # Bound of the verdict: both tiers, this round's share of alpha, the copy's prior.
        log_q = math.log(2) + turn * math.log(2) - log_prior - log_e
        log_q[found] = np.inf
        look = _Round(turn, bits, classes, decoders, scores, log_e, log_q)
        new = np.flatnonzero(log_q <= math.log(alpha)).tolist()
        rest = np.setdiff1d(np.arange(len(whose)), [*found, *new])
        if len(rest):
            best = look.figures(int(rest[np.argmin(log_q[rest])]))
        if not new:
            break
        named += [look.figures(j) for j in sorted(new, key=log_q.__getitem__)]
        found += new
    return _Search(len(shown), least, named, best)


class _Bits:
    """The scored copies' bits, packed: slots x copies. Built once; every round reads them."""

    def __init__(
        self, observed: Observed, shown: NDArray[np.void], tier: int, whose: list[str], keys: Mapping[str, MarkKey]
    ) -> None:
        self.whose = whose
        self._packed: list[NDArray[np.uint8]] = []
        self._shown = shown
        for start in range(0, len(whose), _AT_ONCE):
            some = whose[start : start + _AT_ONCE]
            block = np.empty((len(shown), len(some)), dtype=np.uint8)
            for number, key_id in enumerate(observed.keys):
                mine = shown["key"] == number
                if mine.any():
                    levels, indexes = shown["level"][mine], shown["index"][mine]
                    block[mine] = codebook(keys[key_id], tier, some, levels=levels, indexes=indexes)
            self._packed.append(np.packbits(block, axis=1))

    def of(self, copies: Sequence[int]) -> NDArray[np.uint8]:
        """(slots x copies) bits of a few copies."""
        columns = [np.unpackbits(self._packed[j // _AT_ONCE][:, j % _AT_ONCE // 8, None], axis=1)[:, j % 8] for j in copies]
        return np.stack(columns, axis=1) if columns else np.zeros((len(self._shown), 0), dtype=np.uint8)

    def scores(
        self, classes: dec.Classes, order: NDArray[np.int64], starts: NDArray[np.int64], decoders: list[dec.Decoder]
    ) -> NDArray[np.float64]:
        """(copies x decoders): ones counted class by class, then weighed."""
        gain = np.stack([d.one - d.zero for d in decoders], axis=1)
        floor = np.array([float(classes.count @ d.zero) for d in decoders])
        out = np.empty((len(self.whose), len(decoders)))
        for number, packed in enumerate(self._packed):
            start = number * _AT_ONCE
            some = min(_AT_ONCE, len(self.whose) - start)
            block = np.unpackbits(packed[order], axis=1, count=some)
            ones = np.add.reduceat(block, starts, axis=0, dtype=np.uint32)
            out[start : start + some] = ones.T @ gain + floor
        return out

    def agreement(self, j: int) -> int:
        """In how many of the shown slots this copy holds a side that the sample shows."""
        return int(np.count_nonzero(self._shown["seen"] >> self.of([j])[:, 0] & 1))


@dataclass(frozen=True, slots=True)
class _Round:
    """One round of the search: its decoders, and every copy's scores, log e-value and log q."""

    number: int
    bits: _Bits
    classes: dec.Classes
    decoders: list[dec.Decoder]
    scores: NDArray[np.float64]
    log_e: NDArray[np.float64]
    log_q: NDArray[np.float64]

    def figures(self, j: int) -> Implicated:
        """What is reported of copy j."""
        lead = self.decoders[int(np.argmax(self.scores[j] + np.log([d.share for d in self.decoders])))]
        # The best of several bounds is a bound once each has paid for its share of the bank.
        p = min(dec.chernoff(d, self.classes, float(s)) / d.share for d, s in zip(self.decoders, self.scores[j], strict=True))
        return Implicated(
            recipient="",
            vendor=None,
            copy_id=self.bits.whose[j],
            p=_probability(math.log(p) if p > 0 else -math.inf),
            q=_probability(float(self.log_q[j])),
            log10_e=round(float(self.log_e[j]) / math.log(10), 3),
            slots=int(self.classes.count.sum()),
            agree=self.bits.agreement(j),
            round=self.number,
            attack=_attack(lead),
        )


def _classes(
    shown: NDArray[np.void], symbol: NDArray[np.int64], held: NDArray[np.int64]
) -> tuple[dec.Classes, NDArray[np.int64], NDArray[np.int64]]:
    """The classes, the slots' order by class, and where each class starts in it."""
    rows = np.stack([shown["level"].astype(np.int64), symbol, held.astype(np.int64), shown["key"].astype(np.int64)], axis=1)
    kinds, which, count = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(which.reshape(-1), kind="stable")
    classes = dec.Classes(BIASES[kinds[:, 0]], kinds[:, 1], kinds[:, 2], kinds[:, 3], count)
    return classes, order, np.concatenate([[0], np.cumsum(count)[:-1]])


def _named(figures: Implicated, recipient: Recipient) -> Implicated:
    return Implicated(**{**asdict(figures), "recipient": recipient.id, "vendor": recipient.vendor})


def _firm(figures: Implicated, recipient: Recipient) -> Implicated:
    return Implicated(**{**asdict(figures), "recipient": recipient.vendor, "vendor": recipient.vendor})


def _attack(lead: dec.Decoder) -> str:
    if lead.colluders == 1:
        return "one copy"
    return f"about {lead.colluders} copies mixed" if lead.colluders else "several copies mixed"


def _log_priors(whose: list[str], served: Collection[str]) -> NDArray[np.float64]:
    """Natural logarithms of pi_j: most of the weight on those with any access, some for everyone else. Sums to at most 1."""
    mine = np.array([one in served for one in whose], dtype=np.bool_)
    if not mine.any():
        return np.full(len(whose), -math.log(max(1, len(whose))))
    return np.where(mine, math.log(SERVED_SHARE / mine.sum()), math.log((1 - SERVED_SHARE) / len(whose)))


def _needed(search: _Search, *, both: int) -> int:
    """Matched slots that would do: for the smallest coalition whose need is above what was matched and not named."""
    for c in (1, 2, 3, 4, 6, 8):
        needed = math.ceil(SLOT_SHARE[PERSON] * dec.slots_for(c, threshold=search.threshold + _BANK_LOSS))
        alone_ruled_out = c == 1 and both > 0  # both sides of a slot take two copies
        if not alone_ruled_out and (search.found or needed > SLOT_SHARE[PERSON] * search.slots):
            return needed
    return math.ceil(SLOT_SHARE[PERSON] * dec.slots_for(12, threshold=search.threshold + _BANK_LOSS))


_BANK_LOSS: Final = 1.5  # nats that a decoder pays for sharing the bank


def _canaries(observed: Observed, recipients: Sequence[Recipient]) -> tuple[dict[str, Any], ...]:
    """Canaries in the sample, with whose they are. Evidence, not a verdict: who gets which canary is an order, not a secret."""
    owners: dict[int, list[str]] = {}
    for recipient in recipients:
        if recipient.canary is not None:
            owners.setdefault(recipient.canary, []).append(recipient.id)
    return tuple(
        {"version": version.rsplit("/", 1)[-1], "canary": number, "recipients": owners.get(number, [])}
        for version, numbers in sorted(observed.canaries.items())
        for number in numbers
    )


def _probability(log_p: float) -> float:
    """A probability that JSON can hold; bounds below 1e-300 are stated as 1e-300."""
    return min(1.0, max(1e-300, math.exp(max(-690.7, min(0.0, log_p)))))
