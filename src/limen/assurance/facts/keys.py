"""Measures of long-lived keys: how many, how old, how soon replaced. Pure: from `Known` to `Series`.

limen issues none, so it knows of them what it is told (*declared*) or what other systems' logs showed (*observed*). A key is
alive until it was tried and refused: one that was only said to be gone still counts. That no other is there is said by a
`static.list`, and holds for LISTED_DAYS; on a day that no list covers nobody can say how many there are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from limen.assurance.facts.series import Day, Sample, Series, Span, states
from limen.assurance.measures import DAY_US
from limen.core.types import Grade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from limen.assurance.facts.known import Known, Told

LISTED_DAYS: Final = 31
REFUSED: Final = "refused"


@dataclass(slots=True)
class Key:
    """One long-lived key: alive in [issued, ended), and when it was replaced by a proven rotation."""

    name: str
    issued_us: int
    entry: int
    grade: Grade
    what: str = "other"
    ended_us: int | None = None
    ended: int | None = None
    rotated: list[tuple[int, int]] = field(default_factory=list)  # (at, entry): the old value was refused from then on

    def alive(self, day: Day) -> bool:
        """Whether it was there at some time of the day."""
        return self.issued_us < day.end_us and (self.ended_us is None or self.ended_us >= day.start_us)

    def fresh_us(self, until_us: int) -> tuple[int, int]:
        """When its value was last new, by some moment, and the entry that says so."""
        return max([(self.issued_us, self.entry), *(one for one in self.rotated if one[0] < until_us)])


class Keys:
    """What is known of a vendor's long-lived keys."""

    def __init__(self, known: Known) -> None:
        self.keys: dict[str, Key] = {}
        told = [*known.of("static.add"), *known.of("static.end"), *known.of("rotation.add")]
        for one in sorted(told, key=lambda one: one.entry):
            {"static.add": self._add, "static.end": self._end, "rotation.add": self._rotate}[one.kind](one)
        self._listed = [one.at_us // DAY_US for one in known.of("static.list")]

    def __iter__(self) -> Iterator[Key]:
        return iter(self.keys[name] for name in sorted(self.keys))

    def listed(self, day: Day) -> bool:
        """Whether a list of all keys covers the day."""
        return any(listed <= day.number < listed + LISTED_DAYS for listed in self._listed)

    def _add(self, one: Told) -> None:
        grade = Grade.OBSERVED if one.fields.get("observed") else Grade.DECLARED
        self.keys[one.fields["key"]] = Key(one.fields["key"], one.fields["issued_us"], one.entry, grade, one.fields["what"])

    def _end(self, one: Told) -> None:
        key = self.keys.get(one.fields["key"])
        if key is not None and one.fields["old"] == REFUSED:
            key.ended_us, key.ended = one.fields["ended_us"], one.entry

    def _rotate(self, one: Told) -> None:
        key = self.keys.get(one.fields["key"])
        if key is None:
            return
        at_us, new = one.fields["rotated_us"], one.fields.get("new")
        if new:
            self.keys[new] = Key(new, at_us, one.entry, key.grade, key.what)
        if one.fields["old"] == REFUSED:
            if new:
                key.ended_us, key.ended = at_us, one.entry
            key.rotated.append((at_us, one.entry))


_UNLISTED: Final = "no list of all long-lived keys covers the day"


def static_keys(known: Known, keys: Keys, span: Span, doubt: dict[int, str]) -> Series:
    """How many were alive."""

    def count(alive: list[Key], day: Day) -> list[Sample]:
        entries = tuple(key.entry for key in alive)
        return [Sample(len(alive), day.start_us, entries, ", ".join(key.name for key in alive), _grade(alive))]

    del known
    return _over("static_keys", keys, span, doubt, count)


def static_key_age(known: Known, keys: Keys, span: Span, doubt: dict[int, str]) -> Series:
    """How long ago the oldest of them was issued. A rotation makes no key younger than its name."""

    def oldest(alive: list[Key], day: Day) -> list[Sample]:
        if not alive:
            return []
        key = min(alive, key=lambda one: (one.issued_us, one.entry))
        return [Sample(day.end_us - key.issued_us, day.start_us, (key.entry,), key.name, key.grade)]

    del known
    return _over("static_key_age_us", keys, span, doubt, oldest)


def rotation_age(known: Known, keys: Keys, span: Span, doubt: dict[int, str]) -> Series:
    """For each of them, whole days since it was issued or last replaced with the old value refused."""

    def ages(alive: list[Key], day: Day) -> list[Sample]:
        found = []
        for key in alive:
            if key.ended_us is not None and key.ended_us < day.end_us:
                continue
            fresh_us, entry = key.fresh_us(day.end_us)
            found.append(Sample((day.end_us - fresh_us) // DAY_US, day.start_us, (entry,), key.name, key.grade))
        return found

    del known
    return _over("rotation_age_days", keys, span, doubt, ages)


def _over(measure: str, keys: Keys, span: Span, doubt: dict[int, str], told: Callable[[list[Key], Day], list[Sample]]) -> Series:
    def stood(day: Day) -> list[Sample] | str:
        return told([key for key in keys if key.alive(day)], day) if keys.listed(day) else _UNLISTED

    series = states(measure, span, stood, doubt)
    series.grades = dict.fromkeys(series.days, Grade.DECLARED)  # that there is no other is somebody's word
    return series


def _grade(keys: list[Key]) -> Grade:
    return Grade.DECLARED if any(key.grade is Grade.DECLARED for key in keys) else Grade.OBSERVED


def rotation_after_incident(known: Known, keys: Keys, span: Span, doubt: dict[int, str]) -> Series:
    """From each incident becoming known to the last of its keys replaced, or withdrawn, with the old one refused.

    Its keys are those that it names, else all that were alive when it became known.
    """
    incidents = [one for one in known.of("notice.add") if one.fields["notice"] == "incident"]

    def stood(day: Day) -> list[Sample] | str:
        found: list[Sample] = []
        for one in incidents:
            known_us = one.fields["known_us"]
            if known_us >= day.end_us:
                continue
            named = one.fields.get("keys")
            concerned = [keys.keys[name] for name in named if name in keys.keys] if named else _alive_at(keys, known_us)
            if named and len(concerned) < len(named):
                return f"incident {one.fields['incident']} names a key that nobody has entered"
            if not named and not keys.listed(Day(known_us // DAY_US, known_us, known_us + 1)):
                return f"incident {one.fields['incident']} names no keys, and no list of all keys covers its day"
            found += _rotated(one, concerned, day)
        return found

    return states("rotation_after_incident_us", span, stood, doubt)


def _alive_at(keys: Keys, at_us: int) -> list[Key]:
    return [key for key in keys if key.issued_us <= at_us and (key.ended_us is None or key.ended_us > at_us)]


def _rotated(incident: Told, concerned: list[Key], day: Day) -> list[Sample]:
    """How far the rotation had come by the end of the day: one sample while it runs, and on the day on which it is done."""
    if not concerned:
        return []
    known_us, name = incident.fields["known_us"], incident.fields["incident"]
    done: list[tuple[int, int]] = []
    open_: list[str] = []
    for key in concerned:
        ends = [(key.ended_us, key.ended or 0)] if key.ended_us is not None else []
        proven = [one for one in (*key.rotated, *ends) if known_us <= one[0] < day.end_us]
        if proven:
            done.append(min(proven))
        else:
            open_.append(key.name)
    grade = Grade.DECLARED if any(key.grade is Grade.DECLARED for key in concerned) else Grade.OBSERVED
    if open_:
        note = f"{name}: {', '.join(sorted(open_))} still alive"
        return [Sample(day.end_us - known_us, day.start_us, (incident.entry,), note, grade)]
    last_us, entry = max(done)
    if last_us < day.start_us:
        return []
    return [Sample(last_us - known_us, last_us, (incident.entry, entry), f"{name}: {len(done)} keys", grade)]
