"""The published log: tiles, bundles, checkpoint and key as files, written after the commit and never before it.

One thread, reading through the store like anybody else. Every file can be written again from the database, so publishing
is idempotent and a failure only delays it; a round writes all that was committed since the last. The checkpoint comes
last, after the root of the tiles has been found equal to the signed one: what is published verifies, or is not published.

Full tiles below the size noted in `log.synced` are on disk for good; above it they are written anew after a crash.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final

from limen.core.errors import Invalid, LedgerUnavailable, NotFound, TamperDetected
from limen.formats import merkle, tiles
from limen.formats.checkpoint import decimal
from limen.ledger.proofs import CHECKPOINT, VKEY, Published

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from limen.core.types import Checkpoint
    from limen.formats.merkle import Frontier
    from limen.formats.note import Signer
    from limen.ledger.store import Head, Store

ROUND_S: Final = 0.2  # the least time between two rounds that nobody waits for
RETRY_S: Final = 1.0
SYNC_EVERY: Final = 512


class Publisher:
    """Owns the published directory. `publish`, `reached` and `close` may be called from any thread."""

    def __init__(self, store: Store, root: Path, signer: Signer, *, tampered: Callable[[TamperDetected], None]) -> None:
        self._store = store
        self._root = root
        self._mark = root.with_name(root.name + ".synced")
        self._verifier = signer.verifier
        self._log = Published(root)
        self._tampered = tampered
        self._change = threading.Condition()  # guards the five below
        self._target: Head | None = None
        self._waiting: list[tuple[int, Future[None]]] = []
        self._closing = False
        self._done = -1
        self._over: str | None = None  # why nothing more will be published
        # the thread's own once it runs
        self._earlier: Checkpoint | None = None  # what an earlier process published, until it has been found to be ours
        self._size = 0  # the full tiles below are written; a multiple of 256
        self._edge: list[list[bytes]] = []  # the hashes of the last, partial tile of each level above 0
        self._replaced: list[Path] = []  # partial tiles to remove once the checkpoint needs the full one
        self._unsynced: set[Path] = set()
        self._thread = threading.Thread(target=self._run, name="limen-publisher", daemon=True)

    # --- any thread

    def start(self, head: Head) -> None:
        """Look at what is there, then begin. TamperDetected if more, or something else, was published than is stored."""
        try:
            self._look(head)
        except OSError as e:
            raise LedgerUnavailable(f"the published log can't be written: {e}") from e
        self._thread.start()
        self.publish(head)

    def _look(self, head: Head) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        self._earlier = self._published(head)
        if self._earlier is not None and self._earlier.size == head.size == self._synced():
            self._done = head.size
        vkey = f"{self._verifier.vkey}\n".encode()
        if not (self._root / VKEY).exists() or (self._root / VKEY).read_bytes() != vkey:
            write(self._root / VKEY, vkey)

    def publish(self, head: Head) -> None:
        """Publish this head soon. Never blocks."""
        with self._change:
            self._target = head
            if head.size > self._done:
                self._change.notify()

    def reached(self, size: int) -> Future[None]:
        """A future that is done once a checkpoint of at least this size is published; LedgerUnavailable if it can't be."""
        future: Future[None] = Future()
        with self._change:
            if self._done >= size:
                future.set_result(None)
            elif self._over is not None:
                future.set_exception(LedgerUnavailable(self._over))
            else:
                self._waiting.append((size, future))
                self._change.notify()
        return future

    def close(self, *, timeout_s: float) -> None:
        """Publish what is committed, make it durable, and end the thread; gives up after the timeout."""
        with self._change:
            self._closing = True
            self._change.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

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
                if not resumed:
                    self._resume()
                    resumed = True
                self._round(head)
            except (OSError, LedgerUnavailable) as e:
                self._fail(f"the log is written, but its tiles can't be published: {e}")
                with self._change:
                    if self._closing or self._change.wait_for(lambda: self._closing, RETRY_S):
                        return
            else:
                self._succeed(head)
                if len(self._unsynced) >= SYNC_EVERY:
                    self._sync()
        self._sync()

    def _next(self) -> Head | None:
        """The head to publish, after a pause in which more may come unless somebody waits; None when it is over."""
        with self._change:
            self._change.wait_for(lambda: self._closing or self._behind())
            if self._behind():
                self._change.wait_for(lambda: self._closing or self._waiting, ROUND_S)
            return self._target if self._behind() else None

    def _behind(self) -> bool:
        return self._target is not None and self._target.size > self._done

    def _fail(self, why: str) -> None:
        with self._change:
            waiting, self._waiting = self._waiting, []
        for _, future in waiting:
            future.set_exception(LedgerUnavailable(why))

    def _succeed(self, head: Head) -> None:
        with self._change:
            self._done = head.size
            reached = [future for size, future in self._waiting if size <= head.size]
            self._waiting = [(size, future) for size, future in self._waiting if size > head.size]
        for future in reached:
            future.set_result(None)

    # --- one round

    def _round(self, head: Head) -> None:
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
            self._write(tiles.path(None, number, len(entries)), tiles.encode_bundle(entries))
        for level, hashes in enumerate([leaves, *self._edge]):
            if hashes:
                last = head.size >> (tiles.HEIGHT * (level + 1))
                self._write(tiles.path(level, last, len(hashes)), tiles.encode_tile(hashes))
        self._write(CHECKPOINT, head.checkpoint.note)
        for partial in self._replaced:
            shutil.rmtree(partial, ignore_errors=True)
        self._replaced.clear()
        self._earlier = None

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

    def _write_full(self, level: int | None, number: int, raw: bytes) -> None:
        self._write(tiles.path(level, number), raw)
        full = self._root / tiles.path(level, number)
        self._replaced.append(full.with_name(full.name + ".p"))

    def _write(self, path: str, raw: bytes) -> None:
        write(self._root / path, raw)
        self._unsynced.add(self._root / path)

    # --- what an earlier process left

    def _published(self, head: Head) -> Checkpoint | None:
        """The published checkpoint; None if there is none that verifies: it is then written again."""
        try:
            found = self._log.checkpoint(self._verifier)
        except (NotFound, TamperDetected):
            return None
        if found.size > head.size:
            raise TamperDetected(
                f"a checkpoint of {found.size} entries is published, and ledger.db has {head.size}: it was set back",
                index=head.size,
            )
        if found.size == head.size and found.root != head.checkpoint.root:
            raise TamperDetected(f"the published checkpoint and ledger.db differ at size {head.size}")
        return found

    def _resume(self) -> None:
        """Go on from the last full tile that is known to be on disk; from the first entry if that is not to be read."""
        start = min(self._earlier.size if self._earlier else 0, self._synced())
        start -= start % tiles.WIDTH
        try:
            self._edge = [self._hashes(level, start) for level in range(1, len(tiles.widths(start)))]
            self._size = start
        except (NotFound, Invalid):
            self._size, self._edge = 0, []

    def _hashes(self, level: int, size: int) -> list[bytes]:
        """The last, partial tile of a level, each hash from the full tile below, which is on disk for good."""
        last, width = divmod(size >> (tiles.HEIGHT * level), tiles.WIDTH)
        first = last * tiles.WIDTH
        return [merkle.root_of(self._log.tile(level - 1, first + place, tiles.WIDTH)) for place in range(width)]

    def _synced(self) -> int:
        try:
            return decimal(self._mark.read_text().strip(), "log.synced")
        except (OSError, Invalid, UnicodeDecodeError):
            return 0

    def _sync(self) -> None:
        """Force what was written since the last time to disk, and note how far that reaches."""
        if not self._unsynced:
            return
        above = {parent for path in self._unsynced for parent in path.parents if parent.is_relative_to(self._root)}
        with contextlib.suppress(OSError):  # not noted, so written again by the next process
            for path in self._unsynced | above:
                _fsync(path)
            self._unsynced.clear()
            write(self._mark, f"{self._done}\n".encode())
            _fsync(self._mark)


def _check_root(frontier: Frontier, checkpoint: Checkpoint) -> None:
    if (frontier.size, frontier.root()) != (checkpoint.size, checkpoint.root):
        raise TamperDetected(f"the entries of ledger.db do not make the root that was signed at size {checkpoint.size}")


def write(path: Path, raw: bytes) -> None:
    """Replace a file whole: a reader sees the old bytes or the new ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.new")
    staged.write_bytes(raw)
    staged.replace(path)


def _fsync(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
