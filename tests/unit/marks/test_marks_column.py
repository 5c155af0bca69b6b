import random

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from orchid import said

from limen.core.errors import Invalid
from limen.marks import normalise as n
from limen.marks.column import digests_of


def expected(texts):
    forms = n.normalise_all(["" if text is None else text for text in texts])
    return [n.digest(form) if len(form) >= n.MIN_TEXT else None for form in forms]


def many():
    rng = random.Random(3)
    texts = [said(rng, rng.randrange(90)) for _ in range(2000)]
    signs = ["<b>", "é", "&amp;", "Éß", "\x1e", "](x)", "ﬁ", "é"]
    for at in range(0, 2000, 3):
        texts[at] = " ".join(rng.choice(signs) + word for word in texts[at].split())
    texts[5] = texts[1999] = None
    texts[7] = "\x1e"
    return texts


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
def test_a_column_has_the_digests_of_its_texts(kind):
    texts = many()
    column = pa.array(texts, pa.string()).cast(kind) if kind != pa.string_view() else pa.array(texts, kind)
    found = digests_of(column)
    assert found.type == pa.binary(16)
    assert found.to_pylist() == expected(texts)
    assert None in found.to_pylist()
    assert len(set(found.to_pylist())) > 1500


def test_a_digest_does_not_depend_on_how_a_column_is_cut():
    texts = many()
    column = pa.array(texts)
    cut = [digests_of(column.slice(at, 37)) for at in range(0, len(column), 37)]
    assert pa.concat_arrays(cut).equals(digests_of(column))
    assert digests_of(column.slice(0, 0)).to_pylist() == []


def test_a_query_engine_can_call_it():
    pc.register_scalar_function(
        lambda _, texts: digests_of(texts),
        "limen_digest",
        {"summary": "", "description": ""},
        {"text": pa.string()},
        pa.binary(16),
    )
    table = pa.table({"answer": pa.chunked_array([many()[:50], many()[50:]])})
    found = pc.call_function("limen_digest", [table["answer"]])
    assert found.to_pylist() == expected(many())


@pytest.mark.parametrize("column", [pa.array([1, 2]), pa.array([b"\xff\xfe"]), pa.array([["a"]])])
def test_what_is_no_text_is_refused(column):
    with pytest.raises(Invalid, match="no column of texts but of"):
        digests_of(column)


def test_texts_that_are_not_utf_8_are_refused_although_their_type_says_so():
    bad = pa.StringArray.from_buffers(1, pa.py_buffer(b"\0\0\0\0\x02\0\0\0"), pa.py_buffer(b"\xf7\xff"))
    with pytest.raises(Invalid, match="aren't UTF-8"):
        digests_of(bad)
