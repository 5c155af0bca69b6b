"""Asking what was imported: from any thread, writing nothing; and what coverage says of several imports."""

import builtins
import threading

import pytest

from limen.core.errors import Invalid, NotFound
from limen.core.intervals import Intervals
from limen.observe.coverage import covered, scope_of
from limen.observe.depot import Depot
from limen.observe.manifest import Covered, Hole, Manifest, Source, decode
from logs import APRIL, cloudtrail, log_file

US = 1_000_000


def test_an_empty_depot_answers(tmp_path):
    depot = Depot.open(tmp_path / "observed")
    assert (depot.imports(), depot.coverage(), depot.skews()) == ((), {}, {})
    assert depot.ask("SELECT count(*) AS n, max(entry) AS entry, max(day) AS day FROM observation").to_pylist() == [
        {"n": 0, "entry": None, "day": None}
    ]


def test_every_thread_sees_the_imports_of_its_moment(lab):
    depot = lab.depot
    counted = []

    def count():
        counted.append(depot.ask("SELECT count(*) AS n FROM observation WHERE session = $who", who="q01").to_pylist()[0]["n"])

    for number in range(3):
        lab.put("x.json.gz", log_file(cloudtrail(number, at=APRIL + number)))
        lab.run("cloudtrail")
        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert counted == [1] * 4 + [2] * 4 + [3] * 4


@pytest.mark.parametrize(
    "sql",
    [
        "COPY (SELECT 1) TO '{}/x.csv'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "ATTACH '{}/x.db'",
    ],
)
def test_a_question_can_write_nothing_and_read_nothing_else(lab, sql):
    lab.put("x.json.gz", log_file(cloudtrail(1)))
    lab.run("cloudtrail")
    with pytest.raises(Exception, match=r"disabled|locked|Permission"):
        lab.depot.ask(sql.format(lab.data.parent))
    assert not list(lab.data.parent.glob("x.*"))


def test_without_duckdb_the_error_names_the_extra(lab, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.partition(".")[0] == "duckdb":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(Invalid, match=r"limen\[query\]"):
        lab.depot.ask("SELECT 1")
    lab.put("x.json.gz", log_file(cloudtrail(1)))
    code, _, err = lab.limen("observe", "import", "cloudtrail", lab.logs, "--source", "t", "--data", lab.data)
    assert code == 2
    assert "limen[query]" in err


def test_an_import_whose_manifest_is_gone_is_not_passed_over(lab):
    lab.put("x.json.gz", log_file(cloudtrail(1)))
    entry = lab.run("cloudtrail")[1]["entry"]
    (lab.data / "observed" / f"entry={entry}" / "manifest.json").unlink()
    with pytest.raises(NotFound, match="put it back"):
        lab.depot.imports()


def test_bytes_that_are_no_manifest_are_refused():
    for raw in (b"", b"{}", b"[1]", b"\xff"):
        with pytest.raises(Invalid):
            decode(raw, "manifest.json")


@pytest.mark.parametrize(
    ("resource", "scope"),
    [
        ("s3://orchid-data/a/b", "s3://orchid-data"),
        ("s3://", "s3://"),
        ("github:aurelia/tools", "github:aurelia"),
        ("vault:kv/data/x", "vault:kv"),
        ("registry:orchid/x", "registry:orchid"),
        ("aws:role/111122223333/quill", "aws:account/111122223333"),
        ("aws:account/111122223333", "aws:account/111122223333"),
        ("", ""),
    ],
)
def test_a_resource_has_one_scope(resource, scope):
    assert scope_of(resource) == scope


# --- coverage of several imports


def an_import(*spans, basis="gap", holes=(), inputs=(), gap_s=10, scope="s3://b"):
    return Manifest(
        source="t",
        kind="cloudtrail",
        skew_s=0,
        gap_s=gap_s,
        inputs=tuple(Source(name=name, digest="", length=1, damaged=damaged) for name, damaged in inputs),
        parts=(),
        covered=(Covered(scope, basis, tuple((a * US, b * US) for a, b in spans)),),
        holes=tuple(Hole(name, a * US, b * US, "x") for name, a, b in holes),
        events=0,
        kept=0,
        new=0,
        fields=(),
    )


def told(*manifests):
    return [(a // US, b // US) for a, b in covered(manifests)["t", "s3://b"]]


def test_what_lies_within_the_gap_of_two_imports_is_covered_and_no_more():
    assert told(an_import((0, 10)), an_import((20, 30))) == [(0, 30)]
    assert told(an_import((0, 10)), an_import((21, 30))) == [(0, 10), (21, 30)]
    assert told(an_import((0, 10)), an_import((20, 30), basis="told")) == [(0, 10), (20, 30)]
    assert told(an_import((0, 10), gap_s=60), an_import((20, 30), gap_s=5)) == [(0, 10), (20, 30)]


def test_a_hole_is_not_bridged_nor_covered_by_others_until_its_input_is_whole():
    hurt = an_import((0, 30), holes=[("f", 10, 15)], inputs=[("f", "cut off")])
    assert told(hurt) == [(0, 10), (15, 30)]
    assert told(hurt, an_import((0, 40), basis="told", inputs=[("g", "")])) == [(0, 10), (15, 40)]
    assert told(hurt, an_import((0, 30), inputs=[("f", "")])) == [(0, 30)]
    assert told(hurt, an_import((8, 16), basis="digest")) == [(0, 30)]


# --- intervals


def test_intervals_agree_with_sets_of_moments():
    import random  # noqa: PLC0415  only here

    draw = random.Random(7)
    for _ in range(300):
        one, other = ([(draw.randrange(30), draw.randrange(30)) for _ in range(draw.randrange(6))] for _ in range(2))
        a, b = Intervals.of(one), Intervals.of(other)
        x, y = ({t for s, e in pairs for t in range(s, e)} for pairs in (one, other))
        for got, expected in ((a.union(b), x | y), (a.common(b), x & y), (a.minus(b), x - y)):
            assert {t for s, e in got for t in range(s, e)} == expected
            assert all(before[1] < after[0] for before, after in zip(got.spans, got.spans[1:], strict=False))
            assert got.length == len(expected)
        assert all(a.holds(t) == (t in x) for t in range(31))
        assert {t for s, e in a.within(5, 20) for t in range(s, e)} == x & set(range(5, 20))
