"""What limen does by itself about a malicious component, and what waits for whom. Each refusal has its control beside it."""

from __future__ import annotations

from typing import Any

import pytest

from limen.assurance.match.act import Act, Consequence, Day, Limits, Policy, Proposal, Strike, propose, undone
from limen.formats.purl import Package

LITELLM = Package("PyPI", "litellm")
LIMITS = Limits(vendors=3, people=40, findings=20)


def strike(vendor: str = "quillwork", id_: str = "MAL-1", *, version: str = "1.82.8", trusted: bool = True) -> Strike:
    return Strike(vendor, LITELLM, version, 10, id_, 20, "restrict" if trusted else "")


def proposed(*strikes: Strike, day: Day | None = None, policy: Policy | None = None, **more: Any) -> list[Proposal]:
    return propose(
        strikes,
        group_of=more.get("group_of", lambda id_: id_),
        policy_of=lambda _: policy or Policy(),
        people_of=lambda _: 12,
        limits=more.get("limits", LIMITS),
        day=day or Day(set()),
    )


def test_what_a_trusted_source_names_is_restricted_by_itself():
    [proposal] = proposed(strike())

    assert (proposal.needs, proposal.why) == (0, ())
    assert proposal.vendors == (Consequence("quillwork", Act.RESTRICT, 12, read_only=True),)


def test_what_nobody_trusted_says_waits_for_one_person_and_says_so():
    [proposal] = proposed(strike(trusted=False))

    assert proposal.needs == 1
    assert proposal.why == ("no signed source that limen.toml allows to restrict says so: somebody has to approve it",)


def test_a_vendor_that_is_only_to_be_notified_needs_nobody_whoever_says_so():
    [proposal] = proposed(strike(trusted=False), policy=Policy(Act.NOTIFY))

    assert (proposal.needs, proposal.touches) == (0, ())


def test_a_policy_of_projects_is_what_is_proposed():
    [proposal] = proposed(strike(), policy=Policy(Act.RESTRICT, read_only=False, projects=("helio",)))

    assert proposal.vendors == (Consequence("quillwork", Act.RESTRICT, 12, projects=("helio",)),)


def test_a_source_that_may_only_restrict_does_not_pause_and_that_is_said():
    [held] = proposed(strike(), policy=Policy(Act.PAUSE))
    [paused] = proposed(strike()._replace(may="pause"), policy=Policy(Act.PAUSE))

    assert held.vendors == (Consequence("quillwork", Act.RESTRICT, 12, read_only=True),)
    assert held.why == ("quillwork is only restricted: its policy says pause, and no source that says so may pause by itself",)
    assert (held.needs, paused.needs) == (0, 0)
    assert paused.vendors[0].act is Act.PAUSE


def test_people_who_approve_may_pause_whoever_said_so():
    [proposal] = proposed(strike(trusted=False), policy=Policy(Act.PAUSE))

    assert (proposal.needs, proposal.vendors[0].act) == (1, Act.PAUSE)


def test_a_source_that_may_only_notify_is_trusted_with_no_more():
    assert proposed(strike()._replace(may="notify"))[0].needs == 1


def test_more_vendors_than_the_cap_wait_for_two_people():
    [proposal] = proposed(*(strike(f"vendor-{n}") for n in range(4)))

    assert proposal.needs == 2
    assert proposal.why[0] == "it would bring the vendors touched today to 4, more than 3: two people have to approve it"


def test_as_many_vendors_as_the_cap_do_not_wait():
    assert proposed(*(strike(f"vendor-{n}") for n in range(3)))[0].needs == 0


def test_the_cap_is_the_days_not_the_advisorys():
    one, other = proposed(strike("a", "MAL-1"), strike("b", "MAL-1"), strike("c", "MAL-2"), strike("d", "MAL-2"))

    assert (one.needs, other.needs) == (0, 2)


def test_a_vendor_that_was_touched_today_is_not_counted_again():
    day = Day({"quillwork", "b", "c"}, people=36)

    assert proposed(strike(), day=day)[0].needs == 0
    assert proposed(strike("d"), day=day)[0].needs == 2


def test_more_people_than_the_cap_wait_for_two_people():
    [proposal] = proposed(*(strike(f"vendor-{n}") for n in range(2)), limits=Limits(3, 23, 20))

    assert proposal.needs == 2
    assert "the people touched today to 24, more than 23" in proposal.why[0]


@pytest.mark.parametrize("trusted", [True, False])
def test_a_flood_is_one_proposal_that_waits_for_two_people(trusted):
    [flood] = proposed(*(strike("quillwork", f"MAL-{n}", trusted=trusted) for n in range(10_000)))

    assert (flood.needs, flood.flood, len(flood.ids)) == (2, True, 10_000)
    assert flood.why[0].startswith("a flood: with these 10000 findings there would be more than 20 today")


def test_a_flood_of_what_nobody_trusts_does_not_hold_up_what_a_trusted_source_says():
    forged = [strike("quillwork", f"MAL-{n}", trusted=False) for n in range(10_000)]

    real, flood = proposed(*forged, strike("tessel", "MAL-REAL"))

    assert (real.ids, real.needs) == (("MAL-REAL",), 0)
    assert flood.needs == 2


def test_a_flood_one_by_one_is_a_flood():
    day = Day(set())
    needs = [proposed(strike(version=f"1.{n}", id_=f"MAL-{n}"), day=day)[0].needs for n in range(22)]

    assert needs == [0] * 20 + [2, 2]


def test_those_checks_fail_without_limits():
    without = Limits(10**9, 10**9, 10**9)

    assert {p.needs for p in proposed(*(strike(f"v{n}", f"MAL-{n}") for n in range(100)), limits=without)} == {0}


# --- what was done before


def done(id_: str, *, trusted: bool) -> dict[tuple[str, Package, str], list[tuple[frozenset[str], bool]]]:
    return {("quillwork", LITELLM, "1.82.8"): [(frozenset({id_}), trusted)]}


def aliases(id_: str) -> frozenset[str]:
    return frozenset({"MAL-1", "PYSEC-2", "GHSA-3"}) if id_ in {"MAL-1", "PYSEC-2", "GHSA-3"} else frozenset({id_})


def test_one_finding_of_three_ids_is_acted_upon_once():
    assert undone([strike(id_="PYSEC-2"), strike(id_="GHSA-3")], done("MAL-1", trusted=True), aliases_of=aliases) == []


def test_another_version_or_vendor_or_advisory_is_news():
    news = [strike(version="1.82.7"), strike("brightfold"), strike(id_="MAL-9")]

    assert undone(news, done("MAL-1", trusted=True), aliases_of=aliases) == news


def test_what_a_trusted_source_says_is_news_where_only_others_had_said_so():
    assert undone([strike()], done("MAL-1", trusted=False), aliases_of=aliases) == [strike()]
    assert undone([strike(trusted=False)], done("MAL-1", trusted=True), aliases_of=aliases) == []


def test_a_forged_alias_does_not_hide_what_strikes_another_component():
    """Merged with a finding that was acted upon, a new record is news all the same where it names something else."""
    merged = lambda _: frozenset({"MAL-1", "MAL-NEW"})  # noqa: E731

    assert undone([strike(id_="MAL-NEW", version="2.0")], done("MAL-1", trusted=True), aliases_of=merged) != []
