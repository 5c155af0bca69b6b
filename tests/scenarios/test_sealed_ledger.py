"""A gateway whose older entries have left the database: exposure and start-up read over the seam."""

from __future__ import annotations

import asyncio

from inprocess import DESK, a_gateway, a_session
from limen.config import Config, Server
from limen.core.types import Span
from limen.ledger.repair.examination import examine
from limen.server import Gateway
from limen.verbs import VERBS
from limen.verify.published import Published, verify

KEY = "orchid-sft-v3/sft.jsonl"
ENOUGH = 700  # entries: two full bundles and a tail


async def read_until_enough(gateway, session):
    """Reads of 16 bytes each, ever others, fifty at once, each as a door does it."""

    async def one(start):
        delivery = await gateway.access.open(session, KEY, choose=lambda copy, _: Span(206, start, start + 16), client=DESK)

        async def send(chunk):
            pass

        await delivery.send_to(send, lambda: None)

    start = 0
    while gateway.custody.ledger.head().size < ENOUGH:
        await asyncio.gather(*(one(16 * number) for number in range(start, start + 50)))
        start += 50
    await gateway.custody.ledger.flush()
    await one(16 * start)  # its outcome finds no other open, and takes the low water along


async def exposed(gateway):
    """The report, but for how long the log was: a report is entered too."""
    report = await VERBS["exposure"](gateway, {"subject": "vendor/quillwork"}, "test")
    assert report.pop("ledger")["to"] == gateway.custody.ledger.head().size - 1
    return report


def test_exposure_and_start_up_are_the_same_before_and_after_sealing(tmp_path):
    async def life():
        gateway = await a_gateway(tmp_path)
        await read_until_enough(gateway, await a_session(gateway, "q03"))
        before = await exposed(gateway)
        sealed = await VERBS["ledger.seal"](gateway, {"below": 10**9}, "test")
        after = await exposed(gateway)
        entries = list(gateway.custody.ledger.entries())
        await gateway.close()
        reopened = await Gateway.open(Config(data=tmp_path, server=Server(mode="development")))
        known = list(reopened.custody.ledger.entries(0, len(entries)))
        verifier = reopened.custody.ledger._verifier
        await reopened.close()
        return before, sealed, after, entries == known, reopened.recovered, verifier

    before, sealed, after, same, recovered, verifier = asyncio.run(life())

    assert sealed["end"] >= 512
    assert after == before
    assert same
    assert recovered.outcomes_unknown == 0
    assert verify(Published(tmp_path / "log"), verifier).checkpoint.size >= ENOUGH
    with examine(tmp_path, verifier) as found:
        assert found.findings == []
