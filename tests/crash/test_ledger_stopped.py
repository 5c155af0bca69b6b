"""A ledger process that is stopped while another opens its log: nothing that was acknowledged is lost, and no log forks.

The lock of the data directory keeps a second gateway out; here it is left out, as on a disk that two machines share. Then
the database itself must tell: a commit under way keeps others out, and whoever wakes up behind another's entries refuses.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from stepping import Fault, Nursery
from test_ledger_syscalls import after

from limen.core.errors import LimenError

IN_A_COMMIT = Fault("sequencer", "fdatasync", 1, "SIGSTOP")


@pytest.fixture
def nurseries(tmp_path):
    if shutil.which("strace") is None and not os.environ.get("CI"):
        pytest.skip("strace is not installed (tools/setup packages); CI=true makes this a failure")
    places = [tmp_path / name for name in ("one", "two", "log")]
    for place in places:
        place.mkdir()
    with Nursery(places[0]) as one, Nursery(places[1]) as two:
        yield one, two, places[2]


def until_stopped(stepper):
    """Wait until the kernel says so; a test's own patience is the limit."""
    status = Path(f"/proc/{stepper.process_id}/task/{stepper.threads['sequencer']}/stat")
    until = time.monotonic() + 10
    while status.read_text().rpartition(")")[2].split()[0] not in "tT":
        assert time.monotonic() < until, "it does not stop"
        time.sleep(0.005)


def begun(stepper):
    for command in ("open", "append"):
        assert (why := stepper.ask(command)) is None, why


def test_a_process_stopped_in_a_commit_keeps_its_log_and_ends_the_commit_when_it_wakes_up(nurseries, tmp_path):
    one, two, log = nurseries
    with one.at(log) as first:
        begun(first)
        with first.traced("sequencer", tmp_path / "calls", IN_A_COMMIT.expression):
            first.tell("append")
            until_stopped(first)
            with two.at(log) as second:
                assert "ledger.db" in second.ask("open"), "the log was opened under a commit"
            os.kill(first.process_id, signal.SIGCONT)
            assert first.hear() is None
        assert first.ask("append") is None
        assert sorted(first.acknowledged) == [0, 1, 2]
    after(log, first.acknowledged, IN_A_COMMIT)


def overtaken(nurseries, mode):
    """One is stopped between two commits; another appends; the one wakes up and is asked to. Who was told what."""
    one, two, log = nurseries
    with one.at(log, mode=mode) as first, two.at(log) as second:
        begun(first)
        os.kill(first.process_id, signal.SIGSTOP)
        until_stopped(first)
        begun(second)
        os.kill(first.process_id, signal.SIGCONT)
        refusals = [first.ask("append"), first.ask("append")]
        refused = second.ask("append")
    return first.acknowledged | second.acknowledged, refusals, refused


def test_a_process_that_wakes_up_behind_another_ones_entries_refuses_and_stops(nurseries):
    acknowledged, (once, ever), refused = overtaken(nurseries, "honest")

    assert "somebody else has appended" in once
    assert "stopped, because ledger.db has a head" in ever
    assert refused is None
    assert sorted(acknowledged) == [0, 1, 2]
    after(nurseries[2], acknowledged, "overtaken")


def test_a_store_that_does_not_compare_the_head_is_caught_by_the_same_check(nurseries):
    acknowledged, (once, _), _ = overtaken(nurseries, "blind")

    assert once is None

    with pytest.raises((AssertionError, LimenError)):
        after(nurseries[2], acknowledged, "overtaken")
