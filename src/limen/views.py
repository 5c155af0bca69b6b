"""What the catalog holds, as JSON values for lists: one function a noun. No personal detail but ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

    from limen.catalog.snapshot import Snapshot


def vendors(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Vendors, with how many people they have and until when their agreement runs."""
    rows = []
    for vendor in snapshot.vendors():
        until = max((a.valid_until for a in snapshot.agreements_of(vendor.id)), default=None)
        people = sum(1 for p in snapshot.people(vendor.id) if p.ended_at is None)
        rows.append({"vendor": vendor.id, "name": vendor.name, "contact": vendor.contact, "people": people, "agreement": until})
    return rows


def people(snapshot: Snapshot) -> list[dict[str, Any]]:
    """People and workloads."""
    return [
        {
            "person": h.id,
            "vendor": h.vendor,
            "sponsor": getattr(h, "sponsor", None),
            "roles": sorted(getattr(h, "roles", ())),
            "ended_at": h.ended_at,
            "erased_at": h.erased_at,
            "held_since": hold.since if (hold := snapshot.hold_on(h.id)) else None,
        }
        for h in snapshot.holders()
    ]


def projects(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Projects."""
    return [{"project": p.id, "title": p.title, "owner": p.owner} for p in snapshot.projects()]


def assets(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Assets, with their newest version and whether its shards can be fingerprinted."""
    rows = []
    for project in snapshot.projects():
        for asset in snapshot.assets_in(project.id):
            version = snapshot.version(asset.id)
            shards = version.shards if version else ()
            rows.append(
                {
                    "asset": asset.id,
                    "project": asset.project,
                    "class": asset.asset_class,
                    "tier": asset.tier,
                    "kind": asset.kind,
                    "canary": asset.canary,
                    "version": version.number if version else None,
                    "shards": len(shards),
                    "records": sum(s.records for s in shards),
                    "marked": sum(1 for s in shards if s.prepared and not s.unmarked_why),
                    "adopted": sum(1 for s in shards if s.upstream),
                    "digests": sum(1 for s in shards if s.digest),
                    "unmarked": [f"{s.path}: {s.unmarked_why}" for s in shards if s.unmarked_why],
                }
            )
    return rows


def grants(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Grants, with those that ended."""
    return [
        {
            "grant": g.id,
            "holder": g.holder,
            "project": g.project,
            "assets": sorted(g.assets),
            "actions": sorted(g.actions),
            "granted_by": g.granted_by,
            "expires_at": g.expires_at,
            "ended_at": g.ended_at,
        }
        for g in snapshot.grants()
    ]


def agreements(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Agreements of every vendor."""
    return [msgspec.to_builtins(a) for v in snapshot.vendors() for a in snapshot.agreements_of(v.id)]


def tiers(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Sensitivity tiers and their controls."""
    return [{**msgspec.to_builtins(tier), "granted_by": sorted(tier.granted_by)} for tier in snapshot.tiers()]


VIEWS: Final[dict[str, Callable[[Snapshot], list[dict[str, Any]]]]] = {
    "vendors": vendors,
    "people": people,
    "projects": projects,
    "assets": assets,
    "grants": grants,
    "agreements": agreements,
    "tiers": tiers,
}
