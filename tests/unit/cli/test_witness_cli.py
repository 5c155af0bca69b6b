"""`limen witness`: make one, tell it of a log, look at it."""

from __future__ import annotations

import json

import pytest

from limen.formats import note, tlogpolicy
from limen.ledger.witnesses.witness import Witness
from witnessing import LOG, Tree


def test_a_new_witness_prints_lines_for_a_policy_and_the_next_step(limen, tmp_path):
    code, out, err = limen("witness", "init", tmp_path / "w", "--name", "witness.example/w1")

    assert code == 0
    assert "limen witness add" in err
    lines = [line.replace(" URL", " http://127.0.0.1:1") for line in out.splitlines()]
    policy = tlogpolicy.Policy.read("\n".join([f"log {LOG.vkey}", *lines, f"quorum {lines[0].split()[1]}"]) + "\n")
    assert [w.key.name for w in policy.witnesses.values()] == ["witness.example/w1"] * 2


def test_one_key_if_so_asked(limen, tmp_path):
    out = limen("witness", "init", tmp_path / "w", "--name", "w.example", "--ed25519-only", "--json")[1]

    assert len(json.loads(out)["vkeys"]) == 1


def test_a_second_witness_in_one_place_is_refused(limen, tmp_path):
    limen("witness", "init", tmp_path / "w", "--name", "w.example")
    code, _, err = limen("witness", "init", tmp_path / "w", "--name", "w.example")

    assert (code, "already" in err) == (2, True)


def test_a_log_is_added_by_key_or_by_file_and_shown(limen, tmp_path):
    limen("witness", "init", tmp_path / "w", "--name", "w.example")
    (tmp_path / "log.vkey").write_text(LOG.vkey + "\n")

    assert limen("witness", "add", tmp_path / "w", LOG.vkey)[0] == 0
    assert limen("witness", "add", tmp_path / "w", tmp_path / "log.vkey")[0] == 0
    assert limen("witness", "add", tmp_path / "w", "no such thing")[0] == 4
    assert limen("witness", "add", tmp_path / "w", note.Signer(LOG.name, bytes([9]) * 32).vkey)[0] == 2

    [log] = json.loads(limen("witness", "list", tmp_path / "w", "--json")[1])["logs"]
    assert (log["origin"], log["size"], log["cosigned_at"], log["forked_at"]) == (LOG.name, 0, None, None)
    assert "never" in limen("witness", "list", tmp_path / "w")[1]


@pytest.mark.parametrize(("more", "witnesses"), [((), 2), (("--ed25519-only",), 1)])
def test_it_prints_a_policy_that_asks_for_it_alone(limen, tmp_path, more, witnesses):
    limen("witness", "init", tmp_path / "w", "--name", "witness.example/w1", *more)

    policy = tlogpolicy.Policy.read(
        limen("witness", "policy", tmp_path / "w", "--url", "http://127.0.0.1:1", "--log", LOG.vkey)[1]
    )

    assert len(policy.witnesses) == witnesses
    assert all(policy.satisfied_by({name}) for name in policy.witnesses)
    assert not policy.satisfied_by(set())


def test_a_fork_is_shown_as_two_signed_checkpoints(limen, tmp_path):
    limen("witness", "init", tmp_path / "w", "--name", "w.example")
    limen("witness", "add", tmp_path / "w", LOG.vkey)
    assert limen("witness", "fork", tmp_path / "w", LOG.name)[0] == 4
    witness = Witness(tmp_path / "w" / "witness.db")
    witness.add_checkpoint(Tree(20).request(0, 20), 1)
    witness.add_checkpoint(Tree(20, "another").request(20, 20), 2)
    witness.close()

    code, out, _ = limen("witness", "fork", tmp_path / "w", LOG.name)

    assert code == 0
    assert out.count(f"{LOG.name}\n20\n") == 2
    assert "FORKED" in limen("witness", "list", tmp_path / "w")[1]


def test_a_witness_that_is_not_there_is_a_4_and_a_hint(limen, tmp_path):
    code, _, err = limen("witness", "list", tmp_path / "w")

    assert (code, "limen witness init" in err) == (4, True)
