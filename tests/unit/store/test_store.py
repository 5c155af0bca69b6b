from __future__ import annotations

import hashlib

import pytest

from limen.core.errors import Conflict, Invalid, NotFound
from limen.store.blobs import Blobs
from limen.store.drops import Dropped, Drops, Upload


@pytest.fixture
def blobs(tmp_path):
    return Blobs(tmp_path / "blobs")


@pytest.fixture
def drops(tmp_path):
    return Drops(tmp_path)


def dropped(path, text=b"x"):
    return Dropped(path, hashlib.sha256(text).hexdigest(), len(text), hashlib.md5(text).hexdigest(), 1, 7)


def upload(upload_id="0" * 32, writer="p-1"):
    return Upload(upload_id, "box", writer, "a.bin", 1)


def test_a_blob_is_found_by_its_content(blobs):
    digest, length = blobs.put([b"one ", b"two"])

    assert (digest, length) == (hashlib.sha256(b"one two").hexdigest(), 7)
    assert blobs.path(digest).read_bytes() == b"one two"


def test_putting_the_same_bytes_again_changes_nothing(blobs):
    first = blobs.put([b"same"])

    assert blobs.put([b"sa", b"me"]) == first
    assert list(blobs.staging.iterdir()) == []


def test_what_a_crash_left_half_written_is_swept_and_never_named(blobs):
    staged = blobs.stage("half")
    staged.write(b"half of it")
    staged.stream.close()  # as a crash does

    assert Blobs(blobs.root.parent).sweep() == 1
    with pytest.raises(NotFound):
        blobs.path(hashlib.sha256(b"half of it").hexdigest())


def test_a_failed_source_leaves_nothing_behind(blobs):
    def broken():
        yield b"some"
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        blobs.put(broken())
    assert list(blobs.staging.iterdir()) == []


def test_two_writers_same_path_never_meet(drops):
    drops.put("box", "p-1", dropped("a", b"one"))
    drops.put("box", "p-2", dropped("a", b"two"), only_if_absent=True)

    assert drops.get("box", "p-1", "a").digest == hashlib.sha256(b"one").hexdigest()
    assert [d.path for d in drops.of("box", "p-2")] == ["a"]
    with pytest.raises(NotFound):
        drops.get("box", "p-3", "a")


def test_only_if_absent_refuses_the_writers_own_second(drops):
    drops.put("box", "p-1", dropped("a", b"one"), only_if_absent=True)

    with pytest.raises(Conflict):
        drops.put("box", "p-1", dropped("a", b"two"), only_if_absent=True)
    assert drops.get("box", "p-1", "a").digest == hashlib.sha256(b"one").hexdigest()


def test_an_upload_is_its_writers_alone(drops):
    drops.begin(upload())

    assert drops.upload("0" * 32, asset="box", writer="p-1", path="a.bin") == upload()
    for bent in ({"writer": "p-2"}, {"asset": "other"}, {"path": "b.bin"}):
        with pytest.raises(NotFound):
            drops.upload("0" * 32, **{"asset": "box", "writer": "p-1", "path": "a.bin", **bent})
    with pytest.raises(NotFound):
        drops.upload("../../etc", asset="box", writer="p-1", path="a.bin")


def test_a_completion_names_parts_in_order_with_their_etags(drops):
    drops.begin(upload())
    one, two = dropped("a.bin", b"one"), dropped("a.bin", b"two")
    drops.put_part(upload(), 1, one)
    drops.put_part(upload(), 2, two)

    assert drops.chosen(upload(), [(1, f'"{one.etag}"'), (2, two.etag)]) == [one, two]
    for wrong in ([], [(2, two.etag), (1, one.etag)], [(1, two.etag)], [(3, one.etag)], [(1, one.etag), (1, one.etag)]):
        with pytest.raises(Invalid):
            drops.chosen(upload(), wrong)
