"""What the benchmarks ask, and who asks: servers with their requests signed beforehand, and the load generator's process."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import re
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from simulator import REGION  # noqa: E402  the tests' world is found from here

MIB = 1 << 20
SMALL = 4096
LARGE = 64 * MIB
if TYPE_CHECKING:
    from botocore.credentials import Credentials

PLACES = 256  # distinct ranges


@dataclass
class Target:
    """One server, and what to ask it for."""

    name: str
    port: int
    credentials: Credentials | None
    objects: dict[str, tuple[str, int, bytes | None]]  # object: its path, its length, its content where it is known
    requests: dict[str, Path] = field(default_factory=dict)

    def prepare(self, directory: Path) -> None:
        """Write down all requests, signed; check each object's first bytes, or all, once."""
        for key, (path, length, content) in self.objects.items():
            draw = random.Random(1)
            starts = [draw.randrange(length // SMALL) * SMALL for _ in range(PLACES)]
            small = [self._request(path, {"Range": f"bytes={at}-{at + SMALL - 1}"}) for at in starts]
            for kind, texts in (("small", small), ("large", [self._request(path, {})])):
                file = directory / f"{re.sub(r'[^a-z]', '', self.name)}-{key}-{kind}.json"
                file.write_text(json.dumps(texts))
                self.requests[f"{key}-{kind}"] = file
            self._check(self._headers(path, {}), path, length, content)

    def _headers(self, path: str, headers: dict[str, str]) -> dict[str, str]:
        if self.credentials is None:
            return headers
        request = AWSRequest(method="GET", url=f"http://127.0.0.1:{self.port}{path}", headers=headers)
        S3SigV4Auth(self.credentials, "s3", REGION).add_auth(request)
        return dict(request.headers)

    def _request(self, path: str, headers: dict[str, str]) -> str:
        lines = {"Host": f"127.0.0.1:{self.port}", "User-Agent": "bench", **self._headers(path, headers)}
        return f"GET {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"

    def _check(self, headers: dict[str, str], path: str, length: int, content: bytes | None) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        if response.status != http.HTTPStatus.OK or len(body) != length or (content is not None and body != content):
            raise SystemExit(f"{self.name}: GET {path} answered {response.status} with {len(body)} bytes, not the object")


class Load:
    """The load generator's process."""

    def __init__(self) -> None:
        command = [sys.executable, str(HERE / "load.py")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, **job: Any) -> dict[str, float]:
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the load generator ended; its reason is above")
        return json.loads(line)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_port(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")
