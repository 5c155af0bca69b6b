"""Read windows: one durable intent over a bounded run of reads, so that later reads inside it wait for no commit.

Programs fetch one object as many ranges, and one data set as many shards. The first read of an object opens a window on
it (from the read on, if the object is longer than the tier's bound); a read of another shard nearby opens one on the run
of shards that holds both. The bounds in bytes and seconds are the tier's.

A window's outcome says what was handed over under it, and when; without an outcome all of it counts as handed over. A
read is inside a window or it gets an intent of its own: served stays within logged. Owned by the event loop's thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from limen.core.types import Receipt, Session, Shard, Span, Version

MOST_RANGES: Final = 512  # different ranges that one outcome can name
MOST_SHARDS: Final = 256  # in one run
RUNS_KEPT: Final = 256
_WORST_FIRST: Final = ("cut", "failed", "aborted", "complete")


class Part(NamedTuple):
    """What a window covers of one shard: its place in the window, and bytes [start, end)."""

    number: int
    start: int
    end: int


@dataclass(slots=True, eq=False)
class Window:
    """One intent and the reads under it. A read that `enter`s must `leave`; the outcome waits for it."""

    session: Session
    asset: str
    version: int
    parts: Mapping[str, Part]
    opened_us: int
    until_us: int
    intent: asyncio.Task[Receipt]
    settle: Callable[[Window], None]
    closed: bool = False
    sent: int = 0
    reads: int = 0
    _reading: int = 0
    _ends: set[str] = field(default_factory=set)
    _handed: dict[tuple[int, int, int], tuple[int, int, int]] = field(default_factory=dict)  # range -> first, last, reads

    def holds(self, shard: str, span: Span, now_us: int) -> bool:
        """Whether a read of this span, now, is covered."""
        if self.closed or self.full or not self.opened_us <= now_us < self.until_us:
            return False
        part = self.parts.get(shard)
        return part is not None and part.start <= span.start and span.end <= part.end

    @property
    def full(self) -> bool:
        """Whether one more read might be one range more than its outcome can name."""
        return len(self._handed) + self._reading >= MOST_RANGES

    def enter(self) -> None:
        """Begin a read: from now on the outcome waits for it."""
        if self.closed:
            raise RuntimeError("a read under a closed window")
        self._reading += 1

    def leave(self, shard: str, span: Span, sent: int, *, began_us: int, now_us: int, end: str) -> None:
        """End a read of which `sent` bytes were handed over, from the span's start."""
        self._reading -= 1
        self._ends.add(end)
        self.reads += 1
        if sent:
            self.sent += sent
            place = (self.parts[shard].number, span.start, span.start + sent)
            first, last, reads = self._handed.get(place, (began_us, now_us, 0))
            self._handed[place] = (min(first, began_us), max(last, now_us), reads + 1)
        if self.closed:
            self._settle_if_idle()

    def close(self) -> None:
        """Take no further read; the outcome is written once the last has left. Idempotent."""
        if not self.closed:
            self.closed = True
            self._settle_if_idle()

    def committed(self, intent: asyncio.Task[Receipt]) -> None:
        """The intent is durable, or has failed: then nobody may come in. What is closed by now can be settled."""
        if intent.cancelled() or intent.exception() is not None:
            self.closed = True
        if self.closed:
            self._settle_if_idle()

    def handed(self) -> list[list[int]]:
        """What an outcome says: rows of part, start, end, first and last moment (us), reads."""
        return [[*place, *times] for place, times in sorted(self._handed.items())]

    @property
    def end(self) -> str:
        """How its reads ended: the worst of them."""
        return next((end for end in _WORST_FIRST if end in self._ends), "complete")

    def _settle_if_idle(self) -> None:
        if not self._reading:
            self.settle(self)


@dataclass(frozen=True, slots=True)
class Reading:
    """One read under a window, from `enter` to `leave`."""

    window: Window
    shard: str
    span: Span
    began_us: int

    def leave(self, sent: int, *, now_us: int, end: str) -> None:
        """End it: `sent` bytes of its span were handed over."""
        self.window.leave(self.shard, self.span, sent, began_us=self.began_us, now_us=now_us, end=end)


class Windows:
    """The open windows, by what they cover."""

    def __init__(self) -> None:
        self._by_shard: dict[tuple[str, str, int, str], list[Window]] = {}
        self._newest: dict[tuple[str, str, int], Window] = {}
        self._runs: dict[tuple[str, int, int], dict[str, tuple[Shard, ...]]] = {}

    def find(self, session: Session, version: Version, shard: str, span: Span, *, now_us: int) -> Window | None:
        """An open window that covers this read, if there is one."""
        some = self._by_shard.get((session.id, version.asset, version.number, shard), ())
        for window in some:
            if window.holds(shard, span, now_us):
                return window
        for window in [window for window in some if window.full]:
            self.close(window)
        return None

    def bounds(
        self, session: Session, version: Version, shard: Shard, span: Span, *, most: int, now_us: int
    ) -> Mapping[str, Part] | None:
        """What a new window for this read would cover; None if the read alone is more than `most` bytes."""
        if span.end - span.start > most:
            return None
        newest = self._newest.get((session.id, version.asset, version.number))
        if newest is not None and not newest.closed and now_us < newest.until_us and shard.path not in newest.parts:
            run = self._run(version, shard.path, most)
            if any(other.path in newest.parts for other in run):
                return {other.path: Part(number, 0, other.length) for number, other in enumerate(run)}
        if shard.length <= most:
            return {shard.path: Part(0, 0, shard.length)}
        return {shard.path: Part(0, span.start, min(span.start + most, shard.length))}

    def add(self, window: Window) -> None:
        """Let later reads find a window."""
        for path in window.parts:
            self._by_shard.setdefault((window.session.id, window.asset, window.version, path), []).append(window)
        self._newest[window.session.id, window.asset, window.version] = window

    def close(self, window: Window) -> None:
        """Close one window; reads under way go on, and are in its outcome."""
        for path in window.parts:
            key = (window.session.id, window.asset, window.version, path)
            left = [other for other in self._by_shard.get(key, ()) if other is not window]
            if left:
                self._by_shard[key] = left
            else:
                self._by_shard.pop(key, None)
        reader = (window.session.id, window.asset, window.version)
        if self._newest.get(reader) is window:
            del self._newest[reader]
        window.close()

    def close_all(self) -> None:
        """Close every window: before a report, at the end, or when the ledger can't be written."""
        for window in {id(window): window for some in self._by_shard.values() for window in some}.values():
            self.close(window)

    def _run(self, version: Version, shard: str, most: int) -> tuple[Shard, ...]:
        """The shards around one, in the version's order, that fit into a window together; always the same ones."""
        key = (version.asset, version.number, most)
        if key not in self._runs:
            if len(self._runs) >= RUNS_KEPT:
                self._runs.pop(next(iter(self._runs)))
            self._runs[key] = {member.path: run for run in runs_of(version.shards, most) for member in run}
        return self._runs[key].get(shard, ())


def covered(intent: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    """Shards and bytes [start, end) that an intent covers, as its entry says; what it says of an upload has shard ""."""
    if "run" in intent:
        return [(path, 0, length) for path, length in intent["run"]]
    return [(intent.get("shard", ""), *intent["span"])] if "span" in intent else []


def runs_of(shards: tuple[Shard, ...], most: int) -> list[tuple[Shard, ...]]:
    """A version's shards in runs of at most `most` bytes and MOST_SHARDS shards; longer shards are in none."""
    runs: list[list[Shard]] = []
    weight = 0
    for shard in shards:
        if shard.length > most:
            continue
        weight += shard.length
        if not runs or weight > most or len(runs[-1]) == MOST_SHARDS:
            runs.append([])
            weight = shard.length
        runs[-1].append(shard)
    return [tuple(run) for run in runs]
