"""Entries that left the database: read alike, proven alike, and gone from it only when their bundle is sure."""

from __future__ import annotations

import asyncio
import itertools
import shutil

import pytest

from limen.core.errors import Conflict, LedgerUnavailable, TamperDetected
from limen.ledger import sealed
from limen.ledger.repair.examination import examine
from limen.ledger.repair.mend import mend
from limen.ledger.sqlite import SqliteWriter


def filled(world, count, make_entry):
    """A log whose intents all have their outcomes, one second a commit of 100."""
    moments = itertools.count(1_700_000_000)
    world.now = lambda: next(moments)
    world.deadline_s = 10.0

    async def scene(ledger):
        for start in range(0, count - 1, 100):
            some = range(start, min(start + 100, count - 1))
            await ledger.append_all([(make_entry(f"entry {number}"), None) for number in some])
        await ledger.append(make_entry("last but one"))
        ledger.append_soon(make_entry("last"), low_water=None)
        await ledger.flush()

    world.run(scene)


def sealed_up_to(world, below):
    return world.run(lambda ledger: ledger.seal(below))


def everything(world):
    return [raw for _, raw in world.store_of().entries(0, 10**9)]


@pytest.fixture
def log(world, make_entry):
    """1,000 entries and what they are."""
    filled(world, 1000, make_entry)
    world.raws = everything(world)
    return world


def test_sealed_entries_read_as_before_from_every_index(log):
    assert sealed_up_to(log, 800) == (0, 768)

    store = log.store_of()
    assert store.sealed() == 768
    for start, end in [(0, 1001), (0, 1), (255, 257), (300, 300), (700, 900), (767, 768), (768, 769), (900, 2000)]:
        assert list(store.entries(start, end)) == list(enumerate(log.raws))[start:end]
    assert len(list((log.path / "sealed/tile/entries").iterdir())) == 3


def test_sealing_goes_on_where_it_ended_and_never_past_the_low_water_or_the_tail(log, make_entry):
    assert sealed_up_to(log, 300) == (0, 256)
    assert sealed_up_to(log, 300) == (256, 256)
    assert sealed_up_to(log, 10**9) == (256, 768)

    async def scene(ledger):
        await ledger.append_all([(make_entry(f"more {number}"), None) for number in range(600)])
        return await ledger.seal(10**9)

    assert log.run(scene) == (768, 768), "no outcome came since, so the low water has not moved"


def test_a_log_that_ends_with_a_full_bundle_keeps_it(world, make_entry):
    filled(world, 511, make_entry)

    assert sealed_up_to(world, 512) == (0, 256)


def test_the_log_goes_on_over_the_seam(log, make_entry):
    sealed_up_to(log, 800)

    async def scene(ledger):
        await ledger.append_all([(make_entry(f"more {number}"), None) for number in range(300)])
        await ledger.flush()
        return len(list(ledger.entries(ledger.low_water()))), ledger.first_since(0), ledger.head().size

    assert log.run(scene) == (301, 0, 1301)
    assert log.verify().checkpoint.size == 1301
    assert len(everything(log)) == 1301


def test_the_published_log_is_made_again_from_sealed_bundles(log):
    before = {path: path.read_bytes() for path in (log.path / "log/tile").rglob("*") if path.is_file()}
    sealed_up_to(log, 800)
    shutil.rmtree(log.path / "log")

    log.run(lambda ledger: ledger.flush())

    assert {path: path.read_bytes() for path in before if path.exists()} == {
        path: raw for path, raw in before.items() if path.exists()
    }
    assert log.verify().checkpoint.size == 1001


def test_the_index_for_a_moment_is_never_late(log):
    def found():
        return [log.store_of().first_since(1_700_000_000 + second) for second in range(-2, 13)]

    exact = found()
    sealed_up_to(log, 800)

    rounded = found()
    assert all(
        early is late is None or (early is not None and late is not None and early <= late)
        for early, late in zip(rounded, exact, strict=True)
    )
    assert all(late - early < 256 + 100 for early, late in zip(rounded, exact, strict=True) if late is not None)
    assert rounded != exact


def test_whoever_reads_while_it_is_sealed_misses_nothing(log):
    async def scene(ledger):
        slow = ledger.entries(0)
        first = [next(slow) for _ in range(10)]
        other = ledger.entries(200)
        await ledger.seal(800)
        return first + list(slow), list(other)

    whole, rest = log.run(scene)

    assert whole == list(enumerate(log.raws))
    assert rest == list(enumerate(log.raws))[200:]


@pytest.mark.parametrize("where", ["log/tile/entries/001", "log/tile/0/001", "log/tile/1/000.p/3", "ledger.db"])
def test_what_does_not_verify_is_not_sealed(log, where):
    place = log.path / where
    if where == "ledger.db":
        log.edit("UPDATE entry SET raw = x'7b7d' WHERE idx = 300")
    else:
        place.write_bytes(place.read_bytes()[:-40] + bytes(40))

    if where == "log/tile/0/001":
        assert sealed_up_to(log, 800) == (0, 768), "it goes by the tiles above, which are under the signed root"
        return
    with pytest.raises(TamperDetected):
        sealed_up_to(log, 800)

    assert log.store_of().sealed() == 0


def test_rows_stay_until_their_bundle_is_durable(log, monkeypatch):
    """Stopped between the bundle and the rows, sealing is begun again, and finds the same."""

    def stopped(self, seals):
        raise LedgerUnavailable("stopped")

    with monkeypatch.context() as patched:
        patched.setattr(SqliteWriter, "seal", stopped)
        with pytest.raises(LedgerUnavailable):
            sealed_up_to(log, 800)
    assert (log.path / "sealed/tile/entries/000").exists()
    assert log.store_of().sealed() == 0
    assert everything(log) == log.raws

    assert sealed_up_to(log, 800) == (0, 768)
    assert everything(log) == log.raws


def test_rows_that_go_before_their_bundle_is_written_are_missed(log, monkeypatch):
    """The negative control of the order: what the test above would not forgive."""

    def only_the_root(database, number, entries):
        return sealed.Seal(number, sealed.root_of([sealed.leaf_hash(raw) for raw in entries]))

    monkeypatch.setattr("limen.ledger.sqlite.write_sealed", only_the_root)
    sealed_up_to(log, 800)

    with pytest.raises(TamperDetected, match="can't be read"):
        everything(log)


def test_only_the_next_bundles_can_be_sealed_and_some_row_stays(log):
    writer = log.store_of().writer()
    seals = [log.store_of().put_sealed(number, log.raws[number * 256 : (number + 1) * 256]) for number in range(3)]
    try:
        for wrong in ([seals[1]], [seals[0], seals[0]], [seals[0], seals[2]]):
            with pytest.raises(Conflict):
                writer.seal(wrong)
        writer.seal(seals)
    finally:
        writer.close()
    assert everything(log) == log.raws


@pytest.mark.parametrize("damage", ["edited", "cut", "lost"])
def test_damage_to_a_sealed_bundle_is_refused_named_and_mended(log, damage):
    sealed_up_to(log, 800)
    place = log.path / "sealed/tile/entries/001"
    raw = place.read_bytes()
    match damage:
        case "edited":
            place.write_bytes(raw.replace(b"entry 300", b"entry 3oo"))
        case "cut":
            place.write_bytes(raw[: raw.index(b"entry 300")])
        case "lost":
            place.unlink()

    with pytest.raises(TamperDetected) as caught:
        everything(log)
    assert caught.value.index == 256
    with examine(log.path, log.signer.verifier) as found:
        assert found.first_bad == (256 if damage == "lost" else 300)
        assert mend(found)
    assert everything(log) == log.raws
    with examine(log.path, log.signer.verifier) as found:
        assert found.findings == []


def test_rows_are_restored_beside_sealed_bundles(log):
    sealed_up_to(log, 800)
    log.edit("UPDATE entry SET raw = x'7b7d' WHERE idx = 900")

    with examine(log.path, log.signer.verifier) as found:
        assert found.first_bad == 900
        mend(found)

    assert everything(log) == log.raws
    assert log.store_of().sealed() == 768
    with examine(log.path, log.signer.verifier) as found:
        assert found.findings == []


def test_sealing_beside_appends_loses_none(log, make_entry):
    async def scene(ledger):
        async def grow():
            return [await ledger.append(make_entry(f"more {number}")) for number in range(100)]

        receipts, moved = await asyncio.gather(grow(), ledger.seal(800))
        await ledger.flush()
        return receipts, moved

    receipts, moved = log.run(scene)

    assert moved == (0, 768)
    assert [receipt.index for receipt in receipts] == list(range(1001, 1101))
    assert log.verify().checkpoint.size == 1101
    assert len(everything(log)) == 1101
