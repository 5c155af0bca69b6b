"""Reads a Parquet and two gzip shards with pandas, through s3fs: its own pyarrow, its own gzip."""

import json
import sys
from pathlib import Path

import pandas as pd

job = json.loads(Path(sys.argv[1]).read_text())
options = {
    "key": job["key"],
    "secret": job["secret"],
    "token": job["token"],
    "endpoint_url": job["url"],
    "client_kwargs": {"region_name": job["region"]},
}
rows = pd.read_parquet(f"s3://{job['parquet']}", storage_options=options)
one = pd.read_parquet(f"s3://{job['parquet']}", columns=["n"], storage_options=options)
lines = pd.read_json(f"s3://{job['jsonl']}", lines=True, storage_options=options)
table = pd.read_csv(f"s3://{job['csv']}", storage_options=options)
done = {
    "parquet": sorted(rows["id"].tolist()),
    "column": int(one["n"].sum()),
    "jsonl": sorted(lines["id"].tolist()),
    "csv": sorted(table["id"].tolist()),
}
print(json.dumps(done))
