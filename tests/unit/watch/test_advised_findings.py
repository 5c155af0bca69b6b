"""What a matched advisory is as findings, from its entry alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from limen.core.events import encode
from limen.core.types import Grade
from limen.watch import rules as r
from limen.watch.fold import Fold

if TYPE_CHECKING:
    from limen.watch.finding import Finding

AT = 1_774_350_920_000_000


def action(vendors: list[str], **more: Any) -> dict[str, Any]:
    told = {
        "ids": ["MAL-2026-2144"],
        "ids_count": 1,
        "vendors": [{"vendor": v, "act": "restrict", "people": 12, "read_only": True, "projects": []} for v in vendors],
        "vendors_count": len(vendors),
        "feeds": [20],
        "boms": [10],
        "needs": 0,
        "trusted": True,
        "flood": False,
        "why": [],
        "digest": "ab" * 32,
        "length": 1,
        "by": "limen",
    }
    return told | more


def found(told: dict[str, Any], **rules: Any) -> list[Finding]:
    fold = Fold(r.Rules(**rules))
    fold.state.upto = 30
    return fold.add(30, encode("advisory.action", AT, bytes(16), told))


def test_each_vendor_is_a_finding_that_names_the_advisory_the_feed_and_the_bom():
    one, other = found(action(["brightfold", "quillwork"]))

    assert (one.rule, one.severity, one.grade) == (r.MALICIOUS, r.Severity.HIGH, Grade.DECLARED)
    assert one.subject == {"vendor": "brightfold", "advisory": "MAL-2026-2144"}
    assert one.entries == (10, 20, 30)
    assert other.subject["vendor"] == "quillwork"
    assert one.uid("log") != other.uid("log")


def test_what_waits_for_people_is_a_finding_besides():
    assert [each.rule for each in found(action(["quillwork"], needs=2))] == [r.MALICIOUS, r.WAITS]


@pytest.mark.parametrize("many", [{"flood": True}, {"vendors_count": 100}])
def test_a_flood_is_one_finding_however_many_it_is_about(many):
    findings = found(action(["quillwork", "tessel"], ids_count=10_000, needs=2, **many))

    assert [each.rule for each in findings] == [r.MALICIOUS, r.WAITS]
    assert findings[0].figures["advisories"] == 10_000


def test_a_muted_rule_finds_nothing():
    assert found(action(["quillwork"]), mute=(r.MALICIOUS,)) == []


def test_the_same_entry_gives_the_same_bytes():
    one, other = found(action(["quillwork"]))[0], found(action(["quillwork"]))[0]

    assert one.to_bytes("log", "x") == other.to_bytes("log", "x")
