"""The records of a source, where each one's bytes are, and what it says: JSONL, CSV (RFC 4180) and text by paragraph.

A scan cuts a source into records without changing a byte: content [start, end), then its terminator [end, next). What
can't be parsed as its kind (a blank line, a line that is not JSON, an unterminated last record) is still a record; it is
not `sound`, so it is served to everyone as it is. A CSV header is no record. JSONL records are lines; a text's are runs of
lines that are not blank. Record numbers count from 0 in the source's order.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal

import msgspec
import numpy as np

from limen.core.errors import Invalid
from limen.marks import nearby, normalise
from limen.marks.tables import as_digests

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

Media = Literal["jsonl", "csv", "text", "jsonl.gz", "csv.gz", "text.gz", "parquet", "authored"]
PLAIN: Final[tuple[Media, ...]] = ("jsonl", "csv", "text")  # what is cut where it stands; the others are compressed (`segments`)
_AT_ONCE: Final = 1 << 24
_DEPTH: Final = 64
LONGEST: Final = 1 << 26  # bytes of a line or record: one is read at once


@dataclass(slots=True)
class Scan:
    """Where the records are. `header` bytes before the first record are common to all; `why` says why none can be marked."""

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    next: NDArray[np.int64]
    header: int = 0
    delimiter: str = ","
    fields: int = 0
    why: str = ""

    def __len__(self) -> int:
        return len(self.start)


def scan(source: memoryview, media: Media) -> Scan:
    """Cut a source into records."""
    match media:
        case "jsonl":
            return _lines(source, _newlines(source))
        case "csv":
            return _csv(source)
        case "text":
            found = _paragraphs(source)
            if int((found.end - found.start).max(initial=0)) > LONGEST:
                found.why = f"a paragraph in it is longer than {LONGEST >> 20} MiB"
            return found
    raise Invalid("media", f"{media!r} is none of jsonl, csv, text")


@dataclass(slots=True)
class Reading:
    """What records say. `keys` are 128-bit digests by which a leak is recognised, `owner` says which record each is of.

    `whole` names the record: equal digests are equal records. `sound` records parsed as their kind and say enough to be
    recognised. `name` is the digest of a JSON record's `id`, where it has one (`named`). `drawn` are runs of
    words by which a rewritten record is known.
    """

    sound: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    whole: NDArray[np.uint64]
    name: NDArray[np.uint64]
    named: NDArray[np.bool_]
    keys: bytes
    owner: NDArray[np.int64]
    drawn: nearby.Drawn


def read(source: memoryview, media: Media, found: Scan, *, scope: bytes) -> Iterator[Reading]:
    """Read all records, some megabytes at a time. `scope` keeps equal ids of two shards apart."""
    first = 0
    while first < len(found):
        last = int(np.searchsorted(found.end, found.start[first] + _AT_ONCE, side="right"))
        last = max(last, first + 1)
        raw = [bytes(source[a:b]) for a, b in zip(found.start[first:last].tolist(), found.end[first:last].tolist(), strict=True)]
        yield _read(raw, media, found, first=first, scope=scope)
        first = last


def keys_of(fields: Sequence[Sequence[bytes]]) -> tuple[list[bytes], list[list[bytes]]]:
    """Of each record's normalised fields: its whole text, and every text that stands for it.

    Whole in the order given (a line of text), whole with fields sorted (columns and keys reordered), and each field that
    is long enough to stand alone (other fields dropped or added).
    """
    wholes: list[bytes] = []
    stands: list[list[bytes]] = []
    for record in fields:
        said = [field for field in record if field]
        whole = b" ".join(sorted(said))
        wholes.append(whole)
        texts = {whole: None, b" ".join(said): None, **dict.fromkeys(said)}
        stands.append([text for text in texts if len(text) >= normalise.MIN_TEXT])
    return wholes, stands


def leaves(value: Any) -> list[str]:
    """The texts in a JSON value, in its order; numbers and truth values as JSON writes them."""
    out: list[str] = []
    _leaves(value, out, _DEPTH)
    return out


def parse_json(raw: bytes | str) -> tuple[bool, Any]:
    """(True, value) for one JSON value, (False, None) otherwise."""
    try:
        return True, msgspec.json.decode(raw)
    except (ValueError, RecursionError):  # msgspec's DecodeError is a ValueError
        return False, None


def fields_of_all(texts: Sequence[Sequence[str]]) -> list[Sequence[bytes]]:
    """Normalise every field of every record, together."""
    flat = normalise.normalise_all(list(chain.from_iterable(texts)))
    counts = list(map(len, texts))
    if counts and counts[0] and counts.count(counts[0]) == len(counts):
        return list(zip(*[iter(flat)] * counts[0], strict=True))  # the same fields in each: no need to count
    out: list[Sequence[bytes]] = []
    at = 0
    for count in counts:
        out.append(flat[at : at + count])
        at += count
    return out


def reading_of(texts: Sequence[list[str]], names: Sequence[bytes | None], *, first: int, scope: bytes) -> Reading:
    """What records say that are told already: each one's texts, and its `id`. All of them parsed as their kind."""
    named = np.array([name is not None for name in names], dtype=np.bool_)
    ids = b"".join(bytes(16) if name is None else normalise.digest(scope + b"\0" + name) for name in names)
    fields = fields_of_all(texts)
    wholes, stands = keys_of(fields)
    counts = [len(some) for some in stands]
    valid = np.ones(len(texts), dtype=np.bool_)
    return Reading(
        sound=np.array([len(whole) >= normalise.MIN_TEXT for whole in wholes], dtype=np.bool_),
        valid=valid,
        whole=as_digests(normalise.digests(wholes)),
        name=as_digests(ids),
        named=named,
        keys=normalise.digests(text for some in stands for text in some),
        owner=np.repeat(np.arange(len(texts)) + first, counts),
        drawn=nearby.drawn(fields),
    )


def _read(raw: list[bytes], media: Media, found: Scan, *, first: int, scope: bytes) -> Reading:
    parsed = [_PARSERS[media](record, found) for record in raw]
    told = reading_of([said for _, said, _ in parsed], [name for _, _, name in parsed], first=first, scope=scope)
    # An unterminated last record stays common: whatever took its place would need a terminator that it doesn't have.
    terminated = found.next[first : first + len(raw)] > found.end[first : first + len(raw)]
    told.valid = np.array([good for good, *_ in parsed], dtype=np.bool_) & terminated
    told.sound &= told.valid
    return told


def _json_record(raw: bytes, _: Scan) -> tuple[bool, list[str], bytes | None]:
    good, value = parse_json(raw)
    if not good:
        return False, [], None
    name = value.get("id") if isinstance(value, dict) else None
    return True, leaves(value), str(name).encode() if isinstance(name, str | int) and not isinstance(name, bool) else None


def _csv_record(raw: bytes, found: Scan) -> tuple[bool, list[str], bytes | None]:
    try:
        rows = list(csv.reader([raw.decode()], delimiter=found.delimiter, strict=True))
    except (UnicodeDecodeError, csv.Error):
        return False, [], None
    return len(rows) == 1 and len(rows[0]) == found.fields, rows[0] if rows else [], None


def _text_record(raw: bytes, _: Scan) -> tuple[bool, list[str], bytes | None]:
    try:
        return True, [raw.decode()], None
    except UnicodeDecodeError:
        return False, [raw.decode(errors="replace")], None


_PARSERS: Final = {"jsonl": _json_record, "csv": _csv_record, "text": _text_record}


def _leaves(value: Any, out: list[str], depth: int) -> None:
    if isinstance(value, str):
        out.append(value)
    elif isinstance(value, dict):
        if depth:
            for item in value.values():
                _leaves(item, out, depth - 1)
    elif isinstance(value, list):
        if depth:
            for item in value:
                _leaves(item, out, depth - 1)
    elif isinstance(value, bool):
        out.append("true" if value else "false")
    elif value is not None:
        out.append(str(value))


def has_long_line(stream: BinaryIO) -> bool:
    """Whether a line is longer than LONGEST, looked for a few megabytes at a time and no further than the first."""
    at, before = 0, -1
    while chunk := stream.read(_AT_ONCE):
        found = np.flatnonzero(np.frombuffer(chunk, dtype=np.uint8) == ord("\n")) + at
        at += len(chunk)
        lengths = np.diff(np.concatenate([[before], found, [at]]))
        if int(lengths.max()) > LONGEST + 1:
            return True
        before = int(found[-1]) if len(found) else before
    return False


def _newlines(source: memoryview) -> NDArray[np.int64]:
    whole = np.frombuffer(source, dtype=np.uint8)
    parts = [np.flatnonzero(whole[at : at + _AT_ONCE] == ord("\n")) + at for at in range(0, len(whole), _AT_ONCE)]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def _lines(source: memoryview, newlines: NDArray[np.int64]) -> Scan:
    """Lines that end at the given newlines, LF or CRLF; what follows the last one is an unterminated line."""
    after = newlines + 1
    if len(source) and (not len(after) or after[-1] != len(source)):
        after = np.append(after, len(source))
    start = np.concatenate([np.zeros(min(1, len(after)), dtype=np.int64), after[:-1]])
    end = after.copy()
    bytes_ = np.frombuffer(source, dtype=np.uint8)
    ended = bytes_[after - 1] == ord("\n") if len(after) else np.zeros(0, dtype=np.bool_)
    end[ended] -= 1
    crlf = ended & (end > start)
    crlf[crlf] = bytes_[end[crlf] - 1] == ord("\r")
    end[crlf] -= 1
    return Scan(start, end, after)


def _csv(source: memoryview) -> Scan:
    """Records end at newlines outside quotes; the first is the header."""
    newlines = _newlines(source)
    whole = np.frombuffer(source, dtype=np.uint8)
    quotes = [np.flatnonzero(whole[at : at + _AT_ONCE] == ord('"')) + at for at in range(0, len(whole), _AT_ONCE)]
    before = np.searchsorted(np.concatenate(quotes), newlines) if quotes else np.zeros(len(newlines), dtype=np.int64)
    lines = _lines(source, newlines[before % 2 == 0])
    if not len(lines):
        return lines
    head = bytes(source[: int(lines.end[0])]).decode(errors="replace")
    delimiter = max(",;\t|", key=head.count)
    found = Scan(lines.start[1:], lines.end[1:], lines.next[1:], int(lines.next[0]), delimiter)
    if int((found.end - found.start).max(initial=0)) > LONGEST:
        found.why = f"a record in it is longer than {LONGEST >> 20} MiB"
        return found
    try:
        found.fields = len(next(csv.reader([head], delimiter=delimiter, strict=True), []))
    except csv.Error:
        found.why = "its header is not CSV"
        return found
    for number, (a, b) in enumerate(zip(found.start.tolist(), found.end.tolist(), strict=True)):
        # Quotes that don't balance would make us cut where other readers don't: then nothing here may be moved.
        raw = bytes(source[a:b])
        if b'"' in raw and not _csv_record(raw, found)[0]:
            found.why = f"record {number} has quotes that don't balance, or another number of fields than the header"
            break
    return found


def _paragraphs(source: memoryview) -> Scan:
    """Runs of lines that are not blank; the blank lines after a paragraph are part of its terminator."""
    lines = _lines(source, _newlines(source))
    if not len(lines):
        return lines
    seen = np.zeros(len(lines), dtype=np.bool_)
    for number, (a, b) in enumerate(zip(lines.start.tolist(), lines.end.tolist(), strict=True)):
        seen[number] = bool(bytes(source[a:b]).strip())
    before = np.concatenate([[False], seen[:-1]])
    first = np.flatnonzero(seen & ~before)
    last = np.flatnonzero(seen & ~np.append(seen[1:], False))
    start = lines.start[first]
    header = int(start[0]) if len(start) else len(source)
    return Scan(start, lines.end[last], np.append(start[1:], len(source))[: len(start)], header)
