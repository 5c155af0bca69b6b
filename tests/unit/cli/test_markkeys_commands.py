"""`limen asset key show|rotate|retire|open`, as an operator meets them: words, exit codes, and the arbiter's file."""

from __future__ import annotations

import json
import stat

import pytest

from simulator import records

ASSET = "orchid-sft-v3"


@pytest.fixture(autouse=True)
def registered(operator, tmp_path):
    """A marked version, so that the asset has a key."""
    (tmp_path / "sft.jsonl").write_bytes(records(400))
    assert operator("asset", "register", ASSET, tmp_path / "sft.jsonl")[0] == 0


def test_keys_are_shown_rotated_and_retired(operator):
    assert f"{ASSET}  nuida8  file   1         good" in operator("asset", "key", "show", ASSET)[1]
    assert f"the next version takes key {ASSET}~2 (entry " in operator("asset", "key", "rotate", ASSET, "--levels", "nuida16")[1]
    assert f"{ASSET}: retired (entry " in operator("asset", "key", "retire", ASSET, "--key", ASSET, "--reason", "in a paste")[1]
    answer = json.loads(operator("asset", "key", "show", ASSET, "--json")[1])
    assert answer["schema"] == "limen/asset-keys/v1"
    assert [(one["key"], one["levels"], one["retired"] is None) for one in answer["keys"]] == [
        (ASSET, "nuida8", False),
        (f"{ASSET}~2", "nuida16", True),
    ]
    code, _, said = operator("asset", "key", "retire", ASSET, "--key", ASSET, "--reason", "again")
    assert (code, "is retired since entry" in said) == (2, True)


def test_two_accounts_open_a_key_into_a_file_of_its_own(operator, tmp_path):
    code, answered, said = operator("asset", "key", "open", ASSET, "--reason", "case 17", "--use", "copy")
    assert code == 0
    number = answered.split()[1].rstrip(":")
    assert f"limen asset key open --approve {number} --to FILE" in said
    assert "case 17" in operator("asset", "key", "open", "--show", number)[1]
    file = tmp_path / "arbiter.json"
    code, _, said = operator("asset", "key", "open", "--approve", number, "--to", file)
    assert (code, "somebody else has to" in said, file.exists()) == (3, True, False)
    file.write_text("mine")
    code, _, said = operator("asset", "key", "open", "--approve", number, "--to", file, uid=1002)
    assert (code, "nothing was opened" in said, file.read_text()) == (2, True, "mine")
    file.unlink()
    code, answered, _ = operator("asset", "key", "open", "--approve", number, "--to", file, uid=1002)
    assert (code, f"subkeys copy are in {file}" in answered) == (0, True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    opened = json.loads(file.read_text())
    assert (opened["schema"], opened["id"], list(opened["subkeys"])) == ("limen/mark-key/v1", ASSET, ["copy"])
    assert "opened by entry" in operator("asset", "key", "show", ASSET)[1]


def test_the_key_that_is_opened_unless_one_is_named_is_that_of_the_newest_version(operator):
    assert f"the next version takes key {ASSET}~2" in operator("asset", "key", "rotate", ASSET)[1]
    assert operator("asset", "key", "open", ASSET, "--reason", "case 17")[1].split()[2].rstrip(",") == ASSET


def test_what_can_t_be_done_says_why(operator):
    for words, code, why in (
        (("open",), 2, "takes an ASSET"),
        (("open", ASSET), 2, "say for which case"),
        (("open", "--approve", "1"), 2, "name a new file"),
        (("open", "--approve", "1", "--to", "/nowhere/file"), 2, "nothing was opened"),
        (("rotate", "nobodys"), 4, "not found: asset nobodys"),
    ):
        got, _, said = operator("asset", "key", *words)
        assert (got, why in said) == (code, True), words
