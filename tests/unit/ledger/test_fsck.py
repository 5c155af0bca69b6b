"""fsck: what it says of a damaged data directory, and what mending may and may not do. The kinds of damage: tests/property."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3

import pytest

from limen.core.errors import TamperDetected
from limen.ledger.repair.examination import examine
from limen.ledger.repair.mend import can_mend, mend


def examined(world):
    with examine(world.path, world.signer.verifier) as found:
        return found


def mended(world):
    with examine(world.path, world.signer.verifier) as found:
        return mend(found)


def rows(path):
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
        return connection.execute("SELECT idx, committed_at, raw FROM entry ORDER BY idx").fetchall()


def head(path):
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
        return connection.execute("SELECT * FROM head").fetchall()


def files(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def filled(world):
    """A log of 700 entries in three commits, closed."""
    for count in (300, 300, 100):
        world.fill(count)
    return world


def test_a_sound_log_has_no_findings_also_while_it_grows(filled, make_entry):
    assert examined(filled).findings == []

    async def scene(ledger):
        for number in range(40):
            await ledger.append(make_entry(f"more {number}"))
            assert examined(filled).findings == []

    filled.run(scene)


def test_examining_changes_nothing(filled):
    before = files(filled.path)
    filled.edit("UPDATE entry SET raw = x'7b7d' WHERE idx = 300")
    changed = files(filled.path)

    examined(filled)

    assert files(filled.path) == changed
    assert changed.keys() == before.keys()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE head SET frontier = x'00'",
        "UPDATE head SET root = zeroblob(32)",
        "UPDATE head SET size = 3",
        "UPDATE head SET note = x'00'",
        "UPDATE head SET low_water = 9999",
        "UPDATE head SET committed_at = 1",
        "DELETE FROM head",
    ],
)
def test_a_head_that_is_hurt_is_made_again_from_its_entries(filled, statement):
    before = head(filled.path / "ledger.db")
    filled.edit(statement)
    assert examined(filled).only_derived

    assert mended(filled)

    assert examined(filled).findings == []
    [old], [new] = before, head(filled.path / "ledger.db")
    assert new[:5] == old[:5]
    filled.fill(10)
    assert filled.verify().checkpoint.size == 710


def test_published_files_that_are_hurt_are_made_again(filled):
    before, rng = files(filled.path / "log"), random.Random("files")
    for name in before:
        place = filled.path / "log" / name
        match rng.randrange(3):
            case 0:
                place.unlink()
            case 1:
                place.write_bytes(place.read_bytes()[:-1])
            case _:
                place.write_bytes(rng.randbytes(100))
    found = examined(filled)
    assert found.findings
    assert found.only_derived

    mended(filled)

    assert examined(filled).findings == []
    after = files(filled.path / "log")
    assert after.keys() >= {"vkey", "checkpoint", "tile/0/000", "tile/0/001", "tile/0/002.p/188", "tile/1/000.p/2"}
    assert all(before[name] == raw for name, raw in after.items())


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entry SET raw = x'7b7d' WHERE idx IN (3, 300, 699)",
        "DELETE FROM entry WHERE idx BETWEEN 200 AND 600",
        "UPDATE entry SET committed_at = 0 WHERE idx = 650",
        "DELETE FROM entry WHERE idx >= 650",
    ],
)
def test_bad_rows_are_restored_from_published_bundles_and_the_damaged_database_is_kept(filled, statement):
    before = rows(filled.path / "ledger.db")
    filled.edit(statement)
    damaged = rows(filled.path / "ledger.db")

    [done] = mended(filled)

    assert "makes the root signed at size 700" in done
    assert examined(filled).findings == []
    assert [(index, raw) for index, _, raw in rows(filled.path / "ledger.db")] == [(index, raw) for index, _, raw in before]
    assert rows(filled.path / "damaged-1" / "ledger.db") == damaged
    filled.fill(10)
    assert filled.verify().checkpoint.size == 710


def test_a_page_of_the_database_that_is_lost_is_restored_too(filled):
    path = filled.path / "ledger.db"
    before, raw = rows(path), path.read_bytes()
    at = raw.index(b"entry 345")
    path.write_bytes(raw[: at - at % 4096] + bytes(4096) + raw[at - at % 4096 + 4096 :])
    assert "can't be read" in examined(filled).findings[0].why

    mended(filled)

    assert [(index, raw) for index, _, raw in rows(path)] == [(index, raw) for index, _, raw in before]
    assert examined(filled).findings == []


def test_a_database_set_back_gets_the_published_entries_again(filled, tmp_path):
    shutil.copy(filled.path / "ledger.db", tmp_path / "older.db")
    filled.fill(100)
    shutil.copy(tmp_path / "older.db", filled.path / "ledger.db")
    assert examined(filled).first_bad == 700

    mended(filled)

    assert examined(filled).findings == []
    assert len(rows(filled.path / "ledger.db")) == 800


def test_a_database_set_back_whose_tiles_are_lost_is_sound_as_far_as_it_goes(filled, tmp_path):
    shutil.copy(filled.path / "ledger.db", tmp_path / "older.db")
    filled.fill(100)
    shutil.copy(tmp_path / "older.db", filled.path / "ledger.db")
    shutil.rmtree(filled.path / "log" / "tile")

    assert min(found.index for found in examined(filled).findings if found.part == "rows") == 700
    refuse_to_mend(filled, "look for a backup")


def refuse_to_mend(world, why):
    before = files(world.path)
    with pytest.raises(TamperDetected, match=f"nothing was mended: .*{why}"):
        mended(world)
    assert files(world.path) == before


def test_a_row_that_no_bundle_has_right_is_not_restored(filled):
    filled.edit("UPDATE entry SET raw = x'7b7d' WHERE idx = 300")
    bundle = filled.path / "log/tile/entries/001"
    bundle.write_bytes(bundle.read_bytes().replace(b"entry 300", b"entry 3oo"))

    refuse_to_mend(filled, "look for a backup")


def test_entries_that_were_rewritten_everywhere_are_noticed_and_left(filled):
    """Only the signed root disagrees: then the frontier narrows it down, and no more can be said."""
    filled.edit("UPDATE entry SET raw = x'7b7d' WHERE idx = 300")
    shutil.rmtree(filled.path / "log" / "tile")

    found = examined(filled)

    [rows_finding] = [finding for finding in found.findings if finding.part == "rows"]
    assert "among entries 0 to 511 at least one" in rows_finding.why
    refuse_to_mend(filled, "look for a backup")


def test_a_second_history_under_the_real_key_is_never_mended(filled, module_world, tmp_path):
    other = module_world(tmp_path / "other")
    other.path.mkdir()
    for count in (300, 400):
        other.fill(count)
    shutil.copy(other.path / "ledger.db", filled.path / "ledger.db")

    assert "fork" in examined(filled).findings[0].why
    refuse_to_mend(filled, "two histories")


def test_rows_past_the_signed_head_are_never_dropped(filled):
    filled.edit("INSERT INTO entry (idx, committed_at, raw) VALUES (700, 1900000000, x'7b7d')")

    assert examined(filled).first_bad == 700
    refuse_to_mend(filled, "may be entries")


def test_without_a_valid_signature_nothing_is_mended(filled):
    filled.edit("UPDATE head SET note = x'00'")
    (filled.path / "log" / "checkpoint").unlink()

    assert can_mend(examined(filled))
    refuse_to_mend(filled, "nothing can be held against it")


# --- what is known elsewhere


def test_a_checkpoint_kept_elsewhere_shows_a_log_that_was_set_back_whole(filled, tmp_path):
    """Database and published log were both restored from an old backup; a note on another disk was not."""
    shutil.copytree(filled.path, tmp_path / "older")
    filled.fill(50)
    kept = filled.log.checkpoint(filled.signer.verifier)
    filled.path = tmp_path / "older"
    assert examined(filled).findings == []

    with examine(filled.path, filled.signer.verifier, elsewhere=[("a note", kept)]) as found:
        assert found.first_bad == 700
        assert "a note shows 750 entries" in found.findings[0].why
        with pytest.raises(TamperDetected, match="known to have had 750"):
            mend(found)


def test_a_checkpoint_kept_elsewhere_shows_a_second_history_under_the_real_key(filled, module_world, tmp_path):
    other = module_world(tmp_path / "other")
    other.path.mkdir()
    other.fill(600)
    kept = other.log.checkpoint(other.signer.verifier)

    with examine(filled.path, filled.signer.verifier, elsewhere=[("a note", kept)]) as found:
        assert "fork: a note" in found.findings[0].why
        with pytest.raises(TamperDetected, match="two histories"):
            mend(found)


def test_entries_that_no_signed_checkpoint_covers_any_more_are_not_given_up(filled, tmp_path):
    """An older checkpoint in both places would be enough to make a whole log of, and 100 entries less."""
    shutil.copytree(filled.path, tmp_path / "older")
    filled.fill(100)
    shutil.copy(tmp_path / "older" / "log" / "checkpoint", filled.path / "log" / "checkpoint")
    filled.edit("DELETE FROM head", "DELETE FROM entry WHERE idx >= 650")

    assert examined(filled).first_bad == 650
    refuse_to_mend(filled, "known to have had 800")


def test_rows_that_read_well_and_differ_are_not_replaced_if_the_database_can_not_speak_for_itself(filled):
    filled.edit("UPDATE entry SET raw = x'7b7d' WHERE idx = 300", "UPDATE head SET note = x'00'")

    refuse_to_mend(filled, "another history")
