"""Other systems' logs, judged when they are imported: what is planted is found, once, with its delay and without a name."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from limen.config import load
from limen.core.types import Grade
from limen.observe.depot import Depot
from limen.server import Gateway
from limen.verbs import VERBS
from limen.watch import rules as r
from limen.watch.book import Book
from limen.watch.keeper import Keeper
from limen.watch.observed import Observed
from limen.watch.target import Target

MONDAY = 1_767_571_200
DAY_S = 86_400
MAPPING = """
name = "hub"
time = "at"
id = "id"
principal = "{who}"
resource = "{what}"
bytes = "sent"
network = "net"
[actions]
field = "did"
names = { read = "read", head = "head", list = "list", clone = "clone" }
[outcome]
field = "code"
"""
PEOPLE = [f"person-{n}" for n in range(6)]
DAYS = 21


class Lines:
    """A log of another system, line by line."""

    def __init__(self):
        self.lines = []

    def add(self, who, *, day, hour=10, minute=0, did="read", what="orchid/a", sent=1000, net="192.0.2.5", code="200"):
        at = datetime.fromtimestamp(MONDAY + day * DAY_S + hour * 3600 + minute * 60, UTC)
        line = {"who": who, "did": did, "what": what, "sent": sent, "net": net, "code": code}
        self.lines.append({"at": at.isoformat(), "id": f"{len(self.lines)}-{day}-{who}", **line})

    def ordinary(self):
        draw = random.Random(5)
        for day in (d for d in range(DAYS) if d % 7 < 5):
            for who in PEOPLE:
                for hour in (9, 11, 15):
                    self.add(who, day=day, hour=hour, minute=draw.randrange(60), sent=draw.randrange(100_000, 300_000))
                self.add(who, day=day, did="clone", what=f"lab/{who}", sent=0)
        return self

    def raw(self):
        return b"".join(json.dumps(line).encode() + b"\n" for line in self.lines)


PLANTED_ON = 17  # a Thursday


def planted():
    lines = Lines()
    lines.add("person-0", day=PLANTED_ON, sent=60 << 20)
    for n in range(4):
        lines.add("person-1", day=PLANTED_ON, did="clone", what=f"lab/secret-{n}")
    for n in range(150):
        lines.add("person-2", day=PLANTED_ON, what=f"orchid/guess-{n}", code="404", minute=n % 60)
    lines.add("person-3", day=PLANTED_ON, what="orchid/closed", code="403")
    lines.add("person-3", day=PLANTED_ON, what="orchid/closed", minute=30)
    lines.add("person-4", day=PLANTED_ON, net="198.51.100.9")
    lines.add("person-5", day=PLANTED_ON, hour=2)
    return lines


EXPECTED = {
    ("person-0", r.BULK),
    ("person-1", r.CLONE),
    ("person-2", r.ENUMERATION),
    ("person-3", r.DENIED),
    ("person-4", r.NETWORK),
    ("person-5", r.HOURS),
}


@pytest.fixture(scope="module")
def imported(tmp_path_factory):
    """Two imports: three weeks of ordinary work, and a day's events that were planted."""
    from click.testing import CliRunner  # noqa: PLC0415  only here

    from limen.cli import limen  # noqa: PLC0415

    root = tmp_path_factory.mktemp("observed")
    (root / "map.toml").write_text(MAPPING)
    runner = CliRunner()
    assert runner.invoke(limen, ["init", str(root / "data"), "--dev"]).exit_code == 0
    entries = []
    for name, lines in (("ordinary", Lines().ordinary()), ("planted", planted())):
        (root / f"{name}.jsonl").write_bytes(lines.raw())
        words = ["observe", "import", "generic", str(root / f"{name}.jsonl"), "--source", "hub", "--map", str(root / "map.toml")]
        done = runner.invoke(limen, [*words, "--data", str(root / "data"), "--json"])
        assert done.exit_code == 0, done.output
        entries.append(json.loads(done.stdout)["entry"])
    return Depot.open(root / "data" / "observed"), entries


def observed(imported, **rules):
    return Observed(imported[0], b"k" * 32, r.Rules(bulk_factor=4, **rules))


def judged(imported, **rules):
    watch = observed(imported, **rules)
    at_us = (MONDAY + (PLANTED_ON + 2) * DAY_S) * 1_000_000
    return watch, [watch.judge(entry, at_us) for entry in imported[1]]


def named(watch, findings):
    return {(watch.actor(f.subject["who"])["principal"].removeprefix("hub:"), f.rule) for f in findings}


def test_ordinary_work_raises_nothing_and_what_is_planted_is_found_by_its_rule(imported):
    watch, (ordinary, later) = judged(imported)
    assert ordinary == []
    assert named(watch, later) == EXPECTED


def test_findings_say_their_grade_and_delay_and_name_nobody(imported):
    _, (_, later) = judged(imported)
    for finding in later:
        assert finding.grade is Grade.OBSERVED
        assert finding.entries == (imported[1][1],)
        assert DAY_S < finding.figures["delay_s"] <= 2 * DAY_S
        assert finding.subject["day"] == "2026-01-22"
        assert b"person-" not in finding.to_bytes("lab", "r")
    other = Observed(imported[0], b"x" * 32, r.Rules())
    assert all(other.actor(f.subject["who"]) == {} for f in later), "without the key nobody is found"


def test_the_same_imports_give_the_same_bytes(imported):
    _, (_, first) = judged(imported)
    _, (_, second) = judged(imported)
    assert [f.to_bytes("lab", "r") for f in first] == [f.to_bytes("lab", "r") for f in second]


@pytest.mark.parametrize(("who", "rule"), sorted(EXPECTED))
def test_control_without_a_rule_its_event_is_missed(imported, who, rule):
    watch, (_, later) = judged(imported, mute=(rule,))
    assert (who, rule) not in named(watch, later)


def test_a_gateway_judges_an_import_once_finds_it_again_and_says_when_it_is_gone(imported):
    data = imported[0].root.parent

    async def run():
        gateway = await Gateway.open(load(data))
        try:
            watch = gateway.watch
            for _ in range(2):
                with Book(watch.path) as book:
                    watch.catch_up(book)
                    watch.judge_imports(book)
            kept = watch.findings()
            assert {found.rule for found in kept} == {rule for _, rule in EXPECTED}
            assert len(kept) == len(EXPECTED)
            replayed, _ = watch.replay()
            assert (replayed.same, replayed.agrees) == (len(EXPECTED), True)
            shown = await VERBS["findings.show"](gateway, {"finding": kept[0].uid}, "test")
            assert shown["actor"]["principal"].startswith("hub:person-")
            assert "actor" not in shown["event"]["unmapped"]
            away = imported[0].root.rename(data / "away")
            replayed, _ = watch.replay()
            away.rename(data / "observed")
            assert (sorted(replayed.cannot_say), replayed.agrees) == (sorted(found.uid for found in kept), True)
        finally:
            await gateway.close()

    asyncio.run(run())


def test_what_happened_long_before_its_import_is_kept_and_not_sent(imported):
    _, (_, later) = judged(imported)
    told = []
    for days in (1, 7):
        late = [replace(f, figures={**f.figures, "delay_s": days * DAY_S + 1}) for f in later]
        target = Target(name="kept", kind="file", path="x", least="low")
        keeper = Keeper("lab", r.Rules(), (target,), lambda: 0, lambda: None)
        with Book(imported[0].root.parent / f"{days}.db") as book:
            keeper.keep(book, late, {}, history=0)
            told.append(sum(row["waiting"] for row in book.waiting()))
    assert told == [len(later), 0]
