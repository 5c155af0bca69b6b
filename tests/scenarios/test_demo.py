"""The replay of the breach: it tells the whole story, leaves a directory that serves, and fails when its notes are bent."""

import copy
import json

import pytest

from limen.cli import main
from limen.story import cast, papers, recount
from limen.story.past import Past
from simulator import World


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """One replay by the command, what it compared, and where its directory is."""
    kept, compared = tmp_path_factory.mktemp("demo") / "kept", {}
    real = recount.compare

    def compare(report, raw, lines, **window):
        compared.update(report=report, raw=raw, lines=lines, window=window)
        return real(report, raw, lines, **window)

    patch = pytest.MonkeyPatch()
    patch.setattr(recount, "compare", compare)
    try:
        main(["demo", "--keep", str(kept), "--json"])
    finally:
        patch.undo()
    return kept, compared


def test_the_replay_gives_every_expected_answer_and_its_directory_can_be_asked_again(told):
    kept, _ = told
    world = World(kept, 0)
    verified = world.limen("ledger", "verify")
    assert verified.returncode == 0
    again = world.ask_json("trace", str(kept / "story" / "L3.jsonl"))
    assert [copy["person"] for copy in again["copies"]] == [None, None]  # a case of its own: nobody has reviewed it
    opened = {copy["person"] for case in world.ask_json("case", "list")["cases"] if case["copies"] == 2 and case["opened"] == 2
              for copy in world.ask_json("case", "show", case["case"])["copies"]}  # fmt: skip
    assert opened == {"quillwork/q03", "quillwork/q11"}
    report = world.ask_json("exposure", "vendor/quillwork")
    assert report["unknown"] == []


def test_who_was_affected_can_be_asked_again_as_it_was_known_at_any_time(told):
    kept, _ = told
    world = World(kept, 0)

    def answers(*asked):
        found = world.ask_json("advisory", "affected", papers.PYSEC, "--no-exposure", *asked)
        return {row["vendor"]: row["verdict"] for row in found["vendors"]}

    always = {"quillwork": "yes", "lexara": "no", "tessel": "no", "oakline": "cannot say"}
    # Over the widest window the answers stand for good. Beyond it nobody is cleared for want of a bill of materials.
    assert answers() == {**always, "brightfold": "yes"}
    beyond = answers("--since", "2026-03-24T10:39:00Z", "--until", "2026-06-01T00:00:00Z")
    assert beyond == {**dict.fromkeys(always, "cannot say"), "quillwork": "yes", "brightfold": "yes"}
    first = world.ask_json("advisory", "affected", papers.MAL, "--no-exposure", "--as-of", "2026-03-24T12:00:00Z")
    assert {row["vendor"]: row["verdict"] for row in first["vendors"]} == {**always, "brightfold": "no"}
    early = world.limen("advisory", "affected", papers.PYSEC, "--as-of", "2026-03-24T12:00:00Z", check=False)
    assert early.returncode == 4  # nobody had used that id by then


def test_the_renewal_is_no_with_the_same_bytes_when_it_is_judged_again(told):
    kept, _ = told
    world = World(kept, 0)
    asked = ("gate", "quillwork", "--renewal", "--as-of", "2026-04-09T11:00:00Z", "--format", "json")
    judged = [world.limen(*asked, check=False) for _ in range(2)]

    assert [one.returncode for one in judged] == [1, 1]
    assert judged[0].stdout == judged[1].stdout
    verdict = json.loads(judged[0].stdout)
    assert verdict["decision"] == "DO NOT RENEW"
    assert verdict["money"]["total"]["clawback"] == str(papers.clawback())


def test_the_comparison_fails_when_one_request_is_dropped_from_the_clients_notes(told):
    _, compared = told
    raw = compared["raw"]
    recount.compare(compared["report"], raw, compared["lines"], **compared["window"])
    of_data = [i for i, r in enumerate(raw) if r.key == cast.SFT]
    stolen = next(i for i in of_data if raw[i].session == compared["window"]["session"])
    for place in (of_data[0], of_data[len(of_data) // 2], stolen):
        with pytest.raises(recount.Wrong):
            recount.compare(compared["report"], raw[:place] + raw[place + 1 :], compared["lines"], **compared["window"])


def test_the_comparison_fails_when_the_report_leaves_out_one_record(told):
    _, compared = told
    asset = next(a["asset"] for a in compared["report"]["assets"] if a["by_session"]["count"])
    for tier in ("served_ever", "served_since", "by_session"):
        bent = copy.deepcopy(compared["report"])
        line = next(a for a in bent["assets"] if a["asset"] == asset)
        line[tier]["records"].pop()
        line[tier]["count"] -= 1
        with pytest.raises(recount.Wrong, match=tier):
            recount.compare(bent, compared["raw"], compared["lines"], **compared["window"])


def test_the_command_exits_with_1_when_an_answer_is_wrong(tmp_path, monkeypatch, capsys):
    async def wrong(*_args):
        raise recount.Wrong("orchid-sft-v3: one record differs")

    monkeypatch.setattr(Past, "run", wrong)  # the first of its acts, so that it ends soon
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--keep", str(tmp_path / "kept")])
    assert ended.value.code == 1
    assert "THE DEMO FAILED: orchid-sft-v3: one record differs" in capsys.readouterr().err


def test_a_directory_that_is_not_empty_is_left_alone(tmp_path, capsys):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--keep", str(tmp_path)])
    assert ended.value.code == 2
    assert json.dumps(sorted(p.name for p in tmp_path.iterdir())) == '["mine"]'
    assert "is not empty" in capsys.readouterr().err
