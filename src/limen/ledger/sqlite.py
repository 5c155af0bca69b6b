"""The ledger in one SQLite file: WAL, synchronous=FULL, one writing connection, readers of their own.

After a failed commit or fsync the write-ahead log may hold frames that look written and are not on disk: the kernel
reports a lost page once and then forgets it. So a new writer first moves all frames into the database file and syncs
that (`wal_checkpoint(TRUNCATE)`), and only what survives it counts as durable.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from contextlib import closing
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from limen.core.errors import Conflict, Invalid, LedgerUnavailable, LimenError, TamperDetected
from limen.core.types import Checkpoint
from limen.formats.merkle import Frontier
from limen.formats.tiles import WIDTH
from limen.ledger.sealed import Seal, read_sealed, write_sealed
from limen.ledger.store import Batch, Head

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PAGE: Final = 1024
WAL_PAGES: Final = 4096  # 16 MiB
CLOCK_TICK_S: Final = 0.02  # twice the longest step between two times that a kernel gives to files (10 ms, at 100 Hz)
_SCHEMA_VERSION: Final = 2
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS head (
    origin TEXT NOT NULL PRIMARY KEY,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    frontier BLOB NOT NULL,
    note BLOB NOT NULL,
    low_water INTEGER NOT NULL,
    committed_at INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS entry (idx INTEGER PRIMARY KEY, committed_at INTEGER NOT NULL, raw BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS sealed (number INTEGER PRIMARY KEY, committed_at INTEGER NOT NULL, root BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS side (
    id INTEGER PRIMARY KEY, idx INTEGER NOT NULL, class TEXT NOT NULL, raw BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS side_of ON side (idx, class);
"""
_READ_HEAD: Final = """
SELECT size, root, frontier, note, low_water, committed_at, (SELECT max(idx) FROM entry) FROM head WHERE origin = :origin
"""
_FIRST_HEAD: Final = """
INSERT INTO head (size, root, frontier, note, low_water, committed_at, origin) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
# These two run with every commit. By place: SQLite looks each parameter's name up anew for every row.
_NEXT_HEAD: Final = """
UPDATE head SET size = ?, root = ?, frontier = ?, note = ?, low_water = ?, committed_at = ?
WHERE origin = ? AND size = ? AND root = ?
"""
# An epoch: the log goes on at the same indexes under another name.
_NEXT_EPOCH: Final = """
UPDATE head SET size = ?, root = ?, frontier = ?, note = ?, low_water = ?, committed_at = ?, origin = ?
WHERE origin = ? AND size = ? AND root = ?
"""
# Many rows to a statement: Python gives up its lock for each one, and must wait to have it back.
_ADD_ENTRY: Final = "INSERT INTO entry (idx, committed_at, raw) VALUES (?, ?, ?)"
_ADD_ENTRIES: Final = {rows: _ADD_ENTRY + ", (?, ?, ?)" * (rows - 1) for rows in (64, 8, 1)}
_ADD_SIDE: Final = "INSERT INTO side (idx, class, raw) VALUES (:idx, :class, :raw)"
# A record that goes is overwritten where it stands. Were its row deleted, SQLite would move its neighbours to other pages,
# and leave behind copies of them that no later deletion finds, `secure_delete` or not.
_DELETE_SIDE: Final = "UPDATE side SET raw = zeroblob(length(raw)) WHERE idx = :idx AND class = :class"
_READ_ENTRIES: Final = "SELECT idx, raw FROM entry WHERE idx >= :start AND idx < :end ORDER BY idx LIMIT :page"
_READ_SIDES: Final = """
SELECT idx, class, raw FROM side
WHERE (idx, class) > (:start, :class) AND idx < :end AND substr(raw, 1, 1) <> zeroblob(1)
ORDER BY idx, class LIMIT :page
"""
_READ_SIDE_HEADS: Final = _READ_SIDES.replace("class, raw", "class, substr(raw, 1, 17)")  # store.HEAD_BYTES
_READ_TIME: Final = "SELECT committed_at FROM entry WHERE idx = :idx"
_READ_LAST: Final = "SELECT max(idx) FROM entry"
_READ_SEAL: Final = "SELECT root FROM sealed WHERE number = :number"
_READ_LAST_SEAL: Final = "SELECT max(number) FROM sealed"
_READ_SEAL_BEFORE: Final = "SELECT max(number) FROM sealed WHERE committed_at < :at"
_ADD_SEAL: Final = """
INSERT INTO sealed (number, committed_at, root) SELECT :number, committed_at, :root FROM entry
WHERE idx = :first AND :number = (SELECT coalesce(max(number) + 1, 0) FROM sealed)
"""
_DELETE_SEALED: Final = "DELETE FROM entry WHERE idx < :end AND :end <= (SELECT max(idx) FROM entry)"
_BROKEN: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class SqliteStore:
    """The store of `ledger.db`; see `store.Store` for what each method promises."""

    def __init__(self, path: Path, origin: str) -> None:
        self._path = path
        self._origin = origin
        self._reading = "ro"

    @classmethod
    def to_look_at(cls, path: Path, origin: str) -> SqliteStore:
        """A store that is only read, perhaps a copy, perhaps in use by another process; nothing beside it is created."""
        store = cls(path, origin)
        # Without a write-ahead log nobody has it open, and opening it the usual way would make one.
        store._reading = "ro" if _wal(path).exists() else "still"
        return store

    def create(self) -> None:
        """Make the file and its tables if there are none; only its owner may read it."""
        with _translated("create ledger.db"):
            self._path.touch(mode=0o600, exist_ok=True)
        with _translated("create ledger.db"), closing(_connect(self._path, "rwc")) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in {0, _SCHEMA_VERSION}:
                raise Invalid(
                    "ledger.db",
                    f"has schema {version}, and this limen reads schema {_SCHEMA_VERSION} only;"
                    " open it with the limen that wrote it, or begin a new data directory",
                )
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(f"{_SCHEMA} PRAGMA user_version = {_SCHEMA_VERSION};")

    def writer(self) -> SqliteWriter:
        """Open the writing connection."""
        return SqliteWriter(self._path, self._origin)

    def entries(self, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Committed entries, in short reads, so that a slow reader never holds the write-ahead log back."""
        with _translated("read"), closing(_connect(self._path, self._reading)) as connection:
            seam = _seam(connection)
            while start < end:
                if start < seam:
                    block = self._sealed(connection, start // WIDTH)
                    first = start - start % WIDTH
                    yield from islice(enumerate(block, first), start - first, end - first)
                    start = first + WIDTH
                    continue
                rows = connection.execute(_READ_ENTRIES, {"start": start, "end": end, "page": PAGE}).fetchall()
                if (not rows or rows[0][0] != start) and start < (seam := _seam(connection)):
                    continue  # it was sealed meanwhile
                yield from rows
                if len(rows) < PAGE:
                    return
                start = rows[-1][0] + 1

    def put_sealed(self, number: int, entries: Sequence[bytes]) -> Seal:
        """Write one bundle in the place of sealed ones, durably."""
        return write_sealed(self._path, number, entries)

    def sealed(self) -> int:
        """Entries below this index are no rows any more but sealed bundles; a multiple of 256."""
        with _translated("read"), closing(_connect(self._path, self._reading)) as connection:
            return _seam(connection)

    def sides(self, start: int, end: int) -> Iterator[tuple[int, str, bytes]]:
        """Side records, in short reads."""
        return self._side_pages(_READ_SIDES, start, end)

    def side_heads(self, start: int, end: int) -> Iterator[tuple[int, str, bytes]]:
        """How side records begin, in short reads."""
        return self._side_pages(_READ_SIDE_HEADS, start, end)

    def first_since(self, at: int) -> int | None:
        """Binary search: commit times never run backwards along the log. Of a sealed bundle only the first time is known."""
        with _translated("read"), closing(_connect(self._path, self._reading)) as connection:
            connection.execute("BEGIN")  # one state: what is sealed meanwhile stays a row here
            last = connection.execute(_READ_LAST).fetchone()[0]
            low, high = _seam(connection), 0 if last is None else last + 1
            end = high
            first = connection.execute(_READ_TIME, {"idx": low}).fetchone() if low else None
            if first is not None and first[0] >= at:
                before = connection.execute(_READ_SEAL_BEFORE, {"at": at}).fetchone()[0]
                return 0 if before is None else int(before) * WIDTH
            while low < high:
                middle = (low + high) // 2
                row = connection.execute(_READ_TIME, {"idx": middle}).fetchone()
                if row is None:
                    raise TamperDetected(f"entry {middle} is missing from ledger.db", index=middle)
                if row[0] < at:
                    low = middle + 1
                else:
                    high = middle
            return low if low < end else None

    def head(self) -> Head | None:
        """The newest durable head, read without becoming the writer: for whoever only looks."""
        with _translated("read the head"), closing(_connect(self._path, self._reading)) as connection:
            return _read_head(connection, self._origin)

    def _sealed(self, connection: sqlite3.Connection, number: int) -> list[bytes]:
        row = connection.execute(_READ_SEAL, {"number": number}).fetchone()
        if row is None:
            raise TamperDetected(f"ledger.db does not know its sealed bundle {number}", index=number * WIDTH)
        return read_sealed(self._path, Seal(number, row[0]))

    def _side_pages(self, query: str, start: int, end: int) -> Iterator[tuple[int, str, bytes]]:
        name = ""  # before every class
        with _translated("read"), closing(_connect(self._path, self._reading)) as connection:
            while start < end:
                rows = connection.execute(query, {"start": start, "class": name, "end": end, "page": PAGE}).fetchall()
                yield from rows
                if len(rows) < PAGE:
                    return
                start, name = rows[-1][0], rows[-1][1]


class SqliteWriter:
    """The writing connection. Made by one thread and then used by another, never by two at once."""

    def __init__(self, path: Path, origin: str) -> None:
        self._path = path
        self._origin = origin
        with _translated("open ledger.db"):
            self._connection = _connect(path, "rw")
            try:
                self._prepare()
                self._names = _Names(path, _wal(path))
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self) -> None:
        # secure_delete: what is deleted is overwritten with zeros. (Side records are overwritten in their place.)
        # wal_autocheckpoint: every so many pages the log's are copied into the file, and both are synced. Rarer, each page of
        # entries is copied once and not several times; more often, and a start after a crash has less to copy.
        settings = ("synchronous = FULL", "busy_timeout = 250", "trusted_schema = OFF", "secure_delete = ON")
        for pragma in (*settings, f"wal_autocheckpoint = {WAL_PAGES}"):
            self._connection.execute(f"PRAGMA {pragma}")
        if self._connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            raise Invalid("ledger.db", "is not in WAL mode; was it edited by hand?")
        busy = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        if busy:
            raise LedgerUnavailable("another process reads or writes ledger.db")

    def head(self) -> Head | None:
        """The newest durable head."""
        with _translated("read the head"):
            return _read_head(self._connection, self._origin)

    def append(self, batch: Batch, *, after: Head | None, head: Head) -> None:
        """One transaction: the head, compared and swapped; then the rows. Durable when COMMIT has returned."""
        with _translated("commit"), self._transaction():
            self._swap_head(after, head)
            self._add_entries(batch, at=head.committed_at)
            if batch.sides:
                sides = [{"idx": idx, "class": name, "raw": raw} for idx, name, raw in batch.sides]
                self._connection.executemany(_ADD_SIDE, sides)
        with _translated("look for ledger.db after the commit"):
            stands = self._names.hold()
        if not stands:
            raise LedgerUnavailable(
                "ledger.db was moved, replaced or deleted while limen runs", next_step="put it back; limen then goes on"
            )

    def _add_entries(self, batch: Batch, *, at: int) -> None:
        done, entries = 0, batch.entries
        for rows, statement in _ADD_ENTRIES.items():
            while len(entries) - done >= rows:
                first = batch.start + done
                values = zip(range(first, first + rows), repeat(at), entries[done : done + rows], strict=False)
                self._connection.execute(statement, tuple(chain.from_iterable(values)))
                done += rows

    def delete_sides(self, sides: Sequence[tuple[int, str]]) -> None:
        """One transaction; each record's bytes are zeros from then on, in their place."""
        with _translated("delete side records"), self._transaction():
            self._connection.executemany(_DELETE_SIDE, [{"idx": idx, "class": name} for idx, name in sides])

    def seal(self, seals: Sequence[Seal]) -> None:
        """One transaction: the bundles' roots, and their rows gone. The rows must follow those that are sealed already."""
        with _translated("seal"), self._transaction():
            self._exchange_rows(seals)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """A transaction that holds the write lock from its first statement on: durable on leaving, or nothing of it is there."""
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            yield
            execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                execute("ROLLBACK")
            raise

    def _exchange_rows(self, seals: Sequence[Seal]) -> None:
        for seal in seals:
            values = {"number": seal.number, "root": seal.root, "first": seal.number * WIDTH}
            if self._connection.execute(_ADD_SEAL, values).rowcount != 1:
                raise Conflict(f"bundle {seal.number} is not the next one to be sealed")
        end = (seals[-1].number + 1) * WIDTH
        if self._connection.execute(_DELETE_SEALED, {"end": end}).rowcount != len(seals) * WIDTH:
            raise Conflict(f"ledger.db does not hold the entries of {len(seals)} bundles below {end}, and more above")

    def forget(self) -> bool:
        """Move every frame into the database file and cut the write-ahead log to nothing."""
        with _translated("truncate the write-ahead log"):
            return not self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]

    def _swap_head(self, after: Head | None, head: Head) -> None:
        new = head.checkpoint
        state = (new.size, new.root, head.frontier.to_bytes(), new.note, head.low_water, head.committed_at, new.origin)
        if after is None:
            swapped = self._connection.execute(_FIRST_HEAD, state)
        elif after.checkpoint.origin == new.origin:
            swapped = self._connection.execute(_NEXT_HEAD, (*state, after.checkpoint.size, after.checkpoint.root))
        else:
            old = after.checkpoint
            swapped = self._connection.execute(_NEXT_EPOCH, (*state, old.origin, old.size, old.root))
        if swapped.rowcount != 1:
            raise Conflict("somebody else has appended to ledger.db")

    def close(self) -> None:
        """Give the connection back."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()


class _Names:
    """The names of the database and its write-ahead log: whether they still stand for the files that were opened.

    A commit into a deleted file succeeds, and is lost. To look at both after each commit would make the next one slower by
    a third: since Linux 6.13 whoever has read a file's times makes its next write change them, and `fdatasync` write
    the inode too. No name changes without a change of the directory's own time, so that is looked at. The files are when it has
    changed; and again after a clock tick, for a second change within one tick shows no other time; and once a second.
    """

    def __init__(self, *paths: Path) -> None:
        self._paths = [str(path) for path in paths]
        self._directory = str(paths[0].parent)
        self._opened = self._files()
        self._seen: tuple[int, ...] = ()
        self._seen_at = self._looked_at = float("-inf")

    def hold(self) -> bool:
        """Whether all names still stand for what they stood for at first."""
        try:
            found = os.stat(self._directory)  # noqa: PTH116  here and below: once per commit
        except FileNotFoundError:
            return False
        seen, now = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns), time.monotonic()
        if seen == self._seen and self._looked_at >= self._seen_at + CLOCK_TICK_S and now < self._looked_at + 1:
            return True
        if self._files() != self._opened:
            return False
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        self._looked_at = now
        return True

    def _files(self) -> list[tuple[int, int]] | None:
        try:
            return [(found.st_dev, found.st_ino) for found in map(os.stat, self._paths)]
        except FileNotFoundError:
            return None


def _wal(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _read_head(connection: sqlite3.Connection, origin: str) -> Head | None:
    row = connection.execute(_READ_HEAD, {"origin": origin}).fetchone()
    if row is None:
        strangers = connection.execute("SELECT origin FROM head").fetchall()
        if strangers:
            raise Invalid("ledger.origin", f"is {origin}, but ledger.db is the log {strangers[0][0]}")
        return None
    size, root, frontier, note, low_water, committed_at, last = row
    if (-1 if last is None else last) != size - 1:
        raise TamperDetected(f"ledger.db has {size} entries by its head and {(last or -1) + 1} by its rows", index=size)
    try:
        return Head(Checkpoint(origin, size, root, note), Frontier.from_bytes(size, frontier), low_water, committed_at)
    except Invalid as e:
        raise TamperDetected(f"the head of ledger.db is damaged: {e}") from e


def _seam(connection: sqlite3.Connection) -> int:
    """The first index that is a row: what lies below is sealed."""
    if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sealed'").fetchone() is None:
        return 0  # a copy from before there was sealing
    last = connection.execute(_READ_LAST_SEAL).fetchone()[0]
    return 0 if last is None else (int(last) + 1) * WIDTH


def open_to_read(path: Path) -> sqlite3.Connection:
    """A connection for whoever only looks, perhaps at a copy, perhaps beside a running gateway. Raises SQLite's errors."""
    return _connect(path, "ro" if _wal(path).exists() else "still")


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection without implicit transactions. `mode`: rwc creates, rw and ro do not; still adds nothing to disk."""
    query = "mode=ro&immutable=1" if mode == "still" else f"mode={mode}"
    return sqlite3.connect(
        f"file:{quote(str(path))}?{query}", uri=True, timeout=1.0, isolation_level=None, check_same_thread=False
    )


@contextlib.contextmanager
def _translated(step: str) -> Iterator[None]:
    """SQLite's errors in our words."""
    try:
        yield
    except LimenError:
        raise
    except (sqlite3.Error, OSError) as e:
        code = getattr(e, "sqlite_errorcode", 0) & 0xFF
        if code in _BROKEN:
            raise TamperDetected(f"{step}: ledger.db is damaged: {e}") from e
        next_step = "free space on its disk; limen then goes on by itself" if code == sqlite3.SQLITE_FULL else ""
        raise LedgerUnavailable(f"{step}: {e}", next_step=next_step) from e
