"""Queries with DuckDB's httpfs extension, taken from its wheel: DuckDB itself would fetch it from a server of its own."""

import hashlib
import json
import sys
from pathlib import Path

import duckdb
import duckdb_extension_httpfs

job = json.loads(Path(sys.argv[1]).read_text())
bucket = job["bucket"]
[extension] = Path(duckdb_extension_httpfs.__file__).parent.glob(f"extensions/v{duckdb.__version__}/httpfs.duckdb_extension")
# The release's own signature of the extension is checked: unsigned ones stay refused.
base = duckdb.connect(config={"autoinstall_known_extensions": False, "autoload_known_extensions": False})
base.execute(f"LOAD '{extension}'")
base.execute(
    f"""CREATE SECRET (TYPE s3, PROVIDER config, KEY_ID '{job["key"]}', SECRET '{job["secret"]}',
    SESSION_TOKEN '{job["token"]}', REGION '{job["region"]}', ENDPOINT '{job["url"].partition("//")[2]}',
    URL_STYLE 'path', USE_SSL false)"""
)
done = {}


def rows(query, *values):
    return base.execute(query, values).fetchall()


def sha256(content):
    return hashlib.sha256(content).hexdigest()


done["list"] = [row[0].removeprefix(f"s3://{bucket}/") for row in rows("SELECT file FROM glob(?)", f"s3://{bucket}/**")]
[[content]] = rows("SELECT content FROM read_text(?)", f"s3://{bucket}/{job['text']}")
done["whole"] = sha256(content.encode())
[[blob]] = rows("SELECT content FROM read_blob(?)", f"s3://{bucket}/{job['blob']}")
done["parallel"] = sha256(blob)
[[done["sum"]]] = rows("SELECT sum(n)::BIGINT FROM read_parquet(?)", f"s3://{bucket}/{job['numbers']}")
base.execute(
    f"COPY (SELECT n * n AS n FROM range(100000) t(n)) TO 's3://{bucket}/{job['drop']}/squares.parquet' (FORMAT parquet)"
)
print(json.dumps(done))
