"""Every alert arrives, however long the receiver was down; no attempt has the number of another."""

from __future__ import annotations

import json
from collections import defaultdict

import pytest

from limen.watch.book import BOOK, Book, Found
from limen.watch.courier import LONGEST_WAIT_S, Courier, wait_s
from limen.watch.outgoing import Undelivered
from limen.watch.target import Target

FILE = Target(name="kept", kind="file", path="x")
HOUR_S = 3600


def found(n, *, severity=3, again=False):
    raw = json.dumps({"finding_info": {"title": "t", "analytic": {"uid": "bulk-read"}}, "n": n}).encode()
    return Found(f"{n:032x}", n, "bulk-read", severity, n * 1_000_000, 0, "r", again, raw)


class Desk:
    """A receiver that a test shuts and opens, a clock that a test sets, and what arrived: (id, attempt)."""

    def __init__(self):
        self.now_s = 1_000_000
        self.open = True
        self.poison = set()
        self.tried = []
        self.got = []

    def now_us(self):
        return self.now_s * 1_000_000

    def take(self, alert):
        self.tried.append((alert.id, alert.attempt, self.now_s))
        if not self.open or alert.id in self.poison:
            raise Undelivered("shut")
        self.got.append((alert.id, alert.attempt))


@pytest.fixture
def desk():
    return Desk()


@pytest.fixture
def book(tmp_path):
    with Book(tmp_path / BOOK) as book:
        yield book


def courier(desk, book, *, kind=Courier):
    return kind(FILE, desk.take, book=book._path, source="lab", now_us=desk.now_us)


def queue(book, desk, *numbers, **more):
    some = [found(n, **more) for n in numbers]
    book.keep(some, {}, queue=[(each.uid, FILE.name) for each in some], now_us=desk.now_us())


def run(courier, book, desk, seconds):
    """Let time pass, second by second."""
    for _ in range(seconds):
        while courier.step(book):
            pass
        desk.now_s += 1


def test_a_receiver_that_was_down_for_an_hour_has_missed_nothing_and_every_repeat_is_numbered(desk, book):
    way = courier(desk, book)
    desk.open = False
    for n in range(12):
        queue(book, desk, n)
        run(way, book, desk, HOUR_S // 12)
    assert desk.got == []
    desk.open = True
    run(way, book, desk, LONGEST_WAIT_S + 1)
    assert sorted(id_ for id_, _ in desk.got) == [f"{n:032x}" for n in range(12)]
    attempts = defaultdict(list)
    for id_, attempt, _ in desk.tried:
        attempts[id_].append(attempt)
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in attempts.values())
    assert len(attempts[f"{0:032x}"]) < HOUR_S / LONGEST_WAIT_S + 10, "it was not hammered"
    run(way, book, desk, 200)
    assert len(desk.got) == 12, "and nothing is sent once more"


def test_one_that_is_never_taken_does_not_hold_up_the_others(desk, book):
    way = courier(desk, book)
    desk.poison = {f"{0:032x}"}
    queue(book, desk, 0, 1, 2)
    run(way, book, desk, 3)
    queue(book, desk, 3)
    run(way, book, desk, 1)
    assert sorted(id_ for id_, _ in desk.got) == [f"{n:032x}" for n in (1, 2, 3)]
    assert book.deliveries(f"{0:032x}")[0]["last"] == "shut"
    [waiting] = book.waiting()
    assert waiting["waiting"] == 1


class CountsAfterwards(Courier):
    """Control: takes the attempt's number only once it was made, as a naive outbox would."""

    def _number(self, book, due):
        return due.attempts + 1


@pytest.mark.parametrize(("kind", "unmarked"), [(Courier, 0), (CountsAfterwards, 1)])
def test_an_attempt_that_a_crash_cut_off_is_not_repeated_under_its_number(desk, book, kind, unmarked):
    class CrashError(Exception):
        pass

    def taken_and_then_gone(alert):
        desk.take(alert)
        raise CrashError

    queue(book, desk, 7)
    way = kind(FILE, taken_and_then_gone, book=book._path, source="lab", now_us=desk.now_us)
    with pytest.raises(CrashError):
        way.step(book)
    desk.now_s += 5
    courier(desk, book, kind=kind).step(book)
    numbers = [attempt for _, attempt in desk.got]
    assert len(numbers) == 2
    assert len(numbers) - len(set(numbers)) == unmarked


def test_two_processes_never_take_the_same_number(desk, book):
    queue(book, desk, 1)
    due = book.due(FILE.name, desk.now_us())
    assert book.begin(due, FILE.name, again_us=0) == 1
    assert book.begin(due, FILE.name, again_us=0) is None


def test_a_finding_is_queued_once_and_a_clock_that_was_wrong_does_not_hold_it_for_years(desk, book):
    queue(book, desk, 1)
    queue(book, desk, 1)
    desk.now_s -= 50_000_000
    way = courier(desk, book)
    run(way, book, desk, 2)
    assert desk.got == [(f"{1:032x}", 1)]


def test_waits_grow_to_a_minute():
    assert [wait_s(n) for n in (1, 2, 3, 7, 50)] == [1, 2, 4, 60, 60]


def test_a_book_that_is_damaged_is_made_anew_and_one_that_is_busy_is_not(tmp_path, desk):
    path = tmp_path / BOOK
    path.write_bytes(b"no database at all, but long enough to look like one" * 40)
    with Book(path) as book:
        queue(book, desk, 1)
        with Book(path) as other:
            assert [each.uid for each in other.findings()] == [f"{1:032x}"]
    assert path.stat().st_mode & 0o777 == 0o600
