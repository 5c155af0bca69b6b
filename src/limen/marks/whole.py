"""How few slots are too few: judged by the whole version, because its shards leak together and their slots add up.

A shard by itself says little: two hundred guides of three slots each carry six hundred. So before a version of several
shards is prepared they are tried, the smallest first, on a copy of the lineage's registry in a scratch directory, by the
same `prepare` that makes the copies; it stops as soon as there are enough. What was registered before stays as it is.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from limen.marks.prepare import LEAST_SLOTS, prepare
from limen.marks.registry import Registry
from limen.marks.staging import Unmarked

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from limen.marks.keys import MarkKey
    from limen.marks.records import Media


@dataclass(frozen=True, slots=True)
class Part:
    """A shard to be: its path in the asset, where its bytes are, and what can carry its marks."""

    path: str
    local: Path
    media: Media


@dataclass(frozen=True, slots=True)
class Floor:
    """How many slots a shard of this version needs: `least`. If its shards come to too few together, `slots`, `why` says so."""

    least: int = LEAST_SLOTS
    why: str = ""
    slots: int = 0


def leave(path: Path) -> None:
    """What `prepare` does for durability where nothing is kept: nothing."""
    del path


def floor_of(
    parts: Sequence[Part], *, key: MarkKey, registry: Path, scratch: Path, pairs: float, withhold: float, least: int = LEAST_SLOTS
) -> Floor:
    """The floor for the shards of one version, from what all of them could carry. `scratch` is left empty. Blocking.

    Slots that live on from an earlier version are enough: its people hold copies of them.
    """
    memory = scratch / "slots"
    if registry.exists():
        shutil.copyfile(registry, memory)
    lived = len(Registry.load(memory).slots)
    held: set[int] = set()
    try:
        for part in sorted(parts, key=lambda part: part.local.stat().st_size):
            found = prepare(
                part.local,
                media=part.media,
                key=key,
                registry=memory,
                out=scratch / "part",
                pairs=pairs,
                withhold=withhold,
                scope=part.path,
                least=1,
                settle=leave,
            )
            if isinstance(found, Unmarked):
                continue
            numbers = found.slots["number"].tolist()
            held.update(numbers)
            # A record that stands in two shards, in one of them without its partner, is everyone's: so is the partner.
            held -= set(np.flatnonzero(Registry.load(memory).slots["retired"]).tolist())
            if len(held) >= least or min(numbers, default=lived) < lived:
                return Floor(1)
    finally:
        shutil.rmtree(scratch / "part", ignore_errors=True)
        memory.unlink(missing_ok=True)
    why = f"the version's {len(parts)} shards come to {len(held)} together" if len(parts) > 1 else ""
    return Floor(least, why, len(held))
