"""The reader of a real log: what it finds it finds once, and again from the log; what is gone it says."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time

import msgspec
import pytest

from inprocess import DESK, a_gateway, a_session
from limen.catalog.changes import TierSet
from limen.core.errors import Invalid, LimenError, NotFound
from limen.core.types import Action, Client, Span
from limen.privacy.erasure import erase
from limen.privacy.retention import expire
from limen.watch import rules as r
from limen.watch.book import BOOK, Book
from limen.watch.target import Target
from limen.watch.watch import Source, Watch

DAY_US = r.DAY_US
KEY = "orchid-sft-v3/sft.jsonl"
KEPT = Target(name="kept", kind="file", path="alerts.jsonl", least="low")


def watching(gateway, *, rules=None, targets=(), now_us=None):
    custody = gateway.custody
    return Watch(
        Source(custody.ledger, custody.catalog),
        gateway.config.data,
        origin=gateway.config.ledger.origin,
        rules=rules or r.Rules(),
        targets=targets,
        now_us=now_us or custody.clock.now_us,
    )


def read_up(watch):
    with Book(watch.path) as book:
        watch.catch_up(book)
        watch._note(book)


async def head(gateway, session, client=DESK):
    delivery = await gateway.access.open(
        session, KEY, choose=lambda copy, modified: Span(200, 0, 0), client=client, action=Action.HEAD
    )
    delivery.close()


async def moved(gateway, *, last="10.9.9.9"):
    """Somebody who comes from one network for four days, and then from another."""
    start = gateway.custody.clock.now_us()
    for day in range(5):
        gateway.custody.clock.tell(start + day * DAY_US)
        session = await a_session(gateway, "q03")
        await head(gateway, session, Client("192.0.2.7" if day < 4 else last, "test"))


def in_gateway(tmp_path, what):
    async def run():
        gateway = await a_gateway(tmp_path)
        try:
            await what(gateway)
        finally:
            await gateway.close()

    asyncio.run(run())


def arrived(path):
    deadline = time.monotonic() + 20
    while not (path.exists() and path.read_bytes().endswith(b"\n")) and time.monotonic() < deadline:
        time.sleep(0.01)


def rules_of(watch):
    return [found.rule for found in watch.findings()]


def test_the_network_comes_from_sealed_records_and_is_written_down_nowhere(tmp_path):
    async def what(gateway):
        await moved(gateway)
        watch = watching(gateway)
        read_up(watch)
        assert rules_of(watch) == [r.NETWORK]
        replayed, lines = watch.replay()
        assert (replayed.same, replayed.agrees, replayed.cannot_say) == (1, True, [])
        kept = b"".join(path.read_bytes() for path in tmp_path.glob(f"{BOOK}*"))
        for trace in (b"192.0.2", b"10.9.9"):
            assert trace not in kept
            assert trace not in b"".join(lines)

    in_gateway(tmp_path, what)


def test_control_from_the_same_network_nothing_is_new(tmp_path):
    async def what(gateway):
        await moved(gateway, last="192.0.2.99")
        watch = watching(gateway)
        read_up(watch)
        assert rules_of(watch) == []

    in_gateway(tmp_path, what)


@pytest.mark.parametrize("how", ["erased", "expired"])
def test_once_the_detail_is_gone_a_finding_stays_and_replay_can_not_say(tmp_path, how):
    async def what(gateway):
        await moved(gateway)
        watch = watching(gateway)
        read_up(watch)
        [found] = watch.findings()
        if how == "erased":
            gateway.custody.watcher = watch
            words = {"reason": "case 1", "by": "test", "contact": "x", "end": True}
            await erase(gateway.custody, gateway.authority, "quillwork/q03", **words)
        else:
            await expire(gateway.custody, before=gateway.custody.clock.now() + 10)
        read_up(watch)
        assert watch.findings() == [found]
        replayed, lines = watch.replay()
        assert replayed.cannot_say == [found.uid]
        assert (replayed.agrees, lines) == (True, [])
        assert watch._fold.networks.people == {} if how == "erased" else True

    in_gateway(tmp_path, what)


def test_a_finding_that_the_log_does_not_bear_out_is_told(tmp_path):
    async def what(gateway):
        session = await a_session(gateway, "q03")
        watch = watching(gateway)
        read_up(watch)
        with Book(watch.path) as book:
            book._connection.execute(
                "INSERT INTO finding VALUES ('f00', 1, 'bulk-read', 3, 5, 5, :r, 0, x'7b7d')", {"r": watch.rules.digest()}
            )
        replayed, _ = watch.replay()
        assert (replayed.missing, replayed.agrees) == (["f00"], False)
        for number in range(25):
            with pytest.raises(LimenError):
                await gateway.access.open(session, f"nothing/{number}", choose=lambda c, m: Span(200, 0, 0), client=DESK)
        read_up(watch)
        with Book(watch.path) as book:
            [found] = [each for each in book.findings() if each.rule == r.ENUMERATION]
            book._connection.execute("UPDATE finding SET raw = x'7b7d' WHERE uid = :uid", {"uid": found.uid})
        assert watch.replay()[0].different == [found.uid]
        with Book(watch.path) as book:
            book._connection.execute("DELETE FROM finding")
        assert watch.replay()[0].new == [found.uid]

    in_gateway(tmp_path, what)


def test_it_goes_on_from_its_note_and_finds_nothing_twice(tmp_path):
    async def what(gateway):
        session = await a_session(gateway, "q03")
        for number in range(45):
            with pytest.raises(LimenError):
                await gateway.access.open(session, f"nothing/{number}", choose=lambda c, m: Span(200, 0, 0), client=DESK)
            watch = watching(gateway, targets=(KEPT,))
            with Book(watch.path) as book:
                watch.catch_up(book)
                if number % 3:  # else a crash before it noted how far it was
                    watch._note(book)
        assert rules_of(watch) == [r.ENUMERATION]
        assert watch.status()["waiting"] == [{"target": "kept", "waiting": 1, "attempts": 0}]
        assert watch.status()["read"] == watch.status()["entries"]

    in_gateway(tmp_path, what)


def test_findings_of_other_thresholds_are_told_apart_and_not_sent_again(tmp_path):
    async def what(gateway):
        await moved(gateway)
        read_up(first := watching(gateway))
        strict = msgspec.structs.replace(first.rules, misses=3)
        read_up(second := watching(gateway, rules=strict, targets=(KEPT,)))
        replayed, _ = second.replay()
        assert (replayed.other_rules, replayed.same, replayed.agrees) == (1, 0, True)
        assert second.status()["waiting"] == []

    in_gateway(tmp_path, what)


@pytest.mark.parametrize(("hours", "told"), [(2, 1), (40, 0)])
def test_a_book_made_anew_tells_the_last_day_again_and_marks_it(tmp_path, hours, told):
    async def what(gateway):
        await moved(gateway)
        told_us = gateway.custody.clock.story_us()
        read_up(watch := watching(gateway, targets=(KEPT,), now_us=lambda: told_us + hours * 3_600_000_000))
        assert [found.again for found in watch.findings()] == [True]
        assert sum(row["waiting"] for row in watch.status()["waiting"]) == told

    in_gateway(tmp_path, what)


def test_a_thread_reads_and_sends_and_ends_when_it_is_told(tmp_path):
    async def what(gateway):
        watch = watching(gateway, targets=(KEPT,))
        gateway.custody.watcher = watch
        watch.start()
        await moved(gateway)
        watch.notice()
        await asyncio.to_thread(arrived, tmp_path / KEPT.path)
        watch.close()
        assert (tmp_path / KEPT.path).read_text().count("\n") == 1
        watch.close()

    in_gateway(tmp_path, what)


def test_a_finding_is_named_by_how_its_id_begins(tmp_path):
    async def what(gateway):
        watch = watching(gateway)
        read_up(watch)
        with Book(watch.path) as book:
            for uid in ("aa1", "aa2"):
                book._connection.execute("INSERT INTO finding VALUES (:uid, 1, 'x', 3, 5, 5, 'r', 0, x'7b7d')", {"uid": uid})
        assert watch.finding("aa1")[0].uid == "aa1"
        with pytest.raises(Invalid, match="names of 2"):
            watch.finding("aa")
        with pytest.raises(NotFound):
            watch.finding("b")

    in_gateway(tmp_path, what)


def test_the_gateways_own_refusals_are_read_as_what_they_are(tmp_path):
    async def what(gateway):
        tight = TierSet(name="internal", granted_by=("owner",), session_s=3600, hardware_key=False, export_bytes_day=10)
        await gateway.authority.change([tight], by="test")
        session = await a_session(gateway, "q03")
        whole = {"choose": lambda copy, modified: Span(200, 0, copy.length), "client": DESK}
        for path in (KEY, "aurelia-core/weights", "quill-assessments/x", "nothing/here"):
            with pytest.raises(LimenError):
                await gateway.access.open(session, path, **whole)
        watch = watching(gateway)
        read_up(watch)
        assert rules_of(watch) == [r.QUOTA]
        person = watch._fold.state.people["orchid"][session.pseudonym]
        assert set(person.denied) == {"aurelia-core"}
        assert sum(person.misses.values()) == 2, "a drop box that gives nothing back is no miss"

    in_gateway(tmp_path, what)


def test_threads_that_open_a_new_book_at_once_all_get_it(tmp_path):
    refused = []

    def opens(path):
        try:
            Book(path).close()
        except sqlite3.Error as e:
            refused.append(e)

    for number in range(60):
        threads = [threading.Thread(target=opens, args=(tmp_path / f"{number}.db",)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert refused == []
