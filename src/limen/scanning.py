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

from limen.core.errors import Invalid, LimenError
from limen.core.events import decode
from limen.core.types import Upstream
from limen.custody import MEDIA_OF
from limen.durable import write_atomically
from limen.marks import records
from limen.scan import governed, manifest
from limen.scan.manifest import Manifest
from limen.scan.run import Looked, keys_of, row_of
from limen.store.blobs import Blobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from limen.catalog.snapshot import Snapshot
    from limen.custody import Custody
    from limen.scan.manifest import Key
    from limen.scan.secrets import Kingfisher

    Fetch = Callable[[Upstream, int], bytes]  # the whole of an adopted object of that length

ASSETS: Final = "assets"  # what a scan of our own content is called, where others have a repository's name
SCANS: Final = "scans"
_STAGING: Final = "staging"
_DIGEST: Final = re.compile("[0-9a-f]{64}")
_TOLD: Final = 20  # reasons in an entry; the manifest has all
_PART: Final = 64 << 20
MOST: Final = 2 << 30  # bytes of a shard that is compared: its index is made in memory


def shards(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Every registered shard of every version, for a scan in another process."""
    return [
        {
            "asset": asset.id,
            "version": version.number,
            "shard": shard.path,
            "digest": shard.digest,
            "length": shard.source_length,
            "upstream": [shard.upstream.url, shard.upstream.etag] if shard.upstream else None,
            "media": MEDIA_OF.get(shard.content_type, "other"),
        }
        for project in snapshot.projects()
        for asset in snapshot.assets_in(project.id)
        for version in snapshot.versions(asset.id)
        for shard in version.shards
    ]


@dataclass(frozen=True, slots=True)
class Content:
    """The governed content of a data directory, and what of it is not read. Of `adopted` shards no record is known."""

    shards: tuple[governed.Shard, ...] = ()
    left_out: tuple[str, ...] = ()
    adopted: frozenset[str] = frozenset()


def content(data: Path, rows: Iterable[dict[str, Any]], fetch: Fetch) -> Content:
    """Registered shards by digest, each with all its names; adopted ones are read where they rest, as they were adopted."""
    blobs = Blobs(data / "blobs")
    names: dict[tuple[str, str], list[tuple[str, int, str]]] = {}
    first: dict[tuple[str, str], dict[str, Any]] = {}
    found: list[governed.Shard] = []
    left_out: list[str] = []
    adopted: set[str] = set()
    for row in rows:
        # Nobody has read some adopted objects whole: what they were when they were adopted names them.
        key = (row["digest"] or hashlib.sha256("\0".join(row["upstream"]).encode()).hexdigest(), row["media"])
        names.setdefault(key, []).append((row["asset"], row["version"], row["shard"]))
        if row["upstream"]:
            adopted.add(key[0])
        if key not in first or first[key]["upstream"]:
            first[key] = row
    for (digest, media), some in sorted(names.items()):
        row = first[digest, media]
        if row["length"] > MOST:
            left_out.append(f"{_named(some[0])} was not compared: it has more than {MOST >> 20} MiB")
            continue
        found.append(governed.Shard(digest, media, _loader(blobs, row, fetch), tuple(some)))
    return Content(tuple(found), tuple(left_out), frozenset(adopted))


def _loader(blobs: Blobs, row: dict[str, Any], fetch: Fetch) -> Callable[[], bytes]:
    def load() -> bytes:
        if row["upstream"]:
            return fetch(Upstream(*row["upstream"]), row["length"])
        return blobs.path(row["digest"]).read_bytes()

    return load


def _named(name: tuple[str, int, str]) -> str:
    asset, version, path = name
    return f"{asset}@{version}/{path}"


def looked(cache: Path, held: Content, boilerplate: Sequence[bytes]) -> tuple[Looked, list[str]]:
    """The indexes to compare with, made where they are not in the cache yet; and which shards could not be read."""
    shards: list[governed.Shard] = []
    indexes: list[governed.Index] = []
    left_out: list[str] = []
    for shard in held.shards:
        try:
            indexes.append(governed.of(shard, cache / "index"))
        except (LimenError, OSError) as e:
            left_out.append(f"{_named(shard.names[0])} was not compared: {e}")
        else:
            shards.append(shard)
    if not shards:
        return Looked(), left_out
    known = governed.of_texts(boilerplate) if boilerplate else None
    digests = [f"{shard.digest} {shard.media}" for shard in shards] + ([f"known {known.digest}"] if known else [])
    return Looked(tuple(shards), tuple(indexes), known, governed.digest_of(digests)), left_out


def folder(data: Path) -> Path:
    """`DATA/scans`, for its owner only: indexes hold what assets say, and manifests where keys lie."""
    found = data / SCANS
    found.mkdir(mode=0o700, exist_ok=True)
    return found


def stage(data: Path, found: Manifest) -> str:
    """Make a manifest durable where it does not count yet; returns its digest."""
    raw = manifest.encode(found)
    digest = hashlib.sha256(raw).hexdigest()
    directory = folder(data) / _STAGING
    directory.mkdir(exist_ok=True)
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
    left_out = list(held.left_out)
    size = read = 0
    for shard in held.shards:
        try:
            raw = shard.load()
        except (LimenError, OSError) as e:
            left_out.append(f"{_named(shard.names[0])} was not searched: {e}")
            continue
        size += len(raw)
        read += 1
        for first_line, part in _parts(raw):
            for some in kingfisher.search([(shard.digest, part)]).values():
                for one in some:
                    row = row_of(shard.digest, one)
                    rows.append({**row, "line": row["line"] + first_line})
        mine = [row["line"] for row in rows if row["blob"] == shard.digest]
        media = "other" if shard.digest in held.adopted else shard.media
        places |= {(shard.digest, line): record for line, record in _records(raw, media, mine)}
    return Manifest(
        repo=ASSETS,
        subject="assets",
        blobs=len(held.shards),
        bytes=size,
        read=read,
        left_out=tuple(left_out),
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
    """The record in which each line begins; -1 where nobody can say (a header, content without records, adopted content)."""
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
