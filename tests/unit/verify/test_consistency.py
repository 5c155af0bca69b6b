"""Two checkpoints of one log: a proof that the newer continues the older, and what is none."""

from __future__ import annotations

from dataclasses import replace

import pytest
from laid_out import LEAVES, SIGNER, SIZE, signed

from limen.core.errors import TamperDetected
from limen.formats import merkle, witness
from limen.formats.cosignature import Cosigner
from limen.formats.note import Signer
from limen.formats.tlogpolicy import Policy
from limen.verify import consistency

KEY = SIGNER.verifier
W1 = Cosigner.ed25519("witness.example/1", bytes([1] * 32))
POLICY = Policy.read(f"log {SIGNER.vkey}\nwitness a {W1.key.vkey}\nquorum a\n")
SECOND = Signer("example.com/second", bytes([3] * 32))


@pytest.mark.parametrize("old", [1, 2, 255, 256, 257, 511, 512, 599, SIZE])
def test_every_older_checkpoint_is_continued_and_others_can_check_it(log, old):
    request, found = consistency.prove(log, KEY, signed(old))

    assert (found.old.size, found.new.size) == (old, SIZE)
    assert consistency.check(request.encode(), signed(old), KEY) == found
    merkle.verify_consistency(old, SIZE, merkle.root_of(LEAVES[:old]), merkle.root_of(LEAVES), request.proof)


def test_a_policy_asks_the_quorum_of_the_newer_checkpoint_only(log):
    with pytest.raises(TamperDetected, match="no quorum"):
        consistency.prove(log, POLICY, signed(300))
    (log.reader.root / "checkpoint").write_bytes(signed(SIZE, cosigners=[W1]))
    request, found = consistency.prove(log, POLICY, signed(300))

    assert (found.old.cosigners, found.new.cosigners) == ((), (("a", 1_700_000_000),))
    with pytest.raises(TamperDetected, match="newer checkpoint does not verify"):
        consistency.check(replace(request, checkpoint=signed(SIZE)).encode(), signed(300), POLICY)


def test_an_older_checkpoint_with_another_root_is_not_continued(log):
    for old in (300, 512, SIZE):
        with pytest.raises(TamperDetected, match=f"checkpoint of size {old}"):
            consistency.prove(log, KEY, signed(old, root=bytes(32)))


def test_an_older_checkpoint_that_the_log_did_not_sign_says_nothing_about_it(log):
    for forged in (signed(300, signer=Signer(SIGNER.name, bytes([7] * 32))), signed(300)[:-3], b""):
        with pytest.raises(TamperDetected, match="older checkpoint does not verify"):
            consistency.prove(log, KEY, forged)


def test_a_log_that_shows_less_than_it_signed_was_rolled_back(log):
    newest = signed(SIZE)
    (log.reader.root / "checkpoint").write_bytes(signed(512))

    with pytest.raises(TamperDetected, match="shows 512 entries and has signed 600"):
        consistency.prove(log, KEY, newest)


def test_an_empty_tree_proves_nothing(log):
    with pytest.raises(TamperDetected):
        consistency.prove(log, KEY, signed(0))
    with pytest.raises(TamperDetected, match="nothing to check"):
        consistency.check(witness.Request(0, (), signed(SIZE)).encode(), signed(0), KEY)


def test_two_trusted_logs_do_not_continue_each_other(log):
    both = Policy.of_logs([KEY, SECOND.verifier])
    request, _ = consistency.prove(log, both, signed(300))
    other = signed(300, signer=SECOND)

    with pytest.raises(TamperDetected, match="is of the log"):
        consistency.check(request.encode(), other, both)


def test_a_proof_about_another_size_does_not_count(log):
    request, _ = consistency.prove(log, KEY, signed(300))
    with pytest.raises(TamperDetected, match="begins at size 301"):
        consistency.check(replace(request, old_size=301).encode(), signed(300), KEY)


def test_any_changed_bit_of_a_proof_is_noticed(log):
    request, _ = consistency.prove(log, KEY, signed(300))
    raw = request.encode()
    for position in range(len(raw)):
        bent = bytearray(raw)
        bent[position] ^= 1 << position % 8
        with pytest.raises(TamperDetected):
            consistency.check(bytes(bent), signed(300), KEY)


def test_a_log_whose_tiles_are_damaged_can_not_prove_it(log):
    (log.reader.root / "tile/0/000").unlink()
    with pytest.raises(TamperDetected, match="can't prove"):
        consistency.prove(log, KEY, signed(3))
