"""Envelopes and Statements: openssl checks our signatures, and nothing unsigned gets through."""

from __future__ import annotations

import base64
import json
import subprocess

import pytest

from limen.core.errors import Invalid
from limen.formats import dsse
from limen.formats.sshsig import Signer

LAB = Signer(bytes(range(32)), "lab")
OTHER = Signer(bytes(32))
KIND = dsse.IN_TOTO
BODY = dsse.statement({"a.txt": "ab" * 32}, "https://limen.example/p/v1", {"n": 1})


def test_the_signed_bytes_are_those_of_the_specifications_example():
    assert dsse.pae("http://example.com/HelloWorld", b"hello world") == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_lengths_are_counted_in_bytes():
    assert dsse.pae("é", b"\n") == b"DSSEv1 2 \xc3\xa9 1 \n"


def test_a_signed_payload_comes_back_whole_and_the_same_each_time():
    raw = dsse.sign(BODY, KIND, LAB)

    assert dsse.verify(raw, payload_type=KIND, keys=[OTHER.key, LAB.key]) == BODY
    assert raw == dsse.sign(BODY, KIND, LAB)


def test_openssl_accepts_the_signature_and_refuses_other_bytes(tmp_path):
    envelope = dsse.decode(dsse.sign(BODY, KIND, LAB))
    (tmp_path / "key.pem").write_text(LAB.key.pem)
    (tmp_path / "sig").write_bytes(envelope.signatures[0][1])

    def checked(message):
        (tmp_path / "message").write_bytes(message)
        names = ["-inkey", "key.pem", "-in", "message", "-sigfile", "sig"]
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-rawin", *names]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0

    assert checked(dsse.pae(envelope.payload_type, envelope.payload))
    assert not checked(envelope.payload)


def test_one_trusted_signature_among_others_is_enough():
    first, second = (dsse.decode(dsse.sign(BODY, KIND, signer)) for signer in (OTHER, LAB))
    both = dsse.encode(dsse.Envelope(KIND, BODY, first.signatures + second.signatures))

    assert dsse.verify(both, payload_type=KIND, keys=[LAB.key]) == BODY


def test_an_envelope_that_no_trusted_key_signed_is_refused():
    raw = dsse.sign(BODY, KIND, OTHER)

    with pytest.raises(Invalid, match="no signature on it is by a trusted key"):
        dsse.verify(raw, payload_type=KIND, keys=[LAB.key])
    with pytest.raises(Invalid, match="no trusted key was given"):
        dsse.verify(raw, payload_type=KIND, keys=[])


def test_a_payload_signed_as_one_type_is_refused_as_another():
    raw = dsse.sign(BODY, "text/plain", LAB)

    with pytest.raises(Invalid, match="text/plain"):
        dsse.verify(raw, payload_type=KIND, keys=[LAB.key])
    moved = dsse.encode(dsse.Envelope(KIND, BODY, dsse.decode(raw).signatures))
    with pytest.raises(Invalid, match="no signature"):
        dsse.verify(moved, payload_type=KIND, keys=[LAB.key])


def test_a_key_id_is_a_hint_and_no_proof():
    forged = dsse.encode(dsse.Envelope(KIND, BODY, ((LAB.key.fingerprint, OTHER.sign(dsse.pae(KIND, BODY))),)))

    with pytest.raises(Invalid, match="no signature"):
        dsse.verify(forged, payload_type=KIND, keys=[LAB.key])


def test_every_changed_byte_is_refused_or_changes_nothing_that_is_signed():
    raw = dsse.sign(BODY, KIND, LAB)
    for place in range(len(raw)):
        bent = bytearray(raw)
        bent[place] ^= 1
        try:
            assert dsse.verify(bytes(bent), payload_type=KIND, keys=[LAB.key]) == BODY  # the key id, or a field's name
        except Invalid:
            continue


def test_url_safe_base64_is_read_too():
    document = json.loads(dsse.sign(b"\xfb\xff\xfe", KIND, LAB))
    document["payload"] = base64.urlsafe_b64encode(b"\xfb\xff\xfe").decode()

    assert dsse.verify(json.dumps(document).encode(), payload_type=KIND, keys=[LAB.key]) == b"\xfb\xff\xfe"


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"payload":"","payload":""}', "stands there twice"),
        (b'{"payload":"","signatures":[{}]}', "payloadType"),
        (b'{"payload":"","payloadType":"x","signatures":[]}', "signatures"),
        (b'{"payload":"%","payloadType":"x","signatures":[{"sig":""}]}', "Base64"),
        (b'{"payloadType":"x","signatures":[{"sig":""}]}', "payload"),
        (b'{"payload":"","payloadType":"x","signatures":[1]}', "not an object"),
        (b'{"payload":"","payloadType":"x","signatures":[{"keyid":1,"sig":""}]}', "keyid"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_what_is_no_envelope_is_refused_with_the_reason(raw, why):
    with pytest.raises(Invalid, match=why):
        dsse.decode(raw)


def test_a_statement_names_its_subjects_in_order_by_their_digests():
    document = dsse.read_statement(dsse.statement({"b": "bb", "a": "aa"}, "https://p", {}))

    assert document["_type"] == "https://in-toto.io/Statement/v1"
    assert [subject["name"] for subject in document["subject"]] == ["a", "b"]
    with pytest.raises(Invalid, match="about nothing"):
        dsse.statement({}, "https://p", {})
    with pytest.raises(Invalid, match="not of type"):
        dsse.read_statement(b"{}")
