"""The lineage's memory: which record is which side of which slot, for ever. One binary record beside the mark key.

Layout: magic, three counts, then the columns, little-endian, and SHA-256 over all of it: a registry that was cut short
must not pass for a younger one.

A slot gets its id, tier, level and index once. A record that was ever served keeps what it was: side 0 or 1 of its slot,
or common. No record is ever paired again under the same key: a slot that lost a member in some version is retired, and
both of its members are common from then on. Re-pairing would give one person two bits for one record, which is a
colluder with themselves.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from limen.core.errors import Invalid
from limen.marks.tables import AMBIGUOUS, Table

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PAIR: Final = 0
WITHHELD: Final = 1
COMMON: Final = -1
SLOT: Final = np.dtype([("id", "V16"), ("tier", "u1"), ("level", "u1"), ("kind", "u1"), ("retired", "u1"), ("index", "<u4")])
_MAGIC: Final = b"limen slots v1\n\0"
_DIGEST: Final = 32
_COLUMNS: Final = ("<u8", "<u8", "<i8")


@dataclass(slots=True)
class Registry:
    """Slots in order of registration; members and record ids -> slot number * 2 + side, or COMMON.

    Owned by whoever prepares a version, one at a time; `save` makes it durable, and must precede serving what it names.
    """

    slots: NDArray[np.void] = field(default_factory=lambda: np.zeros(0, dtype=SLOT))
    members: Table = field(default_factory=Table.empty)
    names: Table = field(default_factory=Table.empty)

    @classmethod
    def load(cls, path: Path) -> Registry:
        """Read a registry; a new one if there is nothing at `path`, Invalid if it is damaged."""
        if not path.exists():
            return cls()
        raw = path.read_bytes()
        body, digest = raw[:-_DIGEST], raw[-_DIGEST:]
        if hashlib.sha256(body).digest() != digest or not body.startswith(_MAGIC):
            raise Invalid(str(path), "not a slot registry, or a damaged one; restore it from a backup before preparing")
        sizes = np.frombuffer(body, dtype="<u8", count=3, offset=len(_MAGIC)).tolist()
        columns, at = [], len(_MAGIC) + 24
        for size, kinds in zip(sizes, ((SLOT,), _COLUMNS, _COLUMNS), strict=True):
            for kind in kinds:
                columns.append(np.frombuffer(body, dtype=kind, count=size, offset=at))
                at += size * np.dtype(kind).itemsize
        return cls(columns[0], Table(*columns[1:4]), Table(*columns[4:]))

    def save(self, path: Path) -> None:
        """Replace what is at `path`, durable on return."""
        parts = [self.slots.astype(SLOT), *_columns(self.members), *_columns(self.names)]
        sizes = np.array([len(self.slots), len(self.members.high), len(self.names.high)], dtype="<u8")
        body = _MAGIC + sizes.tobytes() + b"".join(part.tobytes() for part in parts)
        staged = path.with_name(path.name + ".new")
        with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.write(body)
            stream.write(hashlib.sha256(body).digest())
            stream.flush()
            os.fsync(stream.fileno())
        staged.replace(path)
        parent = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)

    def add_slots(self, ids: list[bytes], drawn: list[tuple[int, int]], kinds: list[int]) -> NDArray[np.int64]:
        """Register slots of (tier, level) and kind; each gets the next index of its tier and level. Their numbers."""
        new = np.zeros(len(ids), dtype=SLOT)
        if not ids:
            return np.zeros(0, dtype=np.int64)
        new["id"] = np.frombuffer(b"".join(ids), dtype="V16")
        new["tier"], new["level"] = np.array(drawn, dtype=np.uint8).T
        new["kind"] = kinds
        for tier, level in sorted(set(drawn)):
            used = np.count_nonzero((self.slots["tier"] == tier) & (self.slots["level"] == level))
            mine = (new["tier"] == tier) & (new["level"] == level)
            new["index"][mine] = used + np.arange(np.count_nonzero(mine))
        start = len(self.slots)
        self.slots = np.concatenate([self.slots, new])
        return np.arange(start, len(self.slots))

    def add_members(self, digests: NDArray[np.uint64], refs: NDArray[np.int64]) -> None:
        """Remember records; one that is known as something else becomes AMBIGUOUS, which serves as common."""
        self.members = self.members.plus(digests, refs)

    def add_names(self, digests: NDArray[np.uint64], refs: NDArray[np.int64]) -> None:
        """Remember record ids, so that an edited record is found again."""
        self.names = self.names.plus(digests, refs)

    def retire(self, numbers: NDArray[np.int64]) -> None:
        """End slots for good: their members are common from now on."""
        self.slots = self.slots.copy()
        self.slots["retired"][numbers] = 1

    def standing(self, refs: NDArray[np.int64]) -> NDArray[np.int64]:
        """What known refs mean today: COMMON for ambiguous ones and for retired slots' members."""
        out = np.where(refs == AMBIGUOUS, COMMON, refs)
        marked = out >= 0
        gone = marked.copy()
        gone[marked] = self.slots["retired"][out[marked] >> 1] == 1
        out[gone] = COMMON
        return out


def _columns(table: Table) -> tuple[NDArray[np.generic], ...]:
    return table.high.astype("<u8"), table.low.astype("<u8"), table.value.astype("<i8")
