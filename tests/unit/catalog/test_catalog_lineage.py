import pytest

from limen.catalog import changes as c
from limen.core.errors import Conflict, Invalid

DIGEST = "0" * 64


@pytest.fixture
def asset(lab, a_shard):
    """Asset orchid-sft with one marked version, under its first key."""
    lab.add(c.AssetVersion(asset="orchid-sft", shards=(a_shard(prepared="p", unmarked_why=""),), mark_key="orchid-sft"))
    return lab


def rotation(key, asset="orchid-sft"):
    same = {"code": "limen-code/1", "levels": "nuida8", "keep": "file", "commitment": DIGEST, "subkeys": {"copy": DIGEST}}
    return c.KeyRotate(asset=asset, key=key, **same)


def opening(key):
    return c.KeyOpen(asset="orchid-sft", key=key, request=1, subkeys={"copy": DIGEST})


def keys(lab, asset="orchid-sft"):
    return [(one.id, one.retired is not None) for one in lab.snapshot.lineages(asset)]


def test_an_asset_has_a_first_key_before_anything_was_said_of_it(lab, asset):
    [one] = lab.snapshot.lineages("orchid-sft")
    assert (one.id, one.number, one.entry) == ("orchid-sft", 1, lab.snapshot.version("orchid-sft").entry)
    assert lab.snapshot.retired_at("orchid-sft") is None


def test_a_key_rotated_to_before_the_first_version_is_the_first(lab):
    lab.add(rotation("orchid-sft"))
    assert keys(lab) == [("orchid-sft", False)]
    lab.add(rotation("orchid-sft~2"))
    assert keys(lab) == [("orchid-sft", False), ("orchid-sft~2", False)]


def test_rotations_number_keys_on_and_leave_the_older_good(lab, asset):
    lab.add(rotation("orchid-sft~2"))
    lab.add(rotation("orchid-sft~3"))
    assert keys(lab) == [("orchid-sft", False), ("orchid-sft~2", False), ("orchid-sft~3", False)]
    with pytest.raises(Conflict, match="the next key of orchid-sft is orchid-sft~4"):
        lab.add(rotation("orchid-sft~3"))


def test_a_retired_key_stays_retired_since_the_first_entry_that_ended_it(lab, asset):
    lab.add(c.KeyRetire(asset="orchid-sft", key="orchid-sft", reason="seen in a paste"))
    first = lab.snapshot.epoch
    assert lab.snapshot.retired_at("orchid-sft") == first
    with pytest.raises(Conflict, match=f"retired since entry {first}"):
        lab.add(c.KeyRetire(asset="orchid-sft", key="orchid-sft", reason="again"))
    lab.add(opening("orchid-sft"))
    [one] = lab.snapshot.lineages("orchid-sft")
    assert (one.retired, one.opened) == (first, lab.snapshot.epoch)


def test_no_version_is_prepared_under_a_key_that_has_ended(lab, asset, a_shard):
    version = c.AssetVersion(asset="orchid-sft", shards=(a_shard(prepared="p", unmarked_why=""),), mark_key="orchid-sft")
    lab.add(opening("orchid-sft"))
    with pytest.raises(Conflict, match="orchid-sft is retired"):
        lab.add(version)


def test_while_the_key_is_good_the_next_version_takes_it(lab, asset, a_shard):
    lab.add(c.AssetVersion(asset="orchid-sft", shards=(a_shard(prepared="p", unmarked_why=""),), mark_key="orchid-sft"))
    assert lab.snapshot.version("orchid-sft").number == 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (rotation("nowhere", asset="nowhere"), "no asset"),
        (c.KeyRetire(asset="nowhere", key="nowhere", reason="x"), "no asset"),
        (c.KeyRetire(asset="orchid-sft", key="orchid-sft~9", reason="x"), "no mark key"),
        (c.KeyRetire(asset="orchid-sft", key="orchid-sft", reason=""), "reason"),
        (c.KeyOpen(asset="orchid-sft", key="orchid-sft", request=1, subkeys={}), "names what was opened"),
    ],
)
def test_what_names_no_key_is_refused(lab, asset, change, why):
    with pytest.raises(Invalid, match=why):
        lab.add(change)


def test_a_key_that_was_never_used_has_nothing_to_end(lab):
    with pytest.raises(Invalid, match="no mark key"):
        lab.add(c.KeyRetire(asset="orchid-sft", key="orchid-sft", reason="x"))
