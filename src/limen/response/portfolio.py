"""The review: every vendor and every asset in one value, from the same readings as the single reports.

Record ids are left out: they tell whose copy held what, and a portfolio is read by more people than one exposure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from limen.catalog.snapshot import Snapshot

SCHEMA: Final = "limen/review/v1"


def vendor_value(
    snapshot: Snapshot, vendor: str, exposure: dict[str, Any], access: dict[str, Any], *, now: int
) -> dict[str, Any]:
    """One vendor's part, put together from its exposure and its audit."""
    agreement = snapshot.agreement(vendor, now)
    observed = exposure["observed"]
    own = [row for row in access["principals"] if row["system"] == "limen"]
    return {
        "vendor": vendor,
        "agreement": agreement.valid_until if agreement else None,
        "measured": [_asset(asset) for asset in exposure["assets"]],
        "received": exposure["received"],
        "refusals": exposure["refusals"],
        "observed": observed,
        "access": access,
        "sums": {
            "people": sum(1 for person in snapshot.people(vendor) if person.ended_at is None),
            "served": sum(asset["served_ever"]["count"] for asset in exposure["assets"]),
            "observed": sum(row["objects"] for row in observed["rows"]),
            "unknown principals": len({row["principal"] for row in observed["unknown_principals"]}),
            "unused grants": sum(1 for row in own if not row["proposal"]["grants"]),
        },
        "unknown": [*exposure["unknown"], *(line for line in observed["unknown"] if line not in exposure["unknown"])],
    }


def _asset(asset: dict[str, Any]) -> dict[str, Any]:
    tiers = ("granted", "served_ever", "served_since", "never_served")
    return {
        "asset": asset["asset"],
        **{tier: asset[tier]["count"] for tier in tiers},
        "canaries": len(asset["canaries"]),
        "people": sum(1 for line in asset["people"] if line["accesses"]),
        "bytes": sum(line["bytes"] for line in asset["people"]),
        "grade": "measured",
    }
