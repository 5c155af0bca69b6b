"""The control tables hold what was applied, once, and give it back after a restart."""

from __future__ import annotations

import dataclasses
import os
import random
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


def test_an_erased_key_is_gone_for_good(opened):
    catalog = opened()
    key = catalog.subject_key("quillwork/q01")
    catalog.erase_subject_key("quillwork/q01")
    for each in (catalog, opened()):
        with pytest.raises(NotFound, match="erased"):
            each.subject_key("quillwork/q01")
        with pytest.raises(NotFound):
            each.pseudonym("quillwork/q01", "orchid")
        each.make_subject_keys(["quillwork/q01"])
        with pytest.raises(NotFound):
            each.erase_subject_key("quillwork/q01")
    with catalog._engine.connect() as connection:
        assert key.key not in [row.key for row in connection.execute(sa.select(tables.SUBJECT_KEY))]


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
