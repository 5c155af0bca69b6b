"""`limen ledger fsck`, `export` and `places` on a data directory."""

from __future__ import annotations

import contextlib
import fcntl
import json
import sqlite3

import pytest


@pytest.fixture
def data(tmp_path, limen):
    """A data directory as `limen init` makes it, with a second place of publication."""
    path = tmp_path / "data"
    code, _, err = limen("init", path)
    assert code == 0, err
    toml = (path / "limen.toml").read_text()
    assert toml.count("[ledger]\n") == 1
    (path / "limen.toml").write_text(toml.replace("[ledger]\n", '[ledger]\npublish = "../second"\n'))
    code, _, err = limen(
        "vendor", "add", "quillwork", "--name", "Quillwork", "--contact", "desk@quillwork.example", "--data", path
    )
    assert code == 0, err
    return path


def edit(data, statement):
    with contextlib.closing(sqlite3.connect(data / "ledger.db")) as connection, connection:
        assert connection.execute(statement).rowcount


def test_a_sound_directory_is_ok_and_says_how_fast_it_was_read(data, limen):
    code, out, _ = limen("ledger", "fsck", "--data", data)

    assert code == 0
    assert "entries/s" in out
    assert out.splitlines()[-1] == "OK"


def test_damage_is_named_with_its_next_step_and_exit_code_5(data, limen):
    edit(data, "UPDATE entry SET raw = x'7b7d' WHERE idx = 0")

    code, out, err = limen("ledger", "fsck", "--data", data, "--json")

    answer = json.loads(out)
    assert code == 5
    assert answer["schema"] == "limen/ledger-fsck/v1"
    assert (answer["ok"], answer["first_bad"], answer["can_mend"]) == (False, 0, True)
    assert "first bad index 0" in err
    assert "--repair" in err


def test_repair_restores_and_then_finds_nothing(data, limen):
    edit(data, "UPDATE entry SET raw = x'7b7d' WHERE idx = 0")

    code, out, err = limen("ledger", "fsck", "--repair", "--data", data)

    assert code == 0
    assert out.splitlines()[-1] == "OK"
    assert "damaged-1" in err


def test_repair_needs_to_own_the_directory(data, limen):
    with (data / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, _, err = limen("ledger", "fsck", "--repair", "--data", data)

    assert code == 2
    assert "another process owns" in err


def test_an_export_verifies_by_itself(data, limen, tmp_path):
    code, out, err = limen("ledger", "export", tmp_path / "out", "--data", data)

    assert code == 0
    assert out == (tmp_path / "out" / "checkpoint").read_text()
    assert "limen ledger verify" in err
    assert limen("ledger", "verify", tmp_path / "out")[0] == 0
    again = json.loads(limen("ledger", "export", tmp_path / "out", "--data", data, "--json")[1])
    assert again["written"] == 0


def test_sealing_needs_one_bound_and_says_what_it_moved(data, limen):
    assert limen("ledger", "seal", "--data", data)[0] == 2
    assert limen("ledger", "seal", "--data", data, "--before", "5", "--keep", "5")[0] == 2

    for bound in (("--before", "1000"), ("--keep", "0")):
        code, out, _ = limen("ledger", "seal", "--data", data, *bound, "--json")
        assert code == 0
        assert json.loads(out) == {"schema": "limen/ledger-seal/v1", "sealed": 0, "now": 0}, "nothing is full yet"


def test_each_place_says_how_far_it_is(data, limen):
    answer = json.loads(limen("ledger", "places", "--data", data, "--json")[1])

    assert [(row["place"], row["error"]) for row in answer["places"]] == [
        (str(data / "log"), ""),
        (str(data.parent / "second"), ""),
        (f"high-water note {data / 'high-water'}", ""),
    ]
    assert limen("ledger", "verify", data.parent / "second")[0] == 0
