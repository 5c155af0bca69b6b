"""Returned work, row by row: JSONL, CSV, Parquet, JSON and plain text, gzipped or not. Read in pieces, written back in pieces.

What a row is depends on the form: a line, a CSV record, a row of a table, the outermost object of a list in one JSON value.
Rows that stay are written as they were; what is left out of a JSON value makes it written anew, and a Parquet table is always
written anew, without the notes in its schema. What can't be read as rows is refused, never passed on: Invalid says why.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import zlib
from dataclasses import dataclass
from itertools import compress
from typing import IO, TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from limen.core.errors import Invalid
from limen.marks.records import parse_json
from limen.response import rows as forms
from limen.response.lines import Lines, csv_records, delimiter_of, plain
from limen.response.rows import AN_ID, DEPTH, PLAIN_NAME, Batch, Tally, names_twice, row_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from limen.marks.baits import Row
    from limen.response.lines import Out

MAX_VALUE: Final = 1 << 26
MAX_RATIO: Final = 100  # unpacked over packed, past the first GiB
_FREE: Final = 1 << 30
_LOOKED_AT: Final = 1 << 16


def batches(source: Path, out: Out | None = None, *, tally: Tally | None = None) -> Iterator[Batch]:
    """The rows of one returned object. `out` gets those that stay. Invalid for what has no rows that limen can read."""
    tally = tally or Tally()
    with source.open("rb") as raw:
        head = raw.peek(4)[:4]
        if head == b"PAR1":
            yield from _table(source, out, tally)
        elif head[:2] == b"\x1f\x8b":
            yield from _unpacked(raw, source.stat().st_size, out, tally)
        else:
            yield from _text(raw, out, tally)


# --- gzip and encodings


class _Bounded(io.RawIOBase):
    """What a gzip stream holds, as long as it isn't absurdly more than what it is packed in."""

    def __init__(self, packed: IO[bytes], size: int) -> None:
        self._inside = gzip.GzipFile(fileobj=packed)
        self._left = max(_FREE, size * MAX_RATIO)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            piece = self._inside.read(len(buffer))
        except (EOFError, OSError, zlib.error) as e:
            raise Invalid("gzip", f"is damaged: {e}") from e
        self._left -= len(piece)
        if self._left < 0:
            raise Invalid("gzip", f"unpacks to more than {MAX_RATIO} times its size")
        buffer[: len(piece)] = piece
        return len(piece)


def _unpacked(packed: IO[bytes], size: int, out: Out | None, tally: Tally) -> Iterator[Batch]:
    inside = io.BufferedReader(_Bounded(packed, size), 1 << 20)
    head = inside.peek(4)[:4]
    if head == b"PAR1" or head[:2] == b"\x1f\x8b":
        raise Invalid("gzip", "holds a packed form; return that by itself")
    with contextlib.ExitStack() as stack:
        repacked = stack.enter_context(gzip.GzipFile("", "wb", 6, out, mtime=0)) if out is not None else None
        yield from _text(inside, repacked, tally)


def _text(raw: io.BufferedReader[Any], out: Out | None, tally: Tally) -> Iterator[Batch]:
    """Rows of what should be text: one JSON value, CSV, or lines."""
    head = raw.peek(_LOOKED_AT)
    wide = head[:2] in (b"\xff\xfe", b"\xfe\xff")
    if b"\0" in head and not wide:
        raise Invalid("rows", "limen reads no rows of this kind; return JSONL, CSV, Parquet or text")
    with contextlib.ExitStack() as stack:
        text = io.TextIOWrapper(raw, "utf-16", newline="") if wide else None
        if text:
            stack.callback(text.detach)  # what it reads from is not its own
        yield from _formed(Lines(raw, text), out, tally)


def _formed(lines: Lines, out: Out | None, tally: Tally) -> Iterator[Batch]:
    said = [line for line in lines.look_ahead() if line.strip()]
    if not said:
        return
    if said[0].lstrip()[:1] in (b"{", b"["):
        by_itself = parse_json(said[0])[0]
        if not by_itself or len(said) == 1:
            whole = lines.whole(MAX_VALUE)
            good, value = parse_json(whole) if whole is not None else (False, None)
            if good and isinstance(value, dict | list):
                yield from _value(whole or b"", value, out, tally)
                return
            if whole is None and not by_itself:
                raise Invalid("rows", f"one JSON value of more than {MAX_VALUE} bytes; return it as JSONL, a record a line")
    elif delimiter := delimiter_of(said):
        yield from csv_records(lines, delimiter, out, tally)
        return
    yield from plain(lines, out, tally)


# --- one JSON value


@dataclass(slots=True)
class _Unit:
    """A part of a JSON value that can be left out: an element of a list, or a member of an object outside any list."""

    within: Any
    key: Any
    row: Row


def _value(raw: bytes, value: Any, out: Out | None, tally: Tally) -> Iterator[Batch]:
    """The outermost objects and texts of the lists in a JSON value; outside of lists, an object's members."""
    if names_twice(raw.decode(), value):
        raise Invalid("rows", "one JSON value in which an object has a name twice: readers differ in what that says")
    units: list[_Unit] = []
    root = [value]
    if isinstance(value, dict) and all(_is_of_a_record(key, item) for key, item in value.items()):
        units.append(_Unit(root, 0, row_of(value)))
    else:
        _units(value, units, DEPTH)
    lost: list[_Unit] = []
    for first in range(0, len(units), forms.AT_ONCE):
        some = units[first : first + forms.AT_ONCE]
        batch = Batch([unit.row for unit in some], {}, [])
        yield batch
        lost += compress(some, batch.why)
        tally.settle(batch.why)
    if out is not None:
        for unit in reversed(lost):  # from the end, so that places in lists stay what they were
            del unit.within[unit.key]
        out.write("\n".join(json.dumps(one, ensure_ascii=False) for one in root).encode() if lost else raw)


def _is_of_a_record(key: str, item: Any) -> bool:
    """Whether a member looks like a record's own, rather than like one of many that are named by their ids."""
    return bool(PLAIN_NAME.match(key)) and not isinstance(item, dict | list)


def _units(value: Any, units: list[_Unit], depth: int) -> None:
    if not depth:
        raise Invalid("rows", f"a value is nested more than {DEPTH} deep")
    if isinstance(value, list):
        for at, item in enumerate(value):
            if isinstance(item, list):
                _units(item, units, depth - 1)
            else:
                units.append(_Unit(value, at, row_of(item)))
        return
    for key, item in value.items():
        holds_more = isinstance(item, dict) and any(isinstance(inner, dict | list) for inner in item.values())
        if holds_more or isinstance(item, list):
            _units(item, units, depth - 1)
        else:
            units.append(_Unit(value, key, [(AN_ID, key), *row_of({key: item})]))


# --- Parquet


def _table(source: Path, out: Out | None, tally: Tally) -> Iterator[Batch]:
    """Rows of a Parquet table. Only its columns are passed on: notes in its schema could say anything."""
    try:
        with pq.ParquetFile(source) as table, contextlib.ExitStack() as stack:
            schema = pa.schema([column.remove_metadata() for column in table.schema_arrow])
            to = stack.enter_context(pq.ParquetWriter(out, schema)) if out is not None else None
            for piece in table.iter_batches(batch_size=forms.AT_ONCE):
                batch = Batch([row_of(row) for row in piece.to_pylist()], {}, [])
                yield batch
                tally.settle(batch.why)
                if to is not None:
                    kept = piece.filter(pa.array([not why for why in batch.why], pa.bool_()))
                    to.write_batch(pa.record_batch(kept.columns, schema=schema))
    except (pa.ArrowException, OSError) as e:
        if isinstance(e, OSError) and e.errno:
            raise  # the disk's fault, not the table's
        raise Invalid("rows", f"is no sound Parquet: {str(e).splitlines()[0]}") from e
