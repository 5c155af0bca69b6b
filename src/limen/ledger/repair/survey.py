"""One pass over everything that holds a log: rows, tiles, bundles. What it finds is judged by `fsck`, not here.

As long as a block's rows, tile and bundle agree, each entry is hashed once; a copy that differs is hashed by itself. Kept
are one root for each block of 256 and each copy, and the names of files that differ from the rows.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import msgspec

from limen.core.errors import Invalid
from limen.formats import tiles
from limen.formats.merkle import HASH_BYTES, leaf_hash, root_of
from limen.ledger.recovery import needs_outcome
from limen.ledger.repair.scan import RUN
from limen.ledger.repair.truth import Copy
from limen.ledger.sealed import split_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from limen.ledger.repair.scan import Row, Scan
    from limen.ledger.repair.truth import Leaf

ROWS: Final = "rows"
TILES: Final = "tiles"
BUNDLES: Final = "bundles"


class Files:
    """The tiles and bundles that lie in a published directory, by level (None: bundles) and number."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.widths: dict[tuple[int | None, int], list[int]] = {}
        for path in _below(root / "tile"):
            name = path.removeprefix(f"{root}{os.sep}").replace(os.sep, "/")
            try:
                level, number, width = tiles.parse_path(name)
            except Invalid:
                continue  # no tile of ours, and none that a reader would ask for
            self.widths.setdefault((level, number), []).append(width)

    def best(self, level: int | None, number: int, wanted: int) -> int | None:
        """The width of the file to read `wanted` hashes or entries from; None if none is wide enough."""
        there = self.widths.get((level, number), ())
        return min((width for width in there if width >= wanted), default=None)

    def widest(self, level: int | None, number: int) -> int | None:
        """The width of the widest file there is."""
        return max(self.widths.get((level, number), ()), default=None)

    def read(self, level: int | None, number: int, width: int) -> bytes:
        """A file's bytes; empty if it can't be read."""
        try:
            with open(f"{self._root}/{tiles.path(level, number, width)}", "rb") as file:  # noqa: PTH123  half the cost
                return file.read()
        except OSError:
            return b""


def _below(folder: Path) -> Iterable[str]:
    for where, _, names in os.walk(folder):
        for name in names:
            if not (name.startswith(".") and name.endswith(".new")):  # being written
                yield f"{where}{os.sep}{name}"


class Survey:
    """The copies of a log of `size` entries, and what the rows say besides."""

    def __init__(self, scan: Scan, files: Files, *, size: int, published: int, low_water: int) -> None:
        self.scan, self.files = scan, files
        self.size, self.published = size, published
        self.low_water = low_water
        self.differing: dict[int, list[tuple[int | None, int]]] = {}  # block -> level and width of files unlike the rows
        self.missing: dict[int, list[int | None]] = {}  # block -> levels of which no file is wide enough
        self.times: list[tuple[int, Any]] = []  # index and commit time, wherever that changes
        self.open_intents: dict[int, None] = {}  # below the low water, and without an outcome
        self.odd_sides: list[tuple[int, str]] = []  # index, and what is wrong
        self.side_records = 0
        self._roots: dict[str, list[bytes | None]] = {ROWS: [], TILES: [], BUNDLES: []}

    def run(self, sides: Callable[[str, bytes, bytes], str]) -> dict[str, Copy]:
        """Read everything once. `sides` says what is wrong with a side record, from class, record and entry; empty if nothing."""
        for low, rows in self.scan.rows(0, self.size):
            end = min(low + RUN, self.size)
            for start in range(low, end, tiles.WIDTH):
                self._block(start // tiles.WIDTH, [rows.get(index) for index in range(start, min(start + tiles.WIDTH, end))])
            self._sides(low, end, rows, sides)
        readers = {ROWS: self._row_leaves, TILES: self._tile_leaves, BUNDLES: self._bundle_leaves}
        return {name: Copy(name, self._roots[name], reader) for name, reader in readers.items()}

    def entry(self, index: int, copy: str) -> bytes | None:
        """One entry's bytes as a copy has them."""
        number, place = divmod(index, tiles.WIDTH)
        entries = self.bundled(number) if copy == BUNDLES else self._raws(number)
        return entries[place] if place < len(entries) else None

    def bundled(self, number: int) -> list[bytes]:
        """The entries of a bundle, as far as they read."""
        width = self._source(None, number)
        return split_bundle(self.files.read(None, number, width)) if width else []

    # --- the pass

    def _block(self, number: int, rows: Sequence[Row | None]) -> None:
        start = number * tiles.WIDTH
        raws = [row[1] if row is not None and isinstance(row[1], bytes) else None for row in rows]
        whole = [raw for raw in raws if raw is not None]
        sound = len(whole) == len(rows)
        leaves = [leaf_hash(raw) for raw in whole] if sound else []
        tile, bundle = b"".join(leaves), tiles.encode_bundle(whole) if sound else b""
        same_tile = self._compare(0, number, lambda width: tile[: width * HASH_BYTES] if width <= len(leaves) else None)
        same_bundle = self._compare(
            None,
            number,
            lambda width: bundle if width == len(leaves) else tiles.encode_bundle(whole[:width]) if width < len(leaves) else None,
        )
        if len(rows) == tiles.WIDTH:
            root = root_of(leaves) if sound else None
            self._roots[ROWS].append(root)
            self._roots[TILES].append(root if same_tile else block_root(self._tile_leaves(number)))
            self._roots[BUNDLES].append(root if same_bundle else block_root(self._bundle_leaves(number)))
        for index, (row, raw) in enumerate(zip(rows, raws, strict=True), start):
            if row is not None and (not self.times or self.times[-1][1] != row[0]):
                self.times.append((index, row[0]))
            if raw is not None and b'"kind":"access.' in raw:
                self._access(index, raw)

    def _compare(self, level: int | None, number: int, expected: Callable[[int], bytes | None]) -> bool:
        """Hold every file of a block against the rows; whether there is a full one, and it is the same."""
        wanted = min(tiles.WIDTH, self.published - number * tiles.WIDTH)
        if wanted > 0 and self.files.best(level, number, wanted) is None:
            self.missing.setdefault(number, []).append(level)
        same = False
        for width in self.files.widths.get((level, number), ()):
            if self.files.read(level, number, width) != expected(width):
                self.differing.setdefault(number, []).append((level, width))
            elif width == tiles.WIDTH:
                same = True
        return same

    def _access(self, index: int, raw: bytes) -> None:
        """Keep book of the intents below the low water, each of which must have its outcome."""
        try:
            entry = msgspec.json.decode(raw)
            if entry["kind"] == "access.outcome":
                self.open_intents.pop(entry["of"], None)
            elif index < self.low_water and entry["kind"] == "access.intent" and needs_outcome(entry):
                self.open_intents[index] = None
        except (msgspec.DecodeError, ValueError, KeyError, TypeError, RecursionError):
            return  # bytes that no scribe wrote: whether they are the signed ones is asked elsewhere

    def _sides(self, low: int, end: int, rows: dict[int, Row], odd: Callable[[str, bytes, bytes], str]) -> None:
        for index, name, raw in self.scan.sides(low, end):
            self.side_records += 1
            entry = rows[index][1] if index in rows else None
            if isinstance(entry, bytes) and (why := odd(name, raw, entry)):  # a row that is missing is told as that
                self.odd_sides.append((index, why))

    # --- leaves, read again where they are asked for

    def _raws(self, number: int) -> list[bytes | None]:
        start, end = number * tiles.WIDTH, min((number + 1) * tiles.WIDTH, self.size)
        rows = {index: row[1] for _, run in self.scan.rows(start, end) for index, row in run.items()}
        return [raw if isinstance(raw := rows.get(index), bytes) else None for index in range(start, end)]

    def _row_leaves(self, number: int) -> list[Leaf]:
        return [None if raw is None else leaf_hash(raw) for raw in self._raws(number)]

    def _tile_leaves(self, number: int) -> list[Leaf]:
        width = self._source(0, number)
        raw = self.files.read(0, number, width) if width else b""
        return [raw[at : at + HASH_BYTES] for at in range(0, len(raw) - HASH_BYTES + 1, HASH_BYTES)]

    def _bundle_leaves(self, number: int) -> list[Leaf]:
        return [leaf_hash(entry) for entry in self.bundled(number)]

    def _source(self, level: int | None, number: int) -> int | None:
        """The file that stands for a block: of the published size, or the narrowest wider one, or whatever there is."""
        wanted = max(1, min(tiles.WIDTH, self.published - number * tiles.WIDTH))
        return self.files.best(level, number, wanted) or self.files.widest(level, number)


def block_root(leaves: Sequence[Leaf]) -> bytes | None:
    """The root of a block of 256 leaves; None if one is missing."""
    return root_of([leaf for leaf in leaves if leaf]) if len(leaves) == tiles.WIDTH and None not in leaves else None
