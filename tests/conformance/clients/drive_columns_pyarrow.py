"""Reads a Parquet and two gzip shards with pyarrow's own S3 client, by ranged reads."""

import json
import sys
from pathlib import Path

import pyarrow as pa
from pyarrow import csv, fs, parquet
from pyarrow import json as lines_of

job = json.loads(Path(sys.argv[1]).read_text())
files = fs.S3FileSystem(
    access_key=job["key"],
    secret_key=job["secret"],
    session_token=job["token"],
    region=job["region"],
    endpoint_override=job["url"].partition("//")[2],
    scheme="http",
)
with files.open_input_file(job["parquet"]) as opened:
    rows = parquet.ParquetFile(opened)
    column = sum(int(rows.read_row_group(n, columns=["n"])["n"].to_numpy().sum()) for n in range(rows.num_row_groups))
    ids = rows.read(columns=["id"])["id"].to_pylist()
packed = {}
for name in ("jsonl", "csv"):
    with files.open_input_stream(job[name], compression="gzip") as opened:
        packed[name] = pa.BufferReader(opened.read())
done = {
    "column": column,
    "parquet": sorted(ids),
    "jsonl": sorted(lines_of.read_json(packed["jsonl"])["id"].to_pylist()),
    "csv": sorted(csv.read_csv(packed["csv"])["id"].to_pylist()),
}
print(json.dumps(done))
