"""Whatever hypothesis does to rows and to the form they come back in, no canary reaches what is released."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldwork import WAYS, bare, gold, left_in, lines, pool, version
from limen.marks.baits import Baits
from limen.response.release import shown, stripped

ROWS, ITEMS = pool(60), gold(2, 4)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("stripping")
    return root, Baits([version(root, ROWS, ITEMS, each=4)])


def apart(text, sign):
    return sign.join(text.split(" "))


EDITS = {
    "nothing": lambda row, _: row,
    "no id": lambda row, _: {**row, "id": ""},
    "another id": lambda row, at: {**row, "id": f"row {at}"},
    "capitals": lambda row, _: {**row, "text": row["text"].upper(), "id": row["id"].title()},
    "hyphens": lambda row, _: {**row, "text": apart(row["text"], "-")},
    "invisible": lambda row, _: {**row, "text": apart(row["text"], " \u200b")},
    "tags": lambda row, _: {**row, "text": f"<b>{apart(row['text'], '</b> <b>')}</b>"},
    "quoted": lambda row, _: {**row, "text": f"He said: \u201c{row['text']}\u201d, and no more."},
    "backwards": lambda row, _: dict(reversed(row.items())),
    "with the next": lambda row, at: {**row, "text": f"{row['text']} {ROWS[at % len(ROWS)]['text']}"},
    "a remark": lambda row, at: {**row, "text": ROWS[at % len(ROWS)]["text"], "task": row["text"]},
    "label first": lambda row, at: {"label": str(at), **row},
}
FORMS = sorted(set(WAYS) - {"full width", "no spaces", "two fields"})  # these rewrite texts, and are tried by themselves

work = st.lists(
    st.tuples(st.integers(0, len(ROWS) + len(ITEMS) - 1), st.lists(st.sampled_from(sorted(EDITS)), max_size=3, unique=True)),
    min_size=1,
    max_size=12,
    unique_by=lambda pair: pair[0],
)


def edited(number, edits):
    row = {**bare([*ROWS, *ITEMS][number]), "label": "yes"}
    for edit in edits:
        row = EDITS[edit](row, number)
    return row


@settings(max_examples=60, deadline=None)
@given(work, st.sampled_from(FORMS))
def test_no_canary_reaches_the_output_whatever_was_done_to_it(place, rows, form):
    root, baits = place
    raw = WAYS[form]([edited(*one) for one in rows])
    (root / "in").write_bytes(raw)
    stripped(root / "in", root / "out", baits)
    out = (root / "out").read_bytes()
    assert left_in(out, ITEMS) == []
    assert not shown(root / "out", baits).stripped
    if all(number < len(ROWS) for number, _ in rows):
        assert out == raw or left_in(out, ROWS) == left_in(raw, ROWS)


def test_the_same_search_sees_what_a_stripper_by_id_lets_through(place):
    """The negative control: leaving out the ids that were served is not enough."""
    served = {item["id"] for item in ITEMS}
    rows = [edited(len(ROWS) + n, ["no id"]) for n in range(len(ITEMS))]
    out = lines([row for row in rows if row["id"] not in served])
    assert left_in(out, ITEMS) == [item["id"] for item in ITEMS]
    (place[0] / "bad").write_bytes(out)
    assert shown(place[0] / "bad", place[1]).stripped.total() == len(ITEMS)
    assert json.loads(out.splitlines()[0])["label"] == "yes"
