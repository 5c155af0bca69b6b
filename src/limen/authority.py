"""Changes of authority: what the catalog holds, who has a session, who is paused. Entries first, then the tables.

A change is validated against a snapshot, written to the ledger, and applied to the control tables with its entry's
index; start-up applies what is missing, from the entry's encrypted side record. A pause is the exception: it takes
effect in memory first, is kept in `live.json`, and never waits for the ledger; its entry follows as soon as it can.
(What start-up applies: `recovery`. How somebody is erased: `privacy.erasure`.)
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

import msgspec

from limen.catalog.changes import Change, PersonAdd, PersonEnd, WorkloadAdd, WorkloadEnd
from limen.catalog.snapshot import Ordered
from limen.core.errors import Denied, Invalid, LedgerUnavailable, LimenError, NotFound
from limen.core.types import Action, Client, Session, Side
from limen.custody import GATEWAY, who
from limen.identity.live import Pause
from limen.identity.sessions import new_access_key
from limen.store.blobs import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from limen.core.types import Asset, Person, Receipt, Workload
    from limen.custody import Custody
    from limen.identity.oidc import Claims

RESERVE_BYTES = 256 << 10
MIN_SESSION_S, MAX_SESSION_S = 900, 43_200


class _Kept(msgspec.Struct, frozen=True):
    """What `live.json` holds: orders in force, those lifted, sessions ended early, and orders without their entry yet."""

    pauses: list[Pause] = []
    cuts: list[Pause] = []
    ended_sessions: dict[str, int] = {}
    unlogged: list[str] = []


class Authority:
    """The one place that changes who may do what. Owned by the event loop; `lock` makes changes one at a time."""

    def __init__(self, custody: Custody, *, data: Path, random: Callable[[int], bytes], contact: str) -> None:
        self._custody = custody
        self._kept_at = data / "live.json"
        self._reserve = data / "live.reserve"  # room that only `_keep` gives up
        self._random = random
        self._contact = contact
        self.lock = asyncio.Lock()
        self._unlogged: dict[str, dict[str, Any]] = {}
        self._logging = asyncio.Lock()  # over the two: each order gets one entry, whoever comes to write it first
        self._logged: dict[str, Receipt] = {}  # by subject, of orders in force
        self.sessions: dict[str, Session] = {}  # issued and not expired; for reports of what a pause would cut

    # --- the catalog

    async def change(self, changes: Sequence[Change], *, by: str) -> list[Receipt]:
        """Make changes, all or none: Invalid or Denied name the first that can't be, and then nothing has changed."""
        async with self.lock:
            return await self.change_alone(changes, by=by)

    async def change_alone(self, changes: Sequence[Change], *, by: str) -> list[Receipt]:
        """The same for a caller who holds `lock`, because it must have read what it changes."""
        custody = self._custody
        now = custody.clock.now()
        completed = self._completed(changes)
        holders = {holder for change in completed for holder in _holders(change)}
        custody.catalog.make_subject_keys([*holders, GATEWAY])
        written = [self._write(change, by) for change in completed]
        receipts = await custody.ledger.append_all(written)
        ordered = [Ordered(c, r.index, now) for c, r in zip(completed, receipts, strict=True)]
        custody.catalog.apply_all(ordered)
        for change in completed:
            self._cut_if_ended(change, now)
        return receipts

    def validate(self, changes: Sequence[Change]) -> None:
        """Pass if the changes could be made now; raise what `change` would. Nothing is written."""
        self._completed(changes)

    def _completed(self, changes: Sequence[Change]) -> list[Change]:
        """The changes as they would be applied, checked one after the other."""
        custody = self._custody
        return custody.catalog.snapshot.prepare(
            changes,
            random=self._random,
            index=custody.ledger.head().size,
            at=custody.clock.now(),
            places=getattr(changes, "places", ()),
        )

    def _write(self, change: Change, by: str) -> tuple[bytes, dict[str, bytes] | None]:
        fields = {**change.public(self.pseudonym), "by": by}
        side = Side(change.sealed_for or GATEWAY, {"change": change.to_clear()})
        return self._custody.scribe.write(change.kind, fields, side)

    def _cut_if_ended(self, change: Change, now: int) -> None:
        if isinstance(change, PersonEnd | WorkloadEnd):
            self._custody.live.end(f"person/{change.id}", at=now)

    def pseudonym(self, holder: str, project: str) -> str:
        """What entries in one project call somebody; nobody can link two projects' without the person's key."""
        return self._custody.catalog.pseudonym(holder, project)

    # --- sessions

    async def start_session(
        self, claims: Claims, project: str, *, name: str = "", duration_s: int = 3600, client: Client
    ) -> Session:
        """A session for a verified identity in one project; its entry is durable before any credential exists.

        Denied (and, if the identity is known, a refusal entry) when the person is unknown, ended, paused, without an
        agreement or without a grant in the project. The length is capped by the strictest tier that they are granted.
        """
        custody = self._custody
        snapshot, now = custody.catalog.snapshot, custody.clock.now()
        try:
            holder = snapshot.holder(claims.issuer, claims.subject)
        except NotFound as e:
            raise Denied("this identity is not enrolled; ask your vendor's contact", rule="not-enrolled") from e
        session = self._session(holder, project, claims, now, duration_s)
        if claims.vendors and holder.vendor not in claims.vendors:
            raise Denied("this issuer may not name people of that vendor; ask the lab's security team", rule="issuer")
        try:
            session = self._admit(session, now)
        except LimenError as refusal:
            fields = {"action": "session", "rule": getattr(refusal, "rule", "") or type(refusal).__name__.lower()}
            await custody.append("access.refusal", session, fields, client=client, request=project)
            raise
        side = Side(
            holder.id,
            {
                "identity": {"issuer": claims.issuer, "subject": claims.subject, "holder": holder.id},
                "network": {"address": client.address, "agent": client.agent[:1024]},
                "request": {"name": name[:64]},
            },
        )
        fields = {**who(session), "until": session.expires_at, "strength": session.strength}
        entry, sealed = custody.scribe.write("session.start", fields, side)
        await custody.ledger.append(entry, sealed)
        custody.live.check(session)
        self._remember(session)
        return session

    def _session(self, holder: Person | Workload, project: str, claims: Claims, now: int, duration_s: int) -> Session:
        sponsor = getattr(holder, "sponsor", None)
        return Session(
            id="s" + self._random(10).hex(),
            holder=holder.id,
            vendor=holder.vendor,
            sponsor=sponsor,
            project=project,
            pseudonym=self.pseudonym(holder.id, project),
            access_key=new_access_key(self._random),
            strength=claims.strength,
            issued_at=now,
            expires_at=now + duration_s,
            sponsor_pseudonym=self.pseudonym(sponsor, project) if sponsor else None,
        )

    def _admit(self, session: Session, now: int) -> Session:
        """The session as it may be issued, or the reason why not."""
        custody, snapshot = self._custody, self._custody.catalog.snapshot
        if snapshot.holder_by_id(session.holder).ended_at is not None:
            raise Denied("this person's access has ended; ask your vendor's contact", rule="ended")
        later = custody.live.issue_after(session)
        if later > session.issued_at:  # at most a second: a pause was lifted in this very second
            session = _issued(session, later)
        custody.live.check(session)
        if not snapshot.has_project(session.project):
            raise Denied("no grant in this project; ask the project's owner", rule="other-project")
        if session.vendor and snapshot.agreement(session.vendor, now) is None:
            raise Denied(f"{session.vendor} has no current agreement; ask your vendor's contact", rule="no-agreement")
        grants = [g for g in snapshot.grants_of(session.holder, session.project) if g.not_before <= now < g.expires_at]
        if not grants:
            raise Denied("no grant in this project; ask the project's owner", rule="no-grant")
        tiers = [snapshot.tier(asset.tier) for asset in snapshot.granted_assets(grants)]
        longest = max(MIN_SESSION_S, min((tier.session_s for tier in tiers), default=MAX_SESSION_S))
        return _issued(session, session.issued_at, length_s=min(session.expires_at - session.issued_at, longest))

    def _remember(self, session: Session) -> None:
        now = self._custody.clock.now()
        for stale in [s.id for s in self.sessions.values() if s.expires_at <= now][:16]:
            del self.sessions[stale]
        self.sessions[session.id] = session

    async def admit(self, session: Session, client: Client) -> None:
        """Pass in silence for a session that is not cut; otherwise raise once the refusal is durable."""
        try:
            self._custody.live.check(session)
        except Denied as refusal:
            await self._custody.refuse(session, Action.HEAD, "", refusal, client=client)

    async def end_session(self, session_id: str, *, by: str) -> None:
        """End one session now, at every door."""
        custody = self._custody
        custody.live.end(f"session/{session_id}", at=custody.clock.now())
        self._keep()
        entry, _ = custody.scribe.write("session.end", {"session": session_id, "by": by}, None)
        await custody.ledger.append(entry)

    # --- pauses

    def affected(self, pause: Pause) -> list[Session]:
        """The sessions, issued and not expired, that an order would cut."""
        now = self._custody.clock.now()
        return [s for s in self.sessions.values() if s.expires_at > now and pause.covers(s)]

    def people_under(self, pause: Pause) -> list[str]:
        """The people and workloads, not ended, whom an order covers whatever session they open."""
        kind, _, name = pause.subject.partition("/")
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
        return sorted(found - {essential.partition("/")[2] for essential in pause.essential})

    def explain(self, session: Session, action: Action, asset: Asset) -> dict[str, Any]:
        """What policy and live state say to a question, rule by rule."""
        custody = self._custody
        paused = next((pause for pause in custody.live.pauses() if pause.covers(session)), None)
        question = dataclasses.replace(custody.question(session, action, asset), paused=paused is not None)
        return custody.policies.explain(question).to_json()

    def order(self, subject: str, *, reason: str, essential: Sequence[str] = (), contact: str = "") -> Pause:
        """The order as it would be given; Invalid if there is no such subject, or no reason."""
        if not reason.strip():
            raise Invalid("reason", "say why: it is what every refused person reads")
        self._known(subject)
        for name in essential:
            self._known(name)
        since = self._custody.clock.now()
        return Pause(subject, reason.strip(), since, contact or self._contact, frozenset(essential))

    def pause(self, pause: Pause) -> int:
        """Cut now, in memory; returns the streams aborted. The caller then awaits `record_pause`."""
        return self._custody.live.pause(pause)

    async def record_pause(self, pause: Pause, *, streams: int, sessions: int, by: str) -> Receipt | None:
        """Keep the order across restarts, then log it.

        None if the ledger can't be written: the order stands, and its entry follows when the ledger recovers.
        LedgerUnavailable if it can't even be kept: it stands, but only until the gateway stops.
        """
        fields = {
            "subject": self._public(pause.subject),
            "since": pause.since,
            "streams": streams,
            "sessions": sessions,
            "by": by,
            "essential": sorted(self._public(name) for name in pause.essential),
        }
        self._unlogged[pause.subject] = fields
        try:
            await asyncio.to_thread(self._keep)
        except OSError as e:
            raise LedgerUnavailable(
                f"{pause.subject} is cut, but a restart would forget it ({e})", next_step="free space, then order it again"
            ) from e
        with contextlib.suppress(LedgerUnavailable):
            return await self._log_pause(pause)
        return None

    async def _log_pause(self, pause: Pause) -> Receipt:
        async with self._logging:
            fields = self._unlogged.get(pause.subject)
            if fields is None:
                return self._logged[pause.subject]  # housekeeping was faster
            order: dict[str, object] = {"subject": pause.subject, "reason": pause.reason, "contact": pause.contact}
            side = Side(self._about(pause.subject), {"order": order})
            receipt = await self._custody.ledger.append(*self._custody.scribe.write("pause.order", fields, side))
            self._logged[pause.subject] = receipt
            if self._unlogged.get(pause.subject) is fields:  # else it was ordered anew in the meantime
                del self._unlogged[pause.subject]
        self._keep()
        return receipt

    async def measured(self, subject: str, *, order: int, last_byte_us: int, clock: str) -> Receipt:
        """Log how long it took from order to last byte, by whose clock."""
        fields = {"subject": self._public(subject), "order": order, "last_byte_us": last_byte_us, "clock": clock}
        return await self._custody.ledger.append(*self._custody.scribe.write("pause.measured", fields, None))

    async def lift(self, subject: str, *, reason: str, by: str) -> Receipt:
        """Let new sessions in again; the entry is durable before the first can be opened."""
        if subject not in {pause.subject for pause in self._custody.live.pauses()}:
            raise NotFound(f"{subject} is not paused")
        fields = {"subject": self._public(subject), "by": by}
        side = Side(self._about(subject), {"order": {"subject": subject, "reason": reason}})
        receipt = await self._custody.ledger.append(*self._custody.scribe.write("pause.lift", fields, side))
        self._custody.live.lift(subject)
        self._logged.pop(subject, None)
        self._keep()
        return receipt

    async def log_unlogged(self) -> int:
        """Write the entries of orders that the ledger could not take when they were given; returns how many."""
        written = 0
        for pause in self._custody.live.pauses():
            if pause.subject in self._unlogged:
                await self._log_pause(pause)
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
        kept = _Kept(list(live.pauses()), list(live.cuts()), live.ended_sessions(), sorted(self._unlogged))
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
        self._custody.live.restore(kept.pauses, kept.cuts, kept.ended_sessions)
        for pause in kept.pauses:
            if pause.subject in kept.unlogged:
                essential = sorted(self._public(name) for name in pause.essential)
                fields = {"subject": self._public(pause.subject), "since": pause.since, "essential": essential, "by": "limen"}
                self._unlogged[pause.subject] = fields


def _issued(session: Session, issued_at: int, *, length_s: int | None = None) -> Session:
    length_s = session.expires_at - session.issued_at if length_s is None else length_s
    return dataclasses.replace(session, issued_at=issued_at, expires_at=issued_at + length_s)


def _holders(change: Change) -> list[str]:
    """Everybody whose pseudonym or key a change's entry needs."""
    names = (getattr(change, name, None) for name in ("holder", "granted_by", "owner", "sponsor"))
    own = [change.id] if isinstance(change, PersonAdd | WorkloadAdd | PersonEnd | WorkloadEnd) else []
    # A tier's `granted_by` are roles, not a person.
    return [name for name in names if name and isinstance(name, str)] + own
