"""Reads YAML (1.2, its core schema) that nobody vouches for, as text with places: nothing in it is ever executed or expanded.

What is refused: tags, anchors and aliases, a second document, a key that comes twice, merge keys, floats, and plain words
that YAML 1.1 and 1.2 read differently (`yes`, `010`, `1:30`). A number with a point must stand in quotes, as text: then no
program in between can round it. Every problem has its line and column, counted from 1, and all are found at once, but for
text that is no YAML at all: there the first one ends the reading.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import yaml
from yaml.nodes import ScalarNode
from yaml.resolver import Resolver

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_BYTES: Final = 1 << 18
MAX_DEPTH: Final = 8
MAX_NODES: Final = 20_000  # 200 clauses have less than half of that
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_INT = re.compile(r"-?(0|[1-9][0-9]{0,15})")
_TAG: Final = "tag:yaml.org,2002:"
_resolver = Resolver()


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """Something wrong at a place: `where` is the field's path, empty for the text as a whole."""

    line: int
    column: int
    where: str
    why: str

    def __str__(self) -> str:
        return f"{self.line}:{self.column}: {self.where + ': ' if self.where else ''}{self.why}"


@dataclass(slots=True)
class Marked:
    """A value and where it stands. `value`: str, int, bool, None, a list of these, or a dict of name to (key, value)."""

    kind: Literal["text", "number", "truth", "nothing", "list", "map"]
    line: int
    column: int
    value: Any = None
    keys: dict[str, Marked] = field(default_factory=dict)  # of a map: its keys, for their places

    def problem(self, where: str, why: str) -> Problem:
        """A problem with this value."""
        return Problem(self.line, self.column, where, why)


def read(raw: bytes) -> tuple[Marked | None, list[Problem]]:
    """The document's value, or None, and what is wrong with it so far."""
    if len(raw) > MAX_BYTES:
        return None, [Problem(1, 1, "", f"has {len(raw)} bytes, more than {MAX_BYTES}")]
    try:
        text = raw.decode()
    except UnicodeDecodeError as e:
        before = raw[: e.start].decode()
        return None, [Problem(before.count("\n") + 1, len(before) - before.rfind("\n"), "", "is not UTF-8 from here on")]
    reading = _Reading()
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            reading.take(event)
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        reading.problems.append(Problem(line, column, "", f"is not YAML: {e.problem or e.context}"))
        return None, sorted(reading.problems)
    except yaml.reader.ReaderError as e:
        before = text[: e.position]
        place = before.count("\n") + 1, len(before) - before.rfind("\n")
        return None, [Problem(*place, "", f"has a character that YAML does not allow (U+{ord(text[e.position]):04X})")]
    except _StoppedError:
        return None, sorted(reading.problems)
    if reading.root is None:
        reading.problems.append(Problem(1, 1, "", "is empty"))
    return reading.root, sorted(reading.problems)


class _StoppedError(Exception):
    """The text is not worth reading on; the problem is noted."""


class _Reading:
    """Builds the value from YAML's events, without recursion."""

    def __init__(self) -> None:
        self.root: Marked | None = None
        self.problems: list[Problem] = []
        self._open: list[tuple[Marked, Marked | None]] = []  # containers, each with the key that waits for its value
        self._documents = 0
        self._nodes = 0

    def take(self, event: yaml.events.Event) -> None:  # noqa: C901  one arm for each kind of event
        mark = event.start_mark
        if isinstance(event, yaml.events.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._stop(mark, "a second document begins here; a contract is one")
            return
        if isinstance(event, yaml.events.CollectionEndEvent):
            self._open.pop()
            return
        if not isinstance(event, yaml.events.NodeEvent):
            return
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._stop(mark, f"holds more than {MAX_NODES} values")
        if isinstance(event, yaml.events.AliasEvent):
            self._note(mark, f"*{event.anchor} is an alias; write the value out where it belongs")
            self._put(Marked("nothing", mark.line + 1, mark.column + 1))
            return
        if event.anchor:
            self._note(mark, f"&{event.anchor} is an anchor; write values out where they belong")
        if event.tag:
            self._note(mark, f"{event.tag} is a tag; values here need none")
        if isinstance(event, yaml.events.ScalarEvent):
            self._put(self._scalar(event))
            return
        kind: Literal["map", "list"] = "map" if isinstance(event, yaml.events.MappingStartEvent) else "list"
        made = Marked(kind, mark.line + 1, mark.column + 1, {} if kind == "map" else [])
        if self._open and self._open[-1][0].kind == "map" and self._open[-1][1] is None:
            self._stop(mark, "a key must be a plain word")
        self._put(made)
        if len(self._open) == MAX_DEPTH:
            self._stop(mark, f"is nested more than {MAX_DEPTH} deep")
        self._open.append((made, None))

    def _put(self, made: Marked) -> None:
        if not self._open:
            self.root = made
            return
        container, key = self._open[-1]
        if container.kind == "list":
            container.value.append(made)
        elif key is None:
            self._open[-1] = (container, made)
        else:
            self._open[-1] = (container, None)
            name = str(key.value)
            if name in container.value:
                first = container.keys[name]
                self.problems.append(key.problem(name, f"comes a second time; it stands in line {first.line} already"))
                return
            container.value[name] = made
            container.keys[name] = key

    def _scalar(self, event: yaml.events.ScalarEvent) -> Marked:
        line, column, text = event.start_mark.line + 1, event.start_mark.column + 1, event.value
        plain = event.style is None and not event.tag
        is_key = bool(self._open) and self._open[-1][0].kind == "map" and self._open[-1][1] is None
        if not plain or is_key:
            return Marked("text", line, column, text)
        if _INT.fullmatch(text):
            return Marked("number", line, column, int(text))
        if text in ("true", "false"):
            return Marked("truth", line, column, text == "true")
        if text in ("", "~", "null", "Null", "NULL"):
            return Marked("nothing", line, column)
        if _FLOAT.fullmatch(text):
            self._note(event.start_mark, f'{text} would be read as a float, which rounds; write "{text}", in quotes')
        elif _resolver.resolve(ScalarNode, text, (True, False)).removeprefix(_TAG) not in ("str", "timestamp"):
            self._note(event.start_mark, f'{text} is read in different ways by different programs; write "{text}", in quotes')
        return Marked("text", line, column, text)

    def _note(self, mark: yaml.Mark, why: str) -> None:
        self.problems.append(Problem(mark.line + 1, mark.column + 1, "", why))

    def _stop(self, mark: yaml.Mark, why: str) -> None:
        self._note(mark, why)
        raise _StoppedError


def entries(node: Marked) -> Iterator[tuple[str, Marked, Marked]]:
    """A map's names, with key and value."""
    for name, value in node.value.items():
        yield name, node.keys[name], value
