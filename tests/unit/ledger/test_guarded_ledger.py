"""The ledger with its guard: nothing is signed before every trace agrees, and an alarm outlasts the process."""

from __future__ import annotations

import json
import shutil

import pytest

from limen.core.errors import LedgerUnavailable, TamperDetected
from limen.formats.note import Signer
from limen.formats.receipt import decode, header
from limen.ledger.rollback.guard import Guard
from limen.ledger.stored import look

SIGNER = Signer("example.com/log", bytes(32))


@pytest.fixture
def guarded(world, tmp_path_factory):
    """A world whose ledger is opened with a guard; its second note is at `elsewhere`."""
    world.elsewhere = tmp_path_factory.mktemp("another-disk") / "high-water"

    def guard():
        return Guard(world.path, SIGNER.verifier, logs=[world.log], elsewhere=world.elsewhere, now=lambda: 1)

    world.guard = guard
    return world


def keep(world):
    copy = world.path.with_name(f"{world.path.name}-kept")
    shutil.copytree(world.path, copy)
    return copy


def stored(world):
    return look(world.path, SIGNER.name).head()


def back(world, copy):
    shutil.rmtree(world.path)
    shutil.copytree(copy, world.path)


def test_the_notes_follow_what_is_published(guarded):
    guarded.fill(5)

    assert "\n5\n" in guarded.elsewhere.read_text()
    assert guarded.elsewhere.read_bytes() == (guarded.path / "high-water").read_bytes()


def test_a_log_taken_back_whole_signs_nothing(guarded):
    guarded.fill(5)
    old = keep(guarded)
    guarded.fill(4)
    back(guarded, old)
    before = stored(guarded)

    with pytest.raises(TamperDetected, match="shows 9 entries"):
        guarded.fill(1)

    assert stored(guarded) == before


def test_the_same_log_without_its_guard_signs_a_second_history(guarded):
    """The control: two checkpoints of ten entries, both by the log's key, with different roots."""
    guarded.fill(5)
    old = keep(guarded)
    guarded.fill(5)
    one = guarded.verify().checkpoint
    back(guarded, old)
    guarded.guard = None
    guarded.fill(5)
    other = guarded.verify().checkpoint

    assert one.size == other.size
    assert one.root != other.root


def test_a_lost_database_begins_no_new_log(guarded):
    guarded.fill(5)
    for path in guarded.path.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    with pytest.raises(TamperDetected, match=r"ledger\.db has 0"):
        guarded.fill(1)


def test_an_alarm_while_it_runs_stops_the_log_and_is_kept(guarded, make_entry):
    async def scene(ledger):
        await ledger.append(make_entry("one"))
        ledger.alarm(TamperDetected("a witness saw more", evidence=ledger.head().note, next_step="look there"))
        with pytest.raises(LedgerUnavailable, match="a witness saw more; look there"):
            await ledger.append(make_entry("two"))

    guarded.run(scene)

    assert json.loads((guarded.path / "alarm.json").read_bytes())["why"] == "a witness saw more"


def test_a_receipt_that_the_log_contradicts_stops_it_and_one_that_it_keeps_does_not(guarded, make_entry):
    guarded.fill(5)
    old = keep(guarded)
    held = []

    async def more(ledger):
        held.append(await ledger.append(make_entry("one")))

    async def confronted(ledger):
        mine = await ledger.append(make_entry("another"))
        assert ledger.hold(decode(header(mine))).index == mine.index
        with pytest.raises(TamperDetected, match="the log was rewritten: the receipt of entry 5"):
            ledger.hold(decode(header(held[0])))
        with pytest.raises(LedgerUnavailable, match="stopped"):
            await ledger.append(make_entry("two"))

    guarded.run(more)
    back(guarded, old)
    guarded.elsewhere.unlink()
    guarded.run(confronted)

    assert json.loads((guarded.path / "alarm.json").read_bytes())["evidence"] == held[0].checkpoint.note.decode()
