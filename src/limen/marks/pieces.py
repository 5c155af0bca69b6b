"""What a text falls into: records with their fields, lines and paragraphs; a stretch at a time, however long the text is.

A text is JSON, JSONL, or CSV if it reads as such; lines that are none of these are text, by line and by paragraph. It is
decoded and cut as it comes: after a blank line if there is one, else after a line, else between words. So a stretch is never
longer than `AT_ONCE` characters, and a line of ten gigabytes is read in as little memory as one of ten.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec

from limen.marks.records import leaves, parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AT_ONCE: Final = 1 << 21
HEAD: Final = 1 << 16  # bytes by which a part's kind is told
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_JSON: Final = msgspec.json.Decoder()
_FLAT_JSON: Final = msgspec.json.Decoder(dict[str, str])
_STRING: Final = re.compile(r'"((?:[^"\\\n]|\\.){8,})"')  # one long enough to stand for itself
_JSON_LINE: Final = re.compile(r"^[^\S\n]*[\[{]", re.MULTILINE)
_LEAST_LINES: Final = 2  # in a paragraph that isn't just its line
_LOOKED_AT: Final = 200  # rows by which it is told whether a text is CSV at all
_TRIES: Final = 16  # lines back that a cut may go for one where quotes balance
_LEAST_TOLD: Final = 8  # bytes
_LEAST_OF_TWO: Final = 0.4  # of a head's bytes: zeros in text of two bytes a letter


@dataclass(frozen=True, slots=True)
class Pieces:
    """What a sample falls into: records as lists of their fields; and of text its lines, and what its lines may make up.

    `rows`: the lines as CSV, if they look like it. `paragraphs`: of two lines or more.
    """

    records: list[list[str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    paragraphs: list[str] = field(default_factory=list)


def encoding_of(head: bytes) -> str | None:
    """How a text that begins like this is encoded; None if it is no text."""
    for mark, name in _BOMS:
        if head.startswith(mark):
            return name
    if b"\0" not in head:
        return "utf-8"
    for first, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        if len(head) < _LEAST_TOLD:
            break
        # Latin letters in UTF-16 have a zero for their every other byte, and none for the rest.
        if head[first::2].count(0) > _LEAST_OF_TWO * len(head) and head[1 - first :: 2].count(0) == 0:
            return name
    return None


def pieces_in(read: Callable[[int], bytes], encoding: str) -> Iterator[Pieces]:
    """The pieces of a text that `read` gives, as bytes in this encoding; what can't be decoded is replaced."""
    first, by_string = True, False
    for text, last in _texts(read, encoding):
        if first and not last:
            by_string = _begins_one_value(text)
        yield pieces_of(text, alone=first and last, string_by_string=by_string)
        first = False


def pieces_of(text: str, *, alone: bool = True, string_by_string: bool = False) -> Pieces:
    """A text as JSON or JSONL if it is, as text otherwise, and as CSV too if it looks like it.

    `alone`: this is all of it. `string_by_string`: it is part of a JSON value, of which each long string is a record.
    """
    if alone:
        good, whole = parse_json(text)
        if good and isinstance(whole, dict | list):
            return Pieces([leaves(item) for item in (whole if isinstance(whole, list) else [whole])])
    rows = _json_lines(text)
    if rows is not None:
        return Pieces(rows)
    if string_by_string:
        return Pieces([[said] for said in _strings(text)])
    lines = text.splitlines()
    records: list[list[str]] = []
    if ("{" in text or "[" in text) and _JSON_LINE.search(text):
        records, lines = _parted(lines)
    said = [line for line in lines if line and not line.isspace()]
    if len(records) > len(said):
        return Pieces(records, said)
    if records:
        # A line of a text may be a JSON value by chance: `[]` in a program.
        lines = text.splitlines()
        said = [line for line in lines if line and not line.isspace()]
    rows, nothing_else = _rows(text)
    if nothing_else:
        return Pieces(rows)
    if len(said) < _LEAST_LINES:
        return Pieces(records, said, rows)
    whole_text = "\n".join("" if line.isspace() else line for line in lines)
    paragraphs = [part for part in whole_text.split("\n\n") if "\n" in part.strip("\n")]
    return Pieces(records, said, rows, paragraphs)


def _parted(lines: list[str]) -> tuple[list[list[str]], list[str]]:
    """The records among lines, and the lines that are none."""
    records: list[list[str]] = []
    rest: list[str] = []
    for line in lines:
        good, value = parse_json(line) if line.lstrip()[:1] in ("{", "[") else (False, None)
        if good:
            records.append(leaves(value))
        else:
            rest.append(line)
    return records, rest


def _begins_one_value(text: str) -> bool:
    """Whether this begins a JSON value that is longer than its first line, so longer than can be held."""
    line = text.lstrip().split("\n", 1)[0]
    return line[:1] in {"{", "["} and not parse_json(line)[0]


def _json_lines(text: str) -> list[list[str]] | None:
    """The records of a text every line of which is a JSON object; None if it is anything else."""
    if text[:1] != "{":
        return None
    try:
        return [list(row.values()) for row in _FLAT_JSON.decode_lines(text)]
    except (ValueError, RecursionError):
        pass
    try:
        rows: list[Any] = _JSON.decode_lines(text)
    except (ValueError, RecursionError):
        return None
    return [leaves(row) for row in rows]


def _strings(text: str) -> Iterator[str]:
    for found in _STRING.finditer(text):
        good, said = parse_json(found[0])
        yield said if good else found[1]


def _rows(text: str) -> tuple[list[list[str]], bool]:
    """The rows of a text that looks like CSV: most have two fields or more. And whether it is nothing else: all have as many."""
    first = text[: text.find("\n")] if "\n" in text else text
    delimiter = max(",;\t|", key=first.count)
    start = list(islice(_csv(text[: _LOOKED_AT * 100], delimiter, []), _LOOKED_AT))
    if sum(len(row) > 1 for row in start) * 2 <= len(start):
        return [], False
    unread: list[str] = []
    rows = list(_csv(text, delimiter, unread))
    if sum(len(row) > 1 for row in rows) * 2 <= len(rows):
        return [], False
    return rows, not unread and len(rows) > 1 and len({len(row) for row in rows}) == 1


def _csv(text: str, delimiter: str, unread: list[str]) -> Iterator[list[str]]:
    try:
        yield from filter(None, csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as e:
        unread.append(str(e))  # the rows before an error are as good as any; the text is read as text too


def _texts(read: Callable[[int], bytes], encoding: str) -> Iterator[tuple[str, bool]]:
    """A text in stretches, each with whether it is the last."""
    decode = codecs.getincrementaldecoder(encoding)(errors="replace").decode
    held = ""
    ended = False
    while not ended:
        parts, size = [held], len(held)
        while size < AT_ONCE and not ended:
            raw = read(AT_ONCE // 4)
            ended = not raw
            parts.append(decode(raw, final=ended))
            size += len(parts[-1])
        held = "".join(parts)
        if ended:
            break
        cut = _cut(held)
        yield held[:cut], False
        held = held[cut:]
    yield held, True


def _cut(text: str) -> int:
    """Where to cut: as late as it can be without parting what may belong together."""
    half = len(text) // 2
    at = text.rfind("\n", half) + 1
    if not at:
        at = text.rfind("\n") + 1
        # Without a line's end, between words: a run of words across the cut is lost, which is one in hundreds of thousands.
        return at or max(*(text.rfind(space, half) + 1 for space in " \t\r"), 0) or len(text)
    if text[:1] == "{":
        return at
    blank = text.rfind("\n\n", half) + 2
    for end in ([blank] if blank > 1 else []) + _ends(text, at, half):
        # A field of CSV may hold newlines, between quotes.
        if text.count('"', 0, end) % 2 == 0:
            return end
    return at


def _ends(text: str, at: int, half: int) -> list[int]:
    """The last few lines' ends, the latest first."""
    out: list[int] = []
    while at > half and len(out) < _TRIES:
        out.append(at)
        at = text.rfind("\n", half, at - 1) + 1
    return out
