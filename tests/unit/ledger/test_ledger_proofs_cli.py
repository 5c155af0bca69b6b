"""`limen ledger verify`, `prove` and `consistency`: proofs that a vendor or an auditor carries away, and holds the log to."""

from __future__ import annotations

import json

import pytest

from limen.formats import note, witness
from limen.formats.cosignature import Cosigner
from limen.formats.note import Signer
from limen.verify.published import CHECKPOINT

WITNESS = Cosigner.mldsa44("witness.example/w", bytes([1] * 32))


@pytest.fixture
def held(world, tmp_path):
    """A log of 300 entries that grew to 700, its checkpoint cosigned; and what somebody holds: a policy, an old checkpoint."""
    world.fill(300)
    (tmp_path / "old").write_bytes((world.path / "log" / CHECKPOINT).read_bytes())
    world.fill(400)
    published = world.path / "log" / CHECKPOINT
    line = WITNESS.cosign(note.parse(published.read_bytes())[0].encode(), 1_700_000_000)
    published.write_bytes(note.append_signature(published.read_bytes(), line.name, line.key_id, line.blob))
    (tmp_path / "policy").write_text(f"log {world.signer.vkey}\nwitness w {WITNESS.key.vkey}\nquorum w\n")
    return tmp_path


def test_a_proof_is_checked_with_its_file_and_a_policy_alone(world, held, limen):
    code, out, _ = limen("ledger", "prove", 299, "--data", world.path, "--policy", held / "policy")
    (held / "proof").write_text(out)
    assert code == 0

    code, out, _ = limen("ledger", "verify", held / "proof", "--policy", held / "policy", "--json")
    found = json.loads(out)

    assert code == 0
    assert (found["what"], found["index"], found["size"]) == ("proof", 299, 700)
    assert found["cosigners"] == [{"name": "w", "at": 1_700_000_000}]


def test_the_log_continues_an_older_checkpoint_and_others_can_check_that(world, held, limen):
    code, out, err = limen("ledger", "consistency", held / "old", "--data", world.path, "--policy", held / "policy")
    (held / "continues").write_text(out)

    assert code == 0
    assert "700 entries continues its checkpoint of 300" in err
    assert witness.decode(out.encode()).old_size == 300
    checked = limen("ledger", "verify", held / "continues", "--old", held / "old", "--policy", held / "policy")
    assert checked[0] == 0
    assert "700, continues 300" in checked[1]


def test_the_older_checkpoint_may_lie_in_a_proof_file(world, held, limen):
    (held / "proof").write_text(limen("ledger", "prove", 0, "--data", world.path)[1])
    world.fill(5)

    code, out, _ = limen("ledger", "consistency", held / "proof", "--data", world.path, "--json")
    found = json.loads(out)

    assert code == 0
    assert (found["schema"], found["old"]["size"], found["size"]) == ("limen/ledger-consistency/v1", 700, 705)
    assert witness.decode(found["proof"].encode()).old_size == 700


def test_a_log_that_does_not_continue_what_it_signed_has_exit_code_5(world, held, limen, tmp_path):
    forged = note.sign(f"{world.signer.name}\n300\n{'A' * 43}=\n", world.signer)
    (held / "forged").write_bytes(forged)
    (held / "bent").write_text("c2sp.org/tlog-proof@v1\nindex x\n")

    for held_to, why in (("forged", "does not continue"), ("policy", "does not verify"), ("bent", "does not read")):
        code, _, err = limen("ledger", "consistency", held / held_to, "--data", world.path)
        assert (code, why in err) == (5, True), err
    assert limen("ledger", "consistency", held / "nothing", "--data", world.path)[0] == 4


def test_a_data_directory_is_verified_under_a_policy_with_its_database(world, held, limen):
    code, out, _ = limen("ledger", "verify", "--data", world.path, "--policy", held / "policy")

    assert code == 0
    assert "witness   w, 2023-11-14T22:13:20.000Z" in out
    assert "database  OK, 700 entries" in out


def test_a_policy_without_its_quorum_is_damage(world, held, limen):
    other = Cosigner.ed25519("witness.example/other", bytes([2] * 32))
    (held / "policy").write_text(f"log {world.signer.vkey}\nwitness w {other.key.vkey}\nquorum w\n")

    code, _, err = limen("ledger", "verify", world.path, "--policy", held / "policy")

    assert code == 5
    assert "no quorum" in err


def test_a_policy_of_several_logs_finds_the_key_of_this_one(world, held, limen):
    other = Signer("another.example/log", bytes([3] * 32))
    (held / "policy").write_text(f"log {other.vkey}\nlog {world.signer.vkey}\nquorum none\n")

    code, out, _ = limen("ledger", "verify", world.path, "--policy", held / "policy", "--json")

    assert (code, json.loads(out)["vkey"]) == (0, world.signer.vkey)
    assert json.loads(out)["database"]["size"] == 700


def test_an_address_that_nobody_serves_is_told_apart_from_damage(limen):
    code, _, err = limen("ledger", "verify", "http://127.0.0.1:1/", "--vkey", WITNESS.key.vkey)
    assert code == 2
    code, _, err = limen("ledger", "verify", "http://127.0.0.1:1/")
    assert code == 1
    assert "can't be read" in err
    assert "hint: nothing was verified" in err
