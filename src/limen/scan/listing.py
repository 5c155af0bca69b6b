"""Which of a repository's objects a scan has to look at: all of them, or what was added since the last scan.

A scan notes which packs and loose objects there were, and what looked at them. If all of those are still there and the same
looks again, only what was added is listed; otherwise everything is, and what was read before is known by its id all the same. So
a note that is lost or old costs time, and never a finding.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

import msgspec

from limen.scan.history import Objects, Stores
from limen.scan.memory import Memory

if TYPE_CHECKING:
    from pathlib import Path

    from limen.scan.history import History

_FORMAT: Final = 1


class _Note(msgspec.Struct, frozen=True):
    """What the last scan of a repository knew when it was done."""

    format: int
    engines: list[str]
    packs: list[str]
    loose: list[str]
    blobs: int
    bytes: int
    commits: int
    walked: bool
    left_out: list[str]
    id_bytes: int


@dataclass(slots=True)
class Listing:
    """What a scan has to look at (`fresh`), and what it knows of the rest. `keep` it when all of that is done.

    `held`: ids of everything that was listed before. `walked`: the commits that were asked what they brought in, and the answers;
    `all_walked`: whether those are all commits that were listed before.
    """

    fresh: Objects
    blobs: int
    bytes: int
    commits: int
    all_walked: bool
    left_out: list[str]
    held: Memory
    walked: Memory
    id_bytes: int
    _engines: list[str]
    _stores: Stores | None
    _note: Path

    @classmethod
    def of(cls, history: History, cache: Path, engines: list[str]) -> Self:
        """List a repository's objects, as few as will do."""
        name = f"repo-{hashlib.sha256(history.git_dir.encode()).hexdigest()[:32]}"
        path = cache / f"{name}.json"
        stores = history.stores()  # before the listing: what is added in between is listed twice, and not missed
        note = _read(path, engines)
        added = history.since(Stores(frozenset(note.packs), frozenset(note.loose)), stores) if note and stores else None
        if note is None or added is None:
            note = None
            added = history.objects()
        id_bytes = len(next(iter(added.blobs), "")) // 2 or (note.id_bytes if note else 20)
        held = Memory(cache, f"{name}-objects", id_bytes=id_bytes)
        if note is not None:
            commits = tuple(one for one in added.commits if one not in held.ids)
            added = Objects({oid: size for oid, size in added.blobs.items() if oid not in held.ids}, commits)
        return cls(
            fresh=added,
            blobs=len(added.blobs) + (note.blobs if note else 0),
            bytes=sum(added.blobs.values()) + (note.bytes if note else 0),
            commits=len(added.commits) + (note.commits if note else 0),
            all_walked=note.walked if note else True,
            left_out=list(note.left_out) if note else [],
            held=held,
            walked=Memory(cache, f"{name}-commits", id_bytes=id_bytes),
            id_bytes=id_bytes,
            _engines=engines if note is None else [one for one in note.engines if one in engines],
            _stores=stores,
            _note=path,
        )

    def holds(self, oid: str) -> bool:
        """Whether a blob is in the repository."""
        return oid in self.fresh.blobs or (self.blobs > len(self.fresh.blobs) and oid in self.held.ids)

    def keep(self) -> None:
        """Note that all of this was looked at."""
        self.held.note([*self.fresh.blobs, *self.fresh.commits], ())
        if self._stores is None:
            return
        note = _Note(
            format=_FORMAT,
            engines=self._engines,
            packs=sorted(self._stores.packs),
            loose=sorted(self._stores.loose),
            blobs=self.blobs,
            bytes=self.bytes,
            commits=self.commits,
            walked=self.all_walked,
            left_out=self.left_out,
            id_bytes=self.id_bytes,
        )
        temporary = self._note.with_name(f".{self._note.name}.{os.getpid()}")
        temporary.write_bytes(msgspec.json.encode(note))
        temporary.replace(self._note)


def _read(path: Path, engines: list[str]) -> _Note | None:
    """The last scan's note, if what looks now has looked then."""
    try:
        note = msgspec.json.decode(path.read_bytes(), type=_Note)
    except (OSError, ValueError):
        return None
    return note if note.format == _FORMAT and set(engines) <= set(note.engines) else None
