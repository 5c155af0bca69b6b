"""The catalog at one moment: an immutable value that answers on the event loop, and a pure step to the next moment.

A snapshot is swapped whole; whoever holds one can read it for as long as they like, from any thread. `with_change` costs
a copy of the tables that the change writes to (a few milliseconds at 10^5 people); `with_changes` copies each once for a
whole import.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from limen.catalog import rules
from limen.catalog.changes import complete
from limen.catalog.lineage import lineages
from limen.catalog.state import State
from limen.core.errors import Conflict, Denied, Invalid, LimenError, NotFound
from limen.core.types import (
    Agreement,
    Asset,
    AssetClass,
    Grant,
    Hold,
    Lineage,
    Person,
    Project,
    Recipient,
    Shard,
    Tier,
    Vendor,
    Version,
    Workload,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from limen.catalog.changes import Change

T = TypeVar("T")

NOTHING: Final = -1  # the epoch of an empty catalog


@dataclass(frozen=True, slots=True)
class Found:
    """What a path in a project names. `shard` is None for a drop box's objects and for a path that has no shard.

    The asset is found first, so that policy can speak before anyone learns whether the shard is there.
    """

    asset: Asset
    version: Version | None
    shard: Shard | None
    rest: str  # the path below the asset


@dataclass(frozen=True, slots=True)
class Ordered:
    """A change in its place: the index and time (seconds) of its entry, and how an error should call it (`grant[2]`)."""

    change: Change
    index: int
    at: int
    where: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every vendor, person, project, asset and grant, as of the entry `epoch` (-1: none yet)."""

    epoch: int = NOTHING
    state: State = field(default_factory=State, repr=False)

    def with_change(self, change: Change, *, index: int, at: int) -> Snapshot:
        """The snapshot after one more change; Invalid, Denied or Conflict if the rules refuse it."""
        return self.with_changes([Ordered(change, index, at)])

    def prepare(
        self,
        changes: Sequence[Change],
        *,
        random: Callable[[int], bytes],
        index: int,
        at: int,
        places: Sequence[str] = (),
    ) -> list[Change]:
        """The changes completed, and found good in this order as entries from `index` on; or the first one's refusal.

        `places` says where each came from (`grant[2]`), for the refusal. Nothing is changed.
        """
        draft, completed = Snapshot(self.epoch, self.state.draft()), []
        for i, change in enumerate(changes):
            try:
                completed.append(complete(change, random, draft))
                rules.apply(draft.state, completed[-1], index=index + i, at=at)
            except LimenError as e:
                raise placed(e, places[i] if places else "") from e
        return completed

    def with_changes(self, ordered: Iterable[Ordered]) -> Snapshot:
        """The snapshot after all of these, in order; or an error that says which one was refused, and no snapshot."""
        draft, epoch = self.state.draft(), self.epoch
        for step in ordered:
            if step.index <= epoch:
                raise RuntimeError(f"entry {step.index} comes after entry {epoch}")
            try:
                rules.apply(draft, step.change, index=step.index, at=step.at)
            except LimenError as e:
                raise placed(e, step.where) from e
            epoch = step.index
        return Snapshot(epoch, draft)

    # -- one thing by its id; NotFound if there is none ---------------------------------------------------------------

    def vendor(self, id_: str) -> Vendor:
        """The vendor of that id."""
        return _one(self.state.vendors.get(id_), "vendor", id_)

    def project(self, id_: str) -> Project:
        """The project of that id."""
        return _one(self.state.projects.get(id_), "project", id_)

    def asset(self, id_: str) -> Asset:
        """The asset of that id, in whichever project."""
        return _one(self.state.assets.get(id_), "asset", id_)

    def tier(self, name: str) -> Tier:
        """The tier of that name, as tightened."""
        return _one(self.state.tiers.get(name), "tier", name)

    def asset_class(self, name: str) -> AssetClass:
        """The asset class of that name."""
        return _one(self.state.classes.get(name), "class", name)

    def grant(self, id_: str) -> Grant:
        """The grant of that id, ended ones too."""
        return _one(self.state.grants.get(id_), "grant", id_)

    def person(self, id_: str) -> Person:
        """The person of that id, ended ones too."""
        return _one(self.state.people.get(id_), "person", id_)

    def holder_by_id(self, id_: str) -> Person | Workload:
        """The person or workload of that id, ended ones too: the caller looks at `ended_at`."""
        holder = self.state.holder(id_)
        if holder is None:
            raise NotFound(f"person {id_}")
        return holder

    def holder(self, issuer: str, subject: str) -> Person | Workload:
        """Whose identity that is, by exact comparison; ended ones too."""
        id_ = self.state.identities.get((issuer, subject))
        if id_ is None:
            raise NotFound(f"person {subject} of {issuer}")
        return self.holder_by_id(id_)

    def hold_on(self, person: str) -> Hold | None:
        """The legal hold in force on a person, if there is one."""
        hold = self.state.holds.get(person)
        return hold if hold is not None and hold.lifted_at is None else None

    def holds(self) -> tuple[Hold, ...]:
        """The legal holds in force."""
        return tuple(hold for hold in self.state.holds.values() if hold.lifted_at is None)

    def has_project(self, id_: str) -> bool:
        """Whether there is such a project."""
        return id_ in self.state.projects

    def has_asset(self, id_: str) -> bool:
        """Whether there is such an asset, in whichever project."""
        return id_ in self.state.assets

    # -- lists --------------------------------------------------------------------------------------------------------

    def vendors(self) -> tuple[Vendor, ...]:
        """Every vendor, in the order of joining."""
        return self.state.vendors.values()

    def people(self, vendor: str | None) -> tuple[Person, ...]:
        """A vendor's people, or the lab's (None); ended ones too."""
        return tuple(person for person in self.state.people.values() if person.vendor == vendor)

    def workloads(self, vendor: str | None) -> tuple[Workload, ...]:
        """A vendor's workloads, or the lab's (None); ended ones too."""
        return tuple(workload for workload in self.state.workloads.values() if workload.vendor == vendor)

    def holders(self) -> tuple[Person | Workload, ...]:
        """Every person and workload; ended ones too."""
        return (*self.state.people.values(), *self.state.workloads.values())

    def workloads_of(self, sponsor: str) -> tuple[Workload, ...]:
        """The workloads that a person answers for; ended ones too."""
        return tuple(self.state.workloads[id_] for id_ in self.state.sponsored.get(sponsor) or ())

    def projects(self) -> tuple[Project, ...]:
        """Every project."""
        return self.state.projects.values()

    def classes(self) -> tuple[AssetClass, ...]:
        """Every asset class."""
        return self.state.classes.values()

    def tiers(self) -> tuple[Tier, ...]:
        """Every tier: the built-in ones first."""
        return self.state.tiers.values()

    def agreements_of(self, vendor: str) -> tuple[Agreement, ...]:
        """A vendor's agreements; past and future ones too."""
        return tuple(map(self.state.agreements.__getitem__, self.state.agreed.get(vendor) or ()))

    def grants(self) -> tuple[Grant, ...]:
        """Every grant that was ever made."""
        return self.state.grants.values()

    def assets(self) -> tuple[Asset, ...]:
        """Every asset of every project."""
        return self.state.assets.values()

    def assets_in(self, project: str) -> list[Asset]:
        """The project's assets, by id."""
        return sorted(map(self.state.assets.__getitem__, self.state.contents.get(project) or ()), key=lambda asset: asset.id)

    # -- versions and paths -------------------------------------------------------------------------------------------

    def version(self, asset_id: str) -> Version | None:
        """The version that is served: the newest; None while there is none."""
        number = self.state.newest.get(asset_id)
        return None if number is None else self.state.versions[asset_id, number]

    def versions(self, asset_id: str) -> tuple[Version, ...]:
        """Every version of an asset, oldest first."""
        newest = self.state.newest.get(asset_id) or 0
        return tuple(self.state.versions[asset_id, number] for number in range(1, newest + 1))

    def shard_of(self, asset_id: str, number: int, path: str) -> tuple[Version, Shard] | None:
        """One shard of one version of an asset, older versions too; None if the catalog knows of no such shard."""
        version = self.state.versions.get((asset_id, number))
        shard = next((shard for shard in version.shards if shard.path == path), None) if version else None
        return (version, shard) if version and shard else None

    def next_number(self, asset_id: str) -> int:
        """The number that the asset's next version must carry."""
        return (self.state.newest.get(asset_id) or 0) + 1

    def find(self, project: str, path: str) -> Found:
        """What `<asset>/<path>` names in a project; NotFound if the project has no such asset."""
        asset_id, _, rest = path.partition("/")
        asset = self.state.assets.get(asset_id)
        if asset is None or asset.project != project:
            raise NotFound(f"{path} in project {project}")
        shards = self.state.shards.get(asset_id) or {}
        return Found(asset, self.version(asset_id), shards.get(rest), rest)

    # -- mark keys ----------------------------------------------------------------------------------------------------

    def lineages(self, asset_id: str) -> tuple[Lineage, ...]:
        """Every mark key of an asset, oldest first; at least the one that its first version will take."""
        return lineages(self.state, self.asset(asset_id).id)

    def retired_at(self, key_id: str) -> int | None:
        """The entry by which a mark key ended; None while it is good. Samples logged later don't count under it."""
        one = self.state.lineages.get(key_id)
        return one.retired if one else None

    # -- authority ----------------------------------------------------------------------------------------------------

    def agreement(self, vendor: str, now: int) -> Agreement | None:
        """The vendor's agreement in force, of several the one that lasts longest."""
        return self.state.agreement(vendor, now)

    def grants_of(self, holder: str, project: str) -> tuple[Grant, ...]:
        """The holder's grants in a project that have not been ended; expired and future ones too."""
        return tuple(map(self.state.grants.__getitem__, self.state.held.get((holder, project)) or ()))

    def projects_of(self, holder: str) -> tuple[str, ...]:
        """The projects in which the holder has a grant that has not been ended."""
        return tuple(project for project in self.state.projects_of.get(holder) or () if self.state.held.get((holder, project)))

    def projects_ever_of(self, holder: str) -> tuple[str, ...]:
        """The projects in which the holder was ever granted anything: where entries may call them something."""
        return self.state.projects_of.get(holder) or ()

    def grants_reaching(self, holder: str, asset: Asset) -> tuple[Grant, ...]:
        """Those of the holder's grants that reach one asset: named, or by "*" if nothing stands in between.

        A "*" does not reach over the hard barrier, nor into a tier whose grants its signer may not sign.
        """
        return tuple(grant for grant in self.grants_of(holder, asset.project) if self.reaches(grant, asset))

    def granted_assets(self, grants: Iterable[Grant]) -> list[Asset]:
        """The assets that any of these grants reaches, by id."""
        reached = {asset.id: asset for grant in grants for asset in self.assets_in(grant.project) if self.reaches(grant, asset)}
        return sorted(reached.values(), key=lambda asset: asset.id)

    def reaches(self, grant: Grant, asset: Asset) -> bool:
        """Whether a grant is about an asset, whatever its actions and times."""
        who, tier = self.state.holder(grant.holder), self.state.tiers.get(asset.tier)
        if who is None or tier is None or grant.project != asset.project or self.state.barred(asset, who.vendor):
            return False
        if "*" not in grant.assets:
            return asset.id in grant.assets
        signer = self.state.people.get(grant.granted_by)
        return signer is not None and bool(signer.roles & tier.granted_by)

    # -- copies -------------------------------------------------------------------------------------------------------

    def copy_id_of(self, issuer: str, subject: str) -> str | None:
        """The copy id of whoever has or had that identity: enrolled again, they keep it."""
        holder = self.state.identities.get((issuer, subject))
        return None if holder is None else self.state.copies[holder]

    def recipient(self, holder: str, asset_id: str) -> Recipient:
        """Whose copy it is when that holder reads that asset. `canary` is None if they were never granted it."""
        who, asset = self.holder_by_id(holder), self.asset(asset_id)
        copy_id = self.state.copies[holder]
        return self._recipient(who, copy_id, self.state.place(copy_id, asset))

    def recipients_of(self, asset_id: str) -> list[Recipient]:
        """Everyone who was ever granted the asset, in the order of their canaries; under their latest id."""
        asset = self.asset(asset_id)
        return [
            self._recipient(self.holder_by_id(self.state.holders[copy_id]), copy_id, place)
            for place, copy_id in enumerate(self.state.ever_granted(asset))
        ]

    def _recipient(self, who: Person | Workload, copy_id: str, place: int | None) -> Recipient:
        # The lab's own people have no vendor tier: their own copy id stands in its place.
        vendor_copy = copy_id if who.vendor is None else self.state.vendor_copies[who.vendor]
        return Recipient(who.id, who.vendor, copy_id, vendor_copy, place)


def placed(error: LimenError, where: str) -> LimenError:
    """The same refusal, its field under the place it came from: `expires_at: …` becomes `grant[2].expires_at: …`."""
    if not where:
        return error
    if isinstance(error, Invalid):
        return Invalid(f"{where}.{error.field}", error.why)
    if isinstance(error, Denied):
        return Denied(f"{where}.{error.reason}", rule=error.rule)
    if isinstance(error, Conflict):
        return Conflict(f"{where}.{error.reason}")
    return error


def _one(row: T | None, noun: str, id_: str) -> T:
    if row is None:
        raise NotFound(f"{noun} {id_}")
    return row
