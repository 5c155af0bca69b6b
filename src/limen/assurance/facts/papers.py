"""Statements: evidence by third parties and the vendor's own word, each for the time for which it speaks; and contradictions.

An entry `fact.add` gives one document or answer, with one or more measures. Its effective dates are the document's own; when
it was entered is another date, and both are told. A later entry may replace it: then it is no fact any more from that entry on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from limen.assurance.facts.series import Sample, Value
from limen.assurance.measures import DAY_US, MEASURES, measured_of
from limen.core.types import Grade

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from limen.assurance.facts.known import Known
    from limen.assurance.facts.running import Running
    from limen.assurance.facts.series import Series


class Statement(NamedTuple):
    """One statement of one measure, as a fact will tell it."""

    measure: str
    grade: Grade
    from_us: int
    to_us: int | None
    recorded_us: int
    source: str
    sample: Sample


def statements(known: Known) -> list[Statement]:
    """Every statement that nothing has replaced, by measure and effective date."""
    told = known.of("fact.add")
    replaced = {one.fields["replaces"] for one in told if one.fields.get("replaces") is not None}
    found = [
        Statement(
            fact["measure"],
            weakest_of(fact["measure"], one.fields),
            one.fields["from_us"],
            one.fields["to_us"],
            one.at_us,
            one.fields["source"],
            Sample(value_of(fact["value"]), one.fields["of_us"], (one.entry,), one.fields.get("note", "")),
        )
        for one in told
        if one.entry not in replaced
        for fact in one.fields["facts"]
    ]
    return sorted(found, key=lambda one: (one.measure, one.from_us, one.recorded_us, one.sample.entries))


def weakest_of(measure: str, fields: Mapping[str, Any]) -> Grade:
    """Evidence is a document; what is called evidence without one is somebody's word."""
    best = MEASURES[measure].grade
    return best if fields.get("digest") or best is Grade.DECLARED else Grade.DECLARED


def value_of(raw: Any) -> Value:
    """A value as entries hold it: a ratio is a list there."""
    return (raw[0], raw[1]) if isinstance(raw, list) else raw


def contradictions(
    declared: Sequence[Statement], measured: Mapping[str, Series], running: Running
) -> list[tuple[Statement, str, Sample, Grade]]:
    """What the vendor said and a measurement contradicts: the statement, the measure, its worst sample, and its grade.

    A statement holds for the days for which it speaks; only samples of those days count against it.
    """
    found = []
    for one in declared:
        about = measured_of(one.measure)
        if about is not None and about.name in measured:
            series = measured[about.name]
            against = [
                (sample, series.grade(day))
                for day, samples in series.days.items()
                if _speaks(one, day)
                for sample in samples
                if _worse(sample.value, one.sample.value, about.worse)
            ]
            if against:
                sample, grade = _worst(against, about.worse)
                found.append((one, about.name, sample, grade))
        elif one.measure == "declared.subprocessors" and one.sample.value is True and running.undisclosed:
            name, entry = running.undisclosed[0]
            found.append((one, "undisclosed", Sample(len(running.undisclosed), one.from_us, (entry,), name), Grade.DECLARED))
    return found


def _speaks(one: Statement, day: int) -> bool:
    start, end = day * DAY_US, (day + 1) * DAY_US
    return one.from_us < end and (one.to_us is None or one.to_us > start)


def _worse(value: Value, than: Value, worse: str) -> bool:
    """Whether a measured value is on the wrong side of what was said."""
    left, right = _cross(value, than)
    return left > right if worse == "more" else left < right


def _worst(against: list[tuple[Sample, Grade]], worse: str) -> tuple[Sample, Grade]:
    chosen = against[0]
    for one in against[1:]:
        if _worse(one[0].value, chosen[0].value, worse):
            chosen = one
    return chosen


def _cross(one: Value, other: Value) -> tuple[int, int]:
    """Two values of the same kind as whole numbers that compare as they do."""
    if isinstance(one, tuple) and isinstance(other, tuple):
        return one[0] * other[1], other[0] * one[1]
    if isinstance(one, int) and isinstance(other, int):
        return int(one), int(other)
    raise RuntimeError("values of two kinds")
