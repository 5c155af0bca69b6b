"""DATA/watch.db: how far the log was read, what was found, and what is still to be sent to whom.

All of it but the deliveries follows from the log: deleted, it is made again, and what was found lately is sent once more,
marked as such. A finding and its deliveries are written in one transaction; a second finding of the same name is ignored. The
number of an attempt is on the disk before the attempt is made: nothing is ever sent twice under the same number.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Self

BOOK: Final = "watch.db"
SCHEMA_VERSION: Final = 1
FAR_US: Final = 600_000_000  # a delivery due later than this was planned under another clock
_OPENING: Final = threading.Lock()  # two connections that turn a new database to WAL at once refuse each other
_BROKEN: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS note (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS finding (
    uid TEXT PRIMARY KEY,
    entry INTEGER NOT NULL,
    rule TEXT NOT NULL,
    severity INTEGER NOT NULL,
    at_us INTEGER NOT NULL,
    found_us INTEGER NOT NULL,
    rules TEXT NOT NULL,
    again INTEGER NOT NULL,
    raw BLOB NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS finding_order ON finding (entry, uid);
CREATE TABLE IF NOT EXISTS delivery (
    uid TEXT NOT NULL,
    target TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    due_us INTEGER NOT NULL,
    arrived_us INTEGER,
    last TEXT NOT NULL,
    PRIMARY KEY (uid, target)
) STRICT;
CREATE INDEX IF NOT EXISTS delivery_due ON delivery (target, due_us) WHERE arrived_us IS NULL;
"""
_ADD_FINDING: Final = """
INSERT INTO finding (uid, entry, rule, severity, at_us, found_us, rules, again, raw)
VALUES (:uid, :entry, :rule, :severity, :at_us, :found_us, :rules, :again, :raw) ON CONFLICT DO NOTHING
"""
_ADD_DELIVERY: Final = """
INSERT INTO delivery (uid, target, attempts, due_us, arrived_us, last)
VALUES (:uid, :target, 0, :now_us, NULL, '') ON CONFLICT DO NOTHING
"""
_SET_NOTE: Final = "INSERT INTO note (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
_DUE: Final = """
SELECT delivery.uid, attempts, severity, at_us, found_us, again, raw FROM delivery JOIN finding USING (uid)
WHERE target = :target AND arrived_us IS NULL AND (due_us <= :now_us OR due_us > :now_us + :far_us)
ORDER BY attempts, entry, delivery.uid LIMIT 1
"""
_NEXT: Final = "SELECT min(due_us) FROM delivery WHERE target = :target AND arrived_us IS NULL"
_BEGIN: Final = """
UPDATE delivery SET attempts = attempts + 1, due_us = :due_us
WHERE uid = :uid AND target = :target AND attempts = :attempts AND arrived_us IS NULL
"""
_ARRIVED: Final = "UPDATE delivery SET arrived_us = :now_us, last = '' WHERE uid = :uid AND target = :target"
_FAILED: Final = "UPDATE delivery SET last = :why WHERE uid = :uid AND target = :target"
_FINDINGS: Final = """
SELECT uid, entry, rule, severity, at_us, found_us, rules, again, raw FROM finding
WHERE entry >= :since AND severity >= :least ORDER BY entry, uid
"""
_DELIVERIES: Final = "SELECT target, attempts, due_us, arrived_us, last FROM delivery WHERE uid = :uid ORDER BY target"
_WAITING: Final = (
    "SELECT target, count(*) AS waiting, max(attempts) AS attempts FROM delivery WHERE arrived_us IS NULL GROUP BY target"
)


@dataclass(frozen=True, slots=True)
class Found:
    """A finding as the book has it. `again`: it was found in a book that was made anew, so it may have been sent before."""

    uid: str
    entry: int
    rule: str
    severity: int
    at_us: int
    found_us: int
    rules: str
    again: bool
    raw: bytes


@dataclass(frozen=True, slots=True)
class Due:
    """One delivery whose time has come; `attempts` were made before."""

    uid: str
    attempts: int
    severity: int
    at_us: int
    found_us: int
    again: bool
    raw: bytes


class Book:
    """One connection to the book; each thread opens its own. Writers wait for each other."""

    def __init__(self, path: Path) -> None:
        """Open it, or make it; one that is damaged or of another version goes, and is made anew."""
        self._path = path
        with _OPENING:
            try:
                self._connection = _opened(path)
            except sqlite3.DatabaseError as e:
                if getattr(e, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF not in _BROKEN:
                    raise
                for suffix in ("", "-wal", "-shm"):
                    path.with_name(path.name + suffix).unlink(missing_ok=True)
                self._connection = _opened(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()

    # --- reading the log

    def note(self, name: str) -> bytes | None:
        """What was noted under a name."""
        row = self._connection.execute("SELECT value FROM note WHERE name = :name", {"name": name}).fetchone()
        return None if row is None else bytes(row["value"])

    def keep(self, found: Sequence[Found], notes: Mapping[str, bytes], *, queue: Sequence[tuple[str, str]], now_us: int) -> int:
        """Write findings, notes, and (uid, target) deliveries of findings that are new; all or none. How many were new."""
        new = set()
        with self._written():
            for each in found:
                values = {name: getattr(each, name) for name in Found.__slots__}
                if self._connection.execute(_ADD_FINDING, {**values, "again": int(each.again)}).rowcount:
                    new.add(each.uid)
            for uid, target in queue:
                if uid in new:
                    self._connection.execute(_ADD_DELIVERY, {"uid": uid, "target": target, "now_us": now_us})
            for name, value in notes.items():
                self._connection.execute(_SET_NOTE, {"name": name, "value": value})
        return len(new)

    def findings(self, *, since: int = 0, least: int = 0) -> Iterator[Found]:
        """Findings from an entry and a severity on, in the log's order."""
        for row in self._connection.execute(_FINDINGS, {"since": since, "least": least}):
            yield Found(**{**dict(row), "again": bool(row["again"])})

    def deliveries(self, uid: str) -> list[dict[str, Any]]:
        """What became of one finding's deliveries."""
        return [dict(row) for row in self._connection.execute(_DELIVERIES, {"uid": uid})]

    def waiting(self) -> list[dict[str, Any]]:
        """By target: how many deliveries have not arrived, and how often the worst was tried."""
        return [dict(row) for row in self._connection.execute(_WAITING)]

    # --- sending

    def due(self, target: str, now_us: int) -> Due | None:
        """The delivery that is next to be tried, those never tried first; None if none is due."""
        row = self._connection.execute(_DUE, {"target": target, "now_us": now_us, "far_us": FAR_US}).fetchone()
        return None if row is None else Due(**{**dict(row), "again": bool(row["again"])})

    def next_us(self, target: str) -> int | None:
        """When the next delivery is due; None if nothing waits."""
        found = self._connection.execute(_NEXT, {"target": target}).fetchone()[0]
        return None if found is None else int(found)

    def begin(self, due: Due, target: str, *, again_us: int) -> int | None:
        """Take the number of the next attempt, durably; if it fails the delivery is due `again_us`. None if somebody else did."""
        values = {"uid": due.uid, "target": target, "attempts": due.attempts, "due_us": again_us}
        with self._written():
            taken = self._connection.execute(_BEGIN, values).rowcount
        return due.attempts + 1 if taken else None

    def arrived(self, uid: str, target: str, now_us: int) -> None:
        """The receiver has it."""
        with self._written():
            self._connection.execute(_ARRIVED, {"uid": uid, "target": target, "now_us": now_us})

    def failed(self, uid: str, target: str, why: str) -> None:
        """The receiver does not have it, or did not say so."""
        with self._written():
            self._connection.execute(_FAILED, {"uid": uid, "target": target, "why": why[:200]})

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise


def _opened(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version in {0, SCHEMA_VERSION}:
            connection.executescript(f"{_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION};")
            return connection
    except BaseException:
        connection.close()
        raise
    connection.close()
    raise sqlite3.DatabaseError(f"version {version}")
