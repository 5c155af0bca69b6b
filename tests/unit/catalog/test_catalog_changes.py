"""A change has a public form without personal detail, and a clear form that gives it back whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from limen.catalog import changes as c
from limen.catalog.personal import StandIn
from limen.catalog.rules import MAX_NAMED
from limen.core import events
from limen.core.errors import Invalid
from limen.core.types import Action

PRIVATE = (
    "Ada Private",
    "ada@private.example",
    "sub-private",
    "id.private.example",
    "reason private",
    "q77",
    "mira",
    "ops@private",
)
COPY = "0123456789abcdef" * 2


def every_change(a_shard):
    issuer = "https://id.private.example"
    return [
        c.VendorAdd(id="quillwork", name="Quillwork", contact="ops@private", copy_id=COPY),
        c.PersonAdd(
            id="quillwork/q77", vendor="quillwork", issuer=issuer, subject="sub-private", name="Ada Private",
            email="ada@private.example", copy_id=COPY,
        ),
        c.PersonEnd(id="quillwork/q77", reason="reason private"),
        c.WorkloadAdd(
            id="quillwork/ci", vendor="quillwork", issuer=issuer, subject="sub-private", sponsor="quillwork/q77", copy_id=COPY
        ),
        c.WorkloadEnd(id="quillwork/ci", reason="reason private"),
        c.ProjectAdd(id="orchid", title="Orchid", owner="lab/mira"),
        c.ClassAdd(name="core", vendors=False),
        c.TierSet(name="open", granted_by=("owner", "data"), session_s=900, hardware_key=True, export_bytes_day=None),
        c.AgreementAdd(id="a-1", vendor="quillwork", digest="ab" * 32, valid_from=1, valid_until=2),
        c.VendorGate(id="quillwork"),
        c.VendorAdmit(id="quillwork", basis="gate", entry=7, valid_until=9),
        c.AssetAdd(id="sft", project="orchid", asset_class="core", tier="open", description="reason private"),
        c.AssetVersion(asset="sft", number=1, shards=(a_shard(), a_shard("b")), mark_key="k"),
        c.AssetDigests(asset="sft", number=1, digests={"a": "0" * 64}),
        c.KeyRotate(
            asset="sft", key="sft~2", code="limen-code/1", levels="nuida8", keep="file", commitment="0" * 64,
            subkeys={"copy": "1" * 64}, reason="reason private",
        ),
        c.KeyRetire(asset="sft", key="sft", reason="reason private"),
        c.KeyOpen(asset="sft", key="sft", request=7, subkeys={"copy": "1" * 64}, acting="p-1", shown="token"),
        c.GrantAdd(
            id="g-1", holder="quillwork/q77", project="orchid", assets=("b", "a"), actions=(Action.READ, Action.HEAD),
            granted_by="lab/mira", not_before=1, expires_at=2,
        ),
        c.GrantEnd(id="g-1", reason="reason private", holder="quillwork/q77"),
        c.HoldSet(id="quillwork/q77", reason="reason private"),
        c.HoldLift(id="quillwork/q77", reason="reason private"),
        c.Erasure(
            id="quillwork/q77", reason="reason private", also=("quillwork/ci",), records={"change": 2},
            pseudonyms={"quillwork/q77": {"": "p-1", "orchid": "p-2"}, "quillwork/ci": {"": "p-3"}},
            stand_ins=(StandIn(entry=1, kind="person.end", change={"id": "quillwork/q77", "reason": "erased"}),),
        ),
    ]  # fmt: skip


def pseudonym(holder, project):
    return f"p-{abs(hash((holder, project))) % 10**9}"


def test_every_authority_kind_has_its_change(a_shard):
    kinds = {change.kind for change in every_change(a_shard)}
    assert kinds == set(c.CHANGES) <= events.KINDS


def test_no_entry_holds_personal_detail(a_shard):
    for change in every_change(a_shard):
        entry = events.encode(change.kind, 1, bytes(16), change.public(pseudonym)).decode()
        found = [detail for detail in (*PRIVATE, COPY) if detail in entry]
        assert found == [], change.kind


def test_control_the_clear_form_does_hold_it(a_shard):
    clear = json.dumps([change.to_clear() for change in every_change(a_shard)])
    assert all(detail in clear for detail in (*PRIVATE, COPY))


def test_the_clear_form_gives_the_change_back(a_shard):
    for change in every_change(a_shard):
        again = c.from_clear(change.kind, json.loads(json.dumps(change.to_clear())))
        assert again == change
        assert type(again) is type(change)


def test_a_clear_form_that_is_not_one_is_refused(a_shard):
    for change in every_change(a_shard):
        with pytest.raises(Invalid):
            c.from_clear(change.kind, {**change.to_clear(), "extra": 1})
        with pytest.raises(Invalid):
            c.from_clear(change.kind, {})
    with pytest.raises(Invalid, match="no change of authority"):
        c.from_clear("pause.order", {})


def test_whoever_stands_in_a_change_seals_it(a_shard):
    sealed = {change.kind: change.sealed_for for change in every_change(a_shard)}
    assert sealed["person.add"] == sealed["grant.add"] == sealed["grant.end"] == sealed["workload.add"] == "quillwork/q77"
    assert sealed["hold.set"] == sealed["hold.lift"] == "quillwork/q77"
    assert {kind for kind, who in sealed.items() if who is None} == {
        "vendor.add", "project.add", "class.add", "tier.set", "agreement.add", "asset.add", "asset.version", "asset.digests",
        "vendor.gate", "vendor.admit",
        "erasure", "key.rotate", "key.retire", "key.open",
    }  # fmt: skip


def test_the_largest_grant_and_version_fit_an_entry(a_shard):
    [grant] = [change for change in every_change(a_shard) if change.kind == "grant.add"]
    names = tuple(f"{i:063d}" for i in range(MAX_NAMED))
    large = c.GrantAdd(**{**grant.to_clear(), "assets": names, "actions": tuple(Action)})
    version = c.AssetVersion(asset="a", number=1, shards=tuple(a_shard(f"{i}") for i in range(5_000)))
    for change in (large, version):
        assert len(events.encode(change.kind, 1, bytes(16), change.public(pseudonym))) < events.MAX_ENTRY


def test_one_changed_shard_changes_the_versions_digest(a_shard):
    one = (a_shard(), a_shard("b"))
    assert c.shards_digest(one) != c.shards_digest((a_shard(), a_shard("b", digest="cd" * 32)))
    assert c.shards_digest(one) != c.shards_digest(one[::-1])


def test_completing_fills_in_what_nobody_may_choose(lab, a_shard):
    for before, name in [
        (c.VendorAdd(id="t", name="T", contact="x"), "copy_id"),
        (c.PersonAdd(id="quillwork/n", vendor="quillwork", issuer="https://i", subject="n", name="N"), "copy_id"),
        (c.AssetVersion(asset="orchid-sft", shards=(a_shard(),)), "number"),
    ]:
        after = lab.completed(before)
        assert not getattr(before, name)
        assert getattr(after, name)
        assert lab.completed(after) == after


def test_the_document_of_entries_names_every_kind_and_its_fields(a_shard):
    text = (Path(__file__).parents[3] / "docs" / "formats" / "entries.md").read_text()
    for change in every_change(a_shard):
        [row] = [line for line in text.splitlines() if line.startswith(f"| `{change.kind}` |")]
        assert [field for field in change.public(pseudonym) if f"`{field}`" not in row] == [], change.kind
