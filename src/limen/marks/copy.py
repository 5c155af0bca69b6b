"""A recipient's copy: bytes, length, ETag and checksum, fixed for ever by (prepared version, copy ids, key).

Nothing is stored per recipient and nothing is hashed per serve. `read` gathers segments from two memory-mapped streams
with Arrow; common stretches are handed out as they lie on disk. `records` maps byte ranges back to the source's records:
a record is touched if a byte of its content is, padding and terminators aside. A `Copy` is immutable and may be read from
any thread.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import mmap
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from awscrt import checksums

from limen.core.errors import Invalid, NotFound, TamperDetected
from limen.marks.code import codeword
from limen.marks.gold import GOLD, Gold
from limen.marks.records import scan
from limen.marks.tail import Tail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from limen.core.types import Recipient
    from limen.marks.keys import MarkKey
    from limen.marks.records import Media

CHUNK: Final = 1 << 20
LONG: Final = 1 << 15  # bytes that a run of one variant has on average, if it is cheaper to send it by itself than to gather
_ARRAYS: Final = ("regions", "entries", "segments", "others", "segment_region", "slots")
_FORMATS: Final = {"limen/prepared/v1": (), "limen/prepared/v2": ("group_at", "grouped")}  # and the arrays each has besides


@dataclass(frozen=True)
class Prepared:
    """A prepared version of one shard, memory-mapped; all recipients' copies are views of it."""

    path: Path
    manifest: dict[str, Any]
    base: memoryview
    other: memoryview
    regions: NDArray[np.void]
    entries: NDArray[np.void]
    segments: NDArray[np.int64]
    others: NDArray[np.int64]
    segment_region: NDArray[np.int32]
    slots: NDArray[np.void]
    group_at: NDArray[np.int64] | None = None  # of entries that hold groups: where each one's records begin in `grouped`
    grouped: NDArray[np.int64] | None = None

    @classmethod
    def open(cls, path: Path) -> Prepared:
        """Map a prepared directory; NotFound if it isn't one, TamperDetected if its parts don't fit together."""
        try:
            manifest = json.loads((path / "manifest.json").read_bytes())
            if manifest["format"] not in _FORMATS:
                raise Invalid(
                    str(path), f"was prepared as {manifest['format']!r}, which this limen doesn't know; run a later one"
                )
            names = (*_ARRAYS, *_FORMATS[manifest["format"]])
            arrays = [np.load(path / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names]
            base, other = _mapped(path / "base"), _mapped(path / "other")
        except FileNotFoundError:
            raise NotFound(f"prepared version {path.name}") from None
        except (ValueError, EOFError) as e:
            raise TamperDetected(f"{path}: a table can't be read; prepare the version again") from e
        prepared = cls(path, manifest, base, other, *arrays)
        if len(base) != manifest["length"] or prepared.segments[-1] != len(base) or prepared.others[-1] != len(other):
            raise TamperDetected(f"{path}: streams and tables differ in length; prepare the version again")
        return prepared

    @property
    def length(self) -> int:
        """Served bytes, the same for every recipient."""
        return len(self.base)

    @property
    def records(self) -> int:
        """Records of the source; canary k is record `records + k`."""
        return int(self.manifest["records"])

    @property
    def slots_root(self) -> str:
        """The Merkle root over the slots, hex: what the ledger commits to before the first serve."""
        return str(self.manifest["slots_root"])

    @property
    def canaries_each(self) -> int:
        """How many canaries each recipient has: canary k is that of the recipient in place k // canaries_each."""
        return int(self.manifest.get("canaries_each", 1))

    @property
    def gold_root(self) -> str:
        """The Merkle root over the gold items' answers, hex; empty if it has none."""
        return str(self.manifest.get("gold_root", ""))

    @cached_property
    def gold(self) -> Gold | None:
        """The gold items' answers; None if it has none. TamperDetected if they aren't what was committed to."""
        if not self.gold_root:
            return None
        gold = Gold.decode((self.path / GOLD).read_bytes())
        if gold.root() != self.gold_root:
            raise TamperDetected(f"{self.path / GOLD} is not what was committed to; restore it from a backup")
        return gold

    @property
    def unmarked_why(self) -> str:
        """Why no slot is here (a version that carries canaries only), or an empty string."""
        return str(self.manifest["unmarked_why"])

    def verify(self) -> None:
        """Compare every part's digest with the manifest's; TamperDetected names the first that differs. Reads it all."""
        for name, expected in self.manifest["parts"].items():
            with (self.path / name).open("rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() != expected:
                    raise TamperDetected(f"{self.path / name} is not what was prepared; prepare the version again")

    def unseen(self, key: MarkKey, recipients: list[Recipient]) -> NDArray[np.int64]:
        """Records of the source that are in none of these recipients' copies: coverage, for planning."""
        seen = np.zeros(self.records + int(self.manifest["canaries"]), dtype=np.bool_)
        for recipient in recipients:
            copy = copy_of(self, recipient, key=key, version_id="")
            seen[copy.records(0, copy.length)] = True
        return np.flatnonzero(~seen[: self.records])

    @cached_property
    def tail(self) -> Tail | None:
        """What the end of each copy is made from, if it depends on all of the copy's choices."""
        at = self.manifest.get("tail_at")
        return None if at is None else Tail.open(self.path, at=int(at), length=self.length - int(at))

    @cached_property
    def coded(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint32], NDArray[np.int32]]:
        """Tier, level and index of each slot, and each region's slot, side by side: what every copy is dealt from."""
        names = ("tier", "level", "index")
        tiers, levels, indexes = (np.ascontiguousarray(self.slots[name]) for name in names)
        return tiers, levels, indexes, np.ascontiguousarray(self.regions["slot"])

    def records_in(self, entries: NDArray[np.int64]) -> NDArray[np.int64]:
        """The records that these entries hold: their own numbers, or those of the groups that they number."""
        if self.group_at is None or self.grouped is None:
            return entries
        first, last = self.group_at[entries], self.group_at[entries + 1]
        ends = np.cumsum(last - first)
        within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - (last - first), last - first)
        return np.asarray(self.grouped[np.repeat(first, last - first) + within])

    @cached_property
    def _arrow(self) -> tuple[pa.Array, pa.Array]:
        """Both streams as arrays of segments, without copying."""
        count = len(self.segments) - 1
        return tuple(
            pa.LargeBinaryArray.from_buffers(pa.large_binary(), count, [None, pa.py_buffer(bounds), pa.py_buffer(stream)])
            for bounds, stream in ((self.segments, self.base), (self.others, self.other))
        )


class Copy(ABC):
    """What one recipient is served of one shard. `etag` is unquoted; `crc64nvme` is of the whole copy, base64."""

    length: int
    etag: str
    content_type: str

    @property
    @abstractmethod
    def crc64nvme(self) -> str:
        """The whole copy's CRC-64/NVME, base64; computed at most once."""

    @abstractmethod
    def read(self, start: int, end: int, chunk: int = CHUNK) -> Iterator[memoryview]:
        """Bytes [start, end) in pieces of at most `chunk` bytes."""

    @abstractmethod
    def records(self, start: int, end: int) -> NDArray[np.int64]:
        """Numbers of the records of which [start, end) holds a byte of content, sorted."""


@dataclass(frozen=True)
class MarkedCopy(Copy):
    """One recipient's own variant of every region."""

    length: int
    etag: str
    content_type: str
    prepared: Prepared
    bits: NDArray[np.bool_]  # by region: which variant

    @cached_property
    def crc64nvme(self) -> str:
        """The whole copy's CRC-64/NVME: the base stream's, changed by each region whose variant 1 was chosen."""
        change = np.bitwise_xor.reduce(self.prepared.regions["change"][self.bits], initial=np.uint64(0))
        crc = int(self.prepared.manifest["crc64nvme"]) ^ int(change)
        if self._tail:  # nothing stands behind it
            crc ^= checksums.crc64nvme(self._tail) ^ checksums.crc64nvme(self.prepared.base[-len(self._tail) :])
        return _base64(crc)

    def read(self, start: int, end: int, chunk: int = CHUNK) -> Iterator[memoryview]:
        """Bytes [start, end) in pieces of at most `chunk` bytes."""
        end = min(end, self.length)
        body = self.length if self.prepared.tail is None else self.prepared.tail.at
        yield from self._body(start, min(end, body), chunk)
        for at in range(max(start, body), end, chunk):
            yield memoryview(self._tail)[at - body : min(at + chunk, end) - body]

    def _body(self, start: int, end: int, chunk: int) -> Iterator[memoryview]:
        """What lies in two variants. Long runs of one variant are handed out as they lie on disk; short ones are gathered."""
        prepared, mask = self.prepared, self._mask
        zero, one = prepared._arrow  # noqa: SLF001  the copy is the prepared version's other half
        while start < end:
            stop = min(start + chunk, end)
            first = int(np.searchsorted(prepared.segments, start, side="right")) - 1
            last = int(np.searchsorted(prepared.segments, stop, side="left"))
            held = self._chosen[first:last]
            turns = np.flatnonzero(held[1:] != held[:-1]) + 1
            if stop - start >= LONG * len(turns):
                yield from self._views(start, stop, [first, *(first + turns).tolist(), last])
            else:
                mine = pc.if_else(
                    mask.slice(first, last - first), one.slice(first, last - first), zero.slice(first, last - first)
                )
                offset = start - int(prepared.segments[first])
                yield memoryview(mine.buffers()[2])[offset : offset + stop - start]
            start = stop

    def _views(self, start: int, stop: int, bounds: list[int]) -> Iterator[memoryview]:
        """Bytes [start, stop) as views of either stream, by runs of segments of one variant."""
        prepared = self.prepared
        for first, last in pairwise(bounds):
            begin, end = max(start, int(prepared.segments[first])), min(stop, int(prepared.segments[last]))
            if self._chosen[first]:
                shift = int(prepared.others[first]) - int(prepared.segments[first])
                yield prepared.other[begin + shift : end + shift]
            else:
                yield prepared.base[begin:end]

    def records(self, start: int, end: int) -> NDArray[np.int64]:
        """Numbers of the records of which [start, end) holds a byte of content, sorted."""
        entries = self.prepared.entries
        first = max(0, int(np.searchsorted(entries["start"], start, side="right")) - 1)
        some = entries[first : int(np.searchsorted(entries["start"], end, side="left"))]
        length, record = self._held(some)
        touched = (record >= 0) & (some["start"] < end) & (some["start"] + length > start) & (length > 0)
        held = self.prepared.records_in(record[touched])
        return np.sort(held) if self.prepared.group_at is None else np.unique(held)

    def spans(self, records: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n, 3) record number, start, end for those of the given records that are in this copy."""
        length, record = self._held(self.prepared.entries)
        here = np.isin(record, records) & (record >= 0)
        start = self.prepared.entries["start"][here]
        return np.stack([record[here], start, start + length[here]], axis=1)

    def _held(self, entries: NDArray[np.void]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        bit = np.zeros(len(entries), dtype=np.bool_)
        chosen = entries["region"] >= 0
        bit[chosen] = self.bits[entries["region"][chosen]]
        return (
            np.where(bit, entries["length1"], entries["length0"]),
            np.where(bit, entries["record1"], entries["record0"]),
        )

    @cached_property
    def _chosen(self) -> NDArray[np.bool_]:
        region = self.prepared.segment_region
        chosen = np.zeros(len(region), dtype=np.bool_)
        marked = region >= 0
        chosen[marked] = self.bits[region[marked]]
        return chosen

    @cached_property
    def _tail(self) -> bytes:
        return b"" if self.prepared.tail is None else self.prepared.tail.of(self.bits)

    @cached_property
    def _mask(self) -> pa.Array:
        return pa.array(self._chosen)


@dataclass(frozen=True)
class PlainCopy(Copy):
    """What everyone is served of an unmarked shard: the registered bytes."""

    length: int
    etag: str
    content_type: str
    raw: memoryview
    media: Media | None

    @cached_property
    def crc64nvme(self) -> str:
        """The content's CRC-64/NVME, base64; computed once, by reading it all."""
        crc = 0
        for start in range(0, self.length, CHUNK):
            crc = checksums.crc64nvme(self.raw[start : start + CHUNK], crc)
        return _base64(crc)

    def read(self, start: int, end: int, chunk: int = CHUNK) -> Iterator[memoryview]:
        """Bytes [start, end) in pieces of at most `chunk` bytes, as they lie on disk."""
        for at in range(start, min(end, self.length), chunk):
            yield self.raw[at : min(at + chunk, end)]

    def records(self, start: int, end: int) -> NDArray[np.int64]:
        """Numbers of the records touched; an object of no known kind is one record."""
        if self.media is None:
            return np.zeros(int(start < min(end, self.length)), dtype=np.int64)
        starts, ends = self._bounds
        return np.flatnonzero((starts < end) & (ends > start) & (ends > starts))

    @cached_property
    def _bounds(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        found = scan(self.raw, self.media) if self.media else None
        return (found.start, found.end) if found else (np.zeros(0, dtype=np.int64),) * 2


@dataclass(frozen=True)
class AdoptedCopy(Copy):
    """What everyone is served of an object that rests elsewhere: its length is known, its bytes are not here."""

    length: int
    etag: str
    content_type: str
    crc64nvme: str = ""

    def read(self, start: int, end: int, chunk: int = CHUNK) -> Iterator[memoryview]:
        """Never: the bytes come from where they rest (`limen.store.upstream`)."""
        raise RuntimeError(f"bytes [{start}, {end}) of an adopted object are not here, in chunks of {chunk} or otherwise")

    def records(self, start: int, end: int) -> NDArray[np.int64]:
        """The object is one record: nobody here knows where the next begins."""
        return np.zeros(int(start < min(end, self.length)), dtype=np.int64)


def copy_of(
    prepared: Prepared,
    recipient: Recipient,
    *,
    key: MarkKey,
    version_id: str,
    content_type: str = "application/octet-stream",
) -> MarkedCopy:
    """One recipient's copy of a prepared version. `version_id` names shard and version for good, for the ETag."""
    if key.id != prepared.manifest["key"]:
        raise RuntimeError(f"{prepared.path.name} was prepared under mark key {prepared.manifest['key']}, not {key.id}")
    tiers, levels, indexes, slot_of = prepared.coded
    held = codeword(key, recipient, tiers=tiers, levels=levels, indexes=indexes)
    bits = np.append(held, False)[slot_of]  # a region of no slot (-1) is a canary's
    if recipient.canary is not None and prepared.manifest["canaries"]:
        # Nobody's is -1, and stays below 0.
        bits |= prepared.regions["canary"] // prepared.canaries_each == recipient.canary
    return MarkedCopy(prepared.length, etag_of(recipient, version_id), content_type, prepared, bits)


def plain_copy(path: Path, *, etag: str, content_type: str, media: Media | None = None) -> PlainCopy:
    """The copy that everyone gets of an unmarked shard or an upload."""
    raw = _mapped(path)
    return PlainCopy(len(raw), etag, content_type, raw, media)


def etag_of(recipient: Recipient, version_id: str) -> str:
    """A recipient's ETag for a version: HMAC over its name, keyed by the random copy id. Says nothing about the bits.

    The suffix tells S3 software that it is no MD5 of the content.
    """
    mac = hmac.digest(recipient.copy_id.encode(), b"limen etag v1\0" + version_id.encode(), "sha256")
    return mac[:16].hex() + "-1"


def _mapped(path: Path) -> memoryview:
    with path.open("rb") as stream:
        if not path.stat().st_size:
            return memoryview(b"")  # an empty file can't be mapped
        return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))


def _base64(crc: int) -> str:
    return base64.b64encode(crc.to_bytes(8, "big")).decode()
