"""Whatever an author writes: a source is refused with a line of it, or its copies are equally long and hold no marker."""

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from limen.core.errors import Invalid
from limen.marks.authored import SPEAKS, common_of, padded, places_of

MARKERS = [
    "<!-- limen:either -->",
    "<!-- limen:either a -->",
    "<!-- limen:or -->",
    "<!--limen:end-->",
    "<!-- limen -->",
    "<!-- note -->",
]
PIECES = [
    *MARKERS,
    "\n",
    "\r\n",
    "\n\n",
    " ",
    "  ",
    "- ",
    "```",
    "`",
    "> ",
    "# ",
    "**",
    "|",
    "Read it all.",
    "word",
    "ß",
    "字",
    "\t",
    "-->",
    "<!--",
]


@settings(max_examples=250, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40), st.lists(st.integers(0, 1), min_size=20, max_size=20))
def test_any_source_is_refused_with_a_line_or_has_copies_of_one_length_without_markers(pieces, sides):
    raw = "".join(pieces).encode()
    try:
        places = places_of(raw, "g.md")
    except Invalid as e:
        line = int(re.fullmatch(r"g\.md, line (\d+)", e.field)[1])
        assert 1 <= line <= raw.count(b"\n") + 1
        return
    _copies_are_sound(raw, places, sides)


@settings(max_examples=120, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["\n", "Some words. ", "- item\n", "\n\n"]), st.booleans(), st.text("ab .\n", min_size=1, max_size=30)
        ),
        min_size=1,
        max_size=6,
    )
)
def test_places_that_belong_together_are_found_wherever_they_stand(places):
    raw = "".join(before + _place(text, block=block) for before, block, text in places).encode()
    try:
        found = places_of(raw, "g.md")
    except Invalid:
        return  # half a word, or no room; with its line, as above
    assert len(found) == len(places)
    _copies_are_sound(raw, found, [0, 1] * 10)


def _place(text, *, block):
    one, two = f"one {text.strip()}", f"the other {text.strip()} of them"
    if block:
        return f"\n<!-- limen:either -->\n{one}\n<!-- limen:or -->\n{two}\n<!-- limen:end -->\n"
    return f"<!-- limen:either -->{one}<!-- limen:or -->{two}<!-- limen:end --> and on\n".replace("\n", " ")


def _copies_are_sound(raw, places, sides):
    lengths = set()
    for flip in (0, 1):
        copy = []
        for (start, end), place, side in zip(common_of(raw, places), [*places, None], [*sides, *sides, *sides], strict=False):
            copy.append(raw[start:end])
            if place:
                width = max(stop - begin for begin, stop in (place.either, place.other))
                copy.append(padded(raw, place, side ^ flip, width))
        whole = b"".join(copy)
        assert not SPEAKS.search(whole)
        lengths.add(len(whole))
    assert len(lengths) == 1
