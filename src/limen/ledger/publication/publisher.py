"""The published log: tiles, bundles, checkpoint and key as files, written after the commit and never before it.

One publisher and one thread for each place, reading through the store like anybody else. Every file can be written again
from the database, so publishing is idempotent and a failure only delays it; a round writes all that was committed since
the last. The checkpoint comes last, after the root of the tiles has been found equal to the signed one: what is published
verifies, or is not published.

Tiles below the size that the place knows to be durable are there for good; above it they are written anew after a crash,
partial ones too. A second place is told of a head only when the first has it, and its failures delay nobody else.
"""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from limen.core.errors import Invalid, LedgerUnavailable, NotFound, TamperDetected
from limen.core.types import Checkpoint
from limen.formats import checkpoint as checkpoints
from limen.formats import merkle, note, tiles
from limen.verify.published import CHECKPOINT, VKEY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from limen.formats.merkle import Frontier
    from limen.formats.note import Verifier
    from limen.ledger.publication.places import Place
    from limen.ledger.store import Head, Reading

ROUND_S: Final = 0.2  # the least time between two rounds that nobody waits for
HOLD_S: Final = 0.7  # how long a checkpoint stays out so that its cosignatures can come, before the next replaces it
RETRY_S: Final = 1.0
SYNC_EVERY: Final = 512
SETTLE_EVERY: Final = 64  # full tiles, so that a place that fails now and then is not begun again each time


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one place has come. `error` says why it is behind, and is empty while nothing fails."""

    place: str
    size: int | None
    error: str


class Publisher:
    """Owns one place. `publish`, `publish_cosigned`, `reached`, `progress` and `close` may be called from any thread.

    `published` hears, on the publisher's thread, of every head whose checkpoint is out; the `followers`, publishers of
    further places, hear of it after that, and are started and closed with this one. With `cosigned`, somebody is expected
    to bring each checkpoint back with cosignatures, and the next one waits for that a little.
    """

    def __init__(
        self,
        store: Reading,
        place: Place,
        verifier: Verifier,
        *,
        tampered: Callable[[TamperDetected], None],
        published: Callable[[Head], None] | None = None,
        followers: Sequence[Publisher] = (),
        cosigned: bool = False,
    ) -> None:
        self._store = store
        self._place = place
        self._verifier = verifier
        self._tampered = tampered
        self._published = published or (lambda _: None)
        self._followers = followers
        self._witnessed = cosigned
        self._change = threading.Condition()  # guards the nine below
        self._target: Head | None = None
        self._cosigned: Checkpoint | None = None  # the newest that came back, until it is out or outdated
        self._awaited = False  # whether what is out may still come back with cosignatures
        self._waiting: list[tuple[int, Future[None]]] = []
        self._closing = False
        self._done = -1
        self._error = ""
        self._over: str | None = None  # why nothing more will be published
        # the thread's own once it runs
        self._looked = False
        self._out: Checkpoint | None = None  # what is out
        self._earlier: Checkpoint | None = None  # what an earlier process published, until it has been found to be ours
        self._size = 0  # the full tiles below are written; a multiple of 256
        self._edge: list[list[bytes]] = []  # the hashes of the last, partial tile of each level above 0
        self._settled: tuple[int, list[list[bytes]]] = 0, []  # both, as far as the place has confirmed
        self._replaced: list[str] = []  # folders of partial tiles to remove once the checkpoint needs the full one
        self._doubtful = True  # what an earlier process wrote and did not sync may be torn; until it is written anew
        self._written = 0  # files since the last sync
        self._thread = threading.Thread(target=self._run, name="limen-publisher", daemon=True)

    # --- any thread

    def start(self, head: Head) -> None:
        """Look at what is there, then begin. TamperDetected if more, or something else, was published than is stored."""
        try:
            self._look(head)
        except OSError as e:
            raise LedgerUnavailable(f"the published log can't be written: {e}") from e
        self._thread.start()
        for follower in self._followers:
            follower.start_later()
        if self._done == head.size:
            self._announce(head)
        self.publish(head)

    def start_later(self) -> None:
        """Begin without looking, as a second place, which may be out of reach: it looks when it first hears of a head."""
        self._thread.start()

    def publish(self, head: Head) -> None:
        """Publish this head soon. Never blocks."""
        with self._change:
            known, self._target = self._behind(), head
            if not known and self._behind():  # otherwise its thread knows that there is something to do
                self._change.notify_all()

    def publish_cosigned(self, raw: bytes, size: int) -> None:
        """Put this signed note in the place of the checkpoint of this size, soon: the same text with cosignatures.

        Idempotent, and never goes back: nothing happens if a newer checkpoint is out by then. Invalid unless it is a
        checkpoint of this log and size.
        """
        cosigned = _opened(raw, self._verifier)
        if cosigned.size != size:
            raise Invalid("checkpoint", f"is of {cosigned.size} entries, not {size}")
        with self._change:
            if self._cosigned is None or size >= self._cosigned.size:
                self._cosigned = cosigned
                self._change.notify_all()

    def not_cosigned(self, size: int) -> None:
        """For the checkpoint of this size no cosignatures will come soon: the next one is not held back for them."""
        with self._change:
            if self._done <= size:
                self._awaited = False
                self._change.notify_all()

    def reached(self, size: int) -> Future[None]:
        """A future that is done once a checkpoint of at least this size is published; LedgerUnavailable if it can't be."""
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()  # whoever waits may go; the future stays ours to set
        with self._change:
            if self._done >= size:
                future.set_result(None)
            elif self._over is not None:
                future.set_exception(LedgerUnavailable(self._over))
            else:
                self._waiting.append((size, future))
                self._change.notify_all()
        return future

    def progress(self) -> list[Progress]:
        """How far this place and its followers have come, for whoever watches."""
        with self._change:
            mine = Progress(self._place.name, self._done if self._done >= 0 else None, self._over or self._error)
        return [mine, *(progress for follower in self._followers for progress in follower.progress())]

    def close(self, *, timeout_s: float) -> None:
        """Publish what is committed, make it durable, and end the thread; gives up after the timeout."""
        with self._change:
            self._closing = True
            self._change.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        for follower in self._followers:
            follower.close(timeout_s=timeout_s)

    def write_again(self, head: Head) -> None:
        """Write every file anew, here and now, in a directory that nobody else writes: for mending and for an export.

        TamperDetected if the stored entries do not make the signed root, or if more was published than is stored.
        """
        self._look(head)
        self._size, self._edge, self._settled = 0, [], (0, [])
        self._check_stored(head)
        self._extend(head)
        self._done = head.size
        self._place.sync(head.size)

    # --- its own thread

    def _run(self) -> None:
        over = "the log is closed"
        try:
            self._rounds()
        except TamperDetected as e:
            self._tampered(e)
            over = f"not published: {e}"
        except Exception as e:  # noqa: BLE001  the thread's root: whatever it was, nobody may wait for ever
            over = f"the publisher met an error that it does not know: {e!r}"
        with self._change:
            self._over = over
        self._fail(over)

    def _rounds(self) -> None:
        resumed = False
        while (head := self._next()) is not None:
            try:
                if not self._looked:
                    self._look(head)
                if not resumed:
                    self._resume()
                    resumed = True
                if self._has_cosigned():
                    self._bring_cosigned()
                elif head.size > self._done:
                    self._round(head)
                    self._succeed(head)
            except (OSError, LedgerUnavailable) as e:
                self._fail(f"the log is written, but its tiles can't be published: {e}")
                with self._change:
                    if self._closing or self._change.wait_for(lambda: self._closing, RETRY_S):
                        return
            else:
                if self._written >= SYNC_EVERY:
                    self._sync()
        self._sync()

    def _bring_cosigned(self) -> None:
        """Replace the checkpoint that is out by the same one with cosignatures, unless a newer one is out."""
        with self._change:
            checkpoint, self._cosigned = self._cosigned, None
        if checkpoint is None or self._out is None or checkpoint.size < self._out.size:
            return
        if checkpoint.root != self._out.root:
            raise TamperDetected(f"two checkpoints of this log's key differ at size {checkpoint.size}")
        try:
            self._write(CHECKPOINT, checkpoint.note)
            self._place.settle()
        except OSError:
            self.publish_cosigned(checkpoint.note, checkpoint.size)
            raise
        self._out = checkpoint
        with self._change:
            self._awaited, self._error = False, ""
        for follower in self._followers:
            follower.publish_cosigned(checkpoint.note, checkpoint.size)

    def _next(self) -> Head | None:
        """The head to publish, after a pause in which more may come unless somebody waits; None when it is over."""
        with self._change:
            self._change.wait_for(lambda: self._closing or self._behind() or self._has_cosigned())
            if self._behind() and self._awaited:
                # Even if somebody waits: who needs cosignatures gains nothing from a checkpoint that has none.
                self._change.wait_for(lambda: self._closing or self._has_cosigned() or not self._awaited, HOLD_S)
                self._awaited = self._has_cosigned()
            if self._behind() and not self._has_cosigned():
                self._change.wait_for(lambda: self._closing or self._waiting or self._has_cosigned(), ROUND_S)
            return self._target if self._behind() or self._has_cosigned() else None

    def _behind(self) -> bool:
        return self._target is not None and self._target.size > self._done

    def _has_cosigned(self) -> bool:
        return self._cosigned is not None and self._cosigned.size <= self._done

    def _fail(self, why: str) -> None:
        with self._change:
            self._error = why
            waiting, self._waiting = self._waiting, []
        for _, future in waiting:
            future.set_exception(LedgerUnavailable(why))

    def _succeed(self, head: Head) -> None:
        with self._change:
            self._done, self._error = head.size, ""
            reached = [future for size, future in self._waiting if size <= head.size]
            self._waiting = [(size, future) for size, future in self._waiting if size > head.size]
            self._awaited = self._witnessed
        for future in reached:
            future.set_result(None)
        self._announce(head)

    def _announce(self, head: Head) -> None:
        self._published(head)
        for follower in self._followers:
            follower.publish(head)

    # --- one round

    def _round(self, head: Head) -> None:
        try:
            self._catch_up(head)
        except OSError:
            self._size, self._edge = self._settled
            raise

    def _catch_up(self, head: Head) -> None:
        try:
            if self._earlier is not None:
                self._check_stored(head)
            self._extend(head)
        except (TamperDetected, NotFound, Invalid):
            # Perhaps only the published files are damaged: they are all written again. But first the database must be
            # found whole, for if it is not, what is published is the evidence.
            self._size, self._edge = 0, []
            self._check_stored(head)
            self._extend(head)

    def _check_stored(self, head: Head) -> None:
        """TamperDetected unless the stored entries make the root of the head, and on the way what was published before."""
        frontier = self._frontier([], self._size)
        for checkpoint in (self._earlier, head.checkpoint):
            if checkpoint is not None and checkpoint.size >= frontier.size:
                entries = self._store.entries(frontier.size, checkpoint.size)
                frontier = frontier.extended(merkle.leaf_hash(raw) for _, raw in entries)
                _check_root(frontier, checkpoint)

    def _extend(self, head: Head) -> None:
        """Write every tile and bundle that the head's tree has and the last round's had not; then the checkpoint."""
        entries, leaves = self._grow(head.checkpoint)
        number = head.size // tiles.WIDTH
        if entries:
            self._write_partial(None, number, entries)
        for level, hashes in enumerate([leaves, *self._edge]):
            if hashes:
                self._write_partial(level, head.size >> (tiles.HEIGHT * (level + 1)), hashes)
        self._doubtful = False
        self._settle()
        # One of this size that is out already may carry cosignatures, which are not given up.
        out = self._earlier if self._earlier and self._earlier.size == head.size else head.checkpoint
        self._write(CHECKPOINT, out.note)
        self._settle()
        for partial in self._replaced:
            self._place.remove(partial)
        self._replaced.clear()
        self._earlier, self._out = None, out

    def _grow(self, checkpoint: Checkpoint) -> tuple[list[bytes], list[bytes]]:
        """Write the full tiles up to a checkpoint, check its root, and return what is left for the partial tile."""
        entries: list[bytes] = []
        for expected, (index, raw) in enumerate(self._store.entries(self._size, checkpoint.size), self._size):
            if index != expected:
                raise TamperDetected(f"entry {expected} is missing from ledger.db", index=expected)
            entries.append(raw)
            if len(entries) == tiles.WIDTH:
                self._add_full(index // tiles.WIDTH, entries)
                entries = []
                if index // tiles.WIDTH % SETTLE_EVERY == 0:
                    self._settle()
        leaves = [merkle.leaf_hash(raw) for raw in entries]
        _check_root(self._frontier(leaves, checkpoint.size), checkpoint)
        return entries, leaves

    def _frontier(self, leaves: list[bytes], size: int) -> Frontier:
        edge = [leaves, *self._edge]
        while edge and not edge[-1]:
            edge.pop()
        try:
            return tiles.frontier_of(edge, size)
        except Invalid as e:
            raise TamperDetected(f"ledger.db does not hold the {size} entries that were signed: {e}") from e

    def _add_full(self, number: int, entries: Sequence[bytes]) -> None:
        """A full tile and its bundle; its root is one more hash of the level above, and may fill a tile there."""
        self._write_full(None, number, tiles.encode_bundle(entries))
        edge = [list(hashes) for hashes in self._edge]  # a copy: a failed write must leave no half step behind
        hashes, index = [merkle.leaf_hash(raw) for raw in entries], number
        for level in range(len(edge) + 1):
            self._write_full(level, index, tiles.encode_tile(hashes))
            if level == len(edge):
                edge.append([])
            edge[level].append(merkle.root_of(hashes))
            if len(edge[level]) < tiles.WIDTH:
                break
            hashes, edge[level] = edge[level], []
            index //= tiles.WIDTH
        self._edge, self._size = edge, (number + 1) * tiles.WIDTH

    def _write_partial(self, level: int | None, number: int, items: list[bytes]) -> None:
        """A partial tile or bundle; after a start also the narrower ones that may be torn, for readers of older checkpoints."""
        encode = tiles.encode_bundle if level is None else tiles.encode_tile
        self._write(tiles.path(level, number, len(items)), encode(items))
        if self._doubtful:
            # A place whose every file is durable says so by its size, and is not asked for each of them.
            span = tiles.WIDTH ** (level or 0)
            durable = min(self._place.synced() // span - number * tiles.WIDTH, len(items))
            for width in range(max(durable, 0) + 1, len(items)):
                if self._read_or_none(path := tiles.path(level, number, width)) is not None:
                    self._write(path, encode(items[:width]))

    def _write_full(self, level: int | None, number: int, raw: bytes) -> None:
        path = tiles.path(level, number)
        self._write(path, raw)
        self._replaced.append(f"{path}.p")

    def _write(self, path: str, raw: bytes) -> None:
        self._place.write(path, raw)
        self._written += 1

    def _settle(self) -> None:
        self._place.settle()
        self._settled = self._size, self._edge

    # --- what an earlier process left

    def _look(self, head: Head) -> None:
        self._earlier = self._found(head)
        if self._earlier is not None and self._earlier.size == head.size <= self._place.synced():
            self._done, self._out = head.size, self._earlier
        vkey = f"{self._verifier.vkey}\n".encode()
        if self._read_or_none(VKEY) != vkey:
            self._write(VKEY, vkey)
            self._place.settle()
        self._looked = True

    def _found(self, head: Head) -> Checkpoint | None:
        """The checkpoint that is out; None if there is none that verifies: it is then written again."""
        try:
            found = _opened(self._place.read(CHECKPOINT), self._verifier)
        except (NotFound, Invalid):
            return None
        if found.size > head.size:
            raise TamperDetected(
                f"a checkpoint of {found.size} entries is published, and ledger.db has {head.size}: it was set back",
                index=head.size,
            )
        if found.size == head.size and found.root != head.checkpoint.root:
            raise TamperDetected(f"the published checkpoint and ledger.db differ at size {head.size}")
        return found

    def _read_or_none(self, path: str) -> bytes | None:
        try:
            return self._place.read(path)
        except NotFound:
            return None

    def _resume(self) -> None:
        """Go on from the last full tile that is known to be durable; from the first entry if that is not to be read."""
        start = min(self._earlier.size if self._earlier else 0, self._place.synced())
        start -= start % tiles.WIDTH
        try:
            self._edge = [self._hashes(level, start) for level in range(1, len(tiles.widths(start)))]
            self._size = start
        except (NotFound, Invalid):
            self._size, self._edge = 0, []
        self._settled = self._size, self._edge

    def _hashes(self, level: int, size: int) -> list[bytes]:
        """The last, partial tile of a level, each hash from the full tile below, which is durable."""
        last, width = divmod(size >> (tiles.HEIGHT * level), tiles.WIDTH)
        below = [tiles.path(level - 1, last * tiles.WIDTH + place) for place in range(width)]
        return [merkle.root_of(tiles.decode_tile(self._place.read(path), tiles.WIDTH)) for path in below]

    def _sync(self) -> None:
        """Make durable what was written since the last time, and have it noted how far that reaches."""
        if self._written and self._done >= 0:
            with contextlib.suppress(OSError):  # not noted, so written again by the next process
                self._place.sync(self._done)
                self._written = 0


def _opened(raw: bytes, verifier: Verifier) -> Checkpoint:
    """A signed checkpoint of this log; Invalid for anything else."""
    origin, size, root = checkpoints.decode(note.open_note(raw, [verifier])[0])
    if origin != verifier.name:
        raise Invalid("checkpoint", f"is of {origin}, not of {verifier.name}")
    return Checkpoint(origin, size, root, raw)


def _check_root(frontier: Frontier, checkpoint: Checkpoint) -> None:
    if (frontier.size, frontier.root()) != (checkpoint.size, checkpoint.root):
        raise TamperDetected(f"the entries of ledger.db do not make the root that was signed at size {checkpoint.size}")
