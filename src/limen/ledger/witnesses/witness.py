"""A witness of other people's logs: it cosigns a checkpoint only if that continues the last one it cosigned. C2SP tlog-witness.

Statuses as of C2SP pull request 280 (July 2026): every 409 carries the recorded size, equal sizes with different roots are
a 422. Everything that a witness must never forget lies in one SQLite file: its keys, the logs it trusts, and for each the
newest checkpoint it cosigned. The keys lie beside the record on purpose: nobody can lose the one, keep the other, and then
cosign a smaller tree. The check and the record are one statement (its condition stands in the WHERE), on disk before the
answer; so of two requests at once, or of two processes, one is told to look again.

Threads: any. One connection, guarded by a lock.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from limen.core.errors import Conflict, Invalid, LedgerUnavailable, NotFound
from limen.formats import checkpoint as checkpoints
from limen.formats import cosignature, merkle, note
from limen.formats import witness as codec
from limen.formats.cosignature import ED25519_COSIGNATURE, MLDSA44_COSIGNATURE, Cosigner
from limen.formats.note import Verifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from limen.formats.cosignature import CosignerKey
    from limen.formats.note import Signature

DATABASE: Final = "witness.db"
TEXT: Final = "text/plain; charset=utf-8"
_SCHEMA_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE cosigner (kind INTEGER PRIMARY KEY, name TEXT NOT NULL, seed BLOB NOT NULL) STRICT;
CREATE TABLE log (
    origin TEXT NOT NULL PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    vkey TEXT NOT NULL,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    note BLOB NOT NULL,
    cosigned_at INTEGER NOT NULL
) STRICT;
CREATE TABLE fork (
    origin TEXT NOT NULL PRIMARY KEY,
    seen_at INTEGER NOT NULL,
    recorded BLOB NOT NULL,
    submitted BLOB NOT NULL
) STRICT;
"""
_ADD_COSIGNER: Final = "INSERT INTO cosigner (kind, name, seed) VALUES (?, ?, ?)"
_COSIGNERS: Final = "SELECT kind, name, seed FROM cosigner ORDER BY kind"
_TRUST: Final = """
INSERT INTO log (origin, path, vkey, size, root, note, cosigned_at)
VALUES (:origin, :path, :vkey, 0, :root, x'', 0) ON CONFLICT DO NOTHING
"""
_COLUMNS: Final = "SELECT log.origin, vkey, size, root, note, cosigned_at, fork.seen_at FROM log LEFT JOIN fork USING (origin)"
_READ: Final = f"{_COLUMNS} WHERE log.origin = :origin"
_READ_ALL: Final = f"{_COLUMNS} ORDER BY log.origin"
_SHOW: Final = "SELECT note FROM log WHERE path = :path"
_ADVANCE: Final = """
UPDATE log SET size = :size, root = :root, note = :note, cosigned_at = :at
WHERE origin = :origin AND vkey = :vkey AND size = :old_size AND root = :old_root
"""
_KEEP_FORK: Final = """
INSERT INTO fork (origin, seen_at, recorded, submitted) VALUES (:origin, :at, :recorded, :submitted) ON CONFLICT DO NOTHING
"""
_READ_FORK: Final = "SELECT recorded, submitted FROM fork WHERE origin = :origin"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a witness says: an HTTP status, a content type and the body."""

    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Recorded:
    """The newest checkpoint of one log that this witness cosigned; size 0 and an empty note before the first.

    `forked_at`: when the log first showed a second tree of one size, or None.
    """

    origin: str
    vkey: str
    size: int
    root: bytes
    note: bytes
    cosigned_at: int
    forked_at: int | None

    @property
    def key(self) -> Verifier:
        """The log's key."""
        return Verifier.from_vkey(self.vkey)


class Witness:
    """One witness and its file. `add_checkpoint` is the protocol; the rest is for whoever runs it."""

    def __init__(self, path: Path) -> None:
        """Open the file that `create` made. NotFound if it is not there: a witness that lost it must not start anew."""
        if not path.exists():
            raise NotFound(f"{path} (make a witness with `limen witness init`)")
        self._path = path
        self._lock = threading.Lock()  # guards the connection
        self._connection: sqlite3.Connection | None = None
        self._file = _inode(path)
        with self._database() as execute:
            rows = execute(_COSIGNERS).fetchall()
        self.cosigners = tuple(_cosigner(*row) for row in rows)
        if not self.cosigners:
            raise Invalid("witness.db", "holds no key")

    @classmethod
    def create(cls, path: Path, *, name: str, random: Callable[[int], bytes], kinds: Sequence[int]) -> Witness:
        """Make the file of a new witness, with a new key of each kind. Conflict if there is one; durable on return."""
        rows = [(kind, name, random(note.SEED_BYTES)) for kind in kinds]
        for row in rows:
            _cosigner(*row)  # a name that no key can have is refused before anything is written
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_name(f".{path.name}.new")
        staged.unlink(missing_ok=True)
        staged.touch(mode=0o600)
        with _translated(), contextlib.closing(_connect(staged)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(f"{_SCHEMA} PRAGMA user_version = {_SCHEMA_VERSION};")
            connection.executemany(_ADD_COSIGNER, rows)
        try:
            os.link(staged, path)  # unlike a rename, this never replaces
        except FileExistsError as e:
            raise Conflict(f"{path} is a witness already; nothing was changed") from e
        finally:
            staged.unlink()
        _sync(path.parent)
        return cls(path)

    @property
    def keys(self) -> tuple[CosignerKey, ...]:
        """Its public keys, Ed25519 first."""
        return tuple(cosigner.key for cosigner in self.cosigners)

    def trust(self, vkey: str) -> Recorded:
        """Cosign this log from now on, beginning with whatever it shows first. Idempotent; Conflict if its key is another."""
        key = Verifier.from_vkey(vkey)
        row = {"origin": key.name, "path": codec.monitoring_path(key.name), "vkey": key.vkey, "root": merkle.EMPTY_ROOT}
        with self._database() as execute:
            execute(_TRUST, row)
        recorded = self.recorded(key.name)
        if recorded is None or recorded.vkey != key.vkey:
            raise Conflict(f"{key.name} is trusted under another key already; a log with a new key needs a new name")
        return recorded

    def recorded(self, origin: str) -> Recorded | None:
        """What is recorded of one log; None if it is not trusted."""
        with self._database() as execute:
            row = execute(_READ, {"origin": origin}).fetchone()
        return Recorded(*row) if row else None

    def logs(self) -> list[Recorded]:
        """What is recorded of each log."""
        with self._database() as execute:
            return [Recorded(*row) for row in execute(_READ_ALL).fetchall()]

    def shown(self, path: str) -> bytes | None:
        """The newest checkpoint that was cosigned, by its path below the monitoring prefix; None if there is none."""
        with self._database() as execute:
            row = execute(_SHOW, {"path": path}).fetchone()
        return bytes(row[0]) if row and row[0] else None

    def fork(self, origin: str) -> tuple[bytes, bytes] | None:
        """Two checkpoints of one size with different roots, both signed by the log: a proof that anybody can check."""
        with self._database() as execute:
            row = execute(_READ_FORK, {"origin": origin}).fetchone()
        return (bytes(row[0]), bytes(row[1])) if row else None

    def add_checkpoint(self, raw: bytes, now: int) -> Answer:
        """Cosign the checkpoint of this request, or say why not. LedgerUnavailable if it can't be recorded: no answer then.

        In the order of the specification: 1. the request reads (400); 2. the log is trusted (404); 3. it signed this, and
        no signature under its key is wrong (403); 4. the old size is not beyond the new one (400) 5. and is the recorded
        one (409); 6. the new tree begins with the recorded one (422). 7. Record, if the record is still the one that was
        checked (else 409). 8. Answer.
        """
        try:
            request = codec.decode(raw)
            unverified, _ = note.parse(request.checkpoint)
        except Invalid as e:
            return _plain(400, e.reason)
        recorded = self.recorded(unverified.partition("\n")[0])
        if recorded is None:
            return _plain(404, "this witness does not know the log")
        try:
            text, signatures = note.open_note(request.checkpoint, [recorded.key])
        except Invalid as e:
            return _plain(403, e.reason)
        try:
            size, root = _size_and_root(text)
        except Invalid as e:
            return _plain(400, e.reason)
        if request.old_size > size:
            return _plain(400, f"old size {request.old_size} is beyond the checkpoint's {size}")
        if request.old_size != recorded.size:
            return _conflict(recorded)
        try:
            _check_continues(recorded, size, root, request.proof)
        except Invalid as e:
            if size == recorded.size and root != recorded.root:
                self._keep_fork(recorded, _note(text, signatures), now)
            return _plain(422, e.reason)
        # A clock that was set back must not make a later statement look like the earlier one.
        at = max(now, recorded.cosigned_at)
        lines = [cosigner.cosign(text.encode(), at) for cosigner in self.cosigners]
        if not self._advance(recorded, size=size, root=root, at=at, noted=_note(text, [*signatures, *lines])):
            return _conflict(self.recorded(recorded.origin) or recorded)
        return Answer(200, TEXT, b"".join(map(cosignature.line, lines)))

    def _advance(self, before: Recorded, *, size: int, root: bytes, at: int, noted: bytes) -> bool:
        """Put a checkpoint in the place of the one it was checked against; False if that one is no longer there."""
        row = {"origin": before.origin, "vkey": before.vkey, "old_size": before.size, "old_root": before.root}
        with self._database() as execute:
            done = execute(_ADVANCE, {**row, "size": size, "root": root, "note": noted, "at": at}).rowcount == 1
        if _inode(self._path) != self._file:
            # What was committed into a file that has no name any more is forgotten by the next process.
            raise LedgerUnavailable(f"{self._path} was moved or replaced while the witness runs", next_step="put it back")
        return done

    def _keep_fork(self, recorded: Recorded, submitted: bytes, now: int) -> None:
        """Keep the first fork of each log. Only a log's own key can make one, so nobody else can fill the disk."""
        row = {"origin": recorded.origin, "at": now, "recorded": recorded.note, "submitted": submitted}
        with self._database() as execute:
            execute(_KEEP_FORK, row)

    def close(self) -> None:
        """Close the file. Idempotent."""
        with self._lock:
            self._drop()

    @contextlib.contextmanager
    def _database(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        """The connection, for one statement, which is its own transaction. After an error the next one opens the file anew.

        A commit that failed may have left frames in the write-ahead log that look written and are not on disk: opening
        moves all of them into the file and syncs that.
        """
        with self._lock, _translated():
            try:
                self._connection = self._connection or _open(self._path)
                yield self._connection.execute
            except BaseException:
                self._drop()
                raise

    def _drop(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None


def _size_and_root(text: str) -> tuple[int, bytes]:
    """As `checkpoint.decode`, but lets a wrong root of an empty tree through: that has a status of its own."""
    try:
        return checkpoints.decode(text)[1:]
    except Invalid:
        if text.split("\n")[1:2] != ["0"]:
            raise
    root = note.decode_base64(text.split("\n")[2], "root")
    if len(root) != merkle.HASH_BYTES or text.count("\n") != 3:  # noqa: PLR2004  three lines
        raise Invalid("checkpoint", "is not the three lines origin, size, root")
    return 0, root


def _check_continues(recorded: Recorded, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    """Invalid unless the tree begins with the recorded one."""
    if size == 0 and root != merkle.EMPTY_ROOT:
        raise Invalid("root", "is not the root of an empty tree")
    if recorded.size:
        merkle.verify_consistency(recorded.size, size, recorded.root, root, proof)
    elif proof:
        raise Invalid("proof", "there is nothing to prove from an empty tree")


def _note(text: str, signatures: Sequence[Signature]) -> bytes:
    """A note of these signatures and no others: what strangers added is not kept."""
    return text.encode() + b"\n" + b"".join(map(note.line, signatures))


def _plain(status: int, why: str) -> Answer:
    return Answer(status, TEXT, f"{why}\n".encode())


def _conflict(recorded: Recorded) -> Answer:
    return Answer(409, codec.TLOG_SIZE, f"{recorded.size}\n".encode())


def _cosigner(kind: int, name: str, seed: bytes) -> Cosigner:
    make = {ED25519_COSIGNATURE: Cosigner.ed25519, MLDSA44_COSIGNATURE: Cosigner.mldsa44}
    return make[kind](name, seed)


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw", uri=True, timeout=1.0, isolation_level=None, check_same_thread=False
    )


def _open(path: Path) -> sqlite3.Connection:
    connection = _connect(path)
    try:
        _prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != _SCHEMA_VERSION:
        raise Invalid("witness.db", f"has schema {version}; this limen reads {_SCHEMA_VERSION}")
    for pragma in ("synchronous = FULL", "trusted_schema = OFF"):
        connection.execute(f"PRAGMA {pragma}")
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        raise Invalid("witness.db", "is not in WAL mode; was it edited by hand?")
    if connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        raise LedgerUnavailable("another process reads or writes witness.db")


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as e:
        raise LedgerUnavailable(f"witness.db: {e}", next_step="look at the disk of the witness's directory") from e
