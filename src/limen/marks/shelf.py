"""The shelf: prepared versions by name, and the mark keys and slot registries of their lineages, under one directory each.

`KEYS/<id>.key` is the record of a lineage's secret (`limen.marks.keep` says where that is), `KEYS/<id>.slots` its memory:
lose the second and its records could be paired again, lose the first and no copy can be served or traced. Back both up
together. One writer at a time. A key is loaded when it is first needed, or by `load_kept`, and stays in memory then; one
in a token or in two halves that could not be had is not asked for again before `check`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from limen.core.errors import Invalid, LimenError, MarkKeyUnavailable, NotFound
from limen.marks.copy import Copy, Prepared, copy_of
from limen.marks.index import Index
from limen.marks.keep import Keep
from limen.marks.prepare import LEAST_SLOTS, prepare
from limen.marks.staging import Unmarked
from limen.marks.whole import Floor, Part, floor_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from limen.core.types import Recipient, Shard
    from limen.marks.choose import Pairs, Withhold
    from limen.marks.gold import Canaries
    from limen.marks.keep import Kind
    from limen.marks.keys import MarkKey
    from limen.marks.records import Media

_LONGEST_NAME = 200


class Shelf:
    """Prepared versions and their keys. Reads from any thread; `prepare` from one at a time."""

    def __init__(
        self, prepared: Path, keys: Path, *, random: Callable[[int], bytes] = os.urandom, keep: Keep | None = None
    ) -> None:
        self._root = prepared
        self._key_root = keys
        self.keep = keep or Keep(keys)
        self._random = random
        self._open: dict[str, Prepared] = {}
        self._keys: dict[str, MarkKey] = {}
        self._failed: dict[str, MarkKeyUnavailable] = {}
        prepared.mkdir(parents=True, exist_ok=True)
        keys.mkdir(parents=True, exist_ok=True, mode=0o700)

    def key(self, key_id: str) -> MarkKey:
        """A mark key by its id; NotFound if there never was one, MarkKeyUnavailable if its secret can't be had."""
        if key_id not in self._keys:
            if failed := self._failed.get(key_id):
                raise MarkKeyUnavailable(str(failed), next_step=failed.next_step)
            try:
                self._keys[key_id] = self.keep.load(key_id)
            except MarkKeyUnavailable as e:
                self._failed[key_id] = e
                raise
        return self._keys[key_id]

    def used_key(self, key_id: str) -> MarkKey:
        """A mark key that something was prepared under, or that the log names: MarkKeyUnavailable whatever is wrong with it."""
        try:
            return self.key(key_id)
        except (NotFound, Invalid, OSError) as e:
            raise MarkKeyUnavailable(
                f"mark key {key_id} can't be used: {e}", next_step=f"restore {self.keep.path(key_id)} from a backup"
            ) from e

    def load_kept(self) -> dict[str, MarkKeyUnavailable]:
        """Load every key whose secret is elsewhere (a token, a second half), while it is there. Blocking. Which can't be had."""
        for key_id, kind in self.keep.kept():
            if kind != "file":
                with contextlib.suppress(LimenError):
                    self.used_key(key_id)
        return dict(self._failed)

    def check(self, key_id: str) -> str:
        """Whether a key can be used, asking again where it was refused: an empty string, or why not. Blocking."""
        self._failed.pop(key_id, None)
        if key_id not in self._keys:
            self.keep.retry()
        try:
            self.used_key(key_id)
        except MarkKeyUnavailable as e:
            return str(e)
        return ""

    def make_key(self, key_id: str, *, kind: Kind | None = None, levels: str = "") -> MarkKey:
        """A new mark key, durable where it rests; Conflict if there is one of that id. Blocking."""
        self._keys[key_id] = made = self.keep.make(key_id, random=self._random, kind=kind, levels=levels)
        return made

    def commitment(self, key_id: str) -> dict[str, Any]:
        """What the ledger holds of the key before the first serve."""
        return self.used_key(key_id).commitments()

    def manifest_root(self, shard: Shard) -> str:
        """The Merkle root over a prepared shard's slots, hex."""
        return self.prepared(shard).slots_root

    def floor(self, key_id: str, parts: Sequence[Part], *, pairs: float, withhold: float) -> Floor:
        """How many slots each shard of a version needs, judged by all of them together. Blocking."""
        with tempfile.TemporaryDirectory(dir=self._root.parent, prefix=".floor-") as scratch:
            return floor_of(
                parts,
                key=self._key_for(key_id),
                registry=self._key_root / f"{key_id}.slots",
                scratch=Path(scratch),
                pairs=pairs,
                withhold=withhold,
            )

    def prepare(
        self,
        key_id: str,
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
        """Prepare a shard under this key, made now if it is an asset's first. The shard as it will be served. Blocking."""
        outcome = prepare(
            source,
            media=media,
            key=self._key_for(key_id),
            registry=self._key_root / f"{key_id}.slots",
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
        key = self.used_key(str(prepared.manifest["key"]))
        return copy_of(prepared, recipient, key=key, version_id=version_id, content_type=shard.content_type)

    def index(self, shards: Iterable[Shard]) -> Index:
        """Look-up over the prepared ones among these shards."""
        return Index([self.prepared(shard) for shard in shards if shard.prepared])

    def keys_of(self, index: Index) -> Mapping[str, MarkKey]:
        """The keys under which an index's versions were prepared, by id."""
        return self.keys_named(index.keys)

    def keys_named(self, names: Iterable[str]) -> Mapping[str, MarkKey]:
        """Keys by id, loaded when they are asked for: one that can't be had keeps nobody from the others."""
        return _Keys(self, tuple(names))

    def _key_for(self, key_id: str) -> MarkKey:
        # A lineage that has a memory had a key: another in its place would serve people other copies of the same records.
        if self.keep.path(key_id).exists() or (self._key_root / f"{key_id}.slots").exists():
            return self.used_key(key_id)
        return self.make_key(key_id)

    def _directory(self, name: str) -> Path:
        flat = quote(name, safe="@ ")
        if len(flat) > _LONGEST_NAME:
            flat = hashlib.sha256(name.encode()).hexdigest()
        return self._root / flat


class _Keys(Mapping[str, "MarkKey"]):
    """Keys by id, each loaded when it is asked for."""

    def __init__(self, shelf: Shelf, ids: tuple[str, ...]) -> None:
        self._shelf = shelf
        self._ids = ids

    def __getitem__(self, key_id: str) -> MarkKey:
        if key_id not in self._ids:
            raise KeyError(key_id)
        return self._shelf.used_key(key_id)

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)
