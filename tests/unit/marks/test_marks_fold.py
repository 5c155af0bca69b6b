import functools
import random
import re
import sys

import numpy as np
import pytest
from plainly import STEPS, plainly

from limen.marks import fold
from limen.marks import normalise as n

PIECES = [
    *"<>&;[](/)#*!_~`.,'-|ab Z09 \t\n\r\x0b\x1c\x1d\x1e\x1f\x00\x7f",
    *"\x85\xa0\xad\u2028\u3000\u200b\ufeff\u2019\u201c\u2026\u2044\u203f\uff1c\uff1e\uff06\uff3d\uff08\ufe64",
    *"\u00df\u1e9e\u0130\u0131\u03a3\u03c2\u03c3\u0149\u017f\u212a\u212b\u00b5\u00bd\u00b2\u2122\ufb01\ufb03\u0132\u01c4",
    *"\u0301\u0308\u0345\u0327\u0338\u05b0\u0f71\u3099\u309a\u09be\u1161\u11a8\uac00\u1100\ud800\udfff\U000110ba\U0001d15e",
    *"\u00e9\u00c9\u0416\u0436\u4e2d\u304b\u0905\u0e01\uff21\uff76\uff9e\U0001f600\U00010400\U0001d400\U0002f800",
    *(
        "&lt;",
        "&gt;",
        "&amp;",
        "&amp;amp;",
        "&amp;lt;b&amp;gt;",
        "&nbsp;",
        "&eacute",
        "&ngE;",
        "&notit;",
        "&#60;",
        "&#x3C",
        "&#30;",
    ),
    *("&#xD800;", "&#x110000;", "&#128;", "&#;", "&x", "&CounterClockwiseContourIntegral;", "&acE;", "&fflig;"),
    *("<b>", "</b>", "<a href='x'>", "<!-- no -->", "<B\u00c9>", "](https://x/y)", "](a b)", "](\u201c)", "](\u3000)"),
    *(
        "<" + "x" * 300 + ">",
        "<" + "x" * 302 + ">",
        "<" + "\u2026" * 100 + ">",
        "<" + "\u00e9" * 301 + ">",
        "<x" + "\ufb01" * 150 + ">",
    ),
]

ALONE = 1500


@functools.cache
def corpus():
    rng = random.Random(12)
    texts = ["".join(rng.choices(PIECES, k=rng.randrange(12))) for _ in range(12_000)]
    texts += ["".join(chr(rng.randrange(0x110000)) for _ in range(rng.randrange(9))) for _ in range(2_000)]
    return texts, [plainly(text) for text in texts]


def alone(texts):
    """Each by itself: what a text has in it decides by which way its neighbours go too."""
    return [n.normalise_all([text])[0] for text in texts[:ALONE]]


def test_a_text_has_the_form_that_the_definition_gives_it():
    texts, forms = corpus()
    assert n.normalise_all(texts) == forms
    assert alone(texts) == forms[:ALONE]


@pytest.mark.parametrize("step", STEPS)
def test_a_definition_that_lacks_a_step_is_told_apart(step):
    texts, _ = corpus()
    assert n.normalise_all(texts) != [plainly(text, without=step) for text in texts]


def test_every_code_point_has_the_form_that_the_definition_gives_it():
    # Of ideographs, and of planes where nothing is assigned or all is private, some.
    some = [range(0x1FFFF), range(0x20000, 0x2F800, 61), range(0x2F800, 0x2FA20), range(0x2FA20, 0x110000, 211)]
    points = [point for stretch in some for point in stretch]
    texts = [chr(point) for point in points]
    assert n.normalise_all(texts) == [plainly(text) for text in texts]


def believes_all_begin(monkeypatch):
    monkeypatch.setattr(fold, "_begins", lambda _: True)


def breaks_words(monkeypatch):
    monkeypatch.setattr(fold, "FILL", fold.GAP)


def forgets_the_slow(monkeypatch):
    whole = fold.fold
    monkeypatch.setattr(fold, "fold", lambda raw: (whole(raw)[0], np.zeros(0, dtype=np.int64)))


def joins_references(monkeypatch):
    monkeypatch.setattr(n, "_REFERENCE", re.compile("&[#0-9A-Za-z]+;"))


@pytest.mark.parametrize("broken", [believes_all_begin, breaks_words, forgets_the_slow, joins_references])
def test_a_fast_way_that_is_broken_is_told_apart(monkeypatch, broken):
    monkeypatch.setattr(fold, "_table", functools.cache(fold._table.__wrapped__))
    broken(monkeypatch)
    texts, forms = corpus()
    assert alone(texts) != forms[:ALONE]


def test_a_number_too_long_to_be_read_is_no_word_and_stops_nothing():
    digits = sys.get_int_max_str_digits() + 1
    assert n.normalise(f"before &#{'1' * digits}; after") == "before after"
    assert n.normalise(f"before &#x{'0' * digits}41; after") == "before a after"


def test_digests_are_those_of_records_registered_long_ago():
    texts = [
        "Plain ASCII, as most of it is: 12 words (or so), and a full stop.",
        "<p>Caf\u00e9 &amp; cr\u00e8me br\u00fbl\u00e9e</p>, see [the card](https://example.org/a_b)",
        "STRASSE, Stra\u00dfe, \u039f\u0394\u039f\u03a3 and \u0130stanbul in e\u0301crit \ufb01n",
        "\u30ab\u3099\u30fb\uff76\uff9e \u4e2d\u6587 \u0416\u0443\u043a",
        "",
    ]
    names = n.digests(n.normalise_all(texts))
    assert [names[at : at + 16].hex() for at in range(0, len(names), 16)] == [
        "274072766cd68437e48e184d83347b64",
        "3ca8ef3456f5acd52dfd14f8b4d44826",
        "9fc2fc3ff769a6f1dbb4f3797d587274",
        "7e052dcac6a26e0b24c640ad6263ece8",
        "20850b75ecaff610e7c21a693af1e9b2",
    ]
    assert [n.digest(form) for form in n.normalise_all(texts)] == [names[at : at + 16] for at in range(0, len(names), 16)]
