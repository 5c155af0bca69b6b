"""A file that follows from the log: caught up, made anew, never ahead of a log that lost what it read."""

from __future__ import annotations

import sqlite3

import pytest

from limen.core import events
from limen.core.errors import Failed
from limen.derived import Derived


class Log:
    def __init__(self, *words, kind="bom.add"):
        self.raw = [entry(word, kind=kind) for word in words]

    def entries(self, start=0, end=None):
        return iter(list(enumerate(self.raw))[start:end])


def entry(word, *, kind="bom.add"):
    return events.encode(kind, 1, bytes(16), {"word": word})


class Words:
    name = "words"
    schema = "CREATE TABLE word (entry INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT"
    kinds = ("bom.add", "audit.")

    def __init__(self, version=1, fails_at=None):
        self.version = version
        self.fails_at = fails_at
        self.seen = 0

    def add(self, connection, index, entry):
        if index == self.fails_at:
            raise ValueError("the disk")
        self.seen += 1
        connection.execute("INSERT INTO word VALUES (?, ?)", (index, entry["word"]))


def words(derived):
    with derived.reading() as connection:
        return [row["text"] for row in connection.execute("SELECT text FROM word ORDER BY entry")]


def made(tmp_path, log, fold=None, origin="log.example"):
    return Derived(tmp_path, log, fold or Words(), origin=origin)


def test_it_takes_in_what_came_since_and_nothing_twice(tmp_path):
    log = Log("a", "b")
    derived = made(tmp_path, log)
    assert words(derived) == ["a", "b"]
    log.raw.append(entry("c"))
    assert words(derived) == ["a", "b", "c"]
    derived.close()
    fold = Words()
    assert words(made(tmp_path, log, fold)) == ["a", "b", "c"]
    assert fold.seen == 0


def test_it_sees_the_kinds_it_asked_for_and_no_others(tmp_path):
    log = Log("a")
    log.raw += [entry("draw", kind="audit.draw"), entry('"kind":"bom.add"', kind="scan.run"), entry("other", kind="server.start")]
    assert words(made(tmp_path, log)) == ["a", "draw"]


def test_a_log_that_lost_what_was_read_makes_it_anew(tmp_path):
    derived = made(tmp_path, Log("a", "b", "c"))
    assert words(derived) == ["a", "b", "c"]
    derived.close()
    assert words(made(tmp_path, Log("a", "b"))) == ["a", "b"]  # an older backup
    assert words(made(tmp_path, Log("a", "x"))) == ["a", "x"]  # as long, and another


def test_the_same_is_seen_while_it_is_open(tmp_path):
    log = Log("a", "b", "c")
    derived = made(tmp_path, log)
    assert words(derived) == ["a", "b", "c"]
    log.raw[2] = entry("z")
    assert words(derived) == ["a", "b", "z"]


def test_another_version_or_a_damaged_file_is_made_anew(tmp_path):
    derived = made(tmp_path, Log("a", "b"))
    words(derived)
    derived.close()
    fold = Words(version=2)
    assert words(made(tmp_path, Log("a", "b"), fold)) == ["a", "b"]
    assert fold.seen == 2
    for name in ("words.db", "words.db-wal"):
        (tmp_path / "derived" / name).write_bytes(b"not a database, and long enough to be looked at as one" * 40)
    assert words(made(tmp_path, Log("a", "b"), Words(version=2))) == ["a", "b"]


def test_what_fails_leaves_no_half_batch(tmp_path):
    log = Log("a", "b", "c")
    derived = made(tmp_path, log, Words(fails_at=1))
    with pytest.raises(Failed, match=r"entry 1 \(bom.add\) can't be counted in words.db.*the disk"):
        derived.catch_up()
    derived.close()
    with sqlite3.connect(tmp_path / "derived" / "words.db") as connection:
        assert connection.execute("SELECT count(*) FROM word").fetchone() == (0,)
    connection.close()
    assert words(made(tmp_path, log)) == ["a", "b", "c"]


def test_a_view_does_not_change_while_it_is_open(tmp_path):
    log = Log("a")
    derived = made(tmp_path, log)
    with derived.reading() as connection:
        log.raw.append(entry("b"))
        derived.catch_up()
        assert [row["text"] for row in connection.execute("SELECT text FROM word")] == ["a"]
    assert words(derived) == ["a", "b"]
