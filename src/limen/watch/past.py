"""What somebody did before, by day: the values that rules compare with. Nothing here is shown to anybody.

A day is 86,400 s of the entries' own time. Only `past_days` of it are kept. Networks are not in it: those are kept in
memory alone (`networks`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from limen.watch.rules import DAY_US

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from limen.watch.rules import Rules

HOUR_US: Final = 3_600_000_000
HOURS: Final = 24
WEEK: Final = 7
FIRST_WEEKDAY: Final = 3  # 1970-01-01 was a Thursday: Monday is 0
SATURDAY: Final = 5
USUAL_QUANTILE: Final = 95
KEPT_RECENT: Final = 4096


class Cover(msgspec.Struct):
    """How much of one version somebody was handed within a day: merged byte ranges by shard."""

    began_us: int
    ranges: dict[str, list[tuple[int, int]]] = {}
    bytes: int = 0

    def add(self, shard: str, start: int, end: int) -> None:
        """Count a range once, however often it was read."""
        before = self.ranges.get(shard, [])
        inside = [span for span in before if span[0] <= end and start <= span[1]]
        merged = (min([start, *(s for s, _ in inside)]), max([end, *(e for _, e in inside)]))
        self.bytes += merged[1] - merged[0] - sum(e - s for s, e in inside)
        self.ranges[shard] = sorted([*(span for span in before if span not in inside), merged])


class Person(msgspec.Struct):
    """One pseudonym in one project. Maps of days hold only days on which there was something."""

    vendor: str = ""
    workload: bool = False
    day: int = -1  # the latest with anything
    taken: dict[int, int] = {}  # bytes handed over
    unsure: dict[int, int] = {}  # bytes that may have been: no outcome says
    hours: dict[int, int] = {}  # a bit an hour; those of Saturdays and Sundays from bit 24 on
    misses: dict[int, int] = {}
    looks: dict[int, int] = {}
    whole: dict[str, int] = {}  # asset -> the day on which it was last read whole
    cover: dict[str, Cover] = {}
    recent_misses: list[tuple[int, int]] = []  # (time, entry)
    recent_looks: list[tuple[int, int]] = []
    recent_reads: list[tuple[int, int]] = []
    denied: dict[str, tuple[int, int]] = {}  # asset -> (time, entry)
    granted: dict[str, int] = {}  # asset or * -> from when on, newest
    odd_bytes: int = 0  # handed over today at hours that are not usual
    odd_entry: int = -1
    told: dict[str, int] = {}  # rule, and asset if it is about one -> the day on which it was last said

    def enter(self, day: int, rules: Rules) -> None:
        """Begin a day: what is older than the past goes."""
        if day == self.day:
            return
        self.day, self.odd_bytes, self.odd_entry = day, 0, -1
        oldest = day - rules.past_days
        for by_day in (self.taken, self.unsure, self.hours, self.misses, self.looks):
            for old in [d for d in by_day if d < oldest]:
                del by_day[old]
        for by_name in (self.whole, self.told):
            for name in [name for name, d in by_name.items() if d < oldest]:
                del by_name[name]
        for name in [n for n, cover in self.cover.items() if cover.began_us // DAY_US < day - 1]:
            del self.cover[name]

    def say_once(self, day: int, name: str) -> bool:
        """Whether it was not said today yet; from now on it was."""
        if self.told.get(name, -1) == day:
            return False
        self.told[name] = day
        return True

    def is_settled(self, day: int, rules: Rules) -> bool:
        """Whether there is enough past, and a week of it, to say which hours are usual."""
        return self.active_days(day) >= rules.own_days and min(self.hours) <= day - WEEK

    def active_days(self, day: int) -> int:
        """On how many days before this one there was an access."""
        return sum(1 for d in self.hours if d < day)


def own_most(by_day: dict[int, int], day: int, rules: Rules, *, active: int) -> int | None:
    """The most on one day before; None if there is not enough past to say."""
    if active < rules.own_days:
        return None
    return max((n for d, n in by_day.items() if d < day), default=0)


def usual(by_days: Iterable[dict[int, int]], day: int, rules: Rules) -> int | None:
    """What 95 of 100 days of everybody stay at or below; None if there are too few of them to say."""
    oldest = day - rules.past_days
    all_days = sorted(n for by_day in by_days for d, n in by_day.items() if oldest <= d < day)
    if len(all_days) < rules.peer_days:
        return None
    return all_days[min(len(all_days) - 1, len(all_days) * USUAL_QUANTILE // 100)]


def hour_bit(at_us: int) -> int:
    """Which bit of a day's hours a moment is in."""
    day, hour = at_us // DAY_US, at_us % DAY_US // HOUR_US
    weekend = (day + FIRST_WEEKDAY) % WEEK >= SATURDAY
    return int(hour) + (HOURS if weekend else 0)


def around(bit: int, hours: int) -> int:
    """The mask of an hour and of those next to it, on the same kind of day; midnight has neighbours too."""
    first = bit - bit % HOURS
    mask = 0
    for step in range(-hours, hours + 1):
        mask |= 1 << (first + (bit + step) % HOURS)
    return mask


def union(masks: Iterable[int]) -> int:
    """All hours of some days."""
    found = 0
    for mask in masks:
        found |= mask
    return found


def within(recent: list[tuple[int, int]], at_us: int, length_us: int) -> Iterator[tuple[int, int]]:
    """The events of the last so many microseconds."""
    return (event for event in recent if at_us - length_us < event[0] <= at_us)


def note(recent: list[tuple[int, int]], at_us: int, index: int, length_us: int) -> int:
    """Add an event, forget what is too old, and say how many are left."""
    recent.append((at_us, index))
    if len(recent) > KEPT_RECENT or recent[0][0] <= at_us - length_us:
        recent[:] = list(within(recent, at_us, length_us))[-KEPT_RECENT:]
    return len(recent)
