"""The watched directory: each file in it is a feed, entered soon after it was put there, without anybody calling.

A file counts once it was found unchanged twice, so that one that is still being written is not read; whoever moves files in is
safe anyway. `FEED.sig` beside `FEED` is its signature; a signature that comes later makes the feed be entered again, signed. No
file is ever changed, moved or removed. What was refused is kept in `refused` with the reason, until the file changes.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

import structlog

from limen.core.errors import Invalid, LimenError, TamperDetected
from limen.formats.sshsig import MAX_ARMORED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

SIGNATURE: Final = ".sig"
SOURCE: Final = "watched"  # of what is not signed
_CHUNK: Final = 1 << 20
_SIZE: Final = 1
_Stat = tuple[int, ...]  # i-node, size, time of change; then those of the signature

log = structlog.get_logger("limen")


class Inbox:
    """One watched directory. `put` stores bytes; `enter` enters a feed by digest and signature, and waits until that is done.

    The thread that `start` starts is the only one that looks; `refused` may be read from any.
    """

    def __init__(
        self,
        folder: Path,
        *,
        put: Callable[[Iterable[bytes]], tuple[str, int]],
        enter: Callable[[str, bytes | None], None],
        every_s: float,
    ) -> None:
        self.folder = folder
        self.refused: dict[str, str] = {}
        self._put = put
        self._enter = enter
        self._every_s = every_s
        self._seen: dict[str, _Stat] = {}  # as of the last look
        self._done: dict[str, _Stat] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Watch from now on."""
        self._thread = threading.Thread(target=self._run, name="limen-inbox", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching, once what is being entered is entered."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def look(self) -> int:
        """Enter what lies there unchanged since the last look; returns how many."""
        found = self._found()
        ready = [name for name, stat in found.items() if self._seen.get(name) == stat and self._done.get(name) != stat]
        ready.sort(key=lambda name: found[name][_SIZE])  # what is urgent is small, and shall not wait for a whole database
        self._seen = found
        for name in {*self._done, *self.refused} - set(found):
            self._done.pop(name, None)
            self.refused.pop(name, None)
        return sum(self._took(name, found[name]) for name in ready if not self._stopping.is_set())

    def _run(self) -> None:
        while not self._stopping.wait(self._every_s):
            try:
                self.look()
                self.refused.pop("", None)
            except OSError as e:
                if "" not in self.refused:
                    log.warning("the watched directory can't be read", folder=str(self.folder), why=str(e))
                self.refused[""] = f"the directory can't be read: {e.strerror}"

    def _found(self) -> dict[str, _Stat]:
        """Each feed's name, with what changes when it or its signature does."""
        found: dict[str, _Stat] = {}
        for path in sorted(self.folder.iterdir()):
            if path.name.startswith(".") or path.name.endswith(SIGNATURE) or not path.is_file():
                continue
            try:
                found[path.name] = (*_stat(path), *_stat(self._signature(path)))
            except FileNotFoundError:
                continue  # it went meanwhile
        return found

    def _took(self, name: str, stat: _Stat) -> bool:
        """Enter one; whether it is in the log now. What can't be just now is tried again."""
        path = self.folder / name
        try:
            signature = self._signature(path)
            armor = signature.read_bytes()[: MAX_ARMORED + 1] if signature.exists() else None
            digest, _ = self._put(_chunks(path))
            self._enter(digest, armor)
        except (Invalid, TamperDetected) as e:
            self.refused[name] = str(e)
            self._done[name] = stat
            log.warning("a feed in the watched directory was refused", feed=name, why=str(e))
            return False
        except (LimenError, OSError) as e:
            self.refused[name] = f"not entered yet, and tried again: {e}"
            return False
        self.refused.pop(name, None)
        self._done[name] = stat
        return True

    @staticmethod
    def _signature(path: Path) -> Path:
        return path.with_name(path.name + SIGNATURE)


def _stat(path: Path) -> _Stat:
    try:
        found = path.stat()
    except FileNotFoundError:
        if path.name.endswith(SIGNATURE):
            return ()
        raise
    return found.st_ino, found.st_size, found.st_mtime_ns


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk
