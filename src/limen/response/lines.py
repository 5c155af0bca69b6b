"""Returned work that stands in lines: JSONL, CSV and plain text. What stays is written as it stood; UTF-16 becomes UTF-8."""

from __future__ import annotations

import csv
import re
from collections import deque
from itertools import compress, zip_longest
from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import Invalid
from limen.response import rows as forms
from limen.response.rows import Batch, Tally, row_of_json

if TYPE_CHECKING:
    import gzip
    import io
    from collections.abc import Iterator
    from typing import IO

    from limen.marks.baits import Row

    Out = IO[bytes] | gzip.GzipFile

MAX_LINE: Final = 1 << 24
_BYTES: Final = 1 << 22
_HELD: Final = 256  # lines of a text that are looked at again together with those that follow
_SAMPLE: Final = 1 << 16
_TOKEN: Final = re.compile(r"[^\s,;|\t\"'()\[\]{}]{6,}")


class Lines:
    """Lines with their ends, as UTF-8. Those that were looked at already come first."""

    def __init__(self, raw: io.BufferedReader[Any], wide: io.TextIOWrapper | None) -> None:
        self._raw = raw
        self._wide = wide
        self._ahead: deque[bytes] = deque()
        self._first = True

    def __iter__(self) -> Iterator[bytes]:
        while line := self._ahead.popleft() if self._ahead else self._line():
            yield line

    def look_ahead(self) -> list[bytes]:
        """The first lines, some kilobytes of them; they will be read again."""
        size = 0
        while size < _SAMPLE and (line := self._line()):
            self._ahead.append(line)
            size += len(line)
        return list(self._ahead)

    def whole(self, limit: int) -> bytes | None:
        """All that is left, or None (and nothing is lost) if that is more than the limit."""
        size = sum(map(len, self._ahead))
        while size <= limit and (line := self._line()):
            self._ahead.append(line)
            size += len(line)
        return b"".join(self._ahead) if size <= limit else None

    def _line(self) -> bytes:
        try:
            line = self._wide.readline(MAX_LINE).encode() if self._wide else self._raw.readline(MAX_LINE)
            line.decode()
        except UnicodeError as e:
            raise Invalid("rows", "is not UTF-8 text; save it as UTF-8") from e
        if len(line) >= MAX_LINE:
            raise Invalid("rows", f"has a line of more than {MAX_LINE} bytes")
        if self._first:
            self._first, line = False, line.removeprefix(b"\xef\xbb\xbf")
        return line


def plain(lines: Lines, out: Out | None, tally: Tally) -> Iterator[Batch]:
    """Lines, each a JSON value or text. The last ones of a batch come again with those that follow, if they are loose."""
    held: list[bytes] = []
    before: list[str] = []
    source = iter(lines)
    more = True
    while more:
        some, more = _next(source, held)
        rows = [_line_row(line) for line in some]
        loose = {at: row[0][1] for at, (line, row) in enumerate(zip(some, rows, strict=True)) if row[:1] == [("", _said(line))]}
        hold = _HELD if more and loose and max(loose) >= len(some) - _HELD and len(some) > 2 * _HELD else 0
        batch = Batch(rows, loose, [])
        yield batch
        why = [earlier or now for now, earlier in zip_longest(batch.why, before, fillvalue="")]
        settled = len(some) - hold
        _settle(some[:settled], why[:settled], [bool(line.strip()) for line in some[:settled]], out, tally)
        held, before = some[settled:], why[settled:]


def _next(source: Iterator[bytes], held: list[bytes]) -> tuple[list[bytes], bool]:
    """The next lines behind those that were held, and whether there may be more."""
    some, size = list(held), 0
    for line in source:
        some.append(line)
        size += len(line)
        if len(some) - len(held) >= forms.AT_ONCE or size >= _BYTES:
            return some, True
    return some, False


def _settle(raw: list[bytes], why: list[str], counts: list[bool], out: Out | None, tally: Tally) -> None:
    """Write what stays, and count what counts."""
    tally.settle(list(compress(why, counts)))
    if out is not None:
        out.writelines(line for line, left_out in zip(raw, why, strict=True) if not left_out)


def _said(line: bytes) -> str:
    return line.decode().strip()


def _line_row(line: bytes) -> Row:
    said = _said(line)
    if said[:1] in ("{", "["):
        row = row_of_json(said)
        if row is not None:
            return row
    # A line may begin or end with an id: its words are looked at by themselves as well.
    return [("", said), *(("", word) for word in _TOKEN.findall(said) if word != said)] if said else []


def delimiter_of(said: list[bytes]) -> str:
    """What parts the fields of a text that looks like CSV: the first record has it, and most of the others as often."""
    first = said[0].decode()
    delimiter = max(",;\t|", key=first.count)
    if not first.count(delimiter):
        return ""
    try:
        rows = list(csv.reader((line.decode() for line in said[:-1] or said), delimiter=delimiter))
    except csv.Error:
        return ""
    width = len(rows[0])
    return delimiter if width > 1 and sum(len(row) == width for row in rows) * 2 > len(rows) else ""


def csv_records(lines: Lines, delimiter: str, out: Out | None, tally: Tally) -> Iterator[Batch]:
    """Records of CSV (RFC 4180). The first is the header: looked at as well, and counted only if it is left out."""
    names: list[str] = []
    for some in _records(lines, delimiter):
        header = not names
        names = names or some[0][1]
        rows = [[(name, text) for name, text in zip_longest(names, record, fillvalue="") if text] for _, record in some]
        if header:
            rows[0] = [("", text) for text in names]
        odd = {at: " ".join(record) for at, (_, record) in enumerate(some) if record and len(record) != len(names)}
        batch = Batch(rows, odd, [])
        yield batch
        counts = [bool(record) for _, record in some]
        counts[0] &= not header or bool(batch.why[0])
        _settle([raw for raw, _ in some], batch.why, counts, out, tally)


def _records(lines: Lines, delimiter: str) -> Iterator[list[tuple[bytes, list[str]]]]:
    """Records with the bytes that they stand in, a batch at a time."""
    taken: list[bytes] = []

    def tapped() -> Iterator[str]:
        for line in lines:
            taken.append(line)
            yield line.decode()

    some: list[tuple[bytes, list[str]]] = []
    size = 0
    reader = csv.reader(tapped(), delimiter=delimiter, strict=True)
    try:
        for record in reader:
            some.append((b"".join(taken), record))
            size += len(some[-1][0])
            taken.clear()
            if len(some) >= forms.AT_ONCE or size >= _BYTES:
                yield some
                some, size = [], 0
    except csv.Error as e:
        raise Invalid("rows", f"is no CSV in the record that ends at line {reader.line_num}: {e}") from e
    if some:
        yield some
