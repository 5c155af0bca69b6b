"""The log of record: every access and every change of authority, in one order, durable before anything follows from it.

`Ledger` is the face that the rest of limen sees: coroutines for whoever must wait until an entry is on disk, iterators
for whoever reads. Behind it one thread orders and commits (`sequencer`), one publishes (`publication`), and a store keeps
the bytes (`store`, `sqlite`). Entries are opaque here; `scribe` writes them.
"""

from __future__ import annotations

import asyncio
from operator import methodcaller
from typing import TYPE_CHECKING, Self

from limen.core.errors import LedgerUnavailable, TamperDetected
from limen.core.events import MAX_ENTRY
from limen.formats.tiles import WIDTH
from limen.ledger.patience import Patience
from limen.ledger.publication.places import Directory
from limen.ledger.publication.publisher import Publisher
from limen.ledger.rollback.guard import Unguarded
from limen.ledger.rollback.receipts import check
from limen.ledger.sealed import prepare
from limen.ledger.sequencer import Request, Sequencer
from limen.ledger.stored import stored
from limen.ledger.witnesses.asking import DurableLog, range_hash_of
from limen.ledger.witnesses.cosigning import Cosigning
from limen.ledger.witnesses.watched import WHO_FAILS, Unwitnessed
from limen.verify.published import Published

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from limen.core.types import Checkpoint, Receipt
    from limen.formats.note import Signer, Verifier
    from limen.formats.receipt import Claim
    from limen.formats.tlogpolicy import Policy
    from limen.ledger.publication.places import Place
    from limen.ledger.publication.publisher import Progress
    from limen.ledger.rollback.guard import Guard
    from limen.ledger.rollback.receipts import Held
    from limen.ledger.store import Head, Store
    from limen.ledger.witnesses.watched import State, Stretch

PUBLISHED = "log"
FLUSH_S = 60.0
CLOSE_S = 10.0
DELETED_AT_ONCE = 1_000
FORGET_TRIES = 20  # each waits a quarter of a second for a reader


class Ledger:
    """One log, open for appending; the caller holds the data directory's lock. Appends may come from any event loop."""

    def __init__(
        self,
        store: Store,
        sequencer: Sequencer,
        publisher: Publisher,
        *,
        log: Published,
        verifier: Verifier,
        guard: Guard | Unguarded,
        cosigning: Cosigning | Unwitnessed,
        deadline_s: float,
        witnessed_s: float,
    ) -> None:
        self._store = store
        self._sequencer = sequencer
        self._publisher = publisher
        self._log = log
        self._verifier = verifier
        self._guard = guard
        self._cosigning = cosigning
        self._deadline_s = deadline_s
        self._patience: dict[asyncio.AbstractEventLoop, Patience] = {}  # each used by its own loop only
        self._witnessed_s = witnessed_s

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        origin: str,
        signer: Signer,
        now: Callable[[], float],
        deadline_s: float = 1.5,
        store: Store | None = None,
        copies: Sequence[Place] = (),
        guard: Guard | None = None,
        witnesses: Policy | None = None,
        witness_timeout_s: float = 1.0,
    ) -> Self:
        """Open the log below a directory, or begin one; publishes in the background what an earlier process could not.

        TamperDetected if the stored head does not verify, or is behind what was published: then nothing is signed any
        more. LedgerUnavailable if the database can't be opened. `store` stands in for `ledger.db`, under its promises.
        `copies` are further places where the log is published; one that fails delays only itself. The `guard` is asked
        before anything is signed, and keeps whatever stops the log. So are the `witnesses`, which then cosign what is
        published; Invalid if their policy is not about this log.
        """
        if signer.name != origin:
            raise RuntimeError(f"the log {origin} must be signed under its own name, not {signer.name}")
        store = store or stored(directory, origin)
        watch = guard or Unguarded()
        watch.ready()

        log = Published(directory / PUBLISHED)
        cosigning: Cosigning | Unwitnessed = Unwitnessed()
        if witnesses is not None:
            cosigning = Cosigning(
                witnesses,
                signer.verifier,
                range_hash=range_hash_of(log.tile),
                durable=DurableLog(store, log, signer.verifier),
                now=now,
                timeout_s=witness_timeout_s,
            )

        def tampered(why: TamperDetected) -> None:
            sequencer.stop(why)

        def admit(head: Head | None) -> None:
            watch.admit(head, store)
            try:
                cosigning.look()
            except TamperDetected as why:
                watch.keep(why, head.checkpoint if head else None)
                raise

        def published(head: Head) -> None:
            watch.published(head)
            cosigning.published(head)

        def stopped(why: TamperDetected) -> None:
            watch.keep(why, sequencer.head.checkpoint)

        followers = [Publisher(store, copy, signer.verifier, tampered=tampered) for copy in copies]
        here = Directory(directory / PUBLISHED)
        publisher = Publisher(
            store,
            here,
            signer.verifier,
            tampered=tampered,
            published=published,
            followers=followers,
            cosigned=witnesses is not None,
        )
        sequencer = Sequencer(store, signer, now=now, committed=publisher.publish, admit=admit, stopped=stopped)
        try:
            publisher.start(sequencer.head)
            watch.start(sequencer.head, tampered)
            cosigning.start(stop=tampered, bring=publisher.publish_cosigned, give_up=publisher.not_cosigned)
        except BaseException:
            sequencer.close(timeout_s=0)
            raise
        sequencer.start()
        timeout_s = deadline_s + witness_timeout_s
        return cls(
            store,
            sequencer,
            publisher,
            log=log,
            verifier=signer.verifier,
            guard=watch,
            cosigning=cosigning,
            deadline_s=deadline_s,
            witnessed_s=timeout_s,
        )

    # --- writing

    async def append(self, entry: bytes, side: Mapping[str, bytes] | None = None) -> Receipt:
        """Make one entry durable, with its side records by class; on return it is on disk under a signed checkpoint.

        LedgerUnavailable means that it can't be told: the entry may be in the log or not. Not idempotent.
        """
        request, future = self._queued([(entry, side)])
        receipts = await future
        # No await between here and the caller's own books: until then its intents count as open.
        self._sequencer.claimed(request)
        return receipts[0]

    async def append_all(self, entries: Sequence[tuple[bytes, Mapping[str, bytes] | None]]) -> list[Receipt]:
        """Make entries durable together, at consecutive indexes: all, or none. Otherwise as `append`."""
        request, future = self._queued(entries)
        receipts = await future
        self._sequencer.claimed(request)
        return receipts

    def _queued(
        self, entries: Sequence[tuple[bytes, Mapping[str, bytes] | None]]
    ) -> tuple[Request, asyncio.Future[list[Receipt]]]:
        """A request on its way, and the future that its receipts or its refusal will be in."""
        for entry, _ in entries:
            if len(entry) > MAX_ENTRY:
                raise RuntimeError(f"an entry of more than {MAX_ENTRY} bytes")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Receipt]] = loop.create_future()
        request = Request(entries, future)
        self._sequencer.put(request)
        patience = self._patience.get(loop)
        if patience is None:
            patience = self._patience[loop] = Patience(loop, self._deadline_s)
        patience.watch(future)
        return request, future

    def append_soon(self, entry: bytes, *, low_water: int | None) -> None:
        """Queue an entry that rides on a later commit, from the thread that appends. Never blocks and never fails.

        `low_water` is the oldest intent whose outcome is still to come, None if there is none. An intent is open until
        its outcome is queued here, or its `append` has returned. With a full queue the entry is lost: an outcome that is
        missing reads as *fully exposed*.
        """
        self._sequencer.put_soon(entry, low_water=low_water)

    async def flush(self) -> None:
        """Wait until all that was queued before is committed and published. LedgerUnavailable if it can't be."""
        await self.append_all(())
        try:
            async with asyncio.timeout(FLUSH_S):
                await asyncio.wrap_future(self._publisher.reached(self._sequencer.head.size))
        except TimeoutError as e:
            why = f"the log is written, but its tiles were not published within {FLUSH_S} s"
            raise LedgerUnavailable(why, next_step="look at the disk of the data directory") from e

    async def witnessed(self, size: int) -> None:
        """Wait until the witnesses' quorum has cosigned a tree of at least this size: level L2.

        LedgerUnavailable if they don't in time or can't be had now, or if no policy names any: whether to go on without is
        the caller's to decide.
        """
        self._publisher.reached(size)  # because somebody waits, it is published at once; only then can it be cosigned
        try:
            async with asyncio.timeout(self._witnessed_s):
                await asyncio.wrap_future(self._cosigning.reached(size))
        except TimeoutError as e:
            why = f"the witnesses' quorum has not cosigned {size} entries within {self._witnessed_s} s"
            raise LedgerUnavailable(why, next_step=WHO_FAILS) from e

    async def delete_sides(self, sides: Sequence[tuple[int, str]]) -> None:
        """Delete side records by index and class, between commits; durable on return, and zeros in their place. Idempotent."""
        for start in range(0, len(sides), DELETED_AT_ONCE):
            delete = methodcaller("delete_sides", sides[start : start + DELETED_AT_ONCE])
            await asyncio.wrap_future(self._sequencer.chore(delete))

    async def forget(self) -> bool:
        """Give up every older state of the database's pages; False if somebody reads for so long that it can't be done."""
        for _ in range(FORGET_TRIES):
            if await asyncio.wrap_future(self._sequencer.chore(methodcaller("forget"))):
                return True
        return False

    async def seal(self, below: int) -> tuple[int, int]:
        """Move full, published bundles of entries below an index out of the database, a few between two commits.

        The first and the next index of what was moved now. Never past the low water, and the tail stays. TamperDetected if
        database, bundles and the published root do not agree. What was moved before an error stays moved.
        """
        await self.flush()
        head, start = self._sequencer.head, await asyncio.to_thread(self._store.sealed)
        end, below = start, min(below, head.low_water, head.size - 1)
        ready = prepare(self._store, self._log, self._verifier, below=below)
        while (seals := await asyncio.to_thread(next, ready, None)) is not None:
            await asyncio.wrap_future(self._sequencer.chore(methodcaller("seal", seals)))
            end = (seals[-1].number + 1) * WIDTH
        return start, end

    async def close(self) -> None:
        """Commit and publish what is queued, and close the database. Nothing may be appended afterwards."""
        await asyncio.to_thread(self._sequencer.close, timeout_s=CLOSE_S)
        await asyncio.to_thread(self._cosigning.close, timeout_s=CLOSE_S)
        await asyncio.to_thread(self._publisher.close, timeout_s=CLOSE_S)
        await asyncio.to_thread(self._guard.close, timeout_s=CLOSE_S)

    def hold(self, claim: Claim) -> Held:
        """Hold a receipt against the log (`receipts.check`); one that the log contradicts is an alarm. Any thread; reads."""
        try:
            return check(claim, self._sequencer.head, self._store, self._log, verifier=self._verifier)
        except TamperDetected as why:
            if why.evidence:
                self.alarm(why)
            raise

    def alarm(self, why: TamperDetected) -> None:
        """Sign nothing any more, and keep why across restarts. Any thread."""
        self._sequencer.stop(why)

    # --- reading: any thread

    def head(self) -> Checkpoint:
        """The newest durable checkpoint."""
        return self._sequencer.head.checkpoint

    def published(self) -> list[Progress]:
        """How far each place has come in which the log is published, the data directory's own first; then its notes."""
        return [*self._publisher.progress(), *self._guard.progress()]

    def witnessed_stretch(self) -> Stretch | None:
        """How the witnesses' quorum cosigned since the last time that this was asked; None if it did not."""
        return self._cosigning.stretch()

    def witnesses(self) -> State:
        """What is known of the witnesses, and whether their quorum stands."""
        return self._cosigning.state()

    @property
    def writable(self) -> bool:
        """False from a failed commit on, until the store has been read back. True promises nothing about the next one."""
        return not self._sequencer.ailing

    def low_water(self) -> int:
        """Every intent below this index has its outcome. May lag, never leads."""
        return self._sequencer.head.low_water

    def entries(self, start: int = 0, end: int | None = None) -> Iterator[tuple[int, bytes]]:
        """Committed entries with their indexes, in order, up to `end` or the head of this moment.

        LedgerUnavailable if they can't be read. They are as stored: `proofs.verify` says whether they are as signed.
        """
        size = self.head().size
        return self._store.entries(start, size if end is None else min(end, size))

    def sides(self, start: int, end: int) -> Iterator[tuple[int, str, bytes]]:
        """Sealed side records of start <= index < end, by index and class, in order."""
        return self._store.sides(start, min(end, self.head().size))

    def side_heads(self, start: int, end: int) -> Iterator[tuple[int, str, bytes]]:
        """The same, but only how each record begins: enough for `scribe.side_ref`."""
        return self._store.side_heads(start, min(end, self.head().size))

    def first_since(self, at_us: int) -> int:
        """An index from which on to read for everything that happened at `at_us` or later. May be early, never late."""
        found = self._store.first_since(at_us // 1_000_000 - 1)
        return self.head().size if found is None else found
