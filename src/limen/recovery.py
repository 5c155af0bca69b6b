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
from limen.ledger.recovery import missing_outcomes
from limen.ledger.scribe import open_side, side_ref
from limen.windows import covered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from limen.authority import Authority
    from limen.catalog.catalog import Catalog
    from limen.catalog.changes import Change
    from limen.custody import Custody
    from limen.ledger.ledger import Ledger

LONGEST_SESSION_S = 43_200


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was found and done at start-up, for the operator's first line."""

    entries: int
    changes_applied: int
    outcomes_unknown: int
    uploads_swept: int
    sessions_alive: int

    @classmethod
    async def run(cls, custody: Custody, authority: Authority) -> Recovery:
        """Bring memory and tables up to the ledger; idempotent.

        TamperDetected if the tables are ahead of it: then the ledger was set back without them.
        """
        size, tables = custody.ledger.head().size, custody.catalog.applied
        if tables >= size:
            raise TamperDetected(
                f"the log was set back: control.db holds the change of entry {tables}, and ledger.db has {size} entries",
                index=size,
                next_step="nothing was signed; put back the two that belong together, or restore a backup, which holds both",
            )
        applied = replay(custody)
        authority.restore_live()
        lost = missing_outcomes(custody.ledger)
        if lost:
            written = [custody.scribe.write("access.outcome", {"of": index, "end": "unknown"}, None) for index in lost]
            await custody.ledger.append_all(written)
        alive = _read_back(custody, authority)
        swept = custody.blobs.sweep()
        return cls(size, applied, len(lost), swept, alive)


def replay(custody: Custody) -> int:
    """Apply the authority entries that the control tables lack; returns how many. Before any door opens.

    TamperDetected for an entry whose side record is gone though nobody was erased; NotFound if control.db lacks its key.
    """
    catalog, ledger = custody.catalog, custody.ledger
    due = list(_authority(ledger, catalog.applied + 1, ledger.head().size))
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


def _read_back(custody: Custody, authority: Authority) -> int:
    """Quotas of this day and sessions still alive, from the newest entries backwards until neither can be older."""
    now = custody.clock.now()
    day = now - now % 86_400
    horizon_us = min(day, now - LONGEST_SESSION_S) * 1_000_000
    start = custody.ledger.first_since(horizon_us)
    people = _holders_by_pseudonym(custody, authority)
    spans: dict[int, dict[str, Any]] = {}
    for index, raw in custody.ledger.entries(start):
        entry = decode(raw)
        match entry["kind"]:
            case "access.intent" if (reach := _reach(entry)) and entry["at"] >= day * 1_000_000:
                spans[index] = entry
                custody.quota.load(entry["who"], entry["asset"], reach, now=_day_at(entry))
            case "access.outcome" if entry["of"] in spans and "sent" in entry:
                intent = spans.pop(entry["of"])
                _correct(custody, intent, entry["sent"])
            case "session.start" if entry["until"] > now and (entry["project"], entry["who"]) in people:
                session = _session(entry, people[entry["project"], entry["who"]])
                authority.sessions[session.id] = session
    return len(authority.sessions)


def _reach(intent: dict[str, Any]) -> int:
    """Bytes that an intent covers."""
    return sum(end - start for _, start, end in covered(intent))


def _correct(custody: Custody, intent: dict[str, Any], sent: int) -> None:
    """Count what was handed over instead of what was covered; under a window the same bytes may have gone twice."""
    unsent = _reach(intent) - sent
    if unsent >= 0:
        custody.quota.credit(intent["who"], intent["asset"], unsent, reserved_at=_day_at(intent))
    else:
        custody.quota.load(intent["who"], intent["asset"], -unsent, now=_day_at(intent))


def _day_at(entry: dict[str, Any]) -> int:
    return int(entry.get("story_at", entry["at"])) // 1_000_000


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
