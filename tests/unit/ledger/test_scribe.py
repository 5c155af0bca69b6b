"""Entries and their side records: what the log says in clear, and what only the subject's key opens."""

from __future__ import annotations

import itertools
import json

import pytest

from limen.core import events
from limen.core.errors import Invalid, TamperDetected
from limen.core.types import Side
from limen.ledger.scribe import Scribe, open_side, side_subject

KEYS = {"quillwork/q03": b"3" * 32, "quillwork/q11": b"1" * 32}
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


def test_personal_detail_is_committed_to_and_comes_back_under_its_subjects_key():
    entry, sealed = a_scribe().write("access.intent", {"who": "p1"}, SIDE)

    assert side_subject(sealed) == "quillwork/q03"
    assert open_side(sealed, entry, KEYS["quillwork/q03"]) == SIDE.classes
    for secret in (b"192.0.2.7", b"boto3", b"a/b"):
        assert secret not in entry
        assert secret not in sealed


def test_two_entries_with_the_same_detail_have_nothing_in_common():
    scribe = a_scribe()
    (one, sealed_one), (two, sealed_two) = (scribe.write("access.intent", {}, SIDE) for _ in range(2))

    first, second = events.decode(one), events.decode(two)
    assert first["salt"] != second["salt"]
    assert not set(first["commit"].values()) & set(second["commit"].values())
    assert sealed_one[16:] != sealed_two[16:]


def test_a_record_opens_only_under_its_own_key_and_beside_its_own_entry():
    scribe = a_scribe()
    (entry, sealed), (other, _) = (scribe.write("access.intent", {}, SIDE) for _ in range(2))

    for wrong_entry, key in [(entry, KEYS["quillwork/q11"]), (other, KEYS["quillwork/q03"])]:
        with pytest.raises(TamperDetected):
            open_side(sealed, wrong_entry, key)


@pytest.mark.parametrize("change", [{"network": "0" * 64}, {"extra": "0" * 64}, None])
def test_a_record_that_does_not_match_the_entrys_commitments_is_refused(change):
    entry, sealed = a_scribe().write("access.intent", {}, SIDE)
    fields = json.loads(entry)
    fields["commit"] = {**fields["commit"], **change} if change else {}

    with pytest.raises(TamperDetected):
        open_side(sealed, events.canonical(fields), KEYS["quillwork/q03"])


def test_a_changed_bit_anywhere_in_a_record_is_noticed():
    entry, sealed = a_scribe().write("access.intent", {}, SIDE)
    for position in range(len(sealed)):
        bent = bytearray(sealed)
        bent[position] ^= 1
        if 3 <= position < 3 + len(SIDE.subject):
            assert side_subject(bytes(bent)) != SIDE.subject
            continue
        with pytest.raises((TamperDetected, Invalid)):
            open_side(bytes(bent), entry, KEYS[SIDE.subject])


@pytest.mark.parametrize("raw", [b"", b"\x02\x00\x00", b"\x01\x00\x04ab", b"\x01\x00\x01\xff" + bytes(12)])
def test_bytes_that_are_no_record_are_refused(raw):
    with pytest.raises(Invalid):
        side_subject(raw)


@pytest.mark.parametrize("value", [1.5, 2**53, "e\N{COMBINING ACUTE ACCENT}", "\ud800", b"raw"])
def test_detail_without_a_canonical_form_is_refused(value):
    with pytest.raises(Invalid):
        a_scribe().write("access.intent", {}, Side("quillwork/q03", {"network": {"address": value}}))
