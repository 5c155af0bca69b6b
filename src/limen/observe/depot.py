"""Reads what was imported: `DATA/observed/entry=N/day=YYYY-MM-DD/part.parquet`, N the ledger entry of the import.

Nothing here writes, and nothing here is ever a ledger access: the grade of every row is *observed*. An import counts once
its directory has its name, which it gets only after its entry is durable.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import Invalid, NotFound
from limen.observe import manifest as manifests
from limen.observe.coverage import covered
from limen.observe.places import PREFIX, VIEWED, place_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from limen.core.intervals import Intervals
    from limen.observe.manifest import Manifest

MEMORY: Final = "384MB"


@dataclass(frozen=True, slots=True)
class Import:
    """One import that counts: the ledger entry that tells of it, and what it says of itself."""

    entry: int
    digest: str  # of the manifest, as in the entry
    manifest: Manifest

    @property
    def source(self) -> str:
        """The operator's name of where it comes from."""
        return self.manifest.source


class Depot:
    """All observations of one data directory. Any thread may use it; each question sees the imports of its moment."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = threading.Lock()
        self._known: dict[str, Import] = {}
        self._connection: Any = None
        self._shown: tuple[str, ...] | None = None

    @classmethod
    def open(cls, root: Path) -> Depot:
        """The depot in a data directory's `observed`; there need be nothing in it yet."""
        return cls(root)

    def imports(self) -> tuple[Import, ...]:
        """Every import that counts, in the order of the ledger."""
        with self._lock:
            return self._imports()

    def coverage(self, source: str | None = None) -> dict[tuple[str, str], Intervals]:
        """What is covered, by (source, scope), in microseconds. Everything else is *cannot say*. See `skews`, too."""
        return covered(each.manifest for each in self.imports() if source in (None, each.source))

    def skews(self) -> dict[str, int]:
        """By how many seconds each source's clock may be wrong: reports widen their windows by it on both sides."""
        found: dict[str, int] = {}
        for each in self.imports():
            found[each.source] = max(found.get(each.source, 0), each.manifest.skew_s)
        return found

    def parts(self, source: str, day: str) -> list[Path]:
        """The files that hold a day's rows of a source."""
        return [
            place_of(self.root, each.entry) / part.path
            for each in self.imports()
            if each.source == source
            for part in each.manifest.parts
            if part.day == day
        ]

    def ask(self, sql: str, **parameters: Any) -> pa.Table:
        """Answer a question about the view `observation`; `$name` stands for a parameter.

        The view has the columns of docs/formats/observations.md, `entry`, and `day` (a DATE, UTC): a condition on `day`
        spares the reading of other days. The connection can write nothing and reads nothing else.
        """
        with self._lock:
            cursor = self._cursor()
        try:
            return cursor.execute(sql, parameters or None).to_arrow_table()
        finally:
            cursor.close()

    def _imports(self) -> tuple[Import, ...]:
        try:
            names = [path.name for path in self.root.iterdir() if path.name.startswith(PREFIX)]
        except FileNotFoundError:
            names = []
        for gone in self._known.keys() - names:
            del self._known[gone]
        for name in names:
            if name not in self._known:
                self._known[name] = _read(self.root / name)
        return tuple(sorted(self._known.values(), key=lambda each: each.entry))

    def _cursor(self) -> Any:
        imports = self._imports()
        files = tuple(str(place_of(self.root, each.entry) / part.path) for each in imports for part in each.manifest.parts)
        if self._connection is None:
            self._connection = connect(reads=[self.root])
        if self._shown != files:
            self._connection.execute(f"CREATE OR REPLACE VIEW observation AS {_selecting(files)}")
            self._shown = files
        return self._connection.cursor()


def base_of(depot: Depot, source: str) -> list[int]:
    """The entries of a source's imports: what a gathering takes for known."""
    return [each.entry for each in depot.imports() if each.source == source]


def connect(*, reads: Sequence[Path] = (), settings: Mapping[str, str] | None = None) -> Any:
    """A DuckDB connection in memory. With `reads` it can reach nothing but those directories, and its settings are locked.

    Invalid names the extra that is missing.
    """
    try:
        import duckdb  # noqa: PLC0415  an extra, and slow to import
    except ImportError as e:
        raise Invalid("observations", "need DuckDB; install the extra: pip install 'limen[query]'") from e
    connection = duckdb.connect(":memory:")
    connection.execute("SET TimeZone = 'UTC'")
    for name, value in {"memory_limit": MEMORY, **(settings or {})}.items():
        connection.execute(f"SET {name} = {quoted(value)}")
    connection.execute("SET autoinstall_known_extensions = false; SET autoload_known_extensions = false")
    connection.execute("SET enable_progress_bar = false")
    if reads:
        connection.execute("SET temp_directory = ''")
        connection.execute(f"SET allowed_directories = [{', '.join(quoted(str(path)) for path in reads)}]")
        connection.execute("SET enable_external_access = false; SET lock_configuration = true")
    return connection


def quoted(text: str) -> str:
    """Text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def file_list(paths: Iterable[object]) -> str:
    """Paths as a list in SQL."""
    return "[" + ", ".join(quoted(str(path)) for path in paths) + "]"


def _selecting(files: Sequence[str]) -> str:
    if not files:
        columns = ", ".join(f"NULL::{kind} AS {name}" for name, kind in VIEWED.items())
        return f"SELECT {columns} WHERE false"
    reading = f"read_parquet({file_list(files)}, hive_partitioning = true, hive_types = {{'entry': BIGINT, 'day': DATE}})"
    return f"SELECT {', '.join(VIEWED)} FROM {reading}"  # noqa: S608  our own names


def _read(folder: Path) -> Import:
    number = folder.name.removeprefix(PREFIX)
    try:
        raw = (folder / manifests.NAME).read_bytes()
    except FileNotFoundError as e:
        raise NotFound(f"{folder / manifests.NAME}; the import's directory is not whole, put it back from a backup") from e
    return Import(int(number), manifests.digest(raw), manifests.decode(raw, str(folder / manifests.NAME)))
