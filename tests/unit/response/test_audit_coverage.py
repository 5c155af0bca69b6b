"""What nobody logged is not said to be unused."""

from __future__ import annotations

from limen.response.audit import _github_narrowed

GRANTED = {"lab/tools": "push", "lab/notes": "pull"}


def log_of(scope):
    return [{"source": "github", "scopes": [{"scope": scope, "covered": [[0, 10]], "uncovered": []}]}]


def roles(covered):
    row = _github_narrowed(GRANTED, [], covered)
    return {each["repository"]: each["role"] for each in row["proposal"]["repositories"]}, row


def test_roles_stand_as_they_were_where_no_import_covers_the_organisation():
    for covered in ([], log_of("github:another")):
        kept, row = roles(covered)
        assert kept == GRANTED
        assert row["coverage"] == {"partial": True, "uncovered": [{"scope": "github:lab", "intervals": None}]}
        assert row["cannot_say"][-1] == "no import covers github:lab: there its roles stand as they were"


def test_control_where_one_does_what_was_not_used_is_proposed_to_end():
    kept, row = roles(log_of("github:LAB"))
    assert kept == {"lab/tools": None, "lab/notes": None}
    assert not row["coverage"]["partial"]
