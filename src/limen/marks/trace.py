"""Trace: which copies fed a leak, under a bound on implicating an innocent copy that holds whatever the leakers did.

The verdict rests on e-values alone: `search` runs the tests of each tier, half of alpha each. Samples of one case add up:
a slot counts once, in the sample that showed it first. It implicates copies, never persons. Theorem, conditions and what
breaks it: docs/marks.md. Pure but for memory-mapped tables behind `Observed`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from limen.marks import decoder as dec
from limen.marks.book import DealtBook
from limen.marks.classes import Shown
from limen.marks.code import PERSON, VENDOR
from limen.marks.search import Found, Look, search

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from limen.core.types import Recipient
    from limen.marks.index import Observed
    from limen.marks.keys import MarkKey

ALPHA: Final = 1e-9
SERVED_SHARE: Final = 0.9
POWER: Final = (1, 2, 3, 5, 8)  # coalitions whose chance of being named every report tells
SLOT_SHARE: Final = {PERSON: 3 / 2, VENDOR: 3.0}  # slots of both tiers for each one of this tier
MEANING: Final = (
    "If this copy had no part in the leak, a score this high has probability at most p over our secret marks; corrected"
    " for all copies that were compared, at most q. This is not the probability of innocence. A copy is implicated, not a"
    " person: it does not say who typed, and a stolen session looks the same."
)


@dataclass(frozen=True, slots=True)
class Implicated:
    """A copy with its figures.

    `p`: Chernoff bound for this copy alone; `q`: the verdict's bound, corrected for copies,
    tiers and rounds. `agree` of `slots` shown slots of the tier hold what this copy holds. `log10_e`: of the e-value.
    `look`: the sample of the case, from 1, that decided; `round`: the test of it.
    """

    recipient: str
    vendor: str | None
    copy_id: str
    p: float
    q: float
    log10_e: float
    slots: int
    agree: int
    look: int
    round: int
    attack: str


@dataclass(frozen=True, slots=True)
class TraceResult:
    """What a sample says about copies.

    `slots_needed`: about how many matched slots would name one copy of the smallest
    coalition that can't be ruled on yet. `power`: chance of naming one of a coalition of 1, 2, 3, 5, 8 at this size. With earlier
    samples of the case all of it is about the case: `looks` samples, slots counted once.
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
    looks: int = 1
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
    earlier: Sequence[Observed] = (),
) -> TraceResult:
    """Score every recipient's copy, and every vendor's, against what a sample shows.

    `served`: copy ids of those who had any access to the assets before the case's first sample was logged; never narrower
    (which records somebody fetched depends on their bits). `keys` by id, for all keys of what was observed.
    `earlier`: the case's samples before this one, in the order they were logged; alpha is the case's, for all of them.
    """
    people = {r.copy_id: r for r in recipients}
    firms = {r.vendor_copy_id: r for r in recipients if r.vendor is not None}
    served_firms = {r.vendor_copy_id for r in recipients if r.copy_id in served}
    samples = [*earlier, observed]
    slots = new_slots(samples)
    person = _search(slots, PERSON, list(people), keys=keys, served=served, alpha=alpha)
    vendor = _search(slots, VENDOR, list(firms), keys=keys, served=served_firms, alpha=alpha)
    verdict: Literal["named", "none", "abstain"] = "abstain"
    if person.found or vendor.found:
        verdict = "named"
    elif not any(sample.matched or sample.unclear for sample in samples):
        verdict = "none"  # common records and canaries are ours too: a sample that holds them is not "none"
    both = sum(int(np.count_nonzero(some["seen"] == 3)) for some in slots.rows)  # noqa: PLR2004  both sides
    best = person.best
    return TraceResult(
        verdict=verdict,
        copies=tuple(_named(f, people[f.copy_id]) for f in person.found),
        vendors=tuple(_firm(f, firms[f.copy_id]) for f in vendor.found),
        second_best=_named(best, people[best.copy_id]) if best else None,
        slots_matched=sum(len(some) for some in slots.rows),
        slots_person=person.slots,
        slots_vendor=vendor.slots,
        slots_both=both,
        slots_needed=_needed(person, both=both),
        attack=person.found[0].attack if person.found else "",
        power={c: dec.power(c, slots=person.slots, threshold=person.threshold) for c in POWER},
        canaries=_canaries(observed, recipients),
        alpha=alpha,
        compared=len(people),
        unclear=observed.unclear,
        looks=len(samples),
    )


@dataclass(frozen=True, slots=True)
class CaseSlots:
    """Slots by sample, each in the sample that showed it first; `key` of every row indexes `keys`."""

    keys: tuple[str, ...]
    rows: tuple[NDArray[np.void], ...]


def new_slots(samples: Sequence[Observed]) -> CaseSlots:
    """What each sample of a case adds. A slot keeps the symbol it was first seen with, and so its first score."""
    keys = tuple(sorted({name for sample in samples for name in sample.keys}))
    rows: list[NDArray[np.void]] = []
    known: set[tuple[int, int, int, int]] = set()
    for sample in samples:
        own = sample.slots.copy()
        own["key"] = np.array([keys.index(name) for name in sample.keys], dtype=np.int64)[own["key"]] if len(own) else own["key"]
        places = list(zip(*(own[part].tolist() for part in ("key", "tier", "level", "index")), strict=True))
        rows.append(own[[place not in known for place in places]] if known else own)
        known.update(places)
    return CaseSlots(keys, tuple(rows))


@dataclass(frozen=True, slots=True)
class _Search:
    """What the search in one tier came to. `threshold`: nats that a served copy needs in the first test."""

    slots: int
    threshold: float
    found: list[Implicated]
    best: Implicated | None


def _search(
    case: CaseSlots, tier: int, whose: list[str], *, keys: Mapping[str, MarkKey], served: Collection[str], alpha: float
) -> _Search:
    shown = [some[some["tier"] == tier] for some in case.rows]
    count = sum(len(some) for some in shown)
    if not whose:
        return _Search(count, 0.0, [], None)
    looks = [_look(some, tier, whose, case.keys, keys) for some in shown]
    result = search(looks, log_priors(whose, served), alpha=alpha)

    def figures(one: Found) -> Implicated:
        agree = 0
        for some, look in zip(shown[: one.look], looks[: one.look], strict=True):
            agree += int(np.count_nonzero(some["seen"] >> look.book.bits([one.copy])[:, 0] & 1))
        return Implicated(
            recipient="",
            vendor=None,
            copy_id=whose[one.copy],
            p=_probability(math.log(one.p) if one.p > 0 else -math.inf),
            q=_probability(one.log_q),
            log10_e=round(one.log_e / math.log(10), 3),
            slots=sum(len(some) for some in shown[: one.look]),
            agree=agree,
            look=one.look,
            round=one.round,
            attack=_attack(one.colluders),
        )

    best = figures(result.best) if result.best else None
    return _Search(count, result.threshold, [figures(one) for one in result.found], best)


def _look(rows: NDArray[np.void], tier: int, whose: list[str], names: tuple[str, ...], keys: Mapping[str, MarkKey]) -> Look:
    key = rows["key"].astype(np.int64)
    bias = np.zeros(len(rows))
    for number, name in enumerate(names):
        if (mine := key == number).any():
            bias[mine] = keys[name].table.biases[rows["level"][mine]]
    shown = Shown(bias, dec.symbols(rows["kind"], rows["seen"]), key)
    return Look(shown, DealtBook(tier, whose, names, keys, key, rows["level"].copy(), rows["index"].copy()))


def _named(figures: Implicated, recipient: Recipient) -> Implicated:
    return Implicated(**{**asdict(figures), "recipient": recipient.id, "vendor": recipient.vendor})


def _firm(figures: Implicated, recipient: Recipient) -> Implicated:
    return Implicated(**{**asdict(figures), "recipient": recipient.vendor, "vendor": recipient.vendor})


def _attack(colluders: int) -> str:
    if colluders == 1:
        return "one copy"
    return f"about {colluders} copies mixed" if colluders else "several copies mixed"


def log_priors(whose: Sequence[str], served: Collection[str]) -> NDArray[np.float64]:
    """Natural logarithms of pi_j: most of the weight on those with any access, some for everyone else. Sums to at most 1."""
    mine = np.array([one in served for one in whose], dtype=np.bool_)
    if mine.all() or not mine.any():
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
    return tuple(
        {"version": path.rsplit("/", 1)[-1], "canary": number, "recipients": [one.id for one in whose]}
        for path in sorted(observed.canaries)
        for number, whose in observed.dealt(path, recipients)
    )


def _probability(log_p: float) -> float:
    """A probability that JSON can hold; bounds below 1e-300 are stated as 1e-300."""
    return min(1.0, max(1e-300, math.exp(max(-690.7, min(0.0, log_p)))))
