"""Changes of authority: what the catalog holds, who has a session, who is paused. Entries first, then the tables.

A change is validated against a snapshot, written to the ledger, and applied to the control tables with its entry's
index; start-up applies what is missing, from the entry's encrypted side record. Pauses and restrictions are the exception:
they never wait for the ledger (`orders`). (What start-up applies: `recovery`. How somebody is erased: `privacy.erasure`.)
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

from limen.catalog.changes import Change, PersonAdd, PersonEnd, WorkloadAdd, WorkloadEnd
from limen.catalog.snapshot import Ordered
from limen.core.errors import Denied, LimenError, NotFound
from limen.core.types import Action, Client, Session, Side
from limen.custody import GATEWAY, who
from limen.identity.sessions import new_access_key
from limen.orders import Orders

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from limen.core.types import Asset, Person, Receipt, Workload
    from limen.custody import Custody
    from limen.identity.oidc import Claims

MIN_SESSION_S, MAX_SESSION_S = 900, 43_200


class Authority(Orders):
    """The one place that changes who may do what. Owned by the event loop; `lock` makes changes one at a time."""

    def __init__(self, custody: Custody, *, data: Path, random: Callable[[int], bytes], contact: str) -> None:
        super().__init__(custody, data=data, random=random, contact=contact)
        self.lock = asyncio.Lock()

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
            session = dataclasses.replace(session, issued_at=later)  # and it ends no later for that
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
        return dataclasses.replace(session, expires_at=min(session.expires_at, now + longest))

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

    def explain(self, session: Session, action: Action, asset: Asset) -> dict[str, Any]:
        """What policy and live state say to a question, rule by rule."""
        custody = self._custody
        paused = next((pause for pause in custody.live.pauses() if pause.covers(session)), None)
        question = dataclasses.replace(custody.question(session, action, asset), paused=paused is not None)
        explanation = custody.policies.explain(question)
        try:
            custody.live.check(session, action)
        except Denied as refusal:
            if refusal.rule == "restricted":
                explanation = dataclasses.replace(explanation, allowed=False, rule=refusal.rule, reason=refusal.reason)
        return explanation.to_json()


def _holders(change: Change) -> list[str]:
    """Everybody whose pseudonym or key a change's entry needs."""
    names = (getattr(change, name, None) for name in ("holder", "granted_by", "owner", "sponsor"))
    own = [change.id] if isinstance(change, PersonAdd | WorkloadAdd | PersonEnd | WorkloadEnd) else []
    # A tier's `granted_by` are roles, not a person.
    return [name for name in names if name and isinstance(name, str)] + own
