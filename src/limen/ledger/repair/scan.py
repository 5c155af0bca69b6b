"""Reading a `ledger.db` that may be damaged: every row that still reads, and where it does not, which rows those are.

SQLite gives up at the first page that makes no sense. So a range that can't be read is halved until single rows are left:
what lies on sound pages is still found. One read transaction, so that a gateway may append in the meantime.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from limen.core.errors import Invalid, LedgerUnavailable
from limen.core.types import Checkpoint
from limen.formats import checkpoint as checkpoints
from limen.formats import note
from limen.formats.tiles import WIDTH
from limen.ledger.sealed import bundle_path, split_bundle
from limen.ledger.sqlite import open_to_read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from limen.formats.note import Verifier

RUN: Final = 4096
_ROWS: Final = "SELECT idx, committed_at, raw FROM entry WHERE idx >= :start AND idx < :end ORDER BY idx"
_ROW: Final = "SELECT idx, committed_at, raw FROM entry WHERE idx = :start AND :end"
# A side record that was deleted is zeros.
_SIDES: Final = """
SELECT idx, class, raw FROM side WHERE idx >= :start AND idx < :end AND substr(raw, 1, 1) <> zeroblob(1) ORDER BY idx, class
"""
_SEALS: Final = "SELECT number, committed_at, root FROM sealed"
_OUTSIDE: Final = """
SELECT (SELECT min(idx) FROM entry), (SELECT max(idx) FROM entry), (SELECT min(idx) FROM side), (SELECT max(idx) FROM side)
"""


Row = tuple[Any, Any]
"""One row of `entry`, as it reads: `committed_at` and `raw`; a damaged one may hold other types than it should."""


@dataclass(frozen=True, slots=True)
class RawHead:
    """The head's columns as they read, and the checkpoint that its note signs; None if the note does not verify."""

    size: Any
    root: Any
    frontier: Any
    low_water: Any
    committed_at: Any
    _: KW_ONLY
    signed: Checkpoint | None
    why: str


class Scan:
    """One snapshot of a database. `errors` are the indexes that could not be read so far, with SQLite's words."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self.seals: dict[int, tuple[Any, Any]] = {}  # number of a sealed bundle -> commit time and root, as they read
        self.errors: dict[int, str] = {}
        self.trouble: list[str] = []  # what could not be read, and is no entry

    @classmethod
    @contextlib.contextmanager
    def of(cls, path: Path) -> Iterator[Self]:
        """Open a database to look at it, running or not. LedgerUnavailable if it is locked for good."""
        try:
            connection = open_to_read(path)
        except sqlite3.Error as e:
            raise LedgerUnavailable(f"{path} can't be opened: {e}") from e
        try:
            scan = cls(connection, path)
            with contextlib.suppress(sqlite3.DatabaseError):  # of a file that is no database every read tells
                connection.execute("BEGIN")
                if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sealed'").fetchone():
                    scan.seals = {row[0]: (row[1], row[2]) for row in connection.execute(_SEALS)}
            yield scan
        finally:
            connection.close()

    def head(self, verifier: Verifier) -> RawHead | None:
        """The head of this log; None if there is no row for it or it does not read."""
        row = self._one("SELECT size, root, frontier, low_water, committed_at, note FROM head WHERE origin = ?", verifier.name)
        if row is None:
            return None
        try:
            origin, size, root = checkpoints.decode(note.open_note(bytes(row[5]), [verifier])[0])
        except (Invalid, TypeError) as e:
            return RawHead(*row[:5], signed=None, why=str(e))
        if origin != verifier.name:
            return RawHead(*row[:5], signed=None, why=f"is of {origin}")
        return RawHead(*row[:5], signed=Checkpoint(origin, size, root, row[5]), why="")

    def outside(self, size: int) -> list[tuple[str, int]]:
        """Rows that lie where none may be: table and index of one below 0, and of the first one past the end."""
        low, high, low_side, high_side = self._one(_OUTSIDE) or (None,) * 4
        found = [("entry", low), ("side", low_side)]
        past = [("entry", high), ("side", high_side)]
        firsts = [
            (table, (self._one(f"SELECT min(idx) FROM {table} WHERE idx >= ?", size) or (last,))[0])  # noqa: S608  two fixed names
            for table, last in past
            if isinstance(last, int) and last >= size
        ]
        start = {"entry": self.seam, "side": 0}
        return [(table, index) for table, index in found if isinstance(index, int) and index < start[table]] + firsts

    @property
    def seam(self) -> int:
        """Entries below this index are in sealed bundles, not rows."""
        return (max(self.seals, default=-1) + 1) * WIDTH

    def last(self) -> int:
        """The index of the last row; -1 if there is none, or it can't be told."""
        last = (self._one("SELECT max(idx) FROM entry") or (None,))[0]
        return last if isinstance(last, int) else -1

    def rows(self, start: int, end: int) -> Iterator[tuple[int, dict[int, Row]]]:
        """The entries that read, in runs of RUN indexes, each with its first index; the last run ends at `end`."""
        seam = self.seam
        for low in range(start, end, RUN):
            high = min(low + RUN, end)
            found = dict(self._sealed(low, min(high, seam)))
            if high > seam:
                found |= {index: (at, raw) for index, at, raw in self._read(_ROWS, max(low, seam), high)}
            yield low, found

    def _sealed(self, start: int, end: int) -> Iterator[tuple[int, Row]]:
        """Entries of sealed bundles, as far as they read. For commit time they have that of their bundle's first."""
        for number in range(start // WIDTH, -(-end // WIDTH)):
            try:
                raw = bundle_path(self._path, number).read_bytes()
            except OSError:
                continue
            at = next((self.seals[earlier][0] for earlier in range(number, -1, -1) if earlier in self.seals), 0)
            for index, entry in enumerate(split_bundle(raw), number * WIDTH):
                if start <= index < end:
                    yield index, (at, entry)

    def sides(self, start: int, end: int) -> list[tuple[int, Any, Any]]:
        """Side records of a range that read."""
        try:
            return self._connection.execute(_SIDES, {"start": start, "end": end}).fetchall()
        except sqlite3.DatabaseError as e:
            self._complain(f"side records {start} to {end - 1}: {e}")
            return []

    def structure(self) -> list[str]:
        """What SQLite itself finds wrong with the file, in its words; empty if nothing."""
        try:
            found = [str(row[0]) for row in self._connection.execute("PRAGMA quick_check(5)")]
        except sqlite3.DatabaseError as e:
            return [str(e)]
        return [] if found == ["ok"] else found

    def _read(self, query: str, start: int, end: int) -> list[Any]:
        """What can be read of a range, found by halving it where it can't be read whole."""
        try:
            rows = self._connection.execute(query, {"start": start, "end": end}).fetchall()
        except (sqlite3.DatabaseError, UnicodeDecodeError) as e:
            if end - start == 1 and query != _ROW:
                return self._read(_ROW, start, end)  # a range also looks at the row after it, which may be the bad one
            if end - start == 1:
                self.errors[start] = str(e)
                return []
            middle = (start + end) // 2
            return self._read(query, start, middle) + self._read(query, middle, end)
        return rows

    def _one(self, query: str, *values: object) -> tuple[Any, ...] | None:
        try:
            row: tuple[Any, ...] | None = self._connection.execute(query, values).fetchone()
        except (sqlite3.DatabaseError, UnicodeDecodeError) as e:
            self._complain(str(e))
            return None
        return row

    def _complain(self, what: str) -> None:
        if what not in self.trouble:
            self.trouble.append(what)
