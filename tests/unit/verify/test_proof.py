"""One proof file and a policy: what holds, and every way in which it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from laid_out import ENTRIES, SIGNER, SIZE, signed

from limen.core.errors import Invalid, TamperDetected
from limen.formats import tlogproof
from limen.formats.cosignature import Cosigner
from limen.formats.note import Signer
from limen.formats.tlogpolicy import Policy
from limen.verify import proof
from limen.verify.published import prove

KEY = SIGNER.verifier
W1 = Cosigner.ed25519("witness.example/1", bytes([1] * 32))
W2 = Cosigner.mldsa44("witness.example/2", bytes([2] * 32))
POLICY = Policy.read(f"log {SIGNER.vkey}\nwitness a {W1.key.vkey}\nwitness b {W2.key.vkey}\ngroup both all a b\nquorum both\n")


@pytest.fixture
def raw(log):
    (log.reader.root / "checkpoint").write_bytes(signed(SIZE, cosigners=[W1, W2]))
    return prove(log, POLICY, 299)[0].encode()


def test_a_proof_and_a_policy_are_enough(raw):
    proven = proof.check(raw, POLICY)

    assert (proven.index, proven.entry) == (299, ENTRIES[299])
    assert (proven.checkpoint.origin, proven.checkpoint.size) == (SIGNER.name, SIZE)
    assert proven.checkpoint.cosigners == (("a", 1_700_000_000), ("b", 1_700_000_000))


def test_a_proof_and_the_logs_key_are_enough_for_less(raw):
    assert proof.check(raw, KEY).checkpoint.cosigners == ()


def test_the_entry_may_come_apart_from_its_proof(raw):
    bare = replace(tlogproof.decode(raw), extra=b"").encode()

    assert proof.check(bare, POLICY, entry=ENTRIES[299]).entry == ENTRIES[299]
    with pytest.raises(Invalid, match="does not carry the entry"):
        proof.check(bare, POLICY)


def test_an_entry_that_is_given_outranks_the_one_that_the_file_carries(raw):
    with pytest.raises(TamperDetected) as found:
        proof.check(raw, POLICY, entry=ENTRIES[298])
    assert found.value.index == 299


def test_what_the_file_carries_is_not_believed(raw):
    with pytest.raises(TamperDetected, match="does not lead to the root"):
        proof.check(replace(tlogproof.decode(raw), extra=ENTRIES[298]).encode(), POLICY)


def test_a_proof_without_the_quorum_or_under_another_key_does_not_hold(log, raw):
    (log.reader.root / "checkpoint").write_bytes(signed(SIZE, cosigners=[W1]))
    with pytest.raises(TamperDetected, match="no quorum"):
        proof.check(prove(log, KEY, 299)[0].encode(), POLICY)
    with pytest.raises(TamperDetected):
        proof.check(raw, Signer(SIGNER.name, bytes([7] * 32)).verifier)


def test_a_changed_bit_of_a_proof_is_noticed(raw):
    assert proof.check(raw, POLICY)
    for position in range(0, len(raw), 3):
        bent = bytearray(raw)
        bent[position] ^= 1 << position % 8
        with pytest.raises((TamperDetected, Invalid)):
            proof.check(bytes(bent), POLICY)
