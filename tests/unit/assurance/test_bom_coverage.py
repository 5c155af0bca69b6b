from datetime import UTC, datetime

import pytest

import boms
from limen.assurance.bom.values import DAY_US
from limen.core.errors import NotFound, TamperDetected
from limen.formats.purl import Package

DAY = DAY_US
UNREADABLE = b'{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [{"name": 1}]}'


def on(day):
    return datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def stretches(asked, **when):
    return [(c.start_us // DAY, c.end_us // DAY, c.complete, c.bom) for c in asked.coverage("v", **when)]


def test_a_bom_speaks_until_the_next_or_until_it_is_too_old(tmp_path):
    log = boms.Log()
    for day in (10, 12, 30):
        log.file("v", boms.bom([boms.component("a")], on(day)), at=day * DAY)
    asked = log.boms(tmp_path)
    assert stretches(asked) == [(10, 12, True, 0), (12, 19, True, 1), (30, 37, True, 2)]
    assert stretches(asked, as_of_us=11 * DAY) == [(10, 17, True, 0)]
    assert stretches(asked, max_age_us=DAY) == [(10, 11, True, 0), (12, 13, True, 1), (30, 31, True, 2)]
    assert len(asked.presences("v")) == 1
    assert asked.coverage("nobody") == []


def test_of_two_boms_for_the_same_time_the_later_received_speaks(tmp_path):
    log = boms.Log()
    log.file("v", boms.bom([boms.component("a")], on(10)), at=10 * DAY)
    log.file("v", boms.bom([boms.component("b")], on(10), version=2), at=11 * DAY)
    asked = log.boms(tmp_path)
    assert stretches(asked) == [(10, 17, True, 1)]
    assert [p.name for p in asked.presences("v")] == ["b"]
    assert [p.name for p in asked.presences("v", 10 * DAY)] == ["a"]


def test_an_incomplete_bom_says_so_of_its_time_and_why(tmp_path):
    log = boms.Log()
    log.file("v", boms.bom([], on(10), compositions=[{"aggregate": "incomplete", "assemblies": ["platform"]}]), at=10 * DAY)
    (covered,) = log.boms(tmp_path).coverage("v")
    assert not covered.complete
    assert "incomplete" in covered.why


def test_a_bom_in_quarantine_counts_for_nothing_and_leaves_the_one_before_it_incomplete(tmp_path):
    log = boms.Log()
    log.file("v", boms.bom([boms.component("a")], on(10)), at=10 * DAY)
    log.file("v", UNREADABLE, at=12 * DAY)
    log.file("v", boms.bom([boms.component("a")], on(14)), at=14 * DAY)
    asked = log.boms(tmp_path)
    assert stretches(asked) == [(10, 12, True, 0), (12, 14, False, 0), (14, 21, True, 2)]
    assert "entry 1" in asked.coverage("v")[1].why
    assert "required property" in asked.revisions("v")[1].quarantined
    assert [(p.start_us // DAY, p.end_us) for p in asked.presences("v")] == [(10, None)]


def test_nothing_but_a_bom_in_quarantine_is_no_coverage(tmp_path):
    log = boms.Log()
    log.file("v", UNREADABLE, at=12 * DAY)
    asked = log.boms(tmp_path)
    assert asked.coverage("v") == []
    assert asked.standing("v", 13 * DAY).state == "none"


def test_a_timestamp_ahead_of_its_receipt_counts_from_the_receipt_and_none_counts_from_it_too(tmp_path):
    log = boms.Log()
    log.file("v", boms.bom([], on(40)), at=10 * DAY)
    log.file("w", boms.bom([], None), at=10 * DAY)
    log.file("x", boms.bom([], on(9)), at=10 * DAY, effective_us=8 * DAY)
    assert [bom.effective_us // DAY for bom in log.boms(tmp_path).revisions()] == [10, 10, 8]


def test_a_vendors_standing_is_none_good_stale_or_incomplete(tmp_path):
    log = boms.Log()
    log.file("v", boms.bom([], on(10)), at=10 * DAY)
    log.file("w", boms.bom([], on(10), compositions=[]), at=10 * DAY)
    asked = log.boms(tmp_path)
    states = [asked.standing(*of).state for of in (("v", 9 * DAY), ("v", 11 * DAY), ("v", 17 * DAY), ("w", 11 * DAY))]
    assert states == ["none", "good", "stale", "incomplete"]


def test_bytes_that_are_missing_or_changed_put_a_bom_into_quarantine_and_stop_nothing(tmp_path):
    log = boms.Log()
    for vendor in ("v", "w", "x"):
        log.file(vendor, boms.bom([boms.component(vendor)], on(10)), at=10 * DAY)
    digests = [bom.digest for bom in log.boms(tmp_path).revisions()]
    del log.blobs[digests[0]]
    log.blobs[digests[1]] = b"{}"
    (tmp_path / "again").mkdir()
    asked = log.boms(tmp_path / "again")
    assert ["missing" in b.quarantined for b in asked.revisions()] == [True, False, False]
    assert "not those that were filed" in asked.revisions()[1].quarantined
    assert [p.vendor for p in asked.presences()] == ["x"]
    with pytest.raises(TamperDetected):
        asked.raw(1)
    with pytest.raises(NotFound):
        asked.raw(7)


def test_a_component_that_stays_has_one_row_and_one_component_for_all_vendors(tmp_path):
    log = boms.Log()
    for day in range(10, 20):
        for vendor in ("v", "w"):
            log.file(vendor, boms.bom([boms.component("a"), boms.component(f"b{day}")], on(day), version=day), at=day * DAY)
    asked = log.boms(tmp_path)
    with asked.reading() as connection:
        count = {t: connection.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("component", "package")}
        rows = connection.execute("SELECT count(*) FROM presence WHERE superseded_us IS NULL").fetchone()[0]
    assert count == {"component": 11, "package": 11}
    assert rows == 2 * 11
    (staying,) = asked.presences("v", package=Package("PyPI", "a"))
    assert (staying.start_us, staying.end_us, staying.bom) == (10 * DAY, None, 0)


CLASSES = {"classes": ["training", "core"], "assets": {"orchid-sft-v3": "training"}}


def service(name, provider, *flows):
    return {
        "name": name,
        "provider": {"name": provider},
        "data": [dict(zip(("flow", "classification", "name"), f, strict=False)) for f in flows],
    }


def test_data_that_goes_to_a_service_is_bound_to_our_asset_classes_or_said_not_to_be(tmp_path):
    log = boms.Log()
    flows = [("outbound", "Training"), ("outbound", "PII"), ("inbound", "secret", "orchid-sft-v3"), ("outbound", "odd")]
    log.file(
        "v",
        boms.bom([], on(10), services=[service("s", "Acme", *flows)]),
        at=10 * DAY,
        classes=[["pii", "training"], ["pii", "gone"]],
    )
    (found,) = log.boms(tmp_path).services("v", **CLASSES)
    assert [(flow.classes, flow.bound) for flow in found.flows] == [(("training",), True)] * 3 + [((), False)]


def undisclosed(asked, entry=None):
    return {s.provider: s.why for s in asked.services("v", **CLASSES, entry=entry) if s.undisclosed}


def test_a_provider_that_no_earlier_bom_names_is_shown(tmp_path):
    log = boms.Log()
    for day, providers in ((10, ["Acme", "V"]), (11, ["Acme", "Borg"]), (12, ["acme", "borg", ""])):
        services = [service(f"s{i}", provider) for i, provider in enumerate(providers)]
        log.file("v", boms.bom([], on(day), services=services, version=day), at=day * DAY)
    asked = log.boms(tmp_path)
    assert undisclosed(asked, 0) == {}
    assert "no earlier BOM" in undisclosed(asked, 1)["Borg"]
    assert "does not say who" in undisclosed(asked)[""]
    assert set(undisclosed(asked)) == {""}


def test_a_provider_that_was_not_declared_is_shown_each_time(tmp_path):
    log = boms.Log()
    for day in (10, 11):
        services = [service("s", "Acme"), service("t", "Borg")]
        log.file("v", boms.bom([], on(day), services=services, version=day), at=day * DAY, declared=["ACME"])
    asked = log.boms(tmp_path)
    assert set(undisclosed(asked, 0)) == set(undisclosed(asked, 1)) == {"Borg"}
    assert "not among" in undisclosed(asked)["Borg"]
