"""The control tables hold what was applied, once, and give it back after a restart."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import sqlite3
import stat

import pytest
import sqlalchemy as sa

from limen.catalog import changes as c
from limen.catalog.catalog import Catalog
from limen.catalog.snapshot import Ordered
from limen.core.errors import Conflict, Invalid, NotFound, TamperDetected
from limen.db import tables


@pytest.fixture
def opened(tmp_path):
    """Opens the catalog of this test's directory; closes them all in the end."""
    catalogs = []

    def open_():
        catalogs.append(Catalog.open(f"sqlite:///{tmp_path / 'control.db'}", random=random.Random(3).randbytes))
        return catalogs[-1]

    yield open_
    for catalog in catalogs:
        catalog.close()


def _all(state):
    """Every row of every table, look-up tables included; of rolls, what they hold."""
    tables_ = {each.name: getattr(state, each.name) for each in dataclasses.fields(state)}
    found = {name: {key: table[key] for key in table} for name, table in tables_.items()}
    found["rolls"] = {name: (roll.first, roll.entries) for name, roll in found["rolls"].items()}
    found["held"] = {key: grants for key, grants in found["held"].items() if grants}
    return found


def _lively(lab, a_shard):
    lab.grant("quillwork/q02", "orchid-sft")
    lab.grant("quillwork/q01", "*")
    lab.grant("quillwork/q02", "*")
    ended = lab.grant("quillwork/ci", "orchid-box", actions=("write", "list"))
    lab.add(c.GrantEnd(id=ended.id, reason="over"))
    lab.add(c.AssetVersion(asset="orchid-sft", shards=(a_shard(), a_shard("b"))))
    lab.add(c.AssetVersion(asset="orchid-sft", shards=(a_shard("c", prepared="p", unmarked_why=""),), mark_key="k"))
    lab.add(c.TierSet(name="confidential", granted_by=("owner",), session_s=900, hardware_key=True, export_bytes_day=5))
    lab.add(c.TierSet(name="confidential", granted_by=("security",), session_s=1800, hardware_key=True, export_bytes_day=6))
    lab.add(c.TierSet(name="own", granted_by=("data",), session_s=900, hardware_key=True))
    lab.add(c.PersonEnd(id="quillwork/q01", reason="left"))
    lab.person("quillwork/q11", subject="sub-quillwork/q01")
    lab.grant("quillwork/q11", "orchid-sft")


def test_what_was_applied_is_there_after_a_restart(lab, a_shard, opened):
    _lively(lab, a_shard)
    first = opened()
    for step in lab.made:
        first.apply(step.change, index=step.index, at=step.at)
    again = opened()
    assert _all(again.snapshot.state) == _all(first.snapshot.state) == _all(lab.snapshot.state)
    assert again.applied == first.applied == lab.snapshot.epoch


def test_one_transaction_for_all_gives_the_same(lab, a_shard, opened):
    _lively(lab, a_shard)
    opened().apply_all(lab.made)
    assert _all(opened().snapshot.state) == _all(lab.snapshot.state)


def test_applying_an_entry_again_changes_nothing(lab, a_shard, opened):
    _lively(lab, a_shard)
    catalog = opened()
    catalog.apply_all(lab.made[:-3])
    catalog.apply_all(lab.made[:-3])
    before = catalog.snapshot
    catalog.apply(lab.made[0].change, index=lab.made[0].index, at=lab.made[0].at)
    assert catalog.snapshot is before
    catalog.apply_all(lab.made)  # start-up: some known, some missing
    assert _all(opened().snapshot.state) == _all(lab.snapshot.state)


def test_a_change_that_cannot_be_stored_is_not_seen_either(lab, opened, monkeypatch):
    catalog = opened()
    catalog.apply_all(lab.made[:-1])
    monkeypatch.setattr(
        "limen.catalog.catalog._store", lambda *_: (_ for _ in ()).throw(sa.exc.OperationalError("x", {}, Exception()))
    )
    before = catalog.snapshot
    with pytest.raises(sa.exc.OperationalError):
        catalog.apply_all(lab.made)
    assert catalog.snapshot is before
    assert opened().applied == before.epoch


def test_a_second_process_on_the_same_tables_is_noticed(lab, opened):
    one, two = opened(), opened()
    one.apply_all(lab.made[:1])
    with pytest.raises(Conflict, match="another process"):
        two.apply_all(lab.made[:2])


def test_names_and_addresses_of_people_have_no_column_and_are_not_in_the_database(lab, opened, tmp_path):
    lab.person("quillwork/q88", name="Zelda Unmistakable", email="zelda@unmistakable.example")
    opened().apply_all(lab.made)
    raw = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"q88" in raw
    assert b"nmistakable" not in raw


def test_only_the_owner_may_read_the_tables(opened, tmp_path, lab):
    opened().apply_all(lab.made)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_a_subject_key_is_made_once_and_kept(opened):
    catalog = opened()
    key = catalog.subject_key("quillwork/q01")
    assert (len(key.ref), len(key.key)) == (16, 32)
    assert catalog.subject_key("quillwork/q01") == key != catalog.subject_key("quillwork/q02")
    assert opened().subject_key("quillwork/q01") == key


def erase(lab, catalog, id_="quillwork/q02", *, at=5):
    """Applies the erasure of somebody who has ended, as an entry after all others."""
    others = [other for other in catalog.snapshot.state.same_person(id_) if other != id_]
    codes = {holder: {p: catalog.pseudonym(holder, p) for p in ("", "orchid")} for holder in (id_, *others)}
    erasure = c.Erasure(id=id_, reason="asked for it", also=tuple(others), pseudonyms=codes, records={"change": 1})
    catalog.apply(erasure, index=catalog.applied + 1, at=at)
    return codes


def test_an_erased_key_is_gone_for_good_and_the_pseudonyms_stay(lab, opened):
    lab.add(c.PersonEnd(id="quillwork/q02", reason="left"))
    catalog = opened()
    catalog.apply_all(lab.made)
    key, stranger = catalog.subject_key("quillwork/q02"), catalog.subject_key("quillwork/q01")
    codes = erase(lab, catalog)
    for each in (catalog, opened()):
        with pytest.raises(NotFound, match="erased"):
            each.subject_key("quillwork/q02")
        with pytest.raises(NotFound, match="erased"):
            each.key_under(key.ref)
        with pytest.raises(NotFound, match="erased"):
            each.pseudonym("quillwork/q02", "helio")
        each.make_subject_keys(["quillwork/q02"])
        assert each.pseudonym("quillwork/q02", "orchid") == codes["quillwork/q02"]["orchid"]
        assert each.erased_refs() == {key.ref}
        assert (each.sealable("quillwork/q02"), each.sealable("quillwork/q01")) == (False, True)
        assert each.key_under(stranger.ref) == stranger.key
        assert each.unswept
    with catalog._engine.connect() as connection:
        assert key.key not in [row.key for row in connection.execute(sa.select(tables.SUBJECT_KEY))]


def test_an_erased_person_stands_there_without_an_identity(lab, opened):
    lab.grant("quillwork/q02", "orchid-sft")
    lab.add(c.PersonEnd(id="quillwork/q02", reason="left"))
    catalog = opened()
    catalog.apply_all(lab.made)
    before = catalog.snapshot.recipient("quillwork/q02", "orchid-sft")
    erase(lab, catalog)
    for each in (catalog, opened()):
        person = each.snapshot.person("quillwork/q02")
        assert (person.issuer, person.subject, person.erased_at) == ("", "", 5)
        assert each.snapshot.recipient("quillwork/q02", "orchid-sft") == before
        for identity in [("", ""), ("https://id.example", "sub-quillwork/q02")]:
            with pytest.raises(NotFound):
                each.snapshot.holder(*identity)
    assert _all(opened().snapshot.state) == _all(catalog.snapshot.state)


def test_after_a_sweep_neither_key_nor_identity_is_in_any_byte_of_the_database(lab, opened, tmp_path):
    lab.add(c.PersonEnd(id="quillwork/q02", reason="left"))
    catalog = opened()
    catalog.apply_all(lab.made)
    key = catalog.subject_key("quillwork/q02").key

    def found():
        raw = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        return [needle for needle in (key, b"sub-quillwork/q02") if needle in raw]

    erase(lab, catalog)
    assert found() == [key, b"sub-quillwork/q02"], "control: without the sweep, the write-ahead log still has them"
    catalog.sweep()
    assert found() == []
    catalog.swept()
    assert not catalog.unswept
    assert found() == []


def test_a_sweep_says_when_somebody_reads(lab, opened, tmp_path, monkeypatch):
    monkeypatch.setattr("limen.db.engine._BUSY_MS", 20)
    catalog = opened()
    catalog.apply_all(lab.made)
    with contextlib.closing(sqlite3.connect(tmp_path / "control.db", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM person").fetchall()
        with pytest.raises(Conflict, match=r"another process reads control\.db"):
            catalog.sweep()
    catalog.sweep()


def test_a_legal_hold_outlasts_a_restart_and_can_be_set_again(lab, opened):
    for change in (c.HoldSet, c.HoldLift, c.HoldSet):
        lab.add(change(id="quillwork/q02", reason="a case"))
        lab.now += 1
    opened().apply_all(lab.made)
    [hold] = opened().snapshot.holds()
    assert (hold.person, hold.since, hold.lifted_at) == ("quillwork/q02", lab.now - 1, None)
    assert opened().snapshot.hold_on("quillwork/q01") is None


def test_an_assets_keys_outlast_a_restart(lab, opened, a_shard):
    lab.add(c.AssetVersion(asset="orchid-sft", shards=(a_shard(prepared="p", unmarked_why=""),), mark_key="orchid-sft"))
    digests = {"commitment": "0" * 64, "subkeys": {"copy": "0" * 64}}
    lab.add(c.KeyRotate(asset="orchid-sft", key="orchid-sft~2", code="limen-code/1", levels="nuida8", keep="file", **digests))
    lab.add(c.KeyRetire(asset="orchid-sft", key="orchid-sft", reason="seen in a paste"))
    lab.add(c.KeyOpen(asset="orchid-sft", key="orchid-sft", request=1, subkeys={"copy": "0" * 64}))
    opened().apply_all(lab.made)
    assert opened().snapshot.lineages("orchid-sft") == lab.snapshot.lineages("orchid-sft")
    assert [one.retired is None for one in lab.snapshot.lineages("orchid-sft")] == [False, True]


def test_a_key_that_was_never_made_here_is_told_apart(opened):
    with pytest.raises(NotFound, match=r"restore the control\.db that goes with this log"):
        opened().key_under(bytes(16))


def test_a_pseudonym_is_stable_in_a_project_and_another_in_the_next(opened):
    catalog = opened()
    orchid = catalog.pseudonym("quillwork/q01", "orchid")
    assert orchid == opened().pseudonym("quillwork/q01", "orchid")
    assert len({orchid, catalog.pseudonym("quillwork/q01", "helio"), catalog.pseudonym("quillwork/q02", "orchid")}) == 3
    assert "q01" not in orchid


def test_many_keys_cost_one_commit(opened, monkeypatch):
    catalog, commits = opened(), []
    sa.event.listen(catalog._engine, "commit", commits.append)
    catalog.make_subject_keys(f"quillwork/n{i}" for i in range(500))
    assert len(commits) == 1
    catalog.subject_key("quillwork/n7")
    assert len(commits) == 1


def test_stored_text_that_limen_never_wrote_is_noticed(lab, opened):
    catalog = opened()
    catalog.apply_all(lab.made)
    with catalog._engine.begin() as connection:
        connection.execute(tables.PERSON.update().values(roles="not json"))
    with pytest.raises(TamperDetected):
        opened()


def test_a_directory_that_is_not_there_is_named():
    with pytest.raises(Invalid, match=r"url: cannot open the control database /nowhere/x\.db"):
        Catalog.open("sqlite:////nowhere/x.db", random=os.urandom)


def test_an_index_out_of_order_is_our_own_mistake(lab, opened):
    catalog = opened()
    with pytest.raises(RuntimeError):
        catalog.apply_all([Ordered(lab.made[1].change, 9, 1), Ordered(lab.made[0].change, 8, 1)])
