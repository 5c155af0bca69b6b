"""`limen drop`, as people and programs read it."""

import json

import pytest

from goldlab import ANSWERS, BOX, EACH, ITEMS, TRAINING, answered, run
from goldwork import lines as jsonl


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two people returned their work; one answered an item wrong, put in somebody else's, and a picture."""
    data = tmp_path_factory.mktemp("drop") / "data"

    async def body(lab):
        await lab.register()
        mine = await lab.reads("q01")
        own = next(row["id"] for row in mine if row["id"] in ANSWERS)
        await lab.returns("q01", "work.jsonl", jsonl(answered(mine, wrong=[0])))
        await lab.returns("q02", "work.jsonl", jsonl(answered(await lab.reads("q02"))))
        await lab.returns("q01", "more.jsonl", jsonl([*answered(ITEMS[EACH : EACH + 1]), {"id": own, "label": "perhaps"}]))
        await lab.returns("q01", "screen.png", b"\x89PNG\0\0")

    run(data, body)
    return data


def test_the_table_says_n_beside_each_share_and_that_it_is_secret(data, limen):
    code, out, err = limen("drop", "quality", BOX, "--data", data)
    assert code == 0
    first, *rows, last = out.splitlines()[:4]
    assert first.split()[:7] == ["who", "vendor", "served", "returned", "right", "n", "accuracy"]
    assert sorted(row.split()[2:8] for row in rows) == [
        ["6", "6", "5", "6", "0.83", "0.36-1.00"],
        ["6", "6", "6", "6", "1.00", "0.54-1.00"],
    ]
    assert last.split() == ["all", "12", "12", "11", "12", "0.92", "0.62-1.00", "0", "0"]
    assert "1 rows show items made for somebody else; they don't count" in out
    assert "1 answers took the place of earlier ones" in out
    assert "NOT READ: screen.png" in out
    for said in ("Clopper-Pearson, 95%", "a secret report", "never by slot or variant", "set nobody's pay"):
        assert said in err
    assert not [name for name in ANSWERS if name in out + err]


def test_one_person_and_a_day_can_be_asked_for(data, limen):
    code, out, _ = limen("drop", "quality", BOX, "--person", "quillwork/q02", "--json", "--data", data)
    report = json.loads(out)
    assert (code, report["schema"], len(report["people"])) == (0, "limen/drop-quality/v1", 1)
    code, out, _ = limen("drop", "quality", BOX, "--since", "2199-01-01", "--person", "quillwork/q02", "--data", data)
    assert (code, "nobody was handed a gold item" in out or "cannot say" in out) == (0, True)
    assert limen("drop", "quality", BOX, "--since", "Tuesday", "--data", data)[0] == 2
    assert limen("drop", "quality", BOX, "--person", "quillwork/nobody", "--data", data)[0] == 4
    assert limen("drop", "quality", "orchid-blob", "--data", data)[0] == 2


def test_a_release_exits_6_where_it_left_something_out_and_the_check_finds_nothing_in_it(data, tmp_path, limen):
    code, out, err = limen("drop", "release", BOX, "--as", TRAINING, "--data", data)
    assert code == 6
    assert f"{TRAINING} version 1: 3 of 4 objects of {BOX} (entry " in out
    assert "stripped 14 (1 by id, 13 by text)" in out
    assert "NOT RELEASED: screen.png of p-" in out
    assert "a paraphrase" in err
    code, out, _ = limen("drop", "check", TRAINING, "--data", data)
    assert (code, out.startswith(f"{TRAINING} version 1: 0 of ")) == (0, True)
    (tmp_path / "gold.jsonl").write_bytes(jsonl(ITEMS))
    code, out, _ = limen("drop", "check", "--path", tmp_path / "gold.jsonl", "--data", data)
    assert (code, "96 of 96 rows show a canary" in out) == (5, True)
    (tmp_path / "odd").write_bytes(b"\0")
    code, out, _ = limen("drop", "check", "--path", tmp_path / "odd", "--data", data)
    assert (code, "CANNOT SAY" in out) == (6, True)
    code, out, _ = limen("drop", "check", "--path", tmp_path / "gold.jsonl", "--json", "--data", data)
    assert (code, json.loads(out)["schema"]) == (5, "limen/drop-check/v1")


def test_a_check_needs_one_thing_to_look_at(data, tmp_path, limen):
    assert limen("drop", "check", "--data", data)[0] == 2
    assert limen("drop", "check", TRAINING, "--path", tmp_path, "--data", data)[0] == 2
    assert limen("drop", "check", "--path", tmp_path / "nothing", "--data", data)[0] == 2
    assert limen("drop", "check", "orchid-blob", "--data", data)[0] == 4
