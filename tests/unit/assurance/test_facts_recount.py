"""Facts against an independent count of the raw entries, over random histories; nothing of the log's future is in them.

Each property has its negative control: the same check with one line of the reading broken must fail.
"""

import random
import shutil
from collections import defaultdict
from datetime import UTC, datetime

import pytest

import factlogs
from factlogs import DAY, HOUR, MONDAY, ORIGIN, VENDORS, Paper, Story
from limen import derived
from limen.assurance.facts import known
from limen.assurance.facts.book import Facts
from limen.assurance.facts.fold import FactsFold
from limen.core.events import canonical, decode

SEEDS = range(5)


def moments(paper, seed, count=3):
    """Times to ask about: entries' own, the microsecond before, minutes' and days' ends, and after everything."""
    draw = random.Random(seed)
    times = [decode(raw)["at"] for _, raw in paper.entries()]
    some = draw.sample(times[20:], count)
    edges = [t - t % DAY for t in draw.sample(times[60:], 2)] + [t - t % factlogs.MINUTE for t in draw.sample(times[20:], 2)]
    asked = {*some, *(t - 1 for t in some), *edges, times[-1] + 3 * HOUR}
    return sorted(at for at in asked if at >= times[24])  # both vendors were entered by then


def document(tmp_path, paper, vendor, as_of, name="d"):
    facts = Facts(tmp_path / name, paper, origin=ORIGIN)
    (tmp_path / name).mkdir(exist_ok=True, parents=True)
    try:
        return facts.document(vendor, as_of)
    finally:
        facts.close()


def by_day(doc, measure):
    """Day -> samples as told, of one measure."""
    facts = [fact for fact in doc["facts"] if fact["measure"] == measure]
    assert [fact["seq"] for fact in facts] == list(range(len(facts)))
    assert doc["census"][measure] == len(facts)
    return {fact["from"][:10]: [(s["value"], s["entries"]) for s in fact["samples"]] for fact in facts}


# --- the second way of counting: straight over the entries, with sets and bitmaps


def recount(paper, vendor, as_of):  # noqa: C901, PLR0912, PLR0915  one pass, written out on purpose
    def name(us):
        return datetime.fromtimestamp(us // 1_000_000, UTC).strftime("%Y-%m-%d")

    entries = [(i, e) for i, e in ((i, decode(raw)) for i, raw in paper.entries()) if e["at"] <= as_of]
    began = next(e["at"] for _, e in entries if e["kind"] == "vendor.add" and e["vendor"] == vendor)
    days = []
    at = began - began % DAY
    while at < as_of:
        days.append(name(at))
        at += DAY
    bad = set()
    before = None
    for _, e in entries:
        if e["kind"] == "epoch.begin" and e["previous"]["size"] > e["kept"]:
            at = before - before % DAY
            while at <= e["at"]:
                bad.add(name(at))
                at += DAY
        before = e["at"]
    opened = {e["session"]: e for _, e in entries if e["kind"] == "session.start"}
    outcomes = {e["of"]: (i, e) for i, e in entries if e["kind"] == "access.outcome"}
    share, refused, hardware = defaultdict(lambda: [0, 0]), defaultdict(list), defaultdict(dict)
    lengths, unknown, bits, most = defaultdict(list), defaultdict(list), {}, {}
    for i, e in entries:
        day = name(e["at"])
        if e.get("vendor") != vendor or e["kind"] not in {"access.intent", "access.refusal", "session.start"}:
            continue
        if e["kind"] == "session.start":
            lengths[day].append([e["until"] * 1_000_000 - e["at"], [i]])
            continue
        if e["kind"] == "access.refusal" and e["rule"] in {"other-project", "no-grant", "forbid-barrier"}:
            refused[day].append((1, [i]))
        if e["action"] == "session":
            continue
        share[day][1] += 1
        share[day][0] += e["session"] in opened and opened[e["session"]]["at"] <= e["at"]
        if e["kind"] == "access.refusal" or not ({"span", "run"} & e.keys()):
            continue
        out = outcomes.get(i)
        lost = out is not None and out[1]["end"] == "unknown"
        if lost or (out is None and e["at"] + HOUR <= as_of):
            unknown[day].append(i)
        if e["asset"] in "bcd":
            hardware[day].setdefault(e["session"], opened[e["session"]]["strength"] == "hardware")
    # What somebody holds: a bitmap per copy, filled at the time of each outcome; what is open counts whole, and once more.
    told = []
    for i, e in entries:
        if e["kind"] == "access.intent" and e.get("vendor") == vendor and ({"span", "run"} & e.keys()) and e["asset"] in "bcd":
            out = outcomes.get(i)
            parts = [(s, 0, n) for s, n in e["run"]] if "run" in e else [(e["shard"], *e["span"])]
            copy = (e.get("sponsor") or e["who"], e["asset"])
            if out is None:
                told.append((e["at"], i, copy, None, sum(b - a for _, a, b in parts)))
                continue
            o = out[1]
            if o["end"] != "unknown":
                if "handed" in o:
                    parts = [(parts[p][0], a, b) for p, a, b, *_ in o["handed"]]
                else:
                    parts = [(s, a, a + o["sent"]) for s, a, _ in parts]
            told.append((o["at"], out[0], copy, parts, 0))
    extra, best = defaultdict(int), (0, 1)
    for at, _, copy, parts, whole in sorted(told, key=lambda row: row[:2]):
        mine = bits.setdefault(copy, set())
        for shard, a, b in parts or []:
            mine |= {(shard, n) for n in range(a, b)}
        extra[copy] += whole
        best = max(best, (min(len(mine) + extra[copy], 4000), 1))
        most[name(at)] = best[0]
    held, current = {}, None
    for day in days:
        current = most.get(day, current)
        held[day] = current or None
    good = [day for day in days if day not in bad]
    return {
        "named_share": {d: [share[d]] if share[d][1] else [] for d in good},
        "refusals_out_of_project": {d: refused[d] for d in good},
        "hardware_share": {d: [[sum(hardware[d].values()), len(hardware[d])]] if hardware[d] else [] for d in good},
        "session_length_us": {d: [tuple(row) for row in lengths[d]] for d in good},
        "outcomes_unknown": {d: [len(unknown[d])] for d in good},
        "log_complete": {d: [d not in bad and not unknown[d]] for d in days},
        "tier1_held_share": {d: [[held[d], 4000]] if held[d] else [] for d in good},
    }


def values(rows):
    return {day: [value for value, _ in samples] for day, samples in rows.items()}


def agrees(tmp_path, paper, seed):
    """The measures whose facts differ from the recount, over all vendors and moments."""
    wrong = set()
    for as_of in moments(paper, seed):
        for vendor in VENDORS:
            doc = document(tmp_path, paper, vendor, as_of)
            expected = recount(paper, vendor, as_of)
            for measure in ("refusals_out_of_project", "session_length_us"):
                if by_day(doc, measure) != expected.pop(measure):
                    wrong.add(measure)
            for measure, days in expected.items():
                if values(by_day(doc, measure)) != days:
                    wrong.add(measure)
    return wrong


@pytest.mark.parametrize("seed", SEEDS)
def test_facts_equal_a_recount_of_the_raw_entries(tmp_path, seed):
    assert agrees(tmp_path, Story(seed).paper, seed) == set()


@pytest.mark.parametrize(
    ("broken", "instead", "measure"),
    [
        ("_PULSES", ("minute <", "minute <="), "named_share"),
        ("_REFUSALS", ("at_us <= :as_of", ":as_of"), "refusals_out_of_project"),
        ("_GROWN", ("g.at_us <= :as_of", ":as_of"), "tier1_held_share"),
        ("_FLIGHTS", ("(closed_us IS NULL OR closed_us > :as_of)", "closed_us IS NULL"), "tier1_held_share"),
        ("_UNSURE", ("told_us <= :as_of", ":as_of < 0"), "outcomes_unknown"),
        ("_TOUCHES", ("at_us <= :as_of", ":as_of"), "hardware_share"),
    ],
)
def test_the_recount_notices_one_broken_line(tmp_path, monkeypatch, broken, instead, measure):
    sql = getattr(known, broken)
    assert instead[0] in sql
    monkeypatch.setattr(known, broken, sql.replace(*instead))
    assert any(measure in agrees(tmp_path, Story(seed).paper, seed) for seed in SEEDS)


# --- nothing of the future, nothing lost with the file


def differing(tmp_path, paper, seed):
    """Whether a document differs from that of the same log cut off at its moment."""
    (tmp_path / "all").mkdir(parents=True)
    facts = Facts(tmp_path / "all", paper, origin=ORIGIN)
    try:
        for as_of in moments(paper, seed):
            shutil.rmtree(tmp_path / "then", ignore_errors=True)
            (tmp_path / "then").mkdir()
            then = Facts(tmp_path / "then", paper.upto(as_of), origin=ORIGIN)
            differs = any(canonical(facts.document(v, as_of)) != canonical(then.document(v, as_of)) for v in VENDORS)
            then.close()
            if differs:
                return True
        return False
    finally:
        facts.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_written_later_changes_no_byte(tmp_path, seed):
    assert not differing(tmp_path, Story(seed).paper, seed)


@pytest.mark.parametrize("broken", ["_TOLD", "_PAUSES", "_SESSIONS", "_FLIGHTS", "_GROWN"])
def test_a_reading_that_forgets_the_moment_is_noticed(tmp_path, monkeypatch, broken):
    monkeypatch.setattr(known, broken, getattr(known, broken).replace("<= :as_of", "<= 1 + :as_of * 2"))
    assert any(differing(tmp_path / str(seed), Story(seed).paper, seed) for seed in SEEDS)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_file_made_anew_or_step_by_step_gives_the_same_bytes(tmp_path, seed):
    paper, draw = Story(seed).paper, random.Random(seed)
    as_of = decode(paper.raws[-1])["at"] + HOUR
    whole = [canonical(document(tmp_path, paper, vendor, as_of)) for vendor in VENDORS]
    growing = Paper()
    for n in [*sorted(draw.sample(range(30, len(paper.raws)), 6)), len(paper.raws)]:
        growing.raws = paper.raws[:n]
        (tmp_path / "steps").mkdir(exist_ok=True)
        facts = Facts(tmp_path / "steps", growing, origin=ORIGIN)
        facts.catch_up()
        if n == len(paper.raws):
            assert [canonical(facts.document(vendor, as_of)) for vendor in VENDORS] == whole
        facts.close()
    (tmp_path / "d" / "derived" / "facts.db").unlink()
    assert [canonical(document(tmp_path, paper, vendor, as_of)) for vendor in VENDORS] == whole


def test_another_log_under_the_same_name_is_not_mixed_with_it(tmp_path):
    first, second = Story(1).paper, Story(2).paper
    as_of = MONDAY + 30 * DAY
    facts = Facts(tmp_path, first, origin=ORIGIN)
    facts.document("quillwork", as_of)
    facts._log = facts._derived._log = second  # a backup was restored while it was open
    assert canonical(facts.document("quillwork", as_of)) == canonical(document(tmp_path, second, "quillwork", as_of))
    facts.close()


def test_a_missing_entry_leaves_its_days_without_facts(tmp_path):
    paper = Story(3).paper
    paper.raws = [raw for raw in paper.raws if b"epoch.begin" not in raw]
    cut = len(paper.raws) // 2
    paper.raws[cut] = None
    doc = document(tmp_path, paper, "quillwork", MONDAY + 12 * DAY)
    day = next(
        fact["from"][:10] for fact in doc["facts"] if fact["measure"] == "log_complete" and "missing" in str(fact["samples"])
    )
    assert by_day(doc, "log_complete")[day][0][0] is False
    assert day not in by_day(doc, "named_share")
    assert any(row["measure"] == "named_share" and "missing" in row["why"] for row in doc["unknown"])


@pytest.mark.parametrize("seed", range(3))
def test_a_crash_while_catching_up_costs_nothing(tmp_path, monkeypatch, seed):
    """The catching-up dies in every batch, each time at another entry, and goes on from the end of the batch before."""
    monkeypatch.setattr(derived, "BATCH", 16)
    paper, draw = Story(seed).paper, random.Random(seed)
    as_of = decode(paper.raws[-1])["at"] + HOUR
    whole = [canonical(document(tmp_path, paper, vendor, as_of)) for vendor in VENDORS]
    (tmp_path / "dies").mkdir()
    add, dead = FactsFold.add, set()

    def dies(fold, connection, index, entry):
        add(fold, connection, index, entry)
        if index // 16 not in dead and draw.random() < 0.3:
            dead.add(index // 16)
            raise OSError("no space left")

    monkeypatch.setattr(FactsFold, "add", dies)
    same = Facts(tmp_path / "dies", paper, origin=ORIGIN)
    while True:
        facts = same if draw.random() < 0.5 else Facts(tmp_path / "dies", paper, origin=ORIGIN)  # the process lives on, or not
        try:
            facts.catch_up()
            break
        except OSError:
            if facts is not same:
                facts.close()
    assert len(dead) > 5
    assert [canonical(facts.document(vendor, as_of)) for vendor in VENDORS] == whole
    facts.close()
    same.close()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 160))
def test_many_more_histories(tmp_path, seed):
    paper = Story(seed, days=20, steps=500).paper
    assert agrees(tmp_path / "recount", paper, seed) == set()
    assert not differing(tmp_path / "differing", paper, seed)
