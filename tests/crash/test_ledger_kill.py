"""kill -9 at any moment: no acknowledged entry is ever lost, and what is left is a whole log.

`LIMEN_KILLS` sets how many times (25 in `make test`).
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from limen.formats.merkle import leaf_hash
from limen.formats.note import Signer
from limen.ledger.ledger import Ledger
from limen.ledger.proofs import Published, verify

KILLS = int(os.environ.get("LIMEN_KILLS", "25"))
SIGNER = Signer("example.com/log", bytes(32))


def append_until_killed(directory, mode, rng):
    """What the appender acknowledged before it was killed, at a random moment after its first acknowledgement."""
    program = [sys.executable, Path(__file__).with_name("ledger_appender.py"), directory, mode]
    with subprocess.Popen(program, stdout=subprocess.PIPE) as appender:
        said = os.read(appender.stdout.fileno(), 1 << 16)
        assert said, "the appender did not start"
        until = time.monotonic() + rng.random() ** 2 * 0.15
        while time.monotonic() < until:
            said += os.read(appender.stdout.fileno(), 1 << 16)
        appender.kill()
        said += appender.stdout.read()
    whole = said[: said.rfind(b"\n")].decode().splitlines()
    return {int(index): bytes.fromhex(leaf) for index, leaf in (line.split() for line in whole)}


def reopen(directory):
    """Start as a server would, and return every entry's leaf hash; the published log must verify."""

    async def scene():
        ledger = Ledger.open(directory, origin=SIGNER.name, signer=SIGNER, now=time.time)
        await ledger.flush()
        stored = [(index, leaf_hash(raw)) for index, raw in ledger.entries()]
        size = ledger.head().size
        await ledger.close()
        return stored, size

    stored, size = asyncio.run(scene())
    assert [index for index, _ in stored] == list(range(size)), "the log is not dense"
    verified = verify(Published(directory / "log"), SIGNER.verifier)
    assert verified.checkpoint.size == size
    return dict(stored)


def lost(acknowledged, stored):
    return [index for index, leaf in acknowledged.items() if stored.get(index) != leaf]


def test_no_acknowledged_entry_is_lost_when_the_process_is_killed(tmp_path):
    rng = random.Random("kill")
    acknowledged = {}
    for _ in range(KILLS):
        acknowledged |= append_until_killed(tmp_path, "honest", rng)
        assert lost(acknowledged, reopen(tmp_path)) == []
    assert len(acknowledged) > KILLS


def test_a_store_that_acknowledges_before_commit_is_caught_by_the_same_check(tmp_path):
    rng = random.Random("control")

    acknowledged = append_until_killed(tmp_path, "early", rng)

    assert lost(acknowledged, reopen(tmp_path))
