"""A narrower scope loses nothing that was used, and gains nothing that was not granted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limen.core.types import Action, Grant
from limen.formats.iampolicy import read, verdict
from limen.response import narrowing

BUCKETS = ["one", "two"]
KEYS = st.lists(st.sampled_from(["a", "b", "c*", "d"]), min_size=1, max_size=4).map("/".join)
OBJECT = st.builds(lambda b, k: f"arn:aws:s3:::{b}/{k}", st.sampled_from(BUCKETS), KEYS)
USE = st.one_of(
    st.tuples(st.sampled_from(["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]), OBJECT),
    st.tuples(st.just("s3:ListBucket"), st.sampled_from([f"arn:aws:s3:::{b}" for b in BUCKETS])),
)
PATTERN = st.sampled_from(
    [
        "*",
        "arn:aws:s3:::*",
        "arn:aws:s3:::one",
        "arn:aws:s3:::one/*",
        "arn:aws:s3:::one/a/*",
        "arn:aws:s3:::one/a*",
        "arn:aws:s3:::t*/b",
        "arn:aws:s3:::two/?/*",
        "arn:aws:s3:::one/${aws:username}/*",
        "arn:aws:s3:::two/${aws:PrincipalTag/x}/b",
    ]
)
DOING = st.sampled_from(["*", "s3:*", "s3:Get*", "s3:GetObject", "s3:PutObject", "s3:List*", "ec2:Run*", "S3:deleteobject"])
CONDITION = st.sampled_from([{}, {}, {"Condition": {"Bool": {"aws:MultiFactorAuthPresent": "true"}}}])


@st.composite
def statements(draw):
    noun, on = (
        draw(st.sampled_from(["Action", "Action", "NotAction"])),
        draw(st.sampled_from(["Resource", "Resource", "NotResource"])),
    )
    effect = draw(st.sampled_from(["Allow", "Allow", "Allow", "Deny"]))
    lists = {noun: draw(st.lists(DOING, min_size=1, max_size=3)), on: draw(st.lists(PATTERN, min_size=1, max_size=2))}
    return {"Effect": effect, **lists, **draw(CONDITION)}


DOCUMENT = st.lists(statements(), min_size=1, max_size=4).map(lambda rows: {"Version": "2012-10-17", "Statement": rows})
OTHERS = [("ec2:RunInstances", "arn:aws:ec2:::x"), ("iam:GetUser", "*"), ("s3:GetBucketAcl", "arn:aws:s3:::one")]


def proposed(document, uses, *, narrow=narrowing.narrow_policies):
    before = [read(document, "before")]
    allowed = {use for use in uses if verdict(before, *use, name="a") == "granted"}
    narrowed = narrow(before, allowed, keeps=lambda _: False, name="a")
    return before, allowed, narrowing.still_granted(narrowed.document)


def lost(document, uses, **more):
    _, allowed, after = proposed(document, uses, **more)
    return {use for use in allowed if verdict(after, *use, name="a") != "granted"}


@settings(max_examples=400, deadline=None)
@given(DOCUMENT, st.sets(USE, max_size=12), st.lists(USE, max_size=8))
def test_a_narrowed_policy_allows_every_use_and_nothing_new(document, uses, probes):
    before, allowed, after = proposed(document, uses)

    assert {use for use in allowed if verdict(after, *use, name="a") != "granted"} == set()
    for probe in [*probes, *OTHERS]:
        if verdict(after, *probe, name="a") == "granted":
            assert verdict(before, *probe, name="a") == "granted"
    for other in OTHERS[:2]:  # of other services no log tells: what they grant stands as it was
        assert verdict(after, *other, name="a") == verdict(before, *other, name="a")


@settings(max_examples=200, deadline=None)
@given(DOCUMENT, st.sets(USE, max_size=12), st.lists(USE, max_size=8))
def test_no_condition_is_lost_on_the_way(document, uses, probes):
    """Where a right stood under a condition alone, it stands under a condition alone."""

    def firm(policies):
        rows = [{**s.to_json(), "Effect": "Allow"} for p in policies for s in p.statements if s.allow and not s.condition]
        return [read({"Version": "2012-10-17", "Statement": rows}, "firm")]

    before, _, after = proposed(document, uses)
    for probe in [*uses, *probes]:
        if verdict(firm(after), *probe, name="a") == "granted":
            assert verdict(firm(before), *probe, name="a") == "granted"


def forgetful(policies, uses, **more):
    """A broken narrowing: it leaves out the last use."""
    return narrowing.narrow_policies(policies, sorted(uses)[:-1], **more)


def greedy(policies, uses, **more):
    """Another: it proposes the whole bucket."""
    found = narrowing.narrow_policies(policies, uses, **more)
    rows = [{"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::one/*"]}]
    return narrowing.Narrowed({**found.document, "Statement": rows}, found.elsewhere)


def test_a_narrowing_that_forgets_or_widens_is_caught():
    document = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::one/a/*"}],
    }
    uses = {("s3:GetObject", "arn:aws:s3:::one/a/b/x")}

    assert lost(document, uses) == set()
    assert lost(document, uses, narrow=forgetful) == uses
    before, _, after = proposed(document, uses, narrow=greedy)
    wider = ("s3:PutObject", "arn:aws:s3:::one/b")
    assert (verdict(before, *wider), verdict(after, *wider)) == ("not granted", "granted")


@settings(max_examples=300, deadline=None)
@given(st.sets(KEYS, min_size=1, max_size=40), st.integers(1, 6))
def test_prefixes_hold_every_key_are_few_and_none_lies_in_another(keys, most):
    found = narrowing.prefixes(keys, most=most)

    assert len(found) <= most
    assert all(any(key.startswith(prefix) for prefix in found) for key in keys)
    assert not any(a != b and a.startswith(b) for a in found for b in found)
    assert all(any(key.startswith(prefix) for key in keys) for prefix in found)


ASSETS = st.sampled_from(["x", "y", "z"])
ACTIONS = st.sampled_from(list(Action))


@settings(max_examples=200, deadline=None)
@given(
    st.frozensets(ASSETS, min_size=1) | st.just(frozenset({"*"})),
    st.frozensets(ACTIONS, min_size=1),
    st.sets(st.tuples(ASSETS, ACTIONS), max_size=8),
)
def test_a_narrowed_grant_allows_every_use_it_allowed_and_nothing_else(assets, actions, uses):
    grant = Grant("g", "quillwork/q1", "orchid", assets, actions, "lab/mira", 0, 1_000, 1)
    narrowed = narrowing.narrow_grant(grant, uses, expires_at=500)

    for asset in ("x", "y", "z"):
        for action in Action:
            used = (asset, action) in uses and narrowing.allowed([grant], asset, action)
            assert narrowing.allowed(narrowed, asset, action) == used
    assert all(n.expires_at == 500 for n in narrowed)


@pytest.mark.parametrize(
    ("role", "needs", "proposed_role"),
    [("admin", ["pull"], "pull"), ("push", ["pull", "push"], "push"), ("push", [], None), ("pull", ["push"], "pull")],
)
def test_a_role_is_narrowed_to_its_needs_and_never_widened(role, needs, proposed_role):
    assert narrowing.narrow_role(role, needs) == proposed_role
