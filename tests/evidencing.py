"""A log with what evidence speaks of, laid out in memory and on disk; and a bundle over it. A test bends one part at a time."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any

from limen.assurance.evidence import named
from limen.assurance.evidence.bundle import Document, Parts, Previous, compose
from limen.core import events
from limen.core.types import Checkpoint
from limen.formats import checkpoint as checkpoints
from limen.formats import merkle, note, sshsig, tiles
from limen.formats.note import Signer
from limen.verify import offline
from limen.verify.published import Published

if TYPE_CHECKING:
    from pathlib import Path

LOG = Signer("lab.example/log", bytes(range(32)))
EVIDENCE = sshsig.Signer(bytes(range(32, 64)))
KEY_LINE = EVIDENCE.key.line
BOM = b'{"bomFormat":"CycloneDX"}'
SECRET = {"text": "why it was opened"}
SECRET_SALT = bytes(range(16))
KEY_AT, BOM_AT, OPEN_AT, EXPORT_AT = 3, 7, 11, 40
FIRST, SECOND = 40, 300  # the sizes of the log when the two bundles were made


def entry(index: int, kind: str = "server.start", **fields: Any) -> bytes:
    """One entry's bytes."""
    return events.encode(kind, 1_775_001_600_000_000 + index, index.to_bytes(16, "big"), fields)


def facts(count: int = 3, *, vendor: str = "quillwork") -> bytes:
    """A facts document whose samples name entries."""
    rows = [
        {
            "measure": "session_length_us",
            "grade": "measured",
            "from": "2026-04-01T00:00:00Z",
            "to": "2026-04-02T00:00:00Z",
            "recorded_at": "2026-04-02T00:00:00Z",
            "seq": seq,
            "samples": [{"value": 3_600_000_000, "at": "2026-04-01T09:00:00Z", "entries": [20 + seq]}],
            "source": "the gateway",
            "disputed": None,
        }
        for seq in range(count)
    ]
    log = {"origin": LOG.name, "size": SECOND}
    head = {"v": 1, "vendor": vendor, "as_of": "2026-04-09T00:00:00Z", "log": log}
    return events.canonical({**head, "facts": rows, "census": {"session_length_us": count}})


def entries(first: bytes = b"") -> list[bytes]:
    """The log's entries; `first` is the bundle that entry EXPORT_AT tells of."""
    rows = [entry(index) for index in range(SECOND)]
    rows[KEY_AT] = entry(KEY_AT, "evidence.key", key=KEY_LINE, by="uid:0")
    rows[BOM_AT] = entry(BOM_AT, "bom.add", vendor="quillwork", digest=hashlib.sha256(BOM).hexdigest(), length=len(BOM))
    rows[OPEN_AT] = entry(OPEN_AT, "pause.order", commit={"order": events.commitment(SECRET_SALT, "order", SECRET)})
    root = merkle.root_of([merkle.leaf_hash(raw) for raw in rows[:FIRST]]).hex()
    digest = hashlib.sha256(first).hexdigest()
    rows[EXPORT_AT] = entry(EXPORT_AT, "evidence.export", vendor="quillwork", digest=digest, size=FIRST, root=root)
    return rows


def checkpoint(rows: list[bytes]) -> Checkpoint:
    """The signed checkpoint of these entries."""
    root = merkle.root_of([merkle.leaf_hash(raw) for raw in rows])
    return Checkpoint(LOG.name, len(rows), root, note.sign(checkpoints.encode(LOG.name, len(rows), root), LOG))


def lay_out(root: Path, rows: list[bytes]) -> Published:
    """The published log of these entries."""
    for start in range(0, len(rows), 256):
        part = rows[start : start + 256]
        for path, raw in (
            (tiles.path(None, start // 256, len(part)), tiles.encode_bundle(part)),
            (tiles.path(0, start // 256, len(part)), tiles.encode_tile([merkle.leaf_hash(each) for each in part])),
        ):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(raw)
    leaves = [merkle.leaf_hash(raw) for raw in rows]
    above = [merkle.root_of(leaves[at : at + 256]) for at in range(0, len(leaves) - 255, 256)]
    if above:
        (root / tiles.path(1, 0, len(above))).parent.mkdir(parents=True, exist_ok=True)
        (root / tiles.path(1, 0, len(above))).write_bytes(tiles.encode_tile(above))
    (root / "checkpoint").write_bytes(checkpoint(rows).note)
    (root / "vkey").write_text(LOG.vkey + "\n")
    return Published(root)


def parts(log: Published, rows: list[bytes], *, size: int = SECOND, **bent: Any) -> Parts:
    """What a bundle of this log at this size is made of."""
    document = bent.pop("facts", facts(3))
    cited = {index for fact in json.loads(document)["facts"] for sample in fact["samples"] for index in sample["entries"]}
    wanted = {KEY_AT, BOM_AT, OPEN_AT, *cited, *([EXPORT_AT] if size > EXPORT_AT else [])}
    head = checkpoint(rows[:size])
    proved = named.prove(log, head, named.read(log, size, wanted), lambda index: index != 21)
    previous = None
    if size > EXPORT_AT:
        told = json.loads(rows[EXPORT_AT])
        proof = merkle.consistency_proof(FIRST, size, log.tree(size))
        previous = Previous(EXPORT_AT, told["digest"], FIRST, bytes.fromhex(told["root"]), tuple(proof))
    made = Parts(
        vendor="quillwork",
        audience="auditor",
        period=("2026-04-01T00:00:00Z", "2026-04-09T00:00:00Z"),
        as_of="2026-04-09T00:00:00Z",
        checkpoint=head,
        log_vkey=LOG.vkey,
        named=proved,
        key_entry=KEY_AT,
        facts=document,
        no_verdict="no contract is in force",
        previous=previous,
        documents=[Document("documents/boms/7.json", "bom", hashlib.sha256(BOM).hexdigest(), BOM_AT, BOM)],
        proofs=[KEY_AT, BOM_AT],
    )
    return dataclasses.replace(made, **bent)


def rezipped(raw: bytes, change: Any) -> bytes:
    """A bundle whose files were changed by somebody who knows how to write its zip."""
    files = offline.unzipped(raw)
    change(files, next(iter(files)).partition("/")[0])
    return offline.zipped(files)


def resigned(files: dict[str, bytes], root: str, signer: sshsig.Signer) -> None:
    """Make the manifests and signatures of a changed bundle fit again, under some key: what a forger can do."""
    from limen.formats import bagit, dsse  # noqa: PLC0415  one forger needs them

    bare = {path[len(root) + 1 :]: raw for path, raw in files.items()}
    payload = {path: raw for path, raw in bare.items() if path.startswith("data/")}
    files[f"{root}/{offline.MANIFEST}"] = bagit.manifest(payload)
    tags = {name: files[f"{root}/{name}"] for name in ("bag-info.txt", "bagit.txt", offline.MANIFEST)}
    made = files[f"{root}/{offline.TAGS}"] = bagit.manifest(tags)
    files[f"{root}/{offline.SIGNATURE}"] = sshsig.sign(made, signer, namespace=offline.NAMESPACE)
    old = dsse.read_statement(dsse.decode(files[f"{root}/{offline.ENVELOPE}"]).payload)
    statement = dsse.statement({offline.TAGS: hashlib.sha256(made).hexdigest()}, old["predicateType"], old["predicate"])
    files[f"{root}/{offline.ENVELOPE}"] = dsse.sign(statement, dsse.IN_TOTO, signer)


def bundles(root: Path) -> tuple[bytes, bytes, Published, list[bytes]]:
    """The vendor's first bundle and the second, which continues it."""
    early = entries()
    (root / "early").mkdir()
    first = compose(parts(lay_out(root / "early", early[:FIRST]), early, size=FIRST), EVIDENCE)
    rows = entries(first)
    (root / "log").mkdir()
    log = lay_out(root / "log", rows)
    return first, compose(parts(log, rows), EVIDENCE), log, rows
