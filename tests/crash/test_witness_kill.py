"""kill -9 at any moment: a witness never goes back behind a checkpoint that it cosigned.

A fifth of `LIMEN_KILLS` (5 in `make test`).
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from limen.formats.cosignature import ED25519_COSIGNATURE
from limen.ledger.witnesses.witness import Witness
from witnessing import LOG, Tree

KILLS = max(1, int(os.environ.get("LIMEN_KILLS", "25")) // 5)
HERE = Path(__file__).parent


@pytest.fixture
def path(tmp_path):
    witness = Witness.create(tmp_path / "witness.db", name="w.example", random=os.urandom, kinds=(ED25519_COSIGNATURE,))
    witness.trust(LOG.vkey)
    witness.close()
    return tmp_path / "witness.db"


def ask_until_killed(path, mode, rng):
    """The largest size that the witness said it cosigned before it was killed, at a random moment after its first answer."""
    program = [sys.executable, HERE / "witness_asker.py", path, mode]
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen(program, stdout=subprocess.PIPE, env=paths) as asker:
        said = os.read(asker.stdout.fileno(), 1 << 16)
        assert said, "the witness did not start"
        until = time.monotonic() + rng.random() ** 2 * 0.1
        while time.monotonic() < until:
            said += os.read(asker.stdout.fileno(), 1 << 16)
        asker.kill()
        said += asker.stdout.read()
    return int(said[: said.rfind(b"\n")].split()[-1])


def reopened(path):
    witness = Witness(path)
    recorded = witness.recorded(LOG.name)
    witness.close()
    return recorded


def test_a_killed_witness_remembers_what_it_cosigned(path):
    rng, tree = random.Random("kill"), Tree(3000)
    for _ in range(KILLS):
        cosigned = ask_until_killed(path, "honest", rng)
        recorded = reopened(path)
        assert recorded.size >= cosigned
        assert recorded.root == tree.range_hash(0, recorded.size)


def test_a_witness_that_answers_before_it_records_is_caught_by_the_same_check(path):
    cosigned = ask_until_killed(path, "early", random.Random("control"))

    assert reopened(path).size < cosigned
