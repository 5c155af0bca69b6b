"""`limen person hold|release|erase|open` and `limen ledger disclose`, as an operator meets them: words and exit codes."""

from __future__ import annotations

import json

import pytest

from limen.verify.__main__ import main as verifier

WHO = "quillwork/q03"


def entry_of(operator, kind):
    lines = operator("ledger", "tail", "-n", 500, "--json")[1].splitlines()
    return next(json.loads(line) for line in lines if f'"kind": "{kind}"' in line)


def test_a_hold_a_release_and_an_erasure_say_what_they_did(operator):
    assert operator("person", "hold", WHO, "--reason", "case 17")[1].startswith(f"{WHO}: on legal hold (entry ")
    code, _, said = operator("person", "erase", WHO, "--end", "--reason", "request 7")
    assert code == 3
    assert "so nothing was erased; ask the lab's security team, who can lift it with `limen person release`" in said
    assert "no longer on legal hold" in operator("person", "release", WHO, "--reason", "closed")[1]
    code, _, said = operator("person", "erase", WHO, "--reason", "request 7")
    assert (code, "end them first with `limen person end`, or add --end" in said) == (3, True)
    code, answered, said = operator("person", "erase", WHO, "--end", "--reason", "request 7")
    assert (code, f"{WHO}: erased (entry " in answered, "backups made before" in said) == (0, True, True)
    answer = json.loads(operator("person", "erase", WHO, "--reason", "request 7", "--json")[1])
    assert (answer["schema"], answer["swept"], answer["records"]) == ("limen/person-erase/v1", True, {})
    assert operator("ledger", "fsck")[0] == operator("ledger", "verify")[0] == 0
    [row] = [row for row in json.loads(operator("person", "list", "--json")[1])["people"] if row["person"] == WHO]
    assert row["erased_at"] >= row["ended_at"]


def test_an_erasure_that_is_not_swept_up_is_partly_done_and_asked_again_it_is_done(operator, monkeypatch):
    async def somebody_reads(*_):
        return False

    with monkeypatch.context() as busy:
        busy.setattr("limen.privacy.erasure.sweep", somebody_reads)
        busy.setattr("limen.server.sweep", somebody_reads)
        code, answered, said = operator("person", "erase", WHO, "--end", "--reason", "request 7")
    assert (code, "erased (entry" in answered, "older pages are not overwritten yet" in said) == (6, True, True)
    assert operator("person", "erase", WHO, "--reason", "request 7")[0] == 0


def test_two_accounts_open_a_name_and_take_it_out_with_its_proof(operator, tmp_path):
    pseudonym = entry_of(operator, "grant.add")["entry"]["holder"]
    code, answered, said = operator("person", "open", pseudonym, "--project", "orchid", "--reason", "a leaked copy")
    assert code == 0
    number = answered.split()[1].rstrip(",")
    assert f"limen person open --approve {number}" in said
    assert "a leaked copy" in operator("person", "open", "--show", number)[1]
    code, _, said = operator("person", "open", "--approve", number)
    assert (code, "somebody else has to approve it" in said) == (3, True)
    code, answered, said = operator("person", "open", "--approve", number, uid=1002)
    assert (code, answered.startswith(f"{pseudonym} is "), "not who sat there" in said) == (0, True, True)
    granted, out = entry_of(operator, "grant.add")["index"], tmp_path / "out.json"
    refused = operator("ledger", "disclose", granted, "--class", "change")
    assert (refused[0], "ask with `limen person open`" in refused[2]) == (3, True)
    assert operator("ledger", "disclose", granted, "--class", "change", "--request", number, "--out", out)[0] == 0
    assert out.stat().st_mode & 0o077 == 0
    assert verifier([str(out), "--vkey", str(tmp_path / "data" / "log" / "vkey")]) == 0


@pytest.mark.parametrize(
    ("words", "uid", "code", "why"),
    [
        (["p-1", "--reason", "x"], 0, 3, "root is nobody in particular"),
        (["p-1", "--reason", "x", "--as", "lab/mira"], 1001, 3, "only root may act for somebody by name"),
        (["p-1", "--reason", "x", "--as", "lab/mira", "--id-token", "t"], 0, 2, "two ways of saying who acts"),
        (["p-1", "--reason", "x", "--id-token", "nowhere"], 1001, 2, "--id-token: can't be read"),
        (["p-1"], 1001, 2, "say why the name is needed"),
        ([], 1001, 2, "takes a PSEUDONYM to ask for, or --show or --approve"),
        (["p-1", "--approve", "3"], 1001, 2, "takes a PSEUDONYM to ask for, or --show or --approve"),
        (["p-1", "--reason", "x"], 1001, 4, "is --project missing?"),
        (["--approve", "3"], 1001, 4, "request 3"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(operator, words, uid, code, why):
    found, _, said = operator("person", "open", *words, uid=uid)
    assert (found, why in said) == (code, True), said
