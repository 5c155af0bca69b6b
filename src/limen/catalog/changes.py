"""The changes of authority: one value per kind of authority entry, as ordered, logged and applied.

A change is a plain value with no rules in it (those are in `limen.catalog.rules`). It has two written forms:

- `public(pseudonym)`: the fields of the ledger entry. People appear by pseudonym; names, addresses, identities and
  copy ids are not in it.
- `to_clear()` / `from_clear(kind, …)`: everything, for the encrypted side record, so that start-up can replay it.

`sealed_for` says whose subject key seals the side record; None means that no person stands in it. (It is not called
`subject`, because a person's OpenID Connect subject is.)
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import msgspec
from msgspec.structs import replace

from limen.catalog.admission import VendorAdmit, VendorGate
from limen.catalog.change import OUTSIDE, Change, OfHolder
from limen.catalog.lineage import KeyOpen, KeyRetire, KeyRotate
from limen.catalog.personal import Erasure, HoldLift, HoldSet
from limen.core.errors import Invalid
from limen.core.events import canonical
from limen.core.types import Action, Shard  # noqa: TC001  msgspec reads the annotations when it decodes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from limen.catalog.change import Pseudonym
    from limen.catalog.snapshot import Snapshot

__all__ = [
    "CHANGES",
    "COPY_ID_BYTES",
    "GRANT_ID_BYTES",
    "NOBODY",
    "OUTSIDE",
    "AgreementAdd",
    "AssetAdd",
    "AssetDigests",
    "AssetVersion",
    "Change",
    "ClassAdd",
    "Erasure",
    "GrantAdd",
    "GrantEnd",
    "HoldLift",
    "HoldSet",
    "KeyOpen",
    "KeyRetire",
    "KeyRotate",
    "PersonAdd",
    "PersonEnd",
    "ProjectAdd",
    "TierSet",
    "VendorAdd",
    "VendorAdmit",
    "VendorGate",
    "WorkloadAdd",
    "WorkloadEnd",
    "complete",
    "from_clear",
    "shards_digest",
    "without_detail",
]

COPY_ID_BYTES: Final = 16
GRANT_ID_BYTES: Final = 8
NOBODY: Final = "https://erased.invalid"  # RFC 2606 keeps .invalid free for ever


class VendorAdd(Change, frozen=True, kw_only=True):
    """A vendor is known from now on. `copy_id` is the same for all of its people (the vendor tier of marks)."""

    kind: ClassVar[str] = "vendor.add"
    id: str
    name: str
    contact: str
    copy_id: str = ""

    def public(self, pseudonym: Pseudonym) -> dict[str, Any]:
        """Who the company is; `contact` may be a person's address, so it stays behind."""
        del pseudonym
        return {"vendor": self.id, "name": self.name}


class PersonAdd(Change, frozen=True, kw_only=True):
    """A person joins a vendor, or the lab (`vendor` None). `copy_id` is theirs for ever; enrolled again, they keep it."""

    kind: ClassVar[str] = "person.add"
    id: str
    vendor: str | None
    issuer: str
    subject: str
    name: str
    email: str = ""
    roles: tuple[str, ...] = ()
    copy_id: str = ""

    @property
    def sealed_for(self) -> str | None:
        """The person."""
        return self.id

    def public(self, pseudonym: Pseudonym) -> dict[str, Any]:
        """A pseudonym outside any project, the vendor, and the roles."""
        return {"person": pseudonym(self.id, OUTSIDE), "vendor": self.vendor, "roles": sorted(self.roles)}


class PersonEnd(OfHolder, frozen=True, kw_only=True):
    """A person leaves. Their grants and the workloads that they sponsor end with them."""

    kind: ClassVar[str] = "person.end"


class WorkloadAdd(Change, frozen=True, kw_only=True):
    """A non-human identity, with the person of the same company who answers for it."""

    kind: ClassVar[str] = "workload.add"
    id: str
    vendor: str | None
    issuer: str
    subject: str
    sponsor: str
    copy_id: str = ""

    @property
    def sealed_for(self) -> str | None:
        """The sponsor: a workload is no person."""
        return self.sponsor

    def public(self, pseudonym: Pseudonym) -> dict[str, Any]:
        """The workload and its sponsor, both by pseudonym."""
        return {"workload": pseudonym(self.id, OUTSIDE), "vendor": self.vendor, "sponsor": pseudonym(self.sponsor, OUTSIDE)}


class WorkloadEnd(OfHolder, frozen=True, kw_only=True):
    """A workload is no more; its grants end with it."""

    kind: ClassVar[str] = "workload.end"
    noun: ClassVar[str] = "workload"


class ProjectAdd(Change, frozen=True, kw_only=True):
    """A sandbox, and the lab person who owns it. Sealed under nobody's key: it must outlast its owner's erasure."""

    kind: ClassVar[str] = "project.add"
    id: str
    title: str
    owner: str

    def public(self, pseudonym: Pseudonym) -> dict[str, Any]:
        """The project and its owner's pseudonym in it. The title can give away what is trained, so it stays behind."""
        return {"project": self.id, "owner": pseudonym(self.owner, self.id)}


class ClassAdd(Change, frozen=True, kw_only=True):
    """An asset class; with `vendors` false, the hard barrier. It is never changed, or a barrier could be lifted."""

    kind: ClassVar[str] = "class.add"
    name: str
    vendors: bool

    def public(self, pseudonym: Pseudonym) -> dict[str, Any]:
        """All of it."""
        del pseudonym
        return {"class": self.name, "vendors": self.vendors}


class TierSet(Change, frozen=True, kw_only=True):
    """A sensitivity tier's controls, from now on. A read window that is not given is the floor's."""

    kind: ClassVar[str] = "tier.set"
    name: str
    granted_by: tuple[str, ...]
    session_s: int
    hardware_key: bool
    export_bytes_day: int | None = None
    window_bytes: int | None = None
    window_s: int | None = None

    def public(self, pseudonym: Pseudonym) -> dict[str, Any]:
        """All of it."""
        del pseudonym
        return {
            "tier": self.name,
            "granted_by": sorted(self.granted_by),
            "session_s": self.session_s,
            "hardware_key": self.hardware_key,
            "export_bytes_day": self.export_bytes_day,
            "window_bytes": self.window_bytes,
            "window_s": self.window_s,
        }


class AgreementAdd(Change, frozen=True, kw_only=True):
    """What a vendor signed, by its digest, and when it holds: [`valid_from`, `valid_until`)."""

    kind: ClassVar[str] = "agreement.add"
    id: str
    vendor: str
    digest: str
    valid_from: int
    valid_until: int

    def public(self, pseudonym: Pseudonym) -> dict[str, Any]:
        """All of it: a digest of a signed document gives nothing away."""
        del pseudonym
        return {
            "agreement": self.id,
            "vendor": self.vendor,
            "digest": self.digest,
            "valid_from": self.valid_from,
            "valid_until": self.valid_until,
        }


class AssetAdd(Change, frozen=True, kw_only=True):
    """An asset of a project. It says `asset_kind`, since an entry's own kind is called `kind`."""

    kind: ClassVar[str] = "asset.add"
    id: str
    project: str
    asset_class: str
    tier: str
    asset_kind: Literal["dataset", "drop"] = "dataset"
    description: str = ""
    canary: bool = False

    def public(self, pseudonym: Pseudonym) -> dict[str, Any]:
        """All but the description, which is free text, and whether it is a canary: the published log must not warn of one."""
        del pseudonym
        return {
            "asset": self.id,
            "project": self.project,
            "class": self.asset_class,
            "tier": self.tier,
            "asset_kind": self.asset_kind,
        }


class AssetVersion(Change, frozen=True, kw_only=True):
    """An immutable version of an asset.

    `number` is the next one (`complete` fills in a 0); if another registration came in between, it is a Conflict.
    """

    kind: ClassVar[str] = "asset.version"
    asset: str
    number: int = 0
    shards: tuple[Shard, ...]
    mark_key: str | None = None

    def public(self, pseudonym: Pseudonym) -> dict[str, Any]:
        """Counts, and one digest over the list of shards: an entry holds 64 KiB, a version may have thousands."""
        del pseudonym
        return {
            "asset": self.asset,
            "number": self.number,
            "mark_key": self.mark_key,
            "shards": len(self.shards),
            "shards_digest": shards_digest(self.shards),
            "marked": sum(1 for shard in self.shards if shard.prepared is not None),
            "length": sum(shard.length for shard in self.shards),
            "records": sum(shard.records for shard in self.shards),
        }


class AssetDigests(Change, frozen=True, kw_only=True):
    """What adopted shards of a version hold, by path: SHA-256 of their bytes, taken when they were first read whole."""

    kind: ClassVar[str] = "asset.digests"
    asset: str
    number: int
    digests: dict[str, str]

    def public(self, pseudonym: Pseudonym) -> dict[str, Any]:
        """How many, and one digest over their canonical JSON object."""
        del pseudonym
        digest = hashlib.sha256(canonical(self.digests)).hexdigest()
        return {"asset": self.asset, "number": self.number, "count": len(self.digests), "digests_digest": digest}


class GrantAdd(Change, frozen=True, kw_only=True):
    """A grant. `assets` may be ("*",). `not_before` 0 means from the entry's own time on; `id` may be left to `complete`."""

    kind: ClassVar[str] = "grant.add"
    id: str = ""
    holder: str
    project: str
    assets: tuple[str, ...]
    actions: tuple[Action, ...]
    granted_by: str
    not_before: int = 0
    expires_at: int

    @property
    def sealed_for(self) -> str | None:
        """The holder."""
        return self.holder

    def public(self, pseudonym: Pseudonym) -> dict[str, Any]:
        """All of it, with both people by their pseudonyms in the project; and whose the holder is, if not the lab's."""
        vendor = self.holder.partition("/")[0]
        return {
            **({} if vendor == "lab" else {"vendor": vendor}),
            "grant": self.id,
            "holder": pseudonym(self.holder, self.project),
            "project": self.project,
            "assets": sorted(self.assets),
            "actions": sorted(self.actions),
            "granted_by": pseudonym(self.granted_by, self.project),
            "not_before": self.not_before,
            "expires_at": self.expires_at,
        }


class GrantEnd(Change, frozen=True, kw_only=True):
    """A grant is revoked before its expiry. `complete` fills in the holder, under whose key the reason is sealed."""

    kind: ClassVar[str] = "grant.end"
    id: str
    reason: str
    holder: str = ""

    @property
    def sealed_for(self) -> str | None:
        """The holder: the reason may be about them."""
        return self.holder

    def public(self, pseudonym: Pseudonym) -> dict[str, Any]:
        """Which, not why."""
        del pseudonym
        return {"grant": self.id}


CHANGES: Final[dict[str, type[Change]]] = {
    kind.kind: kind
    for kind in (
        VendorAdd,
        PersonAdd,
        PersonEnd,
        WorkloadAdd,
        WorkloadEnd,
        ProjectAdd,
        ClassAdd,
        TierSet,
        AgreementAdd,
        VendorGate,
        VendorAdmit,
        AssetAdd,
        AssetVersion,
        AssetDigests,
        KeyRotate,
        KeyRetire,
        KeyOpen,
        GrantAdd,
        GrantEnd,
        HoldSet,
        HoldLift,
        Erasure,
    )
}


def from_clear(kind: str, clear: Mapping[str, Any]) -> Change:
    """The change of that kind, from `to_clear`'s form; Invalid for any other."""
    if kind not in CHANGES:
        raise Invalid("kind", f"{kind!r} is no change of authority")
    try:
        return msgspec.convert(dict(clear), CHANGES[kind])
    except msgspec.ValidationError as e:
        raise Invalid(kind, str(e)) from e


def complete(change: Change, random: Callable[[int], bytes], snapshot: Snapshot) -> Change:
    """The change with what nobody may choose filled in: copy ids, grants' ids, a version's number, a grant's holder.

    Whoever is enrolled again gets the copy id that they had.
    """
    match change:
        case VendorAdd(copy_id=""):
            return replace(change, copy_id=random(COPY_ID_BYTES).hex())
        case PersonAdd(copy_id="") | WorkloadAdd(copy_id=""):
            kept = snapshot.copy_id_of(change.issuer, change.subject)
            return replace(change, copy_id=kept or random(COPY_ID_BYTES).hex())
        case AssetVersion(number=0):
            return replace(change, number=snapshot.next_number(change.asset))
        case GrantAdd(id=""):
            return replace(change, id=f"g-{random(GRANT_ID_BYTES).hex()}")
        case GrantEnd(holder=""):
            return replace(change, holder=snapshot.grant(change.id).holder)
        case _:
            return change


def shards_digest(shards: tuple[Shard, ...]) -> str:
    """Hex SHA-256 over the canonical JSON list of [path, digest, source_length, length, records, marked].

    An adopted shard's row ends in the URL and the ETag that it was adopted with.
    """
    rows: list[list[object]] = [
        [s.path, s.digest, s.source_length, s.length, s.records, s.prepared is not None]
        + ([s.upstream.url, s.upstream.etag] if s.upstream else [])
        for s in shards
    ]
    return hashlib.sha256(canonical(rows)).hexdigest()


def without_detail(change: Change) -> Change:
    """The change as it is replayed once its subject is erased: what is about them is gone, what follows from it stays.

    The identity in it is nobody's, and one for each copy id, so that whoever was enrolled twice still is.
    """
    match change:
        case PersonAdd():
            return replace(change, issuer=NOBODY, subject=f"erased-{change.copy_id}", name="erased", email="")
        case WorkloadAdd():
            return replace(change, issuer=NOBODY, subject=f"erased-{change.copy_id}")
        case PersonEnd() | WorkloadEnd() | GrantEnd() | HoldSet() | HoldLift():
            return replace(change, reason="erased")
        case _:
            return change
