"""Deadlines of one event loop: whoever waits is refused in time, whoever was answered is left alone."""

import asyncio

import pytest

from limen.core.errors import LedgerUnavailable
from limen.ledger.patience import Patience


def play(scene):
    async def run():
        loop = asyncio.get_running_loop()
        return await scene(loop, Patience(loop, 0.01))

    return asyncio.run(run())


def test_whoever_waits_too_long_is_refused_with_the_next_step_and_later_ones_too():
    async def scene(loop, patience):
        for _ in range(3):
            future = loop.create_future()
            patience.watch(future)
            with pytest.raises(LedgerUnavailable, match=r"no commit within 0\.01 s; look at the disk"):
                await future

    play(scene)


def test_whoever_was_answered_is_left_alone_and_not_kept():
    async def scene(loop, patience):
        answered = [loop.create_future() for _ in range(100)]
        for future in answered:
            patience.watch(future)
            future.set_result("receipt")
        late = loop.create_future()
        patience.watch(late)
        assert len(patience._waiting) == 1
        with pytest.raises(LedgerUnavailable):
            await late
        assert {future.result() for future in answered} == {"receipt"}

    play(scene)


def test_each_waits_for_its_own_deadline_behind_one_that_was_answered():
    async def scene(loop, patience):
        first, second = loop.create_future(), loop.create_future()
        patience.watch(first)
        began = loop.time()
        patience.watch(second)
        first.set_result(None)
        with pytest.raises(LedgerUnavailable):
            await second
        assert loop.time() - began >= 0.0095, "refused before its time"

    play(scene)


def test_the_last_one_leaves_no_timer_behind():
    async def scene(loop, patience):
        future = loop.create_future()
        patience.watch(future)
        with pytest.raises(LedgerUnavailable):
            await future
        assert patience._timer is None

    play(scene)
