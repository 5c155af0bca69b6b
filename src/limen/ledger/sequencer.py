"""The one thread that orders entries: group commit without a timer, and the way back after a failure.

It takes everything that was queued while the last commit ran, hashes it, signs one checkpoint over it, commits entries,
side records and head in one transaction, and only then lets anybody know. While the disk works on one commit the next
batch grows, so the load itself sets the batch size.

A failed commit means *unknown*. Its callers are refused at once; the writer is thrown away, and nothing is signed until
a new one has read the head back: it is the old head (the batch is not there), or exactly the head of that batch (it is),
or somebody else's work, and then this sequencer stops for good.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from limen.core.errors import Conflict, Invalid, LedgerUnavailable, TamperDetected
from limen.core.types import Checkpoint, Receipt
from limen.formats import checkpoint as checkpoints
from limen.formats import note
from limen.formats.merkle import Frontier, leaf_hash
from limen.ledger.store import Batch, Head

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping, Sequence

    from limen.formats.note import Signer, Verifier
    from limen.ledger.store import Store, Writer

T = TypeVar("T")

MAX_BATCH_BYTES: Final = 8 << 20
MAX_WAITING_BYTES: Final = 64 << 20
FIRST_RETRY_S: Final = 0.05
LAST_RETRY_S: Final = 0.5


@dataclass(eq=False, slots=True)
class Request:
    """Entries that somebody wants to be durable together. With a future, it is resolved on its loop.

    `low_water`: once these entries are in, every intent below it has its outcome. `floor`: the log's size when it was
    queued, below which its entries can't come to lie.
    """

    entries: Sequence[tuple[bytes, Mapping[str, bytes] | None]]
    future: asyncio.Future[list[Receipt]] | None = None
    low_water: int = 0
    floor: int = 0
    weight: int = field(init=False)

    def __post_init__(self) -> None:
        self.weight = 0
        for entry, side in self.entries:
            self.weight += len(entry) + (sum(map(len, side.values())) if side else 0)

    @property
    def abandoned(self) -> bool:
        """Whether its caller has already been told that it failed, or has gone."""
        return self.future is not None and self.future.done()


class Sequencer:
    """Owns the store's writer. `put` and `head` may be called from any thread; all else happens on its own.

    `admit` is asked about the head that is there before anything is signed, and raises to prevent it; `stopped` hears,
    once, why nothing is signed any more.
    """

    def __init__(
        self,
        store: Store,
        signer: Signer,
        *,
        now: Callable[[], float],
        committed: Callable[[Head], None],
        admit: Callable[[Head | None], None] = lambda _: None,
        stopped: Callable[[TamperDetected], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._signer = signer
        self._now = now
        self._committed = committed
        self._admit = admit
        self._stopped = stopped
        self._lock = threading.RLock()  # guards the six below
        self._change = threading.Condition(self._lock)
        self._waiting: deque[Request] = deque()
        self._chores: deque[tuple[Callable[[Writer], Any], Future[Any]]] = deque()
        self._waiting_bytes = 0
        self._pending: dict[Request, None] = {}  # with a future, and not known to have been claimed or dropped; oldest first
        self._low_water_cap: int | None = None  # from here on, entries landed or were lost that nobody answers for
        self._refusal: TamperDetected | None = None
        self._closing = False
        self._unknown: tuple[Head, Sequence[Request]] | None = None  # the sequencer's own: a batch that may have landed
        self.ailing = False  # set and cleared by its own thread: the last commit failed, and no new writer has been found
        self._writer: Writer
        self._writer, self.head = self._open_first()
        self._thread = threading.Thread(target=self._run, name="limen-sequencer", daemon=True)

    # --- any thread

    def start(self) -> None:
        """Begin to take requests."""
        self._thread.start()

    def put(self, request: Request) -> None:
        """Queue a request. Raises LedgerUnavailable if too much is waiting, or if the sequencer has stopped."""
        with self._lock:
            if self._refusal is not None:
                raise _stopped(self._refusal) from self._refusal
            if self._closing:
                raise LedgerUnavailable("it is closed")
            if self._waiting_bytes + request.weight > MAX_WAITING_BYTES:
                raise LedgerUnavailable("too much is waiting to be written")
            self._queue(request)

    def put_soon(self, entry: bytes, *, low_water: int | None) -> None:
        """Queue an entry that nobody waits for. If there is no room, it is lost, and the low water stays where it is.

        `low_water` is the oldest intent still open in the caller's books, None if none is. Intents that are on their way
        to the caller are counted here, for it can't know them yet.
        """
        with self._lock:
            if self._closing or self._refusal or self._waiting_bytes + len(entry) > MAX_WAITING_BYTES:
                self._cap(self.head.low_water)
                return
            oldest = next(iter(self._pending), None)
            bounds = [self.head.size, low_water, oldest.floor if oldest else None, self._low_water_cap]
            self._queue(Request([(entry, None)], low_water=min(bound for bound in bounds if bound is not None)))

    def chore(self, work: Callable[[Writer], T]) -> Future[T]:
        """Queue work on the writer that adds no entry, for its turn between two commits; keep it short, they wait for it."""
        future: Future[T] = Future()
        with self._lock:
            if self._refusal is not None or self._closing:
                raise _stopped(self._refusal) if self._refusal else LedgerUnavailable("it is closed")
            self._chores.append((work, future))
            self._change.notify()
        return future

    def claimed(self, request: Request) -> None:
        """The request's receipts have reached its caller, who from now on answers for its intents."""
        with self._lock:
            self._pending.pop(request, None)

    def stop(self, why: TamperDetected) -> None:
        """Sign nothing any more: what is stored is not what was signed."""
        with self._lock:
            first, self._refusal = self._refusal is None, self._refusal or why
            self._change.notify()
        if first:
            self._stopped(why)

    def close(self, *, timeout_s: float) -> None:
        """Commit what is queued and end the thread; gives up on a disk that hangs longer than the timeout."""
        with self._lock:
            self._closing = True
            self._change.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        if not self._thread.is_alive():
            self._writer.close()

    def _queue(self, request: Request) -> None:
        request.floor = self.head.size
        self._waiting.append(request)
        self._waiting_bytes += request.weight
        if request.future is not None:
            self._pending[request] = None
        if len(self._waiting) == 1:
            self._change.notify()

    def _cap(self, index: int) -> None:
        self._low_water_cap = index if self._low_water_cap is None else min(index, self._low_water_cap)

    # --- its own thread

    def _run(self) -> None:
        while (requests := self._take()) is not None:
            try:
                if requests:
                    self._commit(requests)
                self._do_chore()
            except (LedgerUnavailable, Conflict) as e:
                self._fail(requests, e)
                if not self._recovered():
                    return
                self.ailing = self._refusal is not None
            except TamperDetected as e:
                self._fail(requests, e)
                self.stop(e)
            except Exception as e:  # noqa: BLE001  the thread's root: whatever it was, nobody may wait for ever
                self._fail(requests, e)
                self.stop(TamperDetected(f"the sequencer met an error that it does not know: {e!r}"))

    def _take(self) -> list[Request] | None:
        """Everything that waits, up to one batch, or nothing if there is a chore; None when it is over."""
        with self._lock:
            while not (self._waiting or self._chores or self._closing or self._refusal):
                self._change.wait()
            if self._refusal is not None:
                self._refuse_all(_stopped(self._refusal))
                return None
            if not (self._waiting or self._chores):
                return None
            taken: list[Request] = []
            weight = 0
            while self._waiting and (not taken or weight + self._waiting[0].weight <= MAX_BATCH_BYTES):
                request = self._waiting.popleft()
                self._waiting_bytes -= request.weight
                if request.abandoned:
                    self._pending.pop(request, None)  # its caller was told that it failed, and so it does
                    continue
                weight += request.weight
                taken.append(request)
            return taken

    def _do_chore(self) -> None:
        """One chore, if any waits. A failure is its caller's, and ours: after it the writer is not to be trusted."""
        with self._lock:
            if not self._chores:
                return
            work, future = self._chores.popleft()
        try:
            future.set_result(work(self._writer))
        except Exception as e:
            future.set_exception(_unavailable(e))
            raise

    def _commit(self, requests: Sequence[Request]) -> None:
        """Stage, sign, commit, and only then release."""
        old = self.head
        entries = [entry for request in requests for entry, _ in request.entries]
        if entries:
            leaves = [leaf_hash(entry) for entry in entries]
            head = self._next_head(old, leaves, max(request.low_water for request in requests))
            sides = [side for request in requests for _, side in request.entries]
            records = [(i, name, side[name]) for i, side in enumerate(sides, old.size) if side for name in sorted(side)]
            self._unknown = head, requests
            self._writer.append(Batch(old.size, entries, records), after=old, head=head)
            self._unknown = None
            self.head = head
        else:
            leaves, head = [], old
        self._release(requests, head, leaves)
        self._committed(head)

    def _next_head(self, old: Head, leaves: Sequence[bytes], low_water: int) -> Head:
        frontier = old.frontier.extended(leaves)
        return Head(
            sign_checkpoint(self._signer, frontier),
            frontier,
            max(old.low_water, low_water),
            max(old.committed_at, int(self._now())),
        )

    def _release(self, requests: Sequence[Request], head: Head, leaves: Sequence[bytes]) -> None:
        """Hand out receipts: one wake-up per loop, however large the batch."""
        index, at, checkpoint = head.size - len(leaves), 0, head.checkpoint
        answers: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[list[Receipt]], Any]]] = {}
        for request in requests:
            end = at + len(request.entries)
            if (future := request.future) is not None:
                receipts = [Receipt(index + i, leaves[i], checkpoint) for i in range(at, end)]
                answers.setdefault(future.get_loop(), []).append((future, receipts))
            at = end
            request.entries = ()  # one that nobody claims is remembered, its bytes need not be
        _answer(answers)

    def _fail(self, requests: Sequence[Request], error: Exception) -> None:
        """Tell everybody who waits for these. Entries that nobody waits for are looked after in `_settle_unknown`."""
        self.ailing = True
        answers: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[list[Receipt]], Any]]] = {}
        for request in requests:
            if request.future is not None:
                answers.setdefault(request.future.get_loop(), []).append((request.future, _unavailable(error)))
        with self._lock:
            for request in requests:
                self._pending.pop(request, None)  # if it landed after all, _reopen sees it and caps the low water
        _answer(answers)

    def _refuse_all(self, error: LedgerUnavailable) -> None:
        waiting = [request for request in self._waiting if request.future is not None]
        self._waiting = deque(request for request in self._waiting if request.future is None)
        self._waiting_bytes = sum(request.weight for request in self._waiting)
        self._fail(waiting, error)
        while self._chores:
            self._chores.popleft()[1].set_exception(_unavailable(error))

    # --- after a failure

    def _recovered(self) -> bool:
        """Reopen until the head has been read back; whoever comes in the meantime waits for the next try, not longer.

        False if it was closed before the store came back.
        """
        pause = FIRST_RETRY_S
        while True:
            try:
                self._reopen()
            except LedgerUnavailable as e:
                with self._lock:
                    self._refuse_all(e)
                    if self._closing:
                        return False
                    self._change.wait_for(lambda: self._closing, pause)
                pause = min(2 * pause, LAST_RETRY_S)
            except (TamperDetected, Conflict, Invalid) as e:
                self.stop(e if isinstance(e, TamperDetected) else TamperDetected(str(e)))
                return True  # the next turn refuses whoever waits
            else:
                return True

    def _reopen(self) -> None:
        """A new writer, and what it says became of the batch whose commit failed."""
        self._writer.close()
        writer = self._store.writer()
        try:
            self._settle_unknown(writer.head())
        except BaseException:
            writer.close()
            raise
        self._writer = writer

    def _settle_unknown(self, head: Head | None) -> None:
        if head is None:
            raise TamperDetected(f"ledger.db is empty, and held {self.head.size} entries")
        check_head(head, self._signer.verifier)
        staged, requests = self._unknown or (self.head, ())
        if _same(head, self.head):
            with self._lock:
                riding = [request for request in requests if request.future is None]
                self._waiting.extendleft(reversed(riding))
                self._waiting_bytes += sum(request.weight for request in riding)
        elif _same(head, staged):
            with self._lock:
                self._cap(self.head.size)  # its callers were told that it failed: nobody answers for these intents
            self.head = head
            self._committed(head)
        else:
            raise TamperDetected(
                f"ledger.db has a head of {head.size} entries that this process did not write (its own: {self.head.size})"
            )
        self._unknown = None

    def _open_first(self) -> tuple[Writer, Head]:
        self._store.create()
        writer = self._store.writer()
        try:
            head = writer.head()
            if head is not None:
                check_head(head, self._signer.verifier)
            self._admit(head)
            if head is None:
                head = Head(sign_checkpoint(self._signer, Frontier()), Frontier(), 0, int(self._now()))
                writer.append(Batch(0, ()), after=None, head=head)
        except BaseException:
            writer.close()
            raise
        return writer, head


def sign_checkpoint(signer: Signer, frontier: Frontier) -> Checkpoint:
    """The signed head of a tree; the log's key name is its origin."""
    root = frontier.root()
    text = checkpoints.encode(signer.name, frontier.size, root)
    return Checkpoint(signer.name, frontier.size, root, note.sign(text, signer))


def check_head(head: Head, verifier: Verifier) -> None:
    """TamperDetected unless the head's signature, columns and frontier all say the same."""
    stored = head.checkpoint
    try:
        text, _ = note.open_note(stored.note, [verifier])
        signed = checkpoints.decode(text)
    except Invalid as e:
        raise TamperDetected(f"the stored head does not verify under the log's key: {e}") from e
    if signed != (stored.origin, stored.size, stored.root) or stored.origin != verifier.name:
        raise TamperDetected("the stored head is not the one that was signed")
    if (head.frontier.size, head.frontier.root()) != (stored.size, stored.root):
        raise TamperDetected("the stored frontier does not make the signed root")
    if not 0 <= head.low_water <= stored.size:
        raise TamperDetected("the stored low water is beyond the end of the log")


def _same(one: Head, other: Head) -> bool:
    return replace(one.checkpoint, note=b"") == replace(other.checkpoint, note=b"")


def _stopped(why: TamperDetected) -> LedgerUnavailable:
    next_step = why.next_step or "run `limen ledger verify` on the data directory before anything else"
    refusal = LedgerUnavailable(f"stopped, because {why}", next_step=next_step)
    refusal.__cause__ = why
    return refusal


def _unavailable(error: Exception) -> LedgerUnavailable:
    """One fresh error per waiting caller: a shared one would gather all their tracebacks."""
    next_step = getattr(error, "next_step", "")
    refusal = LedgerUnavailable(f"the commit failed ({error})", next_step=next_step)
    refusal.__cause__ = error
    return refusal


def _answer(answers: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[list[Receipt]], Any]]]) -> None:
    for loop, pairs in answers.items():
        with contextlib.suppress(RuntimeError):  # the loop has closed, and its callers with it
            loop.call_soon_threadsafe(_resolve, pairs)


def _resolve(pairs: Sequence[tuple[asyncio.Future[list[Receipt]], Any]]) -> None:
    for future, answer in pairs:
        if future.done():
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
