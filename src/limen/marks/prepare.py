"""Preparing a version: a source in, a directory of two variant streams with their tables and manifest out.

Deterministic: the same key, source and registry give the same bytes. The registry is durable before the directory gets
its name, so that no slot is ever served that the lineage doesn't remember. A source in which too few records can be
exchanged is refused in words (`Unmarked`), with the numbers. Blocking; run it in a thread.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from typing import TYPE_CHECKING, Final

import numpy as np

from limen.core.errors import Invalid
from limen.durable import sync
from limen.marks.choose import Chosen, Pairs, Source, Withhold, choose, keyed_order
from limen.marks.copy import Prepared
from limen.marks.gold import Canaries
from limen.marks.guide import prepare_guide
from limen.marks.layout import lay
from limen.marks.records import LONGEST, PLAIN, Media, has_long_line, read, scan
from limen.marks.registry import COMMON, Registry
from limen.marks.segments import prepare_segments
from limen.marks.staging import SLOT, Staged, Unmarked, look_up, told_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from limen.marks.keys import MarkKey

FORMAT: Final = "limen/prepared/v1"
LEAST_SLOTS: Final = 150  # a whole copy with fewer names nobody: see docs/marks.md, "How much is enough"


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
    settle: Callable[[Path], None] = sync,
) -> Prepared | Unmarked:
    """Prepare `source` into the directory `out`, which is replaced if it is there.

    `pairs`: the share of records to pair, or the pairs themselves; `withhold`: the same for withheld records (JSONL).
    `canaries`: JSONL records, each for one recipient, or several for each. `scope` (a shard's path) keeps equal record ids
    of two shards apart. `settle` makes what was written durable; only what is thrown away at once needs another.
    Invalid for a bad explicit choice.
    """
    dealt = canaries if isinstance(canaries, Canaries) else Canaries(tuple(canaries))
    _check_canaries(media, dealt)
    if media == "authored":
        share = pairs if isinstance(pairs, float | int) else float(len(pairs))
        return prepare_guide(source, key=key, registry=registry, out=out, pairs=share, scope=scope, least=least, settle=settle)
    with source.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if not size:
            return Unmarked("cannot be fingerprinted: it is empty", 0)
        if media not in PLAIN:
            return prepare_segments(
                source,
                media=media,
                key=key,
                registry=registry,
                out=out,
                pairs=pairs,
                withhold=withhold,
                dealt=dealt,
                scope=scope,
                least=least,
                settle=settle,
            )
        if has_long_line(stream):
            return Unmarked(f"cannot be fingerprinted: a line in it is longer than {LONGEST >> 20} MiB", 0)
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as raw:
            return _prepare(raw, media, key, registry, out, pairs, withhold, dealt, scope, least, settle)


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
    settle: Callable[[Path], None],
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

    baits = _place(key, held, chosen, canaries)
    staged = Staged.at(out, settle)
    with staged.open("base") as base, staged.open("other") as other:
        layout = lay(held, chosen, baits, base=base, other=other)
    slots = _slots(held, registry, chosen)
    staged.write_tables(layout, slots)
    tables = look_up(readings, len(found), canaries)
    staged.write_look_up(tables, _refs(len(found), chosen, len(canaries)))
    staged.keep_gold(dealt, tables, held.name[held.named], scope=scope.encode())
    staged.finish(
        key,
        {
            "format": FORMAT,
            "media": media,
            "source": hashlib.sha256(raw).hexdigest(),
            "source_length": len(raw),
            "records": len(found),
            "pairs": len(chosen.pairs),
            "withheld": len(chosen.withheld),
            **told_of(dealt),
            "unmarked_why": why,
        },
        registry=registry,
        registry_path=registry_path,
    )
    return Prepared.open(out)


def _check_canaries(media: Media, canaries: Canaries) -> None:
    if canaries.lines and media not in {"jsonl", "jsonl.gz"}:
        raise Invalid("canaries", "only JSONL can carry them: elsewhere the gap would show")
    canaries.check()


def _why(source: Source, least: int) -> str:
    able = int(np.count_nonzero(source.sound))
    if least <= 1:
        return f"cannot be fingerprinted: none of its {able} usable records can be exchanged for another"
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
