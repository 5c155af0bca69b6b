"""Adoption: a bucket or a directory becomes an asset where it rests, without a copy.

Its objects are listed, and one version names each with its URL, length and ETag: that is what is served from then on, and
nothing else. Digests are taken when an object is first read whole. An adopted object is unmarked, and says so, until
`prepare` has read it, held it against what was adopted, and registered it as a version of prepared copies.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from limen.catalog.changes import AssetDigests, AssetVersion
from limen.catalog.grammar import check_path
from limen.core.errors import Conflict, Invalid, NotFound
from limen.core.types import Shard, Span, Upstream
from limen.custody import CONTENT_TYPES
from limen.registration import Source, media_of

if TYPE_CHECKING:
    from pathlib import Path

    from limen.authority import Authority
    from limen.core.types import Version
    from limen.custody import Custody
    from limen.registration import Marking, Registrar
    from limen.store.upstream import Seen

UNMARKED: Final = "adopted where it rests, and not prepared: everyone gets the same bytes"


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of a version's adopted objects: paths that changed, and how many there are."""

    objects: int
    changed: tuple[str, ...]
    new: tuple[str, ...]  # below the same places, and in no version


class Adoption:
    """Adopts, checks and prepares. Listing and fetching block, so they run in threads; one adoption at a time."""

    def __init__(self, custody: Custody, authority: Authority, registrar: Registrar) -> None:
        self._custody = custody
        self._authority = authority
        self._registrar = registrar
        self._lock = asyncio.Lock()

    async def adopt(self, asset_id: str, url: str, *, by: str, dry_run: bool = False) -> tuple[Version | None, dict[str, str]]:
        """Register what lies below a URL as the asset's next version; and what was left out, with the reason.

        Invalid if nothing can be adopted; UpstreamUnavailable if the place can't be listed. Nothing is registered then.
        """
        asset = self._custody.catalog.snapshot.asset(asset_id)
        if asset.kind == "drop":
            raise Invalid("asset", f"{asset_id} is a drop box: writers fill it, nothing is adopted into it")
        async with self._lock:
            seen = await asyncio.to_thread(self._custody.adopted.upstreams.seen, url)
            shards, left_out = _shards(seen)
            if not shards:
                why = "".join(f"; {path} is left out: {why}" for path, why in list(left_out.items())[:1])
                raise Invalid("url", f"there is nothing to adopt below {url}{why}")
            if dry_run:
                return None, left_out
            await self._authority.change([AssetVersion(asset=asset_id, shards=tuple(shards))], by=by)
            return self._custody.catalog.snapshot.version(asset_id), left_out

    async def check(self, asset_id: str) -> Checked:
        """Hold the newest version against its places as they are now. Reads no object."""
        version = self._version(asset_id)
        adopted = {shard.upstream.url: shard for shard in version.shards if shard.upstream}
        if not adopted:
            raise Invalid("asset", f"{asset_id} version {version.number} has nothing adopted")
        now = {one.url: one for one in await asyncio.to_thread(self._custody.adopted.upstreams.seen, _common(list(adopted)))}
        changed = [s.path for url, s in adopted.items() if url not in now or not _same(now[url], s)]
        return Checked(len(adopted), tuple(sorted(changed)), tuple(sorted(now.keys() - adopted.keys())))

    async def prepare(self, asset_id: str, marking: Marking, *, scratch: Path, by: str) -> tuple[Version, list[str]]:
        """Read every adopted object of the newest version whole, and register the next one with copies prepared from them.

        UpstreamChanged names the first that is not what was adopted; nothing is registered then.
        """
        version = self._version(asset_id)
        sources = []
        for number, shard in enumerate(version.shards):
            local = scratch / f"{number}{PurePosixPath(shard.path).suffix}"
            if shard.upstream is None:
                raise Invalid("asset", f"{asset_id} version {version.number} is not adopted: {shard.path} is here already")
            with local.open("wb") as out:
                async for chunk in self._custody.adopted.fetch(version, shard, Span(200, 0, shard.length)):
                    await asyncio.to_thread(out.write, chunk)
            sources.append(Source(shard.path, local))
        await self.keep_digests()
        if self._version(asset_id).number != version.number:
            raise Conflict(f"{asset_id} got another version meanwhile; look at it, then prepare again")
        return await self._registrar.register(asset_id, sources, marking, by=by)

    async def keep_digests(self) -> None:
        """Write down the digests that were taken since the last time. What a failure loses is taken again."""
        for (asset, number), digests in self._custody.adopted.take_digests().items():
            known = {s.path: s for v in self._custody.catalog.snapshot.versions(asset) if v.number == number for s in v.shards}
            new = {path: digest for path, digest in digests.items() if not known[path].digest}
            if new:
                await self._authority.change([AssetDigests(asset=asset, number=number, digests=new)], by="gateway")

    def _version(self, asset_id: str) -> Version:
        self._custody.catalog.snapshot.asset(asset_id)
        version = self._custody.catalog.snapshot.version(asset_id)
        if version is None:
            raise NotFound(f"a version of {asset_id}")
        return version


def _shards(seen: list[Seen]) -> tuple[list[Shard], dict[str, str]]:
    """What can be adopted, and why the rest can't: path -> reason."""
    shards, left_out = [], {}
    for one in seen:
        try:
            check_path("its path", one.path)
        except Invalid as e:
            left_out[one.path] = str(e)
            continue
        if not one.etag:
            left_out[one.path] = "its place gives it no ETag, so a change could not be noticed"
            continue
        media = media_of(PurePosixPath(one.path))
        shards.append(
            Shard(
                path=one.path,
                digest="",
                source_length=one.length,
                length=one.length,
                content_type=CONTENT_TYPES[media] if media else "application/octet-stream",
                unmarked_why=UNMARKED,
                upstream=Upstream(one.url, one.etag),
            )
        )
    return shards, left_out


def _same(now: Seen, shard: Shard) -> bool:
    return shard.upstream is not None and (now.etag, now.length) == (shard.upstream.etag, shard.length)


def _common(urls: list[str]) -> str:
    """The place that all of these lie below."""
    first, last = min(urls), max(urls)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[: first.rfind("/", 0, same) + 1].rstrip("/") if len(urls) > 1 else first
