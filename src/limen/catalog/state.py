"""The catalog's tables in memory, copied only where they change.

A `State` is owned either by one snapshot (then it is never written again) or by one draft (then nobody else sees it).
`draft()` is cheap: each table is shared until its first write and copied then, once, however many changes follow.
The `put_…` methods keep every look-up table in step; they check nothing, the rules have done that.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from limen.catalog.tiers import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from limen.core.types import (
        Admission,
        Agreement,
        Asset,
        AssetClass,
        Grant,
        Hold,
        Lineage,
        Person,
        Project,
        Shard,
        Tier,
        Vendor,
        Version,
        Workload,
    )

K = TypeVar("K")
V = TypeVar("V")


class Table(Generic[K, V]):
    """A dict that is shared until it is written. `touched` lists the keys written since the draft began, in order."""

    __slots__ = ("_rows", "_shared", "touched")

    def __init__(self, rows: dict[K, V] | None = None, *, shared: bool = False) -> None:
        self._rows: dict[K, V] = {} if rows is None else rows
        self._shared = shared
        self.touched: dict[K, None] = {}

    def draft(self) -> Table[K, V]:
        """The same rows, to be copied at the first write."""
        return Table(self._rows, shared=True)

    def put(self, key: K, row: V) -> None:
        """Write one row."""
        if self._shared:
            self._rows, self._shared = dict(self._rows), False
        self._rows[key] = row
        self.touched[key] = None

    def drop(self, key: K) -> None:
        """Remove one row, if it is there. For look-up tables: a stored row is never removed."""
        if key in self._rows:
            if self._shared:
                self._rows, self._shared = dict(self._rows), False
            del self._rows[key]

    def get(self, key: K) -> V | None:
        """One row, or None."""
        return self._rows.get(key)

    def __getitem__(self, key: K) -> V:
        return self._rows[key]

    def __contains__(self, key: object) -> bool:
        return key in self._rows

    def __iter__(self) -> Iterator[K]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def values(self) -> tuple[V, ...]:
        """Every row, in the order of their making."""
        return tuple(self._rows.values())


class Roll:
    """Who was first reached by a kind of grant, and by which entry: append-only, in the order of entries.

    Keyed by copy id, so that a person who is enrolled again keeps their place.
    """

    __slots__ = ("entries", "first")

    def __init__(self, first: dict[str, int] | None = None, entries: list[int] | None = None) -> None:
        self.first: dict[str, int] = {} if first is None else first
        self.entries: list[int] = [] if entries is None else entries

    def copy(self) -> Roll:
        """A roll of its own, for a draft."""
        return Roll(dict(self.first), list(self.entries))

    def add(self, copy_id: str, entry: int) -> None:
        """Write a copy id down, unless it stands there."""
        if copy_id not in self.first:
            self.first[copy_id] = entry
            self.entries.append(entry)

    def before(self, entry: int) -> int:
        """How many stand before that entry."""
        return bisect_left(self.entries, entry)


Holder = tuple[str, str]  # (holder id, project id)
# Rolls by name: ("all", project, "vendor" or "lab") for grants of "*", ("named", asset), and ("twice", asset), which
# lists the "*" entries of copy ids that had been named in the asset before, so that nobody is counted twice.
RollName = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class State:
    """Every table of the catalog. The first thirteen are stored; the others are derived from them."""

    vendors: Table[str, Vendor] = field(default_factory=Table)
    people: Table[str, Person] = field(default_factory=Table)
    workloads: Table[str, Workload] = field(default_factory=Table)
    projects: Table[str, Project] = field(default_factory=Table)
    classes: Table[str, AssetClass] = field(default_factory=Table)
    tiers: Table[str, Tier] = field(default_factory=lambda: Table(dict(BUILT_IN)))
    agreements: Table[str, Agreement] = field(default_factory=Table)
    assets: Table[str, Asset] = field(default_factory=Table)
    versions: Table[tuple[str, int], Version] = field(default_factory=Table)
    grants: Table[str, Grant] = field(default_factory=Table)
    holds: Table[str, Hold] = field(default_factory=Table)  # person -> their last legal hold
    admissions: Table[str, Admission] = field(default_factory=Table)  # gated vendor -> until when grants may be made
    lineages: Table[str, Lineage] = field(default_factory=Table)  # mark key -> what was said of it; first keys often nothing

    vendor_copies: Table[str, str] = field(default_factory=Table)  # vendor -> copy id
    copies: Table[str, str] = field(default_factory=Table)  # holder -> copy id
    holders: Table[str, str] = field(default_factory=Table)  # copy id -> latest holder (or the vendor)
    identities: Table[tuple[str, str], str] = field(default_factory=Table)  # (issuer, subject) -> latest holder
    sponsored: Table[str, tuple[str, ...]] = field(default_factory=Table)  # person -> workloads
    agreed: Table[str, tuple[str, ...]] = field(default_factory=Table)  # vendor -> agreements
    contents: Table[str, tuple[str, ...]] = field(default_factory=Table)  # project -> assets
    of_asset: Table[str, tuple[str, ...]] = field(default_factory=Table)  # asset -> its mark keys in `lineages`
    newest: Table[str, int] = field(default_factory=Table)  # asset -> number of its newest version
    shards: Table[str, dict[str, Shard]] = field(default_factory=Table)  # asset -> path -> shard, newest version
    held: Table[Holder, tuple[str, ...]] = field(default_factory=Table)  # grants that have not been ended
    projects_of: Table[str, tuple[str, ...]] = field(default_factory=Table)  # holder -> projects ever granted
    rolls: Table[RollName, Roll] = field(default_factory=Table)

    def draft(self) -> State:
        """A state of its own to write in, sharing all rows until they are written."""
        return State(**{each.name: getattr(self, each.name).draft() for each in fields(self)})

    def put_vendor(self, vendor: Vendor, copy_id: str) -> None:
        """Write a vendor and its copy id."""
        self.vendors.put(vendor.id, vendor)
        self.vendor_copies.put(vendor.id, copy_id)
        self.holders.put(copy_id, vendor.id)

    def put_person(self, person: Person, copy_id: str) -> None:
        """Write a new person, who is from now on the holder of their identity and copy id."""
        self.people.put(person.id, person)
        self._put_holder(person, copy_id)

    def put_workload(self, workload: Workload, copy_id: str) -> None:
        """Write a new workload under its sponsor."""
        self.workloads.put(workload.id, workload)
        self.sponsored.put(workload.sponsor, (*(self.sponsored.get(workload.sponsor) or ()), workload.id))
        self._put_holder(workload, copy_id)

    def _put_holder(self, holder: Person | Workload, copy_id: str) -> None:
        self.copies.put(holder.id, copy_id)
        self.holders.put(copy_id, holder.id)
        if holder.erased_at is None:
            self.identities.put((holder.issuer, holder.subject), holder.id)

    def erase(self, id_: str, at: int) -> None:
        """Forget whose identity a person's or workload's id was. Id, copy id and place among recipients stay."""
        holder = self.holder(id_)
        if holder is None:
            raise RuntimeError(f"{id_} is not here")
        self.identities.drop((holder.issuer, holder.subject))
        if id_ in self.people:
            self.people.put(id_, replace(self.people[id_], issuer="", subject="", erased_at=at))
        else:
            self.workloads.put(id_, replace(self.workloads[id_], issuer="", subject="", erased_at=at))

    def same_person(self, id_: str) -> list[str]:
        """The ids under which the same identity was ever enrolled, and the workloads that they answered for; `id_` too."""
        copy_id = self.copies[id_]
        own = [other for other in self.people if self.copies[other] == copy_id]
        return [*own, *(workload for one in own for workload in self.sponsored.get(one) or ())]

    def put_agreement(self, agreement: Agreement) -> None:
        """Write an agreement."""
        self.agreements.put(agreement.id, agreement)
        self.agreed.put(agreement.vendor, (*(self.agreed.get(agreement.vendor) or ()), agreement.id))

    def put_lineage(self, lineage: Lineage) -> None:
        """Write what is known of a mark key."""
        known = self.of_asset.get(lineage.asset) or ()
        if lineage.id not in known:
            self.of_asset.put(lineage.asset, (*known, lineage.id))
        self.lineages.put(lineage.id, lineage)

    def put_asset(self, asset: Asset) -> None:
        """Write an asset into its project."""
        self.assets.put(asset.id, asset)
        self.contents.put(asset.project, (*(self.contents.get(asset.project) or ()), asset.id))

    def put_version(self, version: Version) -> None:
        """Write a version; it is the one that is served from now on."""
        self.versions.put((version.asset, version.number), version)
        self.newest.put(version.asset, version.number)
        self.shards.put(version.asset, {shard.path: shard for shard in version.shards})

    def change_version(self, version: Version) -> None:
        """Write a version that is there already with what is known of it now."""
        self.versions.put((version.asset, version.number), version)
        if self.newest.get(version.asset) == version.number:
            self.shards.put(version.asset, {shard.path: shard for shard in version.shards})

    def put_grant(self, grant: Grant) -> None:
        """Write a new grant, and the holder's first place among all who were ever granted."""
        self.grants.put(grant.id, grant)
        key = (grant.holder, grant.project)
        if grant.ended_at is None:
            self.held.put(key, (*(self.held.get(key) or ()), grant.id))
        granted = self.projects_of.get(grant.holder) or ()
        if grant.project not in granted:
            self.projects_of.put(grant.holder, (*granted, grant.project))
        self._enroll(grant)

    def end_grant(self, grant: Grant) -> None:
        """Overwrite a grant by its ended self."""
        self.grants.put(grant.id, grant)
        key = (grant.holder, grant.project)
        self.held.put(key, tuple(id_ for id_ in self.held.get(key) or () if id_ != grant.id))

    def holder(self, id_: str) -> Person | Workload | None:
        """The person or workload of that id, ended ones too."""
        return self.people.get(id_) or self.workloads.get(id_)

    def barred(self, asset: Asset, vendor: str | None) -> bool:
        """Whether the hard barrier stands between a company and an asset. An unknown class is barred."""
        asset_class = self.classes.get(asset.asset_class)
        return vendor is not None and (asset_class is None or not asset_class.vendors)

    def agreement(self, vendor: str, at: int) -> Agreement | None:
        """The agreement in force, of several the one that lasts longest."""
        current = [
            a for a in map(self.agreements.__getitem__, self.agreed.get(vendor) or ()) if a.valid_from <= at < a.valid_until
        ]
        return max(current, key=lambda a: a.valid_until, default=None)

    def _enroll(self, grant: Grant) -> None:
        copy_id = self.copies[grant.holder]
        if "*" not in grant.assets:
            for asset in grant.assets:
                if not any(copy_id in roll.first for roll in self._all_rolls(self.assets[asset])):
                    self._roll(("named", asset)).add(copy_id, grant.entry)
            return
        holder = self.holder(grant.holder)
        everything = self._roll(("all", grant.project, "lab" if holder is None or holder.vendor is None else "vendor"))
        if copy_id in everything.first:
            return
        everything.add(copy_id, grant.entry)
        for asset in self.contents.get(grant.project) or ():
            named = self.rolls.get(("named", asset))
            if named is not None and copy_id in named.first:
                self._roll(("twice", asset)).add(copy_id, grant.entry)

    def _roll(self, name: RollName) -> Roll:
        # A roll is changed in place, so a draft copies it before its first write.
        roll = self.rolls.get(name)
        if roll is None or name not in self.rolls.touched:
            roll = Roll() if roll is None else roll.copy()
            self.rolls.put(name, roll)
        return roll

    def _all_rolls(self, asset: Asset) -> list[Roll]:
        reach = ["lab"] if self.barred(asset, "any") else ["lab", "vendor"]
        rolls = (self.rolls.get(("all", asset.project, side)) for side in reach)
        return [roll for roll in rolls if roll is not None]

    def place(self, copy_id: str, asset: Asset) -> int | None:
        """The copy id's place, from 0, in the order of all who were ever granted the asset; None if it never was."""
        named = self.rolls.get(("named", asset.id)) or Roll()
        twice = self.rolls.get(("twice", asset.id)) or Roll()
        every = self._all_rolls(asset)
        mine = min((roll.first[copy_id] for roll in (named, *every) if copy_id in roll.first), default=None)
        if mine is None:
            return None
        return named.before(mine) + sum(roll.before(mine) for roll in every) - twice.before(mine)

    def ever_granted(self, asset: Asset) -> list[str]:
        """Every copy id that was ever granted the asset, in the order of their places."""
        first: dict[str, int] = {}
        for roll in (self.rolls.get(("named", asset.id)) or Roll(), *self._all_rolls(asset)):
            for copy_id, entry in roll.first.items():
                first[copy_id] = min(entry, first.get(copy_id, entry))
        return sorted(first, key=first.__getitem__)
