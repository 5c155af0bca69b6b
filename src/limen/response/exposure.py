"""Exposure: exactly what a vendor (project, person, session) was served, per asset and per person, record-accurate.

Five tiers per asset: *granted* (what their copies hold), *served ever*, *served since* a moment, *by the suspect
session*, *never served*. All are computed from the ledger alone: byte ranges of a recipient's own copy map back to the
source's records. What was served is held at the vendor until proven returned; what came from the vendor (drop boxes)
is shown apart. Record ids tell whose copy held which variant: treat the report as secret.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from limen.core.errors import Invalid, LedgerUnavailable
from limen.core.types import Grade
from limen.response import served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from limen.catalog.snapshot import Snapshot
    from limen.core.types import Checkpoint, Person, Shard, Version, Workload
    from limen.custody import Custody
    from limen.marks.copy import Copy

SCHEMA = "limen/exposure/v1"
MAX_NAMED = 500  # assets that one entry names
TIERS = ("granted", "served_ever", "served_since", "by_session", "never_served")

Records = dict[tuple[int, str], "np.ndarray[Any, np.dtype[np.int64]]"]  # (version, shard) -> sorted record numbers


@dataclass(frozen=True, slots=True)
class Window:
    """What is asked: microseconds since 1970 (the story's, if one is told), half-open; and the suspect session, if any."""

    since_us: int | None = None
    until_us: int | None = None
    session: str | None = None

    def holds(self, at_us: int) -> bool:
        """Whether a moment is before the report's end."""
        return self.until_us is None or at_us < self.until_us

    def recent(self, last_us: int | None) -> bool:
        """Whether what lasted until then (None: nobody knows how long) reaches into the window asked about."""
        return self.since_us is None or last_us is None or last_us >= self.since_us


@dataclass(slots=True)
class Taken:
    """What one person was handed of one asset."""

    ever: Records = field(default_factory=dict)
    since: Records = field(default_factory=dict)
    session: Records = field(default_factory=dict)
    accesses: int = 0
    bytes: int = 0
    uncertain: int = 0
    sessions: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Handed:
    """One record that one person was handed, how often, and between when. `record` -1: some record of the shard."""

    holder: str
    asset: str
    version: int
    shard: str
    record: int
    first_us: int
    last_us: int
    reads: int
    certain: bool


class Exposure:
    """Computes one report. Reads the ledger through `entries`; opens copies through `copy_of`; changes nothing."""

    def __init__(
        self,
        snapshot: Snapshot,
        *,
        pseudonym: Callable[[str, str], str],
        copy_of: Callable[[str, Version, Shard], Copy],
    ) -> None:
        self._snapshot = snapshot
        self._pseudonym = pseudonym
        self._copy_of = copy_of
        self.derived: set[tuple[str, str]] = set()  # (holder, asset) whose marked copies were worked out

    def report(
        self,
        subject: str,
        window: Window,
        entries: Iterable[tuple[int, bytes]],
        head: Checkpoint,
    ) -> dict[str, Any]:
        """The report as a JSON value (schema limen/exposure/v1). NotFound for a subject that is not in the catalog."""
        concerned = self._holders(subject)
        people = {(p, self._pseudonym(h.id, p)): h for h in concerned for p in self._projects_of(h)}
        kind, _, name = subject.partition("/")

        def concerns(entry: dict[str, Any]) -> bool:
            if kind == "session":
                return bool(entry.get("session") == name)
            if kind == "project" and entry.get("project") != name:
                return False
            return (entry.get("project"), entry.get("who")) in people

        reading = served.read(entries, size=head.size, concerns=concerns)
        if kind == "session":
            seen = {(h.project, h.who) for h in reading.handovers} | {(r["project"], r["who"]) for r in reading.looks}
            people = {pair: holder for pair, holder in people.items() if pair in seen}
        taken = self._taken(reading, people, window)
        unknown = list(reading.unknown)
        uncertain = sum(1 for h in reading.handovers if not h.certain and window.holds(h.at_us))
        if uncertain:
            unknown.append(f"{uncertain} accesses have no certain outcome: each counts as handed over whole")
        project = name if kind == "project" else None
        return {
            "schema": SCHEMA,
            "subject": subject,
            "window": {"since_us": window.since_us, "until_us": window.until_us, "session": window.session},
            "ledger": {"origin": head.origin, "from": 0, "to": head.size, "root": head.root.hex()},
            "assets": self._assets(people, taken, project),
            "received": self._received(reading, people, window),
            "refusals": self._refusals(reading, people, window),
            "unknown": unknown,
            "note": "what was served is held by the vendor until proven returned",
        }

    def handed(
        self, wanted: Mapping[tuple[str, int, str], set[int]], entries: Iterable[tuple[int, bytes]], head: Checkpoint
    ) -> tuple[list[Handed], list[str]]:
        """Who was handed these records of (asset, version, shard), one row each; and what is unknown of it."""
        assets = {asset for asset, _, _ in wanted}
        holders = list(self._snapshot.holders())
        people = {(p, self._pseudonym(h.id, p)): h.id for h in holders for p in self._projects_of(h)}
        reading = served.read(entries, size=head.size, concerns=lambda entry: _may_hold(entry, assets))
        rows: dict[tuple[str, str, int, str, int], Handed] = {}
        seen: dict[tuple[str, str, int, str, int, int], list[int]] = {}
        for h in reading.handovers:
            place = (h.asset, h.version, h.shard)
            if place not in wanted or h.end <= h.start or (h.project, h.who) not in people:
                continue
            holder = people[h.project, h.who]
            span = (holder, *place, h.start, h.end)
            if span not in seen:
                held = set(self._records(holder, *place, [(h.start, h.end)]).tolist())
                seen[span] = sorted(n for n in wanted[place] if n in held or n < 0)
            for record in seen[span]:
                one = Handed(holder, *place, record, h.at_us, h.last_us or h.at_us, h.reads, h.certain and record >= 0)
                before = rows.get((holder, *place, record))
                rows[holder, *place, record] = one if before is None else _both(before, one)
        return list(rows.values()), reading.unknown

    # --- who

    def _holders(self, subject: str) -> list[Person | Workload]:
        kind, _, name = subject.partition("/")
        snapshot = self._snapshot
        match kind:
            case "vendor":
                snapshot.vendor(name)
                return [h for h in snapshot.holders() if h.vendor == name]
            case "person":
                return [snapshot.holder_by_id(name)]
            case "project":
                snapshot.project(name)
                return list(snapshot.holders())
            case "session":
                return list(snapshot.holders())
        raise Invalid("subject", "must be vendor/…, project/…, person/… or session/…")

    def _projects_of(self, holder: Person | Workload) -> set[str]:
        return {grant.project for grant in self._snapshot.grants() if grant.holder == holder.id}

    # --- what

    def _taken(
        self, reading: served.Reading, people: dict[tuple[str, str], Person | Workload], window: Window
    ) -> dict[tuple[str, str], Taken]:
        """(holder, asset) -> what they were handed. Byte ranges are merged before they are mapped to records."""
        spans: dict[tuple[str, str, int, str], dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
        taken: dict[tuple[str, str], Taken] = defaultdict(Taken)
        for h in reading.handovers:
            if not window.holds(h.at_us) or h.end <= h.start:
                continue
            holder = people.get((h.project, h.who))
            if holder is None:
                continue
            mine = taken[holder.id, h.asset]
            mine.accesses += h.reads
            mine.bytes += h.reads * (h.end - h.start)
            mine.uncertain += not h.certain
            mine.sessions.add(h.session)
            tiers = ["ever"]
            if window.recent(h.last_us):
                tiers.append("since")
            if h.session == window.session:
                tiers.append("session")
            for tier in tiers:
                spans[holder.id, h.asset, h.version, h.shard][tier].append((h.start, h.end))
        for (holder_id, asset, version, shard), by_tier in spans.items():
            for tier, ranges in by_tier.items():
                records = getattr(taken[holder_id, asset], tier)
                records[version, shard] = self._records(holder_id, asset, version, shard, ranges)
        return taken

    def _records(
        self, holder: str, asset: str, number: int, path: str, ranges: list[tuple[int, int]] | None
    ) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Source record numbers that these byte ranges of the holder's copy touch; all that the copy holds for None."""
        found = self._snapshot.shard_of(asset, number, path)
        if found is None:
            return np.zeros(1, dtype=np.int64)  # an object that the catalog does not know counts as one, whole
        copy = self._copy_of(holder, *found)
        if found[1].prepared:
            self.derived.add((holder, asset))
        merged = _merged(ranges) if ranges is not None else [(0, copy.length)]
        return np.unique(np.concatenate([copy.records(start, end) for start, end in merged]))

    def _assets(
        self, people: dict[tuple[str, str], Person | Workload], taken: dict[tuple[str, str], Taken], project: str | None
    ) -> list[dict[str, Any]]:
        snapshot = self._snapshot
        concerned = {holder.id for holder in people.values()}
        granted: dict[str, set[str]] = defaultdict(set)
        for grant in snapshot.grants():
            if grant.holder in concerned and (project is None or grant.project == project):
                for asset in snapshot.granted_assets([grant]):
                    granted[asset.id].add(grant.holder)
        for holder, asset_id in taken:
            granted[asset_id].add(holder)
        return [self._asset(asset_id, sorted(holders), taken) for asset_id, holders in sorted(granted.items())]

    def _asset(self, asset_id: str, holders: list[str], taken: dict[tuple[str, str], Taken]) -> dict[str, Any]:
        asset = self._snapshot.asset(asset_id)
        tiers: dict[str, Records] = {tier: {} for tier in TIERS}
        lines = []
        for holder in holders:
            mine = taken.get((holder, asset_id), Taken())
            hold = self._hold(holder, asset_id)
            for tier, records in zip(TIERS, (hold, mine.ever, mine.since, mine.session), strict=False):
                _join(tiers[tier], records)
            lines.append(
                {
                    "person": holder,
                    "granted": _count(hold),
                    "served_ever": _count(mine.ever),
                    "served_since": _count(mine.since),
                    "by_session": _count(mine.session),
                    "accesses": mine.accesses,
                    "bytes": mine.bytes,
                    "uncertain": mine.uncertain,
                    "sessions": sorted(mine.sessions),
                    "grade": Grade.MEASURED,
                }
            )
        tiers["never_served"] = _minus(tiers["granted"], tiers["served_ever"])
        marked = any(shard.prepared for version in self._snapshot.versions(asset_id) for shard in version.shards)
        return {
            "asset": asset_id,
            "project": asset.project,
            "class": asset.asset_class,
            "tier": asset.tier,
            "kind": asset.kind,
            "unit": "record" if marked else "record, not fingerprinted",
            **{tier: {"count": _count(records), "records": _ids(records)} for tier, records in tiers.items()},
            "canaries": self._canaries(asset_id, tiers["served_ever"]),
            "people": lines,
            "grade": Grade.MEASURED,
        }

    def _hold(self, holder: str, asset_id: str) -> Records:
        """Everything that this holder's copies of the asset's versions hold."""
        if self._snapshot.asset(asset_id).kind == "drop":
            return {}
        return {
            (version.number, shard.path): self._records(holder, asset_id, version.number, shard.path, None)
            for version in self._snapshot.versions(asset_id)
            for shard in version.shards
        }

    def _canaries(self, asset_id: str, ever: Records) -> list[str]:
        """Record ids of the canaries among the records served."""
        found: Records = {}
        for version in self._snapshot.versions(asset_id):
            for shard in version.shards:
                records = ever.get((version.number, shard.path))
                if records is not None and shard.prepared:
                    found[version.number, shard.path] = records[records >= shard.records]
        return _ids(found)

    def _received(
        self, reading: served.Reading, people: dict[tuple[str, str], Person | Workload], window: Window
    ) -> list[dict[str, Any]]:
        """What came from them: vendor-originated, so assume that they hold it still."""
        counts: dict[tuple[str, str], int] = defaultdict(int)
        for upload in reading.uploads:
            if window.holds(served.at_us(upload)):
                counts[people[upload["project"], upload["who"]].id, upload["asset"]] += 1
        return [
            {"person": p, "asset": a, "uploads": n, "tier": "vendor-originated", "grade": Grade.MEASURED}
            for (p, a), n in sorted(counts.items())
        ]

    def _refusals(
        self, reading: served.Reading, people: dict[tuple[str, str], Person | Workload], window: Window
    ) -> list[dict[str, Any]]:
        counts: dict[tuple[str, str, str], list[int]] = defaultdict(list)
        for refusal in reading.refusals:
            if window.holds(served.at_us(refusal)):
                holder = people[refusal["project"], refusal["who"]].id
                counts[holder, refusal.get("asset", ""), refusal["rule"]].append(refusal["index"])
        return [
            {"person": p, "asset": a or None, "rule": r, "count": len(found), "first_entry": found[0], "grade": Grade.MEASURED}
            for (p, a, r), found in sorted(counts.items())
        ]


def for_custody(custody: Custody) -> Exposure:
    """The report's reader over an open data directory."""
    return Exposure(custody.catalog.snapshot, pseudonym=custody.catalog.pseudonym, copy_of=custody.fresh_copy)


def _may_hold(entry: dict[str, Any], assets: set[str]) -> bool:
    return entry.get("asset") in assets


def _both(one: Handed, other: Handed) -> Handed:
    return replace(
        one,
        first_us=min(one.first_us, other.first_us),
        last_us=max(one.last_us, other.last_us),
        reads=one.reads + other.reads,
        certain=one.certain or other.certain,
    )


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _join(into: Records, records: Records) -> None:
    for key, numbers in records.items():
        into[key] = np.union1d(into[key], numbers) if key in into else numbers


def _minus(left: Records, right: Records) -> Records:
    empty = np.zeros(0, dtype=np.int64)
    return {key: np.setdiff1d(numbers, right.get(key, empty)) for key, numbers in left.items()}


def _count(records: Records) -> int:
    return sum(len(numbers) for numbers in records.values())


def _ids(records: Records) -> list[str]:
    """`shard@version#record`, in order; a record number at or past the source's count is a canary."""
    return [f"{path}@{version}#{n}" for (version, path), numbers in sorted(records.items()) for n in numbers.tolist()]


async def enter(custody: Custody, what: str, derived: set[tuple[str, str]], *, by: str) -> list[str]:
    """Write down that a report had copies worked out outside a serve; durable when this returns, and before anybody is told.

    A lost log does not keep back a report that a responder needs: then what is returned says so.
    """
    if not derived:
        return []
    assets = sorted({asset for _, asset in derived})
    fields = {"for": what, "copies": len({holder for holder, _ in derived}), "assets": assets[:MAX_NAMED], "by": by}
    try:
        await custody.ledger.append(*custody.scribe.write("copy.derive", fields, None))
    except LedgerUnavailable:
        return ["the log can't be written: that this report worked out people's copies is in no entry"]
    return []
