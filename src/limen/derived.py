"""One SQLite file in `DATA/derived/` that follows from the log, and from the blobs that entries name, alone.

Deleted, it is made again. It is brought up to date when somebody asks it something: `catch_up` reads what was committed
since, a batch a transaction, so that a crash leaves it at the end of some batch. It notes which entry it read last; if the
log does not hold that entry any more (an older backup was restored, a new epoch begun), or if its tables are of another
version, it is made anew.

`catch_up` may be called by any thread, and they wait for each other. `reading` opens a view of its own each time, which
does not change while it is open.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from typing import TYPE_CHECKING, Any, Final, Protocol

from limen.core.errors import Failed
from limen.core.events import decode
from limen.formats.merkle import leaf_hash

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

FOLDER: Final = "derived"
BATCH: Final = 4096
_NOTE: Final = "CREATE TABLE IF NOT EXISTS note (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT"
_SET: Final = "INSERT INTO note (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value"

# What a fold meets in an entry that is not as it should be. A full disk is none of them, and is told as what it is.
_UNREADABLE: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    sqlite3.DataError,
    sqlite3.IntegrityError,
)


class Log(Protocol):
    """What is read of the ledger."""

    def entries(self, start: int, end: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Entries with their indices, in order; those committed when this is called if no end is given."""


class Fold(Protocol):
    """What one kind of derived file makes of entries. Deterministic: the same log and blobs give the same rows."""

    name: str  # of the file, without `.db`
    version: int  # of its tables and their meaning
    schema: str  # SQL that makes the tables
    kinds: Sequence[str]  # the kinds that it wants to see; a prefix ends in a dot

    def add(self, connection: sqlite3.Connection, index: int, entry: dict[str, Any]) -> None:
        """Take one entry in. What it raises stops the catching-up before this entry's batch: nothing is left out in silence."""


class Derived:
    """One fold's file. Built by `server`; nothing is opened before the first question."""

    def __init__(self, data: Path, log: Log, fold: Fold, *, origin: str) -> None:
        self.path = data / FOLDER / f"{fold.name}.db"
        self._log = log
        self._fold = fold
        self._identity = f"{origin}\n{fold.version}"
        self._wanted = tuple(f'"kind":"{kind}{"" if kind.endswith(".") else chr(34)}'.encode() for kind in fold.kinds)
        self._catching_up = threading.Lock()
        self._writer: sqlite3.Connection | None = None

    def catch_up(self) -> int:
        """Take in what was committed since; returns the index of the first entry that was not read."""
        with self._catching_up:
            connection = self._open()
            upto = int(self._noted(connection, "upto", 0))
            batch: list[tuple[int, bytes]] = []
            for each in self._log.entries(upto):
                batch.append(each)
                if len(batch) == BATCH:
                    upto = self._take(connection, batch)
                    batch = []
            return self._take(connection, batch) if batch else upto

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A read-only view of the file as it is now, after catching up; rows by name. From any thread."""
        self.catch_up()
        connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, isolation_level=None)
        connection.row_factory = sqlite3.Row
        try:
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM note").fetchone()  # from here on the view stands still
            yield connection
        finally:
            connection.close()

    def close(self) -> None:
        """Close the file. Once no other thread uses it."""
        with self._catching_up:
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    def _take(self, connection: sqlite3.Connection, batch: Sequence[tuple[int, bytes]]) -> int:
        last, raw = batch[-1]
        with _transaction(connection):
            for index, each in batch:
                if any(wanted in each for wanted in self._wanted):
                    entry = decode(each)
                    # Another's words may hold the same bytes, escaped or not: the field decides.
                    if any(entry["kind"] == k or (k.endswith(".") and entry["kind"].startswith(k)) for k in self._fold.kinds):
                        self._add(connection, index, entry)
            connection.execute(_SET, {"name": "upto", "value": last + 1})
            connection.execute(_SET, {"name": "leaf", "value": leaf_hash(raw)})
        return last + 1

    def _add(self, connection: sqlite3.Connection, index: int, entry: dict[str, Any]) -> None:
        try:
            self._fold.add(connection, index, entry)
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            TypeError,
            ValueError,
            sqlite3.DataError,
            sqlite3.IntegrityError,
        ) as e:
            # To leave it out would be an answer that only looks whole.
            kind, name = entry["kind"], self.path.name
            raise Failed(
                f"entry {index} ({kind}) can't be counted in {name}, so nothing that rests on it can be said: {e}"
            ) from e

    def _open(self) -> sqlite3.Connection:
        if self._writer is None or not self._still(self._writer):
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            try:
                self._writer = self._opened()
                if not self._still(self._writer):
                    self._forget()
            except sqlite3.DatabaseError:
                self._forget()
            self._writer = self._writer or self._opened()
        return self._writer

    def _opened(self) -> sqlite3.Connection:
        self.path.parent.mkdir(exist_ok=True)
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")  # what a power cut takes is made again
        connection.execute(_NOTE)
        if self._noted(connection, "identity", None) is None:
            with _transaction(connection):
                for statement in self._fold.schema.split(";"):
                    connection.execute(statement)
                connection.execute(_SET, {"name": "identity", "value": self._identity})
        return connection

    def _still(self, connection: sqlite3.Connection) -> bool:
        """Whether it is of this log, as far as it was read, and of this version."""
        if self._noted(connection, "identity", None) != self._identity:
            return False
        upto = int(self._noted(connection, "upto", 0))
        if not upto:
            return True
        last = next(iter(self._log.entries(upto - 1, upto)), None)
        return last is not None and leaf_hash(last[1]) == self._noted(connection, "leaf", None)

    def _forget(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)

    @staticmethod
    def _noted(connection: sqlite3.Connection, name: str, otherwise: Any) -> Any:
        row = connection.execute("SELECT value FROM note WHERE name = :name", {"name": name}).fetchone()
        return otherwise if row is None else row["value"]


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
