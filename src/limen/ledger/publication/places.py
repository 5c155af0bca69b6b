"""Where a log is published: a directory, or (in `bucket`) a prefix of S3-compatible storage.

A place holds small files under the paths of C2SP tlog-tiles v0.1 and knows nothing of trees. What it says about
durability is what the publisher builds on: after a crash only what was synced is believed to be there.
"""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING, Protocol

from limen.core.errors import Invalid, NotFound
from limen.durable import sync
from limen.formats.checkpoint import decimal

if TYPE_CHECKING:
    from pathlib import Path


class Place(Protocol):
    """Files of one log. Owned by one thread. OSError from any method means *not now*; everything may be repeated."""

    name: str

    def read(self, path: str) -> bytes:
        """A whole file. NotFound if there is none."""

    def write(self, path: str, raw: bytes) -> None:
        """Replace a file whole: a reader sees the old bytes or the new ones. May be on its way until `settle`."""

    def settle(self) -> None:
        """Return once every reader can see what was written, and raise if any of it could not be."""

    def remove(self, folder: str) -> None:
        """Remove a folder of files that nobody needs any more, if that can be done; never raises."""

    def sync(self, size: int) -> None:
        """Make what has settled durable, and note that it holds a log of this size."""

    def synced(self) -> int:
        """The size of the log whose files are durable; never more than that."""


class Directory:
    """A directory. Its mark of what is durable lies beside it, as `<name>.synced`."""

    def __init__(self, root: Path) -> None:
        self.name = str(root)
        self.root = root
        self._mark = root.with_name(root.name + ".synced")
        self._unsynced: set[Path] = set()

    def read(self, path: str) -> bytes:
        """A whole file."""
        try:
            return (self.root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError) as e:
            raise NotFound(f"{path} in {self.root}") from e

    def write(self, path: str, raw: bytes) -> None:
        """Replace a file by renaming."""
        write(self.root / path, raw)
        self._unsynced.add(self.root / path)

    def settle(self) -> None:
        """Nothing is ever on its way."""

    def remove(self, folder: str) -> None:
        """Remove a folder."""
        shutil.rmtree(self.root / folder, ignore_errors=True)

    def sync(self, size: int) -> None:
        """Force what was written since the last time to disk, and then the mark."""
        if not self._unsynced:
            return
        above = {parent for path in self._unsynced for parent in path.parents if parent.is_relative_to(self.root)}
        for path in self._unsynced | above:
            fsync(path)
        self._unsynced.clear()
        write(self._mark, f"{size}\n".encode())
        fsync(self._mark)

    def synced(self) -> int:
        """What the mark says; 0 if it says nothing."""
        try:
            return decimal(self._mark.read_text().strip(), self._mark.name)
        except (OSError, Invalid, UnicodeDecodeError):
            return 0


def write(path: Path, raw: bytes) -> None:
    """Replace a file whole, by renaming; not durable yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.new")
    staged.write_bytes(raw)
    staged.replace(path)


def fsync(path: Path) -> None:
    """Make a file or a directory durable; one that has gone needs nothing."""
    with contextlib.suppress(FileNotFoundError):
        sync(path)
