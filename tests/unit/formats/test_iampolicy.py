"""A policy document says what is granted, claims more where it leaves that open, and never less."""

from __future__ import annotations

import pytest

from limen.formats.iampolicy import escaped, read, verdict

BUCKET = "arn:aws:s3:::orchid-data"
GET = ("s3:GetObject", f"{BUCKET}/sft/a.jsonl")


def policy(*statements, version="2012-10-17"):
    return read({"Version": version, "Statement": list(statements)}, "p")


def row(effect="Allow", action="s3:GetObject", resource="*", **more):
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


@pytest.mark.parametrize(
    ("statements", "answer"),
    [
        ([row()], "granted"),
        ([row(action="S3:get*")], "granted"),
        ([row(action=["s3:PutObject", "s3:Get?bject"])], "granted"),
        ([row(action="*", resource=f"{BUCKET}/sft/*")], "granted"),
        ([row(resource=f"{BUCKET}/SFT/*")], "not granted"),
        ([row(resource=BUCKET)], "not granted"),
        ([row(action="s3:PutObject")], "not granted"),
        ([], "not granted"),
        ([{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}], "granted"),
        ([{"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"}], "not granted"),
        ([{"Effect": "Allow", "Action": "s3:*", "NotResource": f"{BUCKET}/sft/*"}], "not granted"),
        ([{"Effect": "Allow", "Action": "s3:*", "NotResource": f"{BUCKET}/prefs/*"}], "granted"),
        ([row(), row("Deny", "s3:*", f"{BUCKET}/sft/*")], "not granted"),
        ([row(), row("Deny", Condition={"Bool": {"aws:SecureTransport": "false"}})], "granted"),
        ([row(Condition={"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}})], "granted"),
        ([row(resource=f"{BUCKET}/${{aws:PrincipalTag/team}}/*")], "granted"),
        ([row(), row("Deny", resource=f"{BUCKET}/${{aws:PrincipalTag/team}}/*")], "granted"),
        ([row(), {"Effect": "Deny", "Action": "*", "NotResource": f"{BUCKET}/${{aws:PrincipalTag/team}}/*"}], "granted"),
        ([row(Principal="*")], "cannot say"),
        ([{"Effect": "Allow", "Action": "s3:*"}], "cannot say"),
        ([{"Effect": "Maybe", "Action": "s3:*", "Resource": "*"}], "cannot say"),
        ([row(action=[])], "cannot say"),
        ([row(action=7)], "cannot say"),
        ([row(Condition="x")], "cannot say"),
        ([row(), row(action=7)], "granted"),
        (["Allow"], "cannot say"),
    ],
)
def test_what_a_document_grants(statements, answer):
    assert verdict([policy(*statements)], *GET) == answer


def test_the_users_name_is_the_one_variable_that_is_known():
    home = policy(row(resource=f"{BUCKET}/${{aws:username}}/*"))

    assert verdict([home], "s3:GetObject", f"{BUCKET}/t01/x", name="t01") == "granted"
    assert verdict([home], "s3:GetObject", f"{BUCKET}/t02/x", name="t01") == "not granted"
    old = policy(row(resource=f"{BUCKET}/${{aws:username}}/*"), version="2008-10-17")
    assert verdict([old], "s3:GetObject", f"{BUCKET}/t01/x", name="t01") == "not granted"


@pytest.mark.parametrize("document", [None, [], {}, {"Version": "2031-01-01", "Statement": []}, {"Version": "2012-10-17"}])
def test_what_is_no_policy_is_named_and_not_taken_for_no_rights(document):
    found = read(document, "x")

    assert found.unread
    assert verdict([found], *GET) == "cannot say"


def test_a_key_with_a_wildcards_letter_is_escaped_to_itself_alone():
    key = f"{BUCKET}/a*b?c$d"
    exact = policy(row(resource=escaped(key)))

    assert verdict([exact], "s3:GetObject", key) == "granted"
    assert verdict([exact], "s3:GetObject", f"{BUCKET}/aXb?c$d") == "not granted"


def test_a_statement_is_written_as_it_was_read():
    rows = [row(Sid="a"), {"Effect": "Deny", "NotAction": ["s3:*"], "NotResource": ["x"], "Condition": {"Bool": {"a": "b"}}}]

    [first, second] = policy(*rows).statements
    assert first.to_json() == {"Sid": "a", "Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["*"]}
    assert second.to_json() == rows[1]
