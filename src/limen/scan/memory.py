"""What scans remember, so that the next one reads only what is new: ids that were done, and what was found in them.

Two appended lists beside each other, `NAME.ids` (raw ids of one length) and `NAME.rows` (JSON lines). What was found is on
disk before its ids are: after a crash something may be done twice, and nothing is taken for done that was not.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Memory:
    """One pair of lists. Two scans at once may append the same twice; readers take each id once."""

    def __init__(self, directory: Path, name: str, *, id_bytes: int = 20) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._ids_path = directory / f"{name}.{id_bytes}.ids"
        self._rows_path = directory / f"{name}.{id_bytes}.rows"
        raw = self._ids_path.read_bytes() if self._ids_path.exists() else b""
        self._width = id_bytes
        text, digits = raw.hex(), 2 * id_bytes
        self.ids: set[str] = {text[at : at + digits] for at in range(0, len(text) - digits + 1, digits)}
        self.rows: list[dict[str, Any]] = list(self._read_rows())

    def note(self, ids: Iterable[str], rows: Iterable[dict[str, Any]]) -> None:
        """Remember ids as done and what was found in them. On disk on return."""
        fresh = [one for one in ids if one not in self.ids]
        rows = list(rows)
        if rows:
            _append(self._rows_path, b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
            self.rows += rows
        if fresh:
            held = self._ids_path.stat().st_size if self._ids_path.exists() else 0
            pad = bytes(-held % self._width)  # what a write that broke off has left becomes an id of nothing
            _append(self._ids_path, pad + b"".join(map(bytes.fromhex, fresh)))
            self.ids.update(fresh)

    def _read_rows(self) -> Iterable[dict[str, Any]]:
        if not self._rows_path.exists():
            return
        for line in self._rows_path.read_bytes().split(b"\n"):
            try:
                yield msgspec.json.decode(line)
            except ValueError:  # the last line of a write that broke off: its ids were never noted
                continue


def _append(path: Path, content: bytes) -> None:
    with path.open("ab") as stream:
        # A torn end would swallow the beginning of what follows it.
        if path.suffix == ".rows" and stream.tell() and _last(path) != b"\n":
            content = b"\n" + content
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _last(path: Path) -> bytes:
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1)
