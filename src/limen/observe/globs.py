"""Patterns with `*` (any run of characters, also none) and `?` (any one), and quick look-up among thousands of them.

`Globs` is a table of rows of patterns. A row matches when each of its patterns does; of several that match, the first row
wins. Rows are found by the literal text before their first wildcard, so that a thousand sessions of one shared role cost
a few look-ups each and not a thousand matches.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_WILD: Final = re.compile(r"[*?]")
_Key = tuple[str, ...]


def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern as a regular expression for `fullmatch`. Every character but `*` and `?` stands for itself."""
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in re.sub(r"\*+", "*", pattern))
    return re.compile("".join(parts), re.DOTALL)


def literal(pattern: str) -> bool:
    """Whether a pattern has no wildcard: it matches its own text alone."""
    return _WILD.search(pattern) is None


def head(pattern: str) -> str:
    """The literal text before a pattern's first wildcard: whatever it matches begins so."""
    found = _WILD.search(pattern)
    return pattern[: found.start()] if found else pattern


class Globs:
    """Rows of patterns, each row as many as every other; numbered from 0 in the order of their precedence."""

    def __init__(self, rows: Iterable[tuple[str, ...]]) -> None:
        rows = list(rows)
        self._rows = [tuple(map(compiled, row)) for row in rows]
        by_lengths: dict[tuple[int, ...], dict[_Key, list[int]]] = defaultdict(lambda: defaultdict(list))
        for number, row in enumerate(rows):
            key = tuple(map(head, row))
            by_lengths[tuple(map(len, key))][key].append(number)
        self._by_lengths = {lengths: dict(table) for lengths, table in by_lengths.items()}

    def matches(self, *texts: str) -> Iterator[int]:
        """The numbers of the rows that match, lowest first."""
        found: list[int] = []
        for lengths, table in self._by_lengths.items():
            found += table.get(tuple(text[:length] for text, length in zip(texts, lengths, strict=True)), ())
        for number in sorted(found):
            if all(pattern.fullmatch(text) for pattern, text in zip(self._rows[number], texts, strict=True)):
                yield number

    def first(self, *texts: str) -> int | None:
        """The number of the first row that matches, or None."""
        return next(self.matches(*texts), None)
