"""Returned work without canaries: what may go on to training, and proof that none went with it.

Every object of a drop box is read row by row, and each row in which a canary of anybody's shows is left out
(`limen.marks.baits` says how they are known). Then what is left is read once more, as whoever trains on it will read it: an
object that still shows one is not released. Nor is an object that can't be read as rows. Only files in a directory of the
caller's are made here: they leave as a version of an asset, by the same door as everything else.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from limen.core.errors import Invalid
from limen.core.events import canonical
from limen.response.returned import batches
from limen.response.rows import Tally, seen, telling_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from limen.marks.baits import Baits

SCHEMA: Final = "limen/drop-release/v1"
MANIFEST: Final = "release.json"
_SOUND: Final = re.compile(r"[A-Za-z0-9_=+-][A-Za-z0-9_=+.-]*(/[A-Za-z0-9_=+-][A-Za-z0-9_=+.-]*)*\Z")
_ENDING: Final = re.compile(r"(\.[A-Za-z0-9]{1,8}){1,2}\Z")


@dataclass(frozen=True, slots=True)
class Returned:
    """One object of a drop box, as its writer put it there."""

    writer: str
    path: str
    digest: str
    length: int
    local: Path


class Object(msgspec.Struct, frozen=True):
    """What became of one object. `stripped` by what the canaries in them were known by; `why` it was not released."""

    writer: str
    path: str
    digest: str
    length: int
    shard: str = ""
    rows: int = 0
    stripped: dict[str, int] = {}
    out_digest: str = ""
    out_length: int = 0
    why: str = ""

    @property
    def released(self) -> bool:
        """Whether it goes on."""
        return not self.why


class Release(msgspec.Struct, frozen=True):
    """One release of a drop box: its objects, and over how many canaries they were held."""

    box: str
    objects: tuple[Object, ...]
    canaries: int
    faint: int

    def counts(self) -> dict[str, int]:
        """Totals: objects and rows in, stripped, out; objects left out."""
        out = [one for one in self.objects if one.released]
        rows, stripped = sum(one.rows for one in out), sum(sum(one.stripped.values()) for one in out)
        return {
            "counted": len(self.objects),
            "left_out": len(self.objects) - len(out),
            "rows": rows,
            "stripped": stripped,
            "out": rows - stripped,
        }

    def digest_in(self) -> str:
        """SHA-256 over what the drop box held: the canonical list of [writer, path, digest], left out ones too."""
        return hashlib.sha256(canonical([[one.writer, one.path, one.digest] for one in self.objects])).hexdigest()

    def digest_out(self) -> str:
        """SHA-256 over what goes on: the canonical list of [shard, digest]."""
        return hashlib.sha256(canonical([[one.shard, one.out_digest] for one in self.objects if one.released])).hexdigest()

    def manifest(self) -> dict[str, Any]:
        """The release as it lies beside what it released."""
        return {
            "schema": SCHEMA,
            "box": self.box,
            **self.counts(),
            "canaries": self.canaries,
            "faint": self.faint,
            "digest_in": self.digest_in(),
            "digest_out": self.digest_out(),
            "objects": list(msgspec.to_builtins(self.objects)),
        }


def release(box: str, objects: Iterable[Returned], baits: Baits, *, to: Path) -> Release:
    """Strip each object into the directory `to`, with the manifest. Blocking; memory doesn't grow with the objects."""
    made = tuple(_strip(one, baits, to) for one in objects)
    found = Release(box, made, canaries=len(baits.all), faint=len(baits.faint))
    (to / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(found.manifest()), indent=1) + b"\n")
    return found


def shown(local: Path, baits: Baits, *, name: str = "") -> Tally:
    """An object's rows, and how many of them show a canary, by what. Invalid if it can't be read."""
    tally = Tally()
    for batch in batches(local, tally=tally):
        batch.why[:] = [one.by if one else "" for one in seen(baits, batch, name=name)]
    return tally


def stripped(local: Path, out: Path, baits: Baits, *, name: str = "") -> Tally:
    """Write an object's rows that show no canary. How many it had, and how many were left out, by what. Invalid likewise."""
    tally = Tally()
    with out.open("wb") as stream:
        for batch in batches(local, stream, tally=tally):
            batch.why[:] = [one.by if one else "" for one in seen(baits, batch, name=name)]
    return tally


def _strip(one: Returned, baits: Baits, to: Path, *, way: Callable[..., Tally] = stripped) -> Object:
    """One object's part of a release."""
    name = telling_name(baits, one.path)
    shard = f"{one.writer}/{_path(one.path, told=bool(name))}"
    out = to / shard
    out.parent.mkdir(parents=True, exist_ok=True)
    whose = (one.writer, one.path, one.digest, one.length)
    try:
        tally = way(one.local, out, baits, name=name)
        again = shown(out, baits, name=name).stripped.total()
    except Invalid as e:
        out.unlink(missing_ok=True)
        return Object(*whose, why=e.why)
    if again:
        out.unlink()
        return Object(*whose, why=f"{again} rows of what would be left still show a canary")
    with out.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Object(*whose, shard, tally.rows, dict(tally.stripped), digest, out.stat().st_size)


def _path(path: str, *, told: bool) -> str:
    """A writer's path if an asset can hold it and it tells of no canary, else one made of its digest."""
    if _SOUND.match(path) and not told:
        return path
    ending = _ENDING.search(path)
    return hashlib.sha256(path.encode()).hexdigest()[:32] + (ending[0] if ending else "")
