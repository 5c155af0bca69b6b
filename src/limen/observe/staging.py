"""An import before it counts: `DATA/observed/staging/NAME`, written by one process, moved into place by another.

    begin      a directory of its own, locked as long as its writer lives; what dead writers left is swept
    write      batches as they come
    gather     one file a day, sorted, without what this source's earlier imports hold; synced
    (commit)   limen.observing: the ledger entry first, then the directory gets its name

A crash anywhere before the entry leaves nothing that counts.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

import pyarrow.parquet as pq

from limen.core.errors import Failed
from limen.durable import sync
from limen.observe.coverage import SCOPE_PATTERN, named
from limen.observe.depot import connect, file_list, quoted
from limen.observe.manifest import NAME, Part
from limen.observe.places import COLUMNS, COMMITTING, READY, STAGING
from limen.observe.rows import DAY_US, SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pyarrow as pa

    from limen.observe.depot import Depot
    from limen.observe.manifest import Manifest

MEMORY: Final = "320MB"
_COLUMNS: Final = ", ".join(COLUMNS)


@dataclass(frozen=True, slots=True)
class _Raw:
    """Rows as they came, and the times they lie between."""

    path: Path
    first_us: int
    last_us: int


class Staging:
    """One import on its way. Owned by one thread; `close` it."""

    def __init__(self, root: Path, name: str, lock: int) -> None:
        self.root = root
        self.name = name
        self.folder = root / STAGING / name
        self.rows = 0
        self._lock = lock
        self._raw: list[_Raw] = []

    @classmethod
    def begin(cls, root: Path, name: str) -> Staging:
        """Make the directory `staging/name` and lock it; sweep what dead writers left."""
        place = root / STAGING
        for folder in (root, place):
            folder.mkdir(exist_ok=True, mode=0o700)  # logs name people
        _sweep(place)
        lock = os.open(place / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        (place / name / "raw").mkdir(parents=True)
        return cls(root, name, lock)

    def close(self) -> None:
        """Remove what is left, unless its commit is under way: then start-up finishes it."""
        if not (self.folder / COMMITTING).exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            (self.root / STAGING / f"{self.name}.lock").unlink(missing_ok=True)
        os.close(self._lock)

    def write(self, batch: pa.RecordBatch) -> None:
        """Keep a batch of rows."""
        path = self.folder / "raw" / f"{len(self._raw):06}.parquet"
        times = batch.column("at_us").to_numpy()
        with _room(), pq.ParquetWriter(path, SCHEMA, compression="lz4") as writer:
            writer.write_batch(batch)
        self._raw.append(_Raw(path, int(times.min()), int(times.max())))
        self.rows += batch.num_rows

    def scopes(self) -> dict[str, tuple[int, int]]:
        """The first and last time of every scope that appears."""
        if not self._raw:
            return {}
        with self._database() as database, _room():
            found = database.execute(
                f"SELECT regexp_extract(resource, '{SCOPE_PATTERN}') AS scope, min(at_us), max(at_us)"  # noqa: S608  our own
                f" FROM read_parquet({file_list(raw.path for raw in self._raw)}) GROUP BY scope"
            ).fetchall()
        seen: dict[str, tuple[int, int]] = {}
        for matched, first, last in found:
            scope = named(matched)
            before = seen.get(scope, (first, last))
            seen[scope] = (min(first, before[0]), max(last, before[1]))
        return seen

    def gather(self, source: str, depot: Depot, tell: Callable[[str], None] = lambda _: None) -> tuple[Part, ...]:
        """Write the days' parts anew, each row once, without those that the depot holds of this source."""
        ready = self.folder / READY
        shutil.rmtree(ready, ignore_errors=True)
        ready.mkdir()
        parts: list[Part] = []
        with self._database() as database, _room():
            for number in self._days():
                day = (date(1970, 1, 1) + timedelta(days=number)).isoformat()
                tell(day)
                part = self._day(database, number, day, depot.parts(source, day))
                if part is not None:
                    parts.append(part)
        return tuple(parts)

    def finish(self, manifest: Manifest) -> bytes:
        """Write the manifest beside the parts and sync it all; returns its bytes. The import can be committed then."""
        raw = manifest.encode()
        ready = self.folder / READY
        with _room():
            (ready / NAME).write_bytes(raw)
            for path in sorted(ready.rglob("*"), reverse=True):
                sync(path)
            for path in (ready, self.folder, self.root / STAGING):
                sync(path)
        return raw

    def _days(self) -> list[int]:
        """The days in which there are rows, since 1970."""
        spans = {(raw.first_us // DAY_US, raw.last_us // DAY_US) for raw in self._raw}
        return sorted({day for first, last in spans for day in range(first, last + 1)})

    def _day(self, database: Any, number: int, day: str, held: list[Path]) -> Part | None:
        """One day's part; None if nothing of that day is new."""
        start, end = number * DAY_US, (number + 1) * DAY_US
        raw = [each.path for each in self._raw if each.first_us < end and each.last_us >= start]
        rows = f"(SELECT * FROM read_parquet({file_list(raw)}) WHERE at_us >= {start} AND at_us < {end})"  # noqa: S608  ours
        if held:
            rows = f"(SELECT * FROM {rows} WHERE id NOT IN (SELECT id FROM read_parquet({file_list(held)})))"  # noqa: S608
        count, distinct = database.execute(f"SELECT count(*), count(DISTINCT id) FROM {rows}").fetchone()  # noqa: S608
        if not count:
            return None
        if count > distinct:
            rows = f"(SELECT DISTINCT ON (id) * FROM {rows} ORDER BY id, credential, bytes, outcome, network, detail)"  # noqa: S608
        path = self.folder / READY / f"day={day}" / "part.parquet"
        path.parent.mkdir()
        database.execute(
            f"COPY (SELECT {_COLUMNS} FROM {rows} ORDER BY principal, resource, at_us, id)"  # noqa: S608  our own names
            f" TO {quoted(str(path))} (FORMAT parquet, COMPRESSION lz4_raw, ROW_GROUP_SIZE 122880)"
        )
        return Part(f"day={day}/part.parquet", day, distinct, _digest(path))

    @contextmanager
    def _database(self) -> Iterator[Any]:
        spill = self.folder / "spill"
        database = connect(
            settings={"temp_directory": str(spill), "memory_limit": MEMORY, "preserve_insertion_order": "false", "threads": "2"}
        )
        try:
            yield database
        finally:
            database.close()
            shutil.rmtree(spill, ignore_errors=True)


class NoRoomError(Failed):
    """The disk took no more: nothing was imported."""

    next_step = "free some space where the data directory lies, then import the same again"


@contextmanager
def _room() -> Iterator[None]:
    """Tell a disk that is full, or fails, in one line."""
    try:
        yield
    except OSError as e:
        raise NoRoomError(f"the import can't be staged: {e.strerror or e}; nothing was imported") from e
    except Exception as e:
        if type(e).__module__.partition(".")[0] in ("duckdb", "_duckdb", "pyarrow"):
            raise NoRoomError(f"the import can't be staged: {str(e).splitlines()[0][:300]}; nothing was imported") from e
        raise


def _sweep(place: Path) -> None:
    """Remove what writers left that are no more."""
    for lock in place.glob("*.lock"):
        handle = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            if not (lock.with_suffix("") / COMMITTING).exists():
                shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
                lock.unlink(missing_ok=True)
        finally:
            os.close(handle)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
