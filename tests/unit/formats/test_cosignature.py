"""Cosignatures of both kinds: what verifies, what they say, and what is refused."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey

from limen.core.errors import Invalid
from limen.formats import checkpoint, cosignature, note
from limen.formats.cosignature import ED25519_COSIGNATURE, MLDSA44_COSIGNATURE, Cosigner, CosignerKey

LOG = note.Signer("log.example/one", bytes(range(32)))
TEXT = checkpoint.encode(LOG.name, 7, hashlib.sha256(b"root").digest()).encode()
OTHER = checkpoint.encode(LOG.name, 8, hashlib.sha256(b"root").digest()).encode()
ED = Cosigner.ed25519("witness.example/ed", bytes([1] * 32))
ML = Cosigner.mldsa44("witness.example/ml", bytes([2] * 32))
BOTH = pytest.mark.parametrize("cosigner", [ED, ML], ids=["ed25519", "mldsa44"])
AT = 1_679_315_147


@BOTH
def test_a_cosignature_verifies_and_tells_its_time(cosigner):
    found = cosigner.cosign(TEXT, AT)

    cosigner.key.verify(TEXT, found.blob)
    assert cosigner.key.cosigned_at(found.blob) == AT
    assert (found.name, found.key_id) == (cosigner.key.name, cosigner.key.key_id)


@BOTH
def test_a_note_opens_under_its_log_and_its_cosigner(cosigner):
    found = cosigner.cosign(TEXT, AT)
    raw = note.append_signature(note.sign(TEXT, LOG), found.name, found.key_id, found.blob)

    _, signatures = note.open_note(raw, [LOG.verifier, cosigner.key])

    assert [signature.name for signature in signatures] == [LOG.name, cosigner.key.name]
    assert note.open_note(raw, [cosigner.key])[1] == (found,)
    assert cosignature.line(found) == raw.removeprefix(note.sign(TEXT, LOG))


@BOTH
def test_a_cosignature_of_another_checkpoint_is_refused(cosigner):
    with pytest.raises(Invalid, match="does not verify"):
        cosigner.key.verify(OTHER, cosigner.cosign(TEXT, AT).blob)


@BOTH
def test_the_time_is_signed_too(cosigner):
    blob = cosigner.cosign(TEXT, AT).blob
    with pytest.raises(Invalid, match="does not verify"):
        cosigner.key.verify(TEXT, (AT + 1).to_bytes(8, "big") + blob[8:])


@BOTH
def test_a_blob_of_another_length_is_refused(cosigner):
    blob = cosigner.cosign(TEXT, AT).blob
    for wrong in (b"", blob[:7], blob[:8], blob[:-1], blob + b"\0"):
        with pytest.raises(Invalid, match=f"has {len(wrong)} bytes"):
            cosigner.key.verify(TEXT, wrong)


@BOTH
def test_a_time_past_2_to_the_63_is_refused(cosigner):
    blob = (2**63).to_bytes(8, "big") + cosigner.cosign(TEXT, AT).blob[8:]
    with pytest.raises(Invalid, match="no time below"):
        cosigner.key.cosigned_at(blob)
    assert cosigner.key.cosigned_at((2**63 - 1).to_bytes(8, "big")) == 2**63 - 1
    with pytest.raises(Invalid):
        cosigner.key.cosigned_at(bytes(7))


@BOTH
def test_a_checkpoint_can_be_cosigned_in_the_first_second_and_in_the_last(cosigner):
    for at in (1, 2**63 - 1):
        blob = cosigner.cosign(TEXT, at).blob
        cosigner.key.verify(TEXT, blob)
        assert cosigner.key.cosigned_at(blob) == at


@BOTH
@pytest.mark.parametrize("at", [0, -1, 2**63])
def test_nothing_is_cosigned_at_no_time(cosigner, at):
    with pytest.raises(Invalid):
        cosigner.cosign(TEXT, at)


@BOTH
@pytest.mark.parametrize("text", [b"", b"hello\n", b"\xff\n1\n2\n", TEXT[:-1], TEXT + b"extension\n"])
def test_only_a_checkpoint_is_cosigned_or_verified(cosigner, text):
    with pytest.raises(Invalid):
        cosigner.cosign(text, AT)
    with pytest.raises(Invalid):
        cosigner.key.verify(text, cosigner.cosign(TEXT, AT).blob)


def test_the_ed25519_message_is_the_specifications():
    blob = ED.cosign(TEXT, AT).blob
    message = b"cosignature/v1\ntime 1679315147\n" + TEXT

    Ed25519PublicKey.from_public_bytes(ED.key.public_key).verify(blob[8:], message)


def test_the_mldsa44_message_is_the_specifications():
    blob = ML.cosign(TEXT, AT).blob
    message = b"subtree/v1\n\x00" + b"\x12witness.example/ml" + AT.to_bytes(8, "big") + b"\x0flog.example/one"
    message += bytes(8) + (7).to_bytes(8, "big") + hashlib.sha256(b"root").digest()

    MLDSA44PublicKey.from_public_bytes(ML.key.public_key).verify(blob[8:], message)


def test_an_mldsa44_cosignature_commits_to_its_cosigners_name():
    renamed = CosignerKey.of("witness.example/lm", MLDSA44_COSIGNATURE, ML.key.public_key)
    with pytest.raises(Invalid, match="does not verify"):
        renamed.verify(TEXT, ML.cosign(TEXT, AT).blob)


@BOTH
def test_a_cosigners_vkey_survives_the_way_through_text(cosigner):
    assert CosignerKey.from_vkey(cosigner.key.vkey) == cosigner.key
    kind = b"\x04" if cosigner is ED else b"\x06"
    hashed = hashlib.sha256(cosigner.key.name.encode() + b"\n" + kind + cosigner.key.public_key).digest()
    assert cosigner.key.key_id == hashed[:4]


def test_a_logs_key_is_no_cosigners_key_nor_the_other_way_round():
    with pytest.raises(Invalid, match="no cosigner's"):
        CosignerKey.from_vkey(LOG.vkey)
    with pytest.raises(Invalid, match="a log's key is 0x01"):
        note.Verifier.from_vkey(ED.key.vkey)


@pytest.mark.parametrize(
    ("kind", "public"), [(ED25519_COSIGNATURE, bytes(31)), (ED25519_COSIGNATURE, bytes(1312)), (MLDSA44_COSIGNATURE, bytes(32))]
)
def test_a_public_key_of_the_wrong_length_is_refused(kind, public):
    with pytest.raises(Invalid, match="has"):
        CosignerKey.of("witness.example/w", kind, public)


def test_an_mldsa44_name_or_origin_of_more_than_255_bytes_is_refused():
    CosignerKey.of("w" * 256, ED25519_COSIGNATURE, ED.key.public_key)
    longest = CosignerKey.of("w" * 255, MLDSA44_COSIGNATURE, ML.key.public_key)
    assert longest.name
    with pytest.raises(Invalid, match="256 bytes"):
        CosignerKey.of("w" * 256, MLDSA44_COSIGNATURE, ML.key.public_key)
    ML.cosign(checkpoint.encode("o" * 255, 7, bytes(32)).encode(), AT)
    with pytest.raises(Invalid, match="256 bytes"):
        ML.cosign(checkpoint.encode("o" * 256, 7, bytes(32)).encode(), AT)


def test_a_name_that_no_note_can_hold_is_refused():
    with pytest.raises(Invalid, match="key name"):
        CosignerKey.of("two words", ED25519_COSIGNATURE, ED.key.public_key)


@pytest.mark.parametrize("make", [Cosigner.ed25519, Cosigner.mldsa44])
def test_a_seed_of_the_wrong_length_is_refused(make):
    for seed in (b"", bytes(31), bytes(33)):
        with pytest.raises(Invalid, match="32 bytes"):
            make("witness.example/w", seed)


def test_a_cosigner_does_not_show_its_private_key():
    assert "private" not in repr(ED).lower()
