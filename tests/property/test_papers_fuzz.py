"""Mappings, policies and accounts that anybody may have written: limen's own error, or an answer; never another error."""

from __future__ import annotations

import contextlib
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from limen.core.errors import Invalid
from limen.formats.iampolicy import read, verdict
from limen.observe.who import Who
from limen.response import granted

MAPPING = b"""
[[who]]
principal = "aws:role/1/*"
session = "q*"
from = 2026-01-01
people = ["a/b", "c/d"]
[[place]]
resource = "s3://b/*"
asset = "x"
"""
WORDS = st.sampled_from(
    ["Version", "2012-10-17", "Statement", "Effect", "Allow", "Deny", "Action", "Resource", "NotAction", "Condition", "*", "${a"]
)
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)
STATEMENT = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("Effect", "Action", "NotAction", "Resource", "NotResource", "Condition", "Sid"), VALUE)
)
NAMES = ("UserDetailList", "RoleDetailList", "GroupDetailList", "Policies")
ROW = st.fixed_dictionaries(
    {},
    optional={
        n: VALUE | st.just("arn:aws:iam::1:user/x")
        for n in ("Arn", "UserName", "RoleName", "UserPolicyList", "GroupList", "Tags")
    },
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(MAPPING)), st.integers(0, 4), st.binary(max_size=4)), min_size=1, max_size=4))
def test_a_mutated_mapping_is_read_or_refused(cuts):
    raw = MAPPING
    for at, length, new in cuts:
        raw = raw[:at] + new + raw[at + length :]
    with contextlib.suppress(Invalid):
        Who.read(raw).of("aws:role/1/x", "q1", 0)


@settings(max_examples=150, deadline=None)
@given(VALUE | st.fixed_dictionaries({"Version": st.just("2012-10-17"), "Statement": st.lists(STATEMENT, max_size=3)}))
def test_any_value_is_a_policy_or_told_to_be_none(value):
    policy = read(value, "p")

    assert verdict([policy], "s3:GetObject", "arn:aws:s3:::b/k") in {"granted", "not granted", "cannot say"}
    assert policy.statements or policy.unread or value["Statement"] == []


@settings(max_examples=150, deadline=None)
@given(st.fixed_dictionaries({}, optional={name: VALUE | st.lists(ROW, max_size=2) for name in NAMES}))
def test_any_account_is_read_or_refused(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / "account.json"
    path.write_text(json.dumps(value))
    with contextlib.suppress(Invalid):
        granted.read(path, None, principals=())
