"""Publishing: after the commit, again and again the same, and only what verifies."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3

import pytest

from limen.core.errors import LedgerUnavailable, TamperDetected
from limen.formats import tiles
from limen.ledger.publication import places, publisher


def files(world):
    root = world.path / "log"
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def idle(world):
    """Open and close the log: whatever is missing is published."""

    async def scene(ledger):
        await ledger.flush()

    world.run(scene)


def edit(world, statement):
    with contextlib.closing(sqlite3.connect(world.path / "ledger.db")) as connection, connection:
        assert connection.execute(statement).rowcount


def needed(size):
    """The files that a tree of this size has, by the specification's example."""
    names = {"checkpoint", "vkey"}
    for level, width in enumerate(tiles.widths(size)):
        full = size // 256 ** (level + 1)
        names |= {tiles.path(level, index) for index in range(full)}
        names |= {tiles.path(level, full, width)} if width else set()
        if level == 0:
            names |= {tiles.path(None, index) for index in range(full)}
            names |= {tiles.path(None, full, width)} if width else set()
    return names


@pytest.mark.parametrize("size", [1, 255, 256, 257, 512, 700])
def test_the_published_files_are_those_of_the_specification(world, size):
    world.fill(size)

    assert files(world).keys() == needed(size)
    assert world.verify().checkpoint.size == size


def test_growing_in_many_steps_ends_in_the_same_tiles_and_keeps_no_partial_that_a_full_one_replaced(world):
    for count in (1, 100, 154, 1, 1, 255, 300):
        world.fill(count)
        assert world.verify()

    names = files(world).keys()
    assert needed(812) <= names
    assert not [name for name in names if name.startswith(("tile/0/000.p", "tile/entries/001.p"))]


def test_an_empty_log_has_a_signed_checkpoint(world):
    idle(world)

    assert world.verify().checkpoint.size == 0


def test_everything_published_can_be_made_again_from_the_database(world):
    world.fill(700)
    before = files(world)
    shutil.rmtree(world.path / "log")

    idle(world)

    assert files(world) == before


@pytest.mark.parametrize("lost", ["tile/0/001", "tile/entries/000", "checkpoint", "vkey", "tile/1/000.p/2"])
def test_a_part_lost_in_a_crash_is_written_again(world, lost):
    """After a crash no mark says that the tiles are on disk, so they are not trusted."""
    world.fill(700)
    before = files(world)
    (world.path / "log" / lost).write_bytes(b"")
    (world.path / "log.synced").unlink()

    idle(world)

    assert files(world) == before


def test_a_partial_tile_that_a_power_cut_tore_is_written_again_for_readers_of_older_checkpoints(world):
    for count in (3 * 256 + 3, 2 * 256 + 2, 2):
        world.fill(count)
    whole = files(world)
    torn = ["tile/0/005.p/5", "tile/entries/005.p/5", "tile/1/000.p/3"]
    for name in torn:
        (world.path / "log" / name).write_bytes(b"")
    (world.path / "log.synced").write_text("0\n")

    world.fill(1)

    assert {name: files(world)[name] for name in torn} == {name: whole[name] for name in torn}


def test_a_published_log_that_is_whole_is_not_written_again(world, monkeypatch):
    world.fill(300)
    written = []
    monkeypatch.setattr(places, "write", lambda path, raw: written.append(path))

    idle(world)

    assert written == []


def test_growing_over_damaged_tiles_mends_them(world):
    world.fill(700)
    (world.path / "log/tile/0/001").write_bytes(bytes(8192))

    world.fill(5)

    assert world.verify().checkpoint.size == 705


def test_a_database_behind_what_was_published_is_refused(world):
    world.fill(10)
    shutil.copy(world.path / "ledger.db", world.path / "older.db")
    world.fill(1)
    (world.path / "older.db").replace(world.path / "ledger.db")

    with pytest.raises(TamperDetected, match="set back"):
        idle(world)


def test_a_lost_database_does_not_begin_a_new_log_under_an_old_checkpoint(world):
    world.fill(10)
    (world.path / "ledger.db").unlink()

    with pytest.raises(TamperDetected, match="set back"):
        idle(world)


def test_a_history_that_is_not_the_published_one_is_refused_although_its_head_is_signed(world, tmp_path):
    world.fill(300)
    published = tmp_path / "published"
    shutil.move(world.path / "log", published)
    (world.path / "log.synced").unlink()
    (world.path / "ledger.db").unlink()
    world.fill(400)
    shutil.rmtree(world.path / "log")
    shutil.move(published, world.path / "log")

    async def scene(ledger):
        with pytest.raises(LedgerUnavailable):
            await ledger.flush()
        with pytest.raises(LedgerUnavailable, match="stopped"):
            await ledger.append(b"{}")

    world.run(scene)
    assert world.verify().checkpoint.size == 300, "the checkpoint that was out stays"


def test_rows_that_do_not_make_the_signed_root_stop_the_log_and_are_not_published(world):
    world.fill(10)
    edit(world, "UPDATE entry SET raw = CAST(replace(CAST(raw AS TEXT), 'entry', 'ENTRY') AS BLOB) WHERE idx = 4")

    async def scene(ledger):
        await ledger.append(b"{}")
        with pytest.raises(LedgerUnavailable):
            await ledger.flush()
        with pytest.raises(LedgerUnavailable, match="stopped"):
            await ledger.append(b"{}")

    world.run(scene)
    assert world.verify().checkpoint.size == 10


def test_a_directory_that_can_not_be_written_delays_publishing_and_not_the_log(world, monkeypatch):
    monkeypatch.setattr(publisher, "RETRY_S", 0.01)
    real, broken = places.write, [True]

    def write(path, raw):
        if broken and path.name != "vkey":
            raise OSError("no room")
        real(path, raw)

    monkeypatch.setattr(places, "write", write)

    async def scene(ledger):
        for i in range(300):
            ledger.append_soon(f"{i}".encode(), low_water=None)
        assert (await ledger.append(b"{}")).index == 300
        with pytest.raises(LedgerUnavailable, match="can't be published"):
            await ledger.flush()
        broken.clear()
        async with asyncio.timeout(5):
            while True:
                with contextlib.suppress(LedgerUnavailable):
                    await ledger.flush()
                    break

    world.run(scene)
    assert world.verify().checkpoint.size == 301
