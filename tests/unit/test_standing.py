"""What the log adds up to: the same from a note as from the whole log, wherever the note was made."""

import asyncio
import hashlib
import itertools
import json
import random

import pytest

from limen import standing
from limen.core import events
from limen.core.errors import TamperDetected
from limen.formats.note import Signer
from limen.ledger.ledger import Ledger
from limen.standing import Standing

NOW = 1_700_000_000
_salts = itertools.count()


class Log:
    """A ledger that a test lets grow."""

    def __init__(self, directory):
        directory.mkdir()
        signer = Signer("example.com/log", bytes(32))
        self.ledger = Ledger.open(directory, origin=signer.name, signer=signer, now=lambda: NOW)

    def add(self, *entries):
        asyncio.run(self.ledger.append_all([(raw, None) for raw in entries]))
        return self

    def standing(self, path, *, now=NOW):
        return Standing.of(path, self.ledger, now=now)


@pytest.fixture
def log(tmp_path):
    log = Log(tmp_path / "log")
    yield log
    asyncio.run(log.ledger.close())


def entry(kind, at=NOW, **fields):
    return events.encode(kind, at * 1_000_000, next(_salts).to_bytes(16, "big"), fields)


def read(who="p-1", start=0, end=100, at=NOW, **more):
    return entry("access.intent", at, action="read", who=who, asset="a", status=206, shard="s", span=[start, end], **more)


def outcome(of, sent, at=NOW):
    return entry("access.outcome", at, of=of, sent=sent, end="complete")


def history(seed, length=300):
    """A random log: reads that end, stay open or cross midnight, windows, refusals, sessions, changes of authority."""
    draw, log, begun = random.Random(seed), [], []
    for index in range(length):
        at = NOW + 400 * index  # goes over a day's end
        match draw.randrange(8):
            case 0 | 1 | 2:
                log.append(read(f"p-{draw.randrange(3)}", 0, draw.randrange(1, 1000), at))
                begun.append((index, 1))
            case 3:
                log.append(entry("access.intent", at, action="read", who="p-w", asset="w", status=200, run=[["x", 40], ["y", 2]]))
                begun.append((index, 50))
            case 4 | 5 if begun:
                of, most = begun.pop(draw.randrange(len(begun)))
                log.append(outcome(of, draw.randrange(most + 1), at))
            case 6:
                log.append(
                    entry("session.start", at, session=f"s{index}", who="p-1", project="o", until=at + 4000, strength="single")
                )
            case 7:
                log.append(entry(draw.choice(["access.refusal", "project.add", "grant.end", "access.unresolved"]), at, who="p-1"))
            case _:
                log.append(entry("access.intent", at, action="head", who="p-1", asset="a", status=200))
    return log


def told(found):
    """All that a start takes from it."""
    alive = {index for index, begun in found.sessions.items() if begun["until"] > NOW + 100_000}
    return found.upto, found.quota.day(), list(found.open.items()), alive


@pytest.mark.parametrize("seed", range(4))
def test_from_a_note_the_log_adds_up_to_the_same_as_from_its_beginning(tmp_path, log, seed):
    entries, notes = history(seed), {}
    for start, end in itertools.pairwise((0, 1, 57, 150, 299, 300)):
        notes[end] = tmp_path / f"note-{end}"
        log.add(*entries[start:end]).standing(notes[end]).keep(now=NOW, closing=True)
    whole = log.standing(tmp_path / "none")

    for end, note in notes.items():
        resumed = log.standing(note)

        assert resumed._noted == end, "the note was used"
        assert told(resumed) == told(whole)
        for applied in (-1, *whole._changes):
            needed = [change for change in whole._changes if change > applied]
            assert resumed.first_change_after(applied) <= (needed[0] if needed else whole.upto)


def test_when_every_change_is_in_the_tables_nothing_before_the_note_is_looked_at_again(tmp_path, log):
    log.add(entry("project.add"), *(read() for _ in range(50))).standing(tmp_path / "note").keep(now=NOW, closing=True)

    resumed = log.add(read(), entry("grant.end"), read()).standing(tmp_path / "note")

    assert resumed.first_change_after(0) == 52
    assert resumed.first_change_after(52) == 54
    assert resumed.first_change_after(-1) == 0


def test_a_start_reads_only_what_came_after_the_note(tmp_path, log, monkeypatch):
    log.add(*(read() for _ in range(40))).standing(tmp_path / "note").keep(now=NOW, closing=True)
    log.add(read())
    looked_at, entries = [], log.ledger.entries
    monkeypatch.setattr(log.ledger, "entries", lambda *bounds: looked_at.append(bounds) or entries(*bounds))

    log.standing(tmp_path / "note")

    assert looked_at == [(39, 40), (40,)]


def flip(raw):
    return raw.replace(b'"upto":40', b'"upto":30')


def cut(raw):
    return raw[:-20]


def resign(raw, **other):
    body = events.canonical({**json.loads(raw.split(b"\n")[1]), **other})
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def later(raw):
    return resign(raw, upto=41)


def newer(raw):
    return resign(raw, v=2)


def of_another_log(raw):
    return resign(raw, leaf="00" * 32)


def without_a_part(raw):
    return resign(raw, open=None)


def emptied(_):
    return b""


@pytest.fixture
def noted(tmp_path, log):
    """A note of forty reads of ten bytes."""
    log.add(*(read(end=10) for _ in range(40))).standing(tmp_path / "note").keep(now=NOW, closing=True)
    return tmp_path / "note"


@pytest.mark.parametrize("spoil", [flip, cut, later, newer, of_another_log, without_a_part, emptied])
def test_a_note_that_does_not_fit_is_not_believed(log, noted, spoil):
    noted.write_bytes(spoil(noted.read_bytes()))

    found = log.standing(noted)

    assert found._noted == 0
    assert found.quota.taken("p-1", "a", now=NOW) == 400


def test_a_wrong_note_that_is_believed_would_be_noticed(log, noted):
    noted.write_bytes(resign(noted.read_bytes(), taken=[]))

    assert log.standing(noted).quota.taken("p-1", "a", now=NOW) != 400


def test_a_note_is_written_after_so_many_entries_and_at_the_end(tmp_path, log, monkeypatch):
    monkeypatch.setattr(standing, "NOTED_EVERY", 8)
    path = tmp_path / "note"
    found = log.add(*(read() for _ in range(5))).standing(path)
    found.keep(now=NOW)
    assert not path.exists()
    log.add(*(read() for _ in range(5)))
    found.keep(now=NOW)
    first = path.read_bytes()
    log.add(read())
    found.keep(now=NOW)
    assert path.read_bytes() == first
    found.keep(now=NOW, closing=True)
    assert path.read_bytes() != first


def test_a_note_forgets_sessions_that_are_over(tmp_path, log):
    log.add(entry("session.start", until=NOW + 10), entry("session.start", until=NOW + 20))
    log.standing(tmp_path / "note").keep(now=NOW + 10, closing=True)

    assert list(log.standing(tmp_path / "note").sessions) == [1]


@pytest.mark.parametrize("bad", [b'{"kind":"access.intent"', b"[]", b'{"kind":"access.outcome"}', b'{"no":"kind"}'])
def test_an_entry_that_can_not_be_read_is_named_and_not_passed_over(tmp_path, log, bad):
    log.add(read(), bad)
    with pytest.raises(TamperDetected) as found:
        log.standing(tmp_path / "note")
    assert found.value.index == 1


def test_reads_of_content_and_writes_without_an_outcome_are_open(tmp_path, log):
    found = log.add(
        read(),  # 0: has its outcome
        read(),  # 1: open
        entry("access.intent", action="head", status=200),  # 2: needs none
        entry("access.intent", action="read", status=304),  # 3: needs none
        entry("access.intent", action="write", asset="drop"),  # 4: open
        entry("access.refusal", action="read", rule="pause"),  # 5: needs none
        outcome(0, 10),
        entry("session.start", name='"kind":"access.refusal"', until=1),  # only looks like one
    ).standing(tmp_path / "note")

    assert list(found.open) == [1, 4]
    assert list(found.sessions) == [7]


def test_without_a_note_a_start_begins_where_the_oldest_open_intent_or_the_day_does(tmp_path, log, monkeypatch):
    log.add(read(), read())
    monkeypatch.setattr(Standing, "catch_up", lambda _: None)

    def begun(now):
        return log.standing(tmp_path / "none", now=now).upto

    assert begun(NOW) == 0
    assert begun(NOW + 10 * 86_400) == 0, "an intent is open still"

    async def end():
        log.ledger.append_soon(outcome(0, 1), low_water=None)
        await log.ledger.flush()

    asyncio.run(end())
    assert begun(NOW + 10 * 86_400) == 2
    assert begun(NOW) == 0, "what was taken on this day counts"
