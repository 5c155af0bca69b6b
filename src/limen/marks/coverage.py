"""What the copies of a prepared version hold, before anybody has one: expectations over the code's draws, not over one key.

A slot's level and tier are drawn by key, so a share "on average" here is the mean over slots drawn as the code draws them
(`code.draw`). The levels are symmetric and a pair's sides are drawn, so each recipient gets either side of a pair, and each
withheld record, with probability one half. Pure but for memory-mapped tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from limen.marks.code import VENDOR_SHARE
from limen.marks.levels import DEFAULT, LEVELS
from limen.marks.registry import COMMON, WITHHELD

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from limen.marks.copy import Prepared

SLOT_ROW: Final = np.dtype([("number", "<i8"), ("kind", "u1"), ("size", "<f8")])


@dataclass(frozen=True, slots=True)
class Held:
    """Records and bytes of content of one prepared version. Means are per recipient.

    `slots`: a row a slot, `size` the records that a side of it has on average. `padding` is None where it is compressed.
    `paired` and `withheld`: records that have somebody else's in their place, and those that some get.
    """

    records: int
    common: int
    paired: int
    withheld: int
    mean_records: float
    mean_bytes: float | None
    common_bytes: int | None
    padding: float | None
    slots: NDArray[np.void]


def held_of(prepared: Prepared) -> Held:
    """What copies of a prepared version hold."""
    return _of_groups(prepared) if prepared.group_at is not None else _of_entries(prepared)


def _of_entries(prepared: Prepared) -> Held:
    """Of a version whose records lie where its entries say, in bytes that can be counted."""
    entries, region = prepared.entries, prepared.entries["region"]
    counts = [(entries[name] >= 0).astype(np.int64) for name in ("record0", "record1")]
    shared = region < 0
    slot = np.full(len(entries), -1, dtype=np.int64)
    slot[~shared] = prepared.regions["slot"][region[~shared]]  # -1 for a canary's
    coded = slot >= 0
    both = counts[0] + counts[1]
    given = prepared.slots["kind"][slot[coded]] == WITHHELD
    lengths = entries["length0"], entries["length1"]
    common_bytes = int(lengths[0][shared].sum())
    sizes = np.zeros(len(prepared.slots))
    np.add.at(sizes, slot[coded], np.where(given, both[coded], both[coded] / 2))
    return Held(
        records=prepared.records,
        common=int(counts[0][shared].sum()),
        paired=int(both[coded][~given].sum()),
        withheld=int(both[coded][given].sum()),
        mean_records=float(counts[0][shared].sum() + both[coded].sum() / 2),
        mean_bytes=float(common_bytes + (lengths[0] + lengths[1])[coded].sum() / 2),
        common_bytes=common_bytes,
        padding=_padding(prepared, slot),
        slots=_rows(prepared, sizes),
    )


def _of_groups(prepared: Prepared) -> Held:
    """Of a compressed version: a group's records may lie in several places, a column's bytes each."""
    refs = np.load(prepared.path / "refs.npy", mmap_mode="r", allow_pickle=False)[: prepared.records]
    common, coded = int(np.count_nonzero(refs == COMMON)), refs[refs >= 0]
    return Held(
        records=prepared.records,
        common=common,
        paired=len(coded),
        withheld=0,
        mean_records=common + len(coded) / 2,
        mean_bytes=None,
        common_bytes=None,
        padding=None,
        slots=_rows(prepared, np.bincount(coded >> 1, minlength=len(prepared.slots)) / 2),
    )


def _rows(prepared: Prepared, sizes: NDArray[np.float64]) -> NDArray[np.void]:
    rows = np.zeros(len(prepared.slots), dtype=SLOT_ROW)
    rows["number"], rows["kind"], rows["size"] = prepared.slots["number"], prepared.slots["kind"], sizes
    return rows


def unseen_share(recipients: int, vendors: int, *, levels: str = DEFAULT) -> float:
    """Probability that one side of a slot, or a withheld record, is in nobody's copy: over level, tier and side."""
    table = LEVELS[levels]

    def nobody(copies: int) -> float:
        return float(table.shares @ (1 - table.biases) ** copies)

    return (1 - VENDOR_SHARE) * nobody(recipients) + VENDOR_SHARE * nobody(vendors)


def _padding(prepared: Prepared, slot: NDArray[np.int64]) -> float:
    """Bytes of a copy that only make it as long as the others, on average."""
    widths = np.bincount(
        prepared.segment_region[prepared.segment_region >= 0],
        weights=np.diff(prepared.segments)[prepared.segment_region >= 0],
        minlength=len(prepared.regions),
    )
    entries = prepared.entries
    kinds = np.full(len(entries), 255, dtype=np.int64)
    kinds[slot >= 0] = prepared.slots["kind"][slot[slot >= 0]]
    paired = (slot >= 0) & (kinds != WITHHELD)
    zero, one = entries["length0"][paired], entries["length1"][paired]
    given = (slot >= 0) & (kinds == WITHHELD)
    bait = (entries["region"] >= 0) & (slot < 0)
    # Somebody who gets none of the canaries has all of their room as spaces.
    return float(
        (np.maximum(zero, one) - (zero + one) / 2).sum()
        + widths[entries["region"][given]].sum() / 2
        + widths[entries["region"][bait]].sum()
    )
