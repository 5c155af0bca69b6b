"""One intent over a bounded run of reads: fewer commits, and nothing served that is not covered."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from inprocess import DESK, a_session
from limen.catalog.changes import AssetAdd, GrantAdd, TierSet
from limen.core.errors import LedgerUnavailable, Paused
from limen.core.events import decode
from limen.core.types import Action, Shard, Span, Version
from limen.registration import Marking, Source
from limen.response import served
from limen.windows import MOST_RANGES, Part, Window, covered, runs_of

KEY = "orchid-sft-v3/sft.jsonl"


async def read(gateway, session, start=0, end=None, key=KEY):
    """One read handed over whole: the delivery, closed."""

    def choose(copy, modified_at):
        return Span(206, start, copy.length if end is None else end)

    delivery = await gateway.access.open(session, key, choose=choose, client=DESK)
    await delivery.send_to(lambda chunk: asyncio.sleep(0), lambda: None)
    return delivery


def entries(gateway):
    return {index: decode(raw) for index, raw in gateway.custody.ledger.entries()}


def intents(gateway):
    return [e for e in entries(gateway).values() if e["kind"] == "access.intent" and e["action"] == "read"]


def outside(gateway, deliveries):
    """Deliveries of which a byte is not covered by the intent that they name."""
    stored = entries(gateway)

    def inside(d):
        shard = d.reading.shard if d.reading else stored[d.receipt.index]["shard"]
        reach = {path: (start, end) for path, start, end in covered(stored[d.receipt.index])}
        start, end = reach.get(shard, (0, -1))
        return start <= d.span.start and d.span.start + d.sent <= end

    return [d for d in deliveries if not inside(d)]


def handed(gateway):
    """What a report would read, after the windows are closed."""
    size = gateway.custody.ledger.head().size
    reading = served.read(gateway.custody.ledger.entries(0, size), size=size, concerns=lambda e: "session" in e)
    return sorted((h.session, h.shard, h.start, h.end) for h in reading.handovers)


async def settled(gateway):
    gateway.custody.windows.close_all()
    await gateway.custody.ledger.flush()


def test_later_reads_of_the_same_object_share_one_intent_and_wait_for_no_commit(in_gateway):
    async def body(gateway):
        session = await a_session(gateway, "q03")
        first = await read(gateway, session, 0, 100)
        size = gateway.custody.ledger.head().size
        later = [await read(gateway, session, at, at + 50) for at in range(200, 1200, 100)]
        assert gateway.custody.ledger.head().size == size
        assert {d.receipt.index for d in later} == {first.receipt.index}
        assert outside(gateway, [first, *later]) == []
        await settled(gateway)
        asked = [(session.id, "sft.jsonl", 0, 100), *((session.id, "sft.jsonl", at, at + 50) for at in range(200, 1200, 100))]
        assert handed(gateway) == sorted(asked)

    in_gateway(body)


def test_eight_parallel_ranges_cost_one_intent(in_gateway):
    async def body(gateway):
        session = await a_session(gateway, "q03")
        await asyncio.gather(*(read(gateway, session, at * 1000, at * 1000 + 1000) for at in range(8)))
        assert len(intents(gateway)) == 1

    in_gateway(body)


def test_a_window_that_lets_every_read_in_fails_the_same_check(in_gateway, monkeypatch):
    """The negative control: reads that no intent covers are noticed."""

    async def body(gateway):
        session = await a_session(gateway, "q03")
        gateway.custody.windows.bounds = lambda *_, **__: {"sft.jsonl": Part(0, 0, 100)}
        monkeypatch.setattr(Window, "holds", lambda *_: True)
        deliveries = [await read(gateway, session, 0, 100), await read(gateway, session, 500, 600)]
        assert outside(gateway, deliveries) == deliveries[1:]

    in_gateway(body)


@pytest.mark.parametrize("other", ["session", "time", "report", "version"])
def test_a_window_ends_at_its_bounds(in_gateway, other):
    async def body(gateway):
        session = await a_session(gateway, "q03")
        first = await read(gateway, session, 0, 100)
        match other:
            case "session":
                session = await a_session(gateway, "q03")
            case "time":
                [window] = gateway.custody.windows._by_shard[session.id, "orchid-sft-v3", 1, "sft.jsonl"]
                window.until_us = gateway.custody.moment_us()
            case "report":
                gateway.custody.windows.close_all()
            case "version":
                source = gateway.config.data / "sft.jsonl"
                await gateway.registrar.register("orchid-sft-v3", [Source("sft.jsonl", source)], Marking(), by="test")
        second = await read(gateway, session, 0, 100)
        assert second.receipt.index != first.receipt.index
        assert outside(gateway, [first, second]) == []

    in_gateway(body)


def test_an_object_longer_than_the_bound_is_covered_from_the_read_on(in_gateway):
    async def body(gateway):
        tier = TierSet(
            name="confidential", granted_by=("owner", "security"), session_s=3600, hardware_key=False,
            export_bytes_day=1 << 30, window_bytes=1000,
        )  # fmt: skip
        await gateway.authority.change([replace_tier(gateway, tier)], by="test")
        session = await a_session(gateway, "q03")
        deliveries = [await read(gateway, session, at, at + 200) for at in (5000, 5800, 5900, 100)]
        assert [e["span"] for e in intents(gateway)] == [[5000, 6000], [5900, 6900], [100, 1100]]
        alone = await read(gateway, session, 0, 1001)
        assert alone.reading is None
        assert outside(gateway, [*deliveries, alone]) == []

    in_gateway(body)


def replace_tier(gateway, tier):
    asset = gateway.custody.catalog.snapshot.asset("orchid-sft-v3")
    return TierSet(**{name: getattr(tier, name) for name in tier.__struct_fields__} | {"name": asset.tier})


def test_no_window_where_the_tier_allows_none(in_gateway):
    async def body(gateway):
        tier = TierSet(
            name="x", granted_by=("owner", "security"), session_s=3600, hardware_key=False,
            export_bytes_day=1 << 30, window_bytes=0,
        )  # fmt: skip
        await gateway.authority.change([replace_tier(gateway, tier)], by="test")
        session = await a_session(gateway, "q03")
        for at in range(3):
            await read(gateway, session, at, at + 10)
        assert [e["span"] for e in intents(gateway)] == [[0, 10], [1, 11], [2, 12]]
        assert not any("window" in e for e in intents(gateway))

    in_gateway(body)


async def many_shards(gateway, count=20):
    """A data set of small shards, registered and granted."""
    grant = next(g for g in gateway.custody.catalog.snapshot.grants() if g.holder == "quillwork/q03")
    asset = gateway.custody.catalog.snapshot.asset("orchid-sft-v3")
    changes = [
        AssetAdd(id="many", project="orchid", asset_class=asset.asset_class, tier=asset.tier, asset_kind="dataset"),
        GrantAdd(
            id="many", holder="quillwork/q03", project="orchid", assets=("many",), actions=(Action.READ,),
            granted_by=grant.granted_by, expires_at=grant.expires_at,
        ),
    ]  # fmt: skip
    await gateway.authority.change(changes, by="test")
    sources = []
    for number in range(count):
        path = gateway.config.data / f"part-{number:02}.bin"
        path.write_bytes(bytes([number]) * 4096)
        sources.append(Source(path.name, path))
    await gateway.registrar.register("many", sources, Marking(), by="test")
    return [f"many/{source.path}" for source in sources]


def test_a_data_set_of_many_shards_costs_two_intents(in_gateway):
    async def body(gateway):
        keys = await many_shards(gateway)
        session = await a_session(gateway, "q03")
        deliveries = [await read(gateway, session, key=key) for key in keys]
        assert [len(covered(e)) for e in intents(gateway)] == [1, 20]
        assert outside(gateway, deliveries) == []
        await settled(gateway)
        assert handed(gateway) == [(session.id, key.partition("/")[2], 0, 4096) for key in keys]

    in_gateway(body)


def test_runs_hold_every_shard_that_fits_once_and_stay_within_the_bound():
    shards = tuple(Shard(f"{n}", "", length, length, "") for n, length in enumerate([10, 10, 90, 5, 101, 95, 1, *[0] * 600]))
    runs = runs_of(shards, 100)
    assert [s.path for run in runs for s in run] == [s.path for s in shards if s.length <= 100]
    assert all(sum(s.length for s in run) <= 100 and len(run) <= 256 for run in runs)
    assert len(runs) == 5


def test_a_window_without_its_outcome_counts_as_handed_over_whole(in_gateway):
    async def body(gateway):
        session = await a_session(gateway, "q03")
        await read(gateway, session, 0, 10)
        await gateway.custody.ledger.flush()  # and the window is still open
        [(_, _, start, end)] = handed(gateway)
        assert (start, end) == (0, gateway.custody.catalog.snapshot.version("orchid-sft-v3").shards[0].length)

    in_gateway(body)


def test_a_window_takes_no_more_ranges_than_its_outcome_can_name(in_gateway):
    async def body(gateway):
        session = await a_session(gateway, "q03")
        for at in range(MOST_RANGES + 5):
            await read(gateway, session, at, at + 7)
        assert len(intents(gateway)) == 2
        await settled(gateway)
        assert handed(gateway) == [(session.id, "sft.jsonl", at, at + 7) for at in range(MOST_RANGES + 5)]

    in_gateway(body)


def test_a_lost_ledger_closes_every_window(in_gateway):
    async def body(gateway):
        session = await a_session(gateway, "q03")
        await read(gateway, session, 0, 10)

        async def unavailable(entry, side=None):
            raise LedgerUnavailable("the disk is full")

        gateway.custody.ledger.append = unavailable
        with pytest.raises(LedgerUnavailable):
            await gateway.access.list(session, prefix="", client=DESK)
        with pytest.raises(LedgerUnavailable):
            await read(gateway, session, 0, 10)
        del gateway.custody.ledger.append

    in_gateway(body)


def test_all_who_wait_for_a_window_that_fails_are_refused_and_charged_nothing(in_gateway):
    async def body(gateway):
        session = await a_session(gateway, "q03")

        async def unavailable(entry, side=None):
            await asyncio.sleep(0)
            raise LedgerUnavailable("the disk is full")

        gateway.custody.ledger.append = unavailable
        results = await asyncio.gather(*(read(gateway, session, at, at + 10) for at in range(4)), return_exceptions=True)
        assert [type(r) for r in results] == [LedgerUnavailable] * 4
        del gateway.custody.ledger.append
        now = gateway.custody.clock.day_at()
        assert gateway.custody.quota.taken(session.pseudonym, "orchid-sft-v3", now=now) == 0
        await read(gateway, session, 0, 10)

    in_gateway(body)


def test_a_pause_reaches_readers_under_an_open_window(in_gateway):
    async def body(gateway):
        session = await a_session(gateway, "q03")
        await read(gateway, session, 0, 10)
        gateway.authority.pause(gateway.authority.order("vendor/quillwork", reason="breach"))
        with pytest.raises(Paused):
            await read(gateway, session, 0, 10)

    in_gateway(body)


def test_a_reader_that_goes_away_while_the_intent_is_written_leaves_the_window_to_the_others(in_gateway):
    async def body(gateway):
        session = await a_session(gateway, "q03")
        gone = asyncio.create_task(read(gateway, session, 0, 10))
        stays = asyncio.create_task(read(gateway, session, 10, 20))
        await asyncio.sleep(0)
        gone.cancel()
        delivery = await stays
        assert len(intents(gateway)) == 1
        assert outside(gateway, [delivery]) == []
        await settled(gateway)
        assert handed(gateway) == [(session.id, "sft.jsonl", 10, 20)]

    in_gateway(body)


def test_what_was_read_when_is_in_the_outcome(in_gateway):
    """A report about an hour must not lose a read because its window was opened before."""

    async def body(gateway):
        session = await a_session(gateway, "q03")
        await read(gateway, session, 0, 10)
        await asyncio.sleep(0.02)
        middle = gateway.custody.moment_us()
        await asyncio.sleep(0.02)
        await read(gateway, session, 10, 20)
        await settled(gateway)
        size = gateway.custody.ledger.head().size
        reading = served.read(gateway.custody.ledger.entries(0, size), size=size, concerns=lambda e: "session" in e)
        assert [(h.start, h.last_us > middle, h.at_us < middle) for h in reading.handovers] == [
            (0, False, True),
            (10, True, False),
        ]

    in_gateway(body)


def test_a_version_is_told_from_another_by_its_number():
    version = Version("a", 1, (Shard("x", "", 5, 5, ""),), 0, 0)
    assert runs_of(version.shards, 4) == []
    assert [len(run) for run in runs_of(replace(version, number=2).shards, 5)] == [1]
