"""What the measures need of the log, entry by entry, in `DATA/derived/facts.db`. A fold (`limen.derived`): no judgement here.

Rows carry the entry's index and the time at which it counts as written (`filing.time_of`), so that any earlier state of
knowledge can be read again. Accesses are many: they are counted by vendor and minute, and a document for a moment inside a
minute reads that one minute's entries from the log itself (`known`).

A read under way is a row of `flight` until its outcome. It is forgotten if that came within the same minute, for then no other
minute's reader could have met it; else it stays, with the time at which it was closed.

Every kind is looked at, also those that no measure needs: an index that is missing, or entries that a new epoch says are lost,
are rows of `lost`, and on the days between nobody can vouch for anything.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from limen.assurance.facts.held import copy_of, grow, handed
from limen.assurance.facts.tables import SCHEMA
from limen.assurance.measures import DAY_US, TIER_1
from limen.core.events import KINDS
from limen.filing import time_of
from limen.ledger.recovery import OPENS_BYTES, needs_outcome
from limen.windows import covered

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

MINUTE_US: Final = 60_000_000

# Refusals that reached for another project, or for what no grant gives.
OUT_OF_PROJECT: Final = frozenset({"other-project", "forbid-other-project", "no-grant", "forbid-barrier"})

# Entries of which there are few: kept whole.
TOLD: Final = (
    "agreement.add",
    "audit.result",
    "fact.add",
    "fact.dispute",
    "fact.settle",
    "log.witnessed",
    "notice.add",
    "rotation.add",
    "static.add",
    "static.end",
    "static.list",
)


class FactsFold:
    """The fold of `facts.db`. Deterministic; owned by whoever holds the derived file's lock."""

    name = "facts"
    version = 2
    schema = SCHEMA
    kinds: Sequence[str] = ("access.", *sorted({f"{kind.partition('.')[0]}." for kind in KINDS} - {"access."}))

    def __init__(self) -> None:
        self._of: sqlite3.Connection | None = None  # whose rows the three below repeat
        self._sessions: dict[str, tuple[str, str]] = {}  # session -> (vendor, who)
        self._tier_1: dict[str, bool] = {}  # asset -> whether it is of tier 1
        self._last = (-1, -1)  # the newest entry's index and minute
        self._takes: dict[str, Callable[[sqlite3.Connection, int, dict[str, Any], int], None]] = {
            "access.intent": self._intent,
            "access.outcome": self._outcome,
            "access.refusal": self._refusal,
            "session.start": self._session,
            "session.end": self._session_end,
            "vendor.add": self._vendor,
            "person.add": self._holder,
            "workload.add": self._holder,
            "person.end": self._holder_end,
            "workload.end": self._holder_end,
            "tier.set": self._tier,
            "asset.add": self._asset,
            "asset.version": self._version,
            "grant.add": self._grant,
            "grant.end": self._grant_end,
            "pause.order": self._pause,
            "pause.measured": self._measured,
            "epoch.begin": self._epoch,
            **dict.fromkeys(TOLD, self._told),
        }

    def add(self, connection: sqlite3.Connection, index: int, entry: dict[str, Any]) -> None:
        """Take one entry in."""
        at_us = time_of(entry)
        self._pass(connection, index, at_us // MINUTE_US, at_us)
        take = self._takes.get(entry["kind"])
        if take is not None:
            take(connection, index, entry, at_us)

    # --- the log itself

    def _pass(self, connection: sqlite3.Connection, index: int, minute: int, at_us: int) -> None:
        """Note where a minute begins, and that nothing is missing before this entry."""
        before = self._last
        if connection is not self._of or index != before[0] + 1:
            # Another file, a batch that was rolled back, or really a hole; then what this batch has read counts too.
            same = connection is self._of
            self._remember(connection)
            if same and index > before[0] > self._last[0]:
                self._last = before
        last, last_minute = self._last
        if index != last + 1:
            why = f"entries {last + 1} to {index - 1} are missing"
            connection.execute(
                "INSERT INTO lost VALUES (:entry, :at_us, :from_us, :why)",
                {"entry": index, "at_us": at_us, "from_us": max(last_minute, 0) * MINUTE_US, "why": why},
            )
        if minute != last_minute:
            connection.execute("INSERT INTO run VALUES (:first, :minute)", {"first": index, "minute": minute})
        self._last = (index, minute)

    def _remember(self, connection: sqlite3.Connection) -> None:
        """Begin where the file is: what was kept here may be another file's, or of a batch that was rolled back."""
        self._of = connection
        self._sessions.clear()
        self._tier_1.clear()
        upto = connection.execute("SELECT value FROM note WHERE name = 'upto'").fetchone()
        run = connection.execute("SELECT minute FROM run ORDER BY first DESC LIMIT 1").fetchone()
        self._last = (upto["value"] - 1 if upto else -1, run["minute"] if run else -1)

    def _epoch(self, connection: sqlite3.Connection, index: int, entry: dict[str, Any], at_us: int) -> None:
        kept, end = entry["kept"], entry["previous"]["size"]
        if kept >= end:
            return
        run = connection.execute(
            "SELECT minute FROM run WHERE first < :kept ORDER BY first DESC LIMIT 1", {"kept": max(kept, 1)}
        ).fetchone()
        why = f"entries {kept} to {end - 1} of {entry['previous']['origin']} were lost before epoch {entry['epoch']}"
        connection.execute(
            "INSERT OR REPLACE INTO lost VALUES (:entry, :at_us, :from_us, :why)",
            {"entry": index, "at_us": at_us, "from_us": run["minute"] * MINUTE_US if run else 0, "why": why},
        )

    # --- accesses

    def _intent(self, connection: sqlite3.Connection, index: int, intent: dict[str, Any], at_us: int) -> None:
        vendor = intent.get("vendor")
        if vendor is None:
            return
        self._count(connection, vendor, index, intent, at_us)
        asset = intent.get("asset", "")
        copy = None
        if needs_outcome(intent) and intent["action"] == "read" and intent.get("status") in OPENS_BYTES:
            day = at_us // DAY_US
            row = {"vendor": vendor, "project": intent["project"], "day": day, "entry": index, "at_us": at_us}
            connection.execute("INSERT OR IGNORE INTO served VALUES (:vendor, :project, :day, :entry, :at_us)", row)
            if self._is_tier_1(connection, asset):
                row["session"] = intent["session"]
                connection.execute("INSERT OR IGNORE INTO touch VALUES (:session, :day, :vendor, :entry, :at_us)", row)
                copy = copy_of(connection, vendor, intent)
        if needs_outcome(intent):
            parts = json.dumps(covered(intent)) if copy is not None else "[]"
            connection.execute(
                "INSERT INTO flight VALUES (:entry, :vendor, :at_us, NULL, :copy, :parts)",
                {"entry": index, "vendor": vendor, "at_us": at_us, "copy": copy, "parts": parts},
            )

    def _outcome(self, connection: sqlite3.Connection, index: int, outcome: dict[str, Any], at_us: int) -> None:
        of = outcome["of"]
        row = connection.execute("SELECT * FROM flight WHERE entry = :of AND closed_us IS NULL", {"of": of}).fetchone()
        if row is None:
            return  # the lab's own
        certain = outcome.get("end") != "unknown" and "sent" in outcome
        if not certain:
            connection.execute(
                "INSERT OR IGNORE INTO unsure VALUES (:entry, :vendor, :at_us, :told_us, :outcome)",
                {"entry": of, "vendor": row["vendor"], "at_us": row["at_us"], "told_us": at_us, "outcome": index},
            )
        kept = "[]"
        if row["copy"] is not None:
            parts = [tuple(part) for part in json.loads(row["parts"])]
            kept = json.dumps([["", 0, sum(end - start for _, start, end in parts)]])  # how much is all that is asked later
            bytes_ = grow(connection, row["copy"], handed(parts, outcome) if certain else parts)
            if bytes_:
                connection.execute(
                    "INSERT INTO grown VALUES (:entry, :copy, :at_us, :bytes)",
                    {"entry": index, "copy": row["copy"], "at_us": at_us, "bytes": bytes_},
                )
        if row["at_us"] // MINUTE_US == at_us // MINUTE_US:
            connection.execute("DELETE FROM flight WHERE entry = :of", {"of": of})
        else:
            closed = {"of": of, "at_us": at_us, "kept": kept}
            connection.execute("UPDATE flight SET closed_us = :at_us, parts = :kept WHERE entry = :of", closed)

    def _refusal(self, connection: sqlite3.Connection, index: int, refusal: dict[str, Any], at_us: int) -> None:
        vendor = refusal.get("vendor")
        if vendor is None:
            return
        if refusal["action"] != "session":  # a login that was refused is no access: nobody had a session
            self._count(connection, vendor, index, refusal, at_us)
        if refusal["rule"] in OUT_OF_PROJECT:
            connection.execute(
                "INSERT INTO refusal VALUES (:entry, :vendor, :at_us, :rule)",
                {"entry": index, "vendor": vendor, "at_us": at_us, "rule": refusal["rule"]},
            )

    def _count(self, connection: sqlite3.Connection, vendor: str, index: int, entry: dict[str, Any], at_us: int) -> None:
        connection.execute(
            "INSERT INTO pulse VALUES (:vendor, :minute, 1, :index, :index) ON CONFLICT (vendor, minute)"
            " DO UPDATE SET accesses = accesses + 1, last = :index",
            {"vendor": vendor, "minute": at_us // MINUTE_US, "index": index},
        )
        if self._opener(connection, entry["session"]) != (vendor, entry["who"]):
            connection.execute(
                "INSERT INTO unnamed VALUES (:entry, :vendor, :at_us)", {"entry": index, "vendor": vendor, "at_us": at_us}
            )

    def _opener(self, connection: sqlite3.Connection, session: str) -> tuple[str, str] | None:
        """The vendor and the pseudonym that an identity was proven for when this session began."""
        found = self._sessions.get(session)
        if found is None:
            row = connection.execute("SELECT vendor, who FROM session WHERE id = :id", {"id": session}).fetchone()
            if row is None:
                return None
            found = self._sessions[session] = (row["vendor"], row["who"])
        return found

    def _is_tier_1(self, connection: sqlite3.Connection, asset: str) -> bool:
        found = self._tier_1.get(asset)
        if found is None:
            row = connection.execute(
                "SELECT a.tier, t.hardware FROM asset a LEFT JOIN tier t ON t.name = a.tier WHERE a.id = :asset",
                {"asset": asset},
            ).fetchone()
            found = self._tier_1[asset] = bool(row and (row["tier"] in TIER_1 or row["hardware"]))
        return found

    # --- sessions and people

    def _session(self, connection: sqlite3.Connection, index: int, entry: dict[str, Any], at_us: int) -> None:
        vendor = entry.get("vendor")
        if vendor is None:
            return
        connection.execute(
            "INSERT OR IGNORE INTO session VALUES"
            " (:id, :vendor, :who, :project, :sponsor, :hardware, :entry, :at_us, :length_us, NULL)",
            {
                "id": entry["session"],
                "vendor": vendor,
                "who": entry["who"],
                "project": entry["project"],
                "sponsor": entry.get("sponsor"),
                "hardware": entry["strength"] == "hardware",
                "entry": index,
                "at_us": at_us,
                # Both by the real clock. It is usable from the entry on, not before.
                "length_us": max(entry["until"] * 1_000_000 - entry["at"], 0),
            },
        )
        self._sessions[entry["session"]] = (vendor, entry["who"])

    def _session_end(self, connection: sqlite3.Connection, _index: int, entry: dict[str, Any], at_us: int) -> None:
        connection.execute(
            "UPDATE session SET ended_us = :at_us WHERE id = :id AND ended_us IS NULL", {"id": entry["session"], "at_us": at_us}
        )

    def _vendor(self, connection: sqlite3.Connection, index: int, entry: dict[str, Any], at_us: int) -> None:
        connection.execute(
            "INSERT OR IGNORE INTO vendor VALUES (:id, :at_us, :entry)", {"id": entry["vendor"], "at_us": at_us, "entry": index}
        )

    def _holder(self, connection: sqlite3.Connection, index: int, entry: dict[str, Any], at_us: int) -> None:
        name = entry.get("person") or entry["workload"]
        if entry["vendor"] is not None:
            connection.execute(
                "INSERT INTO holder VALUES (:entry, :name, :vendor, :at_us, :sponsor, NULL, NULL)",
                {"entry": index, "name": name, "vendor": entry["vendor"], "at_us": at_us, "sponsor": entry.get("sponsor")},
            )

    def _holder_end(self, connection: sqlite3.Connection, index: int, entry: dict[str, Any], at_us: int) -> None:
        # The workloads that they sponsor end with them.
        connection.execute(
            "UPDATE holder SET ended_us = :at_us, ended = :entry WHERE (name = :name OR sponsor = :name) AND ended_us IS NULL",
            {"name": entry.get("person") or entry["workload"], "at_us": at_us, "entry": index},
        )

    # --- what there is to hold, and who may

    def _tier(self, connection: sqlite3.Connection, index: int, entry: dict[str, Any], at_us: int) -> None:
        name, hardware = entry["tier"], bool(entry["hardware_key"])
        before = connection.execute("SELECT hardware FROM tier WHERE name = :name", {"name": name}).fetchone()
        connection.execute(
            "INSERT INTO tier VALUES (:name, :hardware) ON CONFLICT (name) DO UPDATE SET hardware = :hardware",
            {"name": name, "hardware": hardware},
        )
        self._tier_1.clear()
        held = connection.execute("SELECT 1 FROM asset WHERE tier = :name LIMIT 1", {"name": name}).fetchone()
        if hardware and held and name not in TIER_1 and not (before and before["hardware"]):
            connection.execute(
                "INSERT INTO raised VALUES (:entry, :at_us, :tier)", {"entry": index, "at_us": at_us, "tier": name}
            )

    def _asset(self, connection: sqlite3.Connection, index: int, entry: dict[str, Any], _at_us: int) -> None:
        connection.execute(
            "INSERT OR IGNORE INTO asset VALUES (:id, :project, :tier, :entry)",
            {"id": entry["asset"], "project": entry["project"], "tier": entry["tier"], "entry": index},
        )
        self._tier_1.pop(entry["asset"], None)

    def _version(self, connection: sqlite3.Connection, _index: int, entry: dict[str, Any], _at_us: int) -> None:
        connection.execute(
            "INSERT OR IGNORE INTO version VALUES (:asset, :number, :length)",
            {"asset": entry["asset"], "number": entry["number"], "length": entry["length"]},
        )

    def _grant(self, connection: sqlite3.Connection, index: int, entry: dict[str, Any], at_us: int) -> None:
        connection.execute(
            "INSERT OR IGNORE INTO granted VALUES (:id, :vendor, :project, :holder, :entry, :at_us, :expires_us, NULL, NULL)",
            {
                "id": entry["grant"],
                "vendor": entry.get("vendor"),
                "project": entry["project"],
                "holder": entry["holder"],
                "entry": index,
                "at_us": at_us,
                "expires_us": entry["expires_at"] * 1_000_000,
            },
        )

    def _grant_end(self, connection: sqlite3.Connection, index: int, entry: dict[str, Any], at_us: int) -> None:
        connection.execute(
            "UPDATE granted SET ended_us = :at_us, ended = :entry WHERE id = :id AND ended_us IS NULL",
            {"id": entry["grant"], "at_us": at_us, "entry": index},
        )

    # --- pauses, and what is told

    def _pause(self, connection: sqlite3.Connection, index: int, entry: dict[str, Any], at_us: int) -> None:
        vendor = self._subject(connection, entry["subject"])
        if vendor is None:
            return
        connection.execute(
            "INSERT INTO pause VALUES (:entry, :vendor, :at_us, :took_us, :drill, NULL, NULL, NULL)",
            {
                "entry": index,
                "vendor": vendor,
                "at_us": at_us,
                # The cut is in force before its entry is written, and `since` is cut to whole seconds: at most this long.
                "took_us": max(entry["at"] - entry["since"] * 1_000_000, 0),
                "drill": bool(entry.get("drill")),
            },
        )

    def _measured(self, connection: sqlite3.Connection, index: int, entry: dict[str, Any], at_us: int) -> None:
        connection.execute(
            "UPDATE pause SET measured = :entry, measured_us = :at_us, last_byte_us = :last_byte_us"
            " WHERE entry = :order AND measured IS NULL",
            {"order": entry["order"], "entry": index, "at_us": at_us, "last_byte_us": entry["last_byte_us"]},
        )

    def _subject(self, connection: sqlite3.Connection, subject: str) -> str | None:
        """The vendor that a pause is about; None for the lab's own, and for a whole project."""
        kind, _, name = subject.partition("/")
        if kind == "vendor":
            return name
        if kind == "session":
            opener = self._opener(connection, name)
            return opener[0] if opener else None
        if kind == "person":
            row = connection.execute("SELECT vendor FROM holder WHERE name = :name LIMIT 1", {"name": name}).fetchone()
            return row["vendor"] if row else None
        return None

    def _told(self, connection: sqlite3.Connection, index: int, entry: dict[str, Any], at_us: int) -> None:
        fields = {name: value for name, value in entry.items() if name not in {"v", "salt", "commit", "kind", "story_at"}}
        connection.execute(
            "INSERT INTO told VALUES (:entry, :kind, :vendor, :at_us, :fields)",
            {
                "entry": index,
                "kind": entry["kind"],
                "vendor": entry.get("vendor") or "",
                "at_us": at_us,
                "fields": json.dumps(fields, sort_keys=True),
            },
        )
