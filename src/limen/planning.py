"""Planning: what a version would carry, before anything of it is registered, logged or kept.

It is prepared by the code that registers (`marks.prepare`, judged by `marks.whole`), part by part, under a key that is thrown
away, in a scratch directory that is removed; then its tables are counted. The key is always the same one, so that a plan of
the same bytes says the same; it deals nothing to anybody. A plan is of a first version: an asset's next one keeps the slots
of its unchanged records.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypedDict

import numpy as np

from limen.core.errors import Invalid
from limen.marks.coverage import SLOT_ROW, held_of, unseen_share
from limen.marks.keys import SECRET_BYTES, MarkKey
from limen.marks.power import Reach, reaches
from limen.marks.prepare import prepare
from limen.marks.registry import WITHHELD, Registry
from limen.marks.staging import Unmarked
from limen.marks.whole import Floor, floor_of, leave
from limen.registration import CANARIES_IN, Marking, carrier_of, check, parts_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from limen.marks.gold import Canaries
    from limen.marks.whole import Part
    from limen.registration import Source

KEY: Final = MarkKey("plan", b"\0" * SECRET_BYTES, b"\0" * SECRET_BYTES)
CARRIERS: Final = {"jsonl": "pairs", "csv": "pairs", "text": "pairs", "authored": "alternatives"}  # others: segments


class _Choices(TypedDict):
    key: MarkKey
    registry: Path
    scratch: Path
    pairs: float
    withhold: float


@dataclass(frozen=True, slots=True)
class PartPlan:
    """One shard: what it would carry, or why it can't. `bytes_served` is what everybody is served."""

    path: str
    carrier: str
    records: int
    slots: int
    withheld_slots: int
    canaries: int
    common: int
    paired: int
    withheld: int
    mean_records: float
    mean_bytes: float | None
    common_bytes: int | None
    padding: float | None
    bytes_source: int
    bytes_served: int
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A version as it would be, for so many people of so many vendors.

    `slots` counts each once over all parts, `could` those it would have if they were enough.
    `unseen` is the expected number of records that reach none of these people.
    """

    parts: tuple[PartPlan, ...]
    recipients: int
    vendors: int
    alpha: float
    slots: int
    could: int
    unseen: float
    reach: tuple[Reach, ...]

    def total(self, name: str) -> float:
        """The sum of one figure over the parts; those that don't have it left out."""
        return sum(getattr(part, name) or 0 for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON values."""
        names = ("records", "common", "mean_records", "bytes_source", "bytes_served")
        return {**asdict(self), "total": {name: self.total(name) for name in names}}


def plan(
    sources: list[Source],
    marking: Marking,
    *,
    recipients: int,
    vendors: int,
    alpha: float,
    scratch: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Plan:
    """Plan a version. Invalid names a source that can't be read, or is malformed. Blocking.

    `scratch`: where a part's prepared form lies while it is counted (the system's temporary directory).
    """
    if recipients < 1 or not 1 <= vendors <= recipients:
        raise Invalid("--recipients", "there must be one or more, of one vendor or more, and no more vendors than people")
    if not 0 < alpha < 1:
        raise Invalid("--alpha", "is a probability, between 0 and 1")
    check(sources)
    canaries = marking.dealt()
    if canaries.lines and not any(carrier_of(source.local) in CANARIES_IN for source in sources):
        raise Invalid("canaries", "only JSONL can carry them: elsewhere the gap would show")
    with tempfile.TemporaryDirectory(prefix="limen-plan-", dir=scratch) as made:
        place = Path(made)
        (place / "floor").mkdir()
        wanted = parts_of(sources)
        how: _Choices = {
            "key": KEY,
            "registry": place / "slots",
            "scratch": place / "floor",
            "pairs": marking.pairs_percent / 100,
            "withhold": marking.withhold_percent / 100,
        }
        floor = floor_of(wanted, **how) if len(wanted) > 1 else Floor()
        parts, rows = [], []
        for source in sources:
            if progress is not None:
                progress(source.path)
            part, slots = _part(source, marking, canaries, floor, place)
            parts.append(part)
            rows.append(slots)
        slots = _lasting(np.concatenate(rows) if rows else np.zeros(0, dtype=SLOT_ROW), Registry.load(place / "slots"))
        could = len(slots) or floor.slots or _could(wanted, how, place)
    held = Plan(tuple(parts), recipients, vendors, alpha, len(slots), could, 0.0, ())
    return replace(
        held,
        unseen=_unseen(held, unseen_share(recipients, vendors)),
        reach=tuple(reaches(slots, records=held.total("mean_records"), recipients=recipients, vendors=vendors, alpha=alpha)),
    )


def _could(wanted: list[Part], how: _Choices, place: Path) -> int:
    """The slots of parts that were judged to have too few."""
    untouched: _Choices = {**how, "registry": place / "untouched"}
    return floor_of(wanted, **untouched).slots


def _unseen(held: Plan, share: float) -> float:
    """Records that reach nobody: by chance, and second wordings of places that are no slots."""
    drawn = held.total("paired") + held.total("withheld")
    return drawn * share + held.total("records") - held.total("common") - drawn


def _part(source: Source, marking: Marking, canaries: Canaries, floor: Floor, place: Path) -> tuple[PartPlan, NDArray[np.void]]:
    """One part, prepared, counted and removed; and its slots."""
    none = np.zeros(0, dtype=SLOT_ROW)
    media = carrier_of(source.local)
    size = source.local.stat().st_size
    if media is None:
        kind = source.local.suffix or "this kind of file"
        return _unmarked(source, size, f"cannot be fingerprinted: limen has no carrier for {kind}"), none
    carrier = CARRIERS.get(media, "segments")
    if carrier == "pairs" and marking.withhold_percent and media == "jsonl":
        carrier = "pairs and withheld" if marking.pairs_percent else "withheld"
    try:
        found = prepare(
            source.local,
            media=media,
            key=KEY,
            registry=place / "slots",
            out=place / "part",
            pairs=marking.pairs_percent / 100,
            withhold=marking.withhold_percent / 100,
            canaries=canaries if media in CANARIES_IN else (),
            scope=source.path,
            least=floor.least,
            settle=leave,
        )
        if isinstance(found, Unmarked):
            return _unmarked(source, size, _because(found.unmarked_why, floor), records=found.records), none
        held = held_of(found)
        served, why, baits = found.length, found.unmarked_why, int(found.manifest["canaries"])
    finally:
        shutil.rmtree(place / "part", ignore_errors=True)
    part = PartPlan(
        path=source.path,
        carrier=carrier if len(held.slots) else "none",
        records=held.records,
        slots=len(held.slots),
        withheld_slots=int(np.count_nonzero(held.slots["kind"] == WITHHELD)),
        canaries=baits,
        common=held.common,
        paired=held.paired,
        withheld=held.withheld,
        mean_records=held.mean_records,
        mean_bytes=held.mean_bytes,
        common_bytes=held.common_bytes,
        padding=held.padding,
        bytes_source=size,
        bytes_served=served,
        why=_because(why, floor),
    )
    return part, held.slots


def _unmarked(source: Source, size: int, why: str, *, records: int = 0) -> PartPlan:
    """Everybody is served all of it."""
    return PartPlan(
        path=source.path,
        carrier="none",
        records=records,
        slots=0,
        withheld_slots=0,
        canaries=0,
        common=records,
        paired=0,
        withheld=0,
        mean_records=float(records),
        mean_bytes=float(size),
        common_bytes=size,
        padding=0.0,
        bytes_source=size,
        bytes_served=size,
        why=why,
    )


def _because(why: str, floor: Floor) -> str:
    return f"{why}; {floor.why}" if why and floor.why else why


def _lasting(rows: NDArray[np.void], registry: Registry) -> NDArray[np.void]:
    """Each slot once, and none of which another part has one member by itself: it is common there."""
    _, first = np.unique(rows["number"], return_index=True)
    once = rows[first]
    lasting: NDArray[np.void] = once[registry.slots["retired"][once["number"]] == 0]
    return lasting
