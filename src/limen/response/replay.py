"""A case as one file from which an arbiter recomputes every figure, once the mark keys are opened. limen/trace-bundle/v1.

Deterministic: the same case under the same checkpoint gives the same bytes. It holds the looks' documents, the manifests'
hashes that their slots need, the entries with their proofs, and the programs that check it all (`limen.verify.arbiter`).
Copies by copy id, no names, and no key. Format: docs/formats/case.md.
"""

from __future__ import annotations

import bisect
import importlib.resources
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import Invalid, NotFound
from limen.core.events import canonical
from limen.formats.merkle import inclusion_proof, leaf_hash, root_of, split
from limen.marks.staging import slot_leaves
from limen.response.look import Document
from limen.verify import arbiter, offline

if TYPE_CHECKING:
    from collections.abc import Sequence

    from limen.core.types import Checkpoint
    from limen.custody import Custody
    from limen.response.cases import Case
    from limen.verify.published import Published

PROGRAMS: Final = ("arbiter.py", "dealing.py", "scoring.py", "offline.py")
_README: Final = """This is a trace of a leak, so that somebody who does not trust whoever made it can recompute it.

    unzip it, and in its directory:
    python3 -I -S arbiter.py ../BUNDLE.zip --log 'THE LOG KEY' --key KEY.json

Python 3.10 or later, and nothing else, is needed. Take the log's key from somewhere else than this file. KEY.json is a mark key
that was opened to you (limen/mark-key/v1); one for each data set. Better take the programs from elsewhere too:
their text is part of limen, src/limen/verify. docs/trace.md and docs/marks.md say what is computed, and why.

Copies are named by copy ids. Whose they are is not in here.
"""


@dataclass(frozen=True, slots=True)
class _Log:
    """The published log as it is proved here: under one checkpoint."""

    published: Published
    checkpoint: Checkpoint

    def entry(self, index: int) -> dict[str, Any]:
        """One entry's text and its path to the checkpoint's root."""
        size = self.checkpoint.size
        if index >= size:
            raise Invalid("case", f"entry {index} is not published yet; ask again")
        path = inclusion_proof(index, size, self.published.tree(size))
        return {
            "index": index,
            "entry": self.published.entry(index, size).decode(),
            "path": [each.hex() for each in path],
        }


def bundle(custody: Custody, case: Case, looks: int, *, published: Published, checkpoint: Checkpoint, vkey: str) -> bytes:
    """The first `looks` looks of a case. Invalid if something of it can't be proved. Reads the disk."""
    log = _Log(published, checkpoint)
    taken = case.looks[:looks]
    raws = [custody.blobs.path(look.result.fields["document"]).read_bytes() for look in taken]
    documents = [Document.read(raw).value for raw in raws]
    manifests, versions = _manifests(custody, documents)
    pairs = [[look.sample.entry, look.result.entry] for look in taken]
    unscored = [one.entry for one in case.unscored if one.entry < pairs[-1][1]]
    wanted = {entry for pair in pairs for entry in pair} | set(unscored)
    wanted |= {entry for manifest in manifests for entry in (manifest["commit"], manifest["registered"])}
    index = {
        "format": arbiter.FORMAT,
        "case": case.name,
        "looks": looks,
        "manifests": len(manifests),
        "entries": pairs,
        "versions": versions,
        "unscored": unscored,
        "log": {"origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex(), "vkey": vkey},
    }
    files = {
        "README.txt": _README.encode(),
        "bundle.json": canonical(index) + b"\n",
        "log/checkpoint": checkpoint.note,
        "log/entries.json": _json([log.entry(entry) for entry in sorted(wanted)]),
        **{f"looks/{number}.json": raw for number, raw in enumerate(raws, 1)},
        **{f"manifests/{number}.json": _json(manifest) for number, manifest in enumerate(manifests)},
        **programs(),
    }
    raw = offline.zipped({f"trace-{case.name}-{looks}/{path}": body for path, body in files.items()})
    _refuse_wrong(raw, vkey)
    return raw


def programs() -> dict[str, bytes]:
    """The programs that check a bundle, by name."""
    folder = importlib.resources.files("limen.verify")
    return {name: folder.joinpath(name).read_bytes() for name in PROGRAMS}


def _manifests(custody: Custody, documents: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[list[int]]]:
    """Every manifest in which slots of these looks stand, with the hashes beside them; and which of them each look means."""
    told: list[dict[str, Any]] = []
    places: list[set[int]] = []
    versions: list[list[int]] = []
    for document in documents:
        mine = []
        for version in document["versions"]:
            if version not in told:
                told.append(version)
                places.append(set())
            mine.append(told.index(version))
        versions.append(mine)
        for row in document["slots"]:
            places[mine[row[0]]].add(row[1])
    return [_manifest(custody, version, sorted(some)) for version, some in zip(told, places, strict=True)], versions


def _manifest(custody: Custody, told: dict[str, Any], places: list[int]) -> dict[str, Any]:
    found = custody.catalog.snapshot.shard_of(told["asset"], told["version"], told["shard"])
    if found is None or told["commit"] < 0:
        raise NotFound(f"the commitment to {told['asset']}@{told['version']}/{told['shard']}: nothing can be proved of its slots")
    version, shard = found
    hashes = [leaf_hash(leaf) for leaf in slot_leaves(custody.shelf.prepared(shard).slots)]
    return {**told, "registered": version.entry, "hashes": [each.hex() for each in _beside(hashes, places)]}


def _beside(hashes: Sequence[bytes], places: Sequence[int]) -> list[bytes]:
    """From left to right, the roots of the largest subtrees that hold none of these leaves."""
    found: list[bytes] = []

    def walk(start: int, end: int) -> None:
        at = bisect.bisect_left(places, start)
        if at == len(places) or places[at] >= end:
            found.append(root_of(hashes[start:end]))
        elif end - start > 1:
            middle = start + split(end - start)
            walk(start, middle)
            walk(middle, end)

    walk(0, len(hashes))
    return found


def _refuse_wrong(raw: bytes, vkey: str) -> None:
    """A bundle that its own program would refuse is given to nobody. The figures take the keys, and are not looked at here."""
    checked = arbiter.read(raw, [], vkey)
    checked.slots()
    if checked.wrong:
        raise Invalid("case", f"the bundle would not verify ({checked.wrong[0]}); nothing was written")


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
