"""Signed notes and keys: what opens, and what is refused."""

from __future__ import annotations

import base64

import pytest

from limen.core.errors import Invalid
from limen.formats import note
from limen.formats.note import Signer, Verifier

ALICE = Signer("example.com/alice", bytes(range(32)))
BOB = Signer("example.com/bob", bytes(32))

# golang.org/x/mod/sumdb/note's documented example: another implementation's key and signature.
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()


def signature_line(raw):
    return raw.decode().rpartition("\n\n")[2]


def test_another_implementations_note_opens_under_its_key():
    text, signatures = note.open_note(GO_NOTE, [Verifier.from_vkey(GO_VKEY)])

    assert text.endswith("what your problem is.\n")
    assert [signature.name for signature in signatures] == ["PeterNeumann"]


def test_a_signed_text_opens_and_comes_back_whole_blank_lines_included():
    raw = note.sign("one\n\ntwo\n", ALICE)

    text, signatures = note.open_note(raw, [ALICE.verifier])

    assert text == "one\n\ntwo\n"
    assert signatures[0].key_id == ALICE.verifier.key_id


def test_a_vkey_survives_the_way_through_text():
    assert Verifier.from_vkey(ALICE.vkey) == ALICE.verifier


def test_signatures_by_unknown_keys_are_passed_over():
    raw = note.sign("text\n", ALICE) + signature_line(note.sign("text\n", BOB)).encode()

    assert [s.name for s in note.open_note(raw, [BOB.verifier])[1]] == [BOB.name]


def test_a_wrong_signature_by_a_known_key_spoils_the_whole_note():
    wrong = signature_line(note.sign("another text\n", BOB)).encode()
    raw = note.sign("text\n", ALICE) + wrong

    with pytest.raises(Invalid, match=r"example\.com/bob does not verify"):
        note.open_note(raw, [ALICE.verifier, BOB.verifier])
    assert note.open_note(raw, [ALICE.verifier])


def test_a_note_that_no_trusted_key_signed_is_refused():
    with pytest.raises(Invalid, match="no signature is by a trusted key"):
        note.open_note(note.sign("text\n", ALICE), [BOB.verifier])


def test_an_empty_list_of_trusted_keys_is_refused():
    with pytest.raises(Invalid, match="no trusted key"):
        note.open_note(note.sign("text\n", ALICE), [])


def test_any_changed_bit_of_a_note_is_refused():
    raw = note.sign("origin\n1\nroot\n", ALICE)
    for position in range(len(raw) * 8):
        bent = bytearray(raw)
        bent[position // 8] ^= 1 << position % 8
        with pytest.raises(Invalid):
            note.open_note(bytes(bent), [ALICE.verifier])


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"text\n",
        b"text\n\n",
        b"text\n\nno dash\n",
        "text\n\n— name\n".encode(),
        "text\n\n—  AAAAAAA=\n".encode(),
        "text\n\n— na+me AAAAAAA=\n".encode(),
        "text\n\n— name AAAA\n".encode(),
        "text\n\n— name AAAAAAB=\n".encode(),
        "text\n\n— name AAAAAAA=".encode(),
        b"te\txt\n\n" + "— name AAAAAAA=\n".encode(),
        b"\xff\n\n" + "— name AAAAAAA=\n".encode(),
        ("text\n\n" + "— name AAAAAAA=\n" * 65).encode(),
        b"a" * (note.MAX_NOTE + 1),
    ],
)
def test_a_malformed_note_is_refused(raw):
    with pytest.raises(Invalid):
        note.parse(raw)


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        "name+00000000",
        GO_VKEY.replace("c74f20a3", "c74f20a4"),
        GO_VKEY.replace("Peter", "Paul"),
        "name+00000000+" + base64.b64encode(b"\x01" + bytes(31)).decode(),
        "name+00000000+" + base64.b64encode(b"\x04" + bytes(32)).decode(),
        "na me+00000000+" + base64.b64encode(b"\x01" + bytes(32)).decode(),
    ],
)
def test_a_malformed_vkey_is_refused(vkey):
    with pytest.raises(Invalid):
        Verifier.from_vkey(vkey)


def test_a_signature_is_appended_once_and_leaves_the_note_as_it_was():
    raw = note.sign("text\n", ALICE)
    bobs = BOB.signature(b"text\n")

    both = note.append_signature(raw, BOB.name, BOB.verifier.key_id, bobs)

    assert both.startswith(raw)
    assert [s.name for s in note.open_note(both, [ALICE.verifier, BOB.verifier])[1]] == [ALICE.name, BOB.name]
    assert note.append_signature(both, BOB.name, BOB.verifier.key_id, bobs) == both


@pytest.mark.parametrize(("name", "key_id", "blob"), [("two words", bytes(4), b"1"), ("n", bytes(3), b"1"), ("n", bytes(4), b"")])
def test_a_signature_that_makes_no_line_is_not_appended(name, key_id, blob):
    with pytest.raises(Invalid):
        note.append_signature(note.sign("text\n", ALICE), name, key_id, blob)


def test_a_signature_is_not_appended_to_what_is_no_note_or_past_its_limits():
    with pytest.raises(Invalid):
        note.append_signature(b"text\n", BOB.name, bytes(4), b"1")
    raw = note.sign("text\n", ALICE)
    for number in range(note.MAX_SIGNATURES - 1):
        raw = note.append_signature(raw, BOB.name, bytes(4), bytes([number + 1]))
    with pytest.raises(Invalid, match="more than 64"):
        note.append_signature(raw, BOB.name, bytes(4), b"one more")


def test_two_trusted_keys_that_a_line_cannot_tell_apart_are_refused():
    twin = Verifier(ALICE.name, ALICE.verifier.key_id, BOB.verifier.public_key)
    raw = note.sign("text\n", ALICE)

    with pytest.raises(Invalid, match="share the name"):
        note.open_note(raw, [ALICE.verifier, twin])
    assert note.open_note(raw, [ALICE.verifier, ALICE.verifier])


def test_signature_lines_alone_are_read_as_those_of_a_note():
    raw = note.sign("text\n", ALICE) + signature_line(note.sign("text\n", BOB)).encode()

    assert note.parse_lines(signature_line(raw).encode()) == note.parse(raw)[1]


def test_only_a_text_that_ends_in_a_newline_is_signed():
    with pytest.raises(Invalid):
        note.sign("text", ALICE)


def test_a_signer_does_not_show_its_seed():
    assert ALICE.seed.hex() not in repr(ALICE)
    assert repr(ALICE.seed) not in repr(ALICE)
