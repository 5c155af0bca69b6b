"""Quality: what people answered to the gold items that were theirs, against what the lab expected beforehand.

An item counts for whom it was made for, if the ledger says that they were handed it. It is found again in what they
returned by its id or text (`limen.marks.baits`), whatever the form. Nothing here looks at slots: a score by variant would
tell bits to whoever sees it, and condition 3 of docs/marks.md would be gone. Figures of a handful of items are wide, and
say how wide. They are about work, and set nobody's pay.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import Invalid
from limen.marks.baits import Baits
from limen.marks.gold import same
from limen.marks.normalise import normalise
from limen.response import served
from limen.response.interval import CONFIDENCE, clopper_pearson
from limen.response.returned import batches
from limen.response.rows import opened, seen, telling_name

if TYPE_CHECKING:
    from pathlib import Path

    from limen.core.types import Asset, Shard, Version
    from limen.custody import Custody
    from limen.marks.baits import Row
    from limen.marks.copy import Prepared
    from limen.marks.gold import Answer

SCHEMA: Final = "limen/drop-quality/v1"
NOTES: Final = (
    "a secret report: gold items are personal, and who learns which they are answers those alone with care",
    "by person and item, never by slot or variant: that would tell bits of copies",
    "figures of quality set nobody's pay, and nothing follows from them by itself",
)


@dataclass(slots=True)
class Score:
    """One person's gold items, by item: when they were first handed it (µs), and what they answered last."""

    handed: dict[int, int] = field(default_factory=dict)
    answers: dict[int, list[str]] = field(default_factory=dict)
    again: int = 0  # answers that a later one took the place of
    others: int = 0  # rows that show an item made for somebody else


@dataclass(frozen=True, slots=True)
class _Items:
    """The gold items of a project: of each what is expected, or None where versions differ; where it is answered; whose it is."""

    baits: Baits
    fields: dict[int, str]
    expected: dict[int, Answer | None]
    owned: dict[str, set[int]]
    at: dict[tuple[str, int, str], dict[int, int]]  # asset, version, shard -> record number -> item
    holders: dict[str, str]  # pseudonym -> person


def quality(
    custody: Custody, box: str, *, person: str | None = None, since_us: int | None = None, answer: str | None = None
) -> dict[str, Any]:
    """Score a drop box's writers. Invalid if it is none, or if no asset of its project has gold items. Blocking.

    `since_us` leaves out items first handed over before; `person` all but one (their id or pseudonym). `answer` is the field
    of the returned rows that holds the answer, if it isn't called what the lab's own is.
    """
    asset = custody.catalog.snapshot.asset(box)
    if asset.kind != "drop":
        raise Invalid("box", f"{box} is no drop box")
    # What lies there first, versions second: whoever returned an item was served it, so its version is among these.
    lying = {writer: custody.drops.of(box, writer) for writer in custody.drops.writers(box)}
    items = _items(custody, asset, answer)
    only = _pseudonym(custody, asset.project, person) if person else None
    scores: dict[str, Score] = defaultdict(Score)
    unknown = _handed(custody, items, scores)
    unread = []
    for writer, objects in lying.items():
        for dropped in sorted(objects, key=lambda d: (d.stored_at, d.entry)) if only in {None, writer} else []:
            try:
                name = telling_name(items.baits, dropped.path)
                _read(custody.blobs.path(dropped.digest), items, writer, scores[writer], name=name)
            except Invalid as e:
                unread.append({"who": writer, "path": dropped.path, "why": e.why})
    people = [
        _line(who, score, items, since_us, vendor=custody.catalog.snapshot.holder_by_id(items.holders[who]).vendor)
        for who, score in sorted(scores.items())
        if who in items.holders and only in {None, who}
    ]
    people = [line for line in people if line["served"] or line["returned"] or line["of_others"]]
    return {
        "schema": SCHEMA,
        "box": box,
        "project": asset.project,
        "fields": sorted(set(items.fields.values())),
        "person": only,
        "since_us": since_us,
        "interval": "Clopper-Pearson",
        "confidence": CONFIDENCE,
        "people": people,
        "all": _total(people),
        "faint": len(items.baits.faint),
        "unread": unread,
        "unknown": unknown,
        "notes": list(NOTES),
    }


def every_prepared(custody: Custody) -> dict[tuple[str, int, str], Prepared]:
    """All prepared shards of all assets: whose canaries may come back, and which texts are records."""
    snapshot = custody.catalog.snapshot
    found: dict[tuple[str, int, str], Prepared] = {}
    for asset in snapshot.assets():
        for version in snapshot.versions(asset.id):
            for shard in version.shards:
                if shard.prepared:
                    found[version.asset, version.number, shard.path] = custody.shelf.prepared(shard)
    return found


def _items(custody: Custody, box: Asset, field_: str | None) -> _Items:
    snapshot, prepared = custody.catalog.snapshot, every_prepared(custody)
    baits = Baits(list(prepared.values()))
    number_of = {place: n for n, bait in enumerate(baits.all) for place in bait.places}
    expected: dict[int, Answer | None] = {}
    owned: dict[str, set[int]] = defaultdict(set)
    at: dict[tuple[str, int, str], dict[int, int]] = {}
    holders: dict[str, str] = {}
    fields: dict[int, str] = {}
    for place, version in prepared.items():
        gold = version.gold
        if gold is None or snapshot.asset(place[0]).project != box.project:
            continue
        whose = {r.canary: custody.catalog.pseudonym(r.id, box.project) for r in snapshot.recipients_of(place[0])}
        holders |= {whose[r.canary]: r.id for r in snapshot.recipients_of(place[0])}
        at[place] = {}
        for item in gold.items:
            n = number_of[str(version.path), item.number]
            answer = item.expected()
            expected[n] = answer if expected.setdefault(n, answer) == answer else None
            fields[n] = field_ or gold.field
            at[place][version.records + item.number] = n
            if who := whose.get(item.number // version.canaries_each):
                owned[who].add(n)
    if not fields:
        raise Invalid("box", f"no asset of project {box.project} has gold items; register a version with --gold-field")
    return _Items(baits, fields, expected, dict(owned), at, holders)


def _pseudonym(custody: Custody, project: str, person: str) -> str:
    known = {custody.catalog.pseudonym(h.id, project) for h in custody.catalog.snapshot.holders()}
    if person in known:
        return person
    return custody.catalog.pseudonym(custody.catalog.snapshot.holder_by_id(person.removeprefix("person/")).id, project)


def _handed(custody: Custody, items: _Items, scores: dict[str, Score]) -> list[str]:
    """Note which items each person was handed, and when first. What the ledger leaves open."""
    assets = {asset for asset, _, _ in items.at}
    head = custody.ledger.head()
    reading = served.read(
        custody.ledger.entries(0, head.size),
        size=head.size,
        concerns=lambda e: e.get("asset") in assets and e.get("who") in items.owned,
    )
    places: dict[tuple[str, int, str], tuple[Version, Shard] | None] = {}
    for handover in sorted(reading.handovers, key=lambda h: h.at_us):
        place = (handover.asset, handover.version, handover.shard)
        if place not in items.at or handover.end <= handover.start:
            continue
        found = places.setdefault(place, custody.catalog.snapshot.shard_of(*place))
        if found is None:
            continue
        copy = custody.fresh_copy(items.holders[handover.who], *found)
        for record in copy.records(handover.start, handover.end).tolist():
            if record in items.at[place]:
                scores[handover.who].handed.setdefault(items.at[place][record], handover.at_us)
    return reading.unknown


def _read(local: Path, items: _Items, writer: str, score: Score, *, name: str) -> None:
    """Note the answers in one object."""
    mine = items.owned.get(writer, set())
    for batch in batches(local):
        batch.why[:] = [""] * len(batch.rows)
        for row, one in zip(batch.rows, seen(items.baits, batch, name=name), strict=True):
            if one is None:
                continue
            shown = [n for n in one.baits if n in items.expected]
            for n in mine.intersection(shown):
                score.again += bool(score.answers.get(n))
                score.answers[n] = _answers(opened(row), items, n)
            score.others += bool(shown) and not mine.intersection(shown)


def _answers(row: Row, items: _Items, item: int) -> list[str]:
    """What stands in the answer's field; or under the item's own id, where that is the field's name."""
    wanted, name = items.fields[item].casefold(), items.baits.all[item].name
    said = [text for field_, text in row if field_.casefold() == wanted and text.strip()]
    return said or [text for field_, text in row if name and normalise(field_).encode() == name and text.strip()]


def _line(who: str, score: Score, items: _Items, since_us: int | None, *, vendor: str | None) -> dict[str, Any]:
    mine = items.owned.get(who, set())
    counted = [n for n, at_us in score.handed.items() if n in mine and (since_us is None or at_us >= since_us)]
    clear = [n for n in counted if items.expected[n] is not None]
    back = [n for n in clear if n in score.answers]
    answered = [n for n in back if score.answers[n]]
    right = sum(_is_right(items.expected[n], score.answers[n]) for n in answered)
    return {
        "who": who,
        "vendor": vendor,
        "served": len(clear),
        "returned": len(back),
        "not_returned": len(clear) - len(back),
        "unanswered": len(back) - len(answered),
        **_share(right, len(answered)),
        "answered_again": score.again,
        "returned_unserved": sum(n not in score.handed for n in score.answers),
        "of_others": score.others,
        "unclear": len(counted) - len(clear),
    }


def _is_right(expected: Answer | None, said: list[str]) -> bool:
    return expected is not None and same(expected, said if len(set(said)) > 1 else said[0])


def _share(right: int, n: int) -> dict[str, Any]:
    low, high = clopper_pearson(right, n)
    return {
        "right": right,
        "wrong": n - right,
        "n": n,
        "accuracy": round(right / n, 4) if n else None,
        "low": round(low, 4),
        "high": round(high, 4),
    }


def _total(people: list[dict[str, Any]]) -> dict[str, Any]:
    sums = {name: sum(line[name] for line in people) for name in ("served", "returned", "not_returned", "unanswered")}
    return {"people": len(people), **sums, **_share(sum(p["right"] for p in people), sum(p["n"] for p in people))}
