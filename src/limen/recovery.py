"""What start-up does before any door opens: the same path after a crash and after a clean stop.

The catalog gets the authority entries it lacks, from their side records, or, for people who have been erased since, from
what their erasure put in place of these; intents whose outcome was lost get `outcome: unknown` (and count as
fully exposed); the day's quotas and the sessions still alive are read back from the ledger; half-written uploads go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limen.catalog.changes import CHANGES, Erasure, from_clear
from limen.core.errors import TamperDetected
from limen.core.events import decode
from limen.core.types import Session
from limen.ledger.scribe import open_side, side_ref
from limen.policy.quota import DAY_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from limen.authority import Authority
    from limen.catalog.catalog import Catalog
    from limen.catalog.changes import Change
    from limen.custody import Custody
    from limen.ledger.ledger import Ledger
    from limen.standing import Standing


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found and done at start-up, for the operator's first line."""

    entries: int
    changes_applied: int
    outcomes_unknown: int
    uploads_swept: int
    sessions_alive: int

    @classmethod
    async def run(cls, custody: Custody, authority: Authority, standing: Standing) -> Recovery:
        """Bring memory and tables up to the ledger, which adds up to `standing`; idempotent.

        TamperDetected if the tables are ahead of it: then the ledger was set back without them.
        """
        size, tables = custody.ledger.head().size, custody.catalog.applied
        if tables >= size:
            raise TamperDetected(
                f"the log was set back: control.db holds the change of entry {tables}, and ledger.db has {size} entries",
                index=size,
                next_step="nothing was signed; put back the two that belong together, or restore a backup, which holds both",
            )
        applied = replay(custody, start=standing.first_change_after(tables))
        standing.all_applied(custody.catalog.applied)
        authority.restore_live()
        lost = list(standing.open)
        if lost:
            written = [custody.scribe.write("access.outcome", {"of": index, "end": "unknown"}, None) for index in lost]
            await custody.ledger.append_all(written)
        alive = _read_back(custody, authority, standing)
        swept = custody.blobs.sweep()
        return cls(size, applied, len(lost), swept, alive)


def replay(custody: Custody, *, start: int) -> int:
    """Apply the authority entries from `start` on that the control tables lack; returns how many. Before any door opens.

    TamperDetected for an entry whose side record is gone though nobody was erased; NotFound if control.db lacks its key.
    """
    catalog, ledger = custody.catalog, custody.ledger
    due = list(_authority(ledger, start, ledger.head().size))
    # An erasure comes after what it made unreadable, so all of them are read first.
    erasures = [change for entry in due if entry.kind == Erasure.kind and isinstance(change := entry.opened(catalog), Erasure)]
    stand_ins = {each.entry: from_clear(each.kind, each.change) for erasure in erasures for each in erasure.stand_ins}
    for entry in due:
        change = stand_ins.get(entry.index) or entry.opened(catalog)
        catalog.apply(change, index=entry.index, at=entry.at)
    for person in catalog.snapshot.holders():
        if person.ended_at is not None:
            custody.live.end(f"person/{person.id}", at=person.ended_at)
    return len(due)


@dataclass(frozen=True, slots=True)
class _Due:
    """An entry that the control tables lack, with its sealed side record if it has one still."""

    index: int
    raw: bytes
    side: bytes | None
    kind: str
    at: int

    def opened(self, catalog: Catalog) -> Change:
        """The change that it tells, in full."""
        if self.side is None:
            raise TamperDetected(f"the side record of entry {self.index} is gone, and no erasure says why", index=self.index)
        clear = open_side("change", self.side, self.raw, catalog.key_under(side_ref(self.side))).value
        return from_clear(self.kind, clear)


def _authority(ledger: Ledger, start: int, end: int) -> Iterator[_Due]:
    """The entries that are changes of authority, in order."""
    sides = ((index, raw) for index, name, raw in ledger.sides(start, end) if name == "change")
    at, side = next(sides, (end, b""))
    for index, raw in ledger.entries(start, end):
        if b'"kind":"access.' in raw:
            continue
        while at < index:
            at, side = next(sides, (end, b""))
        entry = decode(raw)
        if entry["kind"] in CHANGES:
            yield _Due(index, raw, side if at == index else None, entry["kind"], entry["at"] // 1_000_000)


def _read_back(custody: Custody, authority: Authority, standing: Standing) -> int:
    """Quotas of the day and sessions still alive."""
    now = custody.clock.now()
    day, taken = standing.quota.day()
    for (who, asset), nbytes in taken.items():
        custody.quota.load(who, asset, nbytes, now=day * DAY_S)
    people = _holders_by_pseudonym(custody, authority)
    for entry in standing.sessions.values():
        holder = people.get((entry["project"], entry["who"]))
        if entry["until"] > now and holder is not None:
            session = _session(entry, holder)
            authority.sessions[session.id] = session
    return len(authority.sessions)


def _holders_by_pseudonym(custody: Custody, authority: Authority) -> dict[tuple[str, str], str]:
    snapshot = custody.catalog.snapshot
    pairs = {(grant.holder, grant.project) for grant in snapshot.grants()}
    return {(project, authority.pseudonym(holder, project)): holder for holder, project in pairs}


def _session(entry: dict[str, Any], holder: str) -> Session:
    """A session as its entry tells it: enough to say what a pause would cut. Its credentials are its owner's alone."""
    return Session(
        id=entry["session"],
        holder=holder,
        vendor=entry.get("vendor"),
        sponsor=None,
        project=entry["project"],
        pseudonym=entry["who"],
        access_key="",
        strength=entry["strength"],
        issued_at=entry["at"] // 1_000_000,
        expires_at=entry["until"],
        sponsor_pseudonym=entry.get("sponsor"),
    )
