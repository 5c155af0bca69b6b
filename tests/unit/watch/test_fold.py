"""What rules find: everything that is planted, hardly anything in ordinary work, and the same again."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import msgspec
import pytest

from histories import DAY_S, MIB, MONDAY, SALT, History, Worker
from limen.core.events import encode
from limen.watch import rules as r
from limen.watch.fold import Fold, State
from limen.watch.networks import network_of

SEEDS = range(10)
ORIGIN = "lab.example/log"


def folded(entries, rules=None, fold=None):
    fold = fold or Fold(rules or r.Rules())
    return [finding for index, raw, network in entries for finding in fold.add(index, raw, network)]


@cache
def scenario(seed):
    history = History(seed, people=24, days=42).benign().plant()
    return history, list(history.entries())


def not_found(history, findings):
    """What was planted and that no finding names by rule, person and day."""
    told = {(f.rule, person, f.at_us // r.DAY_US) for f in findings for person in f.subject.values()}
    return [p.rule for p in history.planted if (p.rule.split()[0], p.who, (MONDAY + p.at_s) // DAY_S) not in told]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_planted_event_is_found(seed):
    history, entries = scenario(seed)
    findings = folded(entries)
    assert len(history.planted) == 11
    assert not_found(history, findings) == []
    assert any(f.rule == r.HOURS and f.severity == r.Severity.MEDIUM for f in findings)


@pytest.mark.parametrize("rule", sorted({rule.split()[0] for rule in r.TITLES} - {r.UNREADABLE, r.MALICIOUS, r.WAITS}))
def test_control_without_a_rule_its_event_is_missed(rule):
    history, entries = scenario(0)
    missed = not_found(history, folded(entries, r.Rules(mute=(rule,))))
    assert missed
    assert {name.split()[0] for name in missed} == {rule}


def test_control_thresholds_out_of_reach_find_no_clone_and_no_bulk():
    history, entries = scenario(1)
    far = r.Rules(bulk_floor_bytes=1 << 40, clone_floor_bytes=1 << 40, misses=10_000, looks=10_000)
    missed = not_found(history, folded(entries, far))
    assert set(missed) == {"full-clone", "bulk-read", "enumeration misses", "enumeration looks"}


def test_ordinary_work_raises_hardly_an_alert():
    days, alerts, findings = 0, 0, 0
    for seed in (101,):
        history = History(seed, people=30, days=60).benign()
        found = folded(history.entries())
        days += history.person_days
        alerts += sum(1 for f in found if f.severity >= r.Severity.MEDIUM)
        findings += len(found)
    assert alerts * 1000 <= days
    assert findings, "a history without one odd evening is not a benign one"


def test_control_a_rule_without_a_past_would_alert_all_day():
    history = History(101, people=20, days=40).benign()
    nervous = r.Rules(bulk_floor_bytes=1, bulk_factor=1, hours_around=0)
    found = folded(history.entries(), nervous)
    assert sum(1 for f in found if f.severity >= r.Severity.MEDIUM) * 1000 > history.person_days


def test_the_same_entries_give_the_same_bytes_wherever_the_reading_was_interrupted():
    _, entries = scenario(2)
    whole = folded(entries)
    fold, found = Fold(r.Rules()), []
    for index, raw, network in entries:
        found += fold.add(index, raw, network)
        if index % 997 == 0:
            state = msgspec.json.decode(msgspec.json.encode(fold.state), type=State)
            fold = Fold(fold.rules, state, fold.networks)
    lines = [f.to_bytes(ORIGIN, fold.rules.digest()) for f in whole]
    assert lines == [f.to_bytes(ORIGIN, fold.rules.digest()) for f in found]
    assert len({f.uid(ORIGIN) for f in whole}) == len(whole)


def test_findings_name_entries_and_ids_alone():
    _, entries = scenario(3)
    told = {"who", "sponsor", "vendor", "project", "session", "asset"}
    places = {network for _, _, network in entries if network}
    for finding in folded(entries):
        assert finding.subject.keys() <= told
        assert list(finding.entries) == sorted(set(finding.entries))
        raw = finding.to_bytes(ORIGIN, "x").decode()
        assert not any(place in raw for place in places)
        assert ".jsonl" not in raw


# --- single rules, on single entries


class Log:
    """Entries one by one: a day's moment, a kind, fields."""

    def __init__(self, **rules):
        self.fold = Fold(r.Rules(**rules))
        self.size = 0

    def add(self, kind, *, day=0, hour=10, minute=0, network=None, **fields):
        at_us = (MONDAY + day * DAY_S + hour * 3600 + minute * 60) * 1_000_000
        commit = {"commit": {"network": "00" * 32}} if network is not None else {}
        raw = encode(kind, at_us, SALT, {**fields, **commit})
        self.size += 1
        return self.fold.add(self.size - 1, raw, network or None)

    def intent(self, who="p-1", *, action="read", asset="a", shard="s", size=MIB, more=None, **when):
        fields = {"session": f"s-{who}", "who": who, "project": "orchid", "vendor": "q", "action": action, "asset": asset}
        span = {"version": 1, "shard": shard, "status": 200, "span": [0, size]} if action == "read" else {"status": 200}
        return self.add("access.intent", **when, **fields, **span, **(more or {}))

    def read(self, who="p-1", *, size=MIB, end="complete", **more):
        found = self.intent(who, size=size, **more)
        sent = {} if end == "unknown" else {"sent": size}
        when = {name: more[name] for name in ("day", "hour", "minute") if name in more}
        return found + self.add("access.outcome", of=self.size - 1, end=end, **sent, **when)

    def refusal(self, who="p-1", *, rule="no-grant", asset="a", more=None, **when):
        fields = {"session": f"s-{who}", "who": who, "project": "orchid", "vendor": "q", "action": "read", "rule": rule}
        return self.add("access.refusal", **when, **fields, asset=asset, **(more or {}))


def rules_of(findings):
    return [f.rule for f in findings]


@pytest.fixture
def log():
    """Six people with six days of past, a MiB a day."""
    log = Log(mute=(r.HOURS,))
    for day in range(6):
        for person in "123456":
            assert log.read(f"p-{person}", day=day) == []
    return log


def test_four_times_as_much_as_ever_is_no_finding_and_a_byte_more_is(log):
    assert log.read(day=7, size=4 * MIB) == []
    [finding] = log.read(day=7, size=1)
    assert (finding.rule, finding.severity, finding.entries) == (r.BULK, r.Severity.MEDIUM, (log.size - 2, log.size - 1))
    assert finding.figures == {"bytes": 4 * MIB + 1, "uncertain_bytes": 0, "own_most": MIB, "peers_usual": MIB}
    assert log.read(day=7, size=40 * MIB) == [], "once a day is enough"


def test_what_peers_do_every_day_is_ordinary(log):
    for day in (7, 8, 9):
        for person in "23456":
            log.read(f"p-{person}", day=day, size=20 * MIB)
    assert log.read(day=10, size=40 * MIB) == []


def test_bytes_that_nobody_is_sure_of_make_a_low_finding_only(log):
    [finding] = log.read(day=7, size=40 * MIB, end="unknown")
    assert (finding.rule, finding.severity) == (r.BULK, r.Severity.LOW)
    assert finding.figures["uncertain_bytes"] == 40 * MIB
    [finding] = log.read(day=7, size=41 * MIB)
    assert finding.severity == r.Severity.MEDIUM


def test_without_any_past_it_can_not_be_said_and_that_is_counted():
    log = Log()
    assert log.read(size=900 * MIB) == []
    assert log.fold.state.cannot_say[r.BULK] == 1


def test_a_read_counts_by_what_was_handed_over_not_by_what_was_asked_for(log):
    log.intent(day=7, size=900 * MIB)
    assert log.add("access.outcome", of=log.size - 1, end="aborted", sent=MIB, day=7) == []


def test_a_window_counts_what_its_outcome_names(log):
    run = [[f"s{n}", MIB] for n in range(8)]
    wide = {"version": 1, "status": 200, "window": 10, "run": run}
    fields = {"session": "s-p-1", "who": "p-1", "project": "orchid", "vendor": "q", "action": "read", "asset": "a"}
    log.add("access.intent", day=7, **fields, **wide)
    handed = [[n, 0, MIB, 1, 2, 1] for n in range(5)]
    [finding] = log.add("access.outcome", of=log.size - 1, end="complete", sent=5 * MIB, reads=5, handed=handed, day=7)
    assert (finding.rule, finding.figures["bytes"]) == (r.BULK, 5 * MIB)


def test_a_whole_asset_is_a_clone_for_the_first_time_and_not_again(log):
    log.add("asset.version", asset="b", number=1, shards=3, length=3 * MIB)
    found = [log.read(day=7, asset="b", shard=f"s{n}") for n in range(3)]
    assert [rules_of(f) for f in found] == [[], [], [r.CLONE]]
    assert found[2][0].figures == {"bytes": 3 * MIB, "of": 3 * MIB, "shards": 3, "peers": 5, "peers_same": 0}
    assert [log.read(day=9, asset="b", shard=f"s{n}") for n in range(3)] == [[], [], []]


def test_the_same_range_three_times_is_no_clone(log):
    log.add("asset.version", asset="b", number=1, shards=3, length=3 * MIB)
    assert [log.read(day=7, asset="b", shard="s0") for _ in range(3)] == [[], [], []]


def test_where_a_quarter_of_the_peers_did_the_same_a_clone_is_ordinary(log):
    log.add("asset.version", asset="b", number=1, shards=1, length=MIB)
    assert [rules_of(log.read(f"p-{n}", day=7, asset="b")) for n in (1, 2, 3, 4)] == [[r.CLONE], [r.CLONE], [], []]


def test_a_denial_and_then_a_read_is_found_unless_somebody_granted_it():
    log = Log()
    log.refusal(asset="b")
    [finding] = log.intent(asset="b", hour=11)
    assert (finding.rule, finding.entries) == (r.DENIED, (0, 1))
    log.refusal(asset="c")
    log.add("grant.add", hour=11, grant="g", holder="p-1", project="orchid", assets=["c"], not_before=0)
    assert log.intent(asset="c", hour=12) == []
    log.refusal(asset="d")
    assert log.intent(asset="d", day=2) == [], "two days later it is another matter"
    log.refusal(asset="e", rule="forbid-hardware-key")
    assert log.intent(asset="e", hour=11) == [], "they logged in again with their key"


@pytest.mark.parametrize(
    ("refused", "reader"), [(("p-1", {}), ("p-2", {"sponsor": "p-1"})), (("p-2", {"sponsor": "p-1"}), ("p-1", {}))]
)
def test_a_program_that_reads_what_its_sponsor_was_refused_is_found_and_the_other_way_round(refused, reader):
    log = Log()
    log.refusal(refused[0], asset="b", more=refused[1])
    assert rules_of(log.intent(reader[0], asset="b", hour=11, more=reader[1])) == [r.DENIED]
    assert log.intent("p-3", asset="b", hour=11) == []


def test_a_canary_is_said_once_a_day_for_each_way_it_was_touched():
    log = Log()
    canary = {"canary": True}
    assert rules_of(log.intent(more=canary)) == [r.CANARY]
    assert log.intent(more=canary) == []
    assert rules_of(log.intent(action="head", more=canary)) == [r.CANARY]
    assert rules_of(log.refusal(rule="notfound", more=canary)) == [r.CANARY]
    assert rules_of(log.intent(more=canary, day=1)) == [r.CANARY]
    assert log.intent("p-2") == []


def test_looks_that_are_followed_by_reads_are_a_program_loading_a_set():
    log = Log()
    for minute in range(9):
        for _ in range(30):
            assert log.intent(action="head", minute=minute) == []
            assert log.intent(action="read", minute=minute) == []
    log = Log()
    found = [f for minute in range(9) for _ in range(30) for f in log.intent(action="head", minute=minute)]
    assert rules_of(found) == [r.ENUMERATION]
    assert found[0].figures["looks"] == 200


def test_a_session_that_moves_once_is_not_in_two_places():
    log = Log()
    for day in range(4):
        log.intent(day=day, network="192.0.2.0/24")
    assert rules_of(log.intent(day=5, network="10.0.0.0/24")) == [r.NETWORK]
    assert log.intent(day=5, minute=2, network="192.0.2.0/24") == []
    assert log.intent(day=5, minute=3, network="10.0.0.0/24") == []
    [finding] = log.intent(day=5, minute=4, network="192.0.2.0/24")
    assert (finding.rule, finding.severity, finding.figures) == (r.SPLIT, r.Severity.HIGH, {"switches": 3})


def test_a_network_that_a_colleague_used_is_not_new_and_a_new_person_has_no_past():
    log = Log()
    for day in range(4):
        log.intent(day=day, network="192.0.2.0/24")
    log.intent("p-2", day=4, network="10.0.0.0/24")
    assert log.intent(day=5, network="10.0.0.0/24") == []
    assert log.intent("p-3", day=5, network="10.9.0.0/24") == []


def test_where_detail_is_gone_a_network_counts_as_new_and_it_is_known_since_when():
    log = Log()
    for day in range(4):
        log.intent(day=day, network="192.0.2.0/24")
    log.intent("p-2", day=4, network="")  # recorded once, and erased since
    assert rules_of(log.intent(day=5, network="10.0.0.0/24")) == [r.NETWORK]
    assert log.fold.networks.blind == {"q": MONDAY // DAY_S + 4}


def test_a_hole_in_the_log_and_an_entry_that_is_none_are_findings():
    fold = Fold(r.Rules())
    [finding] = fold.add(3, b"{}", None)[:1]
    assert (finding.rule, finding.entries) == (r.UNREADABLE, (0, 1, 2))
    assert rules_of(fold.add(4, b"not an entry", None)) == [r.UNREADABLE]
    later = encode("access.unresolved", 5, SALT, {"count": 1})
    assert fold.add(5, later, None) == []


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("fe80::1%eth0", "fe80::/48"),
        ("desk", "desk"),
    ],
)
def test_a_network_is_the_beginning_of_an_address(address, network):
    assert network_of(address) == network


def test_a_history_is_the_same_for_the_same_seed():
    first, second = (list(History(7, people=8, days=10).benign().entries()) for _ in range(2))
    assert first == second
    assert all(a[0] + 1 == b[0] for a, b in pairwise(first))
    assert Worker.__doc__
