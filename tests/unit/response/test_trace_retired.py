"""A key that has ended: what a trace still counts under it, and what it leaves out and says so."""

import asyncio

import pytest

from inprocess import a_gateway
from limen.catalog.changes import KeyRetire
from limen.core.events import decode
from limen.response.trace import ended_keys
from tracing import Q03, copy_id, copy_of, trace

ASSET = "orchid-sft-v3"


async def retire(gateway):
    [receipt] = await gateway.authority.change([KeyRetire(asset=ASSET, key=ASSET, reason="seen in a paste")], by="test")
    return receipt.index


def told(work, tmp_path):
    async def run():
        gateway = await a_gateway(tmp_path)
        try:
            sample = tmp_path / "leak.jsonl"
            sample.write_bytes(b"\n".join(copy_of(gateway, Q03)))
            return await work(gateway, sample)
        finally:
            await gateway.close()

    return asyncio.run(run())


def test_a_sample_that_is_logged_after_the_key_ended_names_nobody_and_says_why(tmp_path):
    async def work(gateway, sample):
        at = await retire(gateway)
        return at, await trace(gateway, sample)

    at, report = told(work, tmp_path)
    assert (report["verdict"], len(report["copies"]), report["slots_matched"]) == ("abstain", 0, 0)
    [left_out] = report["retired"]
    assert (left_out["key"], left_out["entry"]) == (ASSET, at)
    assert left_out["slots"] > 200


def test_the_same_sample_counts_if_the_log_held_it_before(tmp_path):
    async def work(gateway, sample):
        before = await trace(gateway, sample)
        await retire(gateway)
        return before, await trace(gateway, sample), copy_id(gateway, Q03)

    before, after, q03 = told(work, tmp_path)
    assert [copy["copy"] for copy in after["copies"]] == [q03]
    assert after["retired"] == before["retired"] == []


def test_the_check_notices_a_trace_that_counts_whatever_it_is_given(tmp_path, monkeypatch):
    async def work(gateway, sample):
        await retire(gateway)
        return await trace(gateway, sample), copy_id(gateway, Q03)

    monkeypatch.setattr("limen.response.trace.without", lambda observed, ended: (observed, {}))
    report, q03 = told(work, tmp_path)
    assert [copy["copy"] for copy in report["copies"]] == [q03]


@pytest.mark.parametrize("bent", [True, False])
def test_another_samples_entry_covers_nothing(tmp_path, bent):
    async def work(gateway, sample):
        await trace(gateway, sample)
        at = await retire(gateway)
        [digest] = {entry["digest"] for entry in logged(gateway)}
        asked = "0" * 64 if bent else digest
        return at, ended_keys(gateway.custody, gateway.cases, [ASSET], asked, before=gateway.custody.ledger.head().size)

    at, ended = told(work, tmp_path)
    assert ended == ({ASSET: at} if bent else {})


def logged(gateway):
    entries = (decode(raw) for _, raw in gateway.custody.ledger.entries(0, gateway.custody.ledger.head().size))
    return [entry for entry in entries if entry["kind"] == "trace.sample"]
