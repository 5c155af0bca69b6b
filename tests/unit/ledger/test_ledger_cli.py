"""`limen ledger` on a data directory, and on a copy of what it published."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3

import pytest

from limen.formats import tlogproof
from limen.formats.note import Signer, Verifier


@pytest.fixture
def copy(world, tmp_path):
    """What an auditor has: the published directory, and nothing else."""
    world.fill(300)
    shutil.copytree(world.path / "log", tmp_path / "copied")
    return tmp_path / "copied"


def edit(world, statement):
    with contextlib.closing(sqlite3.connect(world.path / "ledger.db")) as connection, connection:
        assert connection.execute(statement).rowcount


def test_a_copied_directory_verifies_alone(copy, limen):
    code, out, _ = limen("ledger", "verify", copy)

    assert code == 0
    assert out.splitlines()[-1] == "OK"
    assert "size      300" in out
    assert "2023-11-14T22:13:20.000Z" in out
    assert "compare it with the one you were given" in out


def test_a_key_that_was_given_decides(copy, world, limen, tmp_path):
    (tmp_path / "key").write_text(world.signer.vkey + "\n")
    for vkey in (world.signer.vkey, tmp_path / "key"):
        assert limen("ledger", "verify", copy, "--vkey", vkey)[0] == 0

    code, _, err = limen("ledger", "verify", copy, "--vkey", Signer(world.signer.name, b"f" * 32).vkey)
    assert code == 5
    assert "no single entry can be named" in err


def test_verification_answers_programs_too(world, limen):
    world.fill(300)

    code, out, _ = limen("ledger", "verify", "--data", world.path, "--json")

    answer = json.loads(out)
    assert code == 0
    assert answer["schema"] == "limen/ledger-verify/v1"
    assert (answer["ok"], answer["size"], answer["database"]["size"]) == (True, 300, 300)
    assert answer["first_at"] == answer["last_at"] == 1_700_000_000_000_000


def test_damage_has_its_exit_code_and_the_first_bad_index(copy, limen):
    bundle = copy / "tile/entries/000"
    bundle.write_bytes(bundle.read_bytes().replace(b"entry 77", b"entry 78"))

    code, out, err = limen("ledger", "verify", copy, "--json")

    assert code == 5
    assert json.loads(out)["first_bad"] == 77
    assert "first bad index 77" in err


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        ("UPDATE entry SET raw = zeroblob(9) WHERE idx = 123", 123),
        ("DELETE FROM entry WHERE idx = 200", 200),
        ("UPDATE entry SET idx = idx + 1000 WHERE idx = 299", None),
    ],
)
def test_a_database_that_differs_from_what_was_published_is_damage(world, limen, statement, index):
    world.fill(300)
    edit(world, statement)

    code, out, _ = limen("ledger", "verify", world.path, "--json")

    assert code == 5
    assert json.loads(out)["ok"] is False
    assert index is None or json.loads(out)["first_bad"] == index


def test_looking_changes_nothing(world, limen):
    world.fill(3)
    before = sorted(path.name for path in world.path.iterdir())

    for words in (["verify"], ["head"], ["tail"], ["prove", "1"]):
        assert limen("ledger", *words, "--data", world.path)[0] == 0

    assert sorted(path.name for path in world.path.iterdir()) == before


def test_a_log_in_use_can_be_looked_at(world, limen, make_entry):
    async def scene(ledger):
        await ledger.append(make_entry("one"))
        await ledger.flush()
        await ledger.append(make_entry("not published yet"))
        assert limen("ledger", "verify", world.path)[0] == 0
        assert "not published yet" in limen("ledger", "tail", "--data", world.path)[1]
        assert limen("ledger", "head", "--data", world.path)[1].splitlines()[1] == "2"

    world.run(scene)


def test_the_head_is_the_signed_checkpoint_itself(copy, limen):
    code, out, _ = limen("ledger", "head", "--data", copy)

    assert code == 0
    assert out.encode() == (copy / "checkpoint").read_bytes()
    assert json.loads(limen("ledger", "head", "--data", copy, "--json")[1])["checkpoint"] == out


def test_a_proof_verifies_with_the_key_and_the_entry_alone(copy, limen):
    code, out, err = limen("ledger", "prove", 42, "--data", copy)

    entry = json.loads(limen("ledger", "prove", 42, "--data", copy, "--json")[1])["entry"]
    key = Verifier.from_vkey((copy / "vkey").read_text())
    assert code == 0
    assert tlogproof.decode(out.encode()).verify(entry.encode(), [key]).size == 300
    assert "42  2023-11-14" in err


def test_an_entry_that_is_not_there_is_not_found(copy, limen):
    assert limen("ledger", "prove", 300, "--data", copy)[0] == 4


def test_a_directory_without_a_log_is_not_found(tmp_path, limen):
    assert limen("ledger", "verify", tmp_path)[0] == 4


def test_the_newest_entries_are_one_line_each_and_can_not_steer_the_terminal(world, limen, make_entry):
    async def scene(ledger):
        fields = {"action": "read", "asset": "a", "span": [0, 9], "rule": "two words", "shard": "\x1b[2Jx"}
        await ledger.append(make_entry("x", "access.intent", status=206, **fields))
        await ledger.append(b"no entry")
        await ledger.flush()

    world.run(scene)
    code, out, _ = limen("ledger", "tail", "-n", 2, "--data", world.path)

    first, second = out.splitlines()
    assert code == 0
    assert first == (
        "0  2023-11-14T22:13:20.000Z  access.intent  "
        'action=read asset=a shard="\\u001b[2Jx" status=206 rule="two words" name=x span=[0,9]'
    )
    assert second == "1  not an entry: 8 bytes"
    lines = [json.loads(line) for line in limen("ledger", "tail", "--json", "--data", world.path)[1].splitlines()]
    assert lines[0]["schema"] == "limen/ledger-entry/v1"
    assert lines[0]["entry"]["status"] == 206
    assert lines[1]["unreadable"] == b"no entry".hex()
