"""Setting who is who is an entry first; a crash in between leaves what the log says, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from inprocess import a_gateway
from limen import attributing
from limen.catalog.changes import AssetVersion
from limen.config import Config, Server
from limen.core.errors import Invalid, LedgerUnavailable
from limen.core.events import decode
from limen.core.types import Shard, Upstream
from limen.server import Gateway

OLD = b'[[who]]\nprincipal = "github:q03"\nvendor = "quillwork"\n'
NEW = b'[[who]]\nprincipal = "github:q03"\nperson = "quillwork/q03"\n[[place]]\nresource = "s3://b/*"\nasset = "orchid-blob"\n'


def entries(gateway):
    found = (decode(raw) for _, raw in gateway.custody.ledger.entries())
    return [(e["rules"], e["places"], e["digest"]) for e in found if e["kind"] == attributing.KIND]


def of_q03(gateway):
    return gateway.who.current().of("github:q03", "", 0).sort


async def reopened(tmp_path):
    return await Gateway.open(Config(data=tmp_path / "data", server=Server(mode="development")))


def test_a_mapping_is_an_entry_and_then_in_force(in_gateway):
    async def body(gateway):
        assert of_q03(gateway) == "unknown"
        for raw in (OLD, NEW):
            answer = await gateway.who.set(raw, by="test")
            assert gateway.who.said(gateway.who.current()) == (answer["entry"], [])
        assert of_q03(gateway) == "person"
        assert gateway.who.raw() == NEW
        assert [(rules, places) for rules, places, _ in entries(gateway)] == [(1, 0), (1, 1)]

    in_gateway(body)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('[[who]]\nprincipal = "github:x"\nperson = "quillwork/q99"', "who[0]"),
        ('[[who]]\nprincipal = "github:x"\nvendor = "nobody"', "who[0].vendor"),
        ('[[place]]\nresource = "s3://b/*"\nasset = "zz"', "place[0].asset"),
    ],
)
def test_whom_the_catalog_lacks_is_refused_and_nothing_is_written(in_gateway, text, field):
    async def body(gateway):
        with pytest.raises(Invalid) as refused:
            await gateway.who.set(text.encode(), by="test")
        assert refused.value.field == field
        assert entries(gateway) == []

    in_gateway(body)


def test_a_mapping_changed_by_hand_is_told(in_gateway):
    async def body(gateway):
        await gateway.who.set(OLD, by="test")
        (gateway.config.data / "observed" / "who.toml").write_bytes(NEW)
        entry, [line] = gateway.who.said(gateway.who.current())
        assert entry is None
        assert "changed by hand" in line

    in_gateway(body)


def stopped_before_its_entry(gateway, monkeypatch):
    async def lost(*_):
        raise LedgerUnavailable("no disk")

    monkeypatch.setattr(gateway.custody.ledger, "append", lost)


def stopped_after_its_entry(gateway, monkeypatch):
    def killed(*_):
        raise LedgerUnavailable("killed")

    monkeypatch.setattr(gateway.who, "_enforce", killed)


@pytest.mark.parametrize(
    ("stop", "then"), [(stopped_before_its_entry, "vendor"), (stopped_after_its_entry, "person")], ids=["before", "after"]
)
def test_a_start_finishes_what_the_log_says_was_set_and_drops_the_rest(tmp_path, monkeypatch, stop, then):
    async def body():
        gateway = await a_gateway(tmp_path / "data")
        await gateway.who.set(OLD, by="test")
        with monkeypatch.context() as patch:
            stop(gateway, patch)
            with pytest.raises(LedgerUnavailable):
                await gateway.who.set(NEW, by="test")
        assert of_q03(gateway) == "vendor"
        await gateway.close()
        gateway = await reopened(tmp_path)
        assert of_q03(gateway) == then
        assert gateway.who.said(gateway.who.current())[1] == []
        assert not list((tmp_path / "data" / "observed").glob("who.next-*"))
        await gateway.close()

    asyncio.run(body())


def test_a_start_that_finishes_nothing_is_caught(tmp_path, monkeypatch):
    """The control: without `finish` the log says one mapping and reports read another."""

    async def body():
        gateway = await a_gateway(tmp_path / "data")
        await gateway.who.set(OLD, by="test")
        with monkeypatch.context() as patch:
            stopped_after_its_entry(gateway, patch)
            with pytest.raises(LedgerUnavailable):
                await gateway.who.set(NEW, by="test")
        await gateway.close()
        monkeypatch.setattr(attributing.WhoIsWho, "finish", lambda self: None)
        gateway = await reopened(tmp_path)
        assert entries(gateway)[-1][2] != gateway.who.current().digest
        await gateway.close()

    asyncio.run(body())


def an_adopted(path, url):
    return Shard(path, "", 1, 1, "application/octet-stream", unmarked_why="adopted", upstream=Upstream(url, "e"))


@pytest.mark.parametrize(
    ("urls", "place"),
    [
        (["s3://b/sft/a", "s3://b/sft/c/d"], "s3://b/sft/*"),
        (["s3://b/sft/part-1", "s3://b/sft/part-2"], "s3://b/sft/*"),
        (["s3://b/x", "s3://b/y/z"], "s3://b/*"),
        (["s3://b/only"], "s3://b/only"),
        (["file:///srv/a", "file:///srv/b"], None),
    ],
)
def test_an_adopted_assets_place_maps_itself(in_gateway, urls, place):
    async def body(gateway):
        shards = tuple(an_adopted(f"p{i}", url) for i, url in enumerate(urls))
        await gateway.authority.change([AssetVersion(asset="orchid-blob", shards=shards)], by="test")
        assert [p.resource for p in gateway.who.current().places] == ([place] if place else [])
        assert gateway.who.current().asset_of(urls[0]) == ("orchid-blob" if place else None)

    in_gateway(body)
