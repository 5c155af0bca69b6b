"""A published log, laid out by the specification and not by limen's publisher: the two must agree on what is verified."""

from __future__ import annotations

from limen.core import events
from limen.formats import checkpoint, merkle, note, tiles
from limen.formats.note import Signer

SIGNER = Signer("example.com/log", bytes(32))
SIZE = 600


def entry(index):
    return events.encode("server.start", 1_700_000_000_000_000 + index, index.to_bytes(16, "big"), {"name": f"entry {index}"})


ENTRIES = [entry(index) for index in range(SIZE)]
LEAVES = [merkle.leaf_hash(raw) for raw in ENTRIES]


def signed(size, *, signer=SIGNER, root=None, cosigners=(), at=1_700_000_000):
    """The checkpoint of the first `size` entries, as a note."""
    text = checkpoint.encode(signer.name, size, merkle.root_of(LEAVES[:size]) if root is None else root).encode()
    raw = note.sign(text, signer)
    for cosigner in cosigners:
        line = cosigner.cosign(text, at)
        raw = note.append_signature(raw, line.name, line.key_id, line.blob)
    return raw


def lay_out(root, entries=ENTRIES):
    """Write `checkpoint`, `vkey` and every tile and bundle of these entries."""
    size, leaves = len(entries), [merkle.leaf_hash(raw) for raw in entries]

    def put(path, raw):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(raw)

    for start in range(0, size, 256):
        part = entries[start : start + 256]
        put(tiles.path(None, start // 256, len(part)), tiles.encode_bundle(part))
    level, hashes = 0, leaves
    while hashes:
        for start in range(0, len(hashes), 256):
            part = hashes[start : start + 256]
            put(tiles.path(level, start // 256, len(part)), tiles.encode_tile(part))
        hashes = [merkle.root_of(hashes[i : i + 256]) for i in range(0, len(hashes) - 255, 256)]
        level += 1
    put("checkpoint", signed(size, root=merkle.root_of(leaves)))
    put("vkey", f"{SIGNER.vkey}\n".encode())
