"""The document and the judge together: the shipped profile over a hundred good days, and what leaving facts out can do."""

import json
import random

import pytest

from factlogs import DAY, HOUR, MONDAY, ORIGIN, US, Paper
from limen.assurance import profile
from limen.assurance.contract.parse import parsed
from limen.assurance.facts.book import Facts
from limen.assurance.facts.running import Covered, Filed, Running
from limen.verify.verdict import evaluate

DAYS = 100
AS_OF = "2026-04-15T00:00:00Z"
V = {"vendor": "quillwork"}


class Kept:
    """A vendor that sends a complete bill of material every day, beside a lab that reads a feed every day."""

    def running(self, vendor, as_of_us, *, upto):
        days = range(-1, DAYS)
        filed = tuple(Filed(1, MONDAY + day * DAY, MONDAY + day * DAY + HOUR) for day in days)
        return Running(
            filed, (Covered(MONDAY - DAY, as_of_us + DAY, complete=True, why=""),), (), tuple(f.received_us for f in filed)
        )


def good_days():
    """Everybody by name, with a key, for an hour; no long-lived keys; a drill; one leaver; one audit; witnesses."""
    paper = Paper()
    paper.add("vendor.add", MONDAY, **V, name="Quillwork")
    paper.add("asset.add", MONDAY, asset="a", project="orchid", tier="restricted")
    paper.add("asset.version", MONDAY, asset="a", number=1, length=1_000_000)
    for person in ("p-1", "p-2"):
        paper.add("person.add", MONDAY, **V, person=person, roles=[])
    for day in range(DAYS):
        at = MONDAY + day * DAY + 8 * HOUR
        who = {**V, "session": f"s{day}", "who": "o-1", "project": "orchid"}
        paper.add("session.start", at, **who, until=at // US + 3600, strength="hardware")
        read = {"action": "read", "asset": "a", "version": 1, "shard": "0", "status": 206, "span": [day * 100, day * 100 + 100]}
        of = paper.add("access.intent", at + US, **who, **read)
        paper.add("access.outcome", at + 2 * US, of=of, session=f"s{day}", end="complete", sent=100)
        paper.add("log.witnessed", at + HOUR, size=1, since_us=DAY, ago_us=US, gap_us=60 * US)
        if day % 30 == 0:
            paper.add("static.list", at + 2 * HOUR, **V, count=0)
        if day == 50:
            order = paper.add(
                "pause.order", at + 3 * HOUR, subject="vendor/quillwork", since=at // US + 3 * 3600, essential=[], drill=True
            )
            measured = {"subject": "vendor/quillwork", "order": order, "last_byte_us": 9_000, "clock": "operator"}
            paper.add("pause.measured", at + 3 * HOUR + US, **measured)
            paper.add("audit.result", at + 4 * HOUR, **V, of=1, draw=2, drawn=25, passed=25, failed=[])
            paper.add("notice.add", at + 5 * HOUR, **V, notice="leaver", person="p-1", left_us=at + 4 * HOUR, digest="")
            paper.add("person.end", at + 6 * HOUR, person="p-1")
    return paper


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    facts = Facts(tmp_path_factory.mktemp("judged"), good_days(), Kept(), origin=ORIGIN)
    document = facts.document("quillwork", MONDAY + DAYS * DAY)
    facts.close()
    text = profile.contract({"vendor": "quillwork", "starts": "2026-01-05", "ends": "2027-01-05"})
    return parsed(text.encode(), "profile"), document


def met(contract, document):
    assert document["as_of"] == AS_OF
    return {row["ref"] for row in evaluate(contract, document, AS_OF, "renewal")["clauses"] if row["verdict"] == "met"}


def test_a_good_vendor_meets_what_the_profile_asks_as_far_as_it_was_told(judged):
    contract, document = judged
    rows = {row["ref"]: (row["verdict"], row["why"]) for row in evaluate(contract, document, AS_OF, "renewal")["clauses"]}
    assert {ref: said for ref, said in rows.items() if said[0] == "breached"} == {}
    assert {row["control"] for row in contract["clauses"] if row["ref"] in met(contract, document)} >= {
        f"LM-{n:02}" for n in range(1, 14)
    }


def test_leaving_facts_out_never_makes_a_clause_met(judged):
    contract, document = judged
    whole, draw = met(contract, document), random.Random(5)
    lost = set()
    for count in (1, 1, 1, 1, 2, 5, 40, 400):
        gone = set(draw.sample(range(len(document["facts"])), count))
        left = {**document, "facts": [fact for n, fact in enumerate(document["facts"]) if n not in gone]}
        now = met(contract, left)
        assert now <= whole
        lost |= whole - now
    assert lost  # something was lost every so often, or nothing would have been tested


def test_a_breach_that_is_cut_out_and_counted_anew_is_still_not_met(judged):
    """Whoever drops a bad day and mends `seq` and the census leaves a day without a fact."""
    contract, document = judged
    bad = json.loads(json.dumps(document))
    fact = next(one for one in bad["facts"] if one["measure"] == "named_share" and one["from"] == "2026-04-01T00:00:00Z")
    fact["samples"][0]["value"] = [1, 2]
    assert "LM-01.1" not in met(contract, bad)
    bad["facts"].remove(fact)
    for seq, one in enumerate(one for one in bad["facts"] if one["measure"] == "named_share"):
        one["seq"] = seq
    bad["census"]["named_share"] -= 1
    assert "LM-01.1" not in met(contract, bad)
