"""A power cut at any moment: whatever the disk may then hold, every acknowledged entry is there and one log verifies.

`kill -9` leaves the page cache, so it can't show a sync that is missing. Here the writes and syncs of a ledger process are
traced, and for every moment the states that the disk may be in are worked out (`disk`), laid out, and opened as a server
opens them. The same for a sync that failed, and whose writes the kernel then took for written.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from disk import Disk, traced
from ledger_appender import SIGNER, entry, open_log

from limen.formats.merkle import leaf_hash
from limen.ledger.repair.examination import examine

FEW = 0.02  # of the states, in `make test`
FAIL = ("-e", "inject=fdatasync:error=EIO:when=8")  # after a restart only the thread that commits syncs so often
FAIL_AND_KILL = ("-e", "inject=fdatasync:error=EIO:signal=SIGKILL:when=8")


class Cuts:
    """Processes that were traced one after the other over one directory, and a place to lay out what a cut leaves."""

    def __init__(self, directory, ram, *, mode="full", share=1.0, failed_writes="lost", since=0):
        self.directory, self.ram, self.mode, self.share = directory / "log", ram, mode, share
        self.directory.mkdir()
        self.failed_writes, self.since = failed_writes, since  # processes before that one are only followed
        self.traces = []  # and what each process left in the directory
        self.rng = random.Random("power cut")
        self.found, self.drawn = {}, {}
        self.states = self.moments = 0

    def run(self, *words, options=()):
        trace = self.directory.with_name(f"trace-{len(self.traces)}")
        program = [sys.executable, Path(__file__).with_name("ledger_workload.py"), self.directory, self.mode, *words]
        ended = traced(program, trace, *options)
        kept = [path for path in self.directory.rglob("*") if not path.name.endswith("-shm")]
        self.traces.append((trace, {str(path): None if path.is_dir() else path.read_bytes() for path in kept}))
        return ended

    def broken(self):
        """How what was sworn is broken, in sentences, over all moments and states; each state is opened once."""
        self.disk = Disk(self.directory, failed_writes=self.failed_writes)
        for number, (trace, left) in enumerate(self.traces):
            for _ in self.disk.follow(trace, left):
                if number < self.since:
                    continue
                self.moments += 1
                for state in self.disk.possible(self.rng):
                    yield from self._broken(state, self.disk.said)

    def _broken(self, state, said):
        told = hash(tuple((path, hash(content)) for path, content in state.items()))
        if not self.drawn.setdefault(told, self.rng.random() < self.share):
            return
        if told not in self.found:
            self.states += 1
            self.found[told] = self._opened(state)
        yield from missing(self.found[told], said)

    def _opened(self, state):
        """The leaf hashes and side records of a state; or the sentence that tells why it is no log any more."""
        laid = self.ram / "laid"
        shutil.rmtree(laid, ignore_errors=True)
        laid.mkdir()
        for path, content in state.items():
            place = laid / Path(path).relative_to(self.directory)
            place.mkdir() if content is None else place.write_bytes(content)
        try:
            return asyncio.run(opened(laid))
        except Exception as e:  # noqa: BLE001  whatever it is: this state is lost
            return f"{type(e).__name__}: {e}"


async def opened(directory):
    """As a server would: it opens, appends, publishes; nothing is found wrong. What it holds."""
    ledger = open_log(directory)
    try:
        await ledger.append(entry())
        await ledger.flush()
        leaves = [leaf_hash(raw) for _, raw in ledger.entries()]
        sides = {index for index, _, _ in ledger.sides(0, len(leaves))}
    finally:
        await ledger.close()
    with examine(directory, SIGNER.verifier) as found:
        assert (found.findings, found.out.size) == ([], len(leaves))
    return leaves, sides


def missing(found, said):
    """What was sworn up to a moment and does not hold in a state, in sentences."""
    if isinstance(found, str):
        yield f"the log can't be opened: {found}"
        return
    leaves, sides = found
    deleting = {int(line.split()[1]) for line in said if line.startswith("deleting")}
    for line in said:
        match line.split():
            case ["acknowledged", index, leaf] if int(index) >= len(leaves) or leaves[int(index)].hex() != leaf:
                yield f"entry {index} was acknowledged, and is lost"
            case ["side", index] if int(index) not in sides | deleting:
                yield f"the side record of entry {index} was acknowledged, and is lost"
            case ["deleted", index] if int(index) in sides:
                yield f"the side record of entry {index} was deleted, and is back"


@pytest.fixture
def ram():
    """A place where laying out a state costs little; nothing is promised about what is synced there."""
    if shutil.which("strace") is None and not os.environ.get("CI"):
        pytest.skip("strace is not installed (tools/setup packages); CI=true makes this a failure")
    where = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=where if where.is_dir() else None) as name:
        yield Path(name)


def assert_nothing_is_lost(cuts):
    assert list(cuts.broken()) == []
    print(f"\n{cuts.moments} moments, {len(cuts.drawn)} states of the disk, {cuts.states} of them opened; nothing lost")
    assert cuts.states > 20


@pytest.mark.parametrize("share", [pytest.param(FEW, id="few"), pytest.param(1.0, id="all", marks=pytest.mark.slow)])
def test_whatever_a_power_cut_leaves_holds_every_acknowledged_entry(tmp_path, ram, share):
    cuts = Cuts(tmp_path, ram, share=share)
    assert cuts.run("whole") == 0

    assert_nothing_is_lost(cuts)
    assert any(line.startswith("deleted") for line in cuts.disk.said)


@pytest.mark.parametrize("mode", ["off", pytest.param("normal", marks=pytest.mark.slow)])
def test_a_database_that_syncs_less_is_caught_by_the_same_replay(tmp_path, ram, mode):
    cuts = Cuts(tmp_path, ram, mode=mode)
    assert cuts.run("whole") == 0

    assert any("was acknowledged, and is lost" in sentence for sentence in cuts.broken())


@pytest.mark.parametrize(
    ("failed_writes", "share"),
    [
        pytest.param("lost", FEW, id="few"),
        pytest.param("lost", 1.0, id="all", marks=pytest.mark.slow),
        pytest.param("kept", 1.0, id="all, kept", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("how", [FAIL, FAIL_AND_KILL], ids=["goes on", "killed"])
def test_after_a_sync_that_failed_nothing_stands_on_the_writes_that_it_left(tmp_path, ram, how, failed_writes, share):
    cuts = Cuts(tmp_path, ram, failed_writes=failed_writes, share=share, since=1)
    assert cuts.run() == 0
    assert (cuts.run(options=how) == 0) == (how is FAIL)
    assert cuts.run() == 0

    assert_nothing_is_lost(cuts)


def test_a_database_that_believes_its_log_after_a_failed_sync_is_caught_by_the_same_replay(tmp_path, ram):
    """The batch was readable after the restart, entries were put upon it and synced; then the power cut took it away.

    Which thread's sync is the eighth is the machine's choice, and only a commit's can show it: so it gets some tries.
    """

    def caught(number):
        directory = tmp_path / str(number)
        directory.mkdir()
        cuts = Cuts(directory, ram, mode="no-checkpoint", since=2)
        assert cuts.run() == 0
        assert cuts.run(options=FAIL_AND_KILL) != 0
        assert cuts.run() == 0
        return any("was acknowledged, and is lost" in sentence for sentence in cuts.broken())

    assert any(caught(number) for number in range(6))


@pytest.mark.parametrize("done", [True, False])
def test_what_is_left_tells_whether_a_rename_in_which_its_process_died_was_done(tmp_path, done):
    def quoted(path):
        return '"' + "".join(f"\\x{byte:02x}" for byte in str(path).encode()) + '"'

    old, new = tmp_path / "note.new", tmp_path / "note"
    lines = [
        f"7 openat(AT_FDCWD, {quoted(old)}, O_WRONLY|O_CREAT, 0600) = 3",
        f"7 write(3, {quoted('seen')}, 4) = 4",
        f"8 rename({quoted(old)}, {quoted(new)} <unfinished ...>",
        "7 +++ killed by SIGKILL +++",
    ]
    trace = tmp_path / "trace"
    trace.write_text("\n".join(lines))
    disk = Disk(tmp_path)

    assert list(disk.follow(trace, {str(new if done else old): b"seen"})) == [None]
    assert list(disk.names) == [str(new if done else old)]

    with pytest.raises(AssertionError, match=f"this model of the disk is wrong about .*{new}"):
        list(Disk(tmp_path).follow(trace, {str(new): b"sewn"}))
