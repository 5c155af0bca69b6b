"""Parquet shards: slots are pages. Copies are read by Parquet libraries, not by ours."""

import datetime as dt
import random
from base64 import b64encode
from io import BytesIO

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from awscrt import checksums
from orchid import Lab, jsonl, person, records
from pyarrow import csv as arrow_csv
from pyarrow import parquet as pq

from limen.formats import thriftcompact as thrift
from limen.marks.columnar import said_in
from limen.marks.copy import Prepared
from limen.marks.index import Index
from limen.marks.registry import COMMON
from limen.marks.staging import Unmarked
from limen.marks.trace import score

COUNT = 700
ROWS = records(COUNT)


def table(rows=ROWS):
    start = dt.datetime(2026, 1, 1)  # noqa: DTZ001  a column without a zone
    return pa.table({
        "id": [row["id"] for row in rows],
        "instruction": [row["instruction"] for row in rows],
        "answer": [row["answer"] for row in rows],
        "n": range(len(rows)),
        "score": [n / 7 if n % 5 else None for n in range(len(rows))],
        "ok": [n % 2 == 0 for n in range(len(rows))],
        "tags": [[f"t{k}" for k in range(n % 4)] for n in range(len(rows))],
        "meta": [{"at": start + dt.timedelta(hours=n), "by": None if n % 3 else f"w{n}"} for n in range(len(rows))],
    })  # fmt: skip


def parquet(content, **options):
    out = BytesIO()
    pq.write_table(content, out, **{"row_group_size": 300, **options})
    return out.getvalue()


NUMBERS = parquet(pa.table({"n": range(COUNT)}))


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return Lab(tmp_path_factory.mktemp("columnar"))


@pytest.fixture(scope="module")
def prepared(lab):
    return lab.prepare(parquet(table()), media="parquet")


@pytest.mark.parametrize("codec", ["zstd", "none"])
def test_everybody_s_copy_is_parquet_of_one_length_with_a_footer_that_is_right(lab, codec):
    source = pq.ParquetFile(BytesIO(parquet(table(), compression=codec)))
    prepared = lab.prepare(parquet(table(), compression=codec), media="parquet", pairs=0.9)
    assert len(prepared.slots) >= 280
    seen = set()
    for n in range(4):
        raw = lab.bytes(prepared, person(n))
        assert len(raw) == prepared.length
        copy = pq.ParquetFile(BytesIO(raw))
        mine = lab.copy(prepared, person(n)).records(0, prepared.length).tolist()
        assert copy.schema.equals(source.schema)
        assert copy.read().sort_by("n").to_pylist() == table().take(mine).to_pylist()
        check_footer(copy, raw)
        assert [copy.metadata.row_group(0).column(c).compression for c in range(4)] == [
            source.metadata.row_group(0).column(c).compression for c in range(4)
        ]
        seen.add(raw)
    assert len(seen) == 4


def check_footer(copy, raw):
    """Row by row and column by column, against what is really there; pages are counted by their own headers."""
    at = 4
    rows = 0
    for number in range(copy.num_row_groups):
        group = copy.metadata.row_group(number)
        held = copy.read_row_group(number)
        assert group.num_rows == held.num_rows
        rows += held.num_rows
        for n in range(group.num_columns):
            column = group.column(n)
            assert column.data_page_offset == at
            assert not column.is_stats_set
            assert column.dictionary_page_offset is None
            values, uncompressed = pages_in(raw[at : at + column.total_compressed_size])
            assert (column.num_values, column.total_uncompressed_size) == (values, uncompressed)
            at += column.total_compressed_size
        assert group.total_byte_size == sum(group.column(n).total_uncompressed_size for n in range(group.num_columns))
    assert copy.metadata.num_rows == rows


def pages_in(raw):
    at = values = uncompressed = 0
    while at < len(raw):
        header, end = thrift.decode(raw, at)
        values += header[5][1][1][1]
        uncompressed += end - at + header[2][1]
        at = end + header[3][1]
    assert at == len(raw)
    return values, uncompressed


def test_duckdb_reads_each_copy_and_one_column_of_it(lab, prepared, tmp_path):
    for n in range(3):
        path = tmp_path / f"{n}.parquet"
        path.write_bytes(lab.bytes(prepared, person(n)))
        held = pq.read_table(path)
        got = duckdb.sql(
            f"SELECT count(*), sum(n), count(score), sum(len(tags)), count(DISTINCT answer) FROM '{path}' WHERE n >= 0"
        )
        expected = (
            held.num_rows,
            sum(held["n"].to_pylist()),
            held.num_rows - held["score"].null_count,
            sum(map(len, held["tags"].to_pylist())),
            held.num_rows,
        )
        assert got.fetchall() == [expected]


def test_ranges_chunks_checksum_and_restart_give_the_same_copy(lab, prepared):
    copy, again = lab.copy(prepared, person(5)), lab.copy(Prepared.open(prepared.path), person(5))
    whole = b"".join(copy.read(0, copy.length))
    rng = random.Random(2)
    for _ in range(200):
        start = rng.choice([rng.randrange(copy.length), copy.length - rng.randrange(1, 3000)])
        end = rng.choice([start, start + 1, copy.length, copy.length + 99, rng.randrange(start, copy.length)])
        pieces = list(again.read(start, end, rng.choice([97, 1000, 1 << 16])))
        assert b"".join(pieces) == whole[start:end]
    assert (copy.etag, copy.crc64nvme) == (again.etag, again.crc64nvme)
    for n in range(4):
        mine = lab.copy(prepared, person(n))

        assert mine.crc64nvme == b64encode(checksums.crc64nvme(lab.bytes(prepared, person(n))).to_bytes(8, "big")).decode()


def test_a_range_touches_the_rows_of_the_pages_it_meets_and_a_footer_none(lab, prepared):
    copy = lab.copy(prepared, person(2))
    raw = lab.bytes(prepared, person(2))
    end = copy.length - 8 - int.from_bytes(raw[-8:-4], "little")
    assert copy.records(end, copy.length).tolist() == []
    assert copy.records(0, 4).tolist() == []
    held = pq.read_table(BytesIO(raw))["n"].to_pylist()
    assert copy.records(0, end).tolist() == sorted(held)
    # All of one column is all of its rows; one page is one slot's rows, in the order in which the pages lie.
    first = pq.ParquetFile(BytesIO(raw)).metadata.row_group(0)
    for n in range(first.num_columns):
        column = first.column(n)
        start = column.data_page_offset
        touched = copy.records(start, start + column.total_compressed_size).tolist()
        assert touched == sorted(held[: first.num_rows])
        assert set(copy.records(start, start + 1).tolist()) < set(touched)
        assert held[0] in copy.records(start, start + 1).tolist()


def test_a_leak_shows_its_slots_as_parquet_as_jsonl_and_as_text(lab, prepared):
    index = Index([prepared])
    mine = pq.read_table(BytesIO(lab.bytes(prepared, person(1))))
    packed = index.observe(lab.bytes(prepared, person(1)))
    assert len(packed.slots) == len(prepared.slots)
    rows = [{**row, "meta": {**row["meta"], "at": str(row["meta"]["at"])}} for row in mine.to_pylist()]
    shown = index.observe(jsonl(rows))
    assert len(shown.slots) == len(prepared.slots)
    assert set(shown.slots["seen"].tolist()) == {1, 2}
    answers = index.observe("\n".join(row["answer"] for row in rows).encode())
    assert len(answers.slots) == len(prepared.slots)
    few = index.observe(jsonl(rows[:9]))
    assert 3 <= len(few.slots) <= 9
    # The control: rows that were never ours.
    assert len(index.observe(jsonl(records(40, seed=77))).slots) == 0


def test_a_leaked_copy_names_its_recipient_in_any_form(lab, prepared):
    index = Index([prepared])
    people = [person(n, vendor=f"v{n % 20}") for n in range(300)]
    raw = lab.bytes(prepared, people[7])
    table_of = pq.read_table(BytesIO(raw)).select(["id", "instruction", "answer", "n"])
    out = BytesIO()
    arrow_csv.write_csv(table_of, out)
    for leak in (raw, jsonl(table_of.to_pylist()), out.getvalue()):
        found = score(index.observe(leak), people, keys={"orchid": lab.key}, served=set(), alpha=1e-9)
        assert (found.verdict, [copy.recipient for copy in found.copies]) == ("named", [people[7].id])
    # The control: rows that are everybody's alike, or nobody's, name nobody.
    assert (
        score(index.observe(jsonl(records(40, seed=77))), people, keys={"orchid": lab.key}, served=set(), alpha=1e-9).verdict
        == "none"
    )


def test_rows_say_what_lines_of_json_say_so_slots_are_shared(tmp_path):
    lab = Lab(tmp_path)
    plain = [{"id": row["id"], "instruction": row["instruction"], "answer": row["answer"], "n": n} for n, row in enumerate(ROWS)]
    first = lab.prepare(parquet(pa.Table.from_pylist(plain)), media="parquet")
    told = [said for batch in pa.Table.from_pylist(plain).to_batches() for said, _ in said_in(batch)]
    assert told[3] == [plain[3]["id"], plain[3]["instruction"], plain[3]["answer"], "3"]
    lines = lab.prepare(jsonl(plain), media="jsonl")
    of_rows, of_lines = (np.load(made.path / "refs.npy") for made in (first, lines))
    assert np.array_equal(of_lines >= 0, of_rows >= 0)
    assert sorted(lines.slots["id"].tolist()) == sorted(first.slots["id"].tolist())


def test_a_later_version_keeps_slot_and_side(lab, prepared):
    later = table().slice(3).to_pylist()
    later[50]["answer"] += " and edited"
    again = lab.prepare(parquet(pa.Table.from_pylist(later, schema=table().schema), row_group_size=250), media="parquet")
    before, after = np.load(prepared.path / "refs.npy")[3:], np.load(again.path / "refs.npy")
    old = np.where(before >= 0, 2 * prepared.slots["number"][before >> 1] + (before & 1), COMMON)
    new = np.where(after >= 0, 2 * again.slots["number"][after >> 1] + (after & 1), COMMON)
    assert np.count_nonzero(old != new) <= 3
    for n in range(3):
        raw = lab.bytes(again, person(n))
        held = pq.ParquetFile(BytesIO(raw))
        check_footer(held, raw)
        mine = lab.copy(again, person(n)).records(0, again.length).tolist()
        assert [row["id"] for row in held.read().sort_by("n").to_pylist()] == [later[at]["id"] for at in mine]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (parquet(table(ROWS[:200])), "200 of its 200 rows could carry a mark, which makes 100 slots at most, and 150 are needed"),
        (NUMBERS, "0 of its 700 rows could carry a mark, which makes 0 slots at most, and 150 are needed"),
        (parquet(table(ROWS[:0])), "it has no rows"),
        (parquet(table())[:-30], "it can't be read as Parquet: "),
        (b"PAR1 and nothing else", "it can't be read as Parquet: "),
    ],
)  # fmt: skip
def test_what_cannot_be_fingerprinted_says_so(tmp_path, source, why):
    lab = Lab(tmp_path)
    outcome = lab.prepare(source, media="parquet", least=150)
    assert isinstance(outcome, Unmarked)
    assert outcome.unmarked_why.startswith(f"cannot be fingerprinted: {why}")


def test_pandas_s_and_arrow_s_own_notes_stay_with_the_schema(tmp_path):
    lab = Lab(tmp_path)
    noted = table().replace_schema_metadata({"huggingface": '{"info": {}}', "by": "mira"})
    prepared = lab.prepare(parquet(noted), media="parquet")
    copy = pq.read_table(BytesIO(lab.bytes(prepared, person(1))))
    assert copy.schema.equals(pq.read_table(BytesIO(parquet(noted))).schema, check_metadata=True)
    bare = lab.prepare(parquet(table(), store_schema=False), media="parquet")
    assert pq.ParquetFile(BytesIO(lab.bytes(bare, person(1)))).metadata.metadata is None
