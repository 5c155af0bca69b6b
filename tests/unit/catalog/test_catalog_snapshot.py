"""The snapshot answers for one moment: old ones stay as they were, and places never move."""

from __future__ import annotations

import random

import pytest

from limen.catalog import changes as c
from limen.catalog.snapshot import Ordered, Snapshot
from limen.catalog.state import State
from limen.core.errors import Invalid, NotFound


def test_an_older_snapshot_does_not_see_a_later_change(lab):
    before = lab.snapshot
    held = before.grants_of("quillwork/q01", "orchid")
    lab.grant("quillwork/q01", "orchid-sft")
    lab.grant("quillwork/q01", "*")
    lab.add(c.PersonEnd(id="quillwork/q01", reason="left"))
    assert held == before.grants_of("quillwork/q01", "orchid") == ()
    assert before.holder_by_id("quillwork/q01").ended_at is None
    assert before.recipient("quillwork/q01", "orchid-sft").canary is None
    assert before.recipients_of("orchid-sft") == []


def test_a_refused_batch_leaves_nothing_behind_and_says_which_change_it_was(lab):
    before = lab.snapshot
    good = lab.completed(c.VendorAdd(id="tessel", name="Tessel", contact="x"))
    with pytest.raises(Invalid, match=r"^vendor\[1\]\.id: vendor tessel exists already$"):
        before.with_changes([Ordered(good, 900, lab.now, "vendor[0]"), Ordered(good, 901, lab.now, "vendor[1]")])
    with pytest.raises(NotFound):
        before.vendor("tessel")


def test_changes_in_one_batch_give_what_they_give_one_by_one(lab):
    rng = random.Random(5)
    changes = [
        c.PersonAdd(id=f"quillwork/n{i}", vendor="quillwork", issuer="https://id.example", subject=f"n{i}", name="N")
        for i in range(40)
    ]
    at, index = lab.now, lab.snapshot.epoch + 1
    completed = lab.snapshot.prepare(changes, random=rng.randbytes, index=index, at=at)
    batch = lab.snapshot.with_changes(Ordered(change, index + i, at) for i, change in enumerate(completed))
    single = lab.snapshot
    for i, change in enumerate(completed):
        single = single.with_change(change, index=index + i, at=at)
    assert batch.people("quillwork") == single.people("quillwork")
    assert batch.epoch == single.epoch


def test_entries_only_go_forward(lab):
    with pytest.raises(RuntimeError, match="comes after"):
        lab.snapshot.with_change(lab.made[0].change, index=lab.snapshot.epoch, at=lab.now)


def test_a_path_finds_its_asset_in_its_own_project_only(lab, a_shard):
    lab.add(c.AssetVersion(asset="orchid-sft", shards=(a_shard("a/b.jsonl"),)))
    found = lab.snapshot.find("orchid", "orchid-sft/a/b.jsonl")
    assert (found.asset.id, found.version.number, found.shard.path) == ("orchid-sft", 1, "a/b.jsonl")
    missing = lab.snapshot.find("orchid", "orchid-sft/zz")
    assert missing.shard is None
    box = lab.snapshot.find("orchid", "orchid-box/mine.txt")
    assert (box.version, box.shard, box.rest) == (None, None, "mine.txt")
    for project, path in [("helio", "orchid-sft/a/b.jsonl"), ("orchid", "zz/a"), ("zz", "orchid-sft/a"), ("orchid", "")]:
        with pytest.raises(NotFound):
            lab.snapshot.find(project, path)


def test_only_the_newest_version_is_found(lab, a_shard):
    lab.add(c.AssetVersion(asset="orchid-sft", shards=(a_shard("old"),)))
    lab.add(c.AssetVersion(asset="orchid-sft", shards=(a_shard("new"),)))
    assert lab.snapshot.find("orchid", "orchid-sft/old").shard is None
    assert lab.snapshot.find("orchid", "orchid-sft/new").version.number == 2


def test_a_shard_is_looked_up_by_its_version_and_path_older_versions_too(lab, a_shard):
    lab.add(c.AssetVersion(asset="orchid-sft", shards=(a_shard("a"), a_shard("b"))))
    lab.add(c.AssetVersion(asset="orchid-sft", shards=(a_shard("a"),)))

    version, shard = lab.snapshot.shard_of("orchid-sft", 1, "b")
    assert (version.number, shard.path) == (1, "b")
    assert lab.snapshot.shard_of("orchid-sft", 2, "b") is None
    assert lab.snapshot.shard_of("orchid-sft", 3, "a") is None
    assert lab.snapshot.shard_of("zz", 1, "a") is None


def test_an_identity_is_compared_byte_for_byte(lab):
    assert lab.snapshot.holder("https://id.example", "sub-quillwork/q01").id == "quillwork/q01"
    for issuer, subject in [("https://id.example/", "sub-quillwork/q01"), ("https://id.example", "SUB-quillwork/q01")]:
        with pytest.raises(NotFound):
            lab.snapshot.holder(issuer, subject)


def test_of_two_agreements_in_force_the_longer_counts(lab):
    first = lab.snapshot.agreement("quillwork", lab.now)
    lab.add(c.AgreementAdd(id="a-2", vendor="quillwork", digest="ef" * 32, valid_from=0, valid_until=first.valid_until + 9))
    assert lab.snapshot.agreement("quillwork", lab.now).id == "a-2"
    assert lab.snapshot.agreement("quillwork", first.valid_until + 9) is None
    assert lab.snapshot.agreement("lexara", lab.now) is None


def test_the_labs_people_have_their_own_copy_id_for_a_vendors(lab):
    mira, q01, q02 = (lab.snapshot.recipient(id_, "orchid-sft") for id_ in ("lab/mira", "quillwork/q01", "quillwork/q02"))
    assert mira.vendor_copy_id == mira.copy_id
    assert q01.vendor_copy_id == q02.vendor_copy_id != q01.copy_id


class Model:
    """Who was ever granted what, written down the plain way: a list an asset, appended to."""

    def __init__(self, lab):
        self.lab = lab
        self.reached = {asset.id: [] for asset in lab.snapshot.assets_in("orchid")}
        self.stars = []

    def reach(self, asset, holder):
        copy_id = self.lab.snapshot.recipient(holder, "orchid-sft").copy_id
        barred = asset == "aurelia-core" and not holder.startswith("lab/")
        if not barred and copy_id not in self.reached[asset]:
            self.reached[asset].append(copy_id)

    def star(self, holder):
        self.stars.append(holder)
        for asset in self.reached:
            self.reach(asset, holder)

    def asset(self, asset):
        self.reached[asset] = []
        for holder in self.stars:
            self.reach(asset, holder)


def _random_history(lab, seed, *, steps=60):
    """Grants, ends, new assets and people at random; yields each snapshot with what the model says of it."""
    rng, model = random.Random(seed), Model(lab)
    people = ["quillwork/q01", "quillwork/q02", "quillwork/ci", "lab/mira", "lab/sol"]
    for step in range(steps):
        holder = rng.choice(people)
        match rng.choices(("named", "star", "asset", "person", "end"), (50, 15, 10, 15, 10))[0]:
            case "named":
                asset = rng.choice([a for a in model.reached if a != "orchid-box" and (a != "aurelia-core" or "lab/" in holder)])
                lab.grant(holder, asset, granted_by="lab/sol" if asset == "orchid-guide" else "lab/mira")
                model.reach(asset, holder)
            case "star":
                lab.grant(holder, "*")
                model.star(holder)
            case "asset":
                lab.add(c.AssetAdd(id=f"more-{step}", project="orchid", asset_class="training", tier="internal"))
                model.asset(f"more-{step}")
            case "person":
                people.append(f"quillwork/r{step}")
                lab.person(people[-1])
            case "end":
                for grant in lab.snapshot.grants_of(holder, "orchid")[:1]:
                    lab.add(c.GrantEnd(id=grant.id, reason="over"))
        yield lab.snapshot, model.reached


@pytest.mark.parametrize("seed", range(12))
def test_canaries_are_places_in_the_order_of_first_grants_and_never_move(lab, seed):
    for snapshot, reached in _random_history(lab, seed):
        for asset in snapshot.assets_in("orchid"):
            recipients = snapshot.recipients_of(asset.id)
            assert [r.copy_id for r in recipients] == reached[asset.id]
            assert [r.canary for r in recipients] == list(range(len(recipients)))
            assert [snapshot.recipient(r.id, asset.id) for r in recipients] == recipients


def test_control_counting_a_person_twice_would_be_noticed(lab, monkeypatch):
    monkeypatch.setattr(State, "place", _place_counting_twice)
    off = 0
    for snapshot, _ in _random_history(lab, 4):
        for asset in snapshot.assets_in("orchid"):
            places = [snapshot.recipient(r.id, asset.id).canary for r in snapshot.recipients_of(asset.id)]
            off += places != list(range(len(places)))
    assert off > 0


def _place_counting_twice(state, copy_id, asset):
    rolls = [roll for roll in (state.rolls.get(("named", asset.id)), *state._all_rolls(asset)) if roll is not None]
    mine = min((roll.first[copy_id] for roll in rolls if copy_id in roll.first), default=None)
    return None if mine is None else sum(roll.before(mine) for roll in rolls)


def test_an_empty_catalog_has_the_built_in_tiers_and_nothing_else():
    empty = Snapshot()
    assert [tier.name for tier in empty.tiers()] == ["open", "internal", "confidential", "restricted"]
    assert (empty.vendors(), empty.holders(), empty.projects(), empty.grants()) == ((), (), (), ())
