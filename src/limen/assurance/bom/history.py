"""Folds the log's BOMs into `boms.db`: which component was where at which vendor's, from when to when, as known when.

Components are stored once for all vendors and versions; a vendor's presence is a row for each stretch of time, not for each
BOM: two BOMs in a row that have the same component share its row. Rows carry two intervals. [`start_us`, `end_us`) is when
it was so; [`received_us`, `superseded_us`) is while that was what the lab knew: a later BOM that changes the picture, also of
an earlier time, closes rows and writes others, and deletes none. What was known at a time K, for any K, is

    WHERE received_us <= :k AND (superseded_us IS NULL OR superseded_us > :k)

and what is known now `WHERE superseded_us IS NULL`. A BOM speaks from its effective time to that of the next one in effective
order; of two with the same, the one received later. BOMs in quarantine have a row in `bom` and nothing else.

Nothing is judged here: the entry says what the judgement was. Bytes that are missing or not what was filed put a BOM into
quarantine here too, so that a damaged store never stops the fold.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from limen.assurance.bom.again import read_again
from limen.core.errors import LimenError
from limen.filing import time_of
from limen.formats.purl import Package

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence

    from limen.formats.cyclonedx import Document, Part, Service

SCHEMA: Final = """
CREATE TABLE package (id INTEGER PRIMARY KEY, ecosystem TEXT NOT NULL, name TEXT NOT NULL, UNIQUE (ecosystem, name)) STRICT;
CREATE TABLE component (
    id INTEGER PRIMARY KEY,
    package INTEGER REFERENCES package, -- NULL: no advisory can name it
    version TEXT NOT NULL,              -- as advisories write it, empty if it is not said
    purl TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,                 -- CycloneDX's type: library, container, ...
    stated TEXT NOT NULL,               -- the version in the BOM's words
    digests TEXT NOT NULL,              -- its hashes and the one that an image is pinned to, by commas: sha256:...
    key BLOB NOT NULL UNIQUE            -- of all that the BOM says of it
) STRICT;
CREATE INDEX component_package ON component (package);
CREATE TABLE presence (
    id INTEGER PRIMARY KEY,
    vendor TEXT NOT NULL,
    component INTEGER NOT NULL REFERENCES component,
    path TEXT NOT NULL,
    scope TEXT NOT NULL,
    start_us INTEGER NOT NULL,
    end_us INTEGER,                     -- NULL: the vendor's newest BOM has it
    bom INTEGER NOT NULL,               -- entry of the first BOM that has it in this stretch
    received_us INTEGER NOT NULL,
    superseded_us INTEGER               -- NULL: this is what is known now
) STRICT;
CREATE INDEX presence_vendor ON presence (vendor, superseded_us, end_us);
CREATE INDEX presence_component ON presence (component);
CREATE TABLE bom (
    entry INTEGER PRIMARY KEY,
    vendor TEXT NOT NULL,
    digest TEXT NOT NULL,
    length INTEGER NOT NULL,
    serial TEXT NOT NULL,
    version INTEGER NOT NULL,
    spec TEXT NOT NULL,
    effective_us INTEGER NOT NULL,
    received_us INTEGER NOT NULL,
    components INTEGER NOT NULL,
    unnamed INTEGER NOT NULL,
    complete INTEGER NOT NULL,
    why TEXT NOT NULL,
    gaps TEXT NOT NULL,                 -- a JSON list
    services TEXT NOT NULL,             -- a JSON list
    quarantined TEXT NOT NULL,          -- why nothing of it counts, empty if it counts
    applied INTEGER NOT NULL            -- whether its components are in presence
) STRICT;
CREATE INDEX bom_vendor ON bom (vendor, effective_us);
CREATE TABLE declared (vendor TEXT NOT NULL, name TEXT NOT NULL, bom INTEGER NOT NULL) STRICT;
CREATE TABLE binding (vendor TEXT NOT NULL, classification TEXT NOT NULL, class TEXT NOT NULL, bom INTEGER NOT NULL) STRICT
"""
_CURRENT: Final = """
SELECT c.key, p.path, p.scope, p.id, p.component, p.start_us, p.end_us, p.bom, p.received_us
FROM presence p JOIN component c ON c.id = p.component
WHERE p.vendor = :vendor AND p.superseded_us IS NULL AND (p.end_us IS NULL OR p.end_us >= :start) AND p.start_us <= :until
"""


class Place(NamedTuple):
    """A component, by its key, at a place: what makes two BOMs say the same."""

    key: bytes
    path: str
    scope: str


class Row(NamedTuple):
    """A presence that is known now."""

    id: int
    component: int
    start_us: int
    end_us: int | None
    bom: int
    received_us: int


@dataclass(frozen=True, slots=True)
class Taking:
    """A BOM on its way into the history: `next_us` and `next_bom` are those of the first one that is effective after it."""

    vendor: str
    entry: int
    effective_us: int
    received_us: int
    next_us: int | None
    next_bom: int | None


class History:
    """The fold. `read` gives a blob's bytes by its digest."""

    name = "boms"
    version = 2
    schema = SCHEMA
    kinds: Sequence[str] = ("bom.add",)

    def __init__(self, read: Callable[[str], bytes]) -> None:
        self._read = read
        self._judged: tuple[str, Document] | None = None

    def expect(self, digest: str, document: Document) -> None:
        """Take the content of bytes with this digest as read: whoever filed them has just judged them, so once is enough."""
        self._judged = (digest, document)

    def add(self, connection: sqlite3.Connection, index: int, entry: dict[str, Any]) -> None:
        """Take one BOM in, wherever in the vendor's history it belongs."""
        vendor, received = entry["vendor"], time_of(entry)
        document, reason = self._document(entry["digest"]) if not entry["quarantined"] else (None, entry["quarantined"])
        effective = entry.get("effective_us")
        if effective is None:
            effective = entry.get("timestamp_us")
        row = {
            "entry": index,
            "vendor": vendor,
            "digest": entry["digest"],
            "length": entry["length"],
            "serial": entry.get("serial", ""),
            "version": entry.get("version", 0),
            "spec": entry.get("spec", ""),
            # What is to come can't have been so: a clock ahead of ours must not push a BOM out of sight.
            "effective": received if effective is None else min(effective, received),
            "received": received,
            "components": entry.get("components", 0),
            "unnamed": entry.get("unnamed", 0),
            "complete": int(entry.get("complete", False)),
            "why": entry.get("why", ""),
            "gaps": json.dumps(entry.get("gaps", [])),
            "services": _services(document.services if document else ()),
            "quarantined": reason,
        }
        later = connection.execute(
            "SELECT 1 FROM bom WHERE vendor = :vendor AND applied = 1 AND received_us > :received LIMIT 1", row
        ).fetchone()
        connection.execute(
            "INSERT INTO bom VALUES (:entry, :vendor, :digest, :length, :serial, :version, :spec, :effective, :received,"
            " :components, :unnamed, :complete, :why, :gaps, :services, :quarantined, 0)",
            row,
        )
        for name in entry.get("declared", ()):
            connection.execute("INSERT INTO declared VALUES (:vendor, :name, :bom)", {**row, "name": name, "bom": index})
        for classification, name in entry.get("classes", ()):
            values = {"vendor": vendor, "classification": classification, "class": name, "bom": index}
            connection.execute("INSERT INTO binding VALUES (:vendor, :classification, :class, :bom)", values)
        if document is None:
            return
        if later is not None:  # the clock was set back between two of them: told again in the order of their times
            self._retell(connection, vendor)
        else:
            _apply(connection, vendor, index, document.parts)

    def _retell(self, connection: sqlite3.Connection, vendor: str) -> None:
        connection.execute("DELETE FROM presence WHERE vendor = :vendor", {"vendor": vendor})
        connection.execute("UPDATE bom SET applied = 0 WHERE vendor = :vendor", {"vendor": vendor})
        rows = connection.execute(
            "SELECT entry, digest FROM bom WHERE vendor = :vendor AND quarantined = '' ORDER BY received_us, entry",
            {"vendor": vendor},
        ).fetchall()
        for entry, digest in rows:
            document, reason = self._document(digest)
            if document is None:
                connection.execute(
                    "UPDATE bom SET quarantined = :reason WHERE entry = :entry", {"reason": reason, "entry": entry}
                )
            else:
                _apply(connection, vendor, entry, document.parts)

    def _document(self, digest: str) -> tuple[Document | None, str]:
        """A filed BOM's content; None and the reason if its bytes are not what was judged when it was filed."""
        judged, self._judged = self._judged, None
        if judged is not None and judged[0] == digest:
            return judged[1], ""
        try:
            raw = self._read(digest)
        except (LimenError, OSError):
            return None, "its bytes are missing from the store: restore them from a backup, or ask the vendor again"
        if hashlib.sha256(raw).hexdigest() != digest:
            return None, "its bytes in the store are not those that were filed: restore them from a backup"
        try:
            return read_again(raw), ""
        except (LimenError, ValueError, RecursionError) as e:
            return None, f"its bytes can't be read any more: {e}"


def _services(services: Iterable[Service]) -> str:
    return json.dumps([[*service[:-1], [list(data) for data in service.data]] for service in services])


def _apply(connection: sqlite3.Connection, vendor: str, entry: int, parts: Iterable[Part]) -> None:
    """Let a BOM, received after all that are applied, speak from its effective time to the next one's."""
    taking = _taking(connection, vendor, entry)
    start, until = taking.effective_us, taking.next_us
    known = _Known.at(connection, taking)
    has = {Place(_key(part), part.path, part.scope): part for part in parts}
    new = {place: part for place, part in has.items() if place not in known.there}
    components = _components(connection, {place.key: part for place, part in new.items()})
    book = _Book(connection, taking)
    for place, row in known.there.items():
        if place not in has:
            book.close(row)
            book.note(place, row.component, row.start_us, start, row.bom)
            if until is not None and taking.next_bom is not None and (row.end_us is None or row.end_us > until):
                book.note(place, row.component, until, row.end_us, taking.next_bom)
    for place in new:
        before, after = known.ending.get(place), known.beginning.get(place)
        for beside in filter(None, (before, after)):
            book.close(beside)
        first, since = (before.bom, before.start_us) if before else (entry, start)
        book.note(place, components[place.key], since, after.end_us if after else until, first)
    book.write()
    connection.execute("UPDATE bom SET applied = 1 WHERE entry = :entry", {"entry": entry})


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known around a BOM's stretch: `there` at its start, `ending` just then, `beginning` with the next BOM."""

    there: dict[Place, Row]
    ending: dict[Place, Row]
    beginning: dict[Place, Row]

    @classmethod
    def at(cls, connection: sqlite3.Connection, taking: Taking) -> _Known:
        start, until = taking.effective_us, taking.next_us
        known = cls({}, {}, {})
        values = {"vendor": taking.vendor, "start": start, "until": start if until is None else until}
        for found in connection.execute(_CURRENT, values):
            place, row = Place(*found[:3]), Row(*found[3:])
            if row.end_us == start:
                known.ending[place] = row
            elif row.start_us <= start:
                known.there[place] = row
            elif row.start_us == until:
                known.beginning[place] = row
        return known


def _taking(connection: sqlite3.Connection, vendor: str, entry: int) -> Taking:
    own = connection.execute("SELECT effective_us, received_us FROM bom WHERE entry = :entry", {"entry": entry}).fetchone()
    following = connection.execute(
        "SELECT effective_us, entry FROM bom WHERE vendor = :vendor AND applied = 1 AND effective_us > :effective"
        " ORDER BY effective_us, received_us DESC, entry DESC LIMIT 1",
        {"vendor": vendor, "effective": own[0]},
    ).fetchone()
    return Taking(vendor, entry, own[0], own[1], *(following or (None, None)))


def _key(part: Part) -> bytes:
    """What stands for a component: half a SHA-256, so that nobody makes two that have the same."""
    return hashlib.sha256(repr((part.purl, part.name, part.version, part.kind, part.digests)).encode()).digest()[:16]


def _components(connection: sqlite3.Connection, parts: dict[bytes, Part]) -> dict[bytes, int]:
    """The ids of components by their keys; those that are new are stored."""
    find = "SELECT id FROM component WHERE key = ?"
    ids = {key: row[0] for key in parts if (row := connection.execute(find, (key,)).fetchone()) is not None}
    new = {key: part for key, part in parts.items() if key not in ids}
    if not new:
        return ids
    named = {key: part.package() for key, part in new.items()}
    packages = _packages(connection, {found[0] for found in named.values() if found})
    first = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM component").fetchone()[0]
    rows = []
    for number, (key, part) in enumerate(new.items(), start=first):
        found = named[key]
        package, version = (packages[found[0]], found[1]) if found else (None, part.version)
        digests = ",".join(part.all_digests())
        rows.append((number, package, version, part.purl, part.name, part.kind, part.version, digests, key))
        ids[key] = number
    connection.executemany("INSERT INTO component VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    return ids


def _packages(connection: sqlite3.Connection, packages: set[Package]) -> dict[Package, int]:
    """The ids of packages; those that are new are stored, in the order of their names: the same log gives the same ids."""
    first = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM package").fetchone()[0]
    connection.executemany("INSERT OR IGNORE INTO package (ecosystem, name) VALUES (?, ?)", sorted(packages))
    query = "SELECT ecosystem, name, id FROM package WHERE id >= ?"
    ids = {Package(row[0], row[1]): row[2] for row in connection.execute(query, (first,))}
    for package in packages - ids.keys():
        row = connection.execute("SELECT id FROM package WHERE ecosystem = ? AND name = ?", package).fetchone()
        ids[package] = row[0]
    return ids


class _Book:
    """Writes one BOM's changes to the tables."""

    def __init__(self, connection: sqlite3.Connection, taking: Taking) -> None:
        self._connection = connection
        self._taking = taking
        self._closed: list[tuple[int]] = []
        self._gone: list[tuple[int]] = []
        self._new: list[tuple[object, ...]] = []

    def close(self, row: Row) -> None:
        """A row is not what is known any more. One that was known for no time at all goes."""
        (self._gone if row.received_us == self._taking.received_us else self._closed).append((row.id,))

    def note(self, place: Place, component: int, start_us: int, end_us: int | None, bom: int) -> None:
        """A component is there in [start, end), as is known from now on."""
        if end_us is None or start_us < end_us:
            taking = self._taking
            self._new.append((taking.vendor, component, place.path, place.scope, start_us, end_us, bom, taking.received_us))

    def write(self) -> None:
        """Write what was closed and noted."""
        closing = f"UPDATE presence SET superseded_us = {int(self._taking.received_us)} WHERE id = ?"  # noqa: S608  an integer
        self._connection.executemany(closing, self._closed)
        self._connection.executemany("DELETE FROM presence WHERE id = ?", self._gone)
        self._connection.executemany(
            "INSERT INTO presence (vendor, component, path, scope, start_us, end_us, bom, received_us)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            self._new,
        )
