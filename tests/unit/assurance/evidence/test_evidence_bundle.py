"""Bundles: what is verified, what is refused, and who says so."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import random
import subprocess
import sys
import types

import pytest

from evidencing import (
    BOM_AT,
    EVIDENCE,
    EXPORT_AT,
    FIRST,
    KEY_AT,
    KEY_LINE,
    LOG,
    OPEN_AT,
    SECRET,
    SECRET_SALT,
    bundles,
    entries,
    facts,
    lay_out,
    parts,
    resigned,
    rezipped,
)
from limen.assurance.evidence import bundle as making
from limen.assurance.evidence.bundle import Opening, compose
from limen.formats import sshsig, tlogproof
from limen.formats.cosignature import Cosigner
from limen.formats.note import Signer, append_signature
from limen.verify import disclosure, evidence, offline
from limen.verify.evidence import NO, NONE, UNKNOWN, YES, Asked

STRANGER = sshsig.Signer(bytes(32))
TRUSTED = Asked(key=EVIDENCE.key.raw, log=offline.vkey(LOG.vkey))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return bundles(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def first(world):
    return world[0]


@pytest.fixture(scope="module")
def second(world):
    return world[1]


def answers(raw, asked=TRUSTED):
    return [each.answer for each in evidence.verify(raw, asked)]


def words(raw, number, asked=TRUSTED):
    return evidence.verify(raw, asked)[number - 1].words


def test_a_bundle_verifies_under_the_key_and_log_that_were_given(second):
    assert answers(second) == [YES, YES, YES, YES, NONE, YES]
    assert evidence.accepted(evidence.verify(second, TRUSTED))


def test_a_vendors_first_bundle_says_that_nothing_came_before(first):
    assert answers(first) == [YES, YES, YES, NONE, NONE, YES]


def test_two_bundles_of_the_same_parts_are_the_same_bytes(world):
    _, second, log, rows = world

    assert compose(parts(log, rows), EVIDENCE) == second


def test_the_evidence_key_is_believed_because_the_log_holds_it(second):
    assert answers(second, Asked(log=offline.vkey(LOG.vkey)))[1] == YES
    assert f"entry {KEY_AT} of the log you named" in words(second, 2, Asked(log=offline.vkey(LOG.vkey)))


def test_without_a_key_of_the_callers_own_nothing_says_whose_it_is(second):
    assert answers(second, Asked())[1] == UNKNOWN
    assert not evidence.accepted(evidence.verify(second, Asked()))


def test_a_forgery_that_is_consistent_in_itself_is_refused_for_its_key(second):
    def forge(files, root):
        index = json.loads(files[f"{root}/data/bundle.json"])
        index["key"] = STRANGER.key.line
        files[f"{root}/data/bundle.json"] = offline.canonical(index) + b"\n"
        resigned(files, root, STRANGER)

    forged = rezipped(second, forge)

    assert answers(forged)[:2] == [YES, NO]
    assert answers(forged, Asked(log=offline.vkey(LOG.vkey)))[1] == NO  # that key is in no entry of the log
    assert answers(forged, Asked(key=STRANGER.key.raw))[1] == YES  # the negative control: who trusts the forger is told yes


def test_what_another_log_signed_is_refused(second):
    other = Signer(LOG.name, bytes(32))

    assert answers(second, Asked(key=EVIDENCE.key.raw, log=offline.vkey(other.vkey)))[2] == NO


def test_a_document_that_was_exchanged_by_the_signer_is_not_the_one_in_the_log(second):
    def exchange(files, root):
        files[f"{root}/data/documents/boms/7.json"] = b'{"bomFormat":"CycloneDX","components":[]}'
        index = json.loads(files[f"{root}/data/bundle.json"])
        index["documents"][0]["digest"] = hashlib.sha256(files[f"{root}/data/documents/boms/7.json"]).hexdigest()
        files[f"{root}/data/bundle.json"] = offline.canonical(index) + b"\n"
        resigned(files, root, EVIDENCE)

    exchanged = rezipped(second, exchange)

    assert answers(exchanged) == [YES, YES, NO, YES, NONE, YES]
    assert f"is not the document that entry {BOM_AT} names" in words(exchanged, 3)


def test_an_entry_that_was_left_out_of_the_proof_breaks_it(second):
    def leave_out(files, root):
        path = f"{root}/data/ledger/entries.txt"
        files[path] = b"".join(line for line in files[path].splitlines(keepends=True) if not line.startswith(b"22 "))
        resigned(files, root, EVIDENCE)

    assert answers(rezipped(second, leave_out))[2] == NO


def test_a_fact_that_names_an_unproved_entry_is_refused(second):
    def name_another(files, root):
        files[f"{root}/data/facts.json"] = files[f"{root}/data/facts.json"].replace(b'"entries":[20]', b'"entries":[99]')
        resigned(files, root, EVIDENCE)

    assert "names entry 99" in words(rezipped(second, name_another), 3)


def test_every_file_dropped_added_or_swapped_is_caught(second):
    paths = sorted(offline.unzipped(second))

    def dropped(path):
        return rezipped(second, lambda files, root: files.pop(path))

    def swapped(one, two):
        def swap(files, root):
            files[one], files[two] = files[two], files[one]

        return rezipped(second, swap)

    def added(name):
        return rezipped(second, lambda files, root: files.update({f"{root}/{name}": b"x"}))

    assert len(paths) > 15
    assert all(answers(dropped(path))[0] == NO for path in paths)
    assert not any(evidence.accepted(evidence.verify(swapped(*pair), TRUSTED)) for pair in itertools.pairwise(paths))
    assert all(answers(added(name))[0] == NO for name in ("data/more.txt", "more.txt", "data/ledger/proofs/9.tlog-proof"))


def test_every_changed_byte_of_two_hundred_is_caught(second):
    """The whole proof, a thousand with a bare interpreter, is in tests/conformance/test_evidence_outside.py."""
    draw = random.Random(5)
    for place in draw.sample(range(len(second)), 200):
        bent = bytearray(second)
        bent[place] ^= 1 << draw.randrange(8)
        assert not evidence.accepted(evidence.verify(bytes(bent), TRUSTED)), place


def test_a_verifier_that_does_not_compare_digests_misses_the_change(second):
    """The negative control of the two tests above: blinded in one line, the same program takes what it must refuse."""

    def bend(files, root):
        path = f"{root}/data/README.txt"
        files[path] = files[path].replace(b"does not prove", b"does prove    ")

    bent = rezipped(second, bend)
    assert answers(bent)[0] == NO

    line = "if hashlib.sha256(bag[path]).hexdigest() != digest:"
    source = making.programs()["offline.py"].decode()
    assert source.count(line) == 1
    blind = types.ModuleType("blind")
    exec(source.replace(line, "if not bag:"), blind.__dict__)
    assert blind.opened(bent)


def test_a_log_that_was_cut_since_last_time_is_caught(world, tmp_path):
    rows = world[3]
    changed = list(rows)
    changed[5] = entries()[6]  # something before the first bundle was rewritten
    log = lay_out(tmp_path, changed)
    made = compose(parts(log, changed), EVIDENCE)

    assert answers(made)[3] == NO
    assert "was cut or changed" in words(made, 4)


def test_the_bundle_that_somebody_holds_must_be_the_one_the_log_tells_of(first, second):
    held = Asked(key=EVIDENCE.key.raw, log=offline.vkey(LOG.vkey), previous=first)

    assert answers(second, held)[3] == YES
    assert "which is the one you gave" in words(second, 4, held)
    assert "you hold an earlier one" in words(first, 4, held)
    assert answers(second, held._replace(previous=second))[3] == UNKNOWN


def test_a_holder_who_was_given_another_bundle_of_the_same_size_is_told(world, tmp_path):
    _, second, _, rows = world
    other = compose(parts(lay_out(tmp_path, rows[:FIRST]), rows, size=FIRST, facts=facts(2)), EVIDENCE)
    held = Asked(key=EVIDENCE.key.raw, previous=other)

    assert "is not the one that entry" in words(second, 4, held)


def test_a_witness_whose_key_was_given_says_when(world):
    _, _, log, rows = world
    witness = Cosigner.ed25519("witness.example", bytes(range(1, 33)))
    made = parts(log, rows)
    text = made.checkpoint.note.rpartition(b"\n\n")[0] + b"\n"
    line = witness.cosign(text, 1_775_700_000)
    noted = append_signature(made.checkpoint.note, line.name, line.key_id, line.blob)
    raw = compose(dataclasses.replace(made, checkpoint=dataclasses.replace(made.checkpoint, note=noted)), EVIDENCE)

    asked = TRUSTED._replace(witnesses=(offline.vkey(witness.key.vkey),))
    assert "cosigned the checkpoint at 2026-04-09T02:00:00Z" in words(raw, 6, asked)
    assert "the lab's word alone" in words(raw, 6)
    stranger = Cosigner.ed25519("other.example", bytes(range(2, 34)))
    assert answers(raw, TRUSTED._replace(witnesses=(offline.vkey(stranger.key.vkey),)))[5] == NO


def test_an_opening_shows_what_the_entry_committed_to_and_nothing_else(world):
    _, _, log, rows = world
    good = parts(log, rows, openings=[Opening(OPEN_AT, "order", SECRET_SALT, SECRET)])
    raw = compose(good, EVIDENCE)
    path, content = next((p, c) for p, c in offline.unzipped(raw).items() if "/openings/" in p)

    assert answers(raw)[2] == YES
    assert path.endswith(f"data/openings/{OPEN_AT}-order.json")
    assert disclosure.check(content, [LOG.verifier]).value == SECRET
    lie = dataclasses.replace(good, openings=[Opening(OPEN_AT, "order", SECRET_SALT, {"text": "another reason"})])
    assert "is not what entry" in words(compose(lie, EVIDENCE), 3)


def test_each_proof_file_verifies_by_itself(second, world):
    files = {path.rpartition("/")[2]: raw for path, raw in offline.unzipped(second).items() if path.endswith(".tlog-proof")}

    assert set(files) == {f"{KEY_AT}.tlog-proof", f"{BOM_AT}.tlog-proof"}
    for raw in files.values():
        proof = tlogproof.decode(raw)
        assert proof.verify(world[3][proof.index], [LOG.verifier]).size == 300


def test_any_entry_named_can_be_taken_out_as_a_proof(second, tmp_path, capfd, world):
    (tmp_path / "b.zip").write_bytes(second)

    assert evidence.main([str(tmp_path / "b.zip"), "--proof", str(EXPORT_AT)]) == 0
    proof = tlogproof.decode(capfd.readouterr().out.encode())
    assert proof.verify(world[3][EXPORT_AT], [LOG.verifier])
    assert evidence.main([str(tmp_path / "b.zip"), "--proof", "99"]) == 5


def test_an_entry_that_is_not_for_this_recipient_is_proved_and_not_shown(second):
    lines = dict(
        line.split(b" ", 1)
        for path, raw in offline.unzipped(second).items()
        if path.endswith("entries.txt")
        for line in raw.splitlines()
    )

    assert b" " not in lines[b"21"]
    assert b" " in lines[b"20"]


def test_what_is_no_bundle_is_answered_and_not_a_crash():
    for raw in (b"", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"x" * 1000):
        assert answers(raw) == [NO, *[UNKNOWN] * 5]


def test_the_command_says_it_in_words_and_in_its_exit_code(second, tmp_path, capfd):
    (tmp_path / "b.zip").write_bytes(second)

    assert evidence.main([str(tmp_path / "b.zip"), "--key", KEY_LINE]) == 0
    said = capfd.readouterr().out
    assert said.startswith("1 whole? YES: ")
    assert "the key that the signer of the bundle names" in said
    assert "VERIFIED (not that facts were honest" in said
    assert evidence.main([str(tmp_path / "b.zip"), "--key", STRANGER.key.line, "--json"]) == 5
    assert json.loads(capfd.readouterr().out)["ok"] is False
    with pytest.raises(SystemExit) as stopped:
        evidence.main([str(tmp_path / "b.zip"), "--key", "nonsense"])
    assert stopped.value.code == 2


def test_it_runs_with_a_bare_interpreter_in_an_empty_directory(second, tmp_path):
    for name, raw in making.programs().items():
        (tmp_path / name).write_bytes(raw)
    (tmp_path / "b.zip").write_bytes(second)
    command = [sys.executable, "-I", "-S", "verify.py", "b.zip", "--log", LOG.vkey]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert "VERIFIED" in done.stdout
