"""After a crash: which intents have no outcome."""

from __future__ import annotations

import pytest

from limen.core.errors import TamperDetected
from limen.ledger.recovery import missing_outcomes


def read(make_entry, status=200, **fields):
    return make_entry("x", "access.intent", action="read", status=status, span=[0, 10], **fields)


def test_reads_of_content_and_writes_without_an_outcome_are_missing_one(world, make_entry):
    async def scene(ledger):
        entries = [
            read(make_entry),  # 0: has its outcome
            read(make_entry, status=206),  # 1: missing
            make_entry("x", "access.intent", action="head", status=200),  # 2: needs none
            make_entry("x", "access.intent", action="read", status=304),  # 3: needs none
            read(make_entry, status=416),  # 4: needs none
            make_entry("x", "access.intent", action="write", asset="drop"),  # 5: missing
            make_entry("x", "access.refusal", action="read", rule="pause"),  # 6: needs none
            make_entry("x", "access.outcome", of=0, sent=10, end="complete"),
            make_entry('"kind":"access.', "session.start"),  # only looks like one
        ]
        await ledger.append_all([(raw, None) for raw in entries])
        assert missing_outcomes(ledger) == [1, 5]

    world.run(scene)


def test_only_what_lies_above_the_low_water_is_read(world, make_entry):
    async def scene(ledger):
        await ledger.append_all([(read(make_entry), None), (read(make_entry), None)])
        ledger.append_soon(make_entry("x", "access.outcome", of=0, sent=1, end="complete"), low_water=1)
        await ledger.flush()
        assert missing_outcomes(ledger) == [1]
        ledger.append_soon(make_entry("x", "access.outcome", of=1, sent=1, end="complete"), low_water=None)
        await ledger.flush()
        assert ledger.low_water() == 3
        assert missing_outcomes(ledger) == []

    world.run(scene)


def test_an_entry_that_can_not_be_read_is_named_and_not_passed_over(world, make_entry):
    async def scene(ledger):
        await ledger.append_all([(read(make_entry), None), (b'{"kind":"access.intent"', None)])
        with pytest.raises(TamperDetected) as found:
            missing_outcomes(ledger)
        assert found.value.index == 1

    world.run(scene)
