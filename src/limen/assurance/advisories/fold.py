"""Folds the log's feeds, windows and VEX documents into `advisories.db`: which record said what, and as known when.

A *revision* is one state of one record, by the digest of its bytes; the same bytes again are the same revision. All are kept.
Which revision of a record stands is told by two tracks: `any` (0), the newest that anybody brought, and `signed` (1), the newest
that a named source signed. Both count, so that an unsigned feed can add to what a signed one said and never take from it.
Newest is the latest `modified`, which for this purpose is never later than the record's arrival: a record from the future
would outlive its own correction.

Rows that can end carry [`from_us`, `until_us`): while that was what the lab knew. What was known at a time K is

    WHERE from_us <= :k AND (until_us IS NULL OR until_us > :k)

What is no record has a row in `quarantine`, with the reason and its place in the feed; nothing here fails over what bytes are.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from limen.assurance.advisories import feed
from limen.core.errors import Invalid, LimenError
from limen.core.events import canonical
from limen.filing import time_of
from limen.formats import vex
from limen.formats.osv import Advisory, Affected

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from limen.assurance.advisories.feed import Piece
    from limen.formats.purl import Package

ANY: Final = 0
SIGNED: Final = 1
SCHEMA: Final = """
CREATE TABLE feed (
    entry INTEGER PRIMARY KEY,
    received_us INTEGER NOT NULL,
    source TEXT NOT NULL,
    signed INTEGER NOT NULL,
    key TEXT NOT NULL,                  -- fingerprint, empty if unsigned
    digest TEXT NOT NULL,
    length INTEGER NOT NULL,
    records INTEGER NOT NULL,
    fresh INTEGER NOT NULL,             -- revisions that nobody had brought before
    quarantined INTEGER NOT NULL
) STRICT;
CREATE INDEX feed_digest ON feed (digest);
CREATE TABLE record (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT; -- also of ids that are only aliases so far
CREATE TABLE revision (
    id INTEGER PRIMARY KEY,
    record INTEGER NOT NULL REFERENCES record,
    number INTEGER NOT NULL,            -- of this record's, from 1, by arrival
    digest BLOB NOT NULL UNIQUE,
    feed INTEGER NOT NULL REFERENCES feed,
    offset INTEGER NOT NULL,
    length INTEGER NOT NULL,
    crc INTEGER,
    received_us INTEGER NOT NULL,
    modified_us INTEGER NOT NULL,
    published_us INTEGER,
    withdrawn_us INTEGER,
    malicious INTEGER NOT NULL,
    summary TEXT NOT NULL,
    UNIQUE (record, number)
) STRICT;
CREATE INDEX revision_feed ON revision (feed);
CREATE TABLE package (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, base TEXT NOT NULL, ecosystem TEXT NOT NULL, UNIQUE (name, ecosystem)
) STRICT;
CREATE TABLE affected (                 -- what a revision says of a package: one rule a row (formats.osv.Affected)
    package INTEGER NOT NULL, revision INTEGER NOT NULL, number INTEGER NOT NULL, rule TEXT NOT NULL,
    PRIMARY KEY (package, revision, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX affected_revision ON affected (revision);
CREATE TABLE digest (digest TEXT NOT NULL, revision INTEGER NOT NULL, PRIMARY KEY (digest, revision)) STRICT, WITHOUT ROWID;
CREATE TABLE alias (
    revision INTEGER NOT NULL, other INTEGER NOT NULL, PRIMARY KEY (revision, other)
) STRICT, WITHOUT ROWID;
CREATE INDEX alias_other ON alias (other);
CREATE TABLE carried (                  -- each source that brought a revision, at its first time
    revision INTEGER NOT NULL, source TEXT NOT NULL, signed INTEGER NOT NULL, feed INTEGER NOT NULL,
    PRIMARY KEY (revision, source, signed)
) STRICT, WITHOUT ROWID;
CREATE TABLE standing (
    record INTEGER NOT NULL, track INTEGER NOT NULL, revision INTEGER NOT NULL, from_us INTEGER NOT NULL, until_us INTEGER
) STRICT;
CREATE INDEX standing_record ON standing (record, track, until_us);
CREATE INDEX standing_revision ON standing (revision);
CREATE TABLE quarantine (
    feed INTEGER NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL, why TEXT NOT NULL,
    offset INTEGER NOT NULL, length INTEGER NOT NULL, crc INTEGER, PRIMARY KEY (feed, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE had (                      -- when something could be had, by one source in one channel
    entry INTEGER PRIMARY KEY, record INTEGER NOT NULL, channel TEXT NOT NULL, source TEXT NOT NULL, stated INTEGER NOT NULL,
    start_us INTEGER, end_us INTEGER, ecosystem TEXT NOT NULL, image TEXT NOT NULL, tag TEXT NOT NULL,
    from_us INTEGER NOT NULL, until_us INTEGER
) STRICT;
CREATE INDEX had_record ON had (record);
CREATE TABLE document (                 -- a VEX document
    entry INTEGER PRIMARY KEY, vendor TEXT NOT NULL, digest TEXT NOT NULL, form TEXT NOT NULL, name TEXT NOT NULL,
    issued_us INTEGER, received_us INTEGER NOT NULL, statements INTEGER NOT NULL, why TEXT NOT NULL
) STRICT;
CREATE TABLE statement (
    entry INTEGER NOT NULL, number INTEGER NOT NULL, vendor TEXT NOT NULL, record INTEGER NOT NULL, stated TEXT NOT NULL,
    PRIMARY KEY (record, vendor, entry, number)
) STRICT, WITHOUT ROWID
"""
_CURRENT: Final = """
SELECT s.rowid AS row, s.revision, min(r.modified_us, r.received_us) AS rank
FROM standing s JOIN revision r ON r.id = s.revision
WHERE s.record = :record AND s.track = :track AND s.until_us IS NULL
"""
_KNOWN: Final = "SELECT id, record, min(modified_us, received_us) AS rank FROM revision WHERE digest = ?"
_CACHE: Final = "PRAGMA cache_size = -65536"  # KiB, while a feed is taken in
_TEXT: Final = re.compile(r"[\x00-\x1f\x7f]")


class AdvisoriesFold:
    """`advisories.db`. Reads each feed once, from the blob that its entry names; `path` says where a digest's bytes lie."""

    name = "advisories"
    version = 1
    schema = SCHEMA
    kinds: Sequence[str] = ("advisory.feed", "advisory.window", "vex.add")

    def __init__(self, path: Callable[[str], Path]) -> None:
        self._path = path

    def add(self, connection: sqlite3.Connection, index: int, entry: dict[str, Any]) -> None:
        """Take one entry in."""
        match entry["kind"]:
            case "advisory.feed":
                connection.execute(_CACHE)
                _Taking(connection, index, entry).take(self._pieces(entry["digest"]))
            case "advisory.window":
                _window(connection, index, entry)
            case _:
                self._vex(connection, index, entry)

    def _pieces(self, digest: str) -> Any:
        try:
            yield from feed.pieces(self._path(digest))
        except (LimenError, OSError) as e:
            yield feed.Piece(b"", 0, 0, bad=f"the feed's bytes can't be read: {e}")

    def _vex(self, connection: sqlite3.Connection, index: int, entry: dict[str, Any]) -> None:
        why = ""
        try:
            read = vex.read(self._path(entry["digest"]).read_bytes())
        except (LimenError, OSError) as e:
            read, why = vex.Document("", "", None, ()), str(e)
        connection.execute(
            "INSERT INTO document VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                index,
                entry["vendor"],
                entry["digest"],
                read.form,
                read.name,
                read.issued_us,
                time_of(entry),
                len(read.statements),
                why,
            ),
        )
        for number, statement in enumerate(read.statements):
            stated = canonical(statement.to_json()).decode()
            for name in statement.names:
                connection.execute(
                    "INSERT OR IGNORE INTO statement VALUES (?, ?, ?, ?, ?)",
                    (index, number, entry["vendor"], record_of(connection, name), stated),
                )


def record_of(connection: sqlite3.Connection, name: str) -> int:
    """The row of an id, made if need be."""
    made = connection.execute("INSERT OR IGNORE INTO record (name) VALUES (?)", (name,))
    if made.rowcount:
        return int(made.lastrowid or 0)
    return int(connection.execute("SELECT id FROM record WHERE name = ?", (name,)).fetchone()[0])


def _window(connection: sqlite3.Connection, index: int, entry: dict[str, Any]) -> None:
    """A source's newer word about the same thing takes the place of its older one; without times, it takes it back."""
    record, at = record_of(connection, entry["advisory"]), time_of(entry)
    names = {
        "record": record,
        "channel": entry["channel"],
        "source": entry["source"],
        "image": entry["image"],
        "tag": entry["tag"],
        "at": at,
    }
    connection.execute(
        "UPDATE had SET until_us = :at WHERE record = :record AND channel = :channel AND source = :source"
        " AND image = :image AND tag = :tag AND until_us IS NULL",
        names,
    )
    connection.execute(
        "INSERT INTO had VALUES"
        " (:entry, :record, :channel, :source, :stated, :start_us, :end_us, :ecosystem, :image, :tag, :at, NULL)",
        {
            **names,
            "entry": index,
            "stated": int(entry["from"] is not None),
            "start_us": entry["from"],
            "end_us": entry["to"],
            "ecosystem": entry["ecosystem"],
        },
    )


class _Taking:
    """One feed on its way in."""

    def __init__(self, connection: sqlite3.Connection, index: int, entry: dict[str, Any]) -> None:
        self._db = connection
        self._entry = index
        self._feed = entry
        self._at = time_of(entry)
        self._signed = bool(entry["signed"])
        self._package = lru_cache(maxsize=1 << 16)(self._package_row)

    def take(self, pieces: Any) -> None:
        """Take all pieces in, and count."""
        records = fresh = quarantined = 0
        for number, piece in enumerate(pieces):
            digest = hashlib.sha256(piece.raw).digest()
            if not piece.bad and self._again(digest):
                records += 1
                continue
            advisory, why = _read(piece)
            if advisory is None:
                quarantined += 1
                self._quarantine(number, piece, why)
            else:
                records += 1
                fresh += 1
                self._new(digest, advisory, piece)
        self._db.execute(
            "INSERT INTO feed VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._entry,
                self._at,
                self._feed["source"],
                int(self._signed),
                self._feed["key"] or "",
                self._feed["digest"],
                self._feed["length"],
                records,
                fresh,
                quarantined,
            ),
        )

    def _quarantine(self, number: int, piece: Piece, why: str) -> None:
        values = (self._entry, number, _shown(piece.name), _shown(why), piece.offset, piece.length, piece.crc)
        self._db.execute("INSERT INTO quarantine VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    def _again(self, digest: bytes) -> bool:
        """Whether these bytes are a revision already; if so, this source has brought it too."""
        known = self._db.execute(_KNOWN, (digest,)).fetchone()
        if known is None:
            return False
        self._carry(known["record"], known["id"], known["rank"])
        return True

    def _carry(self, record: int, revision: int, rank: int) -> None:
        carried = self._db.execute(
            "INSERT OR IGNORE INTO carried VALUES (?, ?, ?, ?)",
            (revision, self._feed["source"], int(self._signed), self._entry),
        )
        if carried.rowcount:
            self._stand(record, ANY, revision, rank)
            if self._signed:
                self._stand(record, SIGNED, revision, rank)

    def _new(self, digest: bytes, advisory: Advisory, piece: Piece) -> None:
        record = record_of(self._db, advisory.id)
        [number] = self._db.execute("SELECT coalesce(max(number), 0) + 1 FROM revision WHERE record = ?", (record,)).fetchone()
        row = self._db.execute(
            "INSERT INTO revision VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                record,
                number,
                digest,
                self._entry,
                piece.offset,
                piece.length,
                piece.crc,
                self._at,
                advisory.modified_us,
                advisory.published_us,
                advisory.withdrawn_us,
                int(advisory.malicious),
                advisory.summary,
            ),
        )
        revision = int(row.lastrowid or 0)
        for place, affected in enumerate(advisory.affected):
            self._affected(revision, place, affected)
        for other in advisory.aliases:
            self._db.execute("INSERT OR IGNORE INTO alias VALUES (?, ?)", (revision, record_of(self._db, other)))
        self._carry(record, revision, min(advisory.modified_us, self._at))

    def _affected(self, revision: int, place: int, affected: Affected) -> None:
        package = self._package(affected.package)
        self._db.execute("INSERT INTO affected VALUES (?, ?, ?, ?)", (package, revision, place, affected.rule()))
        for digest in affected.digests:
            self._db.execute("INSERT OR IGNORE INTO digest VALUES (?, ?)", (digest, revision))

    def _package_row(self, package: Package) -> int:
        base = package.ecosystem.partition(":")[0]
        made = self._db.execute(
            "INSERT OR IGNORE INTO package (name, base, ecosystem) VALUES (?, ?, ?)", (package.name, base, package.ecosystem)
        )
        if made.rowcount:
            return int(made.lastrowid or 0)
        found = self._db.execute(
            "SELECT id FROM package WHERE name = ? AND ecosystem = ?", (package.name, package.ecosystem)
        ).fetchone()
        return int(found[0])

    def _stand(self, record: int, track: int, revision: int, rank: int) -> None:
        """Let a revision stand in a track, if none that is newer does."""
        names = {"record": record, "track": track, "revision": revision, "at": self._at}
        current = self._db.execute(_CURRENT, names).fetchone()
        if current is not None:
            if current["revision"] == revision or (rank, revision) < (current["rank"], current["revision"]):
                return
            self._db.execute("UPDATE standing SET until_us = ? WHERE rowid = ?", (self._at, current["row"]))
        self._db.execute("INSERT INTO standing VALUES (:record, :track, :revision, :at, NULL)", names)


def _read(piece: Piece) -> tuple[Advisory | None, str]:
    """The record that a piece is, or why it is none."""
    if piece.bad:
        return None, piece.bad
    try:
        return Advisory.read(piece.raw), ""
    except Invalid as e:
        return None, str(e)


def _shown(text: str) -> str:
    """Text that others wrote, fit for a table and a terminal."""
    return _TEXT.sub(" ", text.encode(errors="replace").decode())[:300]
