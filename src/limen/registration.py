"""Registering a version: bytes in, copies prepared, commitment logged; only then can anybody be served.

The order is the promise: source blobs are durable, segments are prepared under the asset's mark key, the key's
commitment and the slot manifest's root are ledger entries, and last the version itself is. A crash in between leaves
files that nothing names.
"""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from limen.catalog.changes import AssetVersion
from limen.core.errors import Conflict, Invalid
from limen.core.types import Shard
from limen.custody import CONTENT_TYPES
from limen.markkeys import MarkKeys
from limen.marks.authored import has_markers
from limen.marks.gold import Canaries, split
from limen.marks.whole import Floor, Part

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path, PurePath

    from limen.authority import Authority
    from limen.core.types import Version
    from limen.custody import Custody
    from limen.marks.records import Media

MEDIA: Final[dict[str, Media]] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".txt": "text",
    ".md": "text",
    ".markdown": "text",
    ".jsonl.gz": "jsonl.gz",
    ".ndjson.gz": "jsonl.gz",
    ".csv.gz": "csv.gz",
    ".txt.gz": "text.gz",
    ".parquet": "parquet",
}
CANARIES_IN: Final = ("jsonl", "jsonl.gz")
AUTHORED_IN: Final = (".md", ".markdown")
_SHARD_PATH = re.compile(r"[A-Za-z0-9_=+.-][A-Za-z0-9_=+. -]*(/[A-Za-z0-9_=+.-][A-Za-z0-9_=+. -]*)*\Z")


class Marking(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a version's shards are to be marked.

    `pairs_percent`, `withhold_percent`: shares of the records; `canaries`: JSONL records, `canaries_each` for each
    recipient in the order of their first grant. `gold_field`: where they have the expected answer, which isn't served.
    """

    marked: bool = True
    pairs_percent: int = 100
    withhold_percent: int = 0
    canaries: tuple[str, ...] = ()
    canaries_each: int = 1
    gold_field: str = ""

    def dealt(self) -> Canaries:
        """The canaries as they are served, with their answers apart. Invalid names the line that can't be one."""
        lines = tuple(line.encode() for line in self.canaries)
        if not self.gold_field:
            return Canaries(lines, self.canaries_each)
        if not lines:
            raise Invalid("gold_field", "there are no canaries that could have an answer in it")
        served, gold = split(lines, self.gold_field, random=os.urandom)
        return Canaries(served, self.canaries_each, gold)


@dataclass(frozen=True, slots=True)
class Source:
    """One local file that becomes one shard under `path` of the asset."""

    path: str
    local: Path


@dataclass(frozen=True, slots=True)
class _How:
    """What is the same for all shards of a version; `key` is the id of its mark key, `version` its name."""

    key: str
    version: str
    marking: Marking
    canaries: Canaries
    floor: Floor

    def canaries_for(self, media: Media) -> Canaries:
        """Beside others, only the JSONL shards carry canaries; `register` has seen that there is one."""
        return self.canaries if media in CANARIES_IN else Canaries()


class Registrar:
    """Makes versions. Preparing runs in a thread; one version at a time."""

    def __init__(self, custody: Custody, authority: Authority) -> None:
        self._custody = custody
        self._authority = authority
        self._lock = asyncio.Lock()
        self.keys = MarkKeys(custody, authority, self._lock)

    async def register(self, asset_id: str, sources: list[Source], marking: Marking, *, by: str) -> tuple[Version, list[str]]:
        """Register the next version of an asset; returns it with a line about each shard that can't be marked.

        Invalid names the source that can't be read; nothing is registered then.
        """
        custody = self._custody
        asset = custody.catalog.snapshot.asset(asset_id)
        if asset.kind == "drop":
            raise Invalid("asset", f"{asset_id} is a drop box: writers fill it, versions are not registered")
        check(sources)
        canaries = marking.dealt()
        if canaries.lines and not any(carrier_of(source.local) in CANARIES_IN for source in sources):
            raise Invalid("canaries", "only JSONL can carry them: elsewhere the gap would show")
        async with self._lock:
            key = await self.keys.for_next_version(asset_id, by=by)
            number = len(custody.catalog.snapshot.versions(asset_id)) + 1
            floor = await asyncio.to_thread(self._floor, key, sources, marking)
            how = _How(key, f"{asset_id}@{number}", marking, canaries, floor)
            shards = [await asyncio.to_thread(self._shard, source, how) for source in sources]
            prepared = [shard for shard in shards if shard.prepared]
            if prepared:
                await self._commit_key(key, asset_id, number, prepared)
            change = AssetVersion(asset=asset_id, number=number, shards=tuple(shards), mark_key=key if prepared else None)
            await self._authority.change([change], by=by)
        version = custody.catalog.snapshot.version(asset_id)
        if version is None or version.number != number:
            raise Conflict(f"{asset_id} got another version meanwhile; look at it, then register again")
        return version, [f"{shard.path}: {shard.unmarked_why}" for shard in shards if shard.unmarked_why]

    def _floor(self, key: str, sources: list[Source], marking: Marking) -> Floor:
        """How many slots each shard needs: all of the version's count, because they leak together. Blocking."""
        parts = parts_of(sources) if marking.marked else []
        if len(parts) < 2:  # noqa: PLR2004  one is judged while it is prepared
            return Floor()
        return self._custody.shelf.floor(key, parts, pairs=marking.pairs_percent / 100, withhold=marking.withhold_percent / 100)

    def _shard(self, source: Source, how: _How) -> Shard:
        """One shard, durable: its source blob, and its segments if it can be marked. Blocking."""
        marking, floor = how.marking, how.floor
        digest, length = self._custody.blobs.put(_chunks(source.local))
        media = carrier_of(source.local)
        plain = Shard(
            path=source.path,
            digest=digest,
            source_length=length,
            length=length,
            content_type=CONTENT_TYPES[media] if media else "application/octet-stream",
        )
        unmarked_why = "" if marking.marked else "not marked, by request"
        if not marking.marked and media != "authored":  # whose markers nobody is served
            return replace(plain, unmarked_why=unmarked_why)
        if media is None:
            kind = source.local.suffix or "this kind of file"
            return replace(plain, unmarked_why=f"cannot be fingerprinted: limen has no carrier for {kind}")
        shard = self._custody.shelf.prepare(
            how.key,
            plain,
            source=self._custody.blobs.path(digest),
            media=media,
            name=f"{how.version}/{source.path}",
            pairs=marking.pairs_percent / 100 if marking.marked else 0.0,
            withhold=marking.withhold_percent / 100,
            canaries=how.canaries_for(media),
            least=floor.least,
        )
        if unmarked_why:
            return replace(shard, unmarked_why=unmarked_why)
        return replace(shard, unmarked_why=f"{shard.unmarked_why}; {floor.why}") if shard.unmarked_why and floor.why else shard

    async def _commit_key(self, key: str, asset_id: str, number: int, prepared: list[Shard]) -> None:
        """Log the key's commitment and each manifest's root before the first serve."""
        custody = self._custody
        fields: dict[str, Any] = {
            "asset": asset_id,
            "version": number,
            **custody.shelf.commitment(key),
            "manifests": {shard.path: custody.shelf.manifest_root(shard) for shard in prepared},
        }
        gold = {shard.path: root for shard in prepared if (root := custody.shelf.prepared(shard).gold_root)}
        if gold:
            fields["gold"] = gold
        await custody.ledger.append(*custody.scribe.write("key.commit", fields, None))


def media_of(path: PurePath) -> Media | None:
    """What a shard of this name is read as: by its last suffix, or its last two of something packed."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return MEDIA.get("".join(suffixes[-2:])) or MEDIA.get("".join(suffixes[-1:]))


def carrier_of(local: Path) -> Media | None:
    """What a source is, by its name and, for Markdown, by whether its author wrote alternatives into it."""
    media = media_of(local)
    return "authored" if media == "text" and local.suffix.lower() in AUTHORED_IN and has_markers(local) else media


def parts_of(sources: list[Source]) -> list[Part]:
    """Those of the sources that could carry marks."""
    return [Part(source.path, source.local, media) for source in sources if (media := carrier_of(source.local))]


def sources_below(paths: list[Path]) -> list[Source]:
    """Files as shards under their own names; a directory's files under their paths below it, sorted."""
    found: list[Source] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
            found += [Source(p.relative_to(path).as_posix(), p) for p in inside]
        elif path.is_file():
            found.append(Source(path.name, path))
        else:
            raise Invalid("path", f"{path} is neither a file nor a directory")
    return found


def check(sources: list[Source]) -> None:
    """Invalid for sources that make no version: none, two of one name, a name that no key can have, one that can't be read."""
    if not sources:
        raise Invalid("path", "there is nothing to register")
    names = [source.path for source in sources]
    for name in names:
        if not _SHARD_PATH.match(name) or ".." in name.split("/"):
            raise Invalid("path", f"{name!r} can't be a shard's path: letters, digits, and _=+.- only, no '..'")
        if names.count(name) > 1:
            raise Invalid("path", f"{name} is named twice")
    for source in sources:
        try:
            with source.local.open("rb"):
                pass
        except OSError as e:
            raise Invalid(source.path, f"can't be read: {e.strerror}") from e


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            yield chunk
