"""Orders that take effect at once: who is paused, and who is restricted to some of their work.

An order takes effect in memory first, is kept in `live.json`, and never waits for the ledger; its entry follows as soon as
it can. So does a restart: what was in force is put back before any door opens, and what has no entry yet gets it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import msgspec

from limen.core.errors import Invalid, LedgerUnavailable, NotFound
from limen.core.types import Side
from limen.custody import GATEWAY
from limen.durable import write_atomically
from limen.identity.live import Pause, Restriction, subjects_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from limen.core.types import Receipt, Session
    from limen.custody import Custody

RESERVE_BYTES = 256 << 10


class _Kept(msgspec.Struct, frozen=True):
    """What `live.json` holds: orders in force, those lifted, sessions ended early, and orders without their entry yet."""

    pauses: list[Pause] = []
    cuts: list[Pause] = []
    ended_sessions: dict[str, int] = {}
    unlogged: list[str] = []
    restrictions: list[Restriction] = []
    restrictions_unlogged: list[str] = []


class Orders:
    """The orders of one data directory. Owned by the event loop."""

    def __init__(self, custody: Custody, *, data: Path, random: Callable[[int], bytes], contact: str) -> None:
        self._custody = custody
        self._kept_at = data / "live.json"
        self._reserve = data / "live.reserve"  # room that only `_keep` gives up
        self._random = random
        self._contact = contact
        self._unlogged: dict[tuple[str, str], dict[str, Any]] = {}  # by kind and subject
        self._logging = asyncio.Lock()  # over the two: each order gets one entry, whoever comes to write it first
        self._logged: dict[tuple[str, str], Receipt] = {}  # of orders in force
        self.sessions: dict[str, Session] = {}  # issued and not expired; for reports of what a pause would cut

    def pseudonym(self, holder: str, project: str) -> str:
        """What entries in one project call somebody; nobody can link two projects' without the person's key."""
        return self._custody.catalog.pseudonym(holder, project)

    # --- what an order would reach

    def affected(self, order: Pause | Restriction) -> list[Session]:
        """The sessions, issued and not expired, that an order would cut, or leave less to."""
        now = self._custody.clock.now()
        return [s for s in self.sessions.values() if s.expires_at > now and _reaches(order, s)]

    def people_under(self, order: Pause | Restriction) -> list[str]:
        """The people and workloads, not ended, whom an order covers whatever session they open."""
        kind, _, name = order.subject.partition("/")
        snapshot = self._custody.catalog.snapshot
        match kind:
            case "vendor":
                found = {h.id for h in snapshot.holders() if h.vendor == name and h.ended_at is None}
            case "person":
                found = {h.id for h in snapshot.holders() if name in {h.id, getattr(h, "sponsor", None)}}
            case "project":
                found = {grant.holder for grant in snapshot.grants() if grant.project == name and grant.ended_at is None}
            case _:
                found = {self.sessions[name].holder} if name in self.sessions else set()
        essential = order.essential if isinstance(order, Pause) else frozenset()
        return sorted(found - {name.partition("/")[2] for name in essential})

    def order(self, subject: str, *, reason: str, essential: Sequence[str] = (), contact: str = "", drill: bool = False) -> Pause:
        """The order as it would be given; Invalid if there is no such subject, or no reason."""
        self._check(subject, reason)
        for name in essential:
            self._known(name)
        since = self._custody.clock.now()
        return Pause(subject, reason.strip(), since, contact or self._contact, frozenset(essential), drill)

    def pause(self, pause: Pause) -> int:
        """Cut now, in memory; returns the streams aborted. The caller then awaits `record_pause`."""
        return self._custody.live.pause(pause)

    async def record_pause(self, pause: Pause, *, streams: int, sessions: int, by: str) -> Receipt | None:
        """Keep the order across restarts, then log it.

        None if the ledger can't be written: the order stands, and its entry follows when the ledger recovers.
        LedgerUnavailable if it can't even be kept: it stands, but only until the gateway stops.
        """
        return await self._record(pause, {**self._fields(pause), "streams": streams, "sessions": sessions, "by": by})

    def restriction(
        self,
        subject: str,
        *,
        reason: str,
        read_only: bool = False,
        projects: Sequence[str] = (),
        contact: str = "",
        cause: str = "",
    ) -> Restriction:
        """The order as it would be given; Invalid if there is no such subject or project, no reason, or nothing is taken away."""
        self._check(subject, reason)
        for project in projects:
            self._custody.catalog.snapshot.project(project)
        if not (read_only or projects):
            raise Invalid("restriction", "takes nothing away: say read-only, or in which projects work goes on")
        since, contact = self._custody.clock.now(), contact or self._contact
        return Restriction(subject, reason.strip(), since, contact, read_only, frozenset(projects), cause)

    async def restrict(self, order: Restriction, *, by: str) -> tuple[int, Receipt | None]:
        """Take effect now, keep the order across restarts, then log it; returns the streams aborted and the entry's receipt.

        Without a receipt, or with LedgerUnavailable, it stands all the same: as `record_pause` says.
        """
        sessions = len(self.affected(order))
        streams = self._custody.live.restrict(order)
        return streams, await self._record(order, {**self._fields(order), "streams": streams, "sessions": sessions, "by": by})

    async def _record(self, order: Pause | Restriction, fields: dict[str, Any]) -> Receipt | None:
        self._unlogged[_named(order)] = fields
        try:
            await asyncio.to_thread(self._keep)
        except OSError as e:
            raise LedgerUnavailable(
                f"{order.subject} is cut, but a restart would forget it ({e})", next_step="free space, then order it again"
            ) from e
        with contextlib.suppress(LedgerUnavailable):
            return await self._log(order)
        return None

    def _fields(self, order: Pause | Restriction) -> dict[str, Any]:
        """What its entry says of an order, but for who gave it and whom it met."""
        fields: dict[str, Any] = {"subject": self._public(order.subject), "since": order.since}
        if isinstance(order, Pause):
            drill = {"drill": True} if order.drill else {}
            return {**fields, "essential": sorted(self._public(name) for name in order.essential), **drill}
        return {**fields, "read_only": order.read_only, "projects": sorted(order.projects), "cause": order.cause}

    async def _log(self, order: Pause | Restriction) -> Receipt:
        name = _named(order)
        async with self._logging:
            fields = self._unlogged.get(name)
            if fields is None:
                return self._logged[name]  # housekeeping was faster
            detail: dict[str, object] = {"subject": order.subject, "reason": order.reason, "contact": order.contact}
            side = Side(self._about(order.subject), {"order": detail})
            receipt = await self._custody.ledger.append(*self._custody.scribe.write(f"{name[0]}.order", fields, side))
            self._logged[name] = receipt
            if self._unlogged.get(name) is fields:  # else it was ordered anew in the meantime
                del self._unlogged[name]
        self._keep()
        return receipt

    async def measured(self, subject: str, *, order: int, last_byte_us: int, clock: str) -> Receipt:
        """Log how long it took from order to last byte, by whose clock."""
        fields = {"subject": self._public(subject), "order": order, "last_byte_us": last_byte_us, "clock": clock}
        return await self._custody.ledger.append(*self._custody.scribe.write("pause.measured", fields, None))

    async def lift(self, subject: str, *, reason: str, by: str) -> Receipt:
        """Let new sessions in again; the entry is durable before the first can be opened."""
        order = next((pause for pause in self._custody.live.pauses() if pause.subject == subject), None)
        if order is None:
            raise NotFound(f"{subject} is not paused")
        receipt = await self._log_end(order, reason=reason, by=by)
        self._custody.live.lift(subject)
        self._forget_order(order)
        return receipt

    async def unrestrict(self, subject: str, *, reason: str, by: str) -> Receipt:
        """Let all of a subject's work go on; the entry is durable before anything does."""
        order = next((each for each in self._custody.live.restrictions() if each.subject == subject), None)
        if order is None:
            raise NotFound(f"{subject} is not restricted")
        receipt = await self._log_end(order, reason=reason, by=by)
        self._custody.live.unrestrict(subject)
        self._forget_order(order)
        return receipt

    async def _log_end(self, order: Pause | Restriction, *, reason: str, by: str) -> Receipt:
        if _named(order) in self._unlogged:  # nobody shall read of the end of what never began
            await self._log(order)
        kind, subject = _named(order)
        side = Side(self._about(subject), {"order": {"subject": subject, "reason": reason}})
        fields = {"subject": self._public(subject), "by": by}
        return await self._custody.ledger.append(*self._custody.scribe.write(f"{kind}.lift", fields, side))

    def _forget_order(self, order: Pause | Restriction) -> None:
        self._logged.pop(_named(order), None)
        self._keep()

    async def log_unlogged(self) -> int:
        """Write the entries of orders that the ledger could not take when they were given; returns how many."""
        live = self._custody.live
        orders: list[Pause | Restriction] = [*live.pauses(), *live.restrictions()]
        written = 0
        for order in orders:
            if _named(order) in self._unlogged:
                await self._log(order)
                written += 1
        return written

    def forget(self, holders: Collection[str]) -> None:
        """Keep nothing in memory or in `live.json` about people who are erased but that they have ended; durable on return."""
        gone = {id_ for id_, session in self.sessions.items() if session.holder in holders}
        for id_ in gone:
            del self.sessions[id_]
        self._custody.live.forget({f"person/{holder}" for holder in holders} | {f"session/{id_}" for id_ in gone})
        self._keep()

    def _about(self, subject: str) -> str:
        """Under whose key an order's reason is sealed: theirs, if it is about one person."""
        kind, _, name = subject.partition("/")
        holder = name if kind == "person" else self.sessions[name].holder if name in self.sessions else GATEWAY
        return holder if self._custody.catalog.sealable(holder) else GATEWAY

    def _known(self, subject: str) -> None:
        kind, _, name = subject.partition("/")
        snapshot = self._custody.catalog.snapshot
        match kind:
            case "vendor":
                snapshot.vendor(name)
            case "project":
                snapshot.project(name)
            case "person":
                snapshot.holder_by_id(name)
            case "session":
                if name not in self.sessions:
                    raise NotFound(f"session {name} (never issued, or expired)")
            case _:
                raise Invalid("subject", "must be vendor/…, project/…, person/… or session/…")

    def _public(self, subject: str) -> str:
        """The subject as an entry may name it: people by pseudonym."""
        kind, _, name = subject.partition("/")
        return f"person/{self.pseudonym(name, '')}" if kind == "person" else subject

    def _keep(self) -> None:
        live = self._custody.live
        kept = _Kept(
            list(live.pauses()),
            list(live.cuts()),
            live.ended_sessions(),
            self._unlogged_of("pause"),
            list(live.restrictions()),
            self._unlogged_of("restrict"),
        )
        raw = msgspec.json.encode(kept)
        try:
            write_atomically(self._kept_at, raw)
        except OSError:  # a pause must outlast a restart on a full disk too
            self._reserve.unlink(missing_ok=True)
            write_atomically(self._kept_at, raw)
        self._hold_reserve()

    def _hold_reserve(self) -> None:
        """Hold room on the disk for the next order. Random bytes: no file system stores those in less."""
        if not self._reserve.exists():
            with contextlib.suppress(OSError):
                write_atomically(self._reserve, self._random(RESERVE_BYTES))

    def restore_live(self) -> None:
        """Put back what was in force when the gateway stopped. At start-up, after the catalog is up to date."""
        self._hold_reserve()
        if not self._kept_at.exists():
            return
        kept = msgspec.json.decode(self._kept_at.read_bytes(), type=_Kept)
        self._custody.live.restore(kept.pauses, kept.cuts, kept.ended_sessions, kept.restrictions)
        unlogged = {("pause", subject) for subject in kept.unlogged} | {("restrict", each) for each in kept.restrictions_unlogged}
        orders: list[Pause | Restriction] = [*kept.pauses, *kept.restrictions]
        for order in orders:
            if _named(order) in unlogged:
                self._unlogged[_named(order)] = {**self._fields(order), "by": "limen"}

    def _unlogged_of(self, name: str) -> list[str]:
        return sorted(subject for kind, subject in self._unlogged if kind == name)

    def _check(self, subject: str, reason: str) -> None:
        if not reason.strip():
            raise Invalid("reason", "say why: it is what every refused person reads")
        self._known(subject)


def _named(order: Pause | Restriction) -> tuple[str, str]:
    """The order's kind, as its entries begin, and its subject: a subject has one of each at most."""
    return ("pause" if isinstance(order, Pause) else "restrict"), order.subject


def _reaches(order: Pause | Restriction, session: Session) -> bool:
    return order.covers(session) if isinstance(order, Pause) else order.subject in subjects_of(session)
