"""A whole copy of the published log, made from the database: `vkey`, `checkpoint` and `tile/…` of C2SP tlog-tiles v0.1.

Reads a data directory beside a running gateway too, and needs nothing of it but `ledger.db`. The entries must make the
signed root before a checkpoint is written. A directory that holds anything but an export of this log is left alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from limen.core.errors import Conflict, Invalid, NotFound, TamperDetected
from limen.formats import note
from limen.ledger.publication.places import Directory, fsync
from limen.ledger.publication.publisher import Publisher
from limen.ledger.sequencer import check_head
from limen.ledger.stored import DATABASE, look
from limen.verify.published import CHECKPOINT, Published

if TYPE_CHECKING:
    from pathlib import Path

    from limen.core.types import Checkpoint
    from limen.formats.note import Verifier
    from limen.ledger.store import Head


class Export(Directory):
    """A directory that counts what it had to write, and keeps no mark beside itself: what is there is compared, each time."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.written: list[str] = []

    def write(self, path: str, raw: bytes) -> None:
        """Write a file that is not there or not the same."""
        try:
            if self.read(path) == raw:
                return
        except NotFound:
            pass
        super().write(path, raw)
        self.written.append(path)

    def remove(self, folder: str) -> None:
        """Nothing goes: who holds an older checkpoint finds its partial tiles."""

    def sync(self, size: int) -> None:
        """Force everything written to disk."""
        del size
        for path in {self.root, *(above for name in self.written for above in [self.root / name, *(self.root / name).parents])}:
            if path.is_relative_to(self.root):
                fsync(path)

    def synced(self) -> int:
        """Nothing is believed to be there."""
        return 0


def export_log(data: Path, target: Path, verifier: Verifier) -> tuple[Checkpoint, int]:
    """Write the log of a data directory into `target`; the checkpoint it then has, and how many files were written.

    Idempotent. Conflict if `target` holds something else; TamperDetected if the entries do not make the signed root, or the
    export that is there is newer or of another history.
    """
    database = data / DATABASE
    store = look(data, verifier.name)
    head = store.head()
    if head is None:
        raise NotFound(f"a head of {verifier.name} in {database}")
    check_head(head, verifier)
    _check_target(target, verifier)
    place = Export(target)
    Publisher(store, place, verifier, tampered=_unexpected).write_again(_with_cosignatures(head, data / "log", verifier))
    return Published(target).checkpoint(verifier), len(place.written)


def _with_cosignatures(head: Head, root: Path, verifier: Verifier) -> Head:
    """The head under the note that is published for it, if there is one: it may carry cosignatures."""
    try:
        raw = (root / CHECKPOINT).read_bytes()
        text, _ = note.open_note(raw, [verifier])
    except (OSError, Invalid):
        return head
    same = text == note.parse(head.checkpoint.note)[0]
    return replace(head, checkpoint=replace(head.checkpoint, note=raw)) if same else head


def _check_target(target: Path, verifier: Verifier) -> None:
    if not target.exists() or not any(target.iterdir()):
        return
    log = Published(target)
    try:
        if (target / CHECKPOINT).exists():
            log.checkpoint(verifier)
        elif log.verifier() != verifier:  # the key is the first to be written: an export that was broken off
            raise Conflict(f"{target} is the log of another key; nothing was written")
    except (NotFound, TamperDetected, OSError) as e:
        raise Conflict(f"{target} holds something else than an export of {verifier.name}; nothing was written") from e


def _unexpected(why: TamperDetected) -> None:
    raise why
