"""Scans and the catalog: which governed content a scan compares with, and how what it found becomes an entry.

A scan runs in the process of the command that asks for it, and leaves its manifest in `DATA/scans/staging` under its own
digest. Only then is the gateway asked to record it: the entry `scan.run` is durable before the manifest moves to
`DATA/scans/ENTRY.json`. After a crash in between, readers find it in staging, by the digest that the entry names.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from limen.core.errors import Invalid, NotFound
from limen.core.events import decode
from limen.custody import MEDIA_OF
from limen.marks import records
from limen.scan import governed, manifest
from limen.scan.manifest import Manifest
from limen.scan.run import Looked, keys_of, row_of
from limen.store.blobs import Blobs, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from limen.catalog.snapshot import Snapshot
    from limen.custody import Custody
    from limen.scan.manifest import Key
    from limen.scan.secrets import Kingfisher

ASSETS: Final = "assets"  # what a scan of our own content is called, where others have a repository's name
SCANS: Final = "scans"
_STAGING: Final = "staging"
_DIGEST: Final = re.compile("[0-9a-f]{64}")
_TOLD: Final = 20  # reasons in an entry; the manifest has all
_PART: Final = 64 << 20


def shards(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Every registered shard of every version, for a scan in another process."""
    return [
        {
            "asset": asset.id,
            "version": version.number,
            "shard": shard.path,
            "digest": shard.digest,
            "media": MEDIA_OF.get(shard.content_type, "other"),
        }
        for project in snapshot.projects()
        for asset in snapshot.assets_in(project.id)
        for version in snapshot.versions(asset.id)
        for shard in version.shards
    ]


@dataclass(frozen=True, slots=True)
class Content:
    """The governed content that a data directory holds, and what of it is not here to be read."""

    shards: tuple[governed.Shard, ...]
    left_out: tuple[str, ...]


def content(data: Path, rows: Iterable[dict[str, Any]]) -> Content:
    """Registered shards by digest, each with all its names."""
    blobs = Blobs(data / "blobs")
    names: dict[tuple[str, str], list[tuple[str, int, str]]] = {}
    for row in rows:
        names.setdefault((row["digest"], row["media"]), []).append((row["asset"], row["version"], row["shard"]))
    found, missing = [], []
    for (digest, media), some in sorted(names.items()):
        try:
            found.append(governed.Shard(digest, media, blobs.path(digest), tuple(some)))
        except NotFound:
            missing += [
                f"{asset}@{number}/{path} was not compared: its bytes do not rest in this data directory"
                for asset, number, path in some
            ]
    return Content(tuple(found), tuple(missing))


def looked(cache: Path, held: Content, boilerplate: Sequence[bytes]) -> Looked:
    """The indexes to compare with; made where they are not in the cache yet."""
    if not held.shards:
        return Looked()
    indexes = tuple(governed.of(shard, cache / "index") for shard in held.shards)
    known = governed.of_texts(boilerplate) if boilerplate else None
    digests = [f"{shard.digest} {shard.media}" for shard in held.shards] + ([f"known {known.digest}"] if known else [])
    return Looked(held.shards, indexes, known, governed.digest_of(digests))


def stage(data: Path, found: Manifest) -> str:
    """Make a manifest durable where it does not count yet; returns its digest."""
    raw = manifest.encode(found)
    digest = hashlib.sha256(raw).hexdigest()
    directory = data / SCANS / _STAGING
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(directory / f"{digest}.json", raw)
    return digest


async def commit(custody: Custody, data: Path, digest: str, *, by: str) -> dict[str, Any]:
    """Record a staged scan: the entry first, then the manifest under the entry's number."""
    staged = data / SCANS / _STAGING / f"{digest}.json"
    if not (_DIGEST.fullmatch(digest) and staged.is_file()):
        raise Invalid("scan manifest", f"{digest[:80]!r} is not staged; run `limen scan` again")
    found = manifest.decode(staged.read_bytes(), sha256=digest)
    fields = {
        "repo": found.repo,
        "subject": found.subject,
        "refs": found.refs,
        "refs_digest": found.refs_digest,
        "manifest": digest,
        "blobs": found.blobs,
        "commits": found.commits,
        "keys": len(found.keys),
        "references": sum(1 for one in found.references if one.kind == "reference"),
        "complete": not found.left_out,
        "left_out": [reason[:300] for reason in found.left_out[:_TOLD]],
        "kingfisher": found.kingfisher,
        "boxed": found.boxed,
        "index": found.index,
        "by": by,
    }
    receipt = await custody.ledger.append(*custody.scribe.write("scan.run", fields, None))
    staged.rename(data / SCANS / f"{receipt.index}.json")
    return {"entry": receipt.index}


@dataclass(frozen=True, slots=True)
class Recorded:
    """A scan that counts: its entry's index and time, and what it found."""

    entry: int
    at_us: int
    manifest: Manifest


def recorded(data: Path, entries: Iterable[tuple[int, bytes]]) -> tuple[list[Recorded], list[str]]:
    """The scans that these entries name, oldest first, and what can't be read of them."""
    found: list[Recorded] = []
    unknown: list[str] = []
    for index, raw in entries:
        if b'"scan.run"' not in raw:
            continue
        entry = decode(raw)
        if entry["kind"] != "scan.run":
            continue
        try:
            held = manifest.decode(_manifest(data, index, entry["manifest"]), sha256=entry["manifest"])
        except (Invalid, OSError) as e:
            unknown.append(f"the scan of entry {index} ({entry['repo']}) can't be read: {e}; what it found is not known here")
            continue
        found.append(Recorded(index, int(entry.get("story_at", entry["at"])), held))
    return found, unknown


def _manifest(data: Path, index: int, digest: str) -> bytes:
    path = data / SCANS / f"{index}.json"
    return (path if path.exists() else data / SCANS / _STAGING / f"{digest}.json").read_bytes()


# --- keys in governed content


def scan_assets(held: Content, kingfisher: Kingfisher) -> Manifest:
    """Search every registered shard for secrets; each is told by its record."""
    rows: list[dict[str, Any]] = []
    places: dict[tuple[str, int], int] = {}
    size = 0
    for shard in held.shards:
        raw = shard.path.read_bytes()
        size += len(raw)
        for first_line, part in _parts(raw):
            for some in kingfisher.search([(shard.digest, part)]).values():
                for one in some:
                    row = row_of(shard.digest, one)
                    rows.append({**row, "line": row["line"] + first_line})
        mine = [row["line"] for row in rows if row["blob"] == shard.digest]
        places |= {(shard.digest, line): record for line, record in _records(raw, shard.media, mine)}
    return Manifest(
        repo=ASSETS,
        subject="assets",
        blobs=len(held.shards),
        bytes=size,
        read=len(held.shards),
        left_out=held.left_out,
        kingfisher=kingfisher.version,
        boxed=kingfisher.boxed,
        keys=tuple(_in_assets(key, held, places) for key in keys_of(rows, {})),
    )


def _in_assets(key: Key, held: Content, records_of: dict[tuple[str, int], int]) -> Key:
    """A key's places as records of every version that holds the shard."""
    names = {shard.digest: shard.names for shard in held.shards}
    places = tuple(
        msgspec.structs.replace(place, asset=asset, version=version, shard=path, record=records_of[place.blob, place.line])
        for place in key.places
        for asset, version, path in names[place.blob]
    )
    return msgspec.structs.replace(key, places=places)


def _records(raw: bytes, media: str, lines: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The record in which each line begins; -1 where the line is in none (a header, or content without records)."""
    if not lines:
        return
    starts = [] if media == "other" else records.scan(memoryview(raw), media).start.tolist()  # type: ignore[arg-type]
    at = 0
    line = 1
    for wanted in sorted(set(lines)):
        while line < wanted:
            at = raw.find(b"\n", at) + 1
            line += 1
        yield wanted, bisect_right(starts, at) - 1 if starts else -1


def _parts(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """A long shard in parts that end with a line, and how many lines lie before each."""
    at = lines = 0
    while at < len(raw):
        end = len(raw) if len(raw) - at <= _PART else raw.rfind(b"\n", at, at + _PART) + 1 or at + _PART
        part = raw[at:end]
        yield lines, part
        lines += part.count(b"\n")
        at = end
