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
        "text\n\n— name AAAAAA==\n".encode(),
        "text\n\n— name AAAAAAA=".encode(),
        b"te\txt\n\n" + "— name AAAAAAA=\n".encode(),
        b"\xff\n\n" + "— name AAAAAAA=\n".encode(),
        ("text\n\n" + "— name AAAAAAA=\n" * 65).encode(),
        "— name AAAAAAA=\n".encode(),
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


def test_a_note_of_the_longest_length_is_read_and_a_longer_one_is_not():
    tail = "\n\n— name AAAAAAA=\n".encode()
    longest = b"a" * (note.MAX_NOTE - len(tail)) + tail

    assert len(note.parse(longest)[0]) == note.MAX_NOTE - len(tail) + 1
    assert note.parse(longest)[1] == note.parse_lines(tail[2:])
    with pytest.raises(Invalid, match="longer than"):
        note.parse(b"a" + longest)


def test_signature_lines_of_the_longest_length_are_read_and_longer_ones_are_not():
    longest = "— {} AAAAAAA=\n".format("a" * (note.MAX_NOTE - len("— AAAAAAA= \n".encode()))).encode()

    assert len(longest) == note.MAX_NOTE
    assert len(note.parse_lines(longest)) == 1
    with pytest.raises(Invalid, match="longer than"):
        note.parse_lines(longest.replace(b"a ", b"aa "))


def test_a_vkey_of_any_kind_is_read_if_it_holds_something_under_a_name():
    assert note.parse_vkey(note.format_vkey("n", 0x7F, b"x")) == ("n", 0x7F, b"x")
    for vkey in (note.format_vkey("n", 1, b""), note.format_vkey("two words", 1, b"x"), note.format_vkey("", 1, b"x")):
        with pytest.raises(Invalid):
            note.parse_vkey(vkey)
    with pytest.raises(Invalid, match="key name"):
        note.parse_vkey("n\udcff+00000000+AQE=")


@pytest.mark.parametrize("name", ["", "a+b", "a b", "a\N{EM SPACE}b", "a\N{NO-BREAK SPACE}b", "a\tb", "a\x85b", "a\udcff"])
def test_a_name_that_no_key_can_have_is_refused(name):
    with pytest.raises(Invalid, match="key name"):
        note.check_name(name)


@pytest.mark.parametrize(
    ("name", "public"), [("two words", bytes(32)), ("", bytes(32)), ("n", bytes(31)), ("n", bytes(33)), ("n", b"")]
)
def test_a_key_that_can_not_be_is_refused(name, public):
    with pytest.raises(Invalid):
        Verifier.of(name, public)
    with pytest.raises(Invalid):
        Signer(name, public)


@pytest.mark.parametrize(
    "signature",
    [
        note.Signature("two words", bytes(4), b"1"),
        note.Signature("n", bytes(3), b"1"),
        note.Signature("n", bytes(5), b"1"),
        note.Signature("n", bytes(4), b""),
    ],
)
def test_no_line_is_written_that_could_not_be_read(signature):
    with pytest.raises(Invalid):
        note.line(signature)


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


@pytest.mark.parametrize("text", ["text", "a\ttab\n", b"\xff\n", ""])
def test_only_a_text_that_a_note_can_hold_is_signed(text):
    with pytest.raises(Invalid):
        note.sign(text, ALICE)


def test_a_signer_does_not_show_its_seed():
    assert ALICE.seed.hex() not in repr(ALICE)
    assert repr(ALICE.seed) not in repr(ALICE)
