"""A small working world that a test bends in one line: a real gateway over HTTP, people who log in, a lab that orders.

`World.start(directory)` makes a data directory in development mode, imports a catalog (vendors quillwork and tessel, the
lab, projects orchid and helio), registers what a test asks for, and runs `limen serve` as a process of its own. Nothing
here replaces a part of limen: tokens come from the development issuer, sessions from STS, bytes over HTTP.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from nursery import nursery

if TYPE_CHECKING:
    from pathlib import Path

    from nursery import Process

LIMEN = (sys.executable, "-m", "limen")
READS = ["read", "head", "list"]
DROPS = ["list", "head", "write", "delete"]
REGION = "limen-1"


def records(count: int, *, seed: int = 1) -> bytes:
    """JSONL of instruction and answer, in invented words, the same for the same seed."""
    draw = random.Random(seed)
    words = ["".join(draw.choice("abcdefghijklmnop") for _ in range(draw.randint(3, 9))) for _ in range(4000)]
    lines = (
        {"instruction": " ".join(draw.choices(words, k=draw.randint(6, 12))), "answer": " ".join(draw.choices(words, k=24))}
        for _ in range(count)
    )
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def catalog(issuer: str) -> dict[str, Any]:
    """The import document of the world."""
    people = [f"quillwork/q{i:02}" for i in range(1, 13)]
    holders = [*people, "quillwork/ci", "tessel/t01", "tessel/t02"]
    until = "2036-01-01"

    def person(id_: str, **more: Any) -> dict[str, Any]:
        return {"id": id_, "issuer": issuer, "subject": id_.partition("/")[2], "name": f"Person {id_}", **more}

    def grant(holder: str, project: str, assets: list[str], actions: list[str]) -> dict[str, Any]:
        common = {"holder": holder, "project": project, "granted_by": "lab/mira", "expires": until}
        return {**common, "assets": assets, "actions": actions}

    return {
        "vendor": [{"id": v, "name": v.title(), "contact": f"ops@{v}.example"} for v in ("quillwork", "tessel")],
        "person": [
            person("lab/mira", roles=["owner", "security"]),
            *(person(p) for p in people),
            person("tessel/t01"),
            person("tessel/t02"),
        ],
        "workload": [{"id": "quillwork/ci", "issuer": issuer, "subject": "ci", "sponsor": "quillwork/q11"}],
        "project": [{"id": p, "title": p.title(), "owner": "lab/mira"} for p in ("orchid", "helio")],
        "class": [{"name": "training", "vendors": True}, {"name": "core", "vendors": False}],
        "agreement": [
            {"id": f"msa-{v}", "vendor": v, "digest": "ab" * 32, "valid_from": "2026-01-01", "valid_until": until}
            for v in ("quillwork", "tessel")
        ],
        "asset": [
            {"id": "orchid-sft-v3", "project": "orchid", "class": "training", "tier": "internal"},
            {"id": "orchid-blob", "project": "orchid", "class": "training", "tier": "open"},
            {"id": "quill-assessments", "project": "orchid", "class": "training", "tier": "internal", "kind": "drop"},
            {"id": "helio-prefs-v2", "project": "helio", "class": "training", "tier": "internal"},
            {"id": "aurelia-core", "project": "orchid", "class": "core", "tier": "restricted"},
        ],
        "grant": [
            *(grant(h, "orchid", ["orchid-sft-v3", "orchid-blob"], READS) for h in [*holders, "lab/mira"]),
            *(grant(p, "orchid", ["quill-assessments"], DROPS) for p in people),
        ],
    }


@dataclass
class Reply:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The S3 error code, or an empty string."""
        return (ET.fromstring(self.body).findtext("Code") or "") if self.body.startswith(b"<?xml") else ""

    @property
    def message(self) -> str:
        """The S3 error message, or an empty string."""
        return (ET.fromstring(self.body).findtext("Message") or "") if self.body.startswith(b"<?xml") else ""


@dataclass
class Someone:
    """A person or workload with a session: sends signed requests to the door."""

    world: World
    subject: str
    project: str
    credentials: Credentials

    def signed(self, method: str, path: str, *, body: bytes = b"", headers: dict[str, str] | None = None) -> AWSRequest:
        """A request signed as botocore signs it."""
        url = f"{self.world.url}/{path}"
        request = AWSRequest(method=method, url=url, data=body, headers=headers or {})
        S3SigV4Auth(self.credentials, "s3", REGION).add_auth(request)
        return request

    def ask(self, method: str, path: str, *, body: bytes = b"", headers: dict[str, str] | None = None) -> Reply:
        """Send a signed request on a connection of its own."""
        request = self.signed(method, path, body=body, headers=headers)
        connection = http.client.HTTPConnection("127.0.0.1", self.world.port, timeout=30)
        try:
            target = urllib.parse.urlsplit(request.url)
            full = target.path + (f"?{target.query}" if target.query else "")
            connection.request(method, full, body=body or None, headers=dict(request.headers))
            response = connection.getresponse()
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def get(self, key: str, *, start: int | None = None, end: int | None = None, **headers: str) -> Reply:
        """GET one key of the session's project; bytes [start, end) if given."""
        if start is not None:
            headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        return self.ask("GET", f"{self.project}/{key}", headers=headers)

    def boto3(self) -> Any:
        """A boto3 client with this session's credentials."""
        import boto3  # noqa: PLC0415  slow to import, and few tests need it

        return boto3.client(
            "s3",
            endpoint_url=self.world.url,
            region_name=REGION,
            aws_access_key_id=self.credentials.access_key,
            aws_secret_access_key=self.credentials.secret_key,
            aws_session_token=self.credentials.token,
        )


@dataclass
class World:
    """A data directory and the gateway that serves it."""

    data: Path
    port: int
    server: subprocess.Popen[bytes] | Process | None = None
    command: tuple[str, ...] = LIMEN  # another one is started as a program of its own, LIMEN by the nursery
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The gateway's address."""
        return f"http://127.0.0.1:{self.port}"

    @classmethod
    def make(cls, directory: Path, *, sft: bytes | None = None, blob: bytes | None = None) -> World:
        """A data directory with the world's catalog; `sft` is registered marked, `blob` unmarked. Not served yet."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        world = cls(directory / "data", port)
        world.limen("init", str(world.data), "--dev", "--listen", f"127.0.0.1:{port}")
        document = directory / "catalog.json"
        document.write_text(json.dumps(catalog(f"{world.url}/_dev/issuer")))
        world.limen("import", str(document))
        if sft is not None:
            (directory / "sft.jsonl").write_bytes(sft)
            world.limen("asset", "register", "orchid-sft-v3", str(directory / "sft.jsonl"))
        if blob is not None:
            (directory / "blob.bin").write_bytes(blob)
            world.limen("asset", "register", "orchid-blob", str(directory / "blob.bin"), "--unmarked")
        return world

    def limen(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the `limen` command on this data directory."""
        environment = {**os.environ, "LIMEN_DATA": str(self.data), **self.environment}
        if self.command is LIMEN:
            done = nursery().run([*args], environment=environment)
        else:
            done = subprocess.run([*self.command, *args], env=environment, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise AssertionError(f"limen {' '.join(args)} exited {done.returncode}: {done.stderr}")
        return done

    def ask_json(self, *args: str) -> Any:
        """Run a read command with --json and read its answer."""
        return json.loads(self.limen(*args, "--json").stdout)

    def start(self) -> subprocess.Popen[bytes] | Process:
        """The gateway's process, begun."""
        with (self.data.parent / "serve.log").open("ab") as log:
            environment = {**os.environ, **self.environment}
            words = ["serve", "--data", str(self.data)]
            if self.command is LIMEN:
                return nursery().start(words, stdout=log, stderr=log, environment=environment)
            return subprocess.Popen([*self.command, *words], stdout=log, stderr=log, env=environment)

    def serve(self) -> World:
        """Start the gateway; returns when it answers."""
        self.server = self.start()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self.server.poll() is not None:
                raise AssertionError((self.data.parent / "serve.log").read_text()[-2000:])
            try:
                urllib.request.urlopen(f"{self.url}/.well-known/limen", timeout=5).close()
            except OSError:
                time.sleep(0.02)
            else:
                return self
        raise AssertionError("the gateway did not answer within 30 s")

    def stop(self, *, kill: bool = False) -> None:
        """Stop the gateway: politely, or with SIGKILL."""
        if self.server is not None:
            self.server.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            self.server.wait(30)
            self.server = None

    def token(self, subject: str) -> str:
        """An identity token from the development issuer."""
        form = urllib.parse.urlencode({"sub": subject}).encode()
        with urllib.request.urlopen(f"{self.url}/_dev/issuer/mint", form, timeout=10) as answer:
            return str(json.load(answer)["id_token"])

    def login(self, subject: str, *, project: str = "orchid") -> Someone:
        """Open a session by STS AssumeRoleWithWebIdentity."""
        form = {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": "2011-06-15",
            "RoleArn": f"arn:aws:iam::000000000000:role/{project}",
            "RoleSessionName": "simulator",
            "WebIdentityToken": self.token(subject),
        }
        with urllib.request.urlopen(self.url, urllib.parse.urlencode(form).encode(), timeout=10) as answer:
            tree = ET.fromstring(answer.read())
        found = {element.tag.rpartition("}")[2]: element.text or "" for element in tree.iter()}
        credentials = Credentials(found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])
        return Someone(self, subject, project, credentials)
