"""Parquet and gzip copies in the programs that people have: each reads its person's own, whole and by ranges.

Which rows are whose is told by the gateway's own tables, once; by each program, from the bytes that it fetched through the door.
"""

import csv
import gzip
import io
import json
import shutil
import subprocess
from io import BytesIO

import pyarrow as pa
import pytest
from pyarrow import parquet as pq
from test_clients import DRIVERS, clients, run, surroundings  # noqa: F401  `clients` is a fixture

from simulator import REGION, World, records

ROWS = 1500
ASSET = "orchid-sft-v3"
NAMES = {"parquet": "rows.parquet", "jsonl": "rows.jsonl.gz", "csv": "rows.csv.gz"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    directory = tmp_path_factory.mktemp("segments")
    made = World.make(directory, sft=records(300))
    sources = directory / "sources"
    sources.mkdir()
    rows = [json.loads(line) for line in records(ROWS, seed=12).splitlines()]
    told = [{**row, "id": f"row-{n:05}", "n": n} for n, row in enumerate(rows)]
    pq.write_table(pa.Table.from_pylist(told), sources / NAMES["parquet"], row_group_size=600, compression="zstd")
    lines = "".join(json.dumps({**row, "id": "line-" + row["id"], "text": f"of the lines {row['n']}"}) + "\n" for row in told)
    (sources / NAMES["jsonl"]).write_bytes(gzip.compress(lines.encode()))
    out = io.StringIO()
    writer = csv.DictWriter(out, told[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows({**row, "id": "cell-" + row["id"], "n": 7 * row["n"]} for row in told)
    (sources / NAMES["csv"]).write_bytes(gzip.compress(out.getvalue().encode()))
    made.limen("asset", "register", ASSET, str(sources))
    made.serve()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def people(world):
    return [world.login(name) for name in ("q01", "q02")]


def truth(someone):
    """What a person's copies hold, by plain GETs."""
    bodies = {kind: someone.get(f"{ASSET}/{name}").body for kind, name in NAMES.items()}
    rows = pq.read_table(BytesIO(bodies["parquet"]))
    lines = [json.loads(line) for line in gzip.decompress(bodies["jsonl"]).splitlines()]
    table = list(csv.DictReader(io.StringIO(gzip.decompress(bodies["csv"]).decode(), newline="")))
    return bodies, {
        "column": sum(rows["n"].to_pylist()),
        "parquet": sorted(rows["id"].to_pylist()),
        "jsonl": sorted(line["id"] for line in lines),
        "csv": sorted(row["id"] for row in table),
    }


@pytest.mark.parametrize(("name", "home"), [("pyarrow", "main"), ("pandas", "pandas"), ("duckdb", "duckdb")])
def test_a_library_reads_its_persons_columns_and_members(name, home, clients, world, people, tmp_path):  # noqa: F811
    me, other = people
    job = {
        "url": world.url,
        "region": REGION,
        "key": me.credentials.access_key,
        "secret": me.credentials.secret_key,
        "token": me.credentials.token,
        **{kind: f"orchid/{ASSET}/{file}" for kind, file in NAMES.items()},
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    answer = json.loads(
        run(
            clients[home] / "python",
            DRIVERS / f"drive_columns_{name}.py",
            tmp_path / "job.json",
            environment=surroundings(tmp_path),
        )
    )
    _, mine = truth(me)
    assert answer == mine
    # The control: what somebody else's copies hold is not that.
    _, theirs = truth(other)
    assert {kind: answer[kind] == theirs[kind] for kind in mine} == dict.fromkeys(mine, False)


def test_zcat_unpacks_every_member(people, tmp_path):
    bodies, _ = truth(people[0])
    for kind in ("jsonl", "csv"):
        (tmp_path / NAMES[kind]).write_bytes(bodies[kind])
        done = subprocess.run([shutil.which("zcat"), NAMES[kind]], cwd=tmp_path, capture_output=True, check=True)
        assert (done.stdout, done.stderr) == (gzip.decompress(bodies[kind]), b"")


def test_everybody_is_told_the_same_length_and_gets_other_rows(people):
    bodies, rows = zip(*(truth(one) for one in people), strict=True)
    for kind, name in NAMES.items():
        assert len(bodies[0][kind]) == len(bodies[1][kind])
        assert rows[0][kind] != rows[1][kind]
        tags = {one.ask("HEAD", f"orchid/{ASSET}/{name}").headers["etag"] for one in people}
        assert len(tags) == 2
