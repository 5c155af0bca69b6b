"""Whatever rows, rules and window: a report's figures are those of each observation put down one by one, and none is lost."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path

import pytest
from duckdb import OutOfMemoryException
from hypothesis import given, settings
from hypothesis import strategies as st

from depots import lay_down, row
from limen.observe.rows import DAY_US, US
from limen.observe.who import Who
from limen.response import figures, observed

T0 = 1_775_001_600 * US  # a midnight
MOMENTS = st.one_of(st.integers(0, 4 * DAY_US), st.sampled_from([0, DAY_US, DAY_US - 1, 2 * DAY_US])).map(lambda n: T0 + n)
PRINCIPALS = st.sampled_from(
    ["aws:role/1/quill-a", "aws:role/1/quill-b", "aws:user/1/x", "github:Q1", "vault:entity/e", "odd:%_!"]
)
RESOURCES = st.sampled_from(
    ["s3://b/sft/1", "s3://b/sft/2", "s3://b/x", "s3://c%d/1", "github:Org/Repo", "vault:kv/a", "odd:thing"]
)
ROWS = st.lists(
    st.builds(
        row,
        MOMENTS,
        PRINCIPALS,
        RESOURCES,
        session=st.sampled_from(["", "q1", "q2", "job"]),
        action=st.sampled_from(["read", "read", "head", "list", "write", "clone", "push", "admin"]),
        outcome=st.sampled_from(["ok", "ok", "denied", "failed"]),
        bytes=st.one_of(st.none(), st.integers(0, 99)),
        source=st.sampled_from(["trail", "git"]),
    ),
    max_size=25,
)
ANSWERS = st.sampled_from(
    [
        'person = "quillwork/q1"',
        'person = "tessel/t1"',
        'people = ["quillwork/q1", "tessel/t1"]',
        'vendor = "quillwork"',
        "lab = true",
    ]
)
PATTERNS = st.sampled_from(["aws:role/1/quill-a", "aws:role/1/*", "aws:*", "github:q1", "aws:user/?/x", "odd:%*", "vault:*"])
SESSIONS = st.sampled_from(["", '\nsession = "q1"', '\nsession = "q*"', '\nsession = ""'])
TIMES = st.sampled_from(["", "\nfrom = 2026-04-02", "\nuntil = 2026-04-02T12:00:00Z", "\nfrom = 2026-04-02\nuntil = 2026-04-03"])
RULES = st.lists(
    st.builds(lambda p, s, t, a: (p, s, t, f'[[who]]\nprincipal = "{p}"{s}{t}\n{a}\n'), PATTERNS, SESSIONS, TIMES, ANSWERS),
    max_size=6,
    unique_by=lambda rule: rule[:2],
).map(lambda rules: "".join(text for *_, text in rules))


def place(resource, asset):
    return f'[[place]]\nresource = "{resource}"\nasset = "{asset}"\n'


SFT, ODD, GUIDES, ALL = (
    place("s3://b/sft/*", "sft"),
    place("s3://c%*/?", "odd"),
    place("github:org/repo", "guides"),
    place("s3://b/*", "all"),
)
PLACES = st.sampled_from(["", SFT, ODD, GUIDES + ALL, SFT + ALL])
WINDOW = st.tuples(st.none() | MOMENTS, st.none() | MOMENTS)
SKEWS = {"trail": 600, "git": 0}


def one_by_one(rows, who, look):
    """The report's rows, from each observation by itself."""
    found = defaultdict(lambda: [set(), 0, 0, 0, 0, 0])
    for each in rows:
        skew = SKEWS[each["source"]] * US
        if look.since_us is not None and each["at_us"] < look.since_us - skew:
            continue
        if look.until_us is not None and each["at_us"] >= look.until_us + skew:
            continue
        attribution = who.of(each["principal"], each["session"], each["at_us"])
        if attribution.known and not look.about(attribution):
            continue
        name = figures.label(attribution) or f"?{each['principal']}"
        place = who.asset_of(each["resource"]) or container(each["resource"])
        sums = found[name, place]
        ok = each["outcome"] == "ok"
        read = ok and each["action"] in figures.READS
        if read:
            sums[0].add(each["resource"])
        sums[1] += 1
        sums[2] += read
        sums[3] += (each["bytes"] or 0) if read else 0
        sums[4] += read and each["bytes"] is None
        sums[5] += each["outcome"] == "denied"
    return {key: (len(objects), *rest) for key, (objects, *rest) in found.items()}


def container(resource):
    if resource.startswith("s3://"):
        return "/".join(resource.split("/")[:3])
    return resource.lower() if resource.startswith("github:") else resource.split("/")[0]


def reported(part):
    found = defaultdict(lambda: (0,) * 6)
    for each in (*part["rows"], *part["unknown_principals"]):
        name = f"?{each['principal']}" if "principal" in each else "|".join(each["people"]) or f"vendor:{each['vendors'][0]}"
        key = name, each["asset"] or each["place"]
        assert key not in found or "principal" in each  # an unknown principal has a row for each session that rules look at
        counts = tuple(each[n] for n in ("objects", "observations", "reads", "bytes", "bytes_untold", "denied"))
        found[key] = tuple(map(sum, zip(found[key], counts, strict=True)))
    return dict(found)


def both(rows, rules, places, window, subject="vendor/quillwork"):
    who = Who.read(f"{rules}{places}".encode())
    look = observed.Look(subject, *window, T0 + 9 * DAY_US, lambda _: "orchid")
    with tempfile.TemporaryDirectory() as folder:
        part = observed.report(lay_down(Path(folder), rows, skews=SKEWS), who, look)
    return reported(part), one_by_one(rows, who, look), part


def without_objects_of_sessions(counts):
    """An unknown principal's objects are counted for each session: they don't add up across rows."""
    return {key: each if key[0][0] != "?" else each[1:] for key, each in counts.items()}


@settings(max_examples=60, deadline=None)
@given(ROWS, RULES, PLACES, WINDOW, st.sampled_from(["vendor/quillwork", "vendor/tessel", "person/quillwork/q1"]))
def test_figures_are_those_of_each_observation_put_down_by_itself(rows, rules, places, window, subject):
    report, expected, part = both(rows, rules, places, window, subject)

    assert without_objects_of_sessions(report) == without_objects_of_sessions(expected)
    shown = sum(row["observations"] for row in (*part["rows"], *part["unknown_principals"]))
    assert shown + part["lab"]["observations"] + part["others"]["observations"] == part["observations"]


RULE = '[[who]]\nprincipal = "aws:role/1/*"\nsession = "q1"\nperson = "quillwork/q1"\n'
TWO = [row(T0 + 5, "aws:role/1/quill-a", "s3://b/sft/1", session=s) for s in ("q1", "q2")]


def test_a_report_that_looks_at_no_session_is_caught(monkeypatch):
    """The control: the second session is somebody else's."""
    report, expected, _ = both(TWO, RULE, "", (None, None))
    assert report == expected

    monkeypatch.setattr(Who, "looks_closer", lambda self, principal: False)
    report, expected, _ = both(TWO, RULE, "", (None, None))
    assert report != expected


@pytest.mark.parametrize("resources", [False, True])
def test_too_many_objects_for_memory_are_counted_in_slices_to_the_same(monkeypatch, tmp_path, resources):
    rows = [row(T0 + i, "aws:role/1/quill-a", f"s3://b/{i % 40}", session="q1") for i in range(90)]
    depot = lay_down(tmp_path, rows, skews=SKEWS)
    look = observed.Look("vendor/quillwork", None, None, T0 + DAY_US, lambda _: "orchid", objects=resources)
    whole = observed.report(depot, Who.read(RULE.encode()), look)["rows"]
    ask = depot.ask

    def small(sql, **parameters):
        if "1 = 1 OR hash" in sql:
            raise OutOfMemoryException("too many")
        return ask(sql, **parameters)

    monkeypatch.setattr(depot, "ask", small)
    assert observed.report(depot, Who.read(RULE.encode()), look)["rows"] == whole
    assert whole[0]["objects"] == 40
