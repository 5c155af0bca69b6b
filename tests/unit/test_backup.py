"""Backups: consistent though limen serves, verified both ways, and honest about what they lack."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from contextlib import closing

import pytest

from inprocess import a_gateway
from limen import backup as backups
from limen.backup import make, restore
from limen.config import Config, Log, Server
from limen.core.errors import Conflict, Invalid, NotFound, TamperDetected
from limen.db import copying
from limen.server import Gateway
from limen.verbs import VERBS

VENDOR = {"id": "third", "name": "Third", "contact": "ops@third.example"}


def config_of(data, **log):
    return Config(data=data, server=Server(mode="development"), ledger=Log(**log))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A data directory at rest, with a catalog, a prepared asset and keys."""
    data = tmp_path_factory.mktemp("original") / "data"

    async def scene():
        await (await a_gateway(data)).close()

    asyncio.run(scene())
    (data / "limen.toml").write_text('[server]\nmode = "development"\n')
    return data


@pytest.fixture
def data(original, tmp_path):
    shutil.copytree(original, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def made(data, tmp_path):
    return make(config_of(data), tmp_path / "backup", with_keys=True, now=5)


def names(root):
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_what_was_observed_and_scanned_is_taken_along_and_what_is_staged_is_not(data, tmp_path):
    kept, passing = (
        ["observed/entry=3/manifest.json", "observed/who.toml", "scans/4.json"],
        ["observed/staging/1/ready", "scans/cache/x"],
    )
    for name in (*kept, *passing):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(b"x")

    made = make(config_of(data), tmp_path / "backup", with_keys=True, now=5)

    assert set(kept) <= names(made.root)
    assert not set(passing) & names(made.root)
    assert not {"observed", "scans"} & set(made.left_out)


def test_what_is_restored_serves_as_the_original_did(data, made, tmp_path):
    restored = restore(made.root, tmp_path / "new", vkey=made.vkey)

    async def scene():
        gateway = await Gateway.open(config_of(tmp_path / "new"))
        head, catalog = gateway.custody.ledger.head(), gateway.custody.catalog
        assert (head.size, head.root) == (restored.checkpoint.size, restored.checkpoint.root)
        assert catalog.snapshot.vendor("quillwork")
        [shard] = catalog.snapshot.versions("orchid-sft-v3")[-1].shards
        assert gateway.custody.fresh_copy("quillwork/q01", catalog.snapshot.versions("orchid-sft-v3")[-1], shard)
        await gateway.close()

    asyncio.run(scene())
    assert (tmp_path / "new" / "keys" / "log.key").stat().st_mode & 0o777 == 0o600
    assert restored.ahead == []


def test_the_manifest_names_every_file_and_nothing_else_is_there(made):
    assert names(made.root) == {*made.files, "manifest.json"}
    value = json.loads((made.root / "manifest.json").read_bytes())
    assert (value["schema"], value["made_at"], value["keys"]) == ("limen/backup/v1", 5, True)
    assert value["checkpoint"] == made.checkpoint.note.decode()


def test_without_keys_none_is_there_and_each_is_named_with_its_reason(data, tmp_path):
    made = make(config_of(data), tmp_path / "backup", with_keys=False, now=5)

    assert not [name for name in names(made.root) if name.startswith("keys")]
    assert {name for name in made.left_out if name.startswith("keys/")} == {
        f"keys/{path.relative_to(data / 'keys').as_posix()}" for path in (data / "keys").rglob("*") if path.is_file()
    }
    assert "another history" in made.left_out["keys/log.key"]
    for key in (data / "keys").rglob("*.key"):
        assert not [name for name in names(made.root) if key.read_bytes() in (made.root / name).read_bytes()]


def test_a_directory_restored_without_keys_does_not_start_with_new_ones(data, tmp_path):
    make(config_of(data), tmp_path / "backup", with_keys=False, now=5)
    restore(tmp_path / "backup", tmp_path / "new", vkey=None)

    with pytest.raises(Invalid, match="put the keys back"):
        asyncio.run(Gateway.open(config_of(tmp_path / "new")))


def test_what_limen_does_not_know_is_left_out_and_named(data, tmp_path):
    (data / "notes.txt").write_text("mine")

    made = make(config_of(data), tmp_path / "backup", with_keys=True, now=5)

    assert made.left_out["notes.txt"] == "limen does not know it"
    assert not (tmp_path / "backup" / "notes.txt").exists()


def while_served(data, target, monkeypatch):
    """Back up a directory whose gateway makes a change between the copies of its two databases."""

    async def scene():
        gateway = await Gateway.open(config_of(data))
        loop = asyncio.get_running_loop()
        real, copied = backups.copy_database, []

        def copy(source, to):
            copied.append(source.name)
            real(source, to)
            if len(copied) == 1:
                change = VERBS["change"](gateway, {"kind": "vendor.add", "change": VENDOR}, "test")
                asyncio.run_coroutine_threadsafe(change, loop).result(10)

        monkeypatch.setattr(backups, "copy_database", copy)
        try:
            return await asyncio.to_thread(make, config_of(data), target, with_keys=True, now=5)
        finally:
            await gateway.close()

    return asyncio.run(scene())


def test_a_change_made_while_it_is_copied_is_replayed_after_the_restore(data, tmp_path, monkeypatch):
    made = while_served(data, tmp_path / "backup", monkeypatch)
    restore(made.root, tmp_path / "new", vkey=None)

    async def scene():
        gateway = await Gateway.open(config_of(tmp_path / "new"))
        assert gateway.recovered.changes_applied == 1
        assert gateway.custody.catalog.snapshot.vendor("third")
        await gateway.close()

    asyncio.run(scene())


def test_copied_in_the_other_order_the_same_change_would_be_in_the_tables_and_not_in_the_log(data, tmp_path, monkeypatch):
    """The control: the copies taken the wrong way round do not start."""
    monkeypatch.setattr(backups, "ORDER", backups.ORDER[::-1])
    made = while_served(data, tmp_path / "backup", monkeypatch)

    shutil.copytree(made.root, tmp_path / "new")
    with pytest.raises(TamperDetected, match=r"control\.db holds the change"):
        asyncio.run(Gateway.open(config_of(tmp_path / "new")))


def test_entries_that_left_the_database_are_in_the_backup(data, tmp_path):
    async def sealed():
        gateway = await Gateway.open(config_of(data))
        ledger, scribe = gateway.custody.ledger, gateway.custody.scribe
        await ledger.append_all([scribe.write("server.start", {}, None) for _ in range(600)])
        ledger.append_soon(scribe.write("server.start", {}, None)[0], low_water=None)
        await ledger.flush()
        moved = await ledger.seal(512)
        await gateway.close()
        return moved

    assert asyncio.run(sealed()) == (0, 512)
    made = make(config_of(data), tmp_path / "backup", with_keys=True, now=5)
    assert sum(name.startswith("sealed/") for name in made.files) == 2

    assert restore(made.root, tmp_path / "new", vkey=None).checkpoint == made.checkpoint
    shutil.rmtree(made.root / "sealed")
    with pytest.raises(TamperDetected, match=r"sealed/.* is missing"):
        restore(made.root, tmp_path / "another", vkey=None)


@pytest.mark.parametrize("name", ["ledger.db", "control.db", "limen.toml", "keys/log.key"])
@pytest.mark.parametrize("damage", ["changed", "cut", "lost"])
def test_a_damaged_backup_is_refused_and_leaves_nothing(made, tmp_path, name, damage):
    path = made.root / name
    raw = path.read_bytes()
    match damage:
        case "changed":
            path.write_bytes(raw[:10] + bytes([raw[10] ^ 1]) + raw[11:])
        case "cut":
            path.write_bytes(raw[:-1])
        case "lost":
            path.unlink()

    with pytest.raises(TamperDetected, match=name):
        restore(made.root, tmp_path / "new", vkey=None)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "data"]


def remade(made, name):
    """Give a changed file the digest that the manifest asks for: only the log itself can tell now."""
    value = json.loads((made.root / "manifest.json").read_bytes())
    digest, length = backups._digest(made.root / name)
    value["files"][name] = {"sha256": digest, "bytes": length}
    (made.root / "manifest.json").write_text(json.dumps(value))


def test_a_rewritten_entry_is_found_though_every_digest_fits(made, tmp_path):
    with closing(sqlite3.connect(made.root / "ledger.db")) as connection, connection:
        connection.execute("UPDATE entry SET raw = x'00' WHERE idx = 3")
    remade(made, "ledger.db")

    with pytest.raises(TamperDetected, match="do not make the root"):
        restore(made.root, tmp_path / "new", vkey=None)


def test_another_key_than_the_one_given_is_refused(made, tmp_path):
    other = "limen.local/log+5cc94808+Ac/jT0xnHMO1NZVR87OdPIm7whBbLXAXzY5FgMSB8jj/"

    with pytest.raises(TamperDetected, match="does not verify"):
        restore(made.root, tmp_path / "new", vkey=other)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b", "", "manifest.json"])
def test_a_manifest_that_names_what_lies_outside_is_refused(made, tmp_path, name):
    value = json.loads((made.root / "manifest.json").read_bytes())
    value["files"][name] = {"sha256": "", "bytes": 0}
    (made.root / "manifest.json").write_text(json.dumps(value))

    with pytest.raises(TamperDetected, match="lies outside"):
        restore(made.root, tmp_path / "new", vkey=None)


@pytest.mark.parametrize("raw", ["", "[]", "{}", '{"schema": "limen/backup/v1", "files": 3}'])
def test_a_manifest_that_can_not_be_read_is_told(made, tmp_path, raw):
    (made.root / "manifest.json").write_text(raw)

    with pytest.raises(TamperDetected, match="can't be read"):
        restore(made.root, tmp_path / "new", vkey=None)


def test_a_backup_that_was_not_finished_is_none(made, tmp_path):
    (made.root / "manifest.json").unlink()

    with pytest.raises(NotFound, match="not finished"):
        restore(made.root, tmp_path / "new", vkey=None)


def test_nothing_is_written_over(data, made, tmp_path):
    with pytest.raises(Invalid, match="not empty"):
        restore(made.root, data, vkey=None)
    with pytest.raises(Invalid, match="not empty"):
        make(config_of(data), made.root, with_keys=False, now=5)
    with pytest.raises(Invalid, match="lies in the data directory"):
        make(config_of(data), data / "backup", with_keys=False, now=5)


def test_an_empty_directory_is_taken(made, tmp_path):
    (tmp_path / "new").mkdir()

    assert restore(made.root, tmp_path / "new", vkey=None).checkpoint == made.checkpoint


def test_an_epoch_that_was_not_finished_is_finished_first(data, tmp_path):
    (data / "epoch.next").write_text("{}")

    with pytest.raises(Conflict, match="new-epoch"):
        make(config_of(data), tmp_path / "backup", with_keys=False, now=5)


def test_a_longer_log_that_is_known_is_told_with_where_it_is_known_from(data, tmp_path):
    elsewhere = tmp_path / "other-disk" / "high-water"
    elsewhere.parent.mkdir()
    (data / "limen.toml").write_text(f'[server]\nmode = "development"\n[ledger]\nhigh_water = "{elsewhere}"\n')
    made = make(config_of(data, high_water=str(elsewhere)), tmp_path / "backup", with_keys=True, now=5)

    async def scene():
        gateway = await Gateway.open(config_of(data, high_water=str(elsewhere)))
        await VERBS["change"](gateway, {"kind": "vendor.add", "change": VENDOR}, "test")
        await gateway.close()

    asyncio.run(scene())

    [seen] = restore(made.root, tmp_path / "new", vkey=None).ahead

    assert seen.checkpoint.size == made.checkpoint.size + 1
    assert str(elsewhere) in seen.where


def test_a_database_that_can_not_be_read_is_told(tmp_path):
    (tmp_path / "no.db").write_bytes(b"this is no database, and long enough to be looked at " * 40)

    with pytest.raises(TamperDetected, match="is damaged"):
        copying.copy_database(tmp_path / "no.db", tmp_path / "copy.db")
    with pytest.raises(Invalid, match="can't be copied"):
        copying.copy_database(tmp_path / "none.db", tmp_path / "copy2.db")
