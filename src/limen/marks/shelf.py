"""The shelf: prepared versions by name, and the mark keys and slot registries of their lineages, under one directory each.

`KEYS/<asset>.key` is the lineage's secret (0600), `KEYS/<asset>.slots` its memory: lose the second and its records could
be paired again, lose the first and no copy can be served or traced. Back both up together. One writer at a time.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from limen.core.errors import NotFound
from limen.marks.copy import Copy, Prepared, copy_of
from limen.marks.index import Index
from limen.marks.keys import MarkKey
from limen.marks.prepare import LEAST_SLOTS, prepare
from limen.marks.staging import Unmarked
from limen.marks.whole import Floor, Part, floor_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from limen.core.types import Recipient, Shard
    from limen.marks.choose import Pairs, Withhold
    from limen.marks.gold import Canaries
    from limen.marks.records import Media

_LONGEST_NAME = 200


class Shelf:
    """Prepared versions and their keys. Reads from any thread; `prepare` from one at a time."""

    def __init__(self, prepared: Path, keys: Path, *, random: Callable[[int], bytes] = os.urandom) -> None:
        self._root = prepared
        self._key_root = keys
        self._random = random
        self._open: dict[str, Prepared] = {}
        self._keys: dict[str, MarkKey] = {}
        prepared.mkdir(parents=True, exist_ok=True)
        keys.mkdir(parents=True, exist_ok=True, mode=0o700)

    def key(self, asset_id: str) -> MarkKey:
        """An asset's mark key; NotFound if no version of it was ever prepared."""
        if asset_id not in self._keys:
            self._keys[asset_id] = MarkKey.load(self._key_root / f"{asset_id}.key")
        return self._keys[asset_id]

    def key_id(self, asset_id: str) -> str:
        """The id of an asset's mark key."""
        return self.key(asset_id).id

    def commitment(self, asset_id: str) -> dict[str, Any]:
        """What the ledger holds of the key before the first serve."""
        return self.key(asset_id).commitments()

    def manifest_root(self, shard: Shard) -> str:
        """The Merkle root over a prepared shard's slots, hex."""
        return self.prepared(shard).slots_root

    def floor(self, asset_id: str, parts: Sequence[Part], *, pairs: float, withhold: float) -> Floor:
        """How many slots each shard of a version needs, judged by all of them together. Blocking."""
        with tempfile.TemporaryDirectory(dir=self._root.parent, prefix=".floor-") as scratch:
            return floor_of(
                parts,
                key=self._key_for(asset_id),
                registry=self._key_root / f"{asset_id}.slots",
                scratch=Path(scratch),
                pairs=pairs,
                withhold=withhold,
            )

    def prepare(
        self,
        asset_id: str,
        plain: Shard,
        *,
        source: Path,
        media: Media,
        name: str,
        pairs: Pairs = 1.0,
        withhold: Withhold = 0.0,
        canaries: Canaries | Sequence[bytes] = (),
        least: int = LEAST_SLOTS,
    ) -> Shard:
        """Prepare a shard under its asset's key, made now if it is the first. The shard as it will be served. Blocking."""
        outcome = prepare(
            source,
            media=media,
            key=self._key_for(asset_id),
            registry=self._key_root / f"{asset_id}.slots",
            out=self._directory(name),
            pairs=pairs,
            withhold=withhold,
            canaries=canaries,
            scope=plain.path,
            least=least,
        )
        if isinstance(outcome, Unmarked):
            return replace(plain, unmarked_why=outcome.unmarked_why, records=outcome.records)
        self._open[name] = outcome
        return replace(plain, prepared=name, length=outcome.length, records=outcome.records, unmarked_why=outcome.unmarked_why)

    def prepared(self, shard: Shard) -> Prepared:
        """A shard's prepared version; NotFound if it has none."""
        name = shard.prepared
        if name is None:
            raise NotFound(f"prepared version of {shard.path}")
        if name not in self._open:
            self._open[name] = Prepared.open(self._directory(name))
        return self._open[name]

    def copy_of(self, shard: Shard, recipient: Recipient, *, version_id: str) -> Copy:
        """A recipient's copy of a prepared shard."""
        prepared = self.prepared(shard)
        key = self.key(str(prepared.manifest["key"]))
        return copy_of(prepared, recipient, key=key, version_id=version_id, content_type=shard.content_type)

    def index(self, shards: Iterable[Shard]) -> Index:
        """Look-up over the prepared ones among these shards."""
        return Index([self.prepared(shard) for shard in shards if shard.prepared])

    def keys_of(self, index: Index) -> dict[str, MarkKey]:
        """The keys under which an index's versions were prepared, by id."""
        return {key_id: self.key(key_id) for key_id in index.keys}

    def _key_for(self, asset_id: str) -> MarkKey:
        try:
            return self.key(asset_id)
        except NotFound:
            made = MarkKey.make(asset_id, random=self._random)
            made.save(self._key_root / f"{asset_id}.key")
            self._keys[asset_id] = made
            return made

    def _directory(self, name: str) -> Path:
        flat = quote(name, safe="@ ")
        if len(flat) > _LONGEST_NAME:
            flat = hashlib.sha256(name.encode()).hexdigest()
        return self._root / flat
