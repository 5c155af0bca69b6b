"""Reads and writes with pyarrow's S3FileSystem (the AWS SDK for C++)."""

import hashlib
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pyarrow import fs

job = json.loads(Path(sys.argv[1]).read_text())
bucket, drop = job["bucket"], job["drop"]
files = fs.S3FileSystem(
    access_key=job["key"],
    secret_key=job["secret"],
    session_token=job["token"],
    region=job["region"],
    scheme="http",
    endpoint_override=job["url"].partition("//")[2],
)
done = {}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


found = files.get_file_info(fs.FileSelector(bucket, recursive=True))
done["list"] = [line.path.removeprefix(f"{bucket}/") for line in found if line.is_file]
with files.open_input_stream(f"{bucket}/{job['text']}") as stream:
    done["whole"] = sha256(stream.read())
with files.open_input_file(f"{bucket}/{job['blob']}") as opened:
    done["range"] = sha256(opened.read_at(job["end"] - job["start"], job["start"]))
    size, step = opened.size(), 5 << 20
    with ThreadPoolExecutor(4) as pool:
        parts = pool.map(lambda at: opened.read_at(min(step, size - at), at), range(0, size, step))
        done["parallel"] = sha256(b"".join(parts))
for name in ("small", "large"):
    with files.open_output_stream(f"{bucket}/{drop}/{name}") as stream:
        stream.write(Path(job[name]).read_bytes())
done["head"] = files.get_file_info(f"{bucket}/{drop}/large").size
print(json.dumps(done))
