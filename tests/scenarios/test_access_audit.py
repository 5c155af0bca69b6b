"""Granted against used, on the invented lab: the proposals are the narrowest that its truth allows, and lose nothing."""

from __future__ import annotations

import pytest

from limen.response import narrowing

IAM = {"read": "s3:GetObject", "head": "s3:GetObject", "list": "s3:ListBucket"}
ARN = "arn:aws:s3:::"
VENDORS = ("quillwork", "tessel", "marlow")


def audited(desk, lab, vendor, *words):
    given = ("--iam-policies", lab.root / "iam", "--github-collaborators", lab.root / "collaborators")
    return desk.ask("access", "audit", vendor, *given, *words)


def narrowest(used):
    """What the truth says was used, as (action, ARN), objects by their folder."""
    found = set()
    for action, resource in used:
        bucket, _, key = resource.removeprefix("s3://").partition("/")
        folder = "" if action == "list" else f"/{key.rpartition('/')[0]}/*"
        found.add((IAM[action], f"{ARN}{bucket}{folder}"))
    return found


def proposed(row):
    rows = row["proposal"]["document"]["Statement"]
    assert {each["Effect"] for each in rows} <= {"Allow"}
    return {(action, resource) for each in rows for action in each["Action"] for resource in each["Resource"]}


@pytest.mark.parametrize("vendor", VENDORS)
def test_a_proposal_for_a_principal_is_the_narrowest_that_its_uses_allow(lab, desk, vendor):
    report = audited(desk, lab, vendor)
    rows = {row["principal"]: row for row in report["principals"] if row["system"] == "aws"}

    assert report["holds"]
    for principal, row in rows.items():
        beyond = {use.removeprefix("s3:") for use in row["check"]["elsewhere"]}
        assert proposed(row) == {n for n in narrowest(lab.truth.used[principal]) if f"{n[0][3:]} {n[1]}" not in beyond}
        assert row["check"]["held"] + len(beyond) == row["check"]["uses"]
        assert row["grade"] == "evidence"
        assert {use["grade"] for use in row["used"]} <= {"observed"}
    assert any(not proposed(row) for row in rows.values()) == (vendor != "quillwork")  # the one who never did anything


def test_a_shared_role_stands_once_with_both_people_and_all_their_uses(lab, desk):
    [row] = [r for r in audited(desk, lab, "tessel")["principals"] if r["principal"].endswith("tessel-batch")]

    assert row["people"] == ["tessel/t1", "tessel/t2"]
    assert {bucket.split("/")[0] for _, bucket in proposed(row)} == {f"{ARN}helio-data", f"{ARN}orchid-data"}


def test_collaborators_keep_the_repositories_they_use_and_no_more_than_that(lab, desk):
    for vendor, repository in (("quillwork", "orchid-tools"), ("tessel", "helio-eval")):
        rows = [r for r in audited(desk, lab, vendor)["principals"] if r["system"] == "github"]
        assert len(rows) == len(lab.past.people[vendor])
        for row in rows:
            roles = {each["repository"]: each["role"] for each in row["proposal"]["repositories"]}
            name = next(p for p in (*lab.truth.used, row["principal"]) if p.lower() == row["principal"])
            used = {resource for _, resource in lab.truth.used.get(name, ())}
            assert {f"github:{r}" for r, role in roles.items() if role} == used <= {f"github:aurelia-lab/{repository}"}
            assert set(roles.values()) <= {None, "pull", "push"}


def test_time_without_logs_makes_a_proposal_partial_and_names_the_time(lab, desk):
    for row in audited(desk, lab, "quillwork")["principals"]:
        if row["system"] == "aws":
            [hole] = row["coverage"]["uncovered"]
            assert row["coverage"]["partial"]
            assert hole["scope"] == "s3://orchid-data"
            assert any(start <= event.at * 1_000_000 < end for start, end in hole["intervals"] for event in lab.truth.lost)


def test_limens_own_grants_that_nobody_used_are_to_end(lab, desk):
    rows = [r for r in audited(desk, lab, "quillwork")["principals"] if r["system"] == "limen"]

    assert [r["principal"] for r in rows] == lab.past.people["quillwork"]
    assert all(r["proposal"]["grants"] == [] and r["proposal"]["end"] and r["grade"] == "measured" for r in rows)


def test_without_documents_nothing_is_said_to_be_unused(desk):
    rows = [r for r in desk.ask("access", "audit", "tessel")["principals"] if r["system"] == "aws"]

    assert rows
    assert all(r["proposal"] is None and "is not known" in r["cannot_say"][0] for r in rows)


def test_buckets_that_no_import_covers_keep_their_rights(lab, desk, tmp_path):
    (tmp_path / "quill-annotator.json").write_text(
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource":'
        ' ["arn:aws:s3:::orchid-data/*", "arn:aws:s3:::never-logged/*"]}]}'
    )
    report = desk.ask("access", "audit", "quillwork", "--iam-policies", tmp_path)
    [row] = [r for r in report["principals"] if r["system"] == "aws"]

    assert ("s3:*", f"{ARN}never-logged/*") in proposed(row)
    assert not any(resource == f"{ARN}orchid-data/*" for _, resource in proposed(row))
    assert any("no import covers some of its buckets" in line for line in row["cannot_say"])


def test_a_proposal_that_loses_a_use_is_caught_by_its_replay(lab, desk, monkeypatch):
    """The control: a narrowing that forgets lists."""
    whole = narrowing.narrow_policies

    def forgetful(policies, uses, **more):
        return whole(policies, {use for use in uses if use[0] != "s3:ListBucket"}, **more)

    monkeypatch.setattr(narrowing, "narrow_policies", forgetful)
    given = ("--iam-policies", lab.root / "iam")
    with pytest.raises(AssertionError, match="exited 5"):
        desk.run("access", "audit", "tessel", *given)


def test_in_words_each_principal_has_its_grants_uses_proposal_and_replay(lab, desk):
    text = desk.run("access", "audit", "tessel", "--iam-policies", lab.root / "iam")

    for word in (
        "granted   s3:*",
        "used      read s3://helio-data/evals/*",
        "proposed  Allow s3:GetObject",
        "lost: 0",
        "PARTLY COVERED",
    ):
        assert word in text
