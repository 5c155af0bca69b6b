"""What is known of advisories, as values. Times are µs since 1970; `entry` is where in the log it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from limen.formats.osv import Affected
    from limen.formats.vex import Statement

ALWAYS: Final = 1 << 62  # a time of knowledge after everything


class Carrier(NamedTuple):
    """A feed that brought a revision: its source, whether a named source's key had signed it, and its entry."""

    source: str
    signed: bool
    entry: int


@dataclass(frozen=True, slots=True)
class Revision:
    """One state of one record. `number` counts the record's revisions by arrival, from 1; `entry` is the first feed that had it.

    `standing`: whether it is what its record says now, or said at the time that was asked about. Two can stand: the newest
    signed one, and a newer unsigned one.
    """

    row: int  # of advisories.db; means nothing elsewhere
    id: str
    number: int
    entry: int
    digest: str
    received_us: int
    modified_us: int
    published_us: int | None
    withdrawn_us: int | None
    malicious: bool
    summary: str
    standing: bool
    carriers: tuple[Carrier, ...]

    @property
    def signed(self) -> bool:
        """Whether a named source signed a feed that brought it."""
        return any(carrier.signed for carrier in self.carriers)


@dataclass(frozen=True, slots=True)
class Finding:
    """All records that are aliases of one another: one finding, named by the first of its ids, those of OpenSSF's before others.

    `ids` are all of its names, also those of which no record is here; `standing` what its records say.
    """

    name: str
    ids: tuple[str, ...]
    standing: tuple[Revision, ...]

    @property
    def malicious(self) -> bool:
        """Whether one of its records says so."""
        return any(revision.malicious for revision in self.standing)

    @property
    def withdrawn(self) -> bool:
        """Whether none of its records holds any more. Its history stays."""
        return all(revision.withdrawn_us is not None for revision in self.standing)


@dataclass(frozen=True, slots=True)
class Advised:
    """What a standing revision says of one package, and under which ecosystem's name (`Debian:12`)."""

    revision: Revision
    affected: Affected


@dataclass(frozen=True, slots=True)
class Window:
    """When something could be had in one channel, by one source; `end_us` None: it still can, or the source doesn't say.

    `image` and `tag`: a floating tag of a container image that named it meanwhile.
    """

    entry: int
    id: str
    channel: str
    source: str
    start_us: int
    end_us: int | None
    ecosystem: str = ""
    image: str = ""
    tag: str = ""


class Spread(NamedTuple):
    """How far sources are apart about one channel: earliest and latest beginning, earliest and latest end. None: open."""

    earliest_start_us: int
    latest_start_us: int
    earliest_end_us: int | None
    latest_end_us: int | None


@dataclass(frozen=True, slots=True)
class Windows:
    """All windows of a finding. None is chosen: the widest is what counts by default, and what it spans is shown beside it."""

    windows: tuple[Window, ...] = ()

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels, in the alphabet's order."""
        return tuple(sorted({window.channel for window in self.windows}))

    def widest(self, channel: str | None = None) -> tuple[int, int | None] | None:
        """From the earliest beginning to the latest end that any source gives, of one channel or of all; None if none does."""
        found = self._of(channel)
        if not found:
            return None
        ends = [window.end_us for window in found]
        closed = [end for end in ends if end is not None]
        return min(window.start_us for window in found), max(closed) if len(closed) == len(ends) else None

    def spread(self, channel: str) -> Spread | None:
        """How far apart the sources are; None if there is none."""
        found = self._of(channel)
        if not found:
            return None
        starts = [window.start_us for window in found]
        closed = [window.end_us for window in found if window.end_us is not None]
        latest = max(closed) if len(closed) == len(found) else None
        return Spread(min(starts), max(starts), min(closed, default=None), latest)

    def _of(self, channel: str | None) -> list[Window]:
        return [window for window in self.windows if channel in {None, window.channel}]


@dataclass(frozen=True, slots=True)
class Feed:
    """One feed: who it came from, and what it held. `fresh` revisions had been brought by nobody before."""

    entry: int
    received_us: int
    source: str
    signed: bool
    key: str
    digest: str
    length: int
    records: int
    fresh: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A piece of a feed that is no record, and why. Its bytes rest in the feed's blob."""

    feed: int
    number: int
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Stated:
    """A statement of a vendor's VEX document (`entry`), grade *declared*. `newest`: no later one is about the same."""

    entry: int
    vendor: str
    received_us: int
    statement: Statement
    newest: bool
