"""Measures of what a vendor holds: how much of a tier-1 asset one person has, and how long after the end it came back."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from limen.assurance.facts.series import Day, Sample, Series, Span, states
from limen.assurance.measures import DAY_US
from limen.core.types import Grade

if TYPE_CHECKING:
    from limen.assurance.facts.known import Known, Told

# --- the largest share


def tier1_held_share(known: Known, span: Span, doubt: dict[int, str]) -> Series:
    """The largest part of one version that one person had by the end of each day, in bytes of their own copy.

    It only grows: what was served is held until the contrary is proven, and a statement proves nothing. An access whose
    outcome is open counts whole.
    """
    growth = sorted(
        [
            *known.grown,
            *((one.at_us, one.entry, one.copy, one.bytes) for one in known.flights if one.copy is not None and one.bytes),
        ]
    )
    lengthless = {copy for copy, (_, _, length) in known.copies.items() if not length}
    held: dict[int, int] = defaultdict(int)
    most: tuple[int, int, int, str] | None = None  # bytes, length, entry, asset@version
    by_day: dict[int, tuple[int, int, int, str]] = {}
    unsized: int | None = None  # the first day on which something was served whose version has no length in the log
    for at_us, entry, copy, bytes_ in growth:
        day = at_us // DAY_US
        if copy in lengthless:
            unsized = day if unsized is None else unsized
            continue
        asset, version, length = known.copies[copy]
        held[copy] = min(held[copy] + bytes_, length)
        if most is None or held[copy] * most[1] > most[0] * length:
            most = (held[copy], length, entry, f"{asset}@{version}")
        by_day[day] = most
    days = sorted(by_day)

    def stood(day: Day) -> list[Sample] | str:
        if raised := [row for row in known.raised if row[0] < day.end_us]:
            _, entry, tier = raised[0]
            return f"tier {tier} became tier 1 at entry {entry}: what was served of its assets before that is not counted"
        if unsized is not None and day.number >= unsized:
            return "something was served of a version whose length the log does not tell"
        newest = bisect_right(days, day.number)
        if not newest:
            return []
        bytes_, length, entry, name = by_day[days[newest - 1]]
        return [Sample((bytes_, length), day.start_us, (entry,), name)]

    return states("tier1_held_share", span, stood, doubt)


# --- return or destruction


def returned(known: Known, span: Span, doubt: dict[int, str]) -> Series:
    """From the end of the vendor's work in a project to what shows that what it was served came back, or is no more."""
    runs = [run for project in sorted(known.served) if (run := _run(known, project)) is not None]

    def stood(day: Day) -> list[Sample]:
        found = []
        for project, begun_us, entry, done in runs:
            if begun_us >= day.end_us or (done is not None and _done_us(done) < day.start_us):
                continue
            if done is not None and _done_us(done) < day.end_us:
                grade = Grade.EVIDENCE if done.fields.get("digest") else Grade.DECLARED
                value = max(_done_us(done) - begun_us, 0)
                note = f"{project}: {done.fields['notice']}"
                found.append(Sample(value, max(_done_us(done), day.start_us), (entry, done.entry), note, grade))
            else:
                found.append(Sample(day.end_us - begun_us, day.start_us, (entry,), f"{project}: not yet shown"))
        return found

    return states("return_us", span, stood, doubt)


def _run(known: Known, project: str) -> tuple[str, int, int, Told | None] | None:
    """When the vendor's work in a project ended, the entry that says so, and what was shown after it; None while it goes on."""
    ended = _ended(known, project)
    if ended is None:
        return None
    # What was served after the end begins to be held then; what was served after a return is not returned by it.
    last_us, last = max(known.served[project])
    begun_us, entry = max(ended, (last_us, last))
    shown = [
        one
        for one in known.of("notice.add")
        if one.fields["notice"] in {"returned", "destroyed"}
        and one.fields["project"] == project
        and _done_us(one) // DAY_US >= last_us // DAY_US
    ]
    return project, begun_us, entry, min(shown, key=lambda one: (_done_us(one), one.entry), default=None)


def _done_us(one: Told) -> int:
    return int(one.fields["done_us"])


def _ended(known: Known, project: str) -> tuple[int, int] | None:
    """The earliest of: its grants there are over, its people have gone, its agreements have run out, the lab says so."""
    ends: list[tuple[int, int]] = []
    if grants := known.grants.get(project):
        until_us, entry = max((until_us, entry) for entry, _, until_us in grants)
        ends.append((until_us, entry))
    if known.people and all(until_us is not None for _, _, until_us, _ in known.people):
        ends.append(max((until_us or 0, entry or 0) for _, _, until_us, entry in known.people))
    agreements: list[dict[str, Any]] = [{**one.fields, "entry": one.entry} for one in known.of("agreement.add")]
    if agreements:
        ends.append(max((one["valid_until"] * 1_000_000, one["entry"]) for one in agreements))
    ends += [
        (one.fields["ended_us"], one.entry)
        for one in known.of("notice.add")
        if one.fields["notice"] == "project-end" and one.fields["project"] == project
    ]
    over = [end for end in ends if end[0] <= known.as_of_us]
    return min(over, default=None)
