import html
import json
import random

import numpy as np
import pytest

from limen.marks import normalise as n
from limen.marks.tables import ABSENT, AMBIGUOUS, Table

ORIGINAL = (
    "Return <b>the</b> caf\u00e9's \u201cmenu\u201d, for x < y & z_1:\n\n* `f(a, b)`\n* see [docs](https://example.org/a_b)"
)


@pytest.mark.parametrize(
    "changed",
    [
        ORIGINAL.upper(),
        ORIGINAL.replace(" ", "  \t"),
        ORIGINAL.replace("\n", "\r\n"),
        html.escape(ORIGINAL),
        html.escape(html.escape(ORIGINAL)),
        ORIGINAL.replace("<b>", "").replace("</b>", ""),
        ORIGINAL.replace("\u00e9", "e\u0301"),
        ORIGINAL.replace("`", ""),
        ORIGINAL.replace("*", "-"),
        ORIGINAL.replace("(https://example.org/a_b)", ""),
        ORIGINAL.replace("f(a", "\uff46\uff08\uff41"),
        ORIGINAL.replace("the", "t\x1ehe").replace("t\x1ehe", "the\x1e"),
    ],
)
def test_what_copying_does_to_a_text_changes_nothing(changed):
    assert n.normalise(changed) == n.normalise(ORIGINAL)


def test_another_word_is_another_text():
    assert n.normalise(ORIGINAL) != n.normalise(ORIGINAL.replace("menu", "card"))


def test_texts_normalise_alike_alone_and_together_and_twice():
    rng = random.Random(4)
    alphabet = "aB1 _-<>&;[](/)#*\n\r\t\x1e\x00\u00e9\u00df\u212b\ufb01\u4e2d\u0130\u0301\ud800b>lt"
    texts = ["".join(rng.choice(alphabet) for _ in range(rng.randrange(40))) for _ in range(3000)]
    together = n.normalise_all(texts)
    for text, form in zip(texts, together, strict=True):
        alone = n.normalise(text)
        assert form.decode() == alone
        assert n.normalise(alone) == alone


def test_ascii_takes_the_same_way_as_all_text():
    rng = random.Random(5)
    for _ in range(500):
        text = "".join(chr(rng.randrange(128)) for _ in range(60))
        # A letter outside ASCII sends the text down the other path.
        assert n.normalise(text + " \u4e2d") == (n.normalise(text + " x")[:-1] + "\u4e2d")


def test_a_table_finds_what_was_put_in_and_marks_what_is_ambiguous():
    rng = np.random.default_rng(1)
    digests = rng.integers(0, 2**63, (500, 2)).astype(np.uint64)
    digests[7, 0] = digests[8, 0]  # two digests may share a first half
    values = np.arange(500)
    table = Table.build(np.concatenate([digests, digests[:3]]), np.concatenate([values, [0, 999, 2]]))
    found = table.find(digests)
    assert found[1] == AMBIGUOUS
    assert (found[np.arange(500) != 1] == values[values != 1]).all()
    assert (table.find(digests + np.uint64(1)) == ABSENT).all()
    assert (Table.empty().find(digests) == ABSENT).all()
    assert table.plus(digests[:1] + np.uint64(1), np.array([5])).find(digests[:1] + np.uint64(1)).tolist() == [5]


def test_json_and_its_escapes_say_the_same():
    text = json.dumps(ORIGINAL)
    assert n.normalise(json.loads(text)) == n.normalise(ORIGINAL)
