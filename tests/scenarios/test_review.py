"""The review holds every vendor and asset; its pages say what the single reports say, and nothing forges a line in them."""

from __future__ import annotations

import re

import pytest

from limen.response import markdown

GRADES = {"measured", "observed", "evidence", "declared"}


@pytest.fixture(scope="module")
def given(lab):
    return "--iam-policies", lab.root / "iam", "--github-collaborators", lab.root / "collaborators"


def test_one_command_reviews_every_vendor_as_the_single_reports_do(desk, given):
    report = desk.ask("review", *given)

    assert [v["vendor"] for v in report["vendors"]] == ["quillwork", "tessel", "marlow"]
    assert report["holds"]
    for vendor in report["vendors"]:
        single = desk.ask("exposure", f"vendor/{vendor['vendor']}")["observed"]
        assert (vendor["observed"]["rows"], vendor["observed"]["unknown_principals"]) == (
            single["rows"],
            single["unknown_principals"],
        )
        audited = desk.ask("access", "audit", vendor["vendor"], *given)
        assert [p["check"] for p in vendor["access"]["principals"]] == [p["check"] for p in audited["principals"]] != []
        assert "records" not in str(vendor["measured"])


def test_pages_are_written_for_each_and_linked(desk, given, tmp_path):
    desk.run("review", *given, "--out", tmp_path / "pages")

    names = {path.name for path in (tmp_path / "pages").iterdir()}
    index = (tmp_path / "pages" / "index.md").read_text()
    assert set(re.findall(r"\]\(([^)]+)\)", index)) == names - {"index.md"}
    assert {"vendor-tessel.md", "asset-orchid-sft-v3.md"} < names
    assert "legacy-export" in (tmp_path / "pages" / "vendor-tessel.md").read_text()
    with pytest.raises(AssertionError, match="not empty"):
        desk.run("review", "--out", tmp_path / "pages")


def test_an_assets_page_says_who_where_and_how_with_grades(desk, given):
    page = desk.ask("asset", "page", "orchid-sft-v3", *given)

    rows = [row for section in ("handled", "stored", "controlled") for row in page[section]]
    assert {row["grade"] for row in rows} == GRADES
    assert {row["who"] for row in page["handled"] if row["what"] == "may"} >= {"quillwork/q1", "quillwork/q2"}
    seen = {row["who"] for row in page["handled"] if row["grade"] == "observed"}
    assert {"quillwork/q1", "tessel/t1|tessel/t2", "lab"} <= seen
    assert {row["where"] for row in page["stored"]} == {"s3://orchid-data/sft/*"}
    readers = {row["who"] for row in page["controlled"] if row["what"] == "IAM policy, read"}
    assert {name.rpartition("/")[2] for name in readers} == {"quill-annotator", "tessel-batch", "legacy-export"}
    assert any("not covered" in line for line in page["unknown"])


def test_what_no_document_and_no_log_says_stands_as_unknown(desk):
    page = desk.ask("asset", "page", "marlow-intake-v1")

    assert any("no document says who may reach s3://marlow-intake/batches/*" in line for line in page["unknown"])
    assert not any(row["grade"] == "evidence" and "IAM" in row["what"] for row in page["controlled"])


def test_an_unknown_principal_stands_on_the_page_of_what_it_touched(desk):
    rows = desk.ask("asset", "page", "aurelia-core")["handled"]

    assert any(row["what"] == "unknown principal seen elsewhere" and row["who"].endswith("legacy-export") for row in rows)


EVIL = "x|y](http://evil)\n# <b>&amp;`*_\u202e"


def test_no_name_forges_a_cell_a_line_or_a_link():
    told = markdown.text(EVIL)

    assert "\n" not in told
    assert "\u202e" not in told
    assert re.search(r"(?<!\\)[|<>`\[\]#*_&]", told) is None


def test_unescaped_text_is_caught():
    """The control."""
    assert re.search(r"(?<!\\)[|<>`\[\]#*_&]", EVIL)
