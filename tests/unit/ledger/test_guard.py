"""The guard: what it notes, what it refuses, and how an alarm ends."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import threading
import time

import pytest

from limen.core.errors import Conflict, Invalid, TamperDetected
from limen.formats import checkpoint as checkpoints
from limen.formats import note
from limen.formats.note import Signer
from limen.ledger.rollback import guard as guards
from limen.ledger.rollback.guard import Guard
from limen.ledger.sqlite import SqliteStore

LOG = "example.com/log"
SIGNER = Signer(LOG, bytes(32))


def store_of(world):
    return SqliteStore.to_look_at(world.path / "ledger.db", LOG)


@pytest.fixture
def elsewhere(tmp_path_factory):
    return tmp_path_factory.mktemp("another-disk") / "high-water"


@pytest.fixture
def guarded(world, elsewhere):
    """A guard over the world's data directory, as a new process would make it."""

    def make(signer=SIGNER):
        return Guard(world.path, signer.verifier, logs=[world.log], elsewhere=elsewhere, now=lambda: 1_700_000_000)

    return make


def admitted(world, guard):
    store = store_of(world)
    guard.admit(store.head(), store)
    return store.head()


def noted(world, guard, *, alarms=None):
    """Let the guard note the newest head, and end."""
    head = admitted(world, guard)
    guard.start(head, (alarms if alarms is not None else []).append)
    guard.close(timeout_s=5)
    return head


def kept(world):
    return world.path.with_name(f"{world.path.name}-kept")


def back(world):
    """Take the whole data directory back to what it was when `kept` was made."""
    shutil.rmtree(world.path)
    shutil.copytree(kept(world), world.path)


def keep(world):
    shutil.copytree(world.path, kept(world))


def test_both_places_hold_the_newest_published_checkpoint(world, guarded, elsewhere):
    world.fill(5)
    head = noted(world, guarded())

    for place in (world.path / "high-water", elsewhere):
        assert place.read_bytes() == head.checkpoint.note


def test_a_data_directory_taken_back_whole_is_refused_by_the_note_elsewhere(world, guarded, elsewhere):
    world.fill(5)
    noted(world, guarded())
    keep(world)
    world.fill(4)
    noted(world, guarded())
    back(world)

    with pytest.raises(TamperDetected, match=f"set back: the high-water note {elsewhere} shows 9 entries") as refused:
        admitted(world, guarded())

    assert "new-epoch" in refused.value.next_step
    alarm = json.loads((world.path / "alarm.json").read_bytes())
    assert (alarm["schema"], alarm["first_bad"], alarm["raised_at"]) == ("limen/alarm/v1", 5, 1_700_000_000)
    assert alarm["log"]["size"] == 5
    assert "\n9\n" in alarm["evidence"]


def test_without_the_note_elsewhere_the_same_directory_is_believed(world, guarded, elsewhere):
    """The control: nothing inside a directory can tell that all of it is old."""
    world.fill(5)
    noted(world, guarded())
    keep(world)
    world.fill(4)
    noted(world, guarded())
    back(world)
    elsewhere.unlink()

    assert admitted(world, guarded()).size == 5


@pytest.mark.parametrize("left", ["high-water", "log"])
def test_a_database_taken_back_alone_is_refused_by_what_lies_beside_it(world, guarded, elsewhere, left):
    world.fill(5)
    keep(world)
    world.fill(4)
    noted(world, guarded())
    shutil.copy(kept(world) / "ledger.db", world.path / "ledger.db")
    elsewhere.unlink()
    if left == "log":
        (world.path / "high-water").unlink()
    else:
        shutil.rmtree(world.path / "log")

    with pytest.raises(TamperDetected, match="shows 9 entries"):
        admitted(world, guarded())


def test_an_alarm_stands_without_the_note_that_raised_it(world, guarded, elsewhere):
    world.fill(5)
    keep(world)
    world.fill(4)
    noted(world, guarded())
    back(world)
    with pytest.raises(TamperDetected):
        admitted(world, guarded())
    elsewhere.unlink()

    with pytest.raises(TamperDetected, match="the alarm that stands shows 9 entries"):
        admitted(world, guarded())


def test_an_alarm_ends_when_the_newest_database_is_back_and_is_remembered(world, guarded, tmp_path_factory):
    newest = tmp_path_factory.mktemp("newest") / "data"
    world.fill(5)
    keep(world)
    world.fill(4)
    noted(world, guarded())
    shutil.copytree(world.path, newest)
    back(world)
    with pytest.raises(TamperDetected):
        admitted(world, guarded())
    shutil.copy(newest / "ledger.db", world.path / "ledger.db")

    assert admitted(world, guarded()).size == 9
    assert not (world.path / "alarm.json").exists()
    assert "set back" in (world.path / "alarm.json.ended").read_text()


def test_an_alarm_without_evidence_ends_only_after_every_entry_was_hashed(world, guarded):
    world.fill(5)
    guarded().keep(TamperDetected("somebody else's head"), None)
    with contextlib.closing(sqlite3.connect(world.path / "ledger.db")) as connection, connection:
        [(raw,)] = connection.execute("SELECT raw FROM entry WHERE idx = 2").fetchall()
        connection.execute("UPDATE entry SET raw = x'00' WHERE idx = 2")

    with pytest.raises(TamperDetected, match="do not make the root"):
        admitted(world, guarded())
    with contextlib.closing(sqlite3.connect(world.path / "ledger.db")) as connection, connection:
        connection.execute("UPDATE entry SET raw = ? WHERE idx = 2", (raw,))
    assert admitted(world, guarded()).size == 5


def test_an_alarm_that_can_not_be_read_stands(world, guarded):
    world.fill(5)
    (world.path / "alarm.json").write_text("{")

    with pytest.raises(TamperDetected, match="can't be read"):
        admitted(world, guarded())


def test_the_alarm_with_the_furthest_evidence_is_kept(world, guarded):
    world.fill(3)
    near = store_of(world).head().checkpoint
    world.fill(3)
    far = store_of(world).head().checkpoint
    guard = guarded()
    for why in (TamperDetected("far", evidence=far.note), TamperDetected("near", evidence=near.note), TamperDetected("none")):
        guard.keep(why, None)

    assert json.loads((world.path / "alarm.json").read_bytes())["why"] == "far"


@pytest.mark.parametrize("raw", [b"", b"\xff", b"example.com/log\n7\n", b"nonsense\n\nmore\n"])
def test_a_note_that_is_none_is_refused_and_not_overwritten(world, guarded, elsewhere, raw):
    world.fill(5)
    elsewhere.write_bytes(raw)

    with pytest.raises(TamperDetected, match="how long the log was can't be said"):
        admitted(world, guarded())
    assert elsewhere.read_bytes() == raw


def test_another_log_s_note_is_refused(world, guarded, elsewhere):
    world.fill(5)
    other = Signer("example.com/other", bytes(32))
    elsewhere.write_bytes(note.sign(checkpoints.encode(other.name, 1, bytes(32)), other))

    with pytest.raises(TamperDetected, match=r"is a note of example\.com/other"):
        admitted(world, guarded())


def test_a_place_whose_disk_is_not_there_is_refused(world, guarded, elsewhere):
    world.fill(5)
    elsewhere.parent.rmdir()

    with pytest.raises(Invalid, match="is its disk mounted"):
        admitted(world, guarded())


def test_an_unfinished_epoch_is_refused(world, guarded):
    world.fill(5)
    (world.path / "epoch.next").write_text("{}")

    with pytest.raises(Conflict, match="new-epoch"):
        guarded().ready()


def test_a_note_that_a_second_process_moved_ahead_while_we_run_is_an_alarm_and_stays(world, guarded, elsewhere):
    """Two copies of one machine share the second place, and each finds the other's notes there."""
    world.fill(5)
    noted(world, guarded())
    keep(world)
    ours = guarded()
    head = admitted(world, ours)
    world.fill(4)
    theirs = noted(world, guarded())
    back(world)
    (world.path / "high-water").unlink()
    alarms = []

    ours.start(head, alarms.append)
    ours.close(timeout_s=5)

    assert ["shows 9 entries" in str(why) for why in alarms] == [True]
    assert elsewhere.read_bytes() == theirs.checkpoint.note


def test_a_place_that_can_not_be_written_is_told_and_tried_again(world, guarded, elsewhere, monkeypatch):
    monkeypatch.setattr(guards, "RETRY_S", 0.01)
    real, full, tried = guards.write_durably, [True], threading.Event()

    def write(path, raw):
        if full and path == elsewhere:
            tried.set()
            raise OSError("no room")
        real(path, raw)

    monkeypatch.setattr(guards, "write_durably", write)
    world.fill(5)
    guard = guarded()
    head = admitted(world, guard)
    guard.start(head, [].append)
    assert tried.wait(5)
    deadline = time.monotonic() + 5
    while not any(each.error for each in guard.progress()):
        assert time.monotonic() < deadline
    assert [(each.size, each.error) for each in guard.progress()] == [(5, ""), (None, "no room")]

    full.clear()
    while [each.size for each in guard.progress()] != [5, 5]:
        assert time.monotonic() < deadline

    guard.close(timeout_s=5)
    assert elsewhere.read_bytes() == head.checkpoint.note


def test_the_note_of_an_earlier_epoch_is_kept_beside_the_new_one(world, guarded, elsewhere):
    world.fill(5)
    earlier = Signer("example.com/log", bytes(32))
    elsewhere.write_bytes(note.sign(checkpoints.encode(earlier.name, 77, bytes(32)), earlier))
    signer = Signer("example.com/log/epoch-1", bytes(32))
    guard = guarded(signer)
    with contextlib.closing(sqlite3.connect(world.path / "ledger.db")) as connection, connection:
        connection.execute("UPDATE head SET origin = ?", (signer.name,))
    store = SqliteStore.to_look_at(world.path / "ledger.db", signer.name)
    head = store.head()

    guard.admit(head, store)
    guard.start(head, [].append)
    guard.close(timeout_s=5)

    assert "\n77\n" in elsewhere.with_name("high-water.epoch-0").read_text()
    assert elsewhere.read_bytes() == head.checkpoint.note
