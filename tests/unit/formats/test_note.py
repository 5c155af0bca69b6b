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


def test_only_a_text_that_ends_in_a_newline_is_signed():
    with pytest.raises(Invalid):
        note.sign("text", ALICE)


def test_a_signer_does_not_show_its_seed():
    assert ALICE.seed.hex() not in repr(ALICE)
    assert repr(ALICE.seed) not in repr(ALICE)
