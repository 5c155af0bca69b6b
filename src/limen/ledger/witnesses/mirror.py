"""A full, verified copy of somebody else's log, in a directory that can be published as it is. C2SP tlog-tiles v0.1.

Nothing that the server says is believed. A checkpoint counts if the log's key signed it; a hash, if it leads to that
checkpoint's root; an entry, if it makes its leaf hash; a new checkpoint, if its tree begins with the whole tree held here.
What has passed is on disk before the checkpoint that names it, so a copy that was killed goes on from where it was, and a
cosignature of the mirror's (C2SP tlog-mirror, §Introduction) says: all of it is here. Of that draft this is the copy and its
cosignature; entries are fetched from the log, the submission of entries by others is not offered.

A log that shows less than is held, or another tree, is refused for good: both signed checkpoints are kept as evidence.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from limen.core.errors import Invalid, LedgerUnavailable, NotFound, TamperDetected
from limen.core.types import Checkpoint
from limen.durable import sync
from limen.formats import checkpoint as checkpoints
from limen.formats import merkle, note, tiles
from limen.formats import witness as codec
from limen.ledger.publication.places import Directory
from limen.ledger.rollback.guard import write_durably
from limen.ledger.witnesses.witness import TEXT, Answer
from limen.verify.published import CHECKPOINT, VKEY, Published

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from limen.formats.note import Verifier
    from limen.ledger.witnesses.witness import Witness
T = TypeVar("T")
P = ParamSpec("P")
COPY: Final = "log"
EVIDENCE: Final = "evidence"
OK: Final = 200
BUSY_S: Final = 5.0  # how long a log waits that asks while its entries are being copied


class Forked(TamperDetected):
    """The log showed less than it had shown before, or another history. Both checkpoints are kept; nothing else was changed."""


class SignedTree:
    """The tree of one verified checkpoint, read from anywhere: no hash is returned before it has led to the signed root."""

    def __init__(self, log: Published, checkpoint: Checkpoint) -> None:
        """TamperDetected if the last tile of each level does not make the root."""
        self._log = log
        self._size = checkpoint.size
        self._edge = [self._last(level, width) for level, width in enumerate(tiles.widths(checkpoint.size))]
        self._seen: dict[int, tuple[int, list[bytes]]] = {}  # of each level the full tile that was read last
        if tiles.frontier_of(self._edge, checkpoint.size).root() != checkpoint.root:
            raise TamperDetected(f"the tiles that the log serves do not make the root that it signed at size {checkpoint.size}")

    def _last(self, level: int, width: int) -> list[bytes]:
        return self._log.tile(level, self._size >> (tiles.HEIGHT * (level + 1)), width) if width else []

    def tile(self, level: int, index: int, width: int) -> list[bytes]:
        """The first `width` hashes of a tile of this tree. TamperDetected names the first entry under one that is not signed."""
        if index == self._size >> (tiles.HEIGHT * (level + 1)):
            return self._edge[level][:width]
        number, hashes = self._seen.get(level, (-1, []))
        if number != index:
            hashes = self._log.tile(level, index, tiles.WIDTH)
            above, place = divmod(index, tiles.WIDTH)
            if merkle.root_of(hashes) != self.tile(level + 1, above, place + 1)[place]:
                first = index * tiles.WIDTH ** (level + 1)
                raise TamperDetected(f"a tile of level {level} that the log serves is not the one that was signed", index=first)
            self._seen[level] = index, hashes
        return hashes[:width]


class Mirror:
    """One copy. All methods may be called from any thread; one at a time does the work."""

    def __init__(self, directory: Path, log: Published, key: Verifier, *, witness: Witness | None = None) -> None:
        """Take up the copy below a directory. TamperDetected if evidence is kept there, or if its checkpoint is damaged."""
        self.root = directory / COPY
        self._evidence = directory / EVIDENCE
        self._log = log
        self._key = key
        self._witness = witness
        self._place = Directory(self.root)
        self._copy = Published(self.root)
        self._lock = threading.Lock()  # guards the four below, and the directory
        self.held: Checkpoint | None = None  # all of it is on disk
        self._recheck = True  # whether the copy has still to be read through, since we began
        self._alarm: Forked | None = None
        if self._evidence.is_dir() and any(self._evidence.iterdir()):
            raise TamperDetected(
                f"{key.name} has shown two histories: the checkpoints are in {self._evidence}, and nothing more is copied",
                next_step="show them to whoever relies on that log; to go on all the same, move the directory away",
            )
        with contextlib.suppress(NotFound):
            self.held = self._copy.checkpoint(key)
        self._synced = self.held is not None and self._place.synced() >= self.held.size

    def update(self, now: int) -> Checkpoint:
        """Copy what the log shows now; on return all of it is on disk, under the checkpoint that is returned.

        LedgerUnavailable if the log can't be read now. Forked if it contradicts what is held. TamperDetected if what it
        serves is not what it signed. In each case what was held stays as it was.
        """
        with self._lock:
            self._check_alarm()
            shown = _fetched(self._log.checkpoint, self._key)
            self._hold(shown)
            if not _same(shown, self.held) or self._says_more(shown):
                self._publish(shown, self._cosign(shown, now))
            return shown

    def _says_more(self, shown: Checkpoint) -> bool:
        """Whether this checkpoint carries a signature that the one put out has not: a witness came later, or again."""
        return self.held is None or not set(note.parse(shown.note)[1]) <= set(note.parse(self.held.note)[1])

    # --- as a witness: `doors.witness.app.Answers`

    def add_checkpoint(self, raw: bytes, now: int) -> Answer:
        """As `Witness.add_checkpoint`, but what it would cosign is copied first: nothing is cosigned that is not held."""
        witness = self._its_witness()
        if not self._lock.acquire(timeout=BUSY_S):
            raise LedgerUnavailable("the mirror is still copying", next_step="ask again when it is through")
        try:
            self._check_alarm()
            if not _is_of(self._key.name, raw):
                return Answer(404, TEXT, b"this mirror holds another log\n")
            recorded = witness.recorded(self._key.name)
            if self.held is not None and recorded is not None and recorded.size < self.held.size:
                self._cosign(self.held, now)  # a record that is behind the copy would let another history in
                recorded = witness.recorded(self._key.name)
            shown = self._authentic(raw, old_size=recorded.size if recorded else -1)
            if shown is not None:
                try:
                    self._hold(shown)
                except Forked as e:
                    return Answer(422, TEXT, f"{e}\n".encode())
            # Whatever it is that is not to be copied is not to be cosigned either: the witness says why.
            answer = witness.add_checkpoint(raw, now)
            if shown is not None and answer.status == OK:
                self._publish(shown, answer.body)
            return answer
        finally:
            self._lock.release()

    def shown(self, path: str) -> bytes | None:
        """What the witness recorded, by its path below the monitoring prefix."""
        return self._its_witness().shown(path)

    def _check_alarm(self) -> None:
        if self._alarm is not None:
            raise self._alarm

    def _its_witness(self) -> Witness:
        if self._witness is None:
            raise RuntimeError("a mirror without a key of its own has no witness's door")
        return self._witness

    def _authentic(self, raw: bytes, *, old_size: int) -> Checkpoint | None:
        """The checkpoint of a request, if the log signed it and the witness could cosign it: then it is worth copying."""
        try:
            request = codec.decode(raw)
            text, _ = note.open_note(request.checkpoint, [self._key])
            shown = Checkpoint(*checkpoints.decode(text), request.checkpoint)
        except Invalid:
            return None
        worth = shown.origin == self._key.name and request.old_size == old_size <= shown.size
        return shown if worth else None

    def _cosign(self, checkpoint: Checkpoint, now: int) -> bytes:
        """The mirror's own signature lines on a checkpoint that is held; nothing if it has no key, or its record is this one."""
        recorded = self._witness.recorded(checkpoint.origin) if self._witness else None
        if self._witness is None or recorded is None:
            return b""
        if recorded.size > checkpoint.size:
            raise self._forked("it was set back", recorded.note, checkpoint)
        if recorded.note and (recorded.size, recorded.root) == (checkpoint.size, checkpoint.root):
            return recorded.note.partition(b"\n\n")[2]
        proof = tuple(merkle.consistency_proof(recorded.size, checkpoint.size, self._copy.range_hash)) if recorded.size else ()
        answer = self._witness.add_checkpoint(codec.Request(recorded.size, proof, checkpoint.note).encode(), now)
        if answer.status != OK:
            raise self._forked(f"its copy can't be cosigned ({answer.body.decode().strip()})", recorded.note, checkpoint)
        return answer.body

    # --- copying; under the lock

    def _hold(self, shown: Checkpoint) -> None:
        """Have every entry and tile of a verified checkpoint on disk; what is held is looked through first, once a life."""
        held = self.held
        if held is not None and shown.size < held.size:
            raise self._forked("it was set back", held.note, shown)
        if held is not None and shown.size == held.size and shown.root != held.root:
            raise self._forked("it has two trees of one size", held.note, shown)
        if _same(shown, held) and not self._recheck:
            return
        tree = _fetched(SignedTree, self._log, shown)
        if held is not None and held.size and _fetched(tiles.range_hash, tree.tile, 0, held.size) != held.root:
            raise self._forked("its new tree does not begin with the old one", held.note, shown)
        start = held.size if held is not None and not self._recheck else 0
        self._store_bundles(tree, start, shown.size)
        self._store_upper(tree, start, shown.size)
        self._write(VKEY, f"{self._key.vkey}\n".encode())
        self._place.sync(shown.size)
        sync(self.root.parent)
        self._synced, self._recheck = True, False

    def _store_bundles(self, tree: SignedTree, start: int, size: int) -> None:
        for number in range(start // tiles.WIDTH, -(-size // tiles.WIDTH)):
            width = min(tiles.WIDTH, size - number * tiles.WIDTH)
            leaves = _fetched(tree.tile, 0, number, width)
            entries = self._kept(number, leaves) or self._fetched_entries(number, leaves)
            self._write(tiles.path(None, number, width), tiles.encode_bundle(entries))
            self._write(tiles.path(0, number, width), tiles.encode_tile(leaves))

    def _kept(self, number: int, leaves: list[bytes]) -> list[bytes] | None:
        """The entries as a former life left them here, if they are the right ones."""
        try:
            entries = self._copy.bundle(number, len(leaves))
        except (NotFound, Invalid):
            return None
        return entries if [merkle.leaf_hash(entry) for entry in entries] == leaves else None

    def _fetched_entries(self, number: int, leaves: list[bytes]) -> list[bytes]:
        entries = _fetched(self._log.bundle, number, len(leaves))
        for index, (entry, leaf) in enumerate(zip(entries, leaves, strict=True), number * tiles.WIDTH):
            if merkle.leaf_hash(entry) != leaf:
                raise TamperDetected(f"the log serves another entry {index} than it signed", index=index)
        return entries

    def _store_upper(self, tree: SignedTree, start: int, size: int) -> None:
        """Every tile above the leaves that is full now and was not at the start, and the last one of each level."""
        for level, width in enumerate(tiles.widths(size)):
            if level == 0:
                continue
            shift = tiles.HEIGHT * (level + 1)
            whole = [(index, tiles.WIDTH) for index in range(start >> shift, size >> shift)]
            for index, wide in [*whole, (size >> shift, width)]:
                if wide:
                    hashes = _fetched(tree.tile, level, index, wide)
                    self._write(tiles.path(level, index, wide), tiles.encode_tile(hashes))

    def _publish(self, shown: Checkpoint, lines: bytes) -> None:
        """Put the checkpoint out, with the mirror's own lines: everything under it is on disk."""
        raw = shown.note
        for line in note.parse_lines(lines) if lines else ():
            raw = note.append_signature(raw, line.name, line.key_id, line.blob)
        before = self.held.size if self.held else 0
        write_durably(self.root / CHECKPOINT, raw)
        self.held = Checkpoint(shown.origin, shown.size, shown.root, raw)
        for level in range(len(tiles.widths(shown.size))):
            shift = tiles.HEIGHT * (level + 1)
            for index in range(before >> shift, shown.size >> shift):
                for kind in (0, None) if level == 0 else (level,):
                    self._place.remove(f"{tiles.path(kind, index)}.p")

    def _write(self, path: str, raw: bytes) -> None:
        """Have these bytes at a path; durable after the next `sync`. What a former life left there counts if it synced it."""
        if self._synced:
            with contextlib.suppress(NotFound):
                if self._place.read(path) == raw:
                    return
        self._place.write(path, raw)

    def _forked(self, how: str, held: bytes, shown: Checkpoint) -> Forked:
        """Keep both checkpoints, and say so."""
        self._evidence.mkdir(parents=True, exist_ok=True)
        sync(self._evidence.parent)
        size = note.parse(held)[0].split("\n")[1]
        for name, raw in (("held", held), ("shown", shown.note)):
            write_durably(self._evidence / f"{size}-{shown.size}.{name}", raw)
        self._alarm = Forked(
            f"{shown.origin} contradicts itself: {how}. It had signed {size} entries and now shows {shown.size}; both signed "
            f"checkpoints are in {self._evidence}, and the copy stays as it was",
            evidence=shown.note,
            next_step="show both to whoever relies on that log: each verifies under its key",
        )
        return self._alarm


def _is_of(origin: str, raw: bytes) -> bool:
    """Whether a request is about this log, or does not read at all."""
    try:
        return note.parse(codec.decode(raw).checkpoint)[0].partition("\n")[0] == origin
    except Invalid:
        return True


def _same(shown: Checkpoint, held: Checkpoint | None) -> bool:
    return held is not None and (shown.size, shown.root) == (held.size, held.root)


def _fetched(read: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """What the log serves; a part that is missing or cut short counts as *not now*."""
    try:
        return read(*args, **named)
    except (OSError, NotFound, Invalid) as e:
        raise LedgerUnavailable(f"the log can't be read now: {e}", next_step="nothing was changed; it is tried again") from e
