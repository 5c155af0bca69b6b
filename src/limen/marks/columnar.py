"""Parquet shards: slots are pages, written twice; and what a row says, so that rows and lines of JSON are recognised alike.

Within a row group all columns are cut into pages at the same rows. A slot is one page of every column, written once with each
of its two groups of rows; the shorter variant of a page is padded in its header (`formats.parquetpages`), so every page, column
and row group lies at the same place in every copy. A row group of the source stays one; schema, key-value metadata and each
column's codec are kept. There are no dictionaries, statistics or indexes: they would say what is on the side that a recipient
doesn't hold. The footer counts what each copy holds (`tail`).

The record form of a row: its values in the columns' order, nested ones in theirs, nulls left out; texts as they are, numbers and
truth values as JSON writes them, dates and times as ISO 8601 with a space, a map as its pairs, bytes if they are UTF-8.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
from pyarrow import parquet as pq

from limen.formats import parquetpages
from limen.marks.layout import NOBODY
from limen.marks.members import Groups
from limen.marks.records import reading_of
from limen.marks.tabular import records_of
from limen.marks.tail import CHANGE, CHUNK, LIKE, Tail

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from limen.marks.groups import Group
    from limen.marks.layout import Writer
    from limen.marks.records import Reading

COMMON: Final = 1 << 18  # bytes of rows that share their pages, if they are common
ROWS: Final = 8192  # read at once
HELD: Final = 1 << 30  # bytes of decoded row groups kept for slots whose rows are in several
A_PAGE: Final = 400  # bytes of a side for each column: a page's header is a tenth of that
_ONE_PAGE: Final = 1 << 30
_CODECS: Final = {"UNCOMPRESSED": "NONE"}  # what a reader and a writer call it
_WAYS: Final = {  # how writers differ: what is tried until the schema comes out as it was
    "version": ("2.6", "1.0", "2.4"),
    "use_compliant_nested_type": (True, False),
    "use_deprecated_int96_timestamps": (False, True),
    "store_decimal_as_integer": (False, True),
}


class Unreadable(Exception):
    """What a Parquet source can't be read or written as it is for; completes "it ..."."""


def said_in(batch: pa.RecordBatch) -> Iterator[tuple[list[str], str | None]]:
    """What each row says, in its record form, and its `id`, if it has one that could be a JSON record's."""
    names = batch.column("id").to_pylist() if batch.schema.names.count("id") == 1 else [None] * batch.num_rows
    for said, name in zip(records_of(batch), names, strict=True):
        yield said, str(name) if isinstance(name, str | int) and not isinstance(name, bool) else None


@dataclass(slots=True)
class Rows:
    """A Parquet source as a carrier of segments."""

    source: pq.ParquetFile
    readings: list[Reading]
    sizes: NDArray[np.int64]
    windows: NDArray[np.int64]
    side: int

    @classmethod
    def read(cls, source: Path, *, scope: bytes) -> Rows:
        """Read all rows once. Unreadable says what is in the way."""
        try:
            opened = pq.ParquetFile(source, memory_map=True)
            return cls._read(opened, scope)
        except (pa.ArrowException, OSError, ValueError, NotImplementedError) as e:
            raise Unreadable(f"can't be read as Parquet: {str(e).splitlines()[0][:200]}") from e

    @classmethod
    def _read(cls, opened: pq.ParquetFile, scope: bytes) -> Rows:
        readings, sizes, windows = [], [], []
        first = 0
        for window in range(opened.num_row_groups):
            for batch in opened.iter_batches(batch_size=ROWS, row_groups=[window]):
                told = list(said_in(batch))
                names = [name.encode() if name is not None else None for _, name in told]
                readings.append(reading_of([said for said, _ in told], names, first=first, scope=scope))
                sizes += [sum(map(len, said)) + 4 * batch.num_columns for said, _ in told]
                windows += [window] * len(told)
                first += len(told)
        leaves_ = opened.metadata.num_columns
        return cls(opened, readings, np.array(sizes, np.int64), np.array(windows, np.int64), A_PAGE * leaves_)

    def lay(
        self, slots: Sequence[Group], canaries: Sequence[tuple[int, bytes]], writer: Writer, path: Path
    ) -> tuple[Groups, dict[str, Any]]:
        """Write both streams of the version, and the tables of its end into `path`."""
        if canaries:
            raise RuntimeError("Parquet carries no canaries")
        out = _Paged(self, writer, way_of(self.source))
        writer.share(parquetpages.MAGIC)
        by_window: dict[int, dict[int, int]] = {}
        for number, group in enumerate(slots):
            by_window.setdefault(int(self.windows[group.first]), {})[group.first] = number
        taken = {record for group in slots for record in (*group.zero, *group.one)}
        for window in range(self.source.num_row_groups):
            out.group(self._cells(window, by_window.get(window, {}), slots, taken))
        return out.groups, out.finish(path)

    def _cells(self, window: int, first: dict[int, int], slots: Sequence[Group], taken: set[int]) -> list[_Cell]:
        """What a row group's pages are to hold, in order: slots in their first row's place, common rows together."""
        cells: list[_Cell] = []
        waiting: list[int] = []
        size = 0
        for record in np.flatnonzero(self.windows == window).tolist():
            if record in first:
                slot = first[record]
                cells.append(_Cell(slots[slot].zero, slots[slot].one, slot))
            elif record not in taken:
                waiting.append(record)
                size += int(self.sizes[record])
                if size >= COMMON:
                    cells.append(_Cell(tuple(waiting)))
                    waiting, size = [], 0
        return [*cells, _Cell(tuple(waiting))] if waiting else cells


@dataclass(frozen=True, slots=True)
class _Cell:
    zero: tuple[int, ...]
    one: tuple[int, ...] = ()
    slot: int = NOBODY


@dataclass(slots=True)
class _Paged:
    """Writes row groups page by page."""

    rows: Rows
    writer: Writer
    way: dict[str, Any]
    groups: Groups = field(default_factory=Groups)
    chunks: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    changes: list[tuple[int, int, int, int]] = field(default_factory=list)
    like: bytes = b""
    _tables: OrderedDict[int, pa.Table] = field(default_factory=OrderedDict)

    def group(self, cells: Sequence[_Cell]) -> None:
        """Write one row group, if anything is in it: column by column, the pages of its cells."""
        if not cells:
            return
        zero = self._written([cell.zero for cell in cells])
        one = iter(self._written([cell.one for cell in cells if cell.one]))
        sides = [(mine, next(one) if cell.one else None) for cell, mine in zip(cells, zero, strict=True)]
        held = [(self.groups.add(cell.zero), self.groups.add(cell.one) if cell.one else NOBODY) for cell in cells]
        for column in range(len(zero[0].pages)):
            start = self.writer.at
            rows = values = uncompressed = 0
            for cell, (mine, other), group in zip(cells, sides, held, strict=True):
                rows += mine.rows if column == 0 else 0
                values += mine.values[column]
                uncompressed += mine.uncompressed[column]
                if other is None:
                    self._share(mine.pages[column], group[0])
                else:
                    uncompressed += self._choose(cell.slot, mine, other, group, column)
            self.chunks.append((start, self.writer.at - start, rows, values, uncompressed))

    def finish(self, path: Path) -> dict[str, Any]:
        """Write the end that a copy of zeros has, and the tables from which the others' are made."""
        chunks, changes = np.array(self.chunks, dtype=CHUNK), np.array(self.changes, dtype=CHANGE)
        np.save(path / "chunks.npy", chunks, allow_pickle=False)
        np.save(path / "changes.npy", changes, allow_pickle=False)
        (path / LIKE).write_bytes(self.like)
        at = self.writer.at
        length = Tail.open(path, at=at, length=0).least_length()
        self.writer.share(Tail.open(path, at=at, length=length).of(np.zeros(len(changes), dtype=np.bool_)))
        return {"tail_at": at}

    def _share(self, pages: parquetpages.Pages, group: int) -> None:
        self.writer.entries.append((self.writer.at, len(pages), len(pages), group, group, NOBODY))
        self.writer.share(pages.raw)

    def _choose(self, slot: int, zero: _Written, one: _Written, group: tuple[int, int], column: int) -> int:
        """One column's pages of a slot; by how much the variant of zeros is longer than it was written."""
        mine, other = zero.pages[column], one.pages[column]
        length = parquetpages.length_for(mine, other)
        start = self.writer.at
        region = self.writer.choose(mine.padded(length), other.padded(length), slot=slot)
        self.writer.entries.append((start, length, length, *group, region))
        longer = length - len(mine), length - len(other)
        rows = one.rows - zero.rows if column == 0 else 0
        values = one.values[column] - zero.values[column]
        uncompressed = one.uncompressed[column] + longer[1] - zero.uncompressed[column] - longer[0]
        self.changes.append((len(self.chunks), rows, values, uncompressed))
        return longer[0]

    def _written(self, cells: Sequence[tuple[int, ...]]) -> list[_Written]:
        """Each cell's rows as Parquet writes them, a page a column."""
        if not cells:
            return []
        sink = BytesIO()
        with pq.ParquetWriter(sink, self.rows.source.schema_arrow, **self.way) as writer:
            for cell in cells:
                writer.write_table(self._taken(cell), row_group_size=len(cell))
        raw = sink.getvalue()
        self.like = self.like or parquetpages.first_group(raw)
        return list(_pages_in(raw))

    def _taken(self, records: Sequence[int]) -> pa.Table:
        windows = self.rows.windows
        parts = []
        for window, some in itertools.groupby(records, key=lambda record: int(windows[record])):
            first = int(np.searchsorted(windows, window))
            parts.append(self._table(window).take([record - first for record in some]))
        return pa.concat_tables(parts) if len(parts) > 1 else parts[0]

    def _table(self, window: int) -> pa.Table:
        if window not in self._tables:
            while self._tables and sum(table.nbytes for table in self._tables.values()) > HELD:
                self._tables.popitem(last=False)
            self._tables[window] = self.rows.source.read_row_group(window).combine_chunks()
        self._tables.move_to_end(window)
        return self._tables[window]


@dataclass(frozen=True, slots=True)
class _Written:
    rows: int
    values: tuple[int, ...]
    uncompressed: tuple[int, ...]
    pages: tuple[parquetpages.Pages, ...]


def way_of(source: pq.ParquetFile) -> dict[str, Any]:
    """How a writer has to be told to write, so that schema and codecs are the source's. Unreadable if there is no way."""
    told = {
        "compression": {
            chunk.path_in_schema: _CODECS.get(chunk.compression, chunk.compression) for chunk in _columns(source.metadata)
        },
        "use_dictionary": False,
        "write_statistics": False,
        "data_page_size": _ONE_PAGE,
        "store_schema": b"ARROW:schema" in (source.metadata.metadata or {}),
    }
    for way in itertools.product(*_WAYS.values()):
        tried = {**told, **dict(zip(_WAYS, way, strict=True))}
        sink = BytesIO()
        pq.write_table(source.schema_arrow.empty_table(), sink, **tried)
        if pq.ParquetFile(sink).schema.equals(source.schema):
            return tried
    raise Unreadable("has columns of a kind that isn't written as it was read; write it with another library's defaults")


def _columns(metadata: pq.FileMetaData) -> list[Any]:
    return [metadata.row_group(0).column(n) for n in range(metadata.num_columns)] if metadata.num_row_groups else []


def _pages_in(raw: bytes) -> Iterator[_Written]:
    metadata = pq.ParquetFile(BytesIO(raw)).metadata
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        columns = [group.column(n) for n in range(group.num_columns)]
        spans = [(column.data_page_offset, column.data_page_offset + column.total_compressed_size) for column in columns]
        yield _Written(
            group.num_rows,
            tuple(column.num_values for column in columns),
            tuple(column.total_uncompressed_size for column in columns),
            tuple(parquetpages.pages(raw[start:end]) for start, end in spans),
        )
