"""One measure over days: the samples of each day that can be vouched for, and why the others can't.

A day is a UTC day, [00:00, 24:00), numbered from 1970-01-01; the last one of a document ends at its moment.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from limen.assurance.measures import DAY_US, MEASURES
from limen.core.types import Grade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Value = int | tuple[int, int] | str | bool


class Sample(NamedTuple):
    """One thing that happened or stood: its value, when, and the entries that show it."""

    value: Value
    at_us: int
    entries: tuple[int, ...]
    note: str = ""
    grade: Grade | None = None  # where it is known in a weaker way than the measure at best


class Day(NamedTuple):
    """One day of a document: its number and [start, end), cut at the document's moment."""

    number: int
    start_us: int
    end_us: int


@dataclass(frozen=True, slots=True)
class Span:
    """The days of a document."""

    from_us: int
    to_us: int

    def __iter__(self) -> Iterator[Day]:
        for number in range(self.from_us // DAY_US, -(-self.to_us // DAY_US)):
            yield Day(number, number * DAY_US, min((number + 1) * DAY_US, self.to_us))

    def holds(self, at_us: int) -> bool:
        """Whether a moment lies on one of its days."""
        return self.from_us // DAY_US * DAY_US <= at_us < self.to_us


@dataclass(slots=True)
class Series:
    """A measure's days. A day that is neither in `days` nor in `unknown` was forgotten by whoever made it."""

    measure: str
    days: dict[int, list[Sample]] = field(default_factory=dict)
    unknown: dict[int, str] = field(default_factory=dict)
    source: str = "ledger"
    grades: dict[int, Grade] = field(default_factory=dict)  # of a day, where it is weaker than its samples say

    def grade(self, day: int) -> Grade:
        """The weakest of a day's ways of knowing; with no sample, the measure's at best."""
        best = MEASURES[self.measure].grade
        told = [sample.grade for sample in self.days[day] if sample.grade is not None]
        return weakest([best, *told, *([self.grades[day]] if day in self.grades else [])])


def weakest(grades: Iterable[Grade]) -> Grade:
    """The weakest of several ways of knowing."""
    return max(grades, key=list(Grade).index)


def events(measure: str, span: Span, samples: Iterable[Sample], doubt: dict[int, str]) -> Series:
    """A measure of what happened: each sample on its day; a day in doubt has none."""
    by_day: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_day[sample.at_us // DAY_US].append(sample)
    return states(measure, span, lambda day: by_day.get(day.number, []), doubt)


def states(measure: str, span: Span, stood: Callable[[Day], list[Sample] | str], doubt: dict[int, str]) -> Series:
    """A measure of what stood: the samples of each day, or in words why nobody can say."""
    series = Series(measure)
    for day in span:
        if day.number in doubt:
            series.unknown[day.number] = doubt[day.number]
            continue
        found = stood(day)
        if isinstance(found, str):
            series.unknown[day.number] = found
        else:
            series.days[day.number] = found
    return series
