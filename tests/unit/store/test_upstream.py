"""Where adopted bytes rest: a directory. Buckets are tested against real ones, in tests/scenarios/test_adopted.py."""

from __future__ import annotations

import asyncio
import os

import pytest

from limen.core.errors import Invalid, NotFound, UpstreamChanged, UpstreamUnavailable
from limen.core.types import Upstream
from limen.store import upstream
from limen.store.blobs import Blobs
from limen.store.upstream import CHUNK, Opening, Upstreams


@pytest.fixture
def place(tmp_path):
    """A directory with one object of several pieces, and what was adopted of it."""
    (tmp_path / "a.bin").write_bytes(os.urandom(3 * CHUNK + 5))
    return tmp_path


def adopt(place):
    [seen] = Upstreams().seen(f"file://{place}")
    return Upstream(seen.url, seen.etag), seen.length


async def read(place, rests, length, start=0, end=None, between=lambda: None):
    got = []
    async for chunk in Upstreams().read(rests, length, start, length if end is None else end):
        got.append(chunk)
        between()
    return b"".join(got)


@pytest.mark.parametrize(("start", "end"), [(0, None), (1, CHUNK + 1), (3 * CHUNK, 3 * CHUNK + 5), (7, 7)])
def test_a_span_is_the_bytes_of_the_place(place, start, end):
    rests, length = adopt(place)
    got = asyncio.run(read(place, rests, length, start, end))
    assert got == (place / "a.bin").read_bytes()[start:end]


def rewrite(place):
    """Other bytes of the same length in the same file, with the clock's next tick."""
    with (place / "a.bin").open("r+b") as stream:
        stream.write(bytes(3 * CHUNK + 5))
    os.utime(place / "a.bin", ns=(1, 1))


def test_an_object_that_changes_while_it_is_read_goes_no_further(place):
    rests, length = adopt(place)
    with pytest.raises(UpstreamChanged):
        asyncio.run(read(place, rests, length, between=lambda: rewrite(place)))


def test_control_if_nobody_looked_again_a_torn_object_would_pass(place, monkeypatch):
    monkeypatch.setattr(upstream, "etag_of", lambda _: "the same")
    rests, length = adopt(place)
    before = (place / "a.bin").read_bytes()

    got = asyncio.run(read(place, rests, length, between=lambda: rewrite(place)))

    assert got not in (before, bytes(length))


def test_an_object_replaced_by_another_is_refused_and_one_that_is_being_read_stays_whole(place):
    rests, length = adopt(place)
    before = (place / "a.bin").read_bytes()

    def replace():
        (place / ".new").write_bytes(bytes(length))
        (place / ".new").replace(place / "a.bin")

    assert asyncio.run(read(place, rests, length, between=lambda: replace() if (place / "a.bin").exists() else None)) == before
    with pytest.raises(UpstreamChanged):
        asyncio.run(read(place, rests, length))


def test_one_that_grew_shorter_while_it_was_read_is_not_passed_off_as_whole(place):
    rests, length = adopt(place)
    with pytest.raises(UpstreamChanged):
        asyncio.run(read(place, rests, length, between=lambda: os.truncate(place / "a.bin", CHUNK)))


def test_a_url_of_no_kind_and_a_bucket_without_keys_are_refused_in_words():
    with pytest.raises(Invalid, match="neither s3://"):
        Upstreams().seen("https://example.com/a")
    with pytest.raises(UpstreamUnavailable, match="needs keys"):
        Upstreams([Opening("s3://research", None)]).seen("s3://research/sft")


def test_bytes_without_a_digest_are_no_blob(tmp_path):
    with pytest.raises(NotFound, match="without a digest"):
        Blobs(tmp_path).path("")


def test_a_directory_that_is_gone_is_unavailable(tmp_path):
    with pytest.raises(UpstreamUnavailable, match="can't be listed"):
        Upstreams().seen(f"file://{tmp_path}/gone")


def test_the_opening_of_a_prefix_is_not_that_of_a_longer_name():
    assert upstream._below("s3://research/sft", "s3://research")
    assert not upstream._below("s3://research-two/sft", "s3://research")
