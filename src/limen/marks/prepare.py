"""Preparing a version: a source in, a directory of two variant streams with their tables and manifest out.

Deterministic: the same key, source and registry give the same bytes. The registry is durable before the directory gets
its name, so that no slot is ever served that the lineage doesn't remember. A source in which too few records can be
exchanged is refused in words (`Unmarked`), with the numbers. Blocking; run it in a thread.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from limen.core.errors import Invalid
from limen.durable import sync
from limen.formats.merkle import leaf_hash, root_of
from limen.marks import normalise
from limen.marks.choose import Chosen, Pairs, Source, Withhold, choose, keyed_order
from limen.marks.copy import Prepared
from limen.marks.gold import GOLD, Canaries
from limen.marks.keys import CODE
from limen.marks.layout import lay
from limen.marks.records import Media, fields_of_all, fingerprints_of, keys_of, leaves, parse_json, read, scan
from limen.marks.registry import COMMON, Registry
from limen.marks.tables import Table, as_digests

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from limen.marks.keys import MarkKey
    from limen.marks.layout import Layout
    from limen.marks.records import Reading

FORMAT: Final = "limen/prepared/v1"
LEAST_SLOTS: Final = 150  # a whole copy with fewer names nobody: see docs/marks.md, "How much is enough"
SLOT: Final = np.dtype(
    [
        ("number", "<i8"),
        ("id", "V16"),
        ("tier", "u1"),
        ("level", "u1"),
        ("kind", "u1"),
        ("index", "<u4"),
        ("sides", "<u8", (2, 2)),
    ]
)


@dataclass(frozen=True, slots=True)
class Unmarked:
    """Why a source can't be fingerprinted, and how many records it has."""

    unmarked_why: str
    records: int


def prepare(
    source: Path,
    *,
    media: Media,
    key: MarkKey,
    registry: Path,
    out: Path,
    pairs: Pairs = 1.0,
    withhold: Withhold = 0.0,
    canaries: Canaries | Sequence[bytes] = (),
    scope: str = "",
    least: int = LEAST_SLOTS,
) -> Prepared | Unmarked:
    """Prepare `source` into the directory `out`, which is replaced if it is there.

    `pairs`: the share of records to pair, or the pairs themselves; `withhold`: the same for withheld records (JSONL).
    `canaries`: JSONL records, each for one recipient, or several for each. `scope` (a shard's path) keeps equal record ids
    of two shards apart.
    Invalid for a bad explicit choice.
    """
    dealt = canaries if isinstance(canaries, Canaries) else Canaries(tuple(canaries))
    _check_canaries(media, dealt)
    with source.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if not size:
            return Unmarked("cannot be fingerprinted: it is empty", 0)
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as raw:
            return _prepare(raw, media, key, registry, out, pairs, withhold, dealt, scope, least)


def _prepare(  # noqa: PLR0917  one call, above
    raw: memoryview,
    media: Media,
    key: MarkKey,
    registry_path: Path,
    out: Path,
    pairs: Pairs,
    withhold: Withhold,
    dealt: Canaries,
    scope: str,
    least: int,
) -> Prepared | Unmarked:
    canaries, found = dealt.lines, scan(raw, media)
    if found.why or not len(found):
        return Unmarked(f"cannot be fingerprinted: {found.why or 'it has no records'}", len(found))
    readings = list(read(raw, media, found, scope=scope.encode()))
    held = Source(
        raw,
        media,
        found,
        *(np.concatenate([getattr(r, name) for r in readings]) for name in ("sound", "valid", "whole", "name", "named")),
    )
    registry = Registry.load(registry_path)
    chosen = choose(key, held, registry, pairs=pairs, withhold=withhold, least=least)
    why = "" if len(chosen) else _why(held, least)
    if why and not canaries:
        registry.save(registry_path)
        return Unmarked(why, len(found))

    staged = out.with_name(out.name + ".new")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    baits = _place(key, held, chosen, canaries)
    with (staged / "base").open("wb") as base, (staged / "other").open("wb") as other:
        layout = lay(held, chosen, baits, base=base, other=other)
    slots = _slots(held, registry, chosen)
    _write_tables(staged, layout, slots)
    look_up = _look_up(readings, len(found), canaries)
    if dealt.gold is not None:
        own = _known_by_a_field(look_up.table, canaries, len(found))
        dealt.check_told_apart(own, set(_each(held.name[held.named])), scope.encode())
        (staged / GOLD).write_bytes(dealt.gold.encode())
    _write_look_up(staged, look_up, _refs(len(found), chosen, len(canaries)))
    manifest = {
        "format": FORMAT,
        "code": CODE,
        "key": key.id,
        "commitment": key.commitment(),
        "media": media,
        "source": hashlib.sha256(raw).hexdigest(),
        "source_length": len(raw),
        "length": layout.length,
        "crc64nvme": layout.crc,
        "records": len(found),
        "pairs": len(chosen.pairs),
        "withheld": len(chosen.withheld),
        "canaries": len(canaries),
        **({"canaries_each": dealt.each} if dealt.each > 1 else {}),
        **({"gold_root": dealt.gold.root()} if dealt.gold is not None else {}),
        "slots_root": root_of([leaf_hash(leaf) for leaf in slot_leaves(slots)]).hex(),
        "unmarked_why": why,
        "parts": {part.name: _sha256(part) for part in sorted(staged.iterdir())},
    }
    (staged / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True))
    _sync(staged)
    registry_path.parent.mkdir(parents=True, exist_ok=True)
    registry.save(registry_path)
    shutil.rmtree(out, ignore_errors=True)
    staged.rename(out)
    sync(out.parent)
    return Prepared.open(out)


def slot_leaves(slots: NDArray[np.void]) -> list[bytes]:
    """What the manifest's root commits to, a leaf a slot: id, tier, level, kind, index, and both sides' digests."""
    heads = np.stack([slots["tier"], slots["level"], slots["kind"]], axis=1).astype(np.uint8).tobytes()
    indexes = slots["index"].astype(">u4").tobytes()
    sides = np.ascontiguousarray(slots["sides"]).astype(">u8").tobytes()
    ids = np.ascontiguousarray(slots["id"]).tobytes()
    return [
        ids[16 * n : 16 * n + 16] + heads[3 * n : 3 * n + 3] + indexes[4 * n : 4 * n + 4] + sides[32 * n : 32 * n + 32]
        for n in range(len(slots))
    ]


def _check_canaries(media: Media, canaries: Canaries) -> None:
    if canaries.lines and media != "jsonl":
        raise Invalid("canaries", "only JSONL can carry them: elsewhere the gap would show")
    canaries.check()


def _each(digests: NDArray[np.uint64]) -> list[bytes]:
    raw = digests.astype(">u8").tobytes()
    return [raw[at : at + 16] for at in range(0, len(raw), 16)]


def _why(source: Source, least: int) -> str:
    able = int(np.count_nonzero(source.sound))
    if source.media == "jsonl":
        return f"cannot be fingerprinted: {able} of its {len(source.sound)} records could carry a mark, {least} slots are needed"
    return (
        f"cannot be fingerprinted: pairs must be of equal length in {source.media}, and its {able} usable records"
        f" make fewer than {least}"
    )


def _place(key: MarkKey, source: Source, chosen: Chosen, canaries: Sequence[bytes]) -> list[tuple[int, bytes]]:
    """Each canary behind a record that is there for everyone's parser: one place each, keyed."""
    second = {max(zero, one) for _, zero, one in chosen.pairs}
    able = [n for n in np.flatnonzero(source.valid).tolist() if n not in second]
    if len(able) < len(canaries):
        raise Invalid("canaries", f"{len(canaries)} are too many for the {len(able)} records that they could follow")
    order = np.argsort(keyed_order(key, source.whole[able]), kind="stable").tolist() if canaries else []
    return [(able[at], canary) for at, canary in zip(order, canaries, strict=False)]


def _slots(source: Source, registry: Registry, chosen: Chosen) -> NDArray[np.void]:
    numbers = np.array([n for n, *_ in chosen.pairs] + [n for n, _ in chosen.withheld], dtype=np.int64)
    slots = np.zeros(len(numbers), dtype=SLOT)
    slots["number"] = numbers
    for name in ("id", "tier", "level", "kind", "index"):
        slots[name] = registry.slots[name][numbers]
    for at, (_, zero, one) in enumerate(chosen.pairs):
        slots["sides"][at] = source.whole[[zero, one]]
    for at, (_, record) in enumerate(chosen.withheld, start=len(chosen.pairs)):
        slots["sides"][at][1] = source.whole[record]
    return slots


def _refs(records: int, chosen: Chosen, canaries: int) -> NDArray[np.int64]:
    """By record: local slot * 2 + side, COMMON, or -2 - k for canary k."""
    refs = np.full(records + canaries, COMMON, dtype=np.int64)
    for slot, (_, zero, one) in enumerate(chosen.pairs):
        refs[zero], refs[one] = 2 * slot, 2 * slot + 1
    for slot, (_, record) in enumerate(chosen.withheld, start=len(chosen.pairs)):
        refs[record] = 2 * slot + 1
    refs[records:] = -2 - np.arange(canaries)
    return refs


@dataclass(slots=True)
class _LookUp:
    table: Table
    runs: NDArray[np.uint64]
    run_stretch: NDArray[np.int64]
    own_runs: NDArray[np.int64]
    stretch_record: NDArray[np.int64]


def _look_up(readings: list[Reading], records: int, canaries: Sequence[bytes]) -> _LookUp:
    """Tables by which a leak is recognised; a text or run that two records share says nothing and is dropped."""
    fields = fields_of_all([leaves(parse_json(canary)[1]) for canary in canaries])
    _, stands = keys_of(fields)
    keys = b"".join(r.keys for r in readings) + normalise.digests(text for some in stands for text in some)
    counts = [len(some) for some in stands]
    owner = np.concatenate([*(r.owner for r in readings), np.repeat(np.arange(len(canaries)) + records, counts)])
    runs, stretches, stretch_owners = [], [], []
    known = 0
    for some, stretch, of in [
        *((r.runs, r.run_stretch, r.stretch_owner) for r in readings),
        _of_canaries(fields, records),
    ]:
        runs.append(some)
        stretches.append(stretch + known)
        stretch_owners.append(of)
        known += len(of)
    unique, first, times = np.unique(np.concatenate(runs), return_index=True, return_counts=True)
    single = times == 1
    run_stretch = np.concatenate(stretches)[first[single]]
    return _LookUp(
        table=Table.build(as_digests(keys), owner.astype(np.int64)),
        runs=unique[single],
        run_stretch=run_stretch,
        own_runs=np.bincount(run_stretch, minlength=known),
        stretch_record=np.concatenate(stretch_owners),
    )


def _known_by_a_field(table: Table, canaries: Sequence[bytes], records: int) -> set[int]:
    """Canaries of which one field alone tells that it is they: another answer beside it doesn't hide them."""
    fields = fields_of_all([leaves(parse_json(canary)[1]) for canary in canaries])
    texts = [(number, field) for number, some in enumerate(fields) for field in some if len(field) >= normalise.MIN_TEXT]
    found = table.find(as_digests(normalise.digests(field for _, field in texts)))
    return {number for (number, _), record in zip(texts, found.tolist(), strict=True) if record == records + number}


def _of_canaries(fields: list[list[bytes]], records: int) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    runs, stretch, owner = fingerprints_of(fields)
    return runs, stretch, owner + records


def _write_tables(out: Path, layout: Layout, slots: NDArray[np.void]) -> None:
    for name in ("regions", "entries", "segments", "others", "segment_region"):
        np.save(out / f"{name}.npy", getattr(layout, name), allow_pickle=False)
    np.save(out / "slots.npy", slots, allow_pickle=False)


def _write_look_up(out: Path, found: _LookUp, refs: NDArray[np.int64]) -> None:
    columns = {
        "key_high": found.table.high,
        "key_low": found.table.low,
        "key_record": found.table.value,
        "runs": found.runs,
        "run_stretch": found.run_stretch,
        "own_runs": found.own_runs,
        "stretch_record": found.stretch_record,
        "refs": refs,
    }
    for name, column in columns.items():
        np.save(out / f"{name}.npy", column, allow_pickle=False)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync(directory: Path) -> None:
    for path in directory.iterdir():
        sync(path)
    sync(directory)
