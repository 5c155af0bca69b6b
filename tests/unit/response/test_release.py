import gzip
import hashlib
import io
import json
import random
import tracemalloc

import pyarrow.parquet as pq
import pytest

from goldwork import WAYS, as_csv, as_parquet, bare, gold, labelled, left_in, lines, pool, version
from limen.core.errors import Invalid
from limen.marks.baits import Baits
from limen.response import release as rel
from limen.response.release import MANIFEST, Returned, release, shown, stripped
from limen.response.returned import batches
from limen.response.rows import Tally

ROWS = pool(200)
ITEMS = gold(3, 5)
WHO = "a" * 16


@pytest.fixture(scope="module")
def baits(tmp_path_factory):
    return Baits([version(tmp_path_factory.mktemp("gold"), ROWS, ITEMS, each=5)])


def work(seed=1):
    """Sixty records and all fifteen items of three people who pooled them, in no order, with labels."""
    rows = [*ROWS[:60], *ITEMS]
    random.Random(seed).shuffle(rows)
    return labelled(rows)


def strip(tmp_path, raw, baits):
    (tmp_path / "in").write_bytes(raw)
    tally = stripped(tmp_path / "in", tmp_path / "out", baits)
    return (tmp_path / "out").read_bytes(), tally


@pytest.mark.parametrize("way", WAYS)
def test_no_item_of_anybodys_reaches_the_output_and_nobody_elses_row_is_lost(tmp_path, baits, way):
    raw = WAYS[way](work())
    assert len(left_in(raw, ITEMS)) == 15
    out, tally = strip(tmp_path, raw, baits)
    assert left_in(out, ITEMS) == []
    assert len(left_in(out, ROWS[:60])) == 60
    assert tally.stripped.total() >= 15
    assert not shown(tmp_path / "out", baits).stripped


def by_bytes(baits_rows):
    """The stripper that a hurried reader would write: it drops the lines that were served as they are."""
    served = {json.dumps(bare(item)).encode() for item in baits_rows}

    def way(local, out, baits, name=""):
        del baits, name
        kept = [line for line in local.read_bytes().splitlines(keepends=True) if line.strip() not in served]
        out.write_bytes(b"".join(kept))
        return Tally(rows=len(kept))

    return way


def test_a_stripper_that_compares_bytes_lets_canaries_through_and_the_release_sees_it(tmp_path, baits):
    raw = lines([*ROWS[:3], *map(bare, ITEMS[:2]), *labelled(ITEMS[2:4])])
    (tmp_path / "in").write_bytes(raw)
    one = Returned(WHO, "work.jsonl", hashlib.sha256(raw).hexdigest(), len(raw), tmp_path / "in")
    got = by_bytes(ITEMS)(tmp_path / "in", tmp_path / "bad", baits)
    assert left_in((tmp_path / "bad").read_bytes(), ITEMS) == [item["id"] for item in ITEMS[2:4]]
    assert got.rows == 5
    refused = rel._strip(one, baits, tmp_path, way=by_bytes(ITEMS))
    assert not refused.released
    assert refused.why == "2 rows of what would be left still show a canary"
    assert not (tmp_path / WHO / "work.jsonl").exists()
    assert rel._strip(one, baits, tmp_path).released


def test_an_items_text_copied_into_somebody_elses_row_takes_that_row_out(tmp_path, baits):
    rows = labelled(ROWS[:20])
    rows[4]["note"] = ITEMS[7]["text"]
    rows[9]["text"] += " and as it said elsewhere: " + ITEMS[2]["text"]
    rows[15]["note"] = " ".join(ITEMS[3]["text"].split()[:14])
    out, tally = strip(tmp_path, lines(rows), baits)
    assert [json.loads(line)["id"] for line in out.splitlines()] == [
        row["id"] for n, row in enumerate(rows) if n not in {4, 9, 15}
    ]
    assert dict(tally.stripped) == {"text": 1, "part": 2}


def test_what_keeps_neither_id_nor_half_of_the_letters_is_not_recognised(tmp_path, baits):
    words = ITEMS[3]["text"].split()
    paraphrase = {"text": " ".join(word if n % 3 else "xx" for n, word in enumerate(words)), "label": "yes"}
    _, tally = strip(tmp_path, lines([paraphrase, {"text": " ".join(words[:6]), "label": "no"}]), baits)
    assert not tally.stripped


def test_rows_that_stay_are_the_bytes_that_came(tmp_path, baits):
    rows = labelled([*ROWS[:5], ITEMS[0], *ROWS[5:9]])
    raw = lines(rows).replace(b'", "', b'" ,  "')
    out, _ = strip(tmp_path, raw, baits)
    assert out == b"".join(line for line in raw.splitlines(keepends=True) if ITEMS[0]["id"].encode() not in line)
    untouched = json.dumps(labelled(ROWS[:3]), indent=3).encode()
    assert strip(tmp_path, untouched, baits)[0] == untouched


def test_a_record_that_shares_a_canarys_id_keeps_its_place(tmp_path, baits):
    """Somebody else's data set may have the same id; its row holds the text of a record, so it is that record."""
    row = {**labelled(ROWS[:1])[0], "id": ITEMS[0]["id"]}
    assert not strip(tmp_path, lines([row]), baits)[1].stripped
    assert strip(tmp_path, lines([{**row, "text": "another text that nobody registered"}]), baits)[1].stripped


def test_a_task_that_all_records_have_hides_no_item_and_takes_no_record_out(tmp_path):
    task = "Read the review below, then say in a word whether its author was kind to the people of the hotel."
    rows, items = ([{**row, "task": task} for row in some] for some in (ROWS, ITEMS))
    baits = Baits([version(tmp_path, rows, items, each=5)])
    out, tally = strip(tmp_path, lines(labelled([*rows[:30], *items])), baits)
    assert left_in(out, items) == []
    assert len(left_in(out, rows[:30])) == 30
    assert tally.stripped.total() == 15
    short = [{"id": item["id"], "task": task, "label": "yes"} for item in items]
    assert left_in(strip(tmp_path, lines(short), baits)[0], items) == []


def test_items_of_other_versions_and_data_sets_are_stripped_too(tmp_path, baits):
    other = gold(1, 3, seed=9)
    for n, item in enumerate(other):
        item["id"] = f"other-{n:04}"
    both = Baits([version(tmp_path, pool(90, seed=8), other, each=3, seed=1)])
    raw = lines(labelled([*ROWS[:5], *other]))
    assert strip(tmp_path, raw, both)[1].stripped.total() == 3
    assert not strip(tmp_path, raw, baits)[1].stripped


def test_items_of_a_packed_version_are_stripped_too(tmp_path):
    packed = version(tmp_path, ROWS, ITEMS, each=5, packed=True)
    baits = Baits([packed])
    assert len(baits.all) == 15
    assert packed.gold.items[0].expected() in {"yes", "no"}
    assert left_in(strip(tmp_path, lines(work()), baits)[0], ITEMS) == []


def test_a_name_that_is_given_twice_hides_nothing(tmp_path, baits):
    twice = f'{{"text": {json.dumps(ITEMS[0]["text"])}, "label": "yes", "text": "nothing to see"}}\n'.encode()
    out, tally = strip(tmp_path, twice + lines(labelled(ROWS[:1])), baits)
    assert out == lines(labelled(ROWS[:1]))
    assert tally.stripped.total() == 1
    (tmp_path / "in").write_bytes(b"[" + twice.strip() + b"]")
    with pytest.raises(Invalid, match="a name twice"):
        stripped(tmp_path / "in", tmp_path / "out", baits)
    assert not strip(tmp_path, b'[{"a": "\\": \\": \\":"}]', baits)[1].stripped


def test_a_number_is_an_id_only_where_a_name_says_so(tmp_path):
    items = [{**item, "id": 100_001 + n} for n, item in enumerate(ITEMS)]
    baits = Baits([version(tmp_path, ROWS, items, each=5)])
    ids = [{"itemId": item["id"], "label": "yes"} for item in items]
    assert strip(tmp_path, lines(ids), baits)[1].stripped == {"id": 15}
    assert strip(tmp_path, as_csv(ids), baits)[1].stripped == {"id": 15}
    assert strip(tmp_path, json.dumps({str(item["id"]): "yes" for item in items}).encode(), baits)[1].stripped == {"id": 15}
    views = [{"views": item["id"], "label": "yes"} for item in items]
    assert not strip(tmp_path, lines(views), baits)[1].stripped


def test_an_object_that_is_named_after_an_item_holds_that_item(tmp_path, baits):
    def one(path, row):
        (tmp_path / "in").write_bytes(json.dumps(row).encode())
        return rel._strip(Returned(WHO, path, "00", 1, tmp_path / "in"), baits, tmp_path)

    item = one(f"done/{ITEMS[0]['id']}.json", {"label": "yes"})
    assert (item.rows, item.stripped) == (1, {"id": 1})
    assert ITEMS[0]["id"] not in item.shard
    record = one(f"done/{ROWS[0]['id']}.json", {"label": "yes"})
    assert (record.rows, record.stripped, record.shard) == (1, {}, f"{WHO}/done/{ROWS[0]['id']}.json")


def test_a_canary_that_went_astray_into_another_data_set_is_still_known(tmp_path, baits):
    """Somebody registered returned work as it came: its canaries are records there. They don't pass for records now."""
    (tmp_path / "astray").mkdir()
    spoiled = version(
        tmp_path / "astray", labelled([*pool(90, seed=8), *ITEMS[:4]]), [{**ITEMS[9], "id": "stray-1"}], each=1, seed=2
    )
    (tmp_path / "first").mkdir()
    both = Baits([version(tmp_path / "first", ROWS, ITEMS, each=5), spoiled])
    without_ids = [{**row, "id": ""} for row in labelled(ITEMS)]
    assert strip(tmp_path, lines(without_ids), both)[1].stripped.total() == 15


def test_a_canary_without_id_or_text_of_its_own_is_said_to_be_faint(tmp_path):
    from limen.marks.keys import MarkKey  # noqa: PLC0415
    from limen.marks.prepare import prepare  # noqa: PLC0415

    (tmp_path / "pool.jsonl").write_bytes(lines(ROWS))
    canaries = [b'{"q": "short"}', json.dumps({"text": ROWS[3]["text"]}).encode(), json.dumps(bare(ITEMS[0])).encode()]
    made = prepare(
        tmp_path / "pool.jsonl",
        media="jsonl",
        key=MarkKey("orchid", b"k" * 32, b"s" * 32),
        registry=tmp_path / "orchid.slots",
        out=tmp_path / "version",
        canaries=canaries,
        least=1,
    )
    found = Baits([made])
    assert found.faint == (0, 1)
    assert len(found.all) == 3


def test_a_parquet_tables_notes_do_not_go_on(tmp_path, baits):
    raw = as_parquet(labelled(ROWS[:40]), metadata={"note": ITEMS[0]["text"]})
    out, _ = strip(tmp_path, raw, baits)
    assert left_in(raw, ITEMS[:1])
    assert not left_in(out, ITEMS[:1])
    assert pq.read_table(io.BytesIO(out)).to_pylist() == labelled(ROWS[:40])


def test_a_canary_that_runs_over_the_end_of_a_batch_of_lines_is_found_whole(tmp_path, baits):
    words = ITEMS[0]["text"].split()
    for before in (4085, 4094):
        raw = b"".join(b"line %d of ordinary prose\n" % n for n in range(before))
        raw += "\n".join(words).encode() + b"\n" + b"".join(b"and line %d\n" % n for n in range(700))
        out, tally = strip(tmp_path, raw, baits)
        assert out == b"".join(line for line in raw.splitlines(keepends=True) if line.strip().decode() not in words)
        assert dict(tally.stripped) == {"part": len(words)}
        assert tally.rows == before + len(words) + 700


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"PK\x03\x04\x14\x00\x00\x00", "no rows of this kind"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "no rows of this kind"),
        (b"PAR1 and nothing else", "no sound Parquet"),
        (as_parquet(labelled(ROWS[:40]))[:-30], "no sound Parquet"),
        (gzip.compress(b"x" * 10_000, mtime=0)[:-9], "is damaged"),
        (gzip.compress(gzip.compress(b"x", mtime=0), mtime=0), "packed form"),
        ("größer".encode("latin-1") * 30, "not UTF-8"),
        (b'id,text\n1,"abc\n2,def\n3,ghi\n', "no CSV"),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "nested"),
        (b"x" * (1 << 24), "a line of more"),
        (b'{"a": 1,\n' + b'"b": 1,\n' * 20_000 + b'"c": 1}', "more than 100000 bytes"),
    ],
    ids=lambda given: given if isinstance(given, str) else "raw",
)
def test_what_cannot_be_read_as_rows_is_refused_in_words(tmp_path, baits, raw, why, monkeypatch):
    monkeypatch.setattr("limen.response.returned.MAX_VALUE", 100_000)
    (tmp_path / "in").write_bytes(raw)
    with pytest.raises(Invalid, match=why):
        stripped(tmp_path / "in", tmp_path / "out", baits)


@pytest.mark.parametrize("raw", [b"", b"\n\n", b"{}\n", b"[]", b"\xef\xbb\xbf", gzip.compress(b"", mtime=0)], ids=repr)
def test_what_holds_nothing_goes_on_as_it_is(tmp_path, baits, raw):
    assert strip(tmp_path, raw, baits)[1].rows in {0, 1}


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, baits, monkeypatch):
    monkeypatch.setattr("limen.response.returned._FREE", 1 << 16)
    (tmp_path / "in").write_bytes(gzip.compress((b"a" * 10_000 + b"\n") * 1000))
    with pytest.raises(Invalid, match="more than 100 times"):
        stripped(tmp_path / "in", tmp_path / "out", baits)


def test_a_release_says_of_every_object_what_became_of_it(tmp_path, baits):
    raw = {"b/work.csv": as_csv(work()), "a.jsonl": lines(work(2)), "scan.pdf": b"%PDF\x00", "früh.jsonl": lines(ROWS[:2])}
    objects = []
    for n, (path, some) in enumerate(raw.items()):
        (tmp_path / str(n)).write_bytes(some)
        objects.append(Returned(WHO, path, hashlib.sha256(some).hexdigest(), len(some), tmp_path / str(n)))
    to = tmp_path / "to"
    to.mkdir()
    found = release("box", objects, baits, to=to)
    assert found.counts() == {"counted": 4, "left_out": 1, "rows": 152, "stripped": 30, "out": 122}
    assert [one.released for one in found.objects] == [True, True, False, True]
    assert found.objects[3].shard.startswith(f"{WHO}/")
    assert found.objects[3].shard.endswith(".jsonl")
    for one in found.objects:
        if one.released:
            assert hashlib.sha256((to / one.shard).read_bytes()).hexdigest() == one.out_digest
            assert not left_in((to / one.shard).read_bytes(), ITEMS)
    written = json.loads((to / MANIFEST).read_bytes())
    assert written == found.manifest()
    assert written["digest_out"] == found.digest_out()
    assert sorted(p.relative_to(to).as_posix() for p in to.rglob("*.*")) == sorted(
        [MANIFEST, *(one.shard for one in found.objects if one.released)]
    )


def test_memory_does_not_grow_with_the_object(tmp_path, monkeypatch):
    monkeypatch.setattr("limen.response.rows.AT_ONCE", 256)

    def peak(copies):
        (tmp_path / "in").write_bytes(lines(labelled(ROWS)) * copies)
        tracemalloc.start()
        try:
            for batch in batches(tmp_path / "in"):
                batch.why[:] = [""] * len(batch.rows)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(24) < 1.5 * peak(6)
