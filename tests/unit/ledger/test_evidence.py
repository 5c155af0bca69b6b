"""What a signed checkpoint says about a database: that it was set back, rewritten, or is whole."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3

import pytest

from limen.core import epochs
from limen.core.errors import Invalid, TamperDetected
from limen.formats import checkpoint as checkpoints
from limen.formats import merkle, note
from limen.formats.note import Signer
from limen.ledger.rollback.evidence import Evidence, contradiction, roots
from limen.ledger.sequencer import sign_checkpoint
from limen.ledger.sqlite import SqliteStore

LOG = "example.com/log"
SIGNER = Signer(LOG, bytes(32))


def store_of(world):
    return SqliteStore.to_look_at(world.path / "ledger.db", LOG)


def evidence(world, *, signer=SIGNER):
    """What the newest head of this moment will say later."""
    return Evidence.read(store_of(world).head().checkpoint.note, "a note", verifier=signer.verifier)


def said(world, found, *, origin=LOG):
    return contradiction(found, store_of(world).head(), store_of(world), world.log, origin=origin)


def resign(world, index):
    """Rewrite one entry and sign the whole log again, with the real key."""
    path = world.path / "ledger.db"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE entry SET raw = CAST(raw || x'20' AS BLOB) WHERE idx = ?", (index,))
        leaves = [merkle.leaf_hash(raw) for (raw,) in connection.execute("SELECT raw FROM entry ORDER BY idx")]
        frontier = merkle.Frontier().extended(leaves)
        made = sign_checkpoint(SIGNER, frontier)
        connection.execute("UPDATE head SET root = ?, frontier = ?, note = ?", (made.root, frontier.to_bytes(), made.note))


@pytest.mark.parametrize("first", [1, 255, 256, 300, 512, 700])
@pytest.mark.parametrize("more", [0, 1, 300])
@pytest.mark.parametrize("published", [True, False], ids=["tiles", "no tiles"])
def test_a_log_that_grew_holds_what_it_said_before(world, first, more, published):
    world.fill(first)
    before = evidence(world)
    if more:
        world.fill(more)
    if not published:
        shutil.rmtree(world.path / "log")

    assert said(world, before) is None


def test_the_proof_reads_a_few_tiles_and_the_newest_entries_only(world):
    world.fill(700)
    before = evidence(world)
    world.fill(900)
    store = store_of(world)
    head, read = store.head(), []

    class Counted:
        def entries(self, start, end):
            read.append((start, end))
            return store.entries(start, end)

    assert contradiction(before, head, Counted(), world.log, origin=LOG) is None
    assert read == []


def test_a_shorter_log_was_set_back(world):
    world.fill(10)
    shutil.copy(world.path / "ledger.db", world.path / "older.db")
    world.fill(5)
    newer = evidence(world)
    (world.path / "older.db").replace(world.path / "ledger.db")

    why = said(world, newer)

    assert "set back" in str(why)
    assert "a note shows 15 entries" in str(why)
    assert (why.index, why.evidence) == (10, newer.checkpoint.note)
    assert "new-epoch" in why.next_step


def test_no_log_at_all_was_set_back(world):
    world.fill(3)
    before = evidence(world)

    assert "ledger.db has 0" in str(contradiction(before, None, store_of(world), world.log, origin=LOG))


@pytest.mark.parametrize("grown", [False, True], ids=["same size", "longer"])
@pytest.mark.parametrize("index", [0, 255, 299])
def test_a_log_signed_anew_over_a_rewritten_entry_names_the_entry(world, index, grown):
    world.fill(300)
    before = evidence(world)
    if grown:
        world.fill(500)
    resign(world, index)

    why = said(world, before)

    assert f"its entry {index} is not the one that was published" in str(why)
    assert why.index == index


def test_rewritten_tiles_hide_which_entry_and_not_that_one_was_rewritten(world):
    world.fill(300)
    before = evidence(world)
    resign(world, 7)
    shutil.rmtree(world.path / "log")
    world.fill(300)

    why = said(world, before)

    assert "another root" in str(why)
    assert why.index == -1


def test_rows_that_do_not_make_the_signed_root_are_found_when_the_tiles_do_not_help(world):
    world.fill(300)
    before = evidence(world)
    world.fill(1)
    shutil.rmtree(world.path / "log")
    with contextlib.closing(sqlite3.connect(world.path / "ledger.db")) as connection, connection:
        connection.execute("UPDATE entry SET raw = x'00' WHERE idx = 12")

    assert "do not make the root" in str(said(world, before))


def test_a_missing_row_is_named(world):
    world.fill(20)
    with contextlib.closing(sqlite3.connect(world.path / "ledger.db")) as connection, connection:
        connection.execute("DELETE FROM entry WHERE idx = 12")

    with pytest.raises(TamperDetected, match="entry 12 is missing"):
        roots(store_of(world), [20])


def test_a_later_epoch_s_note_says_that_the_log_went_on(world):
    world.fill(3)
    later = Signer(f"{LOG}/epoch-2", bytes(32))
    note_ = note.sign(checkpoints.encode(later.name, 2, bytes(32)), later)
    found = Evidence.read(note_, "a note", verifier=SIGNER.verifier)

    assert "set back to before example.com/log/epoch-2" in str(said(world, found))
    assert said(world, found, origin=f"{LOG}/epoch-2") is not None
    assert said(world, found, origin=f"{LOG}/epoch-3") is None


@pytest.mark.parametrize(
    "signer",
    [Signer("example.com/other", bytes(32)), Signer(LOG, b"\1" * 32), Signer(f"{LOG}/epoch-1", b"\1" * 32)],
    ids=["another log", "another key", "another key's epoch"],
)
def test_a_note_that_the_log_did_not_sign_is_no_evidence(signer):
    raw = note.sign(checkpoints.encode(signer.name, 9, bytes(32)), signer)

    with pytest.raises(Invalid):
        Evidence.read(raw, "a note", verifier=SIGNER.verifier)


@pytest.mark.parametrize("epoch", [0, 1, 12, 999_999])
def test_an_epoch_s_name_reads_back(epoch):
    assert epochs.split(epochs.name(LOG, epoch)) == (LOG, epoch)


@pytest.mark.parametrize("origin", ["log/epoch-0", "log/epoch-01", "log/epoch-", "/epoch-1", "log/epoch-1x"])
def test_what_only_looks_like_an_epoch_is_a_base_name(origin):
    assert epochs.split(origin) == (origin, 0)
