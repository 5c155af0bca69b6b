"""An export: the whole published log from the database alone, as any reader of C2SP tiles takes it."""

from __future__ import annotations

import shutil

import pytest

from limen.core.errors import Conflict, TamperDetected
from limen.formats import note
from limen.formats.note import Signer
from limen.ledger.publication.export import export_log
from limen.verify.published import Published, verify


def files(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_an_export_is_the_log_and_verifies_by_itself(world, tmp_path):
    world.fill(700)
    shutil.rmtree(world.path / "log")

    checkpoint, written = export_log(world.path, tmp_path / "out", world.signer.verifier)

    assert checkpoint.size == 700
    assert written == len(files(tmp_path / "out")) == 9
    assert verify(Published(tmp_path / "out"), world.signer.verifier).checkpoint == checkpoint
    assert not (world.path / "log").exists(), "nothing but the export is written"


def test_exporting_again_writes_what_is_new_and_keeps_what_older_checkpoints_need(world, tmp_path):
    world.fill(300)
    export_log(world.path, tmp_path / "out", world.signer.verifier)
    before = files(tmp_path / "out")
    assert export_log(world.path, tmp_path / "out", world.signer.verifier)[1] == 0

    world.fill(300)
    checkpoint, _ = export_log(world.path, tmp_path / "out", world.signer.verifier)

    after = files(tmp_path / "out")
    assert checkpoint.size == 600
    assert {name: raw for name, raw in before.items() if name != "checkpoint"}.items() <= after.items()
    assert verify(Published(tmp_path / "out"), world.signer.verifier)


def test_an_export_that_was_broken_off_is_finished_and_a_damaged_one_mended(world, tmp_path):
    world.fill(300)
    export_log(world.path, tmp_path / "out", world.signer.verifier)
    whole = files(tmp_path / "out")
    (tmp_path / "out" / "checkpoint").unlink()
    (tmp_path / "out" / "tile/0/000").write_bytes(b"")

    export_log(world.path, tmp_path / "out", world.signer.verifier)

    assert files(tmp_path / "out") == whole


def test_an_export_works_while_the_log_is_open(world, tmp_path):
    async def scene(ledger):
        await ledger.append(b"{}")
        return export_log(world.path, tmp_path / "out", world.signer.verifier)

    world.fill(5)
    checkpoint, _ = world.run(scene)

    assert checkpoint.size == 6
    assert verify(Published(tmp_path / "out"), world.signer.verifier).checkpoint.size == 6


def test_an_export_carries_the_cosignatures_that_are_published(world, tmp_path):
    world.fill(5)
    place = world.path / "log" / "checkpoint"
    cosigned = place.read_bytes() + b"\xe2\x80\x94 witness.example AAAAAAAAAAAA\n"
    place.write_bytes(cosigned)

    assert export_log(world.path, tmp_path / "out", world.signer.verifier)[0].note == cosigned


@pytest.mark.parametrize("there", ["another log", "a letter", "a newer export", "another history"])
def test_what_is_no_older_export_of_this_log_is_left_alone(world, tmp_path, there):
    target, signer = tmp_path / "out", world.signer
    world.fill(20)
    export_log(world.path, target, signer.verifier)
    stranger = Signer("example.com/other", bytes(32))
    match there:
        case "another log":
            (target / "vkey").write_text(f"{stranger.verifier.vkey}\n")
            (target / "checkpoint").write_bytes(note.sign("example.com/other\n1\nAAAA\n", stranger))
        case "a letter":
            shutil.rmtree(target)
            target.mkdir()
            (target / "letter.txt").write_text("dear reader")
        case _:
            for part in world.path.glob("ledger.db*"):
                part.unlink()
            shutil.rmtree(world.path / "log")
            world.fill(20 if there == "another history" else 3)
    before = files(target)

    with pytest.raises(Conflict if there in {"another log", "a letter"} else TamperDetected):
        export_log(world.path, target, signer.verifier)

    assert {name: raw for name, raw in files(target).items() if name != "vkey"} == {
        name: raw for name, raw in before.items() if name != "vkey"
    }


def test_entries_that_do_not_make_the_signed_root_are_not_exported(world, tmp_path):
    world.fill(20)
    world.edit("UPDATE entry SET raw = x'7b7d' WHERE idx = 4")

    with pytest.raises(TamperDetected):
        export_log(world.path, tmp_path / "out", world.signer.verifier)
    assert not (tmp_path / "out" / "checkpoint").exists()
