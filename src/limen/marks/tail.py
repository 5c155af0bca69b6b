"""The end of a copy that depends on all of its choices together: a Parquet footer counts what the chosen pages hold.

It is worked out when it is asked for, from the sums of what each chosen region changes, and padded to the length that is
everybody's. Nothing before it depends on it, and nothing stands behind it, so a copy's checksum changes by its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limen.formats import parquetpages as parquet
from limen.formats.parquetpages import Chunk, RowGroup

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# By region: in which column of which row group it is, and what its variant 1 adds there. Rows count with the first column.
CHANGE: Final = np.dtype([("chunk", "<i4"), ("rows", "<i8"), ("values", "<i8"), ("uncompressed", "<i8")])
# By column of a row group, in order: what the copy has whose every bit is 0.
CHUNK: Final = np.dtype([("start", "<i8"), ("length", "<i8"), ("rows", "<i8"), ("values", "<i8"), ("uncompressed", "<i8")])
LIKE: Final = "like.parquet"
_COUNTS: Final = ("rows", "values", "uncompressed")


@dataclass(frozen=True)
class Tail:
    """What the end of every copy is made from."""

    at: int
    length: int
    like: dict[int, tuple[int, Any]]
    chunks: NDArray[np.void]
    changes: NDArray[np.void]

    @classmethod
    def open(cls, path: Path, *, at: int, length: int) -> Tail:
        """The tables of a prepared version."""
        tables = (np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ("chunks", "changes"))
        return cls(at, length, parquet.metadata_of((path / LIKE).read_bytes()), *tables)

    def of(self, bits: NDArray[np.bool_]) -> bytes:
        """One copy's end, by region which variant it holds."""
        return parquet.footer(self.like, self._groups(self._sums(bits)), length=self.length)

    def least_length(self) -> int:
        """A length that every copy's end can be padded to."""
        most = self.chunks.copy()
        rises = self.changes.copy()
        for name in _COUNTS:
            rises[name] = np.maximum(rises[name], 0)
            most[name] += _summed(rises, name, len(most))
        return len(parquet.footer(self.like, self._groups(most))) + parquet.LEAST

    def _sums(self, bits: NDArray[np.bool_]) -> NDArray[np.void]:
        chunks = np.array(self.chunks)
        held = self.changes[bits]
        for name in _COUNTS:
            chunks[name] += _summed(held, name, len(chunks))
        return chunks

    def _groups(self, chunks: NDArray[np.void]) -> list[RowGroup]:
        columns = len(self.like[4][1][1][0][1][1][1])  # of the first row group
        found = [Chunk(c["start"], c["length"], c["values"], c["uncompressed"]) for c in map(_plain, chunks)]
        rows = chunks["rows"][::columns].tolist()
        return [
            RowGroup(count, tuple(found[at : at + columns]))
            for count, at in zip(rows, range(0, len(found), columns), strict=True)
        ]


def _summed(changes: NDArray[np.void], name: str, chunks: int) -> NDArray[np.int64]:
    out = np.zeros(chunks, dtype=np.int64)
    np.add.at(out, changes["chunk"], changes[name])
    return out


def _plain(chunk: np.void) -> dict[str, int]:
    return {name: int(chunk[name]) for name in CHUNK.names or ()}
