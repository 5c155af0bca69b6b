"""What followed from advisories, out of the log: policies, actions, who approved or declined, and what was ordered.

An action is *taken* once nobody has to approve it, or enough different people have. Its orders name it as their cause, so that
an order that a crash held up is given by the next start, and one that somebody lifted is not given again.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from limen.assurance.match.act import Act, Consequence, Day, Policy, Proposal
from limen.filing import time_of
from limen.formats.purl import Package

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence

    from limen.derived import Derived

CAUSE: Final = "advisory.action "
DAY_US: Final = 86_400_000_000
NAMED: Final = 20  # of ids, feeds and BOMs, in an entry
VENDORS_NAMED: Final = 100
_SCHEMA: Final = """
CREATE TABLE policy (
    entry INTEGER PRIMARY KEY, vendor TEXT NOT NULL, act TEXT NOT NULL, read_only INTEGER NOT NULL, projects TEXT NOT NULL
) STRICT;
CREATE TABLE action (
    entry INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, needs INTEGER NOT NULL, trusted INTEGER NOT NULL, flood INTEGER NOT NULL,
    why TEXT NOT NULL, vendors TEXT NOT NULL, feeds TEXT NOT NULL, declined INTEGER
) STRICT;
CREATE TABLE named (action INTEGER NOT NULL, id TEXT NOT NULL, PRIMARY KEY (action, id)) STRICT, WITHOUT ROWID;
CREATE TABLE struck (
    action INTEGER NOT NULL, vendor TEXT NOT NULL, ecosystem TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL,
    PRIMARY KEY (action, vendor, ecosystem, name, version)
) STRICT, WITHOUT ROWID;
CREATE TABLE approval (
    entry INTEGER PRIMARY KEY, action INTEGER NOT NULL, at_us INTEGER NOT NULL, acting TEXT NOT NULL, shown TEXT NOT NULL
) STRICT;
CREATE TABLE ordered (entry INTEGER PRIMARY KEY, vendor TEXT NOT NULL, kind TEXT NOT NULL, action INTEGER) STRICT
"""
_POLICY: Final = "SELECT * FROM policy WHERE vendor = :vendor ORDER BY entry DESC LIMIT 1"
_POLICIES: Final = "SELECT * FROM policy WHERE entry IN (SELECT max(entry) FROM policy GROUP BY vendor) ORDER BY vendor"
_ACTIONS: Final = "SELECT * FROM action WHERE entry = coalesce(:entry, entry) ORDER BY entry"
_APPROVALS: Final = "SELECT entry, at_us, acting, shown FROM approval WHERE action = :action ORDER BY entry"
_STRUCK: Final = (
    "SELECT vendor, ecosystem, name, version FROM struck WHERE action = :action ORDER BY vendor, ecosystem, name, version"
)
_NAMED: Final = "SELECT id FROM named WHERE action = :action ORDER BY id"
_ORDERED: Final = """
SELECT max(entry) AS entry FROM ordered
WHERE vendor = :vendor AND (action = :action OR (kind = 'pause' AND :act = 'pause' AND entry > :since))
"""


class ActionsFold:
    """`actions.db`. An action's components and ids lie in the blob that its entry names."""

    name = "actions"
    version = 1
    schema = _SCHEMA
    kinds: Sequence[str] = (
        "advisory.policy",
        "advisory.action",
        "advisory.approve",
        "advisory.decline",
        "restrict.order",
        "pause.order",
    )

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read

    def add(self, connection: sqlite3.Connection, index: int, entry: dict[str, Any]) -> None:
        """Take one entry in."""
        match entry["kind"]:
            case "advisory.policy":
                connection.execute(
                    "INSERT INTO policy VALUES (:entry, :vendor, :act, :read_only, :projects)",
                    {
                        "entry": index,
                        "vendor": entry["vendor"],
                        "act": entry["act"],
                        "read_only": int(entry["read_only"]),
                        "projects": json.dumps(entry["projects"]),
                    },
                )
            case "advisory.action":
                self._action(connection, index, entry)
            case "advisory.approve":
                connection.execute(
                    "INSERT INTO approval VALUES (:entry, :action, :at_us, :acting, :shown)",
                    {
                        "entry": index,
                        "action": entry["action"],
                        "at_us": time_of(entry),
                        "acting": entry["acting"],
                        "shown": entry["shown"],
                    },
                )
            case "advisory.decline":
                connection.execute(
                    "UPDATE action SET declined = :entry WHERE entry = :action AND declined IS NULL",
                    {"entry": index, "action": entry["action"]},
                )
            case _:
                _order(connection, index, entry)

    def _action(self, connection: sqlite3.Connection, index: int, entry: dict[str, Any]) -> None:
        held = json.loads(self._read(entry["digest"]))
        connection.execute(
            "INSERT INTO action VALUES (:entry, :at_us, :needs, :trusted, :flood, :why, :vendors, :feeds, NULL)",
            {
                "entry": index,
                "at_us": time_of(entry),
                "needs": entry["needs"],
                "trusted": int(entry["trusted"]),
                "flood": int(entry["flood"]),
                "why": json.dumps(entry["why"]),
                "vendors": json.dumps(held["vendors"]),
                "feeds": json.dumps(held["feeds"]),
            },
        )
        connection.executemany("INSERT INTO named VALUES (?, ?)", [(index, each) for each in held["ids"]])
        connection.executemany("INSERT INTO struck VALUES (?, ?, ?, ?, ?)", [(index, *each) for each in held["struck"]])


def _order(connection: sqlite3.Connection, index: int, entry: dict[str, Any]) -> None:
    kind, _, name = entry["subject"].partition("/")
    if kind != "vendor":
        return
    cause = str(entry.get("cause", ""))
    action = cause.removeprefix(CAUSE) if cause.startswith(CAUSE) else ""
    connection.execute(
        "INSERT INTO ordered VALUES (:entry, :vendor, :kind, :action)",
        {
            "entry": index,
            "vendor": name,
            "kind": entry["kind"].partition(".")[0],
            "action": int(action) if action.isdecimal() else None,
        },
    )


def fields(proposal: Proposal) -> tuple[dict[str, Any], dict[str, Any]]:
    """A proposal as its entry's fields, which name the first of what there is much of, and as its blob, which has it all."""
    vendors = [_told(each) for each in proposal.vendors]
    feeds = sorted({strike.feed for strike in proposal.strikes})
    boms = sorted({strike.bom for strike in proposal.strikes})
    struck = sorted({(strike.vendor, *strike.package, strike.version) for strike in proposal.strikes})
    ids = sorted(proposal.ids, key=lambda each: (not each.startswith("MAL-"), each))
    named = {
        "ids": ids[:NAMED],
        "ids_count": len(ids),
        "vendors": vendors[:VENDORS_NAMED],
        "vendors_count": len(vendors),
        "feeds": feeds[-NAMED:],
        "boms": boms[-NAMED:],
        "needs": proposal.needs,
        "trusted": proposal.trusted,
        "flood": proposal.flood,
        "why": list(proposal.why),
    }
    return named, {
        "v": 1,
        "ids": ids,
        "vendors": vendors,
        "struck": [list(each) for each in struck],
        "feeds": feeds,
        "boms": boms,
    }


def _told(each: Consequence) -> dict[str, Any]:
    told: dict[str, Any] = {"vendor": each.vendor, "act": each.act.value, "people": each.people}
    if each.act is Act.RESTRICT:
        told |= {"read_only": each.read_only, "projects": list(each.projects)}
    return told


@dataclass(frozen=True, slots=True)
class Approval:
    """One person's word, by their pseudonym outside any project, and how they were known."""

    entry: int
    at_us: int
    acting: str
    shown: str


@dataclass(frozen=True, slots=True)
class Action:
    """One action, and what became of it. `ordered` has a vendor's order (its entry) once it was given."""

    entry: int
    at_us: int
    needs: int
    trusted: bool
    flood: bool
    why: tuple[str, ...]
    ids: tuple[str, ...]
    vendors: tuple[Consequence, ...]
    struck: tuple[tuple[str, Package, str], ...]
    feeds: tuple[int, ...]
    approvals: tuple[Approval, ...]
    declined: int | None
    ordered: dict[str, int]

    @property
    def state(self) -> str:
        """`taken`, `waiting` or `declined`."""
        if self.declined is not None:
            return "declined"
        return "taken" if len({each.acting for each in self.approvals}) >= self.needs else "waiting"

    @property
    def due(self) -> tuple[Consequence, ...]:
        """What it decided and nobody has ordered yet."""
        if self.state != "taken":
            return ()
        return tuple(each for each in self.vendors if each.act is not Act.NOTIFY and each.vendor not in self.ordered)


class Actions:
    """Questions to `actions.db`. From any thread."""

    def __init__(self, derived: Derived) -> None:
        self._derived = derived

    def policy(self, vendor: str) -> Policy:
        """What a hit at a vendor leads to; the default if nobody ever decided."""
        with self._derived.reading() as connection:
            row = connection.execute(_POLICY, {"vendor": vendor}).fetchone()
        return Policy() if row is None else _policy(row)

    def policies(self) -> dict[str, Policy]:
        """The policies that somebody decided, by vendor."""
        with self._derived.reading() as connection:
            return {row["vendor"]: _policy(row) for row in connection.execute(_POLICIES)}

    def all(self, entry: int | None = None) -> list[Action]:
        """The actions in the log's order; or the one of an entry, if it is one."""
        with self._derived.reading() as connection:
            return [_action(connection, row) for row in connection.execute(_ACTIONS, {"entry": entry}).fetchall()]

    def close(self) -> None:
        """Close the file."""
        self._derived.close()


def done(actions: Iterable[Action]) -> dict[tuple[str, Package, str], list[tuple[frozenset[str], bool]]]:
    """By vendor and component: the ids of each action about it, and whether its source was trusted."""
    found: dict[tuple[str, Package, str], list[tuple[frozenset[str], bool]]] = defaultdict(list)
    for action in actions:
        ids = frozenset(action.ids)
        for each in action.struck:
            found[each].append((ids, action.trusted))
    return found


def day(actions: Sequence[Action], now_us: int) -> Day:
    """What was done by itself so far in the UTC day of a moment."""
    today = Day(set())
    for action in actions:
        if action.at_us // DAY_US != now_us // DAY_US:
            continue
        today.trusted, today.untrusted = today.trusted + action.trusted, today.untrusted + (not action.trusted)
        if not action.needs:
            for each in action.vendors:
                if each.act is not Act.NOTIFY and each.vendor not in today.vendors:
                    today.vendors.add(each.vendor)
                    today.people += each.people
    return today


def _action(connection: sqlite3.Connection, row: sqlite3.Row) -> Action:
    entry = {"action": row["entry"]}
    approvals = tuple(Approval(**dict(each)) for each in connection.execute(_APPROVALS, entry))
    since = approvals[row["needs"] - 1].entry if 0 < row["needs"] <= len(approvals) else row["entry"]
    vendors = tuple(_consequence(each) for each in json.loads(row["vendors"]))
    ordered: dict[str, int] = {}
    for each in vendors:
        asked = {**entry, "vendor": each.vendor, "act": each.act.value, "since": since}
        if (order := connection.execute(_ORDERED, asked).fetchone()["entry"]) is not None:
            ordered[each.vendor] = order
    return Action(
        entry=row["entry"],
        at_us=row["at_us"],
        needs=row["needs"],
        trusted=bool(row["trusted"]),
        flood=bool(row["flood"]),
        why=tuple(json.loads(row["why"])),
        ids=tuple(each["id"] for each in connection.execute(_NAMED, entry)),
        vendors=vendors,
        struck=tuple(
            (each["vendor"], Package(each["ecosystem"], each["name"]), each["version"])
            for each in connection.execute(_STRUCK, entry)
        ),
        feeds=tuple(json.loads(row["feeds"])),
        approvals=approvals,
        declined=row["declined"],
        ordered=ordered,
    )


def _consequence(told: dict[str, Any]) -> Consequence:
    return Consequence(
        told["vendor"],
        Act(told["act"]),
        told["people"],
        read_only=bool(told.get("read_only")),
        projects=tuple(told.get("projects", ())),
    )


def _policy(row: sqlite3.Row) -> Policy:
    return Policy(Act(row["act"]), bool(row["read_only"]), tuple(json.loads(row["projects"])), row["entry"])
