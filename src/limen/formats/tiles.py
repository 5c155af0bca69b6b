"""Tiles and entry bundles: a tree and its entries as a fixed set of small files. C2SP tlog-tiles v0.1.

Pure: paths, widths and codecs; `ledger.publisher` writes the files and `verify.published` reads them. A tile holds up to
256 hashes of one level; at level 0 they are leaf hashes, above that each is the root of a full tile below. A partial
tile is a byte prefix of every wider one. A bundle holds the entries behind one level-0 tile.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from limen.core.errors import Invalid
from limen.formats.merkle import HASH_BYTES, Frontier, node_hash, root_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

WIDTH: Final = 256
HEIGHT: Final = 8
_ENTRIES: Final = "entries"
_PATH: Final = re.compile(
    r"tile/(?P<level>entries|[0-9]{1,2})/(?P<groups>(?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


def path(level: int | None, index: int, width: int = WIDTH) -> str:
    """The path of a tile below the log's prefix; `level` None is the bundle of entries. Width 256 is the full tile."""
    if not 0 < width <= WIDTH:
        raise RuntimeError(f"a tile of width {width}")
    groups = [f"{index % 1000:03}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03}")
    partial = "" if width == WIDTH else f".p/{width}"
    return f"tile/{_ENTRIES if level is None else level}/{'/'.join(reversed(groups))}{partial}"


def parse_path(text: str) -> tuple[int | None, int, int]:
    """Level (None: a bundle), index and width from a path as `path` makes it; Invalid for any other text."""
    match = _PATH.fullmatch(text)
    if match is None:
        raise Invalid("path", "is not that of a tile or a bundle")
    level = None if match["level"] == _ENTRIES else int(match["level"])
    found = level, int(match["groups"].replace("x", "").replace("/", "")), int(match["width"] or WIDTH)
    if found[2] > WIDTH or path(*found) != text:  # one spelling only
        raise Invalid("path", "is not that of a tile or a bundle")
    return found


def widths(size: int) -> list[int]:
    """How many hashes the partial tile of each level has, from level 0 up, in a tree of this size; 0 means none."""
    found = []
    while size:
        found.append(size % WIDTH)
        size //= WIDTH
    return found


def encode_tile(hashes: Sequence[bytes]) -> bytes:
    """The hashes in a row."""
    return b"".join(hashes)


def decode_tile(raw: bytes, width: int) -> list[bytes]:
    """The first `width` hashes of a tile that is at least that wide; Invalid for any other length."""
    if len(raw) % HASH_BYTES or not width * HASH_BYTES <= len(raw) <= WIDTH * HASH_BYTES:
        raise Invalid("tile", f"has {len(raw)} bytes, which is no tile of {width} to {WIDTH} hashes")
    return [raw[i : i + HASH_BYTES] for i in range(0, width * HASH_BYTES, HASH_BYTES)]


def encode_bundle(entries: Iterable[bytes]) -> bytes:
    """The entries, each behind its length in two bytes."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_bundle(raw: bytes, width: int) -> list[bytes]:
    """The first `width` entries of a bundle that holds `width` to 256 of them and not a byte more; else Invalid."""
    entries: list[bytes] = []
    at = 0
    while at < len(raw):
        start, at = at + 2, at + 2 + int.from_bytes(raw[at : at + 2], "big")
        if at > len(raw):
            raise Invalid("bundle", f"ends inside entry {len(entries)}")
        entries.append(raw[start:at])
    if not width <= len(entries) <= WIDTH:
        raise Invalid("bundle", f"has {len(entries)} entries, need {width} to {WIDTH}")
    return entries[:width]


def frontier_of(edge: Sequence[Sequence[bytes]], size: int) -> Frontier:
    """The frontier of a tree from the hashes of its partial tiles, level 0 first. Invalid if they don't fit the size."""
    if [len(hashes) for hashes in edge] != widths(size):
        raise Invalid("tiles", f"the widths of the last tiles do not make a tree of {size} entries")
    peaks: list[bytes] = []
    for hashes in reversed(edge):
        at = 0
        for power in reversed(range(HEIGHT)):
            if len(hashes) & (1 << power):
                peaks.append(root_of(hashes[at : at + (1 << power)]))
                at += 1 << power
    return Frontier(size, tuple(peaks))


def range_hash(read_tile: Callable[[int, int, int], list[bytes]], start: int, end: int) -> bytes:
    """The hash of leaves [start, end), a node of the tree, from tiles.

    `read_tile(level, index, width)` returns a tile's first `width` hashes; it is asked only for tiles that the tree of
    `end` leaves has.
    """
    count = end - start
    if count & (count - 1):  # not a perfect subtree: the right edge, which no tile holds as one hash
        middle = start + (1 << (count.bit_length() - 1))
        return node_hash(range_hash(read_tile, start, middle), range_hash(read_tile, middle, end))
    level = (count.bit_length() - 1) // HEIGHT
    span = 1 << (HEIGHT * level)
    first, last = start // span, end // span
    offset = first % WIDTH
    hashes = read_tile(level, first // WIDTH, offset + last - first)
    return root_of(hashes[offset:])
