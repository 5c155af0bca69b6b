"""Whatever a witness is asked, in whatever order: what it cosigned is one growing tree, and nothing it answers is an accident."""

from __future__ import annotations

import itertools
import os
import random

import pytest

from limen.formats import note
from limen.formats import witness as codec
from limen.formats.cosignature import ED25519_COSIGNATURE
from limen.ledger.witnesses import witness as ours
from limen.ledger.witnesses.witness import Witness
from witnessing import LOG, Tree

REQUESTS = 800
STRANGER = note.Signer(LOG.name, bytes([7]) * 32)
SIZE = 120


def bent(raw, rng):
    """One bit, one piece cut out, or one doubled."""
    at, end = sorted(rng.randrange(len(raw)) for _ in range(2))
    match rng.randrange(3):
        case 0:
            return raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :]
        case 1:
            return raw[:at] + raw[end:]
        case _:
            return raw[:end] + raw[at:]


def request(trees, recorded, rng):
    """Something to ask: now and then what a good log would, else what a bad one or a stranger might."""
    tree = rng.choice(trees)
    old = rng.choice([recorded, recorded, recorded, 0, rng.randrange(SIZE)])
    new = min(rng.choice([old, old + 1, old + rng.randrange(4), rng.randrange(old + 1)]), SIZE)
    proof = rng.choice([None, None, None, (), tree.proof(rng.randrange(SIZE), SIZE)])
    signer = rng.choice([LOG] * 9 + [STRANGER])
    raw = tree.request(old, new, proof=proof, checkpoint=tree.note(new, signer=signer))
    return bent(raw, rng) if rng.random() < 0.2 else raw


def histories(witness, *, seed):
    """Every (size, root) that was cosigned, in order; all statuses that were answered."""
    rng, cosigned, statuses = random.Random(seed), [], set()
    trees = [Tree(SIZE), Tree(SIZE), Tree(SIZE, "another")]
    for at in range(REQUESTS):
        recorded = witness.recorded(LOG.name)
        raw = request(trees, recorded.size, rng)
        answer = witness.add_checkpoint(raw, 1_780_000_000 + at)
        statuses.add(answer.status)
        if answer.status == 200:
            shown = codec.decode(raw).checkpoint
            text = note.open_note(shown + answer.body, [witness.keys[0]])[0].split("\n")
            cosigned.append((int(text[1]), text[2]))
    return cosigned, statuses


def contradictions(cosigned):
    """Where a cosigned tree is smaller than the one before, or of another history than most."""
    roots = [{size: Tree(SIZE, name).note(size).decode().split("\n")[2] for size, _ in cosigned} for name in ("one", "another")]
    smaller = [after for before, after in itertools.pairwise(cosigned) if after[0] < before[0]]
    strays = min(([c for c in cosigned if c[0] and each[c[0]] != c[1]] for each in roots), key=len)
    return smaller + strays


@pytest.fixture
def witness(tmp_path):
    witness = Witness.create(tmp_path / "w.db", name="w.example", random=os.urandom, kinds=(ED25519_COSIGNATURE,))
    witness.trust(LOG.vkey)
    yield witness
    witness.close()


def test_what_a_witness_cosigned_is_one_growing_tree(witness):
    cosigned, statuses = histories(witness, seed="histories")

    assert statuses == {200, 400, 403, 404, 409, 422}
    assert len({size for size, _ in cosigned}) > 20
    assert contradictions(cosigned) == []


@pytest.mark.parametrize("step", ["_check_continues", "_conflict"])
def test_a_witness_that_leaves_out_a_step_is_caught_by_the_same_requests(witness, step, monkeypatch):
    if step == "_check_continues":
        monkeypatch.setattr(ours, step, lambda *_: None)
    else:  # the recorded size is whatever the request says it is
        honest = witness.recorded

        def forgetful(origin):
            recorded = honest(origin)
            return recorded and type(recorded)(**{**_fields(recorded), "size": 0, "root": ours.merkle.EMPTY_ROOT})

        monkeypatch.setattr(witness, "recorded", forgetful)
        monkeypatch.setattr(ours, "_ADVANCE", ours._ADVANCE.partition("AND size")[0])
        monkeypatch.setattr(witness, "_advance", lambda before, **row: _advance(witness, before, row))

    assert contradictions(histories(witness, seed="histories")[0])


def _fields(recorded):
    return {name: getattr(recorded, name) for name in recorded.__slots__}


def _advance(witness, before, row):
    with witness._database() as execute:
        named = {"origin": before.origin, "vkey": before.vkey, "size": row["size"], "root": row["root"], "note": row["noted"]}
        return execute(ours._ADVANCE, {**named, "at": row["at"]}).rowcount == 1
