"""`limen backup`, `restore`, `ledger new-epoch` and `check-receipt`: their answers, and their exit codes."""

from __future__ import annotations

import json
import shutil

import pytest

from limen.config import load
from limen.core.types import Receipt
from limen.directory import store
from limen.formats import receipt as receipts
from limen.formats.merkle import leaf_hash


@pytest.fixture
def data(limen, tmp_path, monkeypatch):
    """A data directory with two entries and its second high-water note elsewhere, and a backup of it as it was after one."""
    data = tmp_path / "data"
    monkeypatch.setenv("LIMEN_DATA", str(data))
    assert limen("init", data, "--dev")[0] == 0
    (tmp_path / "other").mkdir()
    config = data / "limen.toml"
    config.write_text(config.read_text().replace("[ledger]\n", f'[ledger]\nhigh_water = "{tmp_path}/other/high-water"\n'))
    for name, after in (("one", ["backup", tmp_path / "backup"]), ("two", ["ledger", "head"])):
        vendor = {"vendor": [{"id": name, "name": name, "contact": f"ops@{name}.example"}]}
        (tmp_path / "import.json").write_text(json.dumps(vendor))
        assert limen("import", tmp_path / "import.json")[0] == 0
        assert limen(*after)[0] == 0
    return data


def put_back(limen, data, tmp_path):
    shutil.copytree(data / "keys", tmp_path / "keys")
    shutil.rmtree(data)
    answer = limen("restore", tmp_path / "backup", data, "--json")
    shutil.copytree(tmp_path / "keys", data / "keys")
    return answer


def newest(data):
    database = store(load(data))
    head = database.head()
    [(index, raw)] = database.entries(head.size - 1, head.size)
    return receipts.document(Receipt(index, leaf_hash(raw), head.checkpoint))


def test_the_way_from_a_backup_to_a_new_epoch(limen, data, tmp_path):
    (tmp_path / "receipt.json").write_text(newest(data))
    assert limen("ledger", "check-receipt", tmp_path / "receipt.json")[0] == 0

    code, out, err = put_back(limen, data, tmp_path)
    answer = json.loads(out)
    assert (code, answer["schema"], answer["size"], answer["keys"]) == (6, "limen/restore/v1", 1, False)
    assert [seen["size"] for seen in answer["ahead"]] == [2]
    assert "THE LOG HAD COME FURTHER" in err

    code, _, err = limen("vendor", "list")
    assert (code, "set back" in err, "limen: hint: nothing was signed" in err) == (5, True, True)
    code, _, err = limen("ledger", "check-receipt", tmp_path / "receipt.json")
    assert (code, "the receipt of entry 1 shows 2 entries" in err) == (5, True)

    code, out, err = limen("ledger", "new-epoch", "--reason", "a drill", "--dry-run", "--json")
    assert (code, json.loads(out)["lost"], json.loads(out)["dry_run"]) == (0, 1, True)
    assert not (data / "epoch").exists()
    code, out, _ = limen("ledger", "new-epoch", "--reason", "a drill")
    assert (code, out.splitlines()[:2]) == (0, ["limen.local/log/epoch-1", "2"])

    assert limen("vendor", "list")[0] == 0
    code, out, err = limen("ledger", "head")
    assert (code, "ALARM" in err) == (0, False)
    code, _, err = limen("ledger", "check-receipt", tmp_path / "receipt.json")
    assert (code, "it was lost" in err) == (4, True)


def test_an_alarm_is_told_to_whoever_reads_the_log(limen, data, tmp_path):
    (data / "alarm.json").write_text(json.dumps({"why": "somebody saw more", "evidence": "", "raised_at": 1}))

    code, _, err = limen("ledger", "head")

    assert (code, "AN ALARM STANDS, and nothing is signed: somebody saw more" in err) == (0, True)
    assert limen("vendor", "list")[0] == 0, "it is looked into at start, and nothing bears it out"
    assert "ALARM" not in limen("ledger", "head")[2]


def test_no_epoch_begins_without_a_loss_or_without_a_reason(limen, data):
    code, _, err = limen("ledger", "new-epoch", "--reason", "to see")
    assert (code, "--force" in err) == (3, True)
    assert limen("ledger", "new-epoch", "--reason", " ")[0] == 2
    assert limen("ledger", "new-epoch", "--reason", "to see", "--force")[0] == 0
    assert limen("vendor", "list")[0] == 0


def test_an_epoch_waits_for_the_control_tables_that_belong_to_the_log(limen, data, tmp_path):
    shutil.copy(data / "control.db", tmp_path / "control.db")
    put_back(limen, data, tmp_path)
    shutil.copy(tmp_path / "control.db", data / "control.db")

    code, _, err = limen("ledger", "new-epoch", "--reason", "the disk died")

    assert (code, "put back the control.db that belongs to it" in err) == (2, True)
    assert not (data / "epoch.next").exists()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["backup", "{data}/inside"], 2),
        (["backup", "{data}"], 2),
        (["restore", "{data}", "{tmp}/new"], 4),
        (["restore", "{tmp}/nothing", "{tmp}/new"], 4),
        (["restore", "{tmp}/backup", "{data}"], 2),
        (["restore", "{tmp}/backup", "{tmp}/new", "--vkey", "no key"], 2),
        (["ledger", "check-receipt", "{tmp}/nothing"], 2),
        (["ledger", "check-receipt", "{data}/ledger.db"], 2),
        (["ledger", "new-epoch", "--reason", "x", "--data", "{tmp}/nothing"], 2),
    ],
)
def test_wrong_input_has_its_exit_code_and_changes_nothing(limen, data, tmp_path, words, code):
    found, _, err = limen(*(word.format(data=data, tmp=tmp_path) for word in words))

    assert found == code, err
    assert err.startswith("limen: error:")
    assert not (tmp_path / "new").exists()
