"""A look's document: what one sample of a case showed, and what was said of it. limen/case-look/v1; docs/formats/case.md.

It holds the slots that were observed, each with its place in the manifest of a prepared version, so that a later look, or an
arbiter, needs neither the sample nor our word for what stood in it. Copies appear by copy id, never by name.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limen.core.types import Recipient
from limen.marks.index import OBSERVED, Observed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from limen.core.types import Shard, Version
    from limen.marks.copy import Prepared

SCHEMA: Final = "limen/case-look/v1"


@dataclass(frozen=True, slots=True)
class Marked:
    """One prepared shard: the version and shard that it is of, and the entry that committed to its slots (-1: none is known)."""

    version: Version
    shard: Shard
    prepared: Prepared
    commit: int

    @property
    def key(self) -> str:
        """The id of the mark key that it was prepared under."""
        return str(self.prepared.manifest["key"])

    def to_json(self) -> dict[str, Any]:
        """How a document names it."""
        return {
            "asset": self.version.asset,
            "version": self.version.number,
            "shard": self.shard.path,
            "key": self.key,
            "slots": len(self.prepared.slots),
            "root": self.prepared.slots_root,
            "commit": self.commit,
        }


def placed(observed: Observed, marked: Mapping[str, Marked]) -> tuple[list[dict[str, Any]], list[list[Any]]]:
    """The versions in whose manifests the observed slots stand, and the slots: one row a slot.

    A row is [version, place in its manifest, slot id, tier, level, kind, index, side 0, side 1, seen]. A slot that lives in
    several versions is shown where it was first registered.
    """
    rows = observed.slots
    where, place = np.full(len(rows), -1, dtype=np.int64), np.zeros(len(rows), dtype=np.int64)
    used: list[Marked] = []
    for one in sorted((marked[path] for path in observed.matched), key=lambda m: (m.version.entry, m.shard.path)):
        numbers = one.prepared.slots["number"]
        mine = np.flatnonzero((where < 0) & (rows["key"] == observed.keys.index(one.key)))
        if not len(mine) or not len(numbers):
            continue
        order = np.argsort(numbers, kind="stable")
        at = np.minimum(np.searchsorted(numbers, rows["number"][mine], sorter=order), len(numbers) - 1)
        here = numbers[order[at]] == rows["number"][mine]
        where[mine[here]], place[mine[here]] = len(used), order[at[here]]
        used += [one] if here.any() else []
    if (where < 0).any():
        raise RuntimeError("an observed slot is in no matched version")
    slots: list[list[Any]] = []
    for version, one in enumerate(used):
        mine = np.flatnonzero(where == version)
        slots += _rows(version, place[mine], one.prepared.slots[place[mine]], rows["seen"][mine])
    return [one.to_json() for one in used], sorted(slots)


def _rows(version: int, places: NDArray[np.int64], slots: NDArray[np.void], seen: NDArray[np.uint8]) -> list[list[Any]]:
    """One row a slot, all of one version."""
    ids = np.ascontiguousarray(slots["id"]).tobytes().hex()
    sides = np.ascontiguousarray(slots["sides"]).astype(">u8").tobytes().hex()
    fixed = zip(*(slots[name].tolist() for name in ("tier", "level", "kind", "index")), strict=True)
    return [
        [version, at, ids[32 * n : 32 * n + 32], *some, sides[64 * n : 64 * n + 32], sides[64 * n + 32 : 64 * n + 64], symbol]
        for n, (at, some, symbol) in enumerate(zip(places.tolist(), fixed, seen.tolist(), strict=True))
    ]


@dataclass(frozen=True, slots=True)
class Population:
    """Whose copies a case compares, and which of them had any access: fixed by the case's first sample that shows anything."""

    look: int
    copies: tuple[Recipient, ...]  # under their copy ids: a document names nobody
    served: frozenset[str]

    @classmethod
    def of(cls, look: int, recipients: Sequence[Recipient], served: Collection[str]) -> Population:
        """Everybody's, in the order of copy ids."""
        bare = {r.copy_id: Recipient(r.copy_id, r.vendor, r.copy_id, r.vendor_copy_id) for r in recipients}
        return cls(look, tuple(bare[copy] for copy in sorted(bare)), frozenset(served) & bare.keys())

    def rows(self) -> list[list[Any]]:
        """As a document holds them: [copy id, the vendor tier's copy id, vendor, 1 if they had any access]."""
        return [[r.copy_id, r.vendor_copy_id, r.vendor, int(r.copy_id in self.served)] for r in self.copies]

    @classmethod
    def from_rows(cls, look: int, rows: Sequence[Sequence[Any]]) -> Population:
        """Back from a document."""
        copies = tuple(Recipient(copy, vendor, copy, shared) for copy, shared, vendor, _ in rows)
        return cls(look, copies, frozenset(row[0] for row in rows if row[3]))


@dataclass(frozen=True, slots=True)
class Document:
    """A look's document, read. `value` is the whole of it."""

    value: dict[str, Any]

    @classmethod
    def read(cls, raw: bytes) -> Document:
        """Back from bytes that this limen filed."""
        value = json.loads(raw)
        if value.get("schema") != SCHEMA:
            raise RuntimeError(f"a look's document of schema {value.get('schema')!r}")
        return cls(value)

    @property
    def population(self) -> Population | None:
        """Whose copies the case compares, if this look fixed that."""
        rows = self.value["copies"]
        return None if rows is None else Population.from_rows(self.value["look"], rows)

    def observed(self) -> Observed:
        """What the sample showed, as far as scoring needs it."""
        versions, rows = self.value["versions"], self.value["slots"]
        keys = tuple(sorted({version["key"] for version in versions}))
        slots = np.zeros(len(rows), dtype=OBSERVED)
        columns = list(zip(*rows, strict=True))
        if rows:
            slots["key"] = [keys.index(versions[version]["key"]) for version in columns[0]]
            for name, column in (("number", 1), ("tier", 3), ("level", 4), ("kind", 5), ("index", 6), ("seen", 9)):
                slots[name] = columns[column]
        matched = {name: np.zeros(0, dtype=np.int64) for name in self.value["matched"]}
        return Observed(keys=keys, slots=slots, matched=matched, unclear=self.value["result"]["unclear"])


def written(value: dict[str, Any]) -> bytes:
    """A document's bytes: JSON, keys sorted, no spaces, so that the same look gives the same digest."""
    text = json.dumps({"schema": SCHEMA, **value}, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()
