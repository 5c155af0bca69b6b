"""What start-up does before any door opens: the same path after a crash and after a clean stop.

The catalog gets the authority entries it lacks; intents whose outcome was lost get `outcome: unknown` (and count as
fully exposed); the day's quotas and the sessions still alive are read back from the ledger; half-written uploads go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limen.core.events import decode
from limen.core.types import Session
from limen.ledger.recovery import missing_outcomes

if TYPE_CHECKING:
    from limen.authority import Authority
    from limen.custody import Custody

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
        """Bring memory and tables up to the ledger; idempotent."""
        size = custody.ledger.head().size
        applied = authority.replay()
        lost = missing_outcomes(custody.ledger)
        if lost:
            written = [custody.scribe.write("access.outcome", {"of": index, "end": "unknown"}, None) for index in lost]
            await custody.ledger.append_all(written)
        alive = _read_back(custody, authority)
        swept = custody.blobs.sweep()
        return cls(size, applied, len(lost), swept, alive)


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
            case "access.intent" if "span" in entry and entry["at"] >= day * 1_000_000:
                spans[index] = entry
                begin, end = entry["span"]
                custody.quota.load(entry["who"], entry["asset"], end - begin, now=_day_at(entry))
            case "access.outcome" if entry["of"] in spans and "sent" in entry:
                intent = spans.pop(entry["of"])
                begin, end = intent["span"]
                custody.quota.credit(intent["who"], intent["asset"], end - begin - entry["sent"], reserved_at=_day_at(intent))
            case "session.start" if entry["until"] > now and (entry["project"], entry["who"]) in people:
                session = _session(entry, people[entry["project"], entry["who"]])
                authority.sessions[session.id] = session
    return len(authority.sessions)


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
