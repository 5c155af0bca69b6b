"""Reads and writes with s3fs (aiobotocore): whole files, blocks that its cache fetches, and put."""

import hashlib
import json
import sys
from pathlib import Path

import s3fs

job = json.loads(Path(sys.argv[1]).read_text())
bucket, drop = job["bucket"], job["drop"]
files = s3fs.S3FileSystem(
    key=job["key"],
    secret=job["secret"],
    token=job["token"],
    endpoint_url=job["url"],
    client_kwargs={"region_name": job["region"]},
    default_block_size=5 << 20,
)
done = {}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


done["list"] = [path.removeprefix(f"{bucket}/") for path in files.find(bucket)]
done["whole"] = sha256(files.cat_file(f"{bucket}/{job['text']}"))
with files.open(f"{bucket}/{job['blob']}", "rb", block_size=1 << 20) as opened:
    opened.seek(job["start"])
    done["range"] = sha256(opened.read(job["end"] - job["start"]))
size, step = files.size(f"{bucket}/{job['blob']}"), 5 << 20
starts = list(range(0, size, step))
ends = [min(at + step, size) for at in starts]
parts = files.cat_ranges([f"{bucket}/{job['blob']}"] * len(starts), starts, ends, max_gap=None)  # at once, not joined
done["parallel"] = sha256(b"".join(parts))
files.put(job["small"], f"{bucket}/{drop}/small")
files.put(job["large"], f"{bucket}/{drop}/large", chunksize=5 << 20)
files.invalidate_cache()
done["head"] = files.info(f"{bucket}/{drop}/large")["size"]
print(json.dumps(done))
