"""What the log had told about one vendor by a given moment: rows of `facts.db` and the entries of one last minute, as values.

An entry counts as known if it was written at or before the moment (`filing.time_of`). What a row says of a later time than
its own entry's (a session's end, a grant's revocation, an outcome) is left out where that was written after the moment.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from limen.assurance.facts.fold import MINUTE_US
from limen.assurance.facts.held import find_copy
from limen.assurance.measures import DAY_US
from limen.core.events import decode
from limen.filing import time_of
from limen.ledger.recovery import needs_outcome
from limen.windows import covered

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence


class Log(Protocol):
    """What is read of the ledger."""

    def entries(self, start: int, end: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Entries with their indices, in order."""


class Pulse(NamedTuple):
    """A day's accesses: how many, and the first and last entry."""

    accesses: int
    first: int
    last: int


class Session(NamedTuple):
    """One credential: usable from its entry on for `length_us`, or until it was ended."""

    id: str
    hardware: bool
    entry: int
    at_us: int
    length_us: int
    ended_us: int | None


class Flight(NamedTuple):
    """An access whose outcome was not known yet, and what of which copy it may have handed over."""

    entry: int
    at_us: int
    copy: int | None
    bytes: int


class Pause(NamedTuple):
    """One order: at most how long it took by the gateway's clock, and by the clock of whoever gave it."""

    entry: int
    at_us: int
    took_us: int
    drill: bool
    measured: int | None
    last_byte_us: int | None


class Told(NamedTuple):
    """One entry that somebody made by hand, whole."""

    entry: int
    kind: str
    at_us: int
    fields: dict[str, Any]


class Lost(NamedTuple):
    """Entries that are not there any more, written between two moments; `entry` says so."""

    entry: int
    from_us: int
    to_us: int
    why: str


@dataclass(frozen=True, slots=True)
class Known:
    """All that was known of a vendor. `size` entries had been written by then."""

    vendor: str
    as_of_us: int
    size: int
    since_us: int  # when the vendor was entered
    lost: list[Lost]
    pulses: dict[int, Pulse]  # by day
    unnamed: list[tuple[int, int]]  # (at, entry)
    refusals: list[tuple[int, int, str]]  # (at, entry, rule)
    sessions: list[Session]
    touches: list[tuple[int, int, str]]  # (at, entry, session): its first read of a tier-1 asset that day
    unsure: list[tuple[int, int, int]]  # (at of the access, its entry, the outcome's entry)
    flights: list[Flight]
    raised: list[tuple[int, int, str]]  # (at, entry, tier)
    copies: dict[int, tuple[str, int, int]]  # copy -> (asset, version, length)
    grown: list[tuple[int, int, int, int]]  # (at, entry, copy, bytes)
    pauses: list[Pause]
    people: list[tuple[str, int, int | None, int | None]]  # (pseudonym, from, until, the entry that ended them)
    grants: dict[str, list[tuple[int, int, int]]]  # project -> (entry, from, until), of this vendor's holders
    served: dict[str, list[tuple[int, int]]]  # project -> (at, entry) of each day's first read
    told: dict[str, list[Told]] = field(default_factory=dict)  # by kind

    def of(self, kind: str) -> list[Told]:
        """The entries of one kind, in the log's order."""
        return self.told.get(kind, [])


def read(connection: sqlite3.Connection, log: Log, vendor: str, as_of_us: int) -> Known | None:
    """What was known of a vendor; None if it was not entered by then."""
    key = {"vendor": vendor, "as_of": as_of_us, "minute": as_of_us // MINUTE_US}
    since = connection.execute("SELECT at_us FROM vendor WHERE id = :vendor AND at_us <= :as_of", key).fetchone()
    if since is None:
        return None
    size, late = _last_minute(connection, log, vendor, as_of_us)

    def rows(sql: str) -> list[Any]:
        return connection.execute(sql, key).fetchall()

    return Known(
        vendor=vendor,
        as_of_us=as_of_us,
        size=size,
        since_us=since["at_us"],
        lost=[Lost(*row) for row in rows("SELECT entry, from_us, at_us, why FROM lost WHERE at_us <= :as_of ORDER BY entry")],
        pulses=_pulses(rows(_PULSES), late),
        unnamed=[(row["at_us"], row["entry"]) for row in rows(_UNNAMED)],
        refusals=[(row["at_us"], row["entry"], row["rule"]) for row in rows(_REFUSALS)],
        sessions=[
            Session(row["id"], bool(row["hardware"]), row["entry"], row["at_us"], row["length_us"], row["ended_us"])
            for row in rows(_SESSIONS)
        ],
        touches=[(row["at_us"], row["entry"], row["session"]) for row in rows(_TOUCHES)],
        unsure=[(row["at_us"], row["entry"], row["outcome"]) for row in rows(_UNSURE)],
        flights=_flights(connection, rows(_FLIGHTS), late),
        raised=[(row["at_us"], row["entry"], row["tier"]) for row in rows(_RAISED)],
        copies={row["id"]: (row["asset"], row["version"], row["length"]) for row in rows(_COPIES)},
        grown=[(row["at_us"], row["entry"], row["copy"], row["bytes"]) for row in rows(_GROWN)],
        pauses=[
            Pause(row["entry"], row["at_us"], row["took_us"], bool(row["drill"]), row["measured"], row["last_byte_us"])
            for row in rows(_PAUSES)
        ],
        people=[(row["name"], row["at_us"], row["until_us"], row["ended"]) for row in rows(_PEOPLE)],
        grants=_by_project(rows(_GRANTS), "entry", "at_us", "until_us"),
        served=_by_project(rows(_SERVED), "at_us", "entry"),
        told=_told(rows(_TOLD)),
    )


def vendors(connection: sqlite3.Connection, as_of_us: int) -> list[str]:
    """Every vendor that was entered by then, by name."""
    found = connection.execute("SELECT id FROM vendor WHERE at_us <= :as_of ORDER BY id", {"as_of": as_of_us})
    return [row["id"] for row in found]


_PULSES = (
    "SELECT minute / 1440 AS day, sum(accesses) AS accesses, min(first) AS first, max(last) AS last FROM pulse"
    " WHERE vendor = :vendor AND minute < :minute GROUP BY day"
)
_UNNAMED = "SELECT at_us, entry FROM unnamed WHERE vendor = :vendor AND at_us <= :as_of ORDER BY entry"
_REFUSALS = "SELECT at_us, entry, rule FROM refusal WHERE vendor = :vendor AND at_us <= :as_of ORDER BY entry"
_SESSIONS = (
    "SELECT id, hardware, entry, at_us, length_us, CASE WHEN ended_us <= :as_of THEN ended_us END AS ended_us FROM session"
    " WHERE vendor = :vendor AND at_us <= :as_of ORDER BY entry"
)
_TOUCHES = "SELECT at_us, entry, session FROM touch WHERE vendor = :vendor AND at_us <= :as_of ORDER BY entry"
_UNSURE = "SELECT at_us, entry, outcome FROM unsure WHERE vendor = :vendor AND told_us <= :as_of ORDER BY entry"
_FLIGHTS = (
    "SELECT entry, at_us, copy, parts FROM flight WHERE vendor = :vendor AND at_us <= :as_of"
    " AND (closed_us IS NULL OR closed_us > :as_of) ORDER BY entry"
)
_RAISED = "SELECT at_us, entry, tier FROM raised WHERE at_us <= :as_of ORDER BY entry"
_COPIES = (
    "SELECT c.id, c.asset, c.version, coalesce(v.length, 0) AS length FROM copy c"
    " LEFT JOIN version v ON v.asset = c.asset AND v.number = c.version WHERE c.vendor = :vendor"
)
_GROWN = (
    "SELECT g.at_us, g.entry, g.copy, g.bytes FROM grown g JOIN copy c ON c.id = g.copy"
    " WHERE c.vendor = :vendor AND g.at_us <= :as_of ORDER BY g.entry"
)
_PAUSES = (
    "SELECT entry, at_us, took_us, drill, CASE WHEN measured_us <= :as_of THEN measured END AS measured,"
    " CASE WHEN measured_us <= :as_of THEN last_byte_us END AS last_byte_us FROM pause"
    " WHERE vendor = :vendor AND at_us <= :as_of ORDER BY entry"
)
_PEOPLE = (
    "SELECT name, at_us, CASE WHEN ended_us <= :as_of THEN ended_us END AS until_us,"
    " CASE WHEN ended_us <= :as_of THEN ended END AS ended FROM holder"
    " WHERE vendor = :vendor AND at_us <= :as_of ORDER BY entry"
)
# An older entry does not say whose grant it is: it is the vendor's if one of its sessions was opened under that pseudonym.
_GRANTS = (
    "SELECT project, entry, at_us, min(expires_us, CASE WHEN ended_us <= :as_of THEN ended_us ELSE expires_us END) AS until_us"
    " FROM granted g WHERE at_us <= :as_of AND (vendor = :vendor OR (vendor IS NULL AND EXISTS (SELECT 1 FROM session s"
    " WHERE s.vendor = :vendor AND s.who = g.holder AND s.project = g.project AND s.at_us <= :as_of))) ORDER BY entry"
)
_SERVED = "SELECT project, at_us, entry FROM served WHERE vendor = :vendor AND at_us <= :as_of ORDER BY entry"
_TOLD = "SELECT entry, kind, at_us, fields FROM told WHERE vendor IN (:vendor, '') AND at_us <= :as_of ORDER BY entry"


@dataclass(slots=True)
class _Late:
    """What the entries of the moment's own minute say, as far as they were written by then."""

    day: int
    accesses: list[int] = field(default_factory=list)
    open: dict[int, dict[str, Any]] = field(default_factory=dict)  # intents without their outcome


def _last_minute(connection: sqlite3.Connection, log: Log, vendor: str, as_of_us: int) -> tuple[int, _Late]:
    """How many entries had been written, and what the last minute's say of a vendor."""
    minute = as_of_us // MINUTE_US
    late = _Late(as_of_us // DAY_US)
    upto = int(connection.execute("SELECT value FROM note WHERE name = 'upto'").fetchone()["value"])
    before = connection.execute(
        "SELECT first, (SELECT min(later.first) FROM run later WHERE later.first > run.first) AS next FROM run"
        " WHERE minute < :minute ORDER BY first DESC LIMIT 1",
        {"minute": minute},
    ).fetchone()
    size = 0 if before is None else upto if before["next"] is None else int(before["next"])
    runs = connection.execute(
        "SELECT first, (SELECT min(later.first) FROM run later WHERE later.first > run.first) AS next FROM run"
        " WHERE minute = :minute ORDER BY first",
        {"minute": minute},
    ).fetchall()
    for run in runs:
        for index, raw in log.entries(run["first"], upto if run["next"] is None else run["next"]):
            entry = decode(raw)
            if time_of(entry) > as_of_us:
                continue
            size = max(size, index + 1)
            if entry["kind"] in {"access.intent", "access.refusal"} and entry.get("vendor") == vendor:
                if entry["action"] != "session":
                    late.accesses.append(index)
                if entry["kind"] == "access.intent" and needs_outcome(entry):
                    late.open[index] = entry
            elif entry["kind"] == "access.outcome":
                late.open.pop(entry["of"], None)
    return size, late


def _pulses(rows: list[Any], late: _Late) -> dict[int, Pulse]:
    found = {row["day"]: Pulse(row["accesses"], row["first"], row["last"]) for row in rows}
    if late.accesses:
        before = found.get(late.day, Pulse(0, late.accesses[0], late.accesses[0]))
        found[late.day] = Pulse(
            before.accesses + len(late.accesses), min(before.first, late.accesses[0]), max(before.last, late.accesses[-1])
        )
    return found


def _flights(connection: sqlite3.Connection, rows: list[Any], late: _Late) -> list[Flight]:
    """Those of the table, and those whose row is gone: closed within the moment's own minute, but after the moment."""
    found = {row["entry"]: Flight(row["entry"], row["at_us"], row["copy"], _bytes(json.loads(row["parts"]))) for row in rows}
    for entry, intent in late.open.items():
        if entry not in found:
            copy = find_copy(connection, intent)
            found[entry] = Flight(entry, time_of(intent), copy, _bytes(covered(intent)) if copy is not None else 0)
    return [found[entry] for entry in sorted(found)]


def _bytes(parts: Iterable[Sequence[Any]]) -> int:
    return sum(end - start for _, start, end in parts)


def _by_project(rows: list[Any], *names: str) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(row["project"], []).append(tuple(row[name] for name in names))
    return found


def _told(rows: list[Any]) -> dict[str, list[Told]]:
    found: dict[str, list[Told]] = {}
    for row in rows:
        found.setdefault(row["kind"], []).append(Told(row["entry"], row["kind"], row["at_us"], json.loads(row["fields"])))
    return found
