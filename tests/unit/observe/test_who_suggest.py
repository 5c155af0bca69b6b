"""Suggestions say what a name gives away, and whom it does not tell apart."""

from __future__ import annotations

import tomllib

from limen.observe.suggest import Names, Seen, suggest
from limen.observe.who import Who

NAMES = Names(
    people=[
        ("quillwork/q03", "00u-q03"),
        ("quillwork/q04", "00u-q04"),
        ("quillwork/anna", "anna.k"),
        ("tessel/anna", "anna.t"),
        ("tessel/t-01", "00u-t01"),
        ("lab/mira", "mira"),
    ],
    vendors=[("quillwork", "Quill Work"), ("tessel", "Tessel Ltd")],
)
ROLE = "aws:role/1/quill-annotators"


def seen(principal, *sessions):
    return [Seen(principal, session, 10, 100, 1_000, 2_000) for session in sessions or ("",)]


def said(*rows, who=None, **more):
    found = suggest([one for some in rows for one in some], NAMES, who or Who(), **more)
    return [(s.principal, s.session, s.people, s.vendor, s.observations) for s in found]


def test_a_session_that_names_a_handle_suggests_the_person_and_the_rest_of_the_role_its_vendor():
    assert said(seen(ROLE, "q03-mon", "q03-tue", "q04", "botocore-session-17")) == [
        (ROLE, "q03-*", ("quillwork/q03",), None, 20),
        (ROLE, "q04", ("quillwork/q04",), None, 10),
        (ROLE, "*", (), "quillwork", 10),
    ]


def test_a_pattern_never_reaches_a_session_that_names_somebody_else():
    found = said(seen(ROLE, "x-q03", "x-q04", "x-2-q03"))

    assert sorted(session for _, session, people, _, _ in found if people) == ["x-2-q03", "x-q03", "x-q04"]


def test_a_handle_of_two_people_is_one_of_them_unless_the_vendor_tells_them_apart():
    assert said(seen("github:anna")) == [("github:anna", "*", ("quillwork/anna", "tessel/anna"), None, 10)]
    assert said(seen("github:anna-tessel")) == [("github:anna-tessel", "*", ("tessel/anna",), None, 10)]
    assert said(seen(ROLE, "anna"))[0][2] == ("quillwork/anna",)


def test_a_handle_must_stand_as_a_word_of_its_own():
    assert said(seen("github:q0311")) == []
    assert said(seen("github:aq03")) == []
    assert said(seen("github:T-01.tessel")) == [("github:T-01.tessel", "*", ("tessel/t-01",), None, 10)]


def test_sessions_that_name_one_vendors_people_suggest_the_vendor_for_the_others():
    assert said(seen("aws:role/1/annotate", "q03", "q04", "i-0abc")) == [
        ("aws:role/1/annotate", "q03", ("quillwork/q03",), None, 10),
        ("aws:role/1/annotate", "q04", ("quillwork/q04",), None, 10),
        ("aws:role/1/annotate", "*", (), "quillwork", 10),
    ]


def test_tags_and_keys_are_reasons_too():
    who = Who.read(b'[[who]]\nprincipal = "aws:user/1/bot"\nvendor = "tessel"\n')
    user = "aws:user/1/svc-9"

    assert said(seen(user), tags={user: {"Owner": "quillwork/q03"}}) == [(user, "*", ("quillwork/q03",), None, 10)]
    assert said(seen(user), tags={user: {"Team": "x", "Company": "Quill Work"}}) == [(user, "*", (), "quillwork", 10)]
    key = "aws:key/AKIAEXAMPLE"
    assert said(seen(key), who=who, keys={key: "aws:user/1/bot"}) == [(key, "*", (), "tessel", 10)]


def test_what_the_mapping_knows_is_not_suggested_again():
    who = Who.read(f'[[who]]\nprincipal = "{ROLE}"\nsession = "q03*"\nperson = "quillwork/q03"\n'.encode())

    assert {s[1] for s in said(seen(ROLE, "q03-mon", "q04"), who=who)} == {"q04"}


def test_nothing_is_suggested_for_a_name_that_says_nothing():
    assert said(seen("aws:role/1/data-reader", "i-0abc"), seen("aws:anonymous"), seen("github:octo")) == []


def test_a_suggestion_is_a_rule_that_the_mapping_reads():
    [first, *_] = suggest(seen(ROLE, 'q03"\\x'), NAMES, Who())

    who = Who.read(first.rule.encode())
    assert who.of(ROLE, 'q03"\\x', 0).people == ("quillwork/q03",)
    assert tomllib.loads(first.rule)["who"]
