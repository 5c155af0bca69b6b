"""One vendor's answer: the story's table at every point in time, the near misses, and what makes a *no* a *cannot say*."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from limen.assurance.advisories.values import Stated, Window
from limen.assurance.bom.values import DAY_US, Coverage, Presence
from limen.assurance.match import judge as judging
from limen.assurance.match.judge import judge
from limen.assurance.match.values import Question, Record, Verdict
from limen.core.intervals import Intervals
from limen.formats.osv import Advisory
from limen.formats.purl import package_of
from limen.formats.vex import Statement

VECTORS = Path(__file__).parents[4] / "shared" / "vectors" / "osv"


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1_000_000)


POISONED, RAN, ADVISED, GONE = (us(f"2026-03-24T{t}Z") for t in ("10:39:00", "11:02:00", "11:15:14", "16:00:00"))
NOW = us("2026-03-26T12:00:00Z")
LITELLM = {"ecosystem": "PyPI", "name": "litellm"}


def advisory(**more: Any) -> Advisory:
    record = {
        "schema_version": "1.7.4",
        "id": "MAL-2026-2144",
        "published": "2026-03-24T11:15:14Z",
        "modified": "2026-03-24T11:15:14Z",
        "affected": [{"package": LITELLM, "versions": ["1.82.7", "1.82.8"]}],
    }
    return Advisory.read(json.dumps(record | more).encode())


def record(*, entry: int = 20, **more: Any) -> Record:
    return Record(entry, ADVISED, advisory(**more))


def question(
    *records: Record, start: int = POISONED, end: int = GONE, now: int = NOW, windows: tuple[Window, ...] = ()
) -> Question:
    return Question(records or (record(),), start, min(end, now), now, "the widest window", windows)


def presence(version: str, *, name: str = "litellm", start: int = RAN, end: int | None = None, **more: Any) -> Presence:
    purl = f"pkg:pypi/{name}@{version}" if version else f"pkg:pypi/{name}"
    found = package_of(purl)
    assert found is not None
    return Presence("quillwork", found[0], version, purl, f"q11-host > {name}", start, end, 10, **more)


def image(tag: str, *, start: int, end: int | None = None, digests: tuple[str, ...] = ()) -> Presence:
    found = package_of(f"pkg:docker/berriai/litellm@{tag}?repository_url=ghcr.io")
    assert found is not None
    return Presence("quillwork", found[0], tag, "image", "cluster > gateway", start, end, 10, digests)


def covered(start: int = POISONED - DAY_US, end: int = NOW + DAY_US, **more: Any) -> Coverage:
    return Coverage("quillwork", start, end, **({"complete": True, "bom": 10} | more))


# --- yes, no, cannot say


def test_a_component_that_a_record_names_is_yes_since_when_by_which_bom_and_which_revision():
    answer = judge(question(), "quillwork", [presence("1.82.8")], coverage=[covered()])

    [hit] = answer.hits
    assert answer.verdict is Verdict.YES
    assert (hit.from_us, hit.until_us, hit.presence.path, hit.presence.bom) == (RAN, None, "q11-host > litellm", 10)
    assert [(r.advisory.id, r.entry) for r in hit.records] == [("MAL-2026-2144", 20)]
    assert "since 2026-03-24T11:02:00Z by the bill of material of entry 10, named by MAL-2026-2144 as of entry 20" in answer.why


@pytest.mark.parametrize("near", [presence("1.82.6"), presence("1.82.8", name="lite_llm")], ids=["older", "another-project"])
def test_what_no_record_names_is_no_where_a_complete_bom_covers_the_time(near):
    answer = judge(question(), "lexara", [near], coverage=[covered()])

    assert answer.verdict is Verdict.NO
    assert not answer.hits
    assert near.purl in answer.near[0]


def test_a_vendor_without_a_bom_is_cannot_say():
    answer = judge(question(), "oakline", [], coverage=[])

    assert answer.verdict is Verdict.CANNOT_SAY
    assert answer.why == "2026-03-24 not covered: no bill of material was received"
    assert [(u.start_us, u.end_us) for u in answer.uncovered] == [(POISONED, GONE)]


def test_a_bom_that_was_too_old_for_part_of_the_time_is_cannot_say_and_names_which():
    stale = covered(POISONED - 7 * DAY_US, POISONED + 3_600_000_000, bom=9)

    answer = judge(question(), "lexara", [presence("1.82.6")], coverage=[stale])

    assert answer.verdict is Verdict.CANNOT_SAY
    assert "the newest bill of material before it (entry 9)" in answer.why
    assert answer.uncovered[0].start_us == POISONED + 3_600_000_000


def test_time_before_the_first_bom_is_said_to_be_before_it():
    answer = judge(question(), "lexara", [], coverage=[covered(POISONED + 60_000_000)])

    assert answer.verdict is Verdict.CANNOT_SAY
    assert "no bill of material that was received speaks of that time" in answer.why


def test_an_incomplete_bom_can_not_say_no_and_says_why_it_is_incomplete():
    partly = covered(complete=False, why="compositions say: incomplete")

    answer = judge(question(), "lexara", [], coverage=[partly])

    assert answer.verdict is Verdict.CANNOT_SAY
    assert "the bill of material of entry 10 does not say all: compositions say: incomplete" in answer.why


def test_a_complete_bom_that_came_later_but_speaks_of_that_time_covers_it():
    partly, whole = covered(complete=False, why="half"), covered(POISONED, GONE, bom=30)

    assert judge(question(), "lexara", [], coverage=[partly, whole]).verdict is Verdict.NO


def test_those_checks_fail_if_incomplete_boms_counted_as_complete(monkeypatch):
    everything = lambda coverage: Intervals.of((c.start_us, c.end_us) for c in coverage)  # noqa: E731
    monkeypatch.setattr(judging, "_complete", everything)

    assert judge(question(), "lexara", [], coverage=[covered(complete=False)]).verdict is Verdict.NO


@pytest.mark.parametrize("text", ["nightly build (dirty)", ""], ids=["unparseable", "missing"])
def test_a_version_that_can_not_be_placed_is_cannot_say(text):
    ranged = record(affected=[{"package": LITELLM, "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "1.82.7"}]}]}])
    odd = dataclasses.replace(presence("1"), version=text)

    answer = judge(question(ranged), "tessel", [odd], coverage=[covered()])

    assert answer.verdict is Verdict.CANNOT_SAY
    assert "q11-host > litellm" in answer.why
    assert answer.doubts[0].presence is odd


def test_upgraded_away_after_ten_minutes_is_still_yes_from_when_to_when():
    ten_minutes = presence("1.82.8", end=RAN + 600_000_000)

    answer = judge(question(), "quillwork", [ten_minutes, presence("1.82.9", start=RAN + 600_000_000)], coverage=[covered()])

    assert answer.verdict is Verdict.YES
    assert (answer.hits[0].from_us, answer.hits[0].until_us) == (RAN, RAN + 600_000_000)


def test_a_component_outside_the_window_is_yes_all_the_same_and_the_dates_are_said_to_disagree():
    early = presence("1.82.8", start=POISONED - 60_000_000)
    pypi = Window(22, "MAL-2026-2144", "pypi", "pypi.org", POISONED, GONE, ecosystem="PyPI")

    answer = judge(question(windows=(pypi,)), "quillwork", [early], coverage=[covered()])

    assert answer.verdict is Verdict.YES
    assert answer.disagreements[0].about == "pkg:pypi/litellm@1.82.8 was there before it could be had"


def test_a_hit_of_which_no_bom_says_any_more_whether_it_is_there_is_seen_only_while_one_did():
    answer = judge(question(), "quillwork", [presence("1.82.8")], coverage=[covered(RAN, RAN + DAY_US)])

    assert answer.hits[0].until_us is None
    assert list(answer.hits[0].seen) == [(RAN, RAN + DAY_US)]


# --- not installed, or not said to be


@pytest.mark.parametrize(
    ("scope", "verdict"),
    [("optional", Verdict.NO), ("excluded", Verdict.CANNOT_SAY), ("external", Verdict.CANNOT_SAY), ("required", Verdict.YES)],
)
def test_in_a_lock_file_but_never_installed_is_no_by_the_vendors_word_and_other_scopes_are_not(scope, verdict):
    answer = judge(question(), "quillwork", [presence("1.82.8", scope=scope)], coverage=[covered()])

    assert answer.verdict is verdict
    if scope == "optional":
        assert "with scope optional: not installed, by the vendor's word" in answer.near[0]
        assert answer.why.endswith("list none of it but what was not installed, by the vendor's word")


def test_a_component_without_a_package_url_that_has_the_name_is_cannot_say():
    nameless = dataclasses.replace(presence("1.82.8"), package=None, purl="", name="LiteLLM")

    answer = judge(question(), "tessel", [nameless], coverage=[covered()])

    assert answer.verdict is Verdict.CANNOT_SAY
    assert "lists LiteLLM without a package URL" in answer.why
    assert judge(question(), "tessel", [dataclasses.replace(nameless, name="lit")], coverage=[covered()]).verdict is Verdict.NO


# --- revisions


def test_a_withdrawn_record_is_no_with_the_time_and_one_that_still_stands_beside_it_is_yes():
    gone = record(withdrawn="2026-03-27T00:00:00Z")
    ran = [presence("1.82.8")]

    answer = judge(question(gone), "quillwork", ran, coverage=[])

    assert (answer.verdict, answer.why) == (Verdict.NO, "withdrawn: MAL-2026-2144 at 2026-03-27T00:00:00Z (entry 20)")
    assert judge(question(gone, record(id="PYSEC-2026-2", entry=21)), "quillwork", ran, coverage=[]).verdict is Verdict.YES


def test_records_of_one_finding_that_disagree_are_both_named():
    first = record(affected=[{"package": LITELLM, "versions": ["1.82.8"]}])
    other = record(id="PYSEC-2026-2", entry=21, published="2026-03-24T00:00:00Z")

    answer = judge(question(first, other), "brightfold", [presence("1.82.7")], coverage=[covered()])

    assert answer.verdict is Verdict.YES
    assert [r.advisory.id for r in answer.hits[0].records] == ["PYSEC-2026-2"]
    assert [d.about for d in answer.disagreements] == ["when it was published", "whether 1.82.7 is affected"]
    assert answer.disagreements[1].says[1].endswith(": does not")


def test_sources_that_tell_different_windows_are_all_kept():
    windows = tuple(
        Window(n, "MAL-2026-2144", "pypi", source, POISONED, us(f"2026-03-24T{end}:00Z"), ecosystem="PyPI")
        for n, (source, end) in enumerate([("litellm", "11:19"), ("pypi", "13:11"), ("advice", "16:00")], 22)
    )

    answer = judge(question(windows=windows), "quillwork", [presence("1.82.8")], coverage=[covered()])

    [spread] = answer.disagreements
    assert spread.about == "when it could be had from pypi"
    assert [says.partition(":")[0] for says in spread.says] == ["litellm", "pypi", "advice"]


def test_what_the_vendor_says_of_itself_is_noted_and_clears_nothing():
    said = Statement(("MAL-2026-2144",), "not_affected", ("pkg:pypi/litellm@1.82.8",), "vulnerable_code_not_present")
    vex = Stated(31, "quillwork", NOW, said, newest=True)

    answer = judge(question(), "quillwork", [presence("1.82.8")], coverage=[covered()], stated=[vex])

    assert answer.verdict is Verdict.YES
    assert answer.malicious
    assert answer.stated == (vex,)


# --- images

BAD, GOOD = "sha256:" + "ba" * 32, "sha256:" + "90" * 32
REPOSITORY = {"ecosystem": "container", "name": "ghcr.io/berriai/litellm"}
IN_IMAGE = {"package": REPOSITORY, "versions": ["v1.82.8"], "ecosystem_specific": {"digests": [BAD]}}
FLOATS = Window(23, "MAL-1", "container", "ghcr.io", POISONED, GONE, "container", REPOSITORY["name"], "main-latest")


@pytest.mark.parametrize(
    ("ran", "verdict", "by"),
    [
        (image("main-latest", start=RAN, digests=(BAD,)), Verdict.YES, "digest"),
        (image("main-latest", start=RAN, digests=(GOOD,)), Verdict.NO, None),
        (image("v1.82.8", start=RAN), Verdict.YES, "version"),
        (image("main-latest", start=RAN), Verdict.YES, "tag"),
        (image("main-latest", start=POISONED - DAY_US), Verdict.CANNOT_SAY, None),
        (image("main-latest", start=POISONED - 2 * DAY_US, end=POISONED - DAY_US), Verdict.NO, None),
        (image("main-latest", start=GONE + DAY_US), Verdict.NO, None),
    ],
    ids=["bad digest", "good digest", "listed tag", "pulled in the window", "ran into the window", "before it", "after it"],
)
def test_an_image_matches_by_digest_by_tag_and_by_when_the_tag_named_it(ran, verdict, by):
    answer = judge(question(record(affected=[IN_IMAGE]), windows=(FLOATS,)), "quillwork", [ran], coverage=[covered()])

    assert answer.verdict is verdict
    assert [hit.by for hit in answer.hits] == ([by] if by else [])


def test_a_floating_tag_of_which_no_window_is_known_is_cannot_say():
    answer = judge(question(record(affected=[IN_IMAGE])), "quillwork", [image("main-latest", start=RAN)], coverage=[covered()])

    assert answer.verdict is Verdict.CANNOT_SAY
    assert "the tag 'main-latest' and no digest" in answer.why


# --- the record's own revisions

HERE = {
    "quillwork": [presence("1.82.8")],
    "brightfold": [presence("1.82.7")],
    "lexara": [presence("1.82.6")],
    "tessel": [],
    "oakline": [],
}


@pytest.mark.skipif(not VECTORS.exists(), reason="the record lies in ../shared/vectors")
@pytest.mark.parametrize(
    ("files", "brightfold"),
    [
        (["MAL-2026-2144.rev1"], Verdict.NO),
        (["MAL-2026-2144.rev2"], Verdict.YES),
        (["MAL-2026-2144", "PYSEC-2026-2"], Verdict.YES),
    ],
    ids=["revision 1", "revision 2", "merged"],
)
def test_each_revision_of_the_record_gives_each_vendor_its_answer(files, brightfold):
    records = tuple(
        Record(20 + n, ADVISED, Advisory.read((VECTORS / f"{name}.json").read_bytes())) for n, name in enumerate(files)
    )

    said = {
        vendor: judge(question(*records), vendor, ran, coverage=[] if vendor == "oakline" else [covered()]).verdict
        for vendor, ran in HERE.items()
    }

    assert said == {
        "quillwork": Verdict.YES,
        "brightfold": brightfold,
        "lexara": Verdict.NO,
        "tessel": Verdict.NO,
        "oakline": Verdict.CANNOT_SAY,
    }
