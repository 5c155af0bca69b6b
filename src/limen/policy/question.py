"""A question to the policies, and how it is put to Cedar: one request and the handful of entities that it speaks of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from limen.core.types import Action, Asset, AssetClass, Grant, Session, Tier

LAB = "lab"  # no vendor has this id
Entities = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question: may this session do this to this asset, now.

    `grants` are those of the holder that reach the asset (`Snapshot.grants_reaching`). `agreement_until` is the end of
    the vendor's agreement in force, 0 or None if there is none; it is not asked of the lab's own people. `epoch` names
    the state of the catalog that everything else here was read from: a cached answer holds for one epoch only.
    `owner` is the project's owner, whom a refusal says to ask.
    """

    session: Session
    action: Action
    asset: Asset
    asset_class: AssetClass
    tier: Tier
    grants: tuple[Grant, ...]
    agreement_until: int | None
    paused: bool
    ended: bool
    now: int
    epoch: int
    owner: str = ""

    def candidates(self) -> tuple[Grant, ...]:
        """The grants under which it may be asked, longest first: the holder's own, in the asset's project."""
        mine = [g for g in self.grants if g.holder == self.session.holder and g.project == self.asset.project]
        return tuple(sorted(mine, key=lambda g: g.expires_at, reverse=True))

    def valid_until(self, grant: Grant) -> int:
        """Until when a yes under that grant can hold: the earliest end of grant, session and agreement."""
        ends = [grant.expires_at, self.session.expires_at]
        if self.session.vendor is not None:
            ends.append(self.agreement_until or 0)
        return min(ends)

    def refused_until(self) -> int:
        """Until when a refusal stands if nothing but the clock moves: the next begin or end of a grant or the session."""
        turns = [at for grant in self.candidates() for at in (grant.not_before, grant.expires_at) if at > self.now]
        return min(turns, default=self.session.expires_at)


def request_of(question: Question) -> dict[str, Any]:
    """The Cedar request."""
    session = question.session
    return {
        "principal": _principal(question),
        "action": {"type": "Action", "id": question.action.value},
        "resource": {"type": "Asset", "id": question.asset.id},
        "context": {
            "now": question.now,
            "session": {
                "project": _to("Project", session.project),
                "issued_at": session.issued_at,
                "expires_at": session.expires_at,
                "hardware": session.strength == "hardware",
            },
        },
    }


def entities_of(question: Question, grant: Grant | None) -> Entities:
    """The entities that the request speaks of, with the one grant that it is asked under, or none."""
    asset, vendor = question.asset, question.session.vendor
    who: dict[str, Any] = {"vendor": _to("Vendor", vendor or LAB), "paused": question.paused, "ended": question.ended}
    entities = [
        _entity("Vendor", vendor or LAB, {"outside": vendor is not None, "agreed_until": question.agreement_until or 0}),
        _entity("Class", question.asset_class.name, {"vendors": question.asset_class.vendors}),
        _entity("Tier", question.tier.name, {"session_s": question.tier.session_s, "hardware_key": question.tier.hardware_key}),
        _entity("Project", asset.project, {}),
        _entity(
            "Asset",
            asset.id,
            {
                "project": _to("Project", asset.project),
                # The asset's own words, not the question's: if they differ, the class or tier is not found, an error.
                "class": _to("Class", asset.asset_class),
                "tier": _to("Tier", asset.tier),
                "drop": asset.kind == "drop",
            },
        ),
    ]
    if grant is not None:
        who["grant"] = _to("Grant", grant.id)
        entities.append(_grant(grant))
    return [*entities, {"uid": _principal(question), "attrs": who, "parents": []}]


def _grant(grant: Grant) -> dict[str, Any]:
    return _entity(
        "Grant",
        grant.id,
        {
            "project": _to("Project", grant.project),
            "everything": "*" in grant.assets,
            "assets": [_to("Asset", id_) for id_ in sorted(grant.assets) if id_ != "*"],
            "actions": [_to("Action", action) for action in sorted(grant.actions)],
            "not_before": grant.not_before,
            "expires_at": grant.expires_at,
            "ended": grant.ended_at is not None,
        },
    )


def _principal(question: Question) -> dict[str, str]:
    return {"type": "Person" if question.session.sponsor is None else "Workload", "id": question.session.holder}


def _entity(kind: str, id_: str, attrs: dict[str, Any]) -> dict[str, Any]:
    return {"uid": {"type": kind, "id": id_}, "attrs": attrs, "parents": []}


def _to(kind: str, id_: str) -> dict[str, Any]:
    return {"__entity": {"type": kind, "id": id_}}
