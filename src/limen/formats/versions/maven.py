"""The order of Maven versions: "Version Order Specification" of Maven's POM reference (3.9), and its `ComparableVersion`.

The shorter of two versions is filled up with nulls that depend on the other, so that the order is a comparison and no tuple.
"""

from __future__ import annotations

import re
from functools import total_ordering
from itertools import zip_longest
from typing import Final

_VERSION: Final = re.compile(r"(?=.*[0-9])[0-9A-Za-z._+~:-]+\Z")  # a word alone (`latest`, `unspecified`) is a placeholder
_TOKENS: Final = re.compile(r"([._-])|([0-9]+)|([^0-9._-]+)")
_RANKS: Final = {"alpha": 0, "beta": 1, "milestone": 2, "rc": 3, "cr": 3, "snapshot": 4, "": 5, "sp": 6}
_SAME_AS_NONE: Final = {"final", "ga", "release"}
_SHORT: Final = {"a": "alpha", "b": "beta", "m": "milestone"}
_OTHER: Final = 7

_QUALIFIER, _DASHED, _DOTTED = 0, 1, 2  # ".qualifier" = "-qualifier" < "-number" < ".number"
Token = tuple[int, int, str]
_DASH_NULL: Final[Token] = (_QUALIFIER, 5, "")
_DOT_NULL: Final[Token] = (_DOTTED, 0, "")


@total_ordering
class Order:
    """One version's tokens, trimmed. Compares with others alone."""

    __slots__ = ("_tokens",)

    def __init__(self, tokens: tuple[tuple[bool, Token], ...]) -> None:
        self._tokens = tokens

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Order) and self._against(other) == 0

    def __lt__(self, other: Order) -> bool:
        return self._against(other) < 0

    def __hash__(self) -> int:  # both of two equal versions have a first token, and it is the same
        return hash(self._tokens[0][1])

    def _against(self, other: Order) -> int:
        for mine, theirs in zip_longest(self._tokens, other._tokens):
            here = mine[1] if mine else _null(theirs)
            there = theirs[1] if theirs else _null(mine)
            if here != there:
                return -1 if here < there else 1
        return 0


def key(text: str) -> Order | None:
    """What sorts this version; None for what is no version at all."""
    return Order(_trimmed(_tokens(text))) if _VERSION.match(text) else None


def _null(other: tuple[bool, Token]) -> Token:
    """What stands where one version is at its end: 0 after a dot, the empty qualifier after a hyphen."""
    dotted, _ = other
    return _DOT_NULL if dotted else _DASH_NULL


def _tokens(text: str) -> list[tuple[bool, Token]]:
    """Each token with whether a dot stands before it; a change between digits and letters counts as a hyphen."""
    tokens: list[tuple[bool, Token]] = []
    dotted, waiting = True, True  # whether a separator waits for its token: an empty token is 0
    pieces = _TOKENS.findall(text.lower())
    for place, (separator, number, word) in enumerate(pieces):
        if separator:
            if waiting:
                tokens.append((dotted, _number(dotted, 0)))
            dotted, waiting = separator == ".", True
            continue
        dotted = dotted and waiting
        if number:
            tokens.append((dotted, _number(dotted, int(number))))
        else:
            before_number = place + 1 < len(pieces) and bool(pieces[place + 1][1])
            tokens.append((dotted, _qualifier(_SHORT.get(word, word) if before_number else word)))
        waiting = False
    if waiting:
        tokens.append((dotted, _number(dotted, 0)))
    return tokens


def _number(dotted: bool, value: int) -> Token:
    return (_DOTTED if dotted else _DASHED, value, "")


def _qualifier(word: str) -> Token:
    word = "" if word in _SAME_AS_NONE else word
    rank = _RANKS.get(word, _OTHER)
    return (_QUALIFIER, rank, word if rank == _OTHER else "")


def _trimmed(tokens: list[tuple[bool, Token]]) -> tuple[tuple[bool, Token], ...]:
    """Without the nulls at the end, and before each hyphen; the first token stays."""
    kept: list[tuple[bool, Token]] = []
    for dotted, token in tokens:
        if not dotted:
            _drop_nulls(kept)
        kept.append((dotted, token))
    _drop_nulls(kept)
    return tuple(kept)


def _drop_nulls(tokens: list[tuple[bool, Token]]) -> None:
    while len(tokens) > 1 and _is_null(tokens[-1][1]):
        tokens.pop()


def _is_null(token: Token) -> bool:
    return token == _DASH_NULL or (token[0] != _QUALIFIER and token[1] == 0)
