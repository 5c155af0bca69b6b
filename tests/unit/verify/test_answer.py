"""`python -m limen.verify`: what it is asked, what it answers, and with which exit code."""

from __future__ import annotations

import json
import socket

import pytest
from laid_out import ENTRIES, SIGNER, SIZE, signed

from limen.core.errors import Invalid, LedgerUnavailable
from limen.formats.cosignature import Cosigner
from limen.formats.note import Signer
from limen.formats.tlogpolicy import Cosigned
from limen.verify import consistency
from limen.verify.__main__ import main
from limen.verify.answer import entry_at, file_bytes, moment, of_proof, published_root
from limen.verify.proof import Proven
from limen.verify.published import prove

KEY = SIGNER.verifier
W1 = Cosigner.ed25519("witness.example/1", bytes([1] * 32))


@pytest.fixture
def run(capsys):
    """Run the command; returns its exit code, what it answered and what it said."""

    def ran(*words):
        try:
            code = main([str(word) for word in words])
        except SystemExit as e:
            code = e.code
        out, err = capsys.readouterr()
        return code, out, err

    return ran


@pytest.fixture
def files(tmp_path, log):
    """A policy, a proof, a consistency proof and an older checkpoint, as files."""
    root = log.reader.root
    (root / "checkpoint").write_bytes(signed(SIZE, cosigners=[W1]))
    (tmp_path / "policy").write_text(f"log {SIGNER.vkey}\nwitness one {W1.key.vkey}\nquorum one\n")
    (tmp_path / "proof").write_bytes(prove(log, KEY, 299)[0].encode())
    (tmp_path / "old").write_bytes(signed(300))
    (tmp_path / "continues").write_bytes(consistency.prove(log, KEY, signed(300))[0].encode())
    (tmp_path / "entry").write_bytes(ENTRIES[299])
    (tmp_path / "vkey").write_text(SIGNER.vkey + "\n")
    return tmp_path


def test_a_directory_verifies_under_a_policy_and_says_who_cosigned(run, log, files):
    code, out, err = run(log.reader.root, "--policy", files / "policy")

    assert (code, err) == (0, "")
    assert "witness   one, 2023-11-14T22:13:20.000Z\n" in out
    assert "compare it" not in out
    assert f"size      {SIZE}\n" in out
    assert out.endswith("\nOK\n")


def test_a_directory_verifies_under_its_own_key_and_people_are_told(run, log):
    code, out, _ = run(log.reader.root)

    assert code == 0
    assert "compare it with the one you were given" in out
    assert json.loads(run(log.reader.root, "--json")[1])["key_given"] is False


def test_a_data_directory_is_searched_for_what_it_publishes(run, log, tmp_path):
    (tmp_path / "data").mkdir()
    log.reader.root.rename(tmp_path / "data" / "log")

    assert run(tmp_path / "data", "--vkey", SIGNER.vkey)[0] == 0


def test_a_published_directory_is_told_from_a_data_directory(tmp_path):
    assert published_root(tmp_path) == tmp_path
    (tmp_path / "log").mkdir()
    assert published_root(tmp_path) == tmp_path / "log"
    (tmp_path / "checkpoint").touch()
    assert published_root(tmp_path) == tmp_path


def test_programs_get_the_answer_as_json(run, log, files):
    code, out, _ = run(log.reader.root, "--policy", files / "policy", "--json")

    found = json.loads(out)
    assert code == 0
    assert (found["schema"], found["what"], found["ok"], found["first_bad"]) == ("limen/ledger-verify/v1", "log", True, None)
    assert (found["origin"], found["size"], found["vkey"], found["key_given"]) == (SIGNER.name, SIZE, SIGNER.vkey, True)
    assert found["cosigners"] == [{"name": "one", "at": 1_700_000_000}]
    assert (found["first_at"], found["last_at"]) == (1_700_000_000_000_000, 1_700_000_000_000_599)


def test_damage_is_told_with_its_first_index_and_exit_code_5(run, log):
    bundle = log.reader.root / "tile/entries/000"
    bundle.write_bytes(bundle.read_bytes().replace(b"entry 77", b"entry 78"))

    code, out, err = run(log.reader.root, "--json")
    found = json.loads(out)

    assert (code, found["ok"], found["first_bad"]) == (5, False, 77)
    assert "entry 77" in found["why"]
    assert "(first bad index 77)" in err


def test_damage_of_the_very_first_entry_is_named_too(run, log):
    (log.reader.root / "tile/0/000").write_bytes(bytes(8192))

    code, out, err = run(log.reader.root)

    assert (code, out) == (5, "")
    assert "(first bad index 0)" in err


def test_damage_that_no_index_names_has_none(run, log):
    code, out, err = run(log.reader.root, "--vkey", Signer(SIGNER.name, bytes([1] * 32)).vkey, "--json")

    assert (code, json.loads(out)["first_bad"]) == (5, None)
    assert "first bad" not in err


def test_a_proof_file_verifies_under_a_policy(run, files):
    code, out, _ = run(files / "proof", "--policy", files / "policy", "--json")
    found = json.loads(out)

    assert (code, found["what"], found["index"], found["size"]) == (0, "proof", 299, SIZE)
    assert found["entry"] == ENTRIES[299].decode()
    assert "index     299\n" in run(files / "proof", "--vkey", SIGNER.vkey)[1]


def test_a_proof_file_verifies_with_an_entry_that_is_brought(run, files):
    assert run(files / "proof", "--vkey", files / "vkey", "--entry", files / "entry")[0] == 0
    assert run(files / "proof", "--vkey", files / "vkey", "--entry", files / "vkey")[0] == 5


def test_a_consistency_proof_verifies_with_the_older_checkpoint(run, files):
    code, out, _ = run(files / "continues", "--old", files / "old", "--policy", files / "policy", "--json")
    found = json.loads(out)

    assert (code, found["what"], found["size"], found["old"]["size"]) == (0, "consistency", SIZE, 300)
    assert "600, continues 300" in run(files / "continues", "--old", files / "old", "--vkey", SIGNER.vkey)[1]


def test_the_older_checkpoint_may_lie_in_a_proof_file(run, files, log):
    (log.reader.root / "checkpoint").write_bytes(signed(SIZE))
    (files / "older").write_bytes(prove(log, KEY, 5)[0].encode())
    same = consistency.prove(log, KEY, signed(SIZE))[0].encode()
    (files / "continues").write_bytes(same)

    assert run(files / "continues", "--old", files / "older", "--vkey", SIGNER.vkey)[0] == 0
    (files / "older").write_text("c2sp.org/tlog-proof@v1\nindex x\n")
    code, _, err = run(files / "continues", "--old", files / "older", "--vkey", SIGNER.vkey)
    assert (code, "older checkpoint does not read" in err) == (5, True)


def test_a_cosigner_that_does_not_say_when_has_no_time_put_into_its_mouth():
    found = of_proof(Proven(0, b"", Cosigned(SIGNER.name, 1, bytes(32), (("w", 0), ("v", 1)))))

    assert found.lines[3:5] == ("witness   w, at no stated time", "witness   v, 1970-01-01T00:00:01.000Z")


def test_what_is_no_proof_at_all_does_not_verify(run, files):
    assert run(files / "policy", "--vkey", SIGNER.vkey)[0] == 5


def test_an_entry_can_not_write_on_the_terminal():
    found = of_proof(Proven(0, b"\x1b[2J\xff\nOK", Cosigned(SIGNER.name, 1, bytes(32))))

    assert found.lines[-1] == r"entry     \x1b[2J\xff\nOK"


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        ([], 2, "required"),
        (["nowhere", "--vkey", SIGNER.vkey], 4, "nowhere"),
        (["{files}/proof"], 2, "give --policy"),
        (["{files}/continues", "--vkey", SIGNER.vkey], 2, "--old"),
        (["{files}/proof", "--vkey", "nowhere"], 4, "neither one nor a file"),
        (["{files}/proof", "--vkey", "{files}/proof"], 2, "key name"),
        (["{files}/proof", "--policy", "nowhere"], 4, "nowhere"),
        (["{files}/proof", "--policy", "{files}"], 4, "not found"),
        (["{files}/proof", "--policy", "{files}/proof"], 2, "line 1"),
        (["{files}/proof", "--policy", "{files}/policy", "--vkey", SIGNER.vkey], 2, "beside --vkey"),
        (["http://host/?q", "--vkey", SIGNER.vkey], 2, "address"),
        (["{empty}"], 4, "vkey"),
        (["{empty}", "--vkey", SIGNER.vkey], 4, "is this a published log"),
    ],
)
def test_what_can_not_be_asked_has_its_own_exit_codes(run, files, tmp_path, words, code, why):
    (tmp_path / "empty").mkdir()
    given = [word.format(files=files, empty=tmp_path / "empty") for word in words]

    found, _, err = run(*given)

    assert (found, why.format(files=files) in err) == (code, True), err


def test_what_can_not_be_read_just_now_is_neither_good_nor_bad(run):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]

    code, _, err = run(f"http://127.0.0.1:{port}/", "--vkey", SIGNER.vkey)

    assert code == 1
    assert "can't be read" in err


def test_an_entry_without_a_time_has_an_unknown_one():
    assert entry_at(ENTRIES[3]) == 1_700_000_000_000_003
    assert [entry_at(None), entry_at(b"{"), moment(None)] == [None, None, "unknown"]
    assert entry_at(ENTRIES[3].replace(b"1700000000000003", b'"tomorrow"')) is None
    assert moment(10**30) == f"{10**30} us"


def test_a_file_that_is_too_long_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("limen.verify.answer._MAX_FILE", 100)
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    assert file_bytes(path) == bytes(100)
    path.write_bytes(bytes(101))
    with pytest.raises(Invalid, match="longer than 100"):
        file_bytes(path)


def test_a_file_that_the_disk_refuses_is_not_called_missing(tmp_path):
    with pytest.raises(LedgerUnavailable, match="can't be read"):
        file_bytes(tmp_path / ("x" * 300))
