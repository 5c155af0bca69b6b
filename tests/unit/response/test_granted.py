"""Documents of other systems are read as they come; what can't be read is named, and nothing is then said of it."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from limen.core.errors import Invalid
from limen.formats.iampolicy import verdict
from limen.response import granted

USER, ROLE = "aws:user/111122223333/t01", "aws:role/111122223333/quill"
GET = ("s3:GetObject", "arn:aws:s3:::b/k")
PUT = ("s3:PutObject", "arn:aws:s3:::b/k")
LIST = ("s3:ListBucket", "arn:aws:s3:::b")


def document(*actions):
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]}


def managed(name, actions, *, default=True):
    version = {"Document": document(*actions), "VersionId": "v1", "IsDefaultVersion": default}
    return {"PolicyName": name, "Arn": f"arn:aws:iam::aws:policy/{name}", "PolicyVersionList": [version]}


def attached(name):
    return {"PolicyName": name, "PolicyArn": f"arn:aws:iam::aws:policy/{name}"}


@pytest.fixture
def details():
    """An account with one user in a group, and one role."""
    return {
        "UserDetailList": [
            {
                "UserName": "t01",
                "Arn": "arn:aws:iam::111122223333:user/teams/t01",
                "UserPolicyList": [{"PolicyName": "own", "PolicyDocument": document("s3:GetObject")}],
                "GroupList": ["readers"],
                "AttachedManagedPolicies": [],
                "Tags": [{"Key": "vendor", "Value": "tessel"}],
            }
        ],
        "GroupDetailList": [
            {
                "GroupName": "readers",
                "GroupPolicyList": [{"PolicyName": "g", "PolicyDocument": quote(json.dumps(document("s3:ListBucket")))}],
                "AttachedManagedPolicies": [attached("writers")],
            }
        ],
        "RoleDetailList": [
            {
                "RoleName": "quill",
                "Arn": "arn:aws:iam::111122223333:role/quill",
                "AssumeRolePolicyDocument": {},
                "RolePolicyList": [],
                "AttachedManagedPolicies": [attached("readers-v2"), attached("elsewhere")],
                "PermissionsBoundary": {"PermissionsBoundaryArn": "arn:aws:iam::111122223333:policy/b"},
            }
        ],
        "Policies": [managed("writers", ["s3:PutObject"]), managed("readers-v2", ["s3:GetObject"])],
    }


def test_an_account_gives_each_principal_its_own_its_groups_and_its_attached_policies(details):
    found = granted.details(details)

    user = found[USER]
    assert [verdict(user.policies, *use, name=user.name) for use in (GET, LIST, PUT)] == ["granted"] * 3
    assert (user.tags, user.name) == ({"vendor": "tessel"}, "t01")
    role = found[ROLE]
    assert verdict(role.policies, *GET) == "granted"
    assert verdict(role.policies, *PUT) == "cannot say"  # of what is attached and not in the document nobody knows
    assert ["elsewhere" in line for policy in role.policies for line in policy.unread] == [True]
    assert "boundary" in role.cannot_say[0]


def test_a_managed_policy_without_a_default_version_grants_nothing_certain(details):
    details["Policies"] = [managed("readers-v2", ["s3:GetObject"], default=False)]

    assert verdict(granted.details(details)[ROLE].policies, *GET) == "cannot say"


@pytest.mark.parametrize("text", ["{}", "[]", "nothing", '{"UserDetailList": [{}]}', '{"RoleDetailList": 7}'])
def test_a_document_of_another_kind_is_refused_by_its_name(tmp_path, text):
    (tmp_path / "iam.json").write_text(text)

    with pytest.raises(Invalid):
        granted.read(tmp_path / "iam.json", None, principals=())


def test_a_policy_belongs_to_whoever_has_its_name_if_that_is_one(tmp_path):
    (tmp_path / "role" / "9").mkdir(parents=True)
    for name in ("t01", "twice", "nobody", "role/9/exact"):
        (tmp_path / f"{name}.json").write_text(json.dumps(document("s3:GetObject")))
    papers = granted.read(tmp_path, None, principals=[USER, ROLE, "aws:user/1/twice", "aws:role/1/twice", "github:nobody"])

    assert sorted(papers.iam) == ["aws:role/9/exact", USER]
    assert sorted(line.partition(":")[0] for line in papers.unread) == ["nobody.json", "twice.json"]


def test_collaborators_are_read_with_their_highest_right(tmp_path):
    (tmp_path / "Org").mkdir()
    rights = dict.fromkeys(("pull", "triage", "push"), True)
    rows = [
        {"login": "a", "permissions": {**rights, "maintain": False, "admin": False}},
        {"login": "b", "role_name": "read"},
        {"login": "c", "role_name": "our-own-role"},
        {"role_name": "read"},
        "d",
    ]
    (tmp_path / "Org" / "repo.json").write_text(json.dumps(rows))
    (tmp_path / "Org" / "other.json").write_text('{"message": "Not Found"}')
    papers = granted.read(None, tmp_path, principals=())

    assert papers.roles == {("a", "Org/repo"): "push", ("b", "Org/repo"): "pull"}
    assert len(papers.unread) == 4
    assert papers.repositories == {"Org/repo"}
