"""Range and conditional requests, decided for one representation: which status, and which bytes.

Follows RFC 9110 (June 2022): section 13.2.2 for the order of conditions, 14.2 for Range, 13.1.5 for If-Range. Two choices
that the RFC leaves open are S3's: several ranges at once are answered with the whole, and HEAD takes a Range too.
Pure and total: any header text gives an answer, none raises.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_RANGE = re.compile(r"bytes\s*=\s*(?:([0-9]{1,19})\s*-\s*([0-9]{1,19})?|-\s*([0-9]{1,19}))\s*\Z", re.IGNORECASE | re.ASCII)
_TAG = re.compile(r'\s*(W/)?"?([^",]*)"?\s*\Z')

OK: Final = 200
PARTIAL: Final = 206
NOT_MODIFIED: Final = 304
PRECONDITION_FAILED: Final = 412
NOT_SATISFIABLE: Final = 416


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and the bytes [start, end) that go with it; empty unless 200 or 206. `condition` is what failed a 412."""

    status: int
    start: int
    end: int
    condition: str = ""


def evaluate(headers: Mapping[str, str], *, etag: str, modified_at: int, length: int) -> Answer:
    """What a GET or HEAD with these headers (lower-case names) gets of a representation.

    `etag` is unquoted; `modified_at` is in seconds since 1970; `length` in bytes.
    """
    # RFC 9110 13.2.2, steps 1 and 2: what the caller insists on.
    if "if-match" in headers:
        if not matches(headers["if-match"], etag, weak=False):
            return Answer(PRECONDITION_FAILED, 0, 0, "If-Match")
    elif (date := _date(headers.get("if-unmodified-since"))) is not None and modified_at > date:
        return Answer(PRECONDITION_FAILED, 0, 0, "If-Unmodified-Since")
    # Steps 3 and 4: what the caller has already.
    if "if-none-match" in headers:
        if matches(headers["if-none-match"], etag, weak=True):
            return Answer(NOT_MODIFIED, 0, 0)
    elif (date := _date(headers.get("if-modified-since"))) is not None and modified_at <= date:
        return Answer(NOT_MODIFIED, 0, 0)
    # Step 5: the range, if it is still of the same representation.
    wanted = headers.get("range")
    if wanted is None or not _same(headers.get("if-range"), etag, modified_at):
        return Answer(OK, 0, length)
    return _range(wanted, length)


def matches(condition: str, etag: str, *, weak: bool) -> bool:
    """Whether an If-Match or If-None-Match list names this entity tag. Unquoted tags are understood, as S3 does."""
    if condition.strip() == "*":
        return True
    for part in condition.split(","):
        tag = _TAG.match(part)
        if tag is not None and tag[2].strip() == etag and (weak or not tag[1]):
            return True
    return False


def _range(wanted: str, length: int) -> Answer:
    match = _RANGE.match(wanted.strip())
    if match is None:
        return Answer(OK, 0, length)  # not a single byte range: RFC 9110 14.2 lets a server ignore it
    first, last, suffix = match.groups()
    if suffix is not None:
        start, end = max(0, length - int(suffix)), length
    else:
        start = int(first)
        if last is not None and int(last) < start:
            return Answer(OK, 0, length)  # an invalid range is ignored, 14.1.1
        end = length if last is None else min(length, int(last) + 1)
    if start >= end:
        return Answer(NOT_SATISFIABLE, 0, 0)
    return Answer(PARTIAL, start, end)


def _same(if_range: str | None, etag: str, modified_at: int) -> bool:
    """Whether an If-Range still names this representation: a strong tag, or exactly its date."""
    if if_range is None:
        return True
    if '"' in if_range:
        return not if_range.strip().startswith("W/") and if_range.strip().strip('"') == etag
    return _date(if_range) == modified_at


def _date(text: str | None) -> int | None:
    """An HTTP date in seconds since 1970; None where there is none or it can't be read, which RFC 9110 says to ignore."""
    if not text:
        return None
    try:
        date = parsedate_to_datetime(text)
        return int((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
