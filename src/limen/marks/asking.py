"""What a model is asked: a seeded sample of versions' slots, and questions that tell neither slots nor sides.

A question is one side's text, or a beginning of it whose next word is kept back. Its name is a hash under the test's seed
and the slot's secret id, and questions are asked in order of names: whoever answers can't tell which two belong together,
nor which side anybody holds. Canaries are no slots, and are never asked about. Reads prepared versions; no other I/O.
"""

from __future__ import annotations

import csv
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from limen.core.errors import Invalid
from limen.marks.copy import MarkedCopy
from limen.marks.records import leaves, parse_json, scan
from limen.marks.trained import Asked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from limen.marks.copy import Prepared

    Floats = NDArray[np.float64]

LEAST_SLOTS: Final = 20  # fewer could name nobody, whatever the model did
MOST_SLOTS: Final = 20_000
NAME_BYTES: Final = 12
_WORD: Final = re.compile(r"\S+")
_EDGES: Final = re.compile(r"^\W+|\W+$")
_MEDIA: Final = ("jsonl", "csv", "text")


@dataclass(frozen=True, slots=True)
class Sample:
    """Slots drawn by a seed: `asked` as the code knows them, and where each lies (prepared version, slot of it)."""

    asked: Asked
    places: tuple[tuple[int, int], ...]
    ids: tuple[bytes, ...]

    @property
    def digest(self) -> str:
        """SHA-256 over the slots' ids in order, hex: what a registration commits to."""
        return hashlib.sha256(b"".join(self.ids)).hexdigest()


@dataclass(frozen=True, slots=True)
class Question:
    """One text to be measured. `place` is the slot's in the sample; `word` is the next word, kept back, or an empty string."""

    name: str
    place: int
    side: int
    text: str
    word: str = ""


def draw(prepared: Sequence[Prepared], *, slots: int, seed: bytes) -> Sample:
    """The first so many slots by SHA-256(seed, slot id): a rule that knows nobody's bits. Invalid if too few can be asked."""
    if not LEAST_SLOTS <= slots <= MOST_SLOTS:
        raise Invalid("slots", f"{slots} is not between {LEAST_SLOTS} and {MOST_SLOTS}")
    found: dict[bytes, tuple[bytes, int, int]] = {}
    for number, one in enumerate(prepared):
        if one.manifest["media"] not in _MEDIA:
            continue
        raw = np.ascontiguousarray(one.slots["id"]).tobytes()
        for at in range(len(one.slots)):
            slot_id = raw[16 * at : 16 * at + 16]
            found.setdefault(slot_id, (hashlib.sha256(seed + slot_id).digest(), number, at))
    chosen = sorted((rank, slot_id, number, at) for slot_id, (rank, number, at) in found.items())[:slots]
    if len(chosen) < LEAST_SLOTS:
        raise Invalid(
            "asset", f"only {len(chosen)} of its slots hold text that a model can be asked about, {LEAST_SLOTS} are needed"
        )
    names = tuple(sorted({str(prepared[number].manifest["key"]) for _, _, number, _ in chosen}))
    rows = [prepared[number].slots[at] for _, _, number, at in chosen]
    asked = Asked(
        keys=names,
        key=np.array([names.index(str(prepared[number].manifest["key"])) for _, _, number, _ in chosen], dtype=np.int64),
        **{part: np.array([row[part] for row in rows], dtype=kind) for part, kind in _PARTS.items()},
    )
    return Sample(asked, tuple((number, at) for _, _, number, at in chosen), tuple(slot_id for _, slot_id, _, _ in chosen))


_PARTS: Final[dict[str, Any]] = {"tier": np.uint8, "level": np.uint8, "kind": np.uint8, "index": np.uint32}


def texts(prepared: Sequence[Prepared], sample: Sample, *, fields: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Both sides' texts of each slot, as training would read them; an empty string for a side that is nothing at all.

    `fields`: of a JSON object, those that are read, in this order; without any, all that is text but `id`.
    """
    out = [["", ""] for _ in sample.places]
    for number in sorted({number for number, _ in sample.places}):
        mine = {at: place for place, (of, at) in enumerate(sample.places) if of == number}
        for at, side, raw in _sides(prepared[number], set(mine)):
            out[mine[at]][side] = _said(raw, str(prepared[number].manifest["media"]), prepared[number], fields)
    return [(zero, one) for zero, one in out]


def questions(sample: Sample, sides: Sequence[tuple[str, str]], *, seed: bytes, cuts: int = 0) -> list[Question]:
    """What is asked, in order of names. With `cuts`, so many beginnings of each text, evenly spread over its words."""
    out = []
    for place, pair in enumerate(sides):
        for side, text in enumerate(pair):
            out += [
                Question(_name(seed, sample.ids[place], side, cut), place, side, some, word)
                for cut, (some, word) in enumerate(_beginnings(text, cuts))
            ]
    return sorted(out, key=lambda question: question.name)


def table(sample: Sample, asked: Sequence[Question], answers: Mapping[str, float]) -> Floats:
    """(slots x 2 sides) of what was answered: a loss, or hits added up over a side's beginnings. NaN where any is missing."""
    out = np.zeros((len(sample.places), 2))
    told = np.zeros((len(sample.places), 2), dtype=np.bool_)
    for question in asked:
        out[question.place, question.side] += answers.get(question.name, np.nan)
        told[question.place, question.side] = True
    return np.where(told, out, np.nan)


def hit(word: str, candidates: Sequence[str]) -> bool:
    """Whether one of these continuations begins with the word, or is a piece that the word begins with."""
    want = _bare(word)
    for candidate in candidates:
        said = candidate.split()
        got = _bare(said[0]) if said else ""
        if got and want.startswith(got):
            return True
    return False


def _bare(word: str) -> str:
    return _EDGES.sub("", word).casefold()


def _name(seed: bytes, slot_id: bytes, side: int, cut: int) -> str:
    mac = hashlib.sha256(b"limen question\0" + seed + slot_id + bytes([side]) + cut.to_bytes(2, "big"))
    return mac.hexdigest()[: 2 * NAME_BYTES]


def _beginnings(text: str, cuts: int) -> Iterator[tuple[str, str]]:
    if not text:
        return
    if not cuts:
        yield text, ""
        return
    words = list(_WORD.finditer(text))
    able = [at for at in range(1, len(words)) if _bare(words[at].group())]
    for cut in range(cuts):
        if able:
            at = able[min(len(able) - 1, (cut + 1) * len(able) // (cuts + 1))]
            yield text[: words[at - 1].end()], words[at].group()


def _sides(prepared: Prepared, wanted: set[int]) -> Iterator[tuple[int, int, bytes]]:
    """(slot, side, content) of the wanted slots, from a copy that holds every side 0 and one that holds every side 1."""
    refs = np.load(prepared.path / "refs.npy", mmap_mode="r", allow_pickle=False)
    records = np.flatnonzero(np.isin(refs >> 1, np.array(sorted(wanted), dtype=np.int64)) & (refs >= 0))
    for side in (0, 1):
        mine = records[(refs[records] & 1) == side]
        bits = np.full(len(prepared.regions), bool(side), dtype=np.bool_)
        whole = MarkedCopy(prepared.length, "", "", prepared, bits)
        for record, start, end in whole.spans(mine).tolist():
            yield int(refs[record]) >> 1, side, b"".join(bytes(piece) for piece in whole.read(start, end))


def _said(raw: bytes, media: str, prepared: Prepared, fields: Sequence[str]) -> str:
    if media == "jsonl":
        _, value = parse_json(raw)
        if isinstance(value, dict):
            value = [value.get(name) for name in fields] if fields else [v for k, v in value.items() if k != "id"]
        return "\n".join(text for text in leaves(value) if text.strip())
    text = raw.decode(errors="replace")
    if media == "csv":
        row = next(csv.reader([text], delimiter=scan(prepared.base, "csv").delimiter), [])
        return "\n".join(cell for cell in row if cell.strip())
    return text
