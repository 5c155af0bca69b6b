"""A prepared version while it is made: its parts are written beside its place, and it gets its name when all are durable.

What every carrier's version has in common: tables of what lies where, tables by which a leak is recognised, the manifest with
each part's digest and the Merkle root over the slots. The registry is durable before the directory gets its name, so that no
slot is ever served that the lineage doesn't remember. Blocking.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limen.durable import sync
from limen.formats.merkle import leaf_hash, root_of
from limen.marks import nearby, normalise
from limen.marks.gold import GOLD
from limen.marks.keys import CODE
from limen.marks.records import fields_of_all, keys_of, leaves, parse_json
from limen.marks.tables import Table, as_digests

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from io import BufferedWriter
    from pathlib import Path

    from numpy.typing import NDArray

    from limen.marks.gold import Canaries
    from limen.marks.keys import MarkKey
    from limen.marks.layout import Layout
    from limen.marks.records import Reading
    from limen.marks.registry import Registry

SLOT: Final = np.dtype(
    [
        ("number", "<i8"),
        ("id", "V16"),
        ("tier", "u1"),
        ("level", "u1"),
        ("kind", "u1"),
        ("index", "<u4"),
        ("sides", "<u8", (2, 2)),
    ]
)


@dataclass(frozen=True, slots=True)
class Unmarked:
    """Why a source can't be fingerprinted, and how many records it has."""

    unmarked_why: str
    records: int


@dataclass(slots=True)
class Staged:
    """A directory of parts that has no name yet."""

    path: Path
    out: Path
    settle: Callable[[Path], None] = sync  # makes bytes or names durable; what is thrown away at once needs another
    layout: Layout | None = None
    slots: NDArray[np.void] | None = None

    @classmethod
    def at(cls, out: Path, settle: Callable[[Path], None] = sync) -> Staged:
        """An empty one, for what will be `out`; a crash's leavings go."""
        path = out.with_name(out.name + ".new")
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return cls(path, out, settle)

    def open(self, part: str) -> BufferedWriter:
        """A part to write."""
        return (self.path / part).open("wb")

    def save(self, name: str, column: NDArray[Any]) -> None:
        """Write one table."""
        np.save(self.path / f"{name}.npy", column, allow_pickle=False)

    def write_tables(self, layout: Layout, slots: NDArray[np.void]) -> None:
        """What lies where, and which slots there are."""
        self.layout, self.slots = layout, slots
        for name in ("regions", "entries", "segments", "others", "segment_region"):
            self.save(name, getattr(layout, name))
        self.save("slots", slots)

    def write_look_up(self, found: LookUp, refs: NDArray[np.int64]) -> None:
        """By what a leak is recognised, and what each record is: local slot * 2 + side, COMMON, or -2 - k for canary k."""
        columns = {
            "key_high": found.table.high,
            "key_low": found.table.low,
            "key_record": found.table.value,
            "runs": found.known.hashes,
            "run_words": np.array([found.known.words]),
            "run_stretch": found.known.stretch.astype(np.int32),
            "own_runs": found.known.own.astype(np.int32),
            "stretch_words": found.known.size.astype(np.int32),
            "refs": refs,
        }
        for name, column in columns.items():
            self.save(name, column)

    def keep_gold(self, dealt: Canaries, found: LookUp, named: NDArray[np.uint64], *, scope: bytes) -> None:
        """Write the gold items' answers, if there are any. Invalid for one that could not be told from the records."""
        if dealt.gold is None:
            return
        raw = named.astype(">u8").tobytes()
        names = {raw[at : at + 16] for at in range(0, len(raw), 16)}
        dealt.check_told_apart(_known_by_a_field(found, dealt.lines), names, scope)
        (self.path / GOLD).write_bytes(dealt.gold.encode())

    def finish(self, key: MarkKey, manifest: dict[str, Any], *, registry: Registry, registry_path: Path) -> None:
        """Write the manifest, make all durable, the registry too, and give the directory its name."""
        if self.layout is None or self.slots is None:
            raise RuntimeError("a prepared version has tables")
        whole = {
            **manifest,
            "code": CODE,
            "key": key.id,
            "commitment": key.commitment(),
            "length": self.layout.length,
            "crc64nvme": self.layout.crc,
            "slots_root": root_of([leaf_hash(leaf) for leaf in slot_leaves(self.slots)]).hex(),
            "parts": {part.name: _sha256(part) for part in sorted(self.path.iterdir())},
        }
        (self.path / "manifest.json").write_text(json.dumps(whole, indent=1, sort_keys=True))
        for part in self.path.iterdir():
            self.settle(part)
        self.settle(self.path)
        registry_path.parent.mkdir(parents=True, exist_ok=True)
        registry.save(registry_path)
        shutil.rmtree(self.out, ignore_errors=True)
        self.path.rename(self.out)
        self.settle(self.out.parent)


def told_of(dealt: Canaries) -> dict[str, Any]:
    """What the manifest says of a version's canaries."""
    return {
        "canaries": len(dealt.lines),
        **({"canaries_each": dealt.each} if dealt.each > 1 else {}),
        **({"gold_root": dealt.gold.root()} if dealt.gold is not None else {}),
    }


def slot_leaves(slots: NDArray[np.void]) -> list[bytes]:
    """What the manifest's root commits to, a leaf a slot: id, tier, level, kind, index, and both sides' digests."""
    heads = np.stack([slots["tier"], slots["level"], slots["kind"]], axis=1).astype(np.uint8).tobytes()
    indexes = slots["index"].astype(">u4").tobytes()
    sides = np.ascontiguousarray(slots["sides"]).astype(">u8").tobytes()
    ids = np.ascontiguousarray(slots["id"]).tobytes()
    return [
        ids[16 * n : 16 * n + 16] + heads[3 * n : 3 * n + 3] + indexes[4 * n : 4 * n + 4] + sides[32 * n : 32 * n + 32]
        for n in range(len(slots))
    ]


@dataclass(slots=True)
class LookUp:
    """Tables by which a leak is recognised: digests of whole texts, and runs of words; see `index`."""

    table: Table
    known: nearby.Known
    records: int  # canary k is record `records + k`


def look_up(readings: list[Reading], records: int, canaries: Sequence[bytes]) -> LookUp:
    """Tables by which a leak is recognised; a whole text that two records share says nothing and is dropped."""
    fields = fields_of_all([leaves(parse_json(canary)[1]) for canary in canaries])
    _, stands = keys_of(fields)
    keys = b"".join(r.keys for r in readings) + normalise.digests(text for some in stands for text in some)
    counts = [len(some) for some in stands]
    owner = np.concatenate([*(r.owner for r in readings), np.repeat(np.arange(len(canaries)) + records, counts)])
    return LookUp(
        table=Table.build(as_digests(keys), owner.astype(np.int64)),
        known=nearby.kept([*(r.drawn for r in readings), nearby.drawn(fields)]),
        records=records,
    )


def _known_by_a_field(found: LookUp, canaries: Sequence[bytes]) -> set[int]:
    """Canaries of which one field alone tells that it is they: another answer beside it doesn't hide them."""
    fields = fields_of_all([leaves(parse_json(canary)[1]) for canary in canaries])
    texts = [(number, field) for number, some in enumerate(fields) for field in some if len(field) >= normalise.MIN_TEXT]
    owners = found.table.find(as_digests(normalise.digests(field for _, field in texts)))
    return {number for (number, _), record in zip(texts, owners.tolist(), strict=True) if record == found.records + number}


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
