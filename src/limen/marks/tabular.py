"""Records in columns: Parquet, Arrow files (Feather) and Arrow streams, a few thousand rows at a time.

A record's fields are its row's texts, those inside lists and structs too, in the order of the columns; numbers are written as
JSON writes them. Texts that a dictionary repeats stay in it until a slice of rows is turned into records, so that a
small file can't fill the memory by saying one long text a million times. Bytes that are no text are no field.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from limen.marks.archives import Damaged
from limen.marks.records import leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Records = list[list[str]]

_ROWS: Final = 4096
_VALUES: Final = 1 << 20  # in lists and the like, at once
_BYTES: Final = 1 << 24  # of texts that are turned into records at once
_TEXT: Final = (pa.string(), pa.large_string(), pa.string_view())
_RAW: Final = (pa.binary(), pa.large_binary(), pa.binary_view())


def records_in(kind: str, stream: BinaryIO, charge: Callable[[int], None]) -> Iterator[Records]:
    """The records of a table, some at a time; `charge` is told their bytes before they are made. Damaged if it can't be read."""
    try:
        for batch in _batches(kind, stream):
            for rows in _slices(batch):
                charge(_size(rows))
                yield records_of(rows)
    except (pa.ArrowException, MemoryError, RecursionError) as e:
        raise Damaged(str(e).split("\n", 1)[0]) from e


def _batches(kind: str, stream: BinaryIO) -> Iterator[pa.RecordBatch]:
    if kind == "Arrow stream":
        yield from pa.ipc.open_stream(stream)
    elif kind == "Arrow":
        opened = pa.ipc.open_file(stream)
        for number in range(opened.num_record_batches):
            yield opened.get_batch(number)
    else:
        yield from _parquet(stream)


def _parquet(stream: BinaryIO) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq  # noqa: PLC0415  takes as long to load as all the rest of a command

    told = pq.ParquetFile(stream)
    texts = [told.schema.column(n).path for n in range(len(told.schema)) if told.schema.column(n).physical_type == "BYTE_ARRAY"]
    opened = pq.ParquetFile(stream, read_dictionary=texts, buffer_size=1 << 20, pre_buffer=False)
    for group in range(opened.num_row_groups):
        footer = opened.metadata.row_group(group)
        values = max((footer.column(n).num_values for n in range(footer.num_columns)), default=0)
        each = max(1, values // max(1, footer.num_rows))
        rows = max(1, min(_ROWS, _VALUES // each))
        yield from opened.iter_batches(batch_size=rows, row_groups=[group], use_threads=False)


def _slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """A batch in slices of at most _BYTES of text, or of a single row."""
    parts = math.ceil(_size(batch) / _BYTES) if batch.num_rows > 1 else 1
    if parts <= 1:
        if batch.num_rows:
            yield batch
        return
    half = batch.num_rows // 2
    yield from _slices(batch.slice(0, half))
    yield from _slices(batch.slice(half))


def _size(batch: pa.RecordBatch) -> int:
    """Bytes of a batch's texts when they are written out."""
    return sum(_size_of(column) for column in batch.columns)


def _size_of(column: pa.Array) -> int:
    if pa.types.is_dictionary(column.type):
        if column.type.value_type not in (*_TEXT, *_RAW):
            return len(column) * 64
        lengths = pc.binary_length(column.dictionary).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        indices = column.indices.drop_null().to_numpy(zero_copy_only=False).astype(np.int64)
        return int(lengths[indices].sum()) if len(lengths) else 0
    if column.type in (*_TEXT, *_RAW):
        return int(pc.sum(pc.binary_length(column)).as_py() or 0)
    if pa.types.is_struct(column.type):
        return sum(_size_of(inner) for inner in column.flatten())
    if pa.types.is_map(column.type):
        return _size_of(column.keys) + _size_of(column.items)
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type) or pa.types.is_fixed_size_list(column.type):
        return _size_of(column.flatten())
    return int(column.nbytes)


def records_of(batch: pa.RecordBatch) -> Records:
    """What each row of a batch says, in its record form: as a line of JSON of the same row does."""
    columns = [_fields(column) for column in batch.columns]
    return [[text for some in row for text in some] for row in zip(*columns, strict=True)] if columns else []


def _fields(column: pa.Array) -> Records:
    """Of each row, the texts in this column."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if kind in _TEXT:
        return [[] if text is None else [text] for text in column.cast(pa.large_string()).to_pylist()]
    if pa.types.is_timestamp(kind) and kind.unit == "ns":  # Python's times have microseconds
        column = pc.cast(column, pa.timestamp("us", kind.tz), safe=False)
    return [leaves(_plain(value)) for value in column.to_pylist()]


def _plain(value: Any) -> Any:
    """A value as JSON would have it: bytes as text if they are, a map as its pairs."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value
