"""Entries and their side records: what the log says in clear, and what only the subject's key opens."""

from __future__ import annotations

import itertools
import json

import pytest

from limen.core import events
from limen.core.errors import Invalid, TamperDetected
from limen.core.types import Side, SubjectKey
from limen.ledger.scribe import Scribe, open_side, side_ref

KEYS = {"quillwork/q03": SubjectKey(b"r" * 16, b"3" * 32), "quillwork/q11": SubjectKey(b"s" * 16, b"1" * 32)}
KEY = KEYS["quillwork/q03"].key
SIDE = Side("quillwork/q03", {"network": {"address": "192.0.2.7", "agent": "boto3"}, "request": {"path": "a/b"}})


def a_scribe(story_at=lambda: None):
    counter = itertools.count(1)
    return Scribe(lambda: 1_700_000_000_000_000, lambda n: next(counter).to_bytes(n, "big"), KEYS.__getitem__, story_at)


def test_an_entry_without_a_side_is_canonical_and_has_no_record():
    entry, sealed = a_scribe().write("access.outcome", {"of": 3, "sent": 10}, None)

    fields = events.decode(entry)
    assert (fields["kind"], fields["at"], fields["of"]) == ("access.outcome", 1_700_000_000_000_000, 3)
    assert sealed is None
    assert "commit" not in fields


def test_the_story_is_told_beside_the_real_time():
    entry, _ = a_scribe(lambda: 42).write("server.start", {}, None)

    assert events.decode(entry)["story_at"] == 42


def opened(sides, entry, key=KEY):
    return {name: open_side(name, raw, entry, key).value for name, raw in sides.items()}


def test_personal_detail_is_committed_to_and_comes_back_under_its_subjects_key():
    entry, sides = a_scribe().write("access.intent", {"who": "p1"}, SIDE)

    assert opened(sides, entry) == SIDE.classes
    assert {side_ref(raw) for raw in sides.values()} == {KEYS["quillwork/q03"].ref}
    for secret in (b"192.0.2.7", b"boto3", b"a/b", b"q03"):
        assert secret not in entry
        assert not any(secret in raw for raw in sides.values())


def test_two_entries_with_the_same_detail_have_nothing_in_common_but_the_reference():
    scribe = a_scribe()
    (one, sides_one), (two, sides_two) = (scribe.write("access.intent", {}, SIDE) for _ in range(2))

    first, second = events.decode(one), events.decode(two)
    assert first["salt"] != second["salt"]
    assert not set(first["commit"].values()) & set(second["commit"].values())
    assert sides_one["network"][17:29] != sides_two["network"][17:29]
    assert sides_one["network"][29:] != sides_two["network"][29:]


def test_each_class_has_a_salt_of_its_own():
    entry, sides = a_scribe().write("access.intent", {}, SIDE)

    assert len({open_side(name, raw, entry, KEY).salt for name, raw in sides.items()}) == len(sides)


def test_a_record_opens_only_under_its_own_key_beside_its_own_entry_and_as_its_own_class():
    scribe = a_scribe()
    (entry, sides), (other, _) = (scribe.write("access.intent", {}, SIDE) for _ in range(2))

    raw, stranger = sides["network"], KEYS["quillwork/q11"].key
    for name, beside, key in [("network", entry, stranger), ("network", other, KEY), ("request", entry, KEY)]:
        with pytest.raises(TamperDetected):
            open_side(name, raw, beside, key)
    assert open_side("network", raw, entry, KEY).value == SIDE.classes["network"]


@pytest.mark.parametrize("commit", [{"network": "0" * 64}, {"request": "0" * 64}, {}])
def test_a_record_that_does_not_match_the_entrys_commitment_is_refused(commit):
    entry, sides = a_scribe().write("access.intent", {}, SIDE)
    fields = json.loads(entry) | {"commit": commit}

    with pytest.raises(TamperDetected):
        open_side("network", sides["network"], events.canonical(fields), KEY)


def test_a_changed_bit_anywhere_in_a_record_is_noticed():
    entry, sides = a_scribe().write("access.intent", {}, SIDE)
    for position in range(len(sides["network"])):
        bent = bytearray(sides["network"])
        bent[position] ^= 1
        if 1 <= position < 17:
            assert side_ref(bytes(bent)) != KEYS["quillwork/q03"].ref
            continue
        with pytest.raises((TamperDetected, Invalid)):
            open_side("network", bytes(bent), entry, KEY)


@pytest.mark.parametrize("raw", [b"", b"\x02" + bytes(15), b"\x01" + bytes(40), b"\x02" + bytes(20)])
def test_bytes_that_are_no_record_are_refused(raw):
    entry, _ = a_scribe().write("access.intent", {}, SIDE)
    with pytest.raises(Invalid):
        open_side("network", raw, entry, KEY)


@pytest.mark.parametrize("value", [1.5, 2**53, "e\N{COMBINING ACUTE ACCENT}", "\ud800", b"raw"])
def test_detail_without_a_canonical_form_is_refused(value):
    with pytest.raises(Invalid):
        a_scribe().write("access.intent", {}, Side("quillwork/q03", {"network": {"address": value}}))
