"""Parquet's pages and footers, as far as a gateway composes them from what a Parquet library wrote. Apache Parquet 2.11.

Every struct of Parquet's metadata may have an extension field that readers pass over ("Binary Protocol Extensions"). That is how
a page, and a footer, is made longer without saying more: the field repeats `MARK`. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from limen.formats import thriftcompact as thrift

if TYPE_CHECKING:
    from collections.abc import Sequence

    from limen.formats.thriftcompact import Struct

MAGIC: Final = b"PAR1"
MARK: Final = bytes.fromhex("6c1de79a53f54c5b8f0e2ad0c2b74e91")  # tells our padding from other extensions
LEAST: Final = 5
_LENGTH: Final = 4
_ORDINALS: Final = 1 << 15
# FileMetaData, RowGroup, ColumnChunk, ColumnMetaData: the numbers of the fields that are set here (parquet.thrift).
_ROWS, _GROUPS = 3, 4
_COLUMNS, _BYTES, _GROUP_ROWS, _OFFSET, _COMPRESSED, _ORDINAL = 1, 2, 3, 5, 6, 7
_CHUNK_OFFSET, _META = 2, 3
_VALUES, _UNCOMPRESSED, _TOTAL, _FIRST_PAGE = 5, 6, 7, 9
_SAME: Final = (1, 2, 3, 4)  # of a column's metadata: type, encodings, path, codec


@dataclass(frozen=True, slots=True)
class Pages:
    """A column's pages as written, and how long the first one's header is."""

    raw: bytes
    header: int

    def __len__(self) -> int:
        """Their least length."""
        return len(self.raw)

    def padded(self, length: int) -> bytes:
        """The same pages at exactly this length, one that `length_for` gave."""
        gap = length - len(self.raw)
        if not gap:
            return self.raw
        return self.raw[: self.header - 1] + thrift.padding(gap, MARK) + self.raw[self.header - 1 :]


def pages(raw: bytes) -> Pages:
    """Pages that a library wrote; ValueError if they don't begin with a page's header."""
    return Pages(raw, thrift.decode(raw)[1])


def length_for(*some: Pages) -> int:
    """The least length that all of these can have."""
    length = max(map(len, some))
    while any(0 < length - len(one) < LEAST for one in some):
        length += 1
    return length


@dataclass(frozen=True, slots=True)
class Chunk:
    """One column of one row group: where its pages are, and what they hold. `uncompressed` counts their headers too."""

    start: int
    length: int
    values: int
    uncompressed: int


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A row group: its rows and columns."""

    rows: int
    chunks: tuple[Chunk, ...]


def metadata_of(whole: bytes | memoryview) -> Struct:
    """The footer's struct of a Parquet object; ValueError for what is none."""
    end = bytes(whole[-_LENGTH - len(MAGIC) :])
    if end[_LENGTH:] != MAGIC:
        raise ValueError("doesn't end as Parquet does")
    size = int.from_bytes(end[:_LENGTH], "little")
    return thrift.decode(bytes(whole[-len(end) - size : -len(end)]))[0]


def first_group(whole: bytes) -> bytes:
    """An object's footer between two magics, with the first of its row groups only: enough for `footer` to be like it."""
    found = metadata_of(whole)
    kind, (element, groups) = found[_GROUPS]
    return MAGIC + _ended(thrift.encode({**found, _GROUPS: (kind, (element, groups[:1]))}))


def footer(like: Struct, groups: Sequence[RowGroup], *, length: int = 0) -> bytes:
    """The end of a Parquet object with these row groups, and else like another one's; `length` bytes, or the least.

    Schema, key-value metadata, codecs and encodings are the other one's. Statistics, indexes and sort orders are left out: they
    would have to be each copy's own.
    """
    columns = [column[_META][1] for column in like[_GROUPS][1][1][0][_COLUMNS][1][1]]
    whole: Struct = {
        **like,
        _ROWS: (thrift.I64, sum(group.rows for group in groups)),
        _GROUPS: (thrift.LIST, (thrift.STRUCT, [_group(number, group, columns) for number, group in enumerate(groups)])),
    }
    body = thrift.encode(whole)
    gap = length - len(body) - _LENGTH - len(MAGIC) if length else 0
    if gap:
        body = body[:-1] + thrift.padding(gap, MARK) + body[-1:]
    return _ended(body)


def _ended(body: bytes) -> bytes:
    return body + len(body).to_bytes(_LENGTH, "little") + MAGIC


def _group(number: int, group: RowGroup, columns: Sequence[Struct]) -> Struct:
    found: Struct = {
        _COLUMNS: (thrift.LIST, (thrift.STRUCT, [_column(*pair) for pair in zip(group.chunks, columns, strict=True)])),
        _BYTES: (thrift.I64, sum(chunk.uncompressed for chunk in group.chunks)),
        _GROUP_ROWS: (thrift.I64, group.rows),
        _OFFSET: (thrift.I64, group.chunks[0].start),
        _COMPRESSED: (thrift.I64, sum(chunk.length for chunk in group.chunks)),
    }
    if number < _ORDINALS:
        found[_ORDINAL] = (thrift.I16, number)
    return found


def _column(chunk: Chunk, like: Struct) -> dict[int, tuple[int, Any]]:
    meta: Struct = {
        **{number: like[number] for number in _SAME},
        _VALUES: (thrift.I64, chunk.values),
        _UNCOMPRESSED: (thrift.I64, chunk.uncompressed),
        _TOTAL: (thrift.I64, chunk.length),
        _FIRST_PAGE: (thrift.I64, chunk.start),
    }
    return {_CHUNK_OFFSET: (thrift.I64, 0), _META: (thrift.STRUCT, meta)}
