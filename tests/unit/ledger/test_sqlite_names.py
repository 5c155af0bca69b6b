"""The names of the database: a commit into a file that lost its name is noticed, though the files are not looked at each time."""

import os

import pytest

from limen.ledger import sqlite
from limen.ledger.sqlite import _Names


@pytest.fixture
def still(tmp_path, monkeypatch):
    """Names in a directory that nobody has changed for longer than a clock tick; it is looked at, the files are not."""
    monkeypatch.setattr(sqlite, "CLOCK_TICK_S", 0.0)
    for name in ("ledger.db", "ledger.db-wal", "elsewhere"):
        (tmp_path / name).write_bytes(b"")
    names = _Names(tmp_path / "ledger.db", tmp_path / "ledger.db-wal")
    assert names.hold()
    names.looked = []
    names._files, looked_at = lambda: names.looked.append(1) or looked_at(), names._files
    assert names.hold()
    assert not names.looked
    return names


def lose_the_database(directory):
    (directory / "ledger.db").rename(directory / "ledger.bak")


def lose_the_write_ahead_log(directory):
    (directory / "ledger.db-wal").unlink()


def replace_the_database(directory):
    (directory / "elsewhere").replace(directory / "ledger.db")


def move_the_directory(directory):
    directory.rename(directory.with_name("moved"))


@pytest.mark.parametrize("lose", [lose_the_database, lose_the_write_ahead_log, replace_the_database, move_the_directory])
def test_a_name_that_is_lost_is_noticed_at_the_next_commit(still, tmp_path, lose):
    lose(tmp_path)

    assert not still.hold()
    assert not still.hold()


def test_names_that_look_at_nothing_but_the_clock_would_not_notice(still, tmp_path, monkeypatch):
    unchanged = still._seen
    monkeypatch.setattr(sqlite.os, "stat", lambda _: type("Found", (), dict(zip(FIELDS, unchanged, strict=True))))

    lose_the_database(tmp_path)

    assert still.hold()


def test_a_file_beside_them_changes_nothing(still, tmp_path):
    (tmp_path / "elsewhere").rename(tmp_path / "somewhere")

    assert still.hold()
    assert still.looked


def test_within_a_clock_tick_of_a_change_the_files_are_looked_at_each_time(still, tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "CLOCK_TICK_S", 3600.0)
    (tmp_path / "elsewhere").unlink()

    assert still.hold()
    assert still.hold()
    assert len(still.looked) == 2


@pytest.fixture
def coarse(tmp_path, monkeypatch):
    """Names in a directory whose time has stopped: all changes fall into one clock tick. Ours is set by the test."""
    for name in ("ledger.db", "ledger.db-wal"):
        (tmp_path / name).write_bytes(b"")
    stopped, stat = tmp_path.stat(), os.stat
    monkeypatch.setattr(sqlite.os, "stat", lambda path: stopped if path == str(tmp_path) else stat(path))
    names = _Names(tmp_path / "ledger.db", tmp_path / "ledger.db-wal")

    def at(seconds):
        monkeypatch.setattr(sqlite.time, "monotonic", lambda: seconds)
        return names.hold()

    return at


def test_a_second_change_within_one_clock_tick_is_noticed_however_long_the_next_commit_takes(tmp_path, coarse):
    assert coarse(100.0)
    lose_the_database(tmp_path)

    assert not coarse(100.5)


def test_only_a_look_after_the_tick_is_trusted_and_that_for_a_second(tmp_path, coarse):
    assert coarse(100.0)
    assert coarse(100.5)
    lose_the_database(tmp_path)  # no real directory would hide this: the tick is over

    assert coarse(101.4)
    assert not coarse(101.6)


FIELDS = ("st_dev", "st_ino", "st_mtime_ns", "st_ctime_ns")
