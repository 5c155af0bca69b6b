"""Queries a Parquet and two gzip shards with DuckDB's httpfs extension, by ranged reads."""

import json
import sys
from pathlib import Path

import duckdb
import duckdb_extension_httpfs

job = json.loads(Path(sys.argv[1]).read_text())
[extension] = Path(duckdb_extension_httpfs.__file__).parent.glob(f"extensions/v{duckdb.__version__}/httpfs.duckdb_extension")
base = duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False})
base.execute(f"LOAD '{extension}'")
base.execute(
    f"""CREATE SECRET (TYPE s3, PROVIDER config, KEY_ID '{job["key"]}', SECRET '{job["secret"]}',
    SESSION_TOKEN '{job["token"]}', REGION '{job["region"]}', ENDPOINT '{job["url"].partition("//")[2]}',
    URL_STYLE 'path', USE_SSL false)"""
)


def first(query, *values):
    return [row[0] for row in base.execute(query, values).fetchall()]


done = {
    "column": first("SELECT sum(n)::BIGINT FROM read_parquet(?)", f"s3://{job['parquet']}")[0],
    "parquet": first("SELECT id FROM read_parquet(?) WHERE answer IS NOT NULL ORDER BY id", f"s3://{job['parquet']}"),
    "jsonl": first("SELECT id FROM read_json(?, format = 'newline_delimited') ORDER BY id", f"s3://{job['jsonl']}"),
    "csv": first("SELECT id FROM read_csv(?, header = true) ORDER BY id", f"s3://{job['csv']}"),
}
print(json.dumps(done))
