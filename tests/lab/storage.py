"""moto as the lab's S3, in a process and an environment of its own (`tools/setup conformance`)."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

import boto3

from lab.cast import PLACES, REGION
from lab.logs import TRAIL_BUCKET

if TYPE_CHECKING:
    from lab.build import Lab

SERVER = Path(__file__).parents[2] / ".make" / "clients" / "moto" / "bin" / "moto_server"


class Storage:
    """Serves S3 on a free port for the length of a `with`."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [SERVER, "-H", "127.0.0.1", "-p", "0"], stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 60
        while (found := re.search(r"Running on (http://127\.0\.0\.1:\d+)", self._log.read_text())) is None:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"moto did not start: {self._log.read_text()[-2000:]}")
            time.sleep(0.02)
        self.url = found.group(1)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)

    @property
    def environment(self) -> dict[str, str]:
        """What S3 programs read to find it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "AKIALABLABLABLABLABL",
            "AWS_SECRET_ACCESS_KEY": "lab",
            "AWS_REGION": REGION,
        }

    def fill(self, lab: Lab) -> None:
        """Put the lab's data sets and its trail into buckets."""
        made = self.environment
        s3 = boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=made["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=made["AWS_SECRET_ACCESS_KEY"],
        )
        for bucket in sorted({TRAIL_BUCKET, *(place.bucket for place in PLACES.values())}):
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        for (bucket, key), raw in lab.contents.items():
            s3.put_object(Bucket=bucket, Key=key, Body=raw)
        trail = lab.root / "trail"
        for path in sorted(trail.rglob("*.gz")):
            s3.put_object(Bucket=TRAIL_BUCKET, Key=path.relative_to(trail).as_posix(), Body=path.read_bytes())
