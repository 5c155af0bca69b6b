"""Appending and reading: what a receipt promises, and when it is given."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import threading
from concurrent.futures import Future

import pytest

from limen.core.errors import Invalid, LedgerUnavailable
from limen.formats import checkpoint, merkle, note
from limen.formats.note import Signer
from limen.ledger.ledger import Ledger


def test_a_receipt_names_the_entry_and_a_checkpoint_that_the_log_signed(world, make_entry):
    async def scene(ledger):
        raw = make_entry("one")
        receipt = await ledger.append(raw)
        assert receipt.index == 0
        assert receipt.leaf_hash == merkle.leaf_hash(raw)
        text, _ = note.open_note(receipt.checkpoint.note, [world.signer.verifier])
        assert checkpoint.decode(text) == (world.signer.name, 1, receipt.leaf_hash)
        assert ledger.head() == receipt.checkpoint

    world.run(scene)


def test_entries_come_back_in_order_also_after_a_restart(world, make_entry):
    raws = [make_entry(str(i)) for i in range(3000)]

    async def write(ledger):
        for start in range(0, 3000, 500):
            await ledger.append_all([(raw, None) for raw in raws[start : start + 500]])

    async def read(ledger):
        assert list(ledger.entries()) == list(enumerate(raws))
        assert list(ledger.entries(10, 12)) == [(10, raws[10]), (11, raws[11])]
        assert list(ledger.entries(2999, 9999)) == [(2999, raws[2999])]

    world.run(write)
    world.run(read)
    assert world.verify().checkpoint.size == 3000


def test_concurrent_appends_get_dense_indexes_each_its_own(world, make_entry):
    raws = [make_entry(str(i)) for i in range(300)]

    async def scene(ledger):
        receipts = await asyncio.gather(*(ledger.append(raw) for raw in raws))
        stored = dict(ledger.entries())
        assert sorted(receipt.index for receipt in receipts) == list(range(300))
        assert all(stored[receipt.index] == raw for receipt, raw in zip(receipts, raws, strict=True))

    world.run(scene)


def test_entries_appended_together_lie_together(world, make_entry):
    async def scene(ledger):
        groups = await asyncio.gather(*(ledger.append_all([(make_entry(f"{g} {i}"), None) for i in range(5)]) for g in range(20)))
        for group in groups:
            first = group[0].index
            assert [receipt.index for receipt in group] == list(range(first, first + 5))
            assert len({receipt.checkpoint for receipt in group}) == 1

    world.run(scene)


def test_what_queues_during_a_commit_shares_the_next_one_and_one_wake_up(bent, make_entry):
    commits, begun, gate = [], threading.Event(), threading.Event()

    def slow(_, proceed):
        commits.append(1)
        begun.set()
        gate.wait(5)
        proceed()

    async def scene(ledger):
        loop = asyncio.get_running_loop()
        first = asyncio.create_task(ledger.append(make_entry("first")))
        await asyncio.to_thread(begun.wait, 5)
        rest = [asyncio.create_task(ledger.append(make_entry(str(i)))) for i in range(200)]
        await asyncio.sleep(0)
        woken, call = [], loop.call_soon_threadsafe
        loop.call_soon_threadsafe = lambda *a, **k: (woken.append(a[0]), call(*a, **k))[1]
        gate.set()
        await asyncio.gather(first, *rest)
        assert len(woken) == 2

    bent(slow).run(scene)
    assert len(commits) == 2


def test_nothing_is_released_before_the_commit_has_returned(bent, make_entry):
    gate, reached = threading.Event(), threading.Event()

    def held(_, proceed):
        reached.set()
        gate.wait(5)
        proceed()

    async def scene(ledger):
        task = asyncio.create_task(ledger.append(make_entry("one")))
        await asyncio.to_thread(reached.wait, 5)
        await asyncio.sleep(0.05)
        assert not task.done()
        assert ledger.head().size == 0
        assert list(ledger.entries()) == []
        gate.set()
        assert (await task).index == 0

    bent(held).run(scene)


def test_side_records_lie_beside_their_entries(world, make_entry):
    async def scene(ledger):
        await ledger.append(make_entry("plain"))
        await ledger.append(make_entry("with"), {"network": b"sealed", "identity": b"too"})
        await ledger.append_all(
            [(make_entry("a"), {"network": b"A"}), (make_entry("b"), None), (make_entry("c"), {"order": b"C"})]
        )
        assert list(ledger.sides(0, 5)) == [
            (1, "identity", b"too"),
            (1, "network", b"sealed"),
            (2, "network", b"A"),
            (4, "order", b"C"),
        ]
        assert list(ledger.sides(2, 4)) == [(2, "network", b"A")]

    world.run(scene)


def test_side_records_come_back_in_order_over_many_pages(world, make_entry):
    async def scene(ledger):
        await ledger.append_all([(make_entry(str(i)), {"b": b"y" * 40, "a": b"x" * 40}) for i in range(1500)])
        whole, heads = list(ledger.sides(0, 1500)), list(ledger.side_heads(0, 1500))
        assert [(index, name) for index, name, _ in whole] == [(i, name) for i in range(1500) for name in ("a", "b")]
        assert heads == [(index, name, raw[:17]) for index, name, raw in whole]

    world.run(scene)


def test_deleted_side_records_leave_no_byte_in_the_database(world, make_entry):
    def anywhere(needle):
        return any(needle in path.read_bytes() for path in world.path.rglob("*") if path.is_file())

    async def scene(ledger):
        sides = [{"network": b"gone %03d" % i * 9, "order": b"kept %03d" % i * 9} for i in range(300)]
        await ledger.append_all([(make_entry(str(i)), side) for i, side in enumerate(sides)])
        assert anywhere(b"gone 007")
        await ledger.delete_sides([(i, "network") for i in range(300)])
        assert anywhere(b"gone 007"), "the write-ahead log keeps it until it is cut"
        assert await ledger.forget()
        assert not anywhere(b"gone")
        assert anywhere(b"kept 007")
        assert {name for _, name, _ in ledger.sides(0, 300)} == {"order"}
        await ledger.delete_sides([(7, "network")])
        await ledger.append(make_entry("on it goes"))

    world.run(scene)
    world.verify()


def lived_in(world, make_entry):
    """Appends side records of many lengths, deletes some now and then, and says how many deleted bytes are left somewhere."""
    draw = random.Random(5)
    kept, gone = {}, []

    async def scene(ledger):
        while (size := ledger.head().size) < 1_000:
            sides = [
                {
                    name: b"\2" + draw.randbytes(draw.choice([60, 130, 400, 900]))
                    for name in draw.sample("abcde", draw.randint(1, 3))
                }
                for _ in range(draw.randint(1, 60))
            ]
            await ledger.append_all([(make_entry("x"), side) for side in sides])
            kept.update({(size + i, name): raw for i, side in enumerate(sides) for name, raw in side.items()})
            going = [key for key in kept if draw.random() < 0.1]
            await ledger.delete_sides(going)
            gone.extend(kept.pop(key) for key in going)
        assert await ledger.forget()
        assert {(index, name): raw for index, name, raw in ledger.sides(0, ledger.head().size)} == kept

    world.run(scene)
    raw = (world.path / "ledger.db").read_bytes()
    found = {raw[at : at + 16] for at in range(len(raw))}
    return sum(record[at : at + 16] in found for record in gone for at in range(0, len(record) - 16, 16))


def test_no_piece_of_a_deleted_side_record_is_left_however_the_pages_came_to_lie(world, make_entry):
    assert lived_in(world, make_entry) == 0


def test_control_rows_that_are_deleted_leave_pieces_of_their_neighbours_behind(world, make_entry, monkeypatch):
    monkeypatch.setattr("limen.ledger.sqlite._DELETE_SIDE", "DELETE FROM side WHERE idx = :idx AND class = :class")
    assert lived_in(world, make_entry) > 0


def test_a_reader_in_the_way_of_forgetting_is_reported_and_stops_nothing(world, make_entry, monkeypatch):
    monkeypatch.setattr("limen.ledger.ledger.FORGET_TRIES", 2)

    async def scene(ledger):
        await ledger.append(make_entry("one"), {"network": b"x"})
        with contextlib.closing(sqlite3.connect(world.path / "ledger.db", isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM head").fetchall()
            await ledger.delete_sides([(0, "network")])
            assert not await ledger.forget()
            await ledger.append(make_entry("two"))
        assert await ledger.forget()

    world.run(scene)


def test_a_database_of_an_older_schema_is_refused_in_one_sentence(world):
    world.fill(1)
    with contextlib.closing(sqlite3.connect(world.path / "ledger.db")) as connection:
        connection.execute("PRAGMA user_version = 1")
    with pytest.raises(Invalid, match=r"has schema 1, and this limen reads schema 2 only; open it with the limen that wrote it"):
        world.fill(1)


def test_an_entry_that_nobody_waits_for_is_there_after_a_flush_and_published(world, make_entry):
    async def scene(ledger):
        ledger.append_soon(make_entry("soon"), low_water=None)
        await ledger.flush()
        assert ledger.head().size == 1
        assert world.verify().checkpoint.size == 1

    world.run(scene)


def test_a_flush_gives_up_on_a_publisher_that_hangs_and_the_entry_stays(world, make_entry, monkeypatch):
    monkeypatch.setattr("limen.ledger.ledger.FLUSH_S", 0.05)

    async def scene(ledger):
        real = ledger._publisher.reached
        monkeypatch.setattr(ledger._publisher, "reached", lambda size: Future())
        await ledger.append(make_entry("kept"))
        with pytest.raises(LedgerUnavailable, match="tiles were not published within"):
            await ledger.flush()
        assert ledger.head().size == 1
        monkeypatch.setattr(ledger._publisher, "reached", real)
        await ledger.flush()  # the control: nothing else was wrong

    world.run(scene)


def test_closing_commits_what_was_queued(world, make_entry):
    async def scene(ledger):
        for i in range(50):
            ledger.append_soon(make_entry(str(i)), low_water=None)

    world.run(scene)
    assert world.verify().checkpoint.size == 50


def test_the_log_can_be_read_from_the_first_entry_since_a_moment(world, make_entry):
    clock = iter([1000, *range(1000, 1100)])
    world.now = lambda: next(clock)

    async def scene(ledger):
        for i in range(50):
            await ledger.append(make_entry(str(i)))
        for at in (0, 1000, 1007, 1049):
            found = ledger.first_since(at * 1_000_000)
            assert max(0, at - 1000 - 1) == found, "a second early, for times below a second"
        assert ledger.first_since(2000 * 1_000_000) == 50

    world.run(scene)


def test_commit_times_never_run_backwards_even_if_the_clock_does(world, make_entry):
    times = iter([5000, 5000, 5001, 3000, 3001, 5002])
    world.now = lambda: next(times)

    async def scene(ledger):
        for i in range(5):
            await ledger.append(make_entry(str(i)))
        assert ledger.first_since(5003 * 1_000_000) == 4
        assert ledger.first_since(3001 * 1_000_000) == 0

    world.run(scene)


def test_a_log_is_signed_under_its_own_name_only(tmp_path):
    with pytest.raises(RuntimeError):
        Ledger.open(tmp_path, origin="example.com/other", signer=Signer("example.com/log", bytes(32)), now=lambda: 0)


def test_an_entry_too_long_for_a_bundle_is_our_own_mistake(world):
    async def scene(ledger):
        with pytest.raises(RuntimeError):
            await ledger.append(b"x" * 65_536)
        assert (await ledger.append(b"x" * 65_535)).index == 0

    world.run(scene)


def test_a_closed_log_takes_nothing(world, make_entry):
    async def scene(ledger):
        await ledger.close()
        with pytest.raises(LedgerUnavailable):
            await ledger.append(make_entry("late"))
        ledger.append_soon(make_entry("late"), low_water=None)

    world.run(scene)


# --- the low water


def test_the_low_water_follows_the_oldest_open_intent_and_survives_a_restart(world, make_entry):
    async def scene(ledger):
        for i in range(4):
            await ledger.append(make_entry(str(i)))
        ledger.append_soon(make_entry("outcome of 0"), low_water=1)
        await ledger.flush()
        assert ledger.low_water() == 1
        ledger.append_soon(make_entry("outcome of 3"), low_water=1)
        ledger.append_soon(make_entry("outcome of 1 and 2"), low_water=None)
        await ledger.flush()
        assert ledger.low_water() == 5

    async def again(ledger):
        assert ledger.low_water() == 5

    world.run(scene)
    world.run(again)


def test_the_low_water_never_passes_an_intent_that_is_on_its_way_to_its_caller(bent, make_entry):
    held = threading.Event()

    def gate(_, proceed):
        proceed()
        held.wait(5)  # durable, and its caller does not know yet

    async def scene(ledger):
        held.set()
        await ledger.append(make_entry("0"))
        held.clear()
        on_its_way = asyncio.create_task(ledger.append(make_entry("1")))
        await asyncio.sleep(0.05)
        ledger.append_soon(make_entry("outcome of 0"), low_water=None)
        held.set()
        index = (await on_its_way).index
        await ledger.flush()
        assert index == 1
        assert ledger.low_water() <= index

    bent(gate).run(scene)


def test_the_low_water_stays_below_an_intent_that_landed_after_its_caller_gave_up(bent, make_entry):
    gate = threading.Event()

    def slow(_, proceed):
        gate.wait(5)
        proceed()

    async def scene(ledger):
        with pytest.raises(LedgerUnavailable):
            await ledger.append(make_entry("0"))
        gate.set()
        ledger.append_soon(make_entry("1"), low_water=None)
        await ledger.flush()
        assert [index for index, _ in ledger.entries()] == [0, 1]
        assert ledger.low_water() == 0

    bent(slow).deadline_s = 0.1
    bent(slow).run(scene)
