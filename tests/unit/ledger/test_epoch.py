"""A new epoch: what it keeps, what it says is lost, and that every step may be cut off and repeated."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3

import pytest

from limen.core import events
from limen.core.errors import Conflict, NotFound, TamperDetected
from limen.formats import merkle, note
from limen.formats.note import Signer
from limen.ledger.rollback import epoch, guard
from limen.ledger.rollback.epoch import Plan, survey
from limen.ledger.rollback.evidence import Evidence
from limen.ledger.sequencer import sign_checkpoint
from limen.ledger.sqlite import SqliteStore
from limen.verify.published import Published

LOG = "example.com/log"
SIGNER = Signer(LOG, bytes(32))
NEXT = Signer(f"{LOG}/epoch-1", bytes(32))


def store_of(world, origin=LOG):
    return SqliteStore(world.path / "ledger.db", origin)


def newest(world):
    return Evidence.read(store_of(world).head().checkpoint.note, "a note", verifier=SIGNER.verifier)


def rolled_back(world, *, kept=300, lost=400):
    """A log whose database is that of `kept` entries, and whose published directory reaches further; what it had come to."""
    world.fill(kept)
    shutil.copy(world.path / "ledger.db", world.path / "old.db")
    world.fill(lost)
    furthest = newest(world)
    (world.path / "old.db").replace(world.path / "ledger.db")
    return furthest


def begun(world, evidence, *, logs=None):
    """The plan for that loss, durable and not carried out."""
    loss = survey(store_of(world), evidence, logs or [world.log], verifier=SIGNER.verifier)
    entry = events.encode("epoch.begin", 1, bytes(16), {**loss.fields(), "by": "test"})
    plan = Plan.of(loss, entry, {"epoch": b"sealed"})
    plan.begin(world.path)
    return plan


def complete(world, *, now=5):
    plan = Plan.read(world.path)
    stores = {origin: store_of(world, origin) for origin in (plan.old_origin, plan.origin)}
    return plan.complete(world.path, stores, NEXT, now=now)


def test_the_epoch_keeps_the_entries_and_names_what_is_lost(world):
    furthest = rolled_back(world)
    before = list(store_of(world).entries(0, 300))

    plan = begun(world, [furthest])
    head = complete(world)

    assert (plan.epoch, plan.kept, plan.lost) == (1, 300, 400)
    assert (head.checkpoint.origin, head.size) == (NEXT.name, 301)
    *kept, (index, raw) = store_of(world, NEXT.name).entries(0, 301)
    assert kept == before
    fields = events.decode(raw)
    assert (index, fields["kind"], fields["kept"], fields["proved"]) == (300, "epoch.begin", 300, True)
    assert fields["previous"]["size"] == 700
    assert fields["previous"]["checkpoint"] == furthest.checkpoint.note.decode()
    assert list(store_of(world, NEXT.name).sides(0, 400)) == [(300, "epoch", b"sealed")]


def test_the_old_log_s_published_directory_and_notes_are_kept(world):
    furthest = rolled_back(world)
    (world.path / "high-water").write_bytes(furthest.checkpoint.note)
    (world.path / "alarm.json").write_text("{}")

    begun(world, [furthest])
    complete(world)

    assert Published(world.path / "log.epoch-0").checkpoint(SIGNER.verifier).size == 700
    assert (world.path / "high-water.epoch-0").exists()
    assert (world.path / "alarm.json.epoch-0").exists()
    assert (world.path / "epoch").read_text() == "1\n"
    assert not [name for name in ("log", "log.synced", "high-water", "alarm.json", "epoch.next") if (world.path / name).exists()]


def test_after_it_the_log_goes_on_under_its_new_name_and_verifies(world):
    furthest = rolled_back(world)
    begun(world, [furthest])
    complete(world)
    world.signer = NEXT

    world.fill(3)

    assert world.verify().checkpoint.size == 304
    assert world.verify().checkpoint.origin == NEXT.name


def test_the_old_name_finds_no_log_any_more(world):
    furthest = rolled_back(world)
    begun(world, [furthest])
    complete(world)

    with pytest.raises(Exception, match=r"ledger\.db is the log example\.com/log/epoch-1"):
        world.fill(1)


STEPS = ["write_durably", "archive", "sync"]


@pytest.mark.parametrize("cut", range(1, 8))
def test_an_epoch_cut_off_at_any_step_is_completed_by_the_next_try(world, monkeypatch, cut):
    furthest = rolled_back(world)
    (world.path / "high-water").write_bytes(furthest.checkpoint.note)
    (world.path / "alarm.json").write_text("{}")
    begun(world, [furthest])
    count = 0

    def cutting(real):
        def step(*args):
            nonlocal count
            count += 1
            if count == cut:
                raise KeyboardInterrupt
            return real(*args)

        return step

    with monkeypatch.context() as patch:
        for name in STEPS:
            patch.setattr(epoch, name, cutting(getattr(epoch, name)))
        with contextlib.suppress(KeyboardInterrupt):
            complete(world)
    if Plan.read(world.path):
        complete(world)

    [(_, raw)] = store_of(world, NEXT.name).entries(300, 400)
    assert events.decode(raw)["kind"] == "epoch.begin"
    assert (world.path / "epoch").read_text() == "1\n"
    assert sorted(path.name for path in world.path.iterdir() if "epoch" in path.name) == [
        *("alarm.json.epoch-0", "epoch", "high-water.epoch-0", "log.epoch-0")
    ]
    world.signer = NEXT
    world.fill(1)
    assert world.verify().checkpoint.size == 302


def test_a_plan_for_another_database_is_not_carried_out(world):
    begun(world, [rolled_back(world)])
    shutil.rmtree(world.path / "log")
    world.fill(1)

    with pytest.raises(Conflict, match="nothing was written"):
        complete(world)


def test_what_nothing_shows_is_said_to_be_unproved(world, tmp_path_factory):
    furthest = rolled_back(world)
    shutil.rmtree(world.path / "log")

    loss = survey(store_of(world), [furthest], [world.log], verifier=SIGNER.verifier)

    assert not loss.proved


def test_a_second_copy_of_the_published_log_proves_it_too(world, tmp_path_factory):
    furthest = rolled_back(world)
    copy = tmp_path_factory.mktemp("mirror") / "log"
    shutil.move(world.path / "log", copy)

    assert survey(store_of(world), [furthest], [world.log, Published(copy)], verifier=SIGNER.verifier).proved


def resigned(world, index):
    with contextlib.closing(sqlite3.connect(world.path / "ledger.db")) as connection, connection:
        connection.execute("UPDATE entry SET raw = CAST(raw || x'20' AS BLOB) WHERE idx = ?", (index,))
        leaves = [merkle.leaf_hash(raw) for (raw,) in connection.execute("SELECT raw FROM entry ORDER BY idx")]
        frontier = merkle.Frontier().extended(leaves)
        made = sign_checkpoint(SIGNER, frontier)
        connection.execute("UPDATE head SET root = ?, frontier = ?, note = ?", (made.root, frontier.to_bytes(), made.note))


def test_no_epoch_begins_on_entries_that_were_rewritten(world):
    furthest = rolled_back(world)
    resigned(world, 7)

    with pytest.raises(TamperDetected, match="entry 7") as refused:
        survey(store_of(world), [furthest], [world.log], verifier=SIGNER.verifier)
    assert refused.value.index == 7


def test_no_epoch_begins_on_entries_that_contradict_a_smaller_checkpoint(world):
    world.fill(100)
    near = newest(world)
    world.fill(100)
    resigned(world, 7)
    shutil.rmtree(world.path / "log")

    with pytest.raises(TamperDetected, match="an epoch can't begin on it"):
        survey(store_of(world), [near], [world.log], verifier=SIGNER.verifier)


def test_no_epoch_begins_on_rows_that_do_not_make_the_signed_root(world):
    furthest = rolled_back(world)
    with contextlib.closing(sqlite3.connect(world.path / "ledger.db")) as connection, connection:
        connection.execute("UPDATE entry SET raw = x'00' WHERE idx = 12")

    with pytest.raises(TamperDetected, match="do not make the root"):
        survey(store_of(world), [furthest], [world.log], verifier=SIGNER.verifier)


def test_an_empty_database_begins_none(world):
    store_of(world).create()

    with pytest.raises(NotFound):
        survey(store_of(world), [], [world.log], verifier=SIGNER.verifier)


def test_the_last_witnessed_checkpoint_is_named_beside_a_longer_one_that_nobody_witnessed(world):
    world.fill(10)
    cosigned = (
        note.sign(note.parse(newest(world).checkpoint.note)[0], SIGNER)
        + note.sign(note.parse(newest(world).checkpoint.note)[0], Signer("witness.example", b"\1" * 32)).split(b"\n\n")[1]
    )
    witnessed = Evidence.read(cosigned, "the published checkpoint", verifier=SIGNER.verifier)
    world.fill(10)

    loss = survey(store_of(world), [witnessed, newest(world)], [world.log], verifier=SIGNER.verifier)

    assert (loss.furthest.checkpoint.size, loss.witnessed.checkpoint.size, loss.lost) == (20, 10, 0)


def test_an_epoch_follows_the_furthest_that_was_seen(world):
    """A backup from before the first epoch is put back: the second must not take the first one's name."""
    world.fill(5)
    seen = note.sign(note.parse(newest(world).checkpoint.note)[0].replace(LOG, NEXT.name), NEXT)
    later = Evidence.read(seen, "a note elsewhere", verifier=SIGNER.verifier)

    assert survey(store_of(world), [later], [world.log], verifier=SIGNER.verifier).epoch == 2


def test_a_plan_that_can_not_be_read_is_told(world):
    (world.path / guard.UNFINISHED).write_text("{}")

    with pytest.raises(TamperDetected, match="can't be read"):
        Plan.read(world.path)
