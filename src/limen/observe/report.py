"""What reading one input found besides rows: when its log was alive, which pieces could not be read, where events are missing.

A bad piece may have been an event. So from the event before it to the event after it nothing is covered: that is a hole,
whatever other inputs say of the same time.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

import numpy as np

from limen.core.intervals import Intervals
from limen.observe.manifest import Bad, Hole
from limen.observe.rows import US

MINUTE_US: Final = 60 * US
FIRST_US: Final = 1_136_073_600 * US  # 2006-01-01: older than any system read here
BAD_KEPT: Final = 100
HOLES: Final = 4096  # of one input; beyond that, those that lie close to each other become one


class Pulse:
    """When a log was alive: the first and last event of every minute in which it had any."""

    def __init__(self) -> None:
        self._minutes: dict[int, tuple[int, int]] = {}

    def beat(self, times: list[int]) -> None:
        """Take the times of some events, in any order."""
        if not times:
            return
        moments = np.sort(np.array(times, dtype=np.int64))
        minutes = moments // MINUTE_US
        starts = np.flatnonzero(np.r_[True, minutes[1:] != minutes[:-1]])
        ends = np.r_[starts[1:], len(moments)] - 1
        known = self._minutes
        for minute, low, high in zip(minutes[starts].tolist(), moments[starts].tolist(), moments[ends].tolist(), strict=True):
            before = known.get(minute)
            known[minute] = (low, high) if before is None else (min(low, before[0]), max(high, before[1]))

    def alive(self, gap_us: int) -> Intervals:
        """From event to event wherever two follow each other within the gap."""
        return Intervals.of(((low, high + 1) for low, high in self._minutes.values()), bridge=gap_us)


class Report:
    """What is found in one input. `latest_us` bounds what is a believable time. Owned by one thread."""

    def __init__(self, name: str, *, gap_us: int, latest_us: int, pulse: Pulse, ends_us: int | None = None) -> None:
        self.name = name
        self.latest_us = latest_us
        self.events = 0
        self.bad_count = 0
        self.bad: list[Bad] = []
        self.left_out: Counter[str] = Counter()
        self.first_us: int | None = None
        self.last_us: int | None = None  # of the input's last whole event, not its latest
        self.damaged = ""
        self.damaged_at: int | None = None
        self._gap_us = gap_us
        self._pulse = pulse
        self._ends_us = ends_us  # the latest time of any event in it, if its name says so
        self._times: list[int] = []
        self._lost: list[tuple[int, int]] = []
        self._before: int | None = None  # the event before a bad piece that no event has followed yet
        self._broken = False

    def event(self, at_us: int) -> None:
        """Count a whole event, kept or not."""
        if self._broken:
            self._lose(self._before, at_us)
        self._times.append(at_us)

    def events_in_row(self, times: list[int]) -> None:
        """Count many whole events, in the input's order."""
        if times:
            self.event(times[0])
            self._times += times[1:]
            self.settle()

    def spoil(self, offset: int, why: str) -> None:
        """Count a piece that can't be read."""
        self.bad_count += 1
        if len(self.bad) < BAD_KEPT:
            self.bad.append(Bad(self.name, offset, why))
        if not self._broken:
            self._broken = True
            self._before = self._times[-1] if self._times else self.last_us

    def damage(self, offset: int, why: str) -> None:
        """The input can't be read beyond this place."""
        self.damaged, self.damaged_at = why, offset
        if not self._broken:
            self._broken = True
            self._before = self._times[-1] if self._times else self.last_us

    def settle(self) -> None:
        """Add up the times gathered so far, once there are many; to be called between two pieces of input."""
        if len(self._times) >= 65_536:  # noqa: PLR2004  as many as a batch has rows
            self._add_up()

    def end(self) -> list[Hole]:
        """Add up; returns the holes."""
        self._add_up()
        if self._broken:
            self._lose(self._before, self._ends_us)
        why = self.damaged or f"{self.bad_count} of its pieces can't be read"
        return [Hole(self.name, start, end, why) for start, end in Intervals.of(self._lost)]

    def believable(self, at_us: int) -> bool:
        """Whether a time can be that of a logged event."""
        return FIRST_US <= at_us <= self.latest_us

    def _add_up(self) -> None:
        if not self._times:
            return
        self.events += len(self._times)
        low = min(self._times)
        self.first_us = low if self.first_us is None else min(self.first_us, low)
        self.last_us = self._times[-1]
        self._pulse.beat(self._times)
        self._times.clear()

    def _lose(self, before: int | None, after: int | None) -> None:
        """Note a hole between two events. Where one of them is not there, it is as long as the gap."""
        self._broken, self._before = False, None
        if before is None and after is None:
            return  # nothing in it has a time: it says nothing of any
        start = before if before is not None else (after or 0) - self._gap_us
        end = after if after is not None else start + self._gap_us
        self._lost.append((min(start, end), max(start, end) + 1))
        bridge = 0
        while len(self._lost) > HOLES:
            self._lost = list(Intervals.of(self._lost, bridge=bridge))
            bridge = max(2 * bridge, MINUTE_US)
