"""The question that an advisory puts, and the answer of one vendor. Times are integer microseconds; intervals are [start, end).

Two clocks: *effective* is when something held (a component ran, a package could be had), *known* is when the log took in who
said so. A question is asked as of a time of knowledge, and nothing that came in later has a part in its answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from limen.core.intervals import Intervals

if TYPE_CHECKING:
    from limen.assurance.advisories.values import Stated, Window
    from limen.assurance.bom.values import Presence
    from limen.formats.osv import Advisory


class Verdict(StrEnum):
    """Three values. *No* takes a complete bill of material over all of the time that is asked about."""

    YES = "yes"
    NO = "no"
    CANNOT_SAY = "cannot say"


@dataclass(frozen=True, slots=True)
class Record:
    """The newest known revision of one record of a finding: which entry brought it, when, and whether by a trusted source.

    `sources` brought it; `trusted`: one of them signed it, and limen.toml allows it to restrict. `revision` counts this record's
    from 1.
    """

    entry: int
    received_us: int
    advisory: Advisory
    revision: int = 1
    sources: tuple[str, ...] = ()
    trusted: bool = False

    @property
    def open(self) -> bool:
        """Whether it still stands: a withdrawn record says nothing any more."""
        return self.advisory.withdrawn_us is None


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of every vendor: these records, over [start_us, end_us), as known at `as_of_us` (None: all that is known).

    `start_us` to `end_us` is the time over which a *no* must be covered; a hit counts whenever it was. `basis` says in words
    how that time was chosen.
    """

    records: tuple[Record, ...]
    start_us: int
    end_us: int
    now_us: int
    basis: str
    windows: tuple[Window, ...] = ()
    as_of_us: int | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """One component of a vendor's that a record names. `until_us` None: the newest bill of material still lists it.

    `seen` is when a bill of material in force listed it; `by` says what named it: its version, its digest, or a tag.
    """

    presence: Presence
    from_us: int
    until_us: int | None
    seen: Intervals
    by: str
    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class Doubt:
    """One component of which it can't be said whether a record names it, and why."""

    presence: Presence
    why: str


@dataclass(frozen=True, slots=True)
class Uncovered:
    """Time within the question in which nothing that covers the vendor says what it ran, and why."""

    start_us: int
    end_us: int
    why: str


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Dates that don't agree: what about, and what each source says. All are kept; none is chosen."""

    about: str
    says: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """One vendor's answer, with its grounds. `near` are components of the same packages that no record names, in words.

    `stated` is what the vendor's own VEX documents say of the finding: noted; it decides nothing.
    """

    vendor: str
    verdict: Verdict
    why: str
    hits: tuple[Hit, ...] = ()
    doubts: tuple[Doubt, ...] = ()
    uncovered: tuple[Uncovered, ...] = ()
    near: tuple[str, ...] = ()
    stated: tuple[Stated, ...] = ()
    disagreements: tuple[Disagreement, ...] = ()
    boms: tuple[int, ...] = ()
    covered: Intervals = field(default_factory=Intervals)

    @property
    def malicious(self) -> bool:
        """Whether a record of a malicious package is among the grounds."""
        return any(record.advisory.malicious for hit in self.hits for record in hit.records)
