"""What a change of authority may not be: each refusal names its field, and leaves everything as it was."""

from __future__ import annotations

from dataclasses import replace as replace_shard

import pytest
from msgspec.structs import replace

from limen.catalog import changes as c
from limen.catalog import rules
from limen.core.errors import Conflict, Denied, Invalid
from limen.core.types import Action, Shard, Upstream

T0 = 1_775_000_000
YEAR = 365 * 86_400
ID = "https://id.example"
READ = (Action.READ,)
GRANT = c.GrantAdd(
    holder="quillwork/q01", project="orchid", assets=("orchid-sft",), actions=READ, granted_by="lab/mira", expires_at=T0 + 60
)
PERSON = c.PersonAdd(id="quillwork/q09", vendor="quillwork", issuer=ID, subject="s9", name="Bo")
WORKLOAD = c.WorkloadAdd(id="quillwork/bot", vendor="quillwork", issuer=ID, subject="bot", sponsor="quillwork/q01")
VENDOR = c.VendorAdd(id="tessel", name="Tessel", contact="a@b.example")
AGREEMENT = c.AgreementAdd(id="a-9", vendor="lexara", digest="ab" * 32, valid_from=T0, valid_until=T0 + 1)
ASSET = c.AssetAdd(id="new", project="orchid", asset_class="training", tier="open")
TIER = c.TierSet(name="confidential", granted_by=("owner",), session_s=1800, hardware_key=True, export_bytes_day=1)


REFUSED = [
    # ids and texts
    (replace(VENDOR, id="Tessel"), Invalid, "id: 'Tessel' is not an id"),
    (replace(VENDOR, id="-tessel"), Invalid, "id: '-tessel' is not an id"),
    (replace(VENDOR, id="t" * 64), Invalid, "is not an id"),
    (replace(VENDOR, id="tessel\n"), Invalid, "is not an id"),
    (replace(VENDOR, id="lab"), Invalid, "id: 'lab' is the lab itself"),
    (replace(VENDOR, id="quillwork"), Invalid, "id: vendor quillwork exists already"),
    (replace(VENDOR, name=""), Invalid, "name: is empty"),
    (replace(VENDOR, name="x" * 1001), Invalid, "name: has 1001 characters"),
    (replace(VENDOR, name="a\x1b[2J"), Invalid, "name: has a control"),
    (replace(VENDOR, name="e\u0301"), Invalid, "name: is not in Unicode normal form C"),
    (replace(VENDOR, name="\ud800"), Invalid, "name: has a control or unprintable"),
    (replace(VENDOR, contact="\u202egro"), Invalid, "contact: has a control or unprintable"),
    (replace(VENDOR, copy_id="xyz"), Invalid, "copy_id: is not a copy id"),
    # people and workloads
    (replace(PERSON, id="q09"), Invalid, "id: 'q09' is not `vendor/handle`"),
    (replace(PERSON, id="quillwork/a/b"), Invalid, "is not `vendor/handle`"),
    (replace(PERSON, id="lexara/q09"), Invalid, "vendor: quillwork does not fit the id lexara/q09"),
    (replace(PERSON, id="lab/q09", vendor="lab"), Invalid, "vendor: lab does not fit"),
    (replace(PERSON, id="nobody/q", vendor="nobody"), Invalid, "vendor: there is no vendor 'nobody'"),
    (replace(PERSON, id="quillwork/q01"), Invalid, "id: quillwork/q01 exists already"),
    (replace(PERSON, id="quillwork/ci"), Invalid, "id: quillwork/ci exists already"),
    (replace(PERSON, subject="sub-lexara/x01"), Invalid, "subject: this identity of https://id.example is lexara/x01 already"),
    (replace(PERSON, subject="ci"), Invalid, "subject: this identity of https://id.example is quillwork/ci already"),
    (replace(PERSON, subject="ä"), Invalid, "subject: is not ASCII"),
    (replace(PERSON, subject="s" * 256), Invalid, "subject: has 256 characters"),
    (replace(PERSON, issuer="ftp://id.example"), Invalid, "issuer: 'ftp://id.example' is not an https URL"),
    (replace(PERSON, issuer="http://id.example"), Invalid, "is not an https URL"),
    (replace(PERSON, roles=("owner",)), Invalid, "roles: are for the lab's own people"),
    (replace(PERSON, id="lab/z", vendor=None, roles=("Owner",)), Invalid, "roles: 'Owner' is not a role"),
    (c.PersonEnd(id="quillwork/zz", reason="left"), Invalid, "id: there is no person 'quillwork/zz'"),
    (c.PersonEnd(id="quillwork/q01", reason=""), Invalid, "reason: is empty"),
    (replace(WORKLOAD, sponsor="quillwork/zz"), Invalid, "sponsor: there is no person 'quillwork/zz'"),
    (replace(WORKLOAD, sponsor="quillwork/ci"), Invalid, "sponsor: there is no person 'quillwork/ci'"),
    (replace(WORKLOAD, sponsor="lab/mira"), Invalid, "sponsor: lab/mira is not of quillwork"),
    (c.WorkloadEnd(id="quillwork/q01", reason="x"), Invalid, "id: there is no workload 'quillwork/q01'"),
    # projects, classes, tiers
    (c.ProjectAdd(id="p", title="P", owner="quillwork/q01"), Invalid, "owner: quillwork/q01 is not of the lab"),
    (c.ProjectAdd(id="orchid", title="P", owner="lab/mira"), Invalid, "id: project orchid exists already"),
    (c.ClassAdd(name="core", vendors=True), Invalid, "name: class core exists already"),
    (replace(TIER, granted_by=()), Invalid, "granted_by: names no role"),
    (
        replace(TIER, granted_by=("data",)),
        Denied,
        "granted_by: lets data sign; the floor of tier confidential is owner, security",
    ),
    (replace(TIER, session_s=3601), Denied, "session_s: 3601 is longer than the floor of tier confidential of 3600"),
    (replace(TIER, session_s=60), Invalid, "session_s: is below 900"),
    (replace(TIER, export_bytes_day=None), Denied, "export_bytes_day: no limit is more than the floor"),
    (replace(TIER, export_bytes_day=1 << 40), Denied, "export_bytes_day: 1099511627776 is more than the floor"),
    (replace(TIER, export_bytes_day=-1), Invalid, "export_bytes_day: -1 is not between"),
    (replace(TIER, window_bytes=(16 << 20) + 1), Denied, "window_bytes: 16777217 is more than the floor"),
    (replace(TIER, window_s=6), Denied, "window_s: 6 is more than the floor of tier confidential of 5"),
    (replace(TIER, window_bytes=-1), Invalid, "window_bytes: -1 is not between"),
    (replace(TIER, name="restricted", granted_by=("security",), hardware_key=False), Denied, "hardware_key: false is less"),
    (replace(TIER, name="own", granted_by=("anyone",)), Denied, "granted_by: lets anyone sign; the floor of tier open"),
    # agreements
    (replace(AGREEMENT, id="a-1"), Invalid, "id: agreement a-1 exists already"),
    (replace(AGREEMENT, vendor="nobody"), Invalid, "vendor: there is no vendor 'nobody'"),
    (replace(AGREEMENT, digest="AB" * 32), Invalid, "digest: is not a SHA-256 digest"),
    (replace(AGREEMENT, valid_until=T0), Invalid, "valid_until: is not after valid_from"),
    (replace(AGREEMENT, valid_from=-1), Invalid, "valid_from: -1 is not between"),
    # assets
    (replace(ASSET, id="orchid-sft"), Invalid, "id: asset orchid-sft exists already"),
    (replace(ASSET, id="a/b"), Invalid, "id: 'a/b' is not an id"),
    (replace(ASSET, project="zz"), Invalid, "project: there is no project 'zz'"),
    (replace(ASSET, asset_class="zz"), Invalid, "class: there is no class 'zz'"),
    (replace(ASSET, tier="zz"), Invalid, "tier: there is no tier 'zz'"),
    # grants
    (replace(GRANT, holder="quillwork/zz"), Invalid, "holder: there is no person or workload 'quillwork/zz'"),
    (replace(GRANT, project="zz"), Invalid, "project: there is no project 'zz'"),
    (replace(GRANT, assets=()), Invalid, "assets: names none"),
    (replace(GRANT, assets=("zz",)), Invalid, "assets: there is no asset 'zz'"),
    (replace(GRANT, assets=("helio-prefs",)), Invalid, "assets: helio-prefs is not in project orchid"),
    (replace(GRANT, assets=("*", "orchid-sft")), Invalid, 'assets: "*" stands alone'),
    (replace(GRANT, assets=("aurelia-core",)), Denied, "assets: aurelia-core is of class core, which no vendor's grant can name"),
    (replace(GRANT, holder="quillwork/ci", assets=("aurelia-core",)), Denied, "no vendor's grant can name"),
    (replace(GRANT, actions=()), Invalid, "actions: names none"),
    (replace(GRANT, actions=(Action.WRITE,)), Invalid, "actions: write can't be granted: orchid-sft is not a drop box"),
    (replace(GRANT, assets=("orchid-box",)), Invalid, "actions: read can't be granted: orchid-box is a drop box"),
    (replace(GRANT, expires_at=T0), Invalid, "expires: is in the past"),
    (replace(GRANT, not_before=T0 + 60), Invalid, "expires: is not after the grant's start"),
    (replace(GRANT, not_before=-5), Invalid, "not_before: -5 is not between"),
    (replace(GRANT, granted_by="lab/zz"), Invalid, "granted_by: there is no person 'lab/zz'"),
    (replace(GRANT, granted_by="quillwork/q02"), Invalid, "granted_by: quillwork/q02 is not of the lab"),
    (replace(GRANT, assets=("orchid-guide",)), Denied, "granted_by: lab/mira may not grant orchid-guide (tier restricted)"),
    (replace(GRANT, assets=("orchid-sft", "orchid-guide")), Denied, "granted_by: lab/mira may not grant orchid-guide"),
    (replace(GRANT, holder="lexara/x01"), Denied, "holder: lexara has no agreement in force"),
    (c.GrantEnd(id="g-zz", reason="x", holder="quillwork/q01"), Invalid, "id: there is no grant 'g-zz'"),
]


@pytest.mark.parametrize(("change", "kind", "message"), REFUSED, ids=[f"{c.kind}-{m[:40]}" for c, _, m in REFUSED])
def test_a_change_that_may_not_be_names_its_field_and_changes_nothing(lab, change, kind, message):
    before, size = lab.snapshot, len(lab.made)
    with pytest.raises(kind) as refused:
        lab.add(change)
    assert message in refused.value.reason
    assert "\n" not in refused.value.reason
    assert lab.snapshot is before
    assert len(lab.made) == size


@pytest.mark.parametrize("change", [VENDOR, PERSON, WORKLOAD, AGREEMENT, ASSET, TIER, GRANT], ids=lambda change: change.kind)
def test_the_samples_themselves_are_accepted(lab, change):
    lab.add(change)


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("_check_barrier", replace(GRANT, assets=("aurelia-core",))),
        ("_check_signer", replace(GRANT, assets=("orchid-guide",))),
        ("_check_actions", replace(GRANT, assets=("orchid-box",))),
        ("check_floor", replace(TIER, session_s=9_999)),
        ("_check_shards", c.AssetVersion(asset="orchid-sft", shards=(None,))),
    ],
)
def test_control_without_its_rule_the_change_would_be_made(lab, monkeypatch, rule, change):
    monkeypatch.setattr(rules, rule, lambda *_: None)
    if change.kind == "asset.version":
        monkeypatch.setattr("limen.catalog.state.State.put_version", lambda *_: None)
    lab.add(change)


def test_no_grant_without_an_agreement_and_none_before_or_after_it_holds(lab):
    lab.add(replace(AGREEMENT, valid_from=lab.now + 10, valid_until=lab.now + 20))
    grant = replace(GRANT, holder="lexara/x01", expires_at=lab.now + YEAR)
    for offset, allowed in ((0, False), (10, True), (19, True), (20, False)):
        lab.now = T0 + offset
        if allowed:
            lab.add(grant)
        else:
            with pytest.raises(Denied, match="no agreement in force"):
                lab.add(grant)


def test_the_labs_own_people_need_no_agreement_and_pass_the_barrier(lab):
    grant = lab.grant("lab/sol", "aurelia-core", "orchid-sft")
    assert {a.id for a in lab.snapshot.granted_assets([grant])} == {"aurelia-core", "orchid-sft"}


def test_a_star_reaches_neither_over_the_barrier_nor_into_a_tier_that_its_signer_may_not_sign(lab):
    by_owner = lab.grant("quillwork/q01", "*")
    reached = {asset.id for asset in lab.snapshot.granted_assets([by_owner])}
    assert reached == {"orchid-sft", "orchid-box"}
    assert lab.snapshot.grants_reaching("quillwork/q01", lab.snapshot.asset("aurelia-core")) == ()
    assert lab.snapshot.grants_reaching("quillwork/q01", lab.snapshot.asset("orchid-guide")) == ()
    lab.add(c.AssetAdd(id="late", project="orchid", asset_class="training", tier="restricted"))
    assert lab.snapshot.grants_reaching("quillwork/q01", lab.snapshot.asset("late")) == ()
    by_security = lab.grant("lab/sol", "*", granted_by="lab/sol")
    assert {asset.id for asset in lab.snapshot.granted_assets([by_security])} == {
        "aurelia-core", "late", "orchid-box", "orchid-guide", "orchid-sft",
    }  # fmt: skip


def test_a_signer_without_any_role_of_the_project_may_not_sign_a_star(lab):
    lab.person("lab/newcomer", roles=("data",))
    with pytest.raises(Denied, match="lab/newcomer may not grant any asset of orchid"):
        lab.grant("quillwork/q01", "*", granted_by="lab/newcomer")


def test_a_persons_end_ends_their_grants_and_the_workloads_they_answer_for(lab):
    own, bots = lab.grant("quillwork/q01", "orchid-sft"), lab.grant("quillwork/ci", "orchid-sft")
    other = lab.grant("quillwork/q02", "orchid-sft")
    lab.now += 5
    lab.add(c.PersonEnd(id="quillwork/q01", reason="left"))
    ended = [lab.snapshot.grant(g.id).ended_at for g in (own, bots, other)]
    assert ended == [lab.now, lab.now, None]
    assert [lab.snapshot.holder_by_id(id_).ended_at for id_ in ("quillwork/q01", "quillwork/ci")] == [lab.now, lab.now]
    assert lab.snapshot.grants_of("quillwork/q01", "orchid") == ()
    for holder in ("quillwork/q01", "quillwork/ci"):
        with pytest.raises(Invalid, match=f"holder: {holder} has ended"):
            lab.grant(holder, "orchid-sft")
    with pytest.raises(Invalid, match="has ended already"):
        lab.add(c.PersonEnd(id="quillwork/q01", reason="again"))


def test_an_ended_sponsor_or_signer_can_answer_for_nothing_new(lab):
    lab.add(c.PersonEnd(id="quillwork/q01", reason="left"))
    with pytest.raises(Invalid, match="sponsor: quillwork/q01 has ended"):
        lab.add(WORKLOAD)
    lab.add(c.PersonEnd(id="lab/mira", reason="left"))
    with pytest.raises(Invalid, match="granted_by: lab/mira has ended"):
        lab.grant("quillwork/q02", "orchid-sft")


def test_whoever_is_enrolled_again_keeps_their_copy_id_and_their_place(lab):
    lab.grant("quillwork/q02", "orchid-sft")
    lab.grant("quillwork/q01", "orchid-sft")
    before = lab.snapshot.recipient("quillwork/q01", "orchid-sft")
    lab.add(c.PersonEnd(id="quillwork/q01", reason="leave"))
    again = lab.completed(replace(PERSON, subject="sub-quillwork/q01"))
    with pytest.raises(Invalid, match="copy_id: differs from that of quillwork/q01"):
        lab.add(replace(again, copy_id="00" * 16))
    lab.add(again)
    lab.grant("quillwork/q09", "*")
    after = lab.snapshot.recipient("quillwork/q09", "orchid-sft")
    assert (after.copy_id, after.canary) == (before.copy_id, before.canary) == (before.copy_id, 1)
    assert [r.id for r in lab.snapshot.recipients_of("orchid-sft")] == ["quillwork/q02", "quillwork/q09"]
    assert lab.snapshot.holder(ID, "sub-quillwork/q01").id == "quillwork/q09"


def test_an_ended_identity_can_not_come_back_at_another_company_or_as_a_workload(lab):
    lab.add(c.PersonEnd(id="quillwork/q01", reason="left"))
    moved = replace(PERSON, id="lexara/q01", vendor="lexara", subject="sub-quillwork/q01")
    with pytest.raises(Invalid, match=r"subject: .* was quillwork/q01; it can't become lexara/q01"):
        lab.add(moved)
    with pytest.raises(Invalid, match="can't become quillwork/bot"):
        lab.add(replace(WORKLOAD, subject="sub-quillwork/q01", sponsor="quillwork/q02"))


def test_a_copy_id_is_nobody_elses(lab):
    taken = lab.snapshot.recipient("quillwork/q01", "orchid-sft")
    for copy_id in (taken.copy_id, taken.vendor_copy_id):
        with pytest.raises(Invalid, match="copy_id: is taken"):
            lab.add(replace(PERSON, copy_id=copy_id))
        with pytest.raises(Invalid, match="copy_id: is taken"):
            lab.add(replace(VENDOR, copy_id=copy_id))


def test_a_tightened_tier_holds_and_may_go_back_to_its_floor_but_no_further(lab):
    lab.add(TIER)
    assert lab.snapshot.tier("confidential").session_s == 1800
    lab.add(replace(TIER, session_s=3600, hardware_key=False))
    with pytest.raises(Denied):
        lab.add(replace(TIER, session_s=7200))


def test_a_grant_that_ends_names_its_holder_and_ends_once(lab):
    grant = lab.grant("quillwork/q01", "orchid-sft")
    with pytest.raises(Invalid, match="holder: is not that of grant"):
        lab.add(c.GrantEnd(id=grant.id, reason="x", holder="quillwork/q02"))
    lab.add(c.GrantEnd(id=grant.id, reason="x"))
    with pytest.raises(Invalid, match="has ended already"):
        lab.add(c.GrantEnd(id=grant.id, reason="x"))


SHARD_FAULTS = [
    ({"path": "../x"}, r"shards\[0\].path: '../x' is not a relative path"),
    ({"path": "/x"}, "is not a relative path"),
    ({"path": "a//b"}, "is not a relative path"),
    ({"path": "a\\b"}, "is not a relative path"),
    ({"path": ""}, "is empty"),
    ({"path": "é" * 500}, "has more than 900 bytes"),
    ({"digest": "ab"}, r"shards\[0\].digest"),
    ({"length": -1}, r"shards\[0\].length"),
    ({"records": 1 << 60}, r"shards\[0\].records"),
    ({"unmarked_why": ""}, "an unmarked shard says why"),
    ({"prepared": "p1"}, "mark_key: is missing"),
    ({"content_type": "a\nb"}, r"shards\[0\].content_type"),
]


@pytest.mark.parametrize(("fault", "message"), SHARD_FAULTS)
def test_a_version_with_a_faulty_shard_is_refused(lab, a_shard, fault, message):
    with pytest.raises(Invalid, match=message):
        lab.add(c.AssetVersion(asset="orchid-sft", shards=(a_shard(**fault),)))


def test_versions_count_up_and_a_drop_box_has_none(lab, a_shard):
    for version, error, message in [
        (c.AssetVersion(asset="orchid-box", shards=(a_shard(),)), Invalid, "is a drop box"),
        (c.AssetVersion(asset="zz", shards=(a_shard(),)), Invalid, "there is no asset"),
        (c.AssetVersion(asset="orchid-sft", shards=()), Invalid, "shards: are 0"),
        (c.AssetVersion(asset="orchid-sft", shards=(a_shard(), a_shard())), Invalid, "stands there twice"),
        (c.AssetVersion(asset="orchid-sft", number=2, shards=(a_shard(),)), Conflict, "the next version of orchid-sft is 1"),
    ]:
        with pytest.raises(error, match=message):
            lab.add(version)
    lab.add(c.AssetVersion(asset="orchid-sft", shards=(a_shard(),)))
    lab.add(c.AssetVersion(asset="orchid-sft", shards=(a_shard(prepared="p", unmarked_why=""),), mark_key="k-1"))
    assert [v.number for v in lab.snapshot.versions("orchid-sft")] == [1, 2]


def adopted(path="a", **more):
    return Shard(
        path=path, digest="", source_length=1, length=1, content_type="text/plain", unmarked_why="adopted",
        upstream=Upstream(f"s3://research/{path}", '"1"'), **more,
    )  # fmt: skip


def test_only_an_adopted_shard_may_have_no_digest_and_it_gets_one_once(lab):
    with pytest.raises(Invalid, match="SHA-256"):
        lab.add(c.AssetVersion(asset="orchid-sft", shards=(replace_shard(adopted(), upstream=None),)))
    lab.add(c.AssetVersion(asset="orchid-sft", shards=(adopted("a"), adopted("b"))))
    number = lab.snapshot.version("orchid-sft").number
    lab.add(c.AssetDigests(asset="orchid-sft", number=number, digests={"a": "1" * 64}))
    assert [shard.digest for shard in lab.snapshot.version("orchid-sft").shards] == ["1" * 64, ""]
    for digests in ({"a": "2" * 64}, {"c": "2" * 64}, {"b": "short"}):
        with pytest.raises(Invalid, match="digests"):
            lab.add(c.AssetDigests(asset="orchid-sft", number=number, digests=digests))
    with pytest.raises(Invalid, match="no version"):
        lab.add(c.AssetDigests(asset="orchid-sft", number=number + 1, digests={"a": "2" * 64}))
    assert [shard.digest for shard in lab.snapshot.version("orchid-sft").shards] == ["1" * 64, ""]


def test_an_entry_commits_to_where_adopted_shards_rest_and_what_they_were():
    here = c.shards_digest((adopted(),))
    elsewhere = replace_shard(adopted(), upstream=Upstream("s3://another/a", '"1"'))
    changed = replace_shard(adopted(), upstream=Upstream("s3://research/a", '"2"'))
    assert len({here, c.shards_digest((elsewhere,)), c.shards_digest((changed,))}) == 3
