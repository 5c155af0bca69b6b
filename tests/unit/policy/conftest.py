"""One good question, to be bent in one place at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from limen.core.types import Action, Asset, AssetClass, Grant, Session, Tier
from limen.policy.policies import Policies, Question

NOW = 1_775_000_000


@pytest.fixture
def policies():
    return Policies()


@pytest.fixture
def question():
    """q01 of quillwork reads orchid-sft under one grant: allowed."""
    session = Session(
        "s-1", "quillwork/q01", "quillwork", None, "orchid", "p-1", "LMNAAAAAAAAAAAAAAAAA", "single", NOW - 60, NOW + 3540
    )
    return Question(
        session=session,
        action=Action.READ,
        asset=Asset("orchid-sft", "orchid", "training", "internal"),
        asset_class=AssetClass("training"),
        tier=Tier("internal", frozenset({"owner"}), 3600, hardware_key=False, export_bytes_day=None),
        grants=(grant(),),
        agreement_until=NOW + 9_000,
        paused=False,
        ended=False,
        now=NOW,
        epoch=1,
        owner="lab/mira",
    )


def grant(**fields):
    plain = Grant(
        "g-1", "quillwork/q01", "orchid", frozenset({"orchid-sft"}), frozenset({Action.READ}), "lab/mira", NOW - 99, NOW + 99, 7
    )
    return replace(plain, **fields)


@pytest.fixture
def a_grant():
    """Makes a grant that covers the question but for the fields given."""
    return grant


@pytest.fixture
def bent():
    """The question with some fields changed; `session_…`, `asset_…` and `tier_…` reach inside."""

    def bend(question, **fields):
        for part in ("session", "asset", "tier"):
            inner = {name.removeprefix(f"{part}_"): fields.pop(name) for name in list(fields) if _inside(name, part)}
            if inner:
                question = replace(question, **{part: replace(getattr(question, part), **inner)})
        return replace(question, **fields)

    return bend


def _inside(name, part):
    return name.startswith(f"{part}_") and name != "asset_class"
