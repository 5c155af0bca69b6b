"""Reads and writes with obstore (the Rust crate object_store): keys are passed, so that it asks no metadata address."""

import hashlib
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import obstore
from obstore.store import S3Store

job = json.loads(Path(sys.argv[1]).read_text())
bucket, drop = job["bucket"], job["drop"]
store = S3Store(
    bucket,
    endpoint=job["url"],
    region=job["region"],
    access_key_id=job["key"],
    secret_access_key=job["secret"],
    token=job["token"],
    client_options={"allow_http": True},
)
done = {}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


done["list"] = [line["path"] for page in obstore.list(store) for line in page]
done["prefixes"] = [f"{prefix}/" for prefix in obstore.list_with_delimiter(store)["common_prefixes"]]
done["whole"] = sha256(bytes(obstore.get(store, job["text"]).bytes()))
done["range"] = sha256(bytes(obstore.get_range(store, job["blob"], start=job["start"], end=job["end"])))
size, step = obstore.head(store, job["blob"])["size"], 5 << 20
with ThreadPoolExecutor(4) as pool:  # get_ranges would join neighbouring ranges to one request
    parts = pool.map(lambda at: obstore.get_range(store, job["blob"], start=at, end=min(at + step, size)), range(0, size, step))
    done["parallel"] = sha256(b"".join(bytes(part) for part in parts))
obstore.put(store, f"{drop}/small", Path(job["small"]).read_bytes())
obstore.put(store, f"{drop}/large", Path(job["large"]), use_multipart=True, chunk_size=5 << 20)
done["head"] = obstore.head(store, f"{drop}/large")["size"]
print(json.dumps(done))
