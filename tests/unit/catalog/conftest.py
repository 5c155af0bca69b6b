"""A small lab with two vendors, and a hand that changes it entry by entry."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from limen.catalog import changes as c
from limen.catalog.snapshot import Ordered, Snapshot
from limen.core.types import Action, Shard

ISSUER = "https://id.example"
T0 = 1_775_000_000
YEAR = 365 * 86_400


@dataclass
class Lab:
    """A catalog under way: `add` makes a change at the next entry and returns what was made."""

    snapshot: Snapshot = field(default_factory=Snapshot)
    now: int = T0
    made: list[Ordered] = field(default_factory=list)
    random: random.Random = field(default_factory=lambda: random.Random(7))

    def completed(self, change):
        return c.complete(change, self.random.randbytes, self.snapshot)

    def add(self, change):
        change = self.completed(change)
        index = self.snapshot.epoch + 3  # other entries lie between
        self.snapshot = self.snapshot.with_change(change, index=index, at=self.now)
        self.made.append(Ordered(change, index, self.now))
        return change

    def person(self, id_, **fields):
        company = id_.partition("/")[0]
        vendor = None if company == "lab" else company
        return self.add(
            c.PersonAdd(id=id_, vendor=vendor, issuer=ISSUER, **{"subject": f"sub-{id_}", "name": "Ada Example"} | fields)
        )

    def grant(self, holder, *assets, **fields):
        plain = {
            "project": "orchid",
            "actions": (Action.READ, Action.HEAD, Action.LIST),
            "granted_by": "lab/mira",
            "expires_at": self.now + YEAR,
        }
        made = self.add(c.GrantAdd(holder=holder, assets=assets, **plain | fields))
        return self.snapshot.grant(made.id)


def shard(path="train.jsonl", **fields):
    plain = {
        "path": path,
        "digest": "ab" * 32,
        "source_length": 10,
        "length": 12,
        "content_type": "application/jsonl",
        "unmarked_why": "too short",
        "records": 2,
    }
    return Shard(**plain | fields)


@pytest.fixture
def lab():
    """Lab Aurelia: mira owns, sol secures; quillwork has q01, q02 and a workload; lexara has no agreement."""
    lab = Lab()
    lab.add(c.VendorAdd(id="quillwork", name="Quillwork", contact="ops@quillwork.example"))
    lab.add(c.VendorAdd(id="lexara", name="Lexara", contact="ops@lexara.example"))
    lab.person("lab/mira", roles=("owner",))
    lab.person("lab/sol", roles=("security",))
    lab.person("quillwork/q01", email="q01@quillwork.example")
    lab.person("quillwork/q02")
    lab.person("lexara/x01")
    lab.add(c.WorkloadAdd(id="quillwork/ci", vendor="quillwork", issuer=ISSUER, subject="ci", sponsor="quillwork/q01"))
    lab.add(c.ProjectAdd(id="orchid", title="Orchid", owner="lab/mira"))
    lab.add(c.ProjectAdd(id="helio", title="Helio", owner="lab/mira"))
    lab.add(c.ClassAdd(name="training", vendors=True))
    lab.add(c.ClassAdd(name="core", vendors=False))
    lab.add(c.AgreementAdd(id="a-1", vendor="quillwork", digest="cd" * 32, valid_from=T0 - YEAR, valid_until=T0 + YEAR))
    lab.add(c.AssetAdd(id="orchid-sft", project="orchid", asset_class="training", tier="internal"))
    lab.add(c.AssetAdd(id="orchid-guide", project="orchid", asset_class="training", tier="restricted"))
    lab.add(c.AssetAdd(id="orchid-box", project="orchid", asset_class="training", tier="internal", asset_kind="drop"))
    lab.add(c.AssetAdd(id="aurelia-core", project="orchid", asset_class="core", tier="internal"))
    lab.add(c.AssetAdd(id="helio-prefs", project="helio", asset_class="training", tier="open"))
    return lab


@pytest.fixture
def a_shard():
    """Makes a shard that is good but for the fields given."""
    return shard
