"""Cuts a stream of bytes into the pieces that hold one event each: lines, or the objects of a JSON array (RFC 8259).

Memory is bounded: a piece longer than `most` is passed over and told. What can't be cut is told with its offset, and
reading goes on at the next place where an object begins.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

LONGEST: Final = 4 << 20
_BOM: Final = b"\xef\xbb\xbf"
_SPACE: Final = " \t\r\n,"
_BEGINS: Final = re.compile(r"""[\[,]\s*(?=\{\s*")""")  # an object in an array
_ARRAY: Final = re.compile(r'\s*(?:\{\s*"Records"\s*:\s*)?\[')
_scan = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str).raw_decode


class Piece(NamedTuple):
    """One event's bytes or text, and where it begins. `why` is set instead if it can't be one."""

    offset: int
    text: bytes | str
    why: str = ""


class Lines:
    """The lines that are not empty, a chunk's worth at a time. Iterate it once.

    After it, `rest` is what follows the last newline, if anything does: a line that may be whole or not.
    """

    def __init__(self, chunks: Iterable[bytes], *, most: int = LONGEST) -> None:
        self.rest: Piece | None = None
        self._chunks = chunks
        self._most = most

    def __iter__(self) -> Iterator[list[Piece]]:
        rest, at, skipping = b"", 0, False
        for chunk in self._chunks:
            block = rest + chunk if rest else chunk
            found: list[Piece] = []
            split = block.split(b"\n")
            rest = split.pop()
            for line in split:
                if skipping:
                    skipping = False  # the end of a line that was told already
                elif len(line) > self._most:
                    found.append(Piece(at, b"", _too_long(self._most)))
                elif line and not line.isspace():
                    found.append(Piece(at, line))
                at += len(line) + 1
            if len(rest) > self._most:
                if not skipping:
                    found.append(Piece(at, b"", _too_long(self._most)))
                    skipping = True
                at += len(rest)
                rest = b""
            yield found
        if rest.strip() and not skipping:
            self.rest = Piece(at, rest)


def _too_long(most: int) -> str:
    return f"is longer than {most} bytes"


def is_array(head: bytes) -> bool:
    """Whether bytes begin a JSON array of events, bare or as CloudTrail's `Records`."""
    return _ARRAY.match(head[:4096].removeprefix(_BOM).decode("utf-8", "replace")) is not None


def without_bom(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes without a byte order mark at their beginning, which offsets then count as not there."""
    first = True
    for chunk in chunks:
        yield chunk.removeprefix(_BOM) if first else chunk
        first = False


class Objects:
    """The objects of an array, one by one, from a stream of any length. Iterate it once.

    After something broken, objects are looked for anywhere, and only those that are `like` an event are given: the broken
    one's own parts are objects too. When it has ended, `ended` says whether the array was closed.
    """

    def __init__(self, chunks: Iterable[bytes], *, like: Callable[[str], bool], most: int = LONGEST) -> None:
        self.ended = False
        self._chunks = iter(chunks)
        self._like = like
        self._most = most
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        self._text = ""
        self._at = 0  # where in the text we are
        self._offset = 0  # and where in the stream
        self._over = False  # no more chunks
        self._torn = False  # looking for the next event after something broken

    def __iter__(self) -> Iterator[Piece]:
        self._more()
        if opening := _ARRAY.match(self._text):
            self._go(opening.end())
        while self._past_space():
            offset, end = self._offset, None
            if self._text[self._at] == "{":
                end = self._object()
            elif self._text[self._at] == "]" and not self._torn:
                self.ended = True
                return
            if end is not None:
                piece = self._text[self._at : end]
                self._go(end)
                if not self._torn or self._like(piece):
                    self._torn = False
                    yield Piece(offset, piece)
                    continue
            elif self._over and self._cut_off():
                return
            elif not self._torn:
                too_long = len(self._text) - self._at > self._most
                yield Piece(offset, "", _too_long(self._most) if too_long else "is not a JSON object")
            self._torn = True
            if not self._next_beginning():
                return

    def _past_space(self) -> bool:
        """Go to where the next thing begins; False at the end."""
        while True:
            at = self._at
            while at < len(self._text) and self._text[at] in _SPACE:
                at += 1
            self._go(at)
            if at < len(self._text):
                return True
            if not self._more():
                return False

    def _object(self) -> int | None:
        """Where the object that begins here ends; None if none does within the longest that may be."""
        while True:
            try:
                return _scan(self._text, self._at)[1]
            except json.JSONDecodeError as e:
                if e.pos < len(self._text) - 16 and not e.msg.startswith("Unterminated"):
                    return None
            except RecursionError:
                return None
            if len(self._text) - self._at > self._most or not self._more():
                return None

    def _cut_off(self) -> bool:
        """Whether what is left is the beginning of one object, so that the stream ended within it."""
        return len(self._text) - self._at <= self._most and _BEGINS.search(self._text, self._at + 1) is None

    def _next_beginning(self) -> bool:
        """Go to where an object may begin, beyond here; False if the stream ends before."""
        after = self._at + 1 if self._at < len(self._text) else self._at
        while True:
            found = _BEGINS.search(self._text, after)
            if found is not None:
                self._go(found.end())
                return True
            # Keep what may be the first half of a beginning. An array that is closed at the end of it all has ended.
            self._go(max(self._at, len(self._text) - 64))
            if not self._more():
                self.ended = self._text.rstrip(" \t\r\n}").endswith("]")
                return False
            after = self._at

    def _more(self) -> bool:
        """Read on; False at the end."""
        for chunk in self._chunks:
            self._text = self._text[self._at :] + self._decode(chunk)
            self._at = 0
            return True
        self._over = True
        return False

    def _go(self, to: int) -> None:
        if to > self._at:
            passed = self._text[self._at : to]
            self._offset += len(passed) if passed.isascii() else len(passed.encode("utf-8", "surrogateescape"))
            self._at = to
