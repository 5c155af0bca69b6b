"""What the readers of all kinds share: what a reader is, and the ways through JSON that holds one event in each piece."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from limen.observe.pieces import Lines, Objects, is_array, without_bom
from limen.observe.rows import OddError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from limen.observe.inputs import Feed
    from limen.observe.pieces import Piece
    from limen.observe.report import Report
    from limen.observe.rows import Rows

WHOLE: Final = 8 << 20  # an array up to this size is decoded at once; its values may take twenty times as much memory
_SHOWN: Final = 200


class Reader(Protocol):
    """Reads one kind of log. It keeps no state between inputs, but for what `context` describes."""

    @property
    def kind(self) -> str:
        """Its word."""

    @property
    def fields(self) -> tuple[str, ...]:
        """What is kept of a record, by the log's own names."""

    @property
    def gap_s(self) -> int:
        """Two events further apart than this prove no coverage between them, unless told otherwise."""

    @property
    def basis(self) -> str:
        """What coverage that rests on events alone is called."""

    def ends_us(self, name: str) -> int | None:
        """The latest time of any event in an input, if its name says so."""

    def read(self, feed: Feed, rows: Rows, report: Report) -> None:
        """Read one input to its end or its damage. Raises nothing for what is in it."""


Taken = tuple[int, list[tuple[Any, ...]], str]  # an event's time, its rows, and what it is if it makes none


def why(error: Exception) -> str:
    """Why a piece could not be read, in one short line without its content."""
    if isinstance(error, UnicodeError):
        return "is not valid UTF-8"
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    if isinstance(error, msgspec.ValidationError | OddError):
        return str(error)[:_SHOWN]
    if isinstance(error, msgspec.DecodeError):
        return f"is not JSON: {error}"[:_SHOWN]
    return f"is no event of this kind ({type(error).__name__})"


ERRORS: Final = (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError, AttributeError)


def each(pieces: Iterable[Piece], take: Callable[[Any], Taken], rows: Rows, report: Report) -> None:
    """Take the pieces one by one: an event's time and rows, or a bad piece told."""
    for piece in pieces:
        if piece.why:
            report.spoil(piece.offset, piece.why)
            continue
        try:
            at_us, made, left_out = take(piece.text)
            if not report.believable(at_us):
                raise OddError("has a time that cannot be")
        except ERRORS as e:
            report.spoil(piece.offset, why(e))
            continue
        report.event(at_us)
        if left_out:
            report.left_out[left_out] += 1
        rows.extend(made)


def read_lines(
    chunks: Iterable[bytes],
    take: Callable[[Any], Taken],
    *,
    feed: Feed,
    rows: Rows,
    report: Report,
) -> None:
    """Read one event a line. What a damaged input has after its last newline is no event: it may be half of one."""
    lines = Lines(chunks)
    for found in lines:
        each(found, take, rows, report)
        report.settle()
        rows.settle(sum(len(piece.text) for piece in found))
    if feed.damage:
        report.damage(lines.rest.offset if lines.rest else feed.offset, feed.damage)
    elif lines.rest:
        each([lines.rest], take, rows, report)


def read_json(
    feed: Feed,
    rows: Rows,
    report: Report,
    *,
    take: Callable[[Any], Taken],
    many: Callable[[bytes], list[Any]],
    like: Callable[[str], bool],
    whole: int = WHOLE,
) -> None:
    """Read JSON lines or an array, as the first bytes tell.

    `many` decodes a whole array at once, and `take` takes what it gives, too. An array is read object by object if it is
    large, or if anything in it is odd.
    """
    chunks: Iterator[bytes] = without_bom(feed.chunks())
    head = next(chunks, b"")
    if not is_array(head):
        read_lines(chain([head], chunks), take, feed=feed, rows=rows, report=report)
        return
    held, size = [head], len(head)
    for chunk in chunks:
        held.append(chunk)
        size += len(chunk)
        if size > whole:
            break
    else:
        raw = b"".join(held)
        if not feed.damage and _at_once(raw, take, many, rows, report):
            return
        held = [raw]
    objects = Objects(chain(held, chunks), like=like)
    for piece in objects:
        each([piece], take, rows, report)
        report.settle()
        rows.settle(len(piece.text))
    if feed.damage or not objects.ended:
        report.damage(feed.offset, feed.damage or "ends before its array does")


def _at_once(
    raw: bytes,
    take: Callable[[Any], Taken],
    many: Callable[[bytes], list[Any]],
    rows: Rows,
    report: Report,
) -> bool:
    """Read a whole array, all of it or nothing."""
    times: list[int] = []
    made: list[tuple[Any, ...]] = []
    left_out: Counter[str] = Counter()
    try:
        for event in many(raw):
            at_us, found, what = take(event)
            times.append(at_us)
            if what:
                left_out[what] += 1
            else:
                made += found
    except ERRORS:
        return False
    if times and not (report.believable(min(times)) and report.believable(max(times))):
        return False
    report.events_in_row(times)
    report.left_out += left_out
    rows.extend(made)
    rows.settle(len(raw))
    return True
