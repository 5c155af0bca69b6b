"""The witness: every status of the protocol beside its neighbour, and one winner among any number of requests."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading

import pytest

from limen.core.errors import Conflict, Invalid, LedgerUnavailable, NotFound
from limen.formats import merkle, note
from limen.formats import witness as codec
from limen.formats.cosignature import ED25519_COSIGNATURE, MLDSA44_COSIGNATURE
from limen.ledger.witnesses.witness import Witness
from witnessing import LOG, Tree

STRANGER = note.Signer(LOG.name, bytes([7]) * 32)
ELSEWHERE = note.Signer("example.com/other", bytes(32))
BOTH = (ED25519_COSIGNATURE, MLDSA44_COSIGNATURE)
NOW = 1_780_000_000
TREE, FORK = Tree(300), Tree(300, "another")


@pytest.fixture
def make(tmp_path):
    """A witness that trusts LOG; of each kind of key one, unless told."""
    made = []

    def make(kinds=BOTH, kind_of=Witness):
        path = tmp_path / f"{len(made)}" / "witness.db"
        witness = kind_of.create(path, name="witness.example/w1", random=os.urandom, kinds=kinds)
        witness.trust(LOG.vkey)
        made.append(witness)
        return witness

    yield make
    for witness in made:
        witness.close()


@pytest.fixture
def witness(make):
    """A witness that has cosigned the first hundred entries."""
    witness = make()
    assert witness.add_checkpoint(TREE.request(0, 100), NOW).status == 200
    return witness


def bent(signed):
    """The same note with one bit of its signature changed."""
    head, _, last = signed.rstrip(b"\n").rpartition(b" ")
    return head + b" " + last[:20] + (b"A" if last[20:21] != b"A" else b"B") + last[21:] + b"\n"


REFUSED = {
    400: {
        "no old size": lambda: TREE.request(100, 200).replace(b"old 100\n", b"", 1),
        "an old size with a leading zero": lambda: TREE.request(100, 200).replace(b"old 100\n", b"old 0100\n", 1),
        "a proof line that is no hash": lambda: TREE.request(100, 200, proof=(b"short",)),
        "64 hashes": lambda: TREE.request(100, 200, proof=(bytes(32),) * 64),
        "no checkpoint": lambda: b"old 100\n\n",
        "a size with a leading zero": lambda: TREE.request(
            0, 200, checkpoint=note.sign(TREE.note(200).decode().split("\n\n")[0].replace("\n200\n", "\n0200\n") + "\n", LOG)
        ),
        "an extension line": lambda: TREE.request(
            100, 200, checkpoint=note.sign(TREE.note(200).decode().split("\n\n")[0] + "\nmore\n", LOG)
        ),
        "an empty tree whose root is no hash": lambda: TREE.request(0, 0, checkpoint=TREE.note(0, root=bytes(31))),
        "an empty tree's wrong root and a line more": lambda: TREE.request(
            0, 0, checkpoint=note.sign(note.parse(TREE.note(0, root=bytes(32)))[0] + "more\n", LOG)
        ),
        "an old size beyond the new one": lambda: TREE.request(100, 99, proof=()),
        "nothing": lambda: b"",
        "bytes that are no text": lambda: b"\xff\xfe\n\n\xff",
    },
    404: {"a log that nobody told it of": lambda: TREE.request(0, 10, checkpoint=TREE.note(10, signer=ELSEWHERE))},
    403: {
        "signed by somebody else under the log's name": lambda: TREE.request(
            100, 200, checkpoint=TREE.note(200, signer=STRANGER)
        ),
        "the log's own signature, damaged": lambda: TREE.request(100, 200, checkpoint=bent(TREE.note(200))),
        "a good signature beside a damaged one of the same key": lambda: TREE.request(
            100, 200, checkpoint=TREE.note(200) + bent(TREE.note(200)).split(b"\n\n")[1]
        ),
    },
    409: {
        "an old size that is behind": lambda: TREE.request(50, 200),
        "an old size that is ahead": lambda: TREE.request(150, 200),
        "none, though there is a record": lambda: TREE.request(0, 200),
        "an empty tree after a full one": lambda: TREE.request(0, 0),
    },
    422: {
        "no proof": lambda: TREE.request(100, 200, proof=()),
        "a proof from another size": lambda: TREE.request(100, 200, proof=TREE.proof(101, 200)),
        "one hash too many": lambda: TREE.request(100, 200, proof=(*TREE.proof(100, 200), bytes(32))),
        "another history, with its own proof": lambda: FORK.request(100, 200),
        "the same size with another root": lambda: FORK.request(100, 100),
        "a proof where sizes are equal": lambda: TREE.request(100, 100, proof=(bytes(32),)),
    },
}
CASES = [pytest.param(status, make, id=f"{status} {name}") for status, named in REFUSED.items() for name, make in named.items()]


@pytest.mark.parametrize(("status", "request_of"), CASES)
def test_what_is_refused_has_its_status_and_changes_nothing(witness, status, request_of):
    before = witness.recorded(LOG.name)

    answer = witness.add_checkpoint(request_of(), NOW + 1)

    assert answer.status == status, answer.body
    assert (answer.content_type == codec.TLOG_SIZE) == (status == 409)
    if status == 409:
        assert answer.body == b"100\n"
    after = witness.recorded(LOG.name)
    assert (after.size, after.root, after.note) == (before.size, before.root, before.note)


def test_what_continues_the_record_is_cosigned_with_every_key_and_recorded(witness):
    answer = witness.add_checkpoint(TREE.request(100, 200), NOW + 5)

    assert answer.status == 200
    whole = TREE.note(200) + answer.body
    _, signatures = note.open_note(whole, [LOG.verifier, *witness.keys])
    assert [(s.name, s.key_id) for s in signatures[1:]] == [(key.name, key.key_id) for key in witness.keys]
    assert {key.cosigned_at(s.blob) for key, s in zip(witness.keys, signatures[1:], strict=True)} == {NOW + 5}
    assert witness.recorded(LOG.name).size == 200
    assert witness.shown(codec.monitoring_path(LOG.name)) == whole


def test_the_same_checkpoint_again_is_cosigned_again_with_the_new_time(witness):
    assert witness.add_checkpoint(TREE.request(100, 100), NOW + 60).status == 200
    assert witness.recorded(LOG.name).cosigned_at == NOW + 60


def test_a_clock_that_was_set_back_does_not_set_the_statements_back(witness):
    witness.add_checkpoint(TREE.request(100, 200), NOW - 1000)

    assert witness.recorded(LOG.name).cosigned_at == NOW


def test_an_empty_log_is_cosigned_and_a_wrong_root_of_it_is_not(make):
    witness = make()

    assert witness.add_checkpoint(TREE.request(0, 0, checkpoint=TREE.note(0, root=bytes(32))), NOW).status == 422
    assert witness.add_checkpoint(TREE.request(0, 5, proof=(bytes(32),)), NOW).status == 422
    assert witness.add_checkpoint(TREE.request(0, 0), NOW).status == 200
    assert witness.add_checkpoint(TREE.request(0, 5), NOW).status == 200


def test_signatures_of_strangers_are_not_kept(witness):
    padded = TREE.note(200) + note.line(note.Signature("stranger.example", b"abcd", bytes(64)))

    assert witness.add_checkpoint(TREE.request(100, 200, checkpoint=padded), NOW).status == 200
    assert b"stranger" not in witness.shown(codec.monitoring_path(LOG.name))


def test_two_trees_of_one_size_are_kept_as_a_proof_against_the_log(witness):
    assert witness.fork(LOG.name) is None
    witness.add_checkpoint(FORK.request(100, 100), NOW + 9)

    ours, theirs = witness.fork(LOG.name)
    texts = [note.open_note(one, [LOG.verifier])[0].split("\n") for one in (ours, theirs)]
    assert texts[0][:2] == texts[1][:2]
    assert texts[0][2] != texts[1][2]
    assert witness.recorded(LOG.name).forked_at == NOW + 9


def test_a_genuine_checkpoint_with_a_wrong_proof_is_no_evidence_of_a_fork(witness):
    witness.add_checkpoint(TREE.request(100, 100, proof=(bytes(32),)), NOW)
    witness.add_checkpoint(TREE.request(100, 200, proof=()), NOW)

    assert witness.fork(LOG.name) is None
    assert witness.recorded(LOG.name).forked_at is None


class Hesitant(Witness):
    """Waits, between the check and the record, until all others have checked too."""

    barrier = None

    def _advance(self, before, **row):
        self.barrier.wait(10)
        return super()._advance(before, **row)


class Careless(Hesitant):
    """The control: records what it has checked, whatever the record says by then."""

    def _advance(self, before, **row):
        self.barrier.wait(10)
        now = self.recorded(before.origin)
        return Witness._advance(self, now, **row)


def race(make, kind_of):
    """Eight requests at once that continue the same record; the sizes cosigned, all statuses, and what is recorded."""
    first = make()
    first.add_checkpoint(TREE.request(0, 100), NOW)
    Hesitant.barrier = threading.Barrier(8)
    pair = [kind_of(first._path), kind_of(first._path)]  # as two processes would: a connection each
    answers = {}

    def ask(number):
        answers[110 + number] = pair[number % 2].add_checkpoint(TREE.request(100, 110 + number), NOW)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for witness in pair:
        witness.close()
    won = [size for size, answer in answers.items() if answer.status == 200]
    return won, [answer.body for answer in answers.values() if answer.status == 409], first.recorded(LOG.name).size


def test_of_requests_at_once_one_wins_and_the_others_hear_the_new_size(make):
    won, lost, recorded = race(make, Hesitant)

    assert won == [recorded]
    assert lost == [b"%d\n" % recorded] * 7


def test_a_witness_that_does_not_compare_when_it_records_is_caught_by_the_same_race(make):
    won, _, recorded = race(make, Careless)

    assert len(won) > 1 or max(won) > recorded


def test_a_witness_is_made_once_and_its_file_is_its_owners_alone(make):
    witness = make()

    assert witness._path.stat().st_mode & 0o077 == 0
    with pytest.raises(Conflict, match="already"):
        Witness.create(witness._path, name="again", random=os.urandom, kinds=BOTH)
    assert Witness(witness._path).keys == witness.keys


def test_a_witness_without_its_file_does_not_start(tmp_path):
    with pytest.raises(NotFound, match="limen witness init"):
        Witness(tmp_path / "witness.db")


def test_a_name_that_no_key_can_have_makes_no_witness(tmp_path):
    with pytest.raises(Invalid):
        Witness.create(tmp_path / "w" / "witness.db", name="two words", random=os.urandom, kinds=BOTH)
    assert not (tmp_path / "w").exists()


def test_a_log_with_a_second_key_is_refused(witness):
    assert witness.trust(LOG.vkey).size == 100  # again: nothing changes
    with pytest.raises(Conflict, match="another key"):
        witness.trust(STRANGER.vkey)
    assert [log.origin for log in witness.logs()] == [LOG.name]


def test_a_record_that_can_not_be_written_is_no_answer(witness):
    with sqlite3.connect(witness._path) as other:
        other.execute("CREATE TRIGGER full BEFORE UPDATE ON log BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    other.close()
    with pytest.raises(LedgerUnavailable, match="disk full"):
        witness.add_checkpoint(TREE.request(100, 200), NOW)
    assert witness._connection is None, "what the failed write left is looked at anew"
    assert witness.recorded(LOG.name).size == 100


def test_nothing_is_shown_before_the_first_cosignature(make):
    witness = make()

    assert witness.shown(codec.monitoring_path(LOG.name)) is None
    assert witness.shown(codec.monitoring_path("example.com/unknown")) is None


def test_a_file_without_a_key_is_no_witness(make):
    witness = make()
    witness.close()
    with contextlib.closing(sqlite3.connect(witness._path)) as other, other:
        other.execute("DELETE FROM cosigner")

    with pytest.raises(Invalid, match="no key"):
        Witness(witness._path)


@pytest.mark.parametrize(("edit", "why"), [("user_version = 9", "schema 9"), ("journal_mode = DELETE", "not in WAL mode")])
def test_a_file_that_is_not_as_it_was_made_is_refused(make, edit, why):
    witness = make()
    witness.close()
    with contextlib.closing(sqlite3.connect(witness._path)) as other:
        other.execute(f"PRAGMA {edit}")

    with pytest.raises(Invalid, match=why):
        Witness(witness._path)


def test_a_record_is_forced_to_disk_before_it_counts(witness):
    assert witness._connection.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"


def test_a_file_that_was_moved_away_is_no_record(witness):
    witness._path.rename(witness._path.with_name("elsewhere"))
    with pytest.raises(LedgerUnavailable, match="moved"):
        witness.add_checkpoint(TREE.request(100, 200), NOW)


def test_one_kind_of_key_is_enough(make):
    witness = make(kinds=(ED25519_COSIGNATURE,))

    assert witness.add_checkpoint(TREE.request(0, 10), NOW).body.count(b"\n") == 1


def test_the_two_histories_of_these_tests_differ():
    assert TREE.range_hash(0, 100) != FORK.range_hash(0, 100)
    merkle.verify_consistency(100, 200, TREE.range_hash(0, 100), TREE.range_hash(0, 200), TREE.proof(100, 200))
