"""Rows of returned work, whatever form they came in: a batch of them, what a reader says of each, and the count."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import Invalid
from limen.marks.records import parse_json

if TYPE_CHECKING:
    from limen.marks.baits import Baits, Row, Seen

AT_ONCE: Final = 4096  # rows of a batch, at most
DEPTH: Final = 64
_MEMBER: Final = re.compile(r'"\s*:')
_ESCAPED: Final = 4
_ESCAPE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
AN_ID: Final = "id"  # the name under which goes what may be one: an object's name, a field's that is no plain word
PLAIN_NAME: Final = re.compile(r"[A-Za-z_]{0,15}\Z")  # a field's; others may be a record's id


@dataclass(slots=True)
class Tally:
    """Rows of an object, and how many of them were left out, by why."""

    rows: int = 0
    stripped: Counter[str] = field(default_factory=Counter)

    def settle(self, why: list[str]) -> None:
        """Count rows: `why` each was left out, or an empty text."""
        self.rows += len(why)
        self.stripped.update(filter(None, why))


@dataclass(slots=True)
class Batch:
    """Some rows. `loose` are those whose text may go on in the next: lines that are no JSON, CSV records of another length.

    `why` is for the reader to fill before it asks for the next batch: for each row why it is left out; an empty text if it stays.
    """

    rows: list[Row]
    loose: dict[int, str]
    why: list[str]


def seen(baits: Baits, batch: Batch, *, name: str = "") -> list[Seen | None]:
    """Which canaries each row of a batch shows, by itself or together with the loose ones around it.

    `name` is what the rows' object is called, if that says something: one that holds one record may be named after it.
    """
    found = baits.seen([[*opened(row), *([(AN_ID, name)] if name else [])] for row in batch.rows])
    if batch.loose:
        texts = list(batch.loose.values())
        for some in (texts, [unescaped(text) for text in texts]) if any("\\" in text for text in texts) else (texts,):
            together = baits.seen([[("", text)] for text in some], together=True)
            for at, one in zip(batch.loose, together, strict=True):
                found[at] = found[at] or one
    return found


def telling_name(baits: Baits, path: str) -> str:
    """What a canary's id is looked for in, of an object's path: its last part without endings. Empty if there is none."""
    name = path.rpartition("/")[2].partition(".")[0]
    return name if any(baits.seen([[(AN_ID, name)], [("", path)]])) else ""


def row_of_json(text: str) -> Row | None:
    """The row that a JSON text says, or None if it is none. Of a name given twice, both values: readers differ."""
    good, value = parse_json(text)
    if not good:
        return None
    return row_of(json.loads(text, object_pairs_hook=_one_each) if names_twice(text, value) else value)


def names_twice(text: str, value: Any) -> bool:
    """Whether an object in a JSON text gives a name twice; `value` is what it says to a reader who takes the last."""
    if len(_MEMBER.findall(text)) <= _members(value):
        return False
    return _members(value) != _members(json.loads(text, object_pairs_hook=_one_each))


def _one_each(pairs: list[tuple[str, Any]]) -> list[dict[str, Any]]:
    return [{key: item} for key, item in pairs]


def _members(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(_members, value.values()))
    return sum(map(_members, value)) if isinstance(value, list) else 0


def opened(row: Row) -> Row:
    """A row with what its texts hold once they are unpacked: JSON within a text, escapes as JSON and programs write them."""
    more: Row = []
    for name, text in row:
        if "\\" in text:
            more.append((name, unescaped(text)))
        if text.lstrip()[:1] in ("{", "["):
            more += opened(row_of_json(text) or [])
    return [*row, *more] if more else row


def unescaped(text: str) -> str:
    """A text without its backslash escapes, however often it was escaped."""
    for _ in range(_ESCAPED):
        if "\\" not in text:
            break
        text = _ESCAPE.sub(_meaning, text)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _meaning(found: re.Match[str]) -> str:
    code, letter = found[1] or found[2], found[3]
    return chr(int(code, 16)) if code else " " if letter in "nrtbfv0" else letter


def row_of(value: Any) -> Row:
    """The texts in a JSON value, each with the name of its field; names that may say something themselves, too."""
    row: Row = []
    _walk(value, "", row, DEPTH)
    return row


def _walk(value: Any, name: str, row: Row, depth: int) -> None:
    match value:
        case dict() | list() if not depth:
            raise Invalid("rows", f"a value is nested more than {DEPTH} deep")
        case dict():
            for key, item in value.items():
                if not PLAIN_NAME.match(str(key)):
                    row.append((AN_ID, str(key)))
                _walk(item, str(key), row, depth - 1)
        case list() | tuple():
            for item in value:
                _walk(item, name, row, depth - 1)
        case None:
            pass
        case _:
            row.append((name, _scalar(value)))


def _scalar(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
