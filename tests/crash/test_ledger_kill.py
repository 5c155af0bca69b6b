"""kill -9 at any moment: no acknowledged entry is ever lost, and what is left is one whole log, never a second history.

A recorder, a process of its own, keeps every acknowledgement with its signed checkpoint. After each kill the log must be
dense, lead from what was seen before to the signed head, hold every entry that was acknowledged, and pass through the
root of every checkpoint that was handed out. `LIMEN_LEDGER_KILLS` sets how many times (100 in `make test`).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ledger_appender import SIGNER, open_log

from limen.core.errors import LedgerUnavailable
from limen.formats import checkpoint as checkpoints
from limen.formats import merkle, note, tiles
from limen.ledger.repair.examination import examine
from limen.ledger.sequencer import check_head
from limen.ledger.stored import look
from limen.verify.published import Published, verify

KILLS = int(os.environ.get("LIMEN_LEDGER_KILLS", "100"))
WHOLE = 10  # after so many kills the log is opened as a server opens it, and its published part verified
SAMPLE = 500  # checkpoints of which consistency with the end is proved from the published tiles


class Nursery:
    """Appenders to be killed, and the recorder that outlives them."""

    def __init__(self, directory):
        self.directory = directory
        self.kept = directory.with_name("acknowledged")
        here = Path(__file__)
        reading, self.acknowledgements = os.pipe()
        self.ready, ready = os.pipe()
        self.recorder = subprocess.Popen(
            [sys.executable, here.with_name("ledger_recorder.py"), self.kept], stdin=reading, stdout=subprocess.PIPE
        )
        pipes = [str(self.acknowledgements), str(ready)]
        self.nurse = subprocess.Popen(
            [sys.executable, here.with_name("ledger_appender.py"), directory, *pipes],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(self.acknowledgements, ready),
        )
        os.close(reading)
        os.close(ready)
        self.read = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in (self.nurse, self.recorder):
            process.kill()
            process.communicate()
        os.close(self.ready)
        os.close(self.acknowledgements)

    def kill_one(self, mode, rng):
        """Let one appender live for a random while: at times not even until the log is open."""
        child = self._ask(mode)
        if rng.random() < 0.7:
            assert select.select([self.ready], [], [], 30)[0], "the appender did not start"
            time.sleep(rng.random() ** 2 * 0.12)
        else:
            time.sleep(rng.random() * 0.03)
        os.kill(child, signal.SIGKILL)
        assert self._ask("reap") == -signal.SIGKILL, "the appender ended before it was killed"
        while select.select([self.ready], [], [], 0)[0]:
            os.read(self.ready, 1)

    def _ask(self, command):
        self.nurse.stdin.write(f"{command}\n".encode())
        self.nurse.stdin.flush()
        return int(self.nurse.stdout.readline())

    def acknowledged(self):
        """What the recorder has heard since the last time: (index, leaf hash, signed checkpoint, side) each."""
        os.write(self.acknowledgements, b"mark\n")
        assert self.recorder.stdout.readline() == b"mark\n"
        with self.kept.open("rb") as kept:
            kept.seek(self.read)
            new = kept.read()
        self.read += len(new)
        for line in new.splitlines():
            index, leaf, signed, side = line.split()
            yield int(index), bytes.fromhex(leaf.decode()), base64.b64decode(signed), side == b"with-side"


class History:
    """The one history that everything must belong to; grows with the log, and is never read twice."""

    def __init__(self):
        self.frontier = merkle.Frontier()
        self.acknowledged = self.handed_out = 0
        self.sample, self.rng = [], random.Random("sample")

    def broken(self, store, acknowledged):
        """How the stored log breaks what was promised, in sentences; empty if it does not."""
        try:
            head = store.head()
        except LedgerUnavailable:  # killed before the tables were made
            head = None
        if head is None:
            return ["the log is gone"] if self.frontier.size or acknowledged else []
        check_head(head, SIGNER.verifier)
        start, leaves, roots = self.frontier.size, [], {self.frontier.size: self.frontier.root()}
        for expected, (index, raw) in enumerate(store.entries(start, 1 << 62), start):
            if index != expected:
                return [f"entry {expected} is missing: the log is not dense"]
            leaves.append(merkle.leaf_hash(raw))
            self.frontier = self.frontier.extended(leaves[-1:])
            roots[self.frontier.size] = self.frontier.root()
        if (head.size, head.checkpoint.root) != (self.frontier.size, self.frontier.root()):
            return [
                f"the head of {head.size} entries is not that of the {self.frontier.size} entries stored, or of what was before"
            ]
        sides = {index for index, _, _ in store.sides(start, self.frontier.size)}
        self.acknowledged += len(acknowledged)
        return [
            *_lost(acknowledged, dict(enumerate(leaves, start)), sides),
            *self._forked({signed for _, _, signed, _ in acknowledged}, roots),
        ]

    def _forked(self, notes, roots):
        self.handed_out += len(notes)
        for signed in sorted(notes):
            _, size, root = checkpoints.decode(note.open_note(signed, [SIGNER.verifier])[0])
            if roots.get(size) != root:
                yield f"the checkpoint of {size} entries belongs to another history"
            self.sample.append((size, root))
        while len(self.sample) > SAMPLE:  # whatever is thrown out was compared above
            self.sample.pop(self.rng.randrange(len(self.sample)))


def _lost(acknowledged, known, sides):
    for index, leaf, _, side in acknowledged:
        if known.get(index) != leaf:
            yield f"entry {index} was acknowledged, and is lost"
        if side and index not in sides:
            yield f"the side record of entry {index} was acknowledged, and is lost"


def opened_as_a_server_opens_it(directory):
    """Recover, publish, close: the next appender finds a log at rest, as after an orderly end."""

    async def scene():
        ledger = open_log(directory)
        await ledger.flush()
        await ledger.close()

    asyncio.run(scene())


def prove_consistency(directory, sample):
    """Every sampled checkpoint, by a proof from the published tiles, as a witness would ask for it."""
    log = Published(directory / "log")
    final = verify(log, SIGNER.verifier).checkpoint

    def range_hash(start, end):
        return tiles.range_hash(log.tile, start, end)

    for size, root in sample:
        proof = merkle.consistency_proof(size, final.size, range_hash)
        merkle.verify_consistency(size, final.size, root, final.root, proof)
    return final


@pytest.fixture
def directory(tmp_path):
    directory = tmp_path / "killed"
    directory.mkdir()
    return directory


def test_no_acknowledged_entry_is_lost_and_no_history_forks_when_the_process_is_killed(directory):
    rng, history, began = random.Random("kill"), History(), time.monotonic()
    database = directory / "ledger.db"
    with Nursery(directory) as nursery:
        for kill in range(1, KILLS + 1):
            nursery.kill_one("honest", rng)
            if kill % WHOLE == 0:
                opened_as_a_server_opens_it(directory)
            if database.exists():
                assert history.broken(look(database.parent, SIGNER.name), list(nursery.acknowledged())) == []
    opened_as_a_server_opens_it(directory)
    final = prove_consistency(directory, history.sample)
    assert (final.size, final.root) == (history.frontier.size, history.frontier.root())
    with examine(directory, SIGNER.verifier) as found:
        assert found.findings == []
    print(
        f"\n{KILLS} kills in {time.monotonic() - began:.0f} s: {history.acknowledged} acknowledged entries, all there; log of "
        f"{final.size}, dense; {history.handed_out} signed checkpoints, all of one history, {len(history.sample)} by proof"
    )
    assert history.acknowledged > KILLS
    assert history.handed_out > KILLS


def test_a_store_that_acknowledges_before_commit_is_caught_by_the_same_check(directory):
    rng, history, said = random.Random("control"), History(), []
    with Nursery(directory) as nursery:
        while not nursery.read:
            with contextlib.suppress(FileNotFoundError):
                nursery.kill_one("early", rng)
            said = list(nursery.acknowledged())

    broken = history.broken(look(directory, SIGNER.name), said)

    assert any("acknowledged, and is lost" in sentence for sentence in broken)
    assert any("another history" in sentence for sentence in broken)
