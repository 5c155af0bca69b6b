"""Adopted objects on their way out: fetched from where they rest, counted, and hashed when they pass whole.

`limen.store.upstream` knows how a place is read; this knows what has been learnt of the objects: the digests that nobody
has written down yet, and which objects were found changed. Owned by the event loop's thread.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from limen.core.errors import UpstreamChanged

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from limen.core.types import Shard, Span, Version
    from limen.store.upstream import Upstreams

    Key = tuple[str, int, str]  # asset, number of the version, path of the shard


@dataclass(slots=True)
class Adopted:
    """What is adopted, as it is read. `report` is told once of each object that has changed."""

    upstreams: Upstreams
    report: Callable[[Version, Shard], None]
    _digests: dict[tuple[str, int], dict[str, str]] = field(default_factory=dict)  # taken, and not written down yet
    _changed: set[Key] = field(default_factory=set)

    async def fetch(self, version: Version, shard: Shard, span: Span) -> AsyncGenerator[bytes]:
        """A span of an adopted object. UpstreamChanged or UpstreamUnavailable, at first or after a prefix."""
        if shard.upstream is None:
            raise RuntimeError(f"{shard.path} was not adopted")
        whole = span.start == 0 and span.end == shard.length
        sha256 = hashlib.sha256() if whole and not shard.digest else None
        try:
            async with contextlib.aclosing(self.upstreams.read(shard.upstream, shard.length, span.start, span.end)) as chunks:
                async for chunk in chunks:
                    if sha256 is not None:
                        sha256.update(chunk)
                    yield chunk
        except UpstreamChanged:
            self._note_change(version, shard)
            raise
        if sha256 is not None:
            self._digests.setdefault((version.asset, version.number), {})[shard.path] = sha256.hexdigest()

    def take_digests(self) -> dict[tuple[str, int], dict[str, str]]:
        """What was taken since the last time, by version; whoever takes it writes it down."""
        taken, self._digests = self._digests, {}
        return taken

    def _note_change(self, version: Version, shard: Shard) -> None:
        key = (version.asset, version.number, shard.path)
        if key not in self._changed:
            self._changed.add(key)
            self.report(version, shard)
