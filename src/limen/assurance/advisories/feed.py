"""What a feed's bytes hold: the pieces that each should be one OSV record, and where in the feed they lie.

A feed is a zip of records, one record, a list of records, a record a line, or a JSON text sequence (RFC 7464): the last is
what a directory of records is made into, byte for byte. Which of them it is follows from the bytes alone. Pieces are found
one after the other in bounded memory; a piece that can't be one, and a feed that breaks off, are pieces with a reason.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from limen.assurance.advisories import zipped
from limen.assurance.advisories.zipped import Resting
from limen.core.errors import Invalid
from limen.formats.osv import MAX_RECORD

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SEPARATOR: Final = b"\x1e"  # RFC 7464: before each text; no JSON text holds it
MOST: Final = 2_000_000  # records in one feed
MAX_LIST: Final = 64 << 20  # bytes of a list, which is read whole
_SPACE: Final = b" \t\r\n"


class Piece(NamedTuple):
    """One stretch of a feed: its bytes without the white space around them, where they lie, and why they can't be a record.

    `crc` is None for bytes that lie there as they are, else the checksum of a deflated member of a zip.
    """

    raw: bytes
    offset: int
    length: int
    crc: int | None = None
    bad: str = ""
    name: str = ""


def sequence(records: Iterable[bytes]) -> Iterator[bytes]:
    """Chunks of a JSON text sequence of these texts."""
    for raw in records:
        yield SEPARATOR + raw.strip(_SPACE) + b"\n"


def pieces(path: Path) -> Iterator[Piece]:
    """The pieces of a feed that lies in a file, in its order. Never fails over what the bytes are."""
    with _opened(path) as view:
        for count, piece in enumerate(_pieces(view)):
            if count == MOST:
                yield _bad(f"the feed has more than {MOST} records; those from here on were not read", piece.offset)
                return
            yield piece


def read(path: Path, offset: int, length: int, crc: int | None) -> bytes:
    """The bytes of one piece again; Invalid if they aren't there any more."""
    with _opened(path) as view:
        if crc is None:
            return view[offset : offset + length]
        member = zipped.Member("", offset, length, zipped.DEFLATED, crc)
        return zipped.inflated(view, member, most=MAX_RECORD).strip(_SPACE)


@contextmanager
def _opened(path: Path) -> Iterator[Resting]:
    """A file's bytes, of which only what is looked at is read."""
    with path.open("rb") as stream:
        yield Resting(stream.fileno(), path.stat().st_size)


def _pieces(view: Resting) -> Iterator[Piece]:
    beginning = view[: MAX_RECORD + 1]
    if beginning[:2] == b"PK":
        return _of_zip(view)
    first = beginning.lstrip(_SPACE)[:1]
    if first == SEPARATOR:
        return _between(view, SEPARATOR)
    if first == b"[":
        return _of_list(view)
    line = beginning.lstrip(_SPACE).partition(b"\n")[0]
    if _is_json(line):
        return _between(view, b"\n")
    return iter([_piece(view, 0, len(view))])


def _is_json(raw: bytes) -> bool:
    try:
        json.loads(raw)
    except (ValueError, RecursionError):
        return False
    return True


def _between(view: Resting, separator: bytes) -> Iterator[Piece]:
    """The stretches between separators that hold more than white space."""
    start, step = 0, 1 << 20
    looked = 0
    while looked < len(view):
        window = view[looked : looked + step]
        found = window.find(separator)
        while found >= 0:
            piece = _piece(view, start, looked + found)
            if piece.length:
                yield piece
            start = looked + found + 1
            found = window.find(separator, found + 1)
        looked += step
    last = _piece(view, start, len(view))
    if last.length:
        yield last


def _of_list(view: Resting) -> Iterator[Piece]:
    if len(view) > MAX_LIST:
        yield _bad(f"a list of {len(view)} bytes, more than {MAX_LIST}; give one record a line instead", 0)
        return
    text = view[:].decode("latin-1")  # one character a byte; what JSON is made of is ASCII
    scan = json.JSONDecoder().raw_decode
    at = _after(text, text.index("[") + 1)
    while at < len(text) and text[at] != "]":
        try:
            _, end = scan(text, at)
        except (ValueError, RecursionError) as e:
            yield _piece(view, at, len(view))._replace(bad=f"the list can't be read from byte {at} on: {str(e)[:100]}")
            return
        yield _piece(view, at, end)
        at = _after(text, end)
        if text[at : at + 1] == ",":
            at = _after(text, at + 1)
        elif text[at : at + 1] != "]":
            yield _piece(view, at, len(view))._replace(bad=f"the list can't be read from byte {at} on")
            return


def _after(text: str, at: int) -> int:
    """The place of the next character that is not white space."""
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _of_zip(view: Resting) -> Iterator[Piece]:
    try:
        for member in zipped.members(view):
            yield _of_member(view, member)
    except Invalid as e:
        yield _bad(f"the zip {e.why}", 0)


def _of_member(view: Resting, member: zipped.Member) -> Piece:
    place = Piece(b"", member.offset, member.length, None if member.method == zipped.STORED else member.crc, name=member.name)
    if member.bad:
        return place._replace(bad=member.bad)
    try:
        raw = zipped.inflated(view, member, most=MAX_RECORD)
    except Invalid as e:
        return place._replace(bad=e.why)
    if member.method == zipped.STORED:
        return _piece(view, member.offset, member.offset + member.length)._replace(name=member.name)
    return place._replace(raw=raw.strip(_SPACE))


def _piece(view: Resting, start: int, end: int) -> Piece:
    """The bytes from start to end, without white space around them."""
    if end - start > MAX_RECORD:
        return Piece(b"", start, end - start, bad=f"has {end - start} bytes, more than {MAX_RECORD}")
    raw = view[start:end]
    left = len(raw) - len(raw.lstrip(_SPACE))
    raw = raw.strip(_SPACE)
    return Piece(raw, start + left, len(raw))


def _bad(why: str, offset: int) -> Piece:
    return Piece(b"", offset, 0, bad=why)
