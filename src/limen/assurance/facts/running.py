"""Measures of what a vendor says it runs, held against what is known to be malicious. Pure: from `Running` to `Series`.

`Running` is what the readers of bills of material and of advisories say as of the document's moment. Whether something ran on
an earlier day is asked with what is known now: that a package was malicious all along is no later fact. How old the newest bill
of material was on a day is asked with what had been received by then: one that comes late mends no day on which it was missing.

Nobody can vouch for a day that no complete bill of material covers, nor for one to which no feed of advisories reaches, nor
for one on which something was there of which an advisory does not let say whether it names it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from limen.assurance.facts.series import Day, Sample, Series, Span, states
from limen.assurance.measures import DAY_US
from limen.core.intervals import Intervals

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

FEED_REACH_US: Final = 7 * DAY_US  # how long a feed of advisories speaks for what comes after it
_BOM: Final = "bills of material"
_BOTH: Final = "bills of material and advisories"


class Filed(NamedTuple):
    """A bill of material that counts: its entry, its own date, and when it was received."""

    entry: int
    effective_us: int
    received_us: int


class Covered(NamedTuple):
    """A stretch of time for which one bill of material speaks, and whether for all that ran."""

    start_us: int
    end_us: int
    complete: bool
    why: str


class Malicious(NamedTuple):
    """A component that a standing advisory of a malicious package names, or may name; there from `start_us` on."""

    name: str
    start_us: int
    end_us: int | None
    entries: tuple[int, ...]
    certain: bool = True

    def meets(self, start_us: int, end_us: int) -> bool:
        """Whether it was there at some time of an interval."""
        return self.start_us < end_us and (self.end_us is None or self.end_us > start_us)


@dataclass(frozen=True, slots=True)
class Running:
    """What is known of a vendor's components as of a document's moment."""

    filed: tuple[Filed, ...] = ()
    covered: tuple[Covered, ...] = ()
    malicious: tuple[Malicious, ...] = ()
    fed: tuple[int, ...] = ()  # when feeds of advisories were received
    undisclosed: tuple[tuple[str, int], ...] = ()  # services with a sub-processor that was never named, and their BOM's entry


def bom_age(running: Running, span: Span, doubt: dict[int, str]) -> Series:
    """Whole days since the newest bill of material's own date, of those received by the end of the day."""

    def stood(day: Day) -> list[Sample] | str:
        had = [one for one in running.filed if one.received_us < day.end_us and one.effective_us <= day.end_us]
        if not had:
            return "no bill of material had been received by then"
        newest = max(had, key=lambda one: (one.effective_us, one.entry))
        return [Sample((day.end_us - newest.effective_us) // DAY_US, day.start_us, (newest.entry,))]

    return _from(_BOM, states("bom_age_days", span, stood, doubt))


def bom_unknown(running: Running, span: Span, doubt: dict[int, str]) -> Series:
    """1 for a day of which some part isn't covered by a complete bill of material, else 0."""
    complete = _complete(running.covered)

    def stood(day: Day) -> list[Sample]:
        why = _uncovered(day, complete, running.covered)
        return [Sample(1 if why else 0, day.start_us, (), why)]

    return _from(_BOM, states("bom_unknown_days", span, stood, doubt))


def malicious_open(running: Running, span: Span, doubt: dict[int, str]) -> Series:
    """How many malicious components were there at some time of the day."""

    def stood(day: Day, there: Sequence[Malicious]) -> list[Sample]:
        entries = tuple(sorted({entry for one in there for entry in one.entries}))
        return [Sample(len(there), day.start_us, entries, ", ".join(sorted({one.name for one in there})))]

    return _hits("malicious_open", running, span, doubt, stood)


def malicious_dwell(running: Running, span: Span, doubt: dict[int, str]) -> Series:
    """How long each of them had been there by the end of the day, or of its stay."""

    def stood(day: Day, there: Sequence[Malicious]) -> list[Sample]:
        return [
            Sample(_end(one, day.end_us) - one.start_us, max(one.start_us, day.start_us), one.entries, one.name) for one in there
        ]

    return _hits("malicious_dwell_us", running, span, doubt, stood)


def _hits(
    measure: str,
    running: Running,
    span: Span,
    doubt: dict[int, str],
    told: Callable[[Day, Sequence[Malicious]], list[Sample]],
) -> Series:
    complete = _complete(running.covered)
    fed = Intervals.of((0, at_us + FEED_REACH_US) for at_us in running.fed)

    def stood(day: Day) -> list[Sample] | str:
        if why := _uncovered(day, complete, running.covered):
            return why
        if Intervals.of([(day.start_us, day.end_us)]).minus(fed):
            return "no feed of advisories was received since, or within seven days before"
        there = [one for one in running.malicious if one.meets(day.start_us, day.end_us)]
        if doubts := [one.name for one in there if not one.certain]:
            return f"it can't be said whether {min(doubts)} is malicious"
        return told(day, sorted(there, key=lambda one: (one.start_us, one.name, one.entries)))

    return _from(_BOTH, states(measure, span, stood, doubt))


def _end(one: Malicious, until_us: int) -> int:
    return until_us if one.end_us is None else min(one.end_us, until_us)


def _complete(covered: Sequence[Covered]) -> Intervals:
    return Intervals.of((one.start_us, one.end_us) for one in covered if one.complete)


def _uncovered(day: Day, complete: Intervals, covered: Sequence[Covered]) -> str:
    """Why a day isn't covered whole; empty if it is."""
    gap = Intervals.of([(day.start_us, day.end_us)]).minus(complete)
    if not gap:
        return ""
    said = [one.why for one in covered if not one.complete and gap.within(one.start_us, one.end_us)]
    return (
        f"a bill of material says itself that it is not complete: {said[0]}" if said else "no bill of material covers all of it"
    )


def _from(source: str, series: Series) -> Series:
    series.source = source
    return series
