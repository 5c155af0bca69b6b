"""The observed part says why it is empty, and what it can't read."""

from __future__ import annotations

import pytest

from depots import lay_down, row
from limen.core.errors import Invalid
from limen.observe import depot as depots
from limen.observe.depot import Depot
from limen.observe.manifest import Covered
from limen.observe.rows import DAY_US, US
from limen.observe.who import Who
from limen.response import observed

T0 = 1_775_001_600 * US
READ = [row(T0 + 7, "github:q1", "s3://b/sft/1")]
WHO = Who.read(b'[[who]]\nprincipal = "github:q1"\nvendor = "quillwork"\n[[place]]\nresource = "s3://other/*"\nasset = "x"\n')


def look(subject, since_us=None, until_us=None):
    return observed.Look(subject, since_us, until_us, T0 + DAY_US, lambda _: "orchid")


def test_without_imports_it_is_empty_and_says_so(tmp_path):
    part = observed.report(Depot.open(tmp_path), WHO, look("vendor/quillwork"))

    assert (part["rows"], part["unknown_principals"], part["observations"]) == ([], [], 0)
    assert "was imported" in part["unknown"][0]


def test_without_duckdb_the_rest_of_a_report_stands_and_this_says_what_is_missing(tmp_path, monkeypatch):
    def missing(**_):
        raise Invalid("observations", "need DuckDB; install the extra")

    depot = lay_down(tmp_path, READ, skews={"trail": 0})
    monkeypatch.setattr(depots, "connect", missing)
    part = observed.report(depot, WHO, look("vendor/quillwork"))

    assert part["rows"] == []
    assert "install the extra" in part["unknown"][0]
    assert part["sources"]


def test_a_session_of_limen_is_in_no_other_log_and_a_wrong_subject_is_refused(tmp_path):
    depot = lay_down(tmp_path, READ, skews={"trail": 0})

    assert "stands in no other system's log" in observed.report(depot, WHO, look("session/s-1"))["unknown"][0]
    with pytest.raises(Invalid):
        observed.report(depot, WHO, look("team/x"))


def test_what_is_put_down_to_a_vendor_may_have_been_any_of_its_people(tmp_path):
    depot = lay_down(tmp_path, READ, skews={"trail": 0})

    [line] = observed.report(depot, WHO, look("person/quillwork/q1"))["rows"]
    assert (line["who"], line["people"], line["vendors"]) == ("vendor", [], ["quillwork"])
    assert observed.report(depot, WHO, look("person/tessel/t1"))["rows"] == []


def test_a_window_names_what_is_not_covered_in_it_and_places_that_no_log_knows(tmp_path):
    covered = (Covered("s3://b", "told", ((T0, T0 + 100 * US),)),)
    depot = lay_down(tmp_path, READ, skews={"trail": 10}, covered=covered)
    part = observed.report(depot, WHO, look("vendor/quillwork", T0 + 50 * US, T0 + 200 * US))

    [source] = part["sources"]
    assert source["window"] == [T0 + 40 * US, T0 + 210 * US]
    assert source["scopes"] == [
        {"scope": "s3://b", "covered": [[T0 + 40 * US, T0 + 100 * US]], "uncovered": [[T0 + 100 * US, T0 + 210 * US]]}
    ]
    assert any("no import covers s3://other/*" in line for line in part["unknown"])
