"""Preparing a guideline with authored alternatives (`authored`): each place is a pair, its two wordings the sides.

Records of a guideline are its wordings and the paragraphs around them. A wording must be recognisable wherever it is pasted:
it has a **stretch** of at most eight words that stands nowhere else in the guideline, whichever wordings a copy has. Stretches
are looked for at every word of a sample, so sentence ends, lines and lists may be gone. A place whose wordings were served to
everyone before, or that the version has too few of, serves its first wording to all.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from limen.core.errors import Invalid
from limen.marks import nearby, normalise
from limen.marks.authored import common_of, padded, places_of
from limen.marks.choose import Source, choose, known
from limen.marks.copy import Prepared
from limen.marks.gold import Canaries
from limen.marks.layout import NOBODY, Writer
from limen.marks.records import Scan, read, scan
from limen.marks.registry import COMMON, Registry
from limen.marks.staging import SLOT, Staged, look_up, told_of
from limen.marks.tables import ABSENT, as_digests

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from limen.marks.authored import Place
    from limen.marks.choose import Chosen
    from limen.marks.keys import MarkKey
    from limen.marks.layout import Layout, Sink

FORMAT: Final = "limen/prepared/v1"
STRETCH: Final = 8  # words
STRETCHES: Final = np.dtype([("hash", "<u8"), ("words", "<i8"), ("record", "<i8")])
_PIECE: Final = 1 << 18  # bytes of a text whose stretches are hashed at once
_OVERLAP: Final = 1 << 10  # so that none is lost at a cut


@dataclass(slots=True)
class Guide(Source):
    """A read guideline. A place is known by the record number of its first wording; the other is the next one."""

    places: list[Place] = field(default_factory=list)
    first: list[int] = field(default_factory=list)
    marked: bool = True

    def can_swap(self, a: int, b: int) -> bool:
        """Whether they are the two wordings of one place."""
        return self.marked and abs(a - b) == 1 and min(a, b) in self.first


def prepare_guide(
    source: Path,
    *,
    key: MarkKey,
    registry: Path,
    out: Path,
    pairs: float,
    scope: str,
    least: int,
    settle: Callable[[Path], None],
) -> Prepared:
    """As `prepare.prepare`, but never Unmarked: a guideline is served without its markers, whether it has slots or not."""
    raw = source.read_bytes()
    places = places_of(raw, scope or source.name)
    found, first = _scanned(raw, places)
    readings = list(read(memoryview(raw), "text", found, scope=scope.encode()))
    columns = {
        name: np.concatenate([getattr(r, name) for r in readings]) for name in ("sound", "valid", "whole", "name", "named")
    }
    held = Guide(memoryview(raw), "authored", found, **columns, places=places, first=first, marked=pairs > 0)
    for at, place in zip(first, places, strict=True):
        held.sound[at : at + 2] = held.valid[at : at + 2] = True
        if place.name:
            held.named[at : at + 2] = True
            names = (normalise.digest(f"{scope}\0{place.name}\0{side}".encode()) for side in (0, 1))
            held.name[at : at + 2] = as_digests(b"".join(names))
    stretches = _telling(held, scope or source.name)
    memory = Registry.load(registry)
    refs = known(held, memory)
    offered = [(at, at + 1) for at in first if refs[at] == refs[at + 1] == ABSENT] if pairs else []
    chosen = choose(key, held, memory, pairs=offered, withhold=0.0, least=least)
    why = "" if len(chosen) else _why(len(places), len(offered), least, asked=pairs > 0)
    staged = Staged.at(out, settle)
    with staged.open("base") as base, staged.open("other") as other:
        layout = _lay(held, chosen, base=base, other=other)
    slots = np.zeros(len(chosen), dtype=SLOT)
    refs = np.full(len(found), COMMON, dtype=np.int64)
    for at, (number, zero, one) in enumerate(chosen.pairs):
        slots[at]["number"] = number
        for name in ("id", "tier", "level", "kind", "index"):
            slots[at][name] = memory.slots[name][number]
        slots[at]["sides"] = held.whole[[zero, one]]
        refs[zero], refs[one] = 2 * at, 2 * at + 1
    staged.write_tables(layout, slots)
    staged.write_look_up(look_up(readings, len(found), ()), refs)
    staged.save("stretches", stretches)
    manifest = {
        "format": FORMAT,
        "media": "authored",
        "source": hashlib.sha256(raw).hexdigest(),
        "source_length": len(raw),
        "records": len(found),
        "pairs": len(chosen),
        "withheld": 0,
        **told_of(Canaries()),
        "unmarked_why": why,
    }
    staged.finish(key, manifest, registry=memory, registry_path=registry)
    return Prepared.open(out)


def stretches_in(forms: Sequence[bytes], stretches: Sequence[NDArray[np.void]]) -> list[NDArray[np.int64]]:
    """Of each guideline's stretches, by whose records any stands in normalised texts that follow one another."""
    found = [np.zeros(0, dtype=np.int64) for _ in stretches]
    if not stretches:
        return found
    text = b" ".join(forms)
    pieces = [text[max(0, at - _OVERLAP) : at + _PIECE] for at in range(0, len(text), _PIECE)]
    hashes = np.concatenate([some["hash"] for some in stretches])
    widths = np.concatenate([some["words"] for some in stretches])
    for width in np.unique(widths).tolist():
        # Nearly no stretch of a text is ours: a glance at sixteen bits of each spares the search.
        ours = np.zeros(1 << 16, dtype=np.bool_)
        ours[hashes[widths == width] >> np.uint64(48)] = True
        held = nearby.runs(pieces, words=width).hashes
        near = held[ours[held >> np.uint64(48)]]
        for number, some in enumerate(stretches):
            seen = some["record"][np.isin(some["hash"], near)]
            found[number] = np.union1d(found[number], seen)
    return found


def _scanned(raw: bytes, places: list[Place]) -> tuple[Scan, list[int]]:
    """Records in the source's order: paragraphs of what is common, and two wordings a place; and each place's first."""
    bounds: list[tuple[int, int]] = []
    first: list[int] = []
    for number, (start, end) in enumerate(common_of(raw, places)):
        inside = scan(memoryview(raw)[start:end], "text")
        bounds += [(start + a, start + b) for a, b in zip(inside.start.tolist(), inside.end.tolist(), strict=True)]
        if number < len(places):
            first.append(len(bounds))
            bounds += [places[number].either, places[number].other]
    starts, ends = np.array(bounds, dtype=np.int64).reshape(-1, 2).T
    return Scan(starts, ends, np.append(starts[1:], len(raw))), first


def _telling(held: Guide, name: str) -> NDArray[np.void]:
    """The stretches of each wording that no copy has anywhere else. Invalid, with the line, for a wording without any."""
    numbers = [at + side for at in held.first for side in (0, 1)]
    forms = normalise.normalise_all([held.content(number).decode() for number in numbers])
    for place, one, two in zip(held.places, forms[::2], forms[1::2], strict=True):
        if one == two:
            why = "the two wordings read the same once case, punctuation and markup are gone"
            raise Invalid(f"{name}, line {place.line}", why)
        if min(len(one), len(two)) < normalise.MIN_TEXT:
            least = min(len(one), len(two))
            why = f"a wording says too little to be recognised in a leak: {least} bytes, {normalise.MIN_TEXT} are needed"
            raise Invalid(f"{name}, line {place.line}", why)
    words = np.array([min(STRETCH, form.count(b" ") + 1) for form in forms])
    copies = [normalise.normalise(_served(held, side)).encode() for side in (0, 1)]
    out = []
    for width in np.unique(words).tolist():
        mine = np.flatnonzero(words == width)
        runs = nearby.runs([forms[n] for n in mine], words=width)
        hashes, of = runs.hashes, runs.owners
        times = [_times(copy, hashes, width) for copy in copies]
        side = mine[of] % 2
        here, there = np.where(side == 0, times[0], times[1]), np.where(side == 0, times[1], times[0])
        telling = (here == 1) & (there == 0)
        rows = np.zeros(int(telling.sum()), dtype=STRETCHES)
        rows["hash"], rows["words"] = hashes[telling], width
        rows["record"] = np.array(numbers)[mine[of[telling]]]
        out.append(rows)
    found = np.concatenate(out) if out else np.zeros(0, dtype=STRETCHES)
    for number, place in zip(held.first, held.places, strict=True):
        for record in (number, number + 1):
            if record not in found["record"]:
                why = f"a wording has no {STRETCH} words that stand nowhere else here, so finding it in a leak would say nothing"
                raise Invalid(f"{name}, line {place.line}", why)
    return found[np.argsort(found["hash"], kind="stable")]


def _served(held: Guide, side: int) -> str:
    """The copy with every place's first wording, or every other one; unpadded."""
    raw = bytes(held.raw)
    common = [raw[start:end] for start, end in common_of(raw, held.places)]
    wordings = [raw[slice(*(place.other if side else place.either))] for place in held.places]
    return b"".join(piece for pair in zip(common, [*wordings, b""], strict=True) for piece in pair).decode()


def _times(copy: bytes, hashes: NDArray[np.uint64], width: int) -> NDArray[np.int64]:
    """How often each stretch stands in a copy."""
    found, times = np.unique(nearby.runs([copy], words=width).hashes, return_counts=True)
    at = np.minimum(np.searchsorted(found, hashes), max(0, len(found) - 1))
    return np.where(found[at] == hashes, times[at], 0) if len(found) else np.zeros(len(hashes), dtype=np.int64)


def _lay(held: Guide, chosen: Chosen, *, base: Sink, other: Sink) -> Layout:
    raw = bytes(held.raw)
    slot_of = {min(zero, one): (at, zero, one) for at, (_, zero, one) in enumerate(chosen.pairs)}
    out = Writer(base, other)
    record = 0
    for place, at, (start, end) in zip(
        [*held.places, None], [*held.first, len(held.scan)], common_of(raw, held.places), strict=True
    ):
        for number in range(record, at):
            begin, length = int(held.scan.start[number]), held.length(number)
            out.entries.append((out.at + begin - start, length, length, number, number, NOBODY))
        out.share(raw[start:end])
        if place is None:
            break
        record = at + 2
        if at not in slot_of:
            text = held.content(at)
            out.entries.append((out.at, len(text), len(text), at, at, NOBODY))
            out.share(text)
            continue
        slot, zero, one = slot_of[at]
        width = max(held.length(zero), held.length(one))
        texts = [padded(raw, place, number - at, width) for number in (zero, one)]
        begin = out.at
        region = out.choose(texts[0], texts[1], slot=slot)
        lengths = [len(text.rstrip()) for text in texts]
        out.entries.append((begin, lengths[0], lengths[1], zero, one, region))
    return out.finish()


def _why(places: int, offered: int, least: int, *, asked: bool) -> str:
    if not asked:
        return "cannot be fingerprinted: nothing of it was to be paired"
    if not places:
        return "cannot be fingerprinted: it has no alternatives"
    if not offered:
        return f"cannot be fingerprinted: everyone was served a wording of each of its {places} places before"
    return f"cannot be fingerprinted: its {offered} alternatives are {least - offered} fewer than the {least} needed"
