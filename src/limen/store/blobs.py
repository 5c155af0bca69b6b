"""Content-addressed bytes in local files: `blobs/sha256/ab/<hex>`. Written once, verified on the way in, never changed.

A blob is durable when `put` or `Staged.keep` returns: its bytes are synced before the rename that gives it its name,
and the directory after. Putting the same bytes again changes nothing.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from limen.core.errors import NotFound
from limen.durable import sync

if TYPE_CHECKING:
    from collections.abc import Iterable
    from io import BufferedWriter
    from pathlib import Path


class Blobs:
    """The blobs below one directory. Stateless but for its path: safe from any thread."""

    def __init__(self, root: Path) -> None:
        self.root = root / "sha256"
        self.staging = root / "staging"
        self.root.mkdir(parents=True, exist_ok=True)
        self.staging.mkdir(exist_ok=True)

    def path(self, digest: str) -> Path:
        """Where a blob rests; NotFound if it is not there, or has no digest because nobody has read it yet."""
        path = self._path(digest)
        if not digest or not path.exists():
            raise NotFound(f"blob {digest or 'without a digest'}")
        return path

    def put(self, chunks: Iterable[bytes]) -> tuple[str, int]:
        """Store bytes; returns (sha256 hex, length). Durable on return; a failure leaves nothing behind."""
        staged = self.stage(os.urandom(8).hex())
        try:
            for chunk in chunks:
                staged.write(chunk)
            return staged.keep(), staged.length
        finally:
            staged.discard()

    def stage(self, name: str) -> Staged:
        """Open a place for bytes that arrive bit by bit; the caller must `keep` or `discard` it."""
        path = self.staging / name
        return Staged(self, path, path.open("xb"))

    def sweep(self) -> int:
        """Remove what a crash left half-written; returns how many. Only while nothing else writes: at start-up."""
        left = list(self.staging.iterdir())
        for path in left:
            path.unlink()
        return len(left)

    def _path(self, digest: str) -> Path:
        return self.root / digest[:2] / digest


@dataclass(slots=True)
class Staged:
    """Bytes on their way in: hashed as they are written, nameless until kept."""

    blobs: Blobs
    path: Path
    stream: BufferedWriter
    length: int = 0
    sha256: Any = field(default_factory=hashlib.sha256)
    md5: Any = field(default_factory=lambda: hashlib.md5(usedforsecurity=False))

    def write(self, chunk: bytes) -> None:
        """Append a chunk. Blocking; a chunk of at most 1 MiB costs a few milliseconds."""
        self.stream.write(chunk)
        self.sha256.update(chunk)
        self.md5.update(chunk)
        self.length += len(chunk)

    def keep(self) -> str:
        """Sync, name by content, sync the directory; returns the sha256 hex. Idempotent by content."""
        self.stream.flush()
        os.fsync(self.stream.fileno())
        self.stream.close()
        digest: str = self.sha256.hexdigest()
        final = self.blobs._path(digest)  # noqa: SLF001  Staged is the other half of Blobs
        final.parent.mkdir(exist_ok=True)
        self.path.replace(final)
        sync(final.parent)
        return digest

    def discard(self) -> None:
        """Drop what was not kept; nothing happens after `keep`."""
        self.stream.close()
        self.path.unlink(missing_ok=True)
