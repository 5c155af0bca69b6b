"""What names people: found in any capitals and beside any punctuation; what only looks like it is left alone."""

from __future__ import annotations

import pytest

from limen.assurance.evidence.persons import STANDS_FOR, Persons, _stretches

PERSONS = Persons.of(["Anouk Ferreira-Dahl", "Øyvind Åsen", "Share", "Li", "x"])


@pytest.mark.parametrize(
    "text",
    [
        "owner: ANOUK ferreira-dahl.",
        "(Anouk Ferreira Dahl)",
        "anouk_ferreira_dahl",
        '"øyvind ÅSEN"',
        "write to a.b+c@mail.example.org",
        "mailto:ops@163.com",
        "the share of it",
    ],
)
def test_a_name_or_an_address_is_found(text):
    assert PERSONS.named_in(text)


@pytest.mark.parametrize(
    "text",
    [
        "Anouk alone",
        "Ferreira-Dahl, Anouk",
        "pkg:pypi/litellm@1.82.8",
        "lodash@4.17.21.dev",
        "sha256@abc",
        "named_shares",
        "li and x",
        "",
        "Anoukx Ferreira-Dahl",
    ],
)
def test_what_is_none_is_left_alone(text):
    assert PERSONS.named_in(text) == ""


def test_fields_that_hold_persons_are_left_out_and_texts_replaced():
    document = {
        "authors": [{"name": "Nobody Known"}],
        "deep": [{"note": "by Anouk Ferreira-Dahl", "n": 1}],
        "contact": {},
        "ok": True,
    }

    assert PERSONS.stands_in(document)
    assert PERSONS.scrubbed(document) == {"deep": [{"note": STANDS_FOR, "n": 1}], "ok": True}
    assert not PERSONS.stands_in({"authors": [], "note": "nobody"})


def test_a_measure_keeps_its_name_though_somebody_is_called_so():
    facts = {
        "facts": [
            {"measure": "share", "grade": "measured", "source": "told by Share", "samples": [{"at": "2026-04-01T00:00:00Z"}]}
        ]
    }
    found = PERSONS.texts_replaced(facts)

    assert found["facts"][0]["measure"] == "share"
    assert found["facts"][0]["source"] == STANDS_FOR
    assert PERSONS.texts_replaced({"a": ["nobody", 1]}) == {"a": ["nobody", 1]}


def test_entries_that_are_near_are_read_together():
    assert list(_stretches([3, 4, 60, 300, 301])) == [(3, 61), (300, 302)]
    assert list(_stretches([])) == []
    assert list(_stretches([0])) == [(0, 1)]
