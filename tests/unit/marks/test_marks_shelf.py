import pytest
from orchid import jsonl, person, records

from limen.core.errors import NotFound
from limen.core.types import Shard
from limen.marks.shelf import Shelf

PLAIN = Shard("train.jsonl", "00", 0, 0, "application/x-ndjson")


@pytest.fixture
def shelf(tmp_path):
    (tmp_path / "source").write_bytes(jsonl(records(400)))
    return Shelf(tmp_path / "prepared", tmp_path / "keys", random=lambda n: b"r" * n)


def prepare(shelf, tmp_path, name="orchid@1/train.jsonl", asset="orchid"):
    return shelf.prepare(asset, PLAIN, source=tmp_path / "source", media="jsonl", name=name)


def test_a_shard_is_prepared_under_its_asset_s_own_key(shelf, tmp_path):
    shard = prepare(shelf, tmp_path)
    assert (shard.prepared, shard.records, shard.unmarked_why) == ("orchid@1/train.jsonl", 400, "")
    assert shard.length == shelf.prepared(shard).length
    assert shelf.prepared(shard).manifest["key"] == "orchid"
    assert shelf.commitment("orchid")["commitment"] == shelf.key("orchid").commitment()
    assert shelf.manifest_root(shard) == shelf.prepared(shard).slots_root


def test_copies_are_the_same_from_a_shelf_that_is_opened_again(shelf, tmp_path):
    shard = prepare(shelf, tmp_path)
    again = Shelf(tmp_path / "prepared", tmp_path / "keys", random=lambda _: pytest.fail("made a new key"))
    for one in (person(1), person(2)):
        copies = [s.copy_of(shard, one, version_id="orchid@1/train.jsonl") for s in (shelf, again)]
        assert b"".join(copies[0].read(0, shard.length)) == b"".join(copies[1].read(0, shard.length))
        assert copies[0].etag == copies[1].etag
        assert copies[0].content_type == "application/x-ndjson"


def test_a_shard_that_can_not_be_marked_comes_back_with_the_reason(shelf, tmp_path):
    (tmp_path / "source").write_bytes(b"seventeen lines\n\n" * 17)
    shard = shelf.prepare("guide", PLAIN, source=tmp_path / "source", media="text", name="guide@1/g.md")
    assert shard.prepared is None
    assert shard.records == 17
    assert shard.unmarked_why.startswith("cannot be fingerprinted")
    with pytest.raises(NotFound):
        shelf.prepared(shard)


def test_the_index_covers_prepared_shards_and_knows_their_keys(shelf, tmp_path):
    shards = [prepare(shelf, tmp_path), prepare(shelf, tmp_path, "quill@1/train.jsonl", "quill"), PLAIN]
    index = shelf.index(shards)
    assert shelf.keys_of(index).keys() == {"orchid", "quill"}
    assert len(index.observe(jsonl(records(400)[:10])).slots) > 0


def test_names_that_hold_slashes_or_are_very_long_have_places_of_their_own(shelf, tmp_path):
    names = ["a@1/x", "a@1/x/y", "a@1/" + "long/" * 80 + "x"]
    shards = [prepare(shelf, tmp_path, name) for name in names]
    assert len({shelf.prepared(shard).path for shard in shards}) == 3
