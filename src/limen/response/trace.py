"""Trace: a leaked sample in, the copies that fed it out. The sample's digest is logged before it is scored.

`marks.trace` scores copies under the theorem of docs/marks.md; this verb adds what only the ledger knows: who had any
access (the prior), and in which sessions an implicated copy's leaked records were handed over. It implicates copies,
never persons; nothing happens to anybody by itself.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limen.core.errors import Invalid, NotFound
from limen.core.events import decode
from limen.marks.retired import without
from limen.marks.trace import ALPHA, TraceResult, score
from limen.response import served

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from limen.core.types import Recipient, Shard, Version
    from limen.custody import Custody

SCHEMA: Final = "limen/trace/v1"
MAX_SAMPLE: Final = 1 << 30
Place = tuple[str, int, str]  # asset, version, shard


async def trace(custody: Custody, path: Path, *, by: str, alpha: float = ALPHA) -> dict[str, Any]:
    """Trace one sample. Invalid if it can't be read or is larger than 1 GiB; a JSON value of schema limen/trace/v1."""
    sample = await asyncio.to_thread(_read, path)
    digest = hashlib.sha256(sample).hexdigest()
    fields = {"digest": digest, "length": len(sample), "by": by}
    logged = await custody.ledger.append(*custody.scribe.write("trace.sample", fields, None))
    report, found = await asyncio.to_thread(_trace, custody, sample, digest=digest, alpha=alpha, before=logged.index)
    result = {
        "sample": logged.index,
        "digest": digest,
        "verdict": found.verdict,
        "slots_matched": found.slots_matched,
        "copies": sorted(custody.catalog.pseudonym(copy.recipient, "") for copy in found.copies),
        "vendors": sorted(copy.recipient for copy in found.vendors),
        "bank": found.bank,
        **({"retired": {one["key"]: one["slots"] for one in report["retired"]}} if report["retired"] else {}),
        "by": by,
    }
    concluded = await custody.ledger.append(*custody.scribe.write("trace.result", result, None))
    return {"schema": SCHEMA, "sample_entry": logged.index, "result_entry": concluded.index, "digest": digest, **report}


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_SAMPLE:
            raise Invalid("sample", f"{path} is larger than 1 GiB; trace a part of it")
        return path.read_bytes()
    except OSError as e:
        raise Invalid("sample", f"{path} can't be read: {e.strerror}") from e


def ended_keys(custody: Custody, keys: Iterable[str], digest: str, *, before: int) -> dict[str, int]:
    """Which of these mark keys had ended when a sample was first logged, and by which entry; its slots don't count there."""
    ended = {key: at for key in keys if (at := custody.catalog.snapshot.retired_at(key)) is not None}
    if not ended:
        return {}
    # Only a sample can be named by an entry of this kind; which digest, the entry itself says.
    samples = ((i, decode(raw)) for i, raw in custody.ledger.entries(0, before) if b'"kind":"trace.sample"' in raw)
    first = next((i for i, entry in samples if entry["kind"] == "trace.sample" and entry["digest"] == digest), before)
    return {key: at for key, at in ended.items() if at <= first}


def _trace(custody: Custody, sample: bytes, *, digest: str, alpha: float, before: int) -> tuple[dict[str, Any], TraceResult]:
    snapshot, shelf = custody.catalog.snapshot, custody.shelf
    marked: dict[str, tuple[Version, Shard]] = {}
    for asset in snapshot.assets():
        for version in snapshot.versions(asset.id):
            for shard in version.shards:
                if shard.prepared:
                    marked[str(shelf.prepared(shard).path)] = (version, shard)
    index = shelf.index([shard for _, shard in marked.values()])
    observed = index.observe(sample)
    ended = ended_keys(custody, index.keys, digest, before=before)
    observed, left_out = without(observed, ended)
    assets = {marked[place][0].asset for place in observed.matched}
    recipients = {r.copy_id: r for asset in sorted(assets) for r in snapshot.recipients_of(asset)}
    by_pseudonym = _by_pseudonym(custody, recipients.values())
    reading = served.read(
        custody.ledger.entries(0, before), size=before, concerns=lambda e: (e.get("project"), e.get("who")) in by_pseudonym
    )
    touched = [h for h in reading.handovers if h.asset in assets]
    had_access = {by_pseudonym[h.project, h.who].copy_id for h in touched}
    found = score(observed, list(recipients.values()), keys=shelf.keys_of(index), served=had_access, alpha=alpha)
    # A record that reads like another may have come from elsewhere: only the others tell in which session they went.
    leaked = {_place(*marked[place]): records for place, records in observed.distinct.items()}
    report = found.to_json()
    for copy in report["copies"]:
        holder = copy["person"] = copy.pop("recipient")
        mine = [h for h in touched if by_pseudonym[h.project, h.who].id == holder]
        copy["sessions"] = _sessions(custody, holder, mine, leaked)
    if report["second_best"]:
        report["second_best"] = {k: v for k, v in report["second_best"].items() if k not in {"recipient", "copy_id"}}
    report["assets"] = sorted(assets)
    report["retired"] = [{"key": key, "entry": ended[key], "slots": count} for key, count in left_out.items()]
    report["pieces"] = observed.pieces
    report["unknown"] = reading.unknown
    return report, found


def _place(version: Version, shard: Shard) -> Place:
    return (version.asset, version.number, shard.path)


def _by_pseudonym(custody: Custody, recipients: Iterable[Recipient]) -> dict[tuple[str, str], Recipient]:
    snapshot, pseudonym = custody.catalog.snapshot, custody.catalog.pseudonym
    return {(project, pseudonym(r.id, project)): r for r in recipients for project in snapshot.projects_ever_of(r.id)}


def _sessions(
    custody: Custody, holder: str, handovers: list[served.Handover], leaked: dict[Place, NDArray[np.int64]]
) -> list[dict[str, Any]]:
    """The sessions that carried the leaked records of this person's copy, by how many of them each did."""
    spans: dict[tuple[str, Place], list[tuple[int, int]]] = defaultdict(list)
    for h in handovers:
        place = (h.asset, h.version, h.shard)
        if place in leaked and h.end > h.start:
            spans[h.session, place].append((h.start, h.end))
    carried: dict[str, int] = defaultdict(int)
    total = 0
    for place, records in leaked.items():
        found = custody.catalog.snapshot.shard_of(*place)
        if found is None:
            raise NotFound("{}@{}/{}".format(*place))
        copy = custody.fresh_copy(holder, *found)
        total += int(np.isin(records, copy.records(0, copy.length)).sum())
        for session in {session for session, at in spans if at == place}:
            touched = np.concatenate([copy.records(start, end) for start, end in spans[session, place]])
            own = np.intersect1d(touched, copy.records(0, copy.length))
            carried[session] += int(np.isin(records, own).sum())
    ranked = sorted(carried.items(), key=lambda item: (-item[1], item[0]))
    return [{"session": session, "records": count, "of": total} for session, count in ranked if count]
