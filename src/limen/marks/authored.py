"""Authored alternatives: places in a Markdown guideline where its author wrote two wordings, of which each recipient gets one.

    <!-- limen:either [NAME] -->          The three markers stand alone on their lines, as here (a block: paragraphs, list
    Read the whole answer first.          items), or all of it is within one line (words within a paragraph):
    <!-- limen:or -->
    Before anything else, read it all.    Rate it. <!-- limen:either -->One wording.<!-- limen:or -->The other.<!-- limen:end -->
    <!-- limen:end -->

Any other reader of Markdown sees comments (CommonMark 0.31, sections 4.6 and 6.6). No marker is ever served. The shorter
wording is followed by spaces where they change nothing: before a blank line, at the end of a paragraph, between two words.
What is wrong with a source is said with its line. Pure. `guide` prepares what this reads.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from limen.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONGEST: Final = 1 << 24  # bytes of a source with markers: a guideline is read by people
_AT_ONCE: Final = 1 << 22
_LONGEST_START: Final = 1 << 10  # bytes of a comment before it speaks
SPEAKS: Final = re.compile(rb"<!--[ \t\r\n]{0,1000}limen\b", re.IGNORECASE)
_MARKER: Final = re.compile(
    rb"<!--[ \t\r\n]{0,1000}limen:(either|or|end)(?:[ \t]+([A-Za-z0-9][A-Za-z0-9._-]{0,63}))?[ \t\r\n]*-->"
)
_FENCE: Final = re.compile(rb"[ \t>]*(`{3,}|~{3,})")
_ITEM: Final = re.compile(rb"[ \t]*(?:[-*+]|[0-9]{1,9}[.)])[ \t]")
_ENDS_ITSELF: Final = re.compile(rb"[ \t]*(?:#{1,6}[ \t]|\||`{3}|~{3})")  # a heading, a table's row, a fence
_BEGINS_ANEW: Final = re.compile(rb"[ \t]*(?:#{1,6}[ \t]|`{3}|~{3})")
_GAP: Final = re.compile(rb"(?<=[0-9A-Za-z,;\x80-\xff]) (?=[0-9A-Za-z\x80-\xff])")
_MARKUP: Final = re.compile(rb"[`<\[\\$]")


@dataclass(frozen=True, slots=True)
class Place:
    """Two wordings of one place: [start, end) of each in the source, and where in each spaces may stand (`room`).

    [begin, end) is what a wording takes the place of, markers and all. `line` counts from 1.
    """

    line: int
    name: str
    begin: int
    end: int
    either: tuple[int, int]
    other: tuple[int, int]
    room: tuple[int, int] = (-1, -1)


@dataclass(frozen=True, slots=True)
class _Marker:
    word: str
    name: str
    start: int
    end: int
    line: int
    alone: bool


def has_markers(path: Path) -> bool:
    """Whether a source has places, or means to: a comment in it begins with limen."""
    with path.open("rb") as stream:
        before = b""
        while chunk := stream.read(_AT_ONCE):
            if SPEAKS.search(before + chunk):
                return True
            before = chunk[-_LONGEST_START:]
    return False


def places_of(raw: bytes, name: str) -> list[Place]:
    """The places of a source, in order. Invalid, with the line, for what is no such source; `name` is what to call it."""
    if len(raw) > LONGEST:
        raise Invalid(name, f"has markers, and more than {LONGEST >> 20} MiB: split it")
    lines = _Lines.of(raw, name)
    found: list[Place] = []
    open_: list[_Marker] = []
    for marker in _markers(raw, lines):
        _expect(marker, open_, lines)
        open_.append(marker)
        if marker.word == "end":
            found.append(_place(raw, lines, open_))
            open_ = []
    if open_:
        raise lines.wrong(open_[0].line, "limen:either has no limen:end")
    names = [place.name for place in found if place.name]
    for place in found:
        if place.name and names.count(place.name) > 1:
            raise lines.wrong(place.line, f"the name {place.name} is used twice")
    return _with_room(raw, lines, found)


def common_of(raw: bytes, places: list[Place]) -> list[tuple[int, int]]:
    """The stretches [start, end) that stand around the places, empty ones too: one more than there are places."""
    bounds = [0, *(bound for place in places for bound in (place.begin, place.end)), len(raw)]
    return list(zip(bounds[::2], bounds[1::2], strict=True))


def padded(raw: bytes, place: Place, side: int, width: int) -> bytes:
    """One wording with spaces up to `width` bytes."""
    start, end = place.other if side else place.either
    room = place.room[side]
    text = raw[start:end]
    return text[:room] + b" " * (width - len(text)) + text[room:] if len(text) < width else text


@dataclass(frozen=True, slots=True)
class _Lines:
    """Where lines begin, and which lie in a fenced block of code, with the line on which that began."""

    raw: bytes
    name: str
    starts: list[int]
    fenced: dict[int, int]

    @classmethod
    def of(cls, raw: bytes, name: str) -> _Lines:
        starts = [0, *(found.end() for found in re.finditer(rb"\n", raw))]
        lines = cls(raw, name, starts, {})
        try:
            raw.decode()
        except UnicodeDecodeError as e:
            raise lines.wrong(lines.number(e.start), "is not UTF-8") from e
        fence: tuple[bytes, int] | None = None
        for number, (start, end) in enumerate(pairwise([*starts, len(raw)]), 1):
            found = _FENCE.match(raw, start, end)
            if fence is None:
                fence = (found[1], number) if found else None
                continue
            lines.fenced[number] = fence[1]
            if found and found[1].startswith(fence[0]) and not raw[found.end() : end].strip():
                fence = None
        return lines

    def number(self, at: int) -> int:
        return bisect_right(self.starts, at)

    def bounds(self, number: int) -> tuple[int, int]:
        """A line's [start, end) without its terminator; an empty one past the last."""
        if number > len(self.starts):
            return len(self.raw), len(self.raw)
        start = self.starts[number - 1]
        end = self.starts[number] - 1 if number < len(self.starts) else len(self.raw)
        return start, end - (end > start and self.raw[end - 1 : end] == b"\r")

    def wrong(self, number: int, why: str) -> Invalid:
        return Invalid(f"{self.name}, line {number}", why)


def _markers(raw: bytes, lines: _Lines) -> Iterator[_Marker]:
    for spoken in SPEAKS.finditer(raw):
        number = lines.number(spoken.start())
        found = _MARKER.match(raw, spoken.start())
        if found is None:
            raise lines.wrong(number, "a comment that begins with limen is none of limen:either, limen:or, limen:end")
        if number in lines.fenced:
            why = (
                f"a marker within the block of code that begins on line {lines.fenced[number]}: put the whole block in a wording"
            )
            raise lines.wrong(number, why)
        word, name = found[1].decode(), (found[2] or b"").decode()
        if name and word != "either":
            raise lines.wrong(number, f"only limen:either takes a name, not limen:{word}")
        start, _ = lines.bounds(number)
        _, end = lines.bounds(lines.number(found.end() - 1))
        if raw.count(b"`", start, found.start()) % 2:
            raise lines.wrong(number, "a marker within `code`")
        alone = not raw[start : found.start()].strip() and not raw[found.end() : end].strip()
        yield _Marker(word, name, found.start(), found.end(), number, alone)


def _expect(marker: _Marker, open_: list[_Marker], lines: _Lines) -> None:
    if not open_:
        if marker.word != "either":
            raise lines.wrong(marker.line, f"limen:{marker.word} without a limen:either before it")
    elif marker.word == "either":
        raise lines.wrong(marker.line, f"limen:either within the one of line {open_[0].line}: places don't nest")
    elif marker.word == "or" and len(open_) > 1:
        raise lines.wrong(marker.line, "a third wording: a place has two")
    elif marker.word == "end" and len(open_) == 1:
        raise lines.wrong(marker.line, f"limen:end, but no limen:or since line {open_[0].line}: a place has two wordings")


def _place(raw: bytes, lines: _Lines, markers: list[_Marker]) -> Place:
    first, middle, last = markers
    if all(marker.alone for marker in markers):
        spans = [_block(lines, before, after) for before, after in pairwise(markers)]
        begin, _ = lines.bounds(first.line)
        _, end = lines.bounds(lines.number(last.end - 1))
    elif any(marker.alone for marker in markers) or b"\n" in raw[first.end : middle.start] + raw[middle.end : last.start]:
        raise lines.wrong(first.line, "either all three markers stand alone on their lines, or all of the place is in one line")
    else:
        spans = [_stripped(raw, before.end, after.start) for before, after in pairwise(markers)]
        begin, end = first.start, last.end
        _check_edges(raw, lines, first.line, (begin, end), spans)
    for (start, stop), marker in zip(spans, markers, strict=False):
        if not raw[start:stop].strip():
            raise lines.wrong(marker.line, "an empty wording: say something in both, or leave the place out")
    if raw[slice(*spans[0])].split() == raw[slice(*spans[1])].split():
        raise lines.wrong(first.line, "the two wordings are identical")
    return Place(first.line, first.name, begin, end, spans[0], spans[1])


def _block(lines: _Lines, before: _Marker, after: _Marker) -> tuple[int, int]:
    """The lines between two markers, without the last one's terminator: the place's end has its own."""
    start = min(lines.bounds(lines.number(before.end - 1) + 1)[0], after.start)
    if after.line <= lines.number(before.end - 1) + 1:
        return start, start
    return start, lines.bounds(after.line - 1)[1]


def _stripped(raw: bytes, start: int, end: int) -> tuple[int, int]:
    text = raw[start:end]
    start += len(text) - len(text.lstrip())
    return start, start + len(text.strip())


def _check_edges(raw: bytes, lines: _Lines, line: int, edges: tuple[int, int], spans: list[tuple[int, int]]) -> None:
    """A wording must not be half a word: pasted elsewhere it would not be found."""
    begin, end = edges
    for start, stop in spans:
        joins = (raw[begin - 1 : begin] + raw[start : start + 1], raw[stop - 1 : stop] + raw[end : end + 1])
        if any(len(pair) == 2 and pair.isalnum() for pair in joins):  # noqa: PLR2004  both sides of an edge
            raise lines.wrong(line, "a wording begins or ends within a word")


def _with_room(raw: bytes, lines: _Lines, places: list[Place]) -> list[Place]:
    out = []
    for number, place in enumerate(places):
        following = places[number + 1] if number + 1 < len(places) else None
        room = tuple(_room(raw, lines, place, span, following) for span in (place.either, place.other))
        lengths = [stop - start for start, stop in (place.either, place.other)]
        short = lengths.index(min(lengths))
        if lengths[0] != lengths[1] and room[short] < 0:
            why = "no room for spaces after the shorter wording: let a blank line follow, or begin it with two plain words"
            raise lines.wrong(place.line, why)
        out.append(Place(place.line, place.name, place.begin, place.end, place.either, place.other, (room[0], room[1])))
    return out


def _room(raw: bytes, lines: _Lines, place: Place, span: tuple[int, int], following: Place | None) -> int:
    """Where in a wording spaces change nothing in any rendering; -1 if nowhere."""
    text = raw[slice(*span)]
    last = text[text.rfind(b"\n") + 1 :]
    number = lines.number(max(place.begin, place.end - 1))
    rest = raw[place.end : lines.bounds(number)[1]]
    if rest.strip():
        # Words of one paragraph, with more than one space between them.
        if rest[:1] in (b" ", b"\t"):
            return len(text)
    elif (
        not last.strip()  # a blank line, which may hold spaces (CommonMark, section 2.1)
        or _ENDS_ITSELF.match(last)
        or len(rest) > 1  # two spaces already: the author's own line break
        or all(_ends_paragraph(line, text) for line in _next_lines(raw, lines, number + 1, following))
    ):
        return len(text)
    gap = _GAP.search(text)
    if gap and not _MARKUP.search(text, 0, gap.start()):
        return gap.start() + 1
    return -1


def _next_lines(raw: bytes, lines: _Lines, number: int, following: Place | None) -> list[bytes]:
    """What may be served as the next line."""
    start, end = lines.bounds(number)
    if following is None or following.begin != start:
        return [raw[start:end]]
    return [raw[slice(*span)].split(b"\n", 1)[0] for span in (following.either, following.other)]


def _ends_paragraph(line: bytes, text: bytes) -> bool:
    """Whether a paragraph before this line is over, so that spaces at its end are no line break (section 6.7)."""
    return not line.strip() or bool(_BEGINS_ANEW.match(line)) or bool(_ITEM.match(line) and _ITEM.match(text))
