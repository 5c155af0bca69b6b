"""The quick look-up of rules finds what trying each rule in turn finds."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from limen.observe.globs import Globs

PATTERN = st.text("ab/*?.[", max_size=6)
TEXT = st.text("ab/.[", max_size=6)


def slowly(rows, texts):
    """Every row tried: the same meaning, written from the definition of the wildcards."""

    def matches(pattern, text):
        if not pattern:
            return not text
        if pattern[0] == "*":
            return any(matches(pattern[1:], text[i:]) for i in range(len(text) + 1))
        return bool(text) and pattern[0] in ("?", text[0]) and matches(pattern[1:], text[1:])

    return [n for n, row in enumerate(rows) if all(matches(p, t) for p, t in zip(row, texts, strict=True))]


class Hasty(Globs):
    """A broken look-up: it believes that the text before the first wildcard says it all."""

    def __init__(self, rows):
        rows = list(rows)
        super().__init__(rows)
        self._rows = [tuple(re.compile(".*", re.DOTALL) for _ in row) for row in rows]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(PATTERN, PATTERN), max_size=12), st.tuples(TEXT, TEXT))
def test_look_up_finds_the_same_rules_in_the_same_order(rows, texts):
    assert list(Globs(rows).matches(*texts)) == slowly(rows, texts)


def test_a_look_up_that_trusts_the_beginning_alone_is_caught():
    rows, texts = [("a*b", "*"), ("a*", "?")], ("aa", "bb")

    assert list(Hasty(rows).matches(*texts)) != slowly(rows, texts)
    assert list(Globs(rows).matches(*texts)) == slowly(rows, texts) == []
