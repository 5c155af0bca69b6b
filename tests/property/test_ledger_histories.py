"""Random histories of commits that fail, land unseen, and stores that can't be opened: what was acknowledged is there."""

from __future__ import annotations

import asyncio
import random
import shutil
import time

import pytest

from limen.core.errors import LedgerUnavailable
from limen.formats.merkle import leaf_hash
from limen.formats.note import Signer
from limen.ledger import sequencer
from limen.ledger.ledger import Ledger
from limen.ledger.sqlite import SqliteStore, SqliteWriter
from limen.verify.published import Published, verify

SIGNER = Signer("example.com/log", bytes(32))
HISTORIES = 40


class UnreliableStore(SqliteStore):
    """Fails where a disk fails: on opening, before a commit, or after it."""

    def __init__(self, path, rng, writer_class):
        super().__init__(path, SIGNER.name)
        self.writer_class = writer_class
        self.rng = rng
        self.failing = False

    def writer(self):
        if self.failing and self.rng.random() < 0.4:
            raise LedgerUnavailable("can't be opened")
        writer = self.writer_class(self._path, self._origin)
        writer.store = self
        return writer


class UnreliableWriter(SqliteWriter):
    def append(self, batch, *, after, head):
        luck = self.store.rng.random() if self.store.failing else 1.0
        if luck < 0.15:
            raise LedgerUnavailable("failed before the commit")
        super().append(batch, after=after, head=head)
        if luck < 0.3:
            raise LedgerUnavailable("failed after the commit")


class ForgetfulWriter(UnreliableWriter):
    """The negative control: now and then says that it committed, and did not."""

    def append(self, batch, *, after, head):
        if self.store.failing and self.store.rng.random() < 0.1:
            return
        super().append(batch, after=after, head=head)


async def history(directory, store, rng):
    """What was acknowledged, what rode along and was not dropped, and what is stored in the end."""
    acknowledged, riding = {}, []
    ledger = Ledger.open(directory, origin=SIGNER.name, signer=SIGNER, now=time.time, store=store)
    store.failing = True

    async def caller(name):
        for number in range(rng.randrange(1, 12)):
            raws = [f"{name} {number} {i}".encode() for i in range(rng.choice([1, 1, 3]))]
            if rng.random() < 0.3:
                riding.append(f"riding {name} {number}".encode())
                ledger.append_soon(riding[-1], low_water=None)
            try:
                receipts = await ledger.append_all([(raw, None) for raw in raws])
            except LedgerUnavailable:
                continue
            acknowledged.update({receipt.index: leaf_hash(raw) for receipt, raw in zip(receipts, raws, strict=True)})

    await asyncio.gather(*(caller(name) for name in range(6)))
    store.failing = False
    await asyncio.sleep(0.01)
    for _ in range(100):
        try:
            await ledger.flush()
            break
        except LedgerUnavailable:
            await asyncio.sleep(0.01)
    stored = list(ledger.entries())
    await ledger.close()
    return acknowledged, riding, stored


def broken_promises(tmp_path, writer_class, *, enough=""):
    """Play the histories, until `enough` is among them; every promise that one of them broke, by name."""
    broken = set()
    for number in range(HISTORIES):
        rng = random.Random(f"history {number}")
        directory = tmp_path / str(number)
        directory.mkdir()
        store = UnreliableStore(directory / "ledger.db", rng, writer_class)
        acknowledged, riding, stored = asyncio.run(history(directory, store, rng))
        raws = [raw for _, raw in stored]
        leaves = {index: leaf_hash(raw) for index, raw in stored}
        promises = {
            "the log is dense": [index for index, _ in stored] == list(range(len(stored))),
            "what was acknowledged is there": all(leaves.get(i) == leaf for i, leaf in acknowledged.items()),
            "something was acknowledged": bool(acknowledged),
            "nothing is stored twice": len(raws) == len(set(raws)),
            "what nobody waits for is kept through failures": set(riding) <= set(raws),
        }
        broken |= {promise for promise, kept in promises.items() if not kept}
        if enough in broken:
            break
        if not broken:
            assert verify(Published(directory / "log"), SIGNER.verifier).checkpoint.size == len(stored)
    return broken


@pytest.fixture
def _quick_retries(monkeypatch):
    monkeypatch.setattr(sequencer, "FIRST_RETRY_S", 0.001)
    monkeypatch.setattr(sequencer, "LAST_RETRY_S", 0.002)


@pytest.mark.usefixtures("_quick_retries")
def test_whatever_fails_what_was_acknowledged_is_stored_where_it_was_said_to_be(tmp_path):
    assert broken_promises(tmp_path, UnreliableWriter) == set()


@pytest.mark.usefixtures("_quick_retries")
def test_a_store_that_forgets_a_commit_is_caught(tmp_path):
    promise = "what was acknowledged is there"
    assert promise in broken_promises(tmp_path, ForgetfulWriter, enough=promise)


def test_any_beginning_of_the_write_ahead_log_is_a_whole_log(tmp_path):
    """What a power cut leaves of frames that were not yet synced: a prefix, or a prefix with a torn end."""
    live, cut = tmp_path / "live", tmp_path / "cut"
    live.mkdir()

    async def fill():
        ledger = Ledger.open(live, origin=SIGNER.name, signer=SIGNER, now=time.time)
        for number in range(60):
            await ledger.append(f"entry {number}".encode())
        copies = (live / "ledger.db").read_bytes(), (live / "ledger.db-wal").read_bytes()
        await ledger.close()
        return copies

    database, wal = asyncio.run(fill())

    async def reopen():
        ledger = Ledger.open(cut, origin=SIGNER.name, signer=SIGNER, now=time.time)
        await ledger.append(b"and on")
        await ledger.flush()
        stored = [raw for _, raw in ledger.entries()]
        await ledger.close()
        return stored

    rng = random.Random("cut")
    sizes = set()
    for _ in range(40):
        shutil.rmtree(cut, ignore_errors=True)
        cut.mkdir()
        (cut / "ledger.db").write_bytes(database)
        left = wal[: rng.randrange(len(wal))]
        (cut / "ledger.db-wal").write_bytes(left[:-50] + rng.randbytes(50) if rng.random() < 0.5 else left)
        stored = asyncio.run(reopen())
        assert stored == [*(f"entry {number}".encode() for number in range(len(stored) - 1)), b"and on"]
        assert verify(Published(cut / "log"), SIGNER.verifier).checkpoint.size == len(stored)
        sizes.add(len(stored))
    assert len(sizes) > 10
