"""Live state: who is cut, at this instant. The hard check that every request and every chunk passes.

A pause takes effect here, in memory, before its ledger entry is written, and never waits for the ledger. It cuts by
subject: `vendor/<id>`, `project/<id>`, `person/<id>` (people and workloads), `session/<id>`. Running streams are
registered by session and aborted at their transports, so that a stalled reader is cut like any other.

A restriction takes away less: what writes, or all but some projects. It ends no session; lifted, work goes on where it was.

Sessions that a pause cut stay ended after it is lifted: their owners log in again. Owned by the event loop's thread.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from limen.core.errors import Denied, Paused, SessionEnded
from limen.core.types import Action

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from limen.core.types import Session

_CHANGING = frozenset({Action.WRITE, Action.DELETE})


@dataclass(frozen=True, slots=True)
class Pause:
    """One order: what is cut, why, since when (integer seconds), whom to ask, and whose work goes on (`essential`).

    A `drill` cuts like any other; it is told apart where the time that it took is counted.
    """

    subject: str
    reason: str
    since: int
    contact: str
    essential: frozenset[str] = frozenset()
    drill: bool = False

    def covers(self, session: Session) -> bool:
        """Whether this order cuts the session."""
        return self.subject in subjects_of(session) and not self.essential.intersection(subjects_of(session))


class Leaving(Protocol):
    """What of a restriction says how much work it leaves."""

    @property
    def read_only(self) -> bool:
        """Whether nothing may be written."""

    @property
    def projects(self) -> frozenset[str]:
        """Where work goes on; empty: everywhere."""


@dataclass(frozen=True, slots=True)
class Restriction:
    """One order that leaves some work open: only reading, only some projects (none named: all), or both.

    `cause` says where it came from, in an entry's words (`gate 4711`, `advisory.action 98`); empty: a person ordered it.
    """

    subject: str
    reason: str
    since: int
    contact: str
    read_only: bool = False
    projects: frozenset[str] = frozenset()
    cause: str = ""

    def refuses(self, session: Session, action: Action) -> bool:
        """Whether this order stands against an action of the session."""
        if self.subject not in subjects_of(session):
            return False
        return (self.read_only and action in _CHANGING) or bool(self.projects and session.project not in self.projects)

    @property
    def leaves(self) -> str:
        """What goes on, in words."""
        reading = "reading goes on" if self.read_only else "work goes on"
        return f"only {reading}" + (f" in {', '.join(sorted(self.projects))}" if self.projects else "")


@dataclass(frozen=True, slots=True, eq=False)
class Stream:
    """One response or upload in progress; `abort` closes its transport at once and discards what it had not sent."""

    session: Session
    abort: Callable[[], None]
    action: Action = Action.READ


def narrowed(before: Leaving, *, read_only: bool, projects: frozenset[str]) -> tuple[bool, frozenset[str]]:
    """What a further restriction leaves of what one in force leaves, as (read_only, projects): never more than either."""
    read_only = read_only or before.read_only
    if not (before.projects and projects):
        return read_only, before.projects or projects
    if both := before.projects & projects:
        return read_only, both
    # Nothing would be left, which is a pause, and nobody has ordered one: what is left of the one in force is only read.
    return True, before.projects


def subjects_of(session: Session) -> tuple[str, ...]:
    """The names under which a session can be cut, widest first."""
    own = (f"project/{session.project}", f"person/{session.holder}", f"session/{session.id}")
    vendor = f"vendor/{session.vendor}" if session.vendor else "vendor/lab"
    return (vendor, *own, f"person/{session.sponsor}") if session.sponsor else (vendor, *own)


class Live:
    """Who is paused or ended, and which streams run now."""

    def __init__(self) -> None:
        self._pauses: dict[str, Pause] = {}
        self._restrictions: dict[str, Restriction] = {}
        self._cuts: list[Pause] = []  # lifted orders: sessions issued up to then stay ended
        self._ended: dict[str, int] = {}  # subject -> since when; for good
        self._streams: set[Stream] = set()

    def check(self, session: Session, action: Action = Action.READ) -> None:
        """Pass in silence, or raise Paused, SessionEnded, or Denied by a restriction.

        Called before every decision and before every chunk.
        """
        if not (self._pauses or self._ended or self._cuts or self._restrictions):
            return
        names = subjects_of(session)
        for name in names:
            pause = self._pauses.get(name)
            if pause is not None and pause.covers(session):
                raise Paused(subject=name, since=_rfc3339(pause.since), contact=pause.contact, reason=pause.reason)
            if name in self._ended:
                raise SessionEnded(f"{name} has ended; nothing was served")
        if any(session.issued_at <= cut.since and cut.covers(session) for cut in self._cuts):
            raise SessionEnded("this session was cut by a pause that has been lifted since; log in again")
        for name in names:
            restriction = self._restrictions.get(name)
            if restriction is not None and restriction.refuses(session, action):
                raise _restricted(restriction)

    def issue_after(self, session: Session) -> int:
        """The earliest `issued_at` that a new session of this kind may carry, so that no lifted pause covers it."""
        return max((cut.since + 1 for cut in self._cuts if cut.covers(session)), default=0)

    def pause(self, pause: Pause) -> int:
        """Cut now; returns how many running streams were aborted.

        A second order replaces the first; those whom only the first covered log in again, as after `lift`.
        """
        if pause.subject in self._pauses and pause.essential - self._pauses[pause.subject].essential:
            self.lift(pause.subject)
        self._pauses[pause.subject] = pause
        return self.abort(pause.covers)

    def restrict(self, restriction: Restriction) -> int:
        """Take effect now; returns how many running streams were aborted. A second order replaces the first."""
        self._restrictions[restriction.subject] = restriction
        return self._abort(lambda stream: restriction.refuses(stream.session, stream.action))

    def unrestrict(self, subject: str) -> Restriction | None:
        """Let everything go on. None if nothing was restricted under that name."""
        return self._restrictions.pop(subject, None)

    def lift(self, subject: str) -> Pause | None:
        """Let new sessions in again; those the pause cut stay ended. None if nothing was paused under that name."""
        pause = self._pauses.pop(subject, None)
        if pause is not None:
            # A session opened after an earlier cut may carry a moment just past it (see `issue_after`): cover that one too.
            latest = max((cut.since + 1 for cut in self._cuts), default=0)
            # Its reason is not kept: nobody is told it any more.
            self._cuts.append(replace(pause, since=max(pause.since, latest), reason=""))
        return pause

    def forget(self, subjects: Collection[str]) -> None:
        """Drop the orders about these, lifted ones too. They must have ended for good, or this would let them in."""
        self._pauses = {name: pause for name, pause in self._pauses.items() if name not in subjects}
        self._restrictions = {name: order for name, order in self._restrictions.items() if name not in subjects}
        self._cuts = [cut for cut in self._cuts if cut.subject not in subjects]

    def end(self, subject: str, *, at: int) -> int:
        """End a person, workload or session for good; returns how many running streams were aborted."""
        self._ended.setdefault(subject, at)
        return self.abort(lambda session: subject in subjects_of(session))

    def abort(self, covers: Callable[[Session], bool]) -> int:
        """Abort the streams of the sessions that `covers` picks."""
        return self._abort(lambda stream: covers(stream.session))

    def _abort(self, picks: Callable[[Stream], bool]) -> int:
        cut = [stream for stream in self._streams if picks(stream)]
        for stream in cut:
            stream.abort()
        return len(cut)

    def register(self, session: Session, abort: Callable[[], None], action: Action = Action.READ) -> Stream:
        """Make a stream reachable for a pause. The caller must `unregister` it when it is over."""
        stream = Stream(session, abort, action)
        self._streams.add(stream)
        return stream

    def unregister(self, stream: Stream) -> None:
        """Forget a stream that is over."""
        self._streams.discard(stream)

    def pauses(self) -> tuple[Pause, ...]:
        """The orders in force, oldest first."""
        return tuple(sorted(self._pauses.values(), key=lambda p: (p.since, p.subject)))

    def restrictions(self) -> tuple[Restriction, ...]:
        """The restrictions in force, oldest first."""
        return tuple(sorted(self._restrictions.values(), key=lambda r: (r.since, r.subject)))

    def cuts(self) -> tuple[Pause, ...]:
        """The orders that were lifted: they still cover the sessions issued before."""
        return tuple(self._cuts)

    def ended_sessions(self) -> dict[str, int]:
        """Sessions ended before their time, and when."""
        return {name: at for name, at in self._ended.items() if name.startswith("session/")}

    def restore(
        self, pauses: Iterable[Pause], cuts: Iterable[Pause], ended: dict[str, int], restrictions: Iterable[Restriction] = ()
    ) -> None:
        """Put back what was in force when the gateway stopped. Before any door opens."""
        self._pauses.update({pause.subject: pause for pause in pauses})
        self._restrictions.update({restriction.subject: restriction for restriction in restrictions})
        self._cuts.extend(cuts)
        self._ended.update(ended)

    def sessions_streaming(self) -> Iterable[Session]:
        """The sessions that have a stream running now, once a stream."""
        return [stream.session for stream in self._streams]


def _restricted(order: Restriction) -> Denied:
    return Denied(
        f"{order.subject} is restricted since {_rfc3339(order.since)}: {order.reason}. {order.leaves.capitalize()}; "
        f"this was refused. Ask {order.contact}.",
        rule="restricted",
    )


def _rfc3339(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
