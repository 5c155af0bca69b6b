"""Places of a guideline: read as their author means them, refused with the line, and padded where no rendering shows it."""

import random
import re

import pytest
from guidelines import block, guideline, inline
from markdown_it import MarkdownIt

from limen.core.errors import Invalid
from limen.marks.authored import common_of, has_markers, padded, places_of

RENDER = MarkdownIt("commonmark").enable("table").render
ONE, TWO = (
    "Read the whole answer before anything else.",
    "Begin by going over all of the answer, from its first word to its last.",
)


def copy(raw, sides, *, pad):
    """One copy by hand, with the spaces or without."""
    places = places_of(raw, "g.md")
    out = []
    for (start, end), place, side in zip(common_of(raw, places), [*places, None], [*sides, 0], strict=True):
        out.append(raw[start:end])
        if place:
            texts = raw[slice(*place.either)], raw[slice(*place.other)]
            out.append(padded(raw, place, side, max(map(len, texts))) if pad else texts[side])
    return b"".join(out).decode()


def shown(markdown):
    """What a rendering shows: runs of white space are one space in HTML."""
    return re.sub(r"\s+(</)", r"\1", re.sub(r"\s+", " ", RENDER(markdown)))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_every_copy_is_equally_long_and_renders_as_if_nobody_had_padded_it(end):
    raw = guideline(48).replace(b"\n", end.encode())
    rng = random.Random(3)
    lengths = set()
    for _ in range(6):
        sides = [rng.randint(0, 1) for _ in range(48)]
        with_spaces, without = copy(raw, sides, pad=True), copy(raw, sides, pad=False)
        assert shown(with_spaces) == shown(without)
        assert "limen" not in with_spaces
        assert with_spaces.count("\n") == with_spaces.count(end)
        lengths.add(len(with_spaces.encode()))
    assert len(lengths) == 1


@pytest.mark.parametrize(
    "context",
    [
        "Before.\n\n{}\nAfter.\n",
        "Before.\n\n{}After, in the same paragraph.\n",
        "- a\n- b\n\n{}",
        "{}",
        "> quoted\n\n{}\n# Heading\n",
    ],
)
@pytest.mark.parametrize(
    ("one", "two"),
    [
        (ONE, TWO),
        (f"## {ONE}", f"## {TWO}"),
        (f"- {ONE}\n- and more", f"- {TWO}"),
        (f"{ONE}\n\nAnd a second paragraph.\n", f"{TWO}\n"),
        (f"{ONE}\n```\ncode\n```", f"{TWO}\n\n    indented code"),
        (f"*{ONE}*", f"**{TWO}**"),
    ],
)
def test_blocks_in_many_places_change_nothing_but_their_words(context, one, two):
    raw = context.format(block(one, two)).encode()
    try:
        copies = [(copy(raw, [side], pad=True), copy(raw, [side], pad=False)) for side in (0, 1)]
    except Invalid:  # refused in words, and never padded visibly
        copies = [(b.decode(), b.decode()) for b in [raw]] if "same paragraph" in context else []
    assert copies
    assert len({len(whole.encode()) for whole, _ in copies}) == 1
    for whole, plain in copies:
        assert shown(whole) == shown(plain)


def test_spaces_put_anywhere_would_be_seen():
    # The control: at the end of a line within a paragraph two spaces are a line break.
    raw = f"{inline(ONE, TWO)}\nmore of the paragraph\n".encode()
    plain = copy(raw, [0], pad=False)
    assert shown(plain.replace(ONE, ONE + "  ")) != shown(plain)
    assert shown(copy(raw, [0], pad=True)) == shown(plain)


def test_words_within_a_line_take_the_place_s_place():
    raw = f"Rate. {inline(f' {ONE} ', TWO)} Then go on.".encode()
    assert copy(raw, [0], pad=False) == f"Rate. {ONE} Then go on."
    assert copy(raw, [1], pad=True) == f"Rate. {TWO} Then go on."


@pytest.mark.parametrize(
    ("source", "line", "why"),
    [
        ("a\n\n<!-- limen:either -->\nb\n", 3, "has no limen:end"),
        ("<!-- limen:or -->\n", 1, "without a limen:either"),
        ("x\n<!-- limen:end -->\n", 2, "without a limen:either"),
        (f"<!-- limen:either -->\n{block(ONE, TWO)}", 2, "don't nest"),
        ("<!-- limen:either -->\na\n<!-- limen:or -->\nb\n<!-- limen:or -->\nc\n<!-- limen:end -->\n", 5, "a third wording"),
        ("<!-- limen:either -->\na\n\n<!-- limen:end -->\n", 4, "no limen:or since line 1"),
        (block(ONE, ONE), 1, "identical"),
        (block("", TWO), 1, "an empty wording"),
        (inline("", TWO), 1, "an empty wording"),
        ("ok\n<!-- limen: either -->\n", 2, "none of limen:either"),
        ("ok\n\n<!-- LIMEN either\n", 3, "none of limen:either"),
        (f"```\n{block(ONE, TWO)}```\n", 2, "block of code that begins on line 1"),
        (block(f"```\n{ONE}", f"{TWO}\n```"), 4, "block of code that begins on line 2"),
        (f"`{inline(ONE, TWO)}`", 1, "within `code`"),
        (f"re{inline('read it all again', 'act to all of it')}", 1, "within a word"),
        (f"a {inline(ONE, TWO)[:-20]}\n<!-- limen:end -->\n", 1, "stand alone on their lines"),
        (block(ONE, TWO, "x") + "\n" + block(TWO + " x", ONE + " y", "x"), 1, "the name x is used twice"),
        (f"{inline('**' + 'x' * 30 + '**', TWO)}\nmore", 1, "let a blank line follow"),
        ("<!-- limen:either -->\na\n<!-- limen:or name -->\n", 3, "only limen:either takes a name"),
    ],
)
def test_what_is_malformed_is_refused_with_its_line(source, line, why):
    with pytest.raises(Invalid) as caught:
        places_of(source.encode(), "g.md")
    assert caught.value.field == f"g.md, line {line}"
    assert why in caught.value.why


def test_bytes_that_are_no_text_are_refused_with_their_line():
    with pytest.raises(Invalid, match=r"g\.md, line 2: is not UTF-8"):
        places_of(b"fine\n\xff\xfe\n" + block(ONE, TWO).encode(), "g.md")
    with pytest.raises(Invalid, match="more than 16 MiB"):
        places_of(b"x" * (1 << 24) + block(ONE, TWO).encode(), "g.md")


def test_a_source_without_markers_has_none(tmp_path):
    for text, has in (("", False), ("a <!-- note to limen's author -->", False), ("<!--limen:either-->", True), ("x" * 9, False)):
        (tmp_path / "g.md").write_text(text)
        assert has_markers(tmp_path / "g.md") == has


def test_a_marker_over_the_edge_of_what_is_read_at_once_is_seen(tmp_path):
    for short in range(1, 16):
        (tmp_path / "g.md").write_bytes(b"x" * ((1 << 22) - short) + b"<!-- limen:either -->")
        assert has_markers(tmp_path / "g.md")
