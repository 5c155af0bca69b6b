"""A small world around the S3 door: sessions, one project's objects and one drop box in memory, and a signer by botocore.

It stands in for `limen.access` in tests of the door's own parsing only: it keeps the calls and their order, raises what a
test bends it to raise, and decides nothing about policy. Requests are signed by botocore, an independent implementation.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from dataclasses import dataclass, field
from types import SimpleNamespace
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree as ET

from awscrt import checksums as crt
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from limen.core.errors import BadCredential, Conflict, Invalid, NotFound, SessionEnded
from limen.core.types import Checkpoint, Listed, Project, Receipt, Session, Stored
from limen.doors.s3.app import S3Door

ACCESS_KEY = "LMNQ03QUILLWORK23456"
SECRET = "a secret that only the world and the signer know"
TOKEN = "token-of-q03"
HOST = "s3.limen.test"
REGION = "limen-1"
MODIFIED_AT = 1_760_000_000

SESSION = Session(
    id="s-1",
    holder="quillwork/q03",
    vendor="quillwork",
    sponsor=None,
    project="orchid",
    pseudonym="p-7f3a",
    access_key=ACCESS_KEY,
    strength="hardware",
    issued_at=MODIFIED_AT,
    expires_at=MODIFIED_AT + 3600,
)


@dataclass
class Copy:
    content: bytes
    etag: str = "0123456789abcdef0123456789abcdef-1"
    content_type: str = "application/jsonl"
    chunk: int = 1 << 20

    @property
    def length(self):
        return len(self.content)

    @property
    def crc64nvme(self):
        return base64.b64encode(crt.crc64nvme(self.content).to_bytes(8, "big")).decode()


@dataclass
class Delivery:
    world: World
    receipt: Receipt
    copy: Copy
    span: object
    modified_at: int = MODIFIED_AT
    sent: int = 0
    end: str = ""

    async def send_to(self, send, abort):
        try:
            for at in range(self.span.start, self.span.end, self.copy.chunk):
                if self.world.cut_after is not None and self.sent >= self.world.cut_after:
                    abort()
                    raise self.world.cut_by
                chunk = self.copy.content[at : min(at + self.copy.chunk, self.span.end)]
                self.sent += len(chunk)
                await send(chunk)
            self.end = "complete"
        finally:
            self.end = self.end or "failed"

    def close(self, end="complete"):
        self.end = end


@dataclass
class Reception:
    world: World
    receipt: Receipt
    keep: object
    content: bytearray = field(default_factory=bytearray)
    aborted: int = 0
    watched: object = None

    def watch(self, abort):
        self.watched = abort

    async def write(self, chunk):
        self.content += chunk

    async def commit(self, *, only_if_absent=False, checksums=None):
        return self.keep(bytes(self.content), only_if_absent, checksums or {})

    async def abort(self):
        self.aborted += 1


class World:
    """The fake below the door, and the clients above it."""

    def __init__(self):
        self.objects = {"sft/a.jsonl": Copy(b'{"n": 1}\n' * 1000), "sft/empty": Copy(b"")}
        self.drop = {}
        self.uploads_open = {}
        self.calls = []
        self.raises = None
        self.cut_after = None
        self.cut_by = None
        self.aborts = 0
        self.unresolved = []
        self.shift = 0
        self.ended = False
        self.deliveries = []
        self.receptions = []
        self.received = 0
        self.hangs_up = False
        self.hangs_up_at = None
        self.without_abort = False
        self.door = S3Door(
            self,
            self.secret_for,
            self.resolve,
            now=self.now,
            region=REGION,
            domain=HOST,
            unresolved=self.unresolved.append,
            origins=frozenset({"https://console.limen.test"}),
        )

    def now(self):
        return int(time.time()) + self.shift

    def secret_for(self, access_key):
        if not access_key.startswith("LMN"):
            raise BadCredential("the access key is not one of limen's", step="access-key")
        return SECRET

    def resolve(self, access_key, token):
        if token != TOKEN or access_key != ACCESS_KEY:
            raise BadCredential("the session token is not one of limen's", step="token")
        if self.ended:
            raise SessionEnded("the session ended at 09:00; log in again")
        return SESSION

    # --- what the door calls

    def _note(self, name, *what):
        self.calls.append((name, *what))
        if self.raises is not None:
            raise self.raises
        return Receipt(len(self.calls), bytes(32), Checkpoint("limen.test", len(self.calls), b"", b""))

    async def open(self, session, path, *, action, choose, client):
        receipt = self._note("open", action.value, path)
        copy = self.objects.get(path) or self.drop.get(path)
        if copy is None:
            raise NotFound(path)
        delivery = Delivery(self, receipt, copy, choose(copy, MODIFIED_AT))
        self.deliveries.append(delivery)
        return delivery

    async def list(self, session, *, prefix, client):
        self._note("list", prefix)
        everything = {**self.objects, **self.drop}
        return tuple(Listed(p, c.length, c.etag, MODIFIED_AT) for p, c in sorted(everything.items()) if p.startswith(prefix))

    async def projects(self, session, *, client):
        self._note("projects")
        return (Project("orchid", "Orchid", "lab/owner"),)

    async def elsewhere(self, session, project, path, *, action, client):
        self._note("elsewhere", project, path, action.value)
        raise NotFound(project)

    def _stored(self, path, content, receipt):
        etag = hashlib.md5(content).hexdigest()
        return Stored(path, len(content), etag, hashlib.sha256(content).hexdigest(), receipt.index, receipt)

    async def accept(self, session, path, *, length, client, content_type="application/octet-stream"):
        receipt = self._note("accept", path, length)
        if not path.startswith("drop/"):
            raise NotFound(path)

        def keep(content, only_if_absent, checksums):
            if only_if_absent and path in self.drop:
                raise Conflict(f"{path} is there already")
            stored = self._stored(path, content, receipt)
            self.drop[path] = Copy(content, etag=stored.etag, content_type=content_type)
            return stored

        return self._receive(receipt, keep)

    def _receive(self, receipt, keep):
        reception = Reception(self, receipt, keep)
        self.receptions.append(reception)
        return reception

    async def remove(self, session, path, *, client):
        self._note("remove", path)
        if path not in self.drop:
            raise NotFound(path)
        del self.drop[path]

    async def begin(self, session, path, *, client, content_type="", checksum=""):
        self._note("begin", path, checksum)
        upload = SimpleNamespace(id=f"{len(self.uploads_open):032x}", begun_at=MODIFIED_AT, path=path, parts={})
        self.uploads_open[upload.id] = upload
        return upload

    def _upload(self, upload_id, path):
        upload = self.uploads_open.get(upload_id)
        if upload is None or upload.path != path:
            raise NotFound(upload_id)
        return upload

    async def accept_part(self, session, upload_id, path, number, *, length, client):
        receipt = self._note("accept_part", path, number, length)
        upload = self._upload(upload_id, path)

        def keep(content, only_if_absent, checksums):
            stored = self._stored(path, content, receipt)
            upload.parts[number] = SimpleNamespace(
                length=len(content), etag=stored.etag, checksums=checksums, stored_at=MODIFIED_AT, content=content
            )
            return stored

        return self._receive(receipt, keep)

    async def parts(self, session, upload_id, path, *, client):
        self._note("parts", path)
        return self._upload(upload_id, path).parts

    async def finish(self, session, upload_id, path, parts, *, client, only_if_absent=False):
        receipt = self._note("finish", path, tuple(parts))
        upload = self._upload(upload_id, path)
        if not parts:
            raise Invalid("parts", "a completion must name at least one part")
        numbers = [number for number, _ in parts]
        if numbers != sorted(set(numbers)):
            raise Invalid("PartNumber", "parts must be named once each, in ascending order")
        for number, etag in parts:
            if number not in upload.parts or upload.parts[number].etag != etag:
                raise Invalid("ETag", f"part {number} was not uploaded with that ETag")
        content = b"".join(upload.parts[number].content for number in numbers)
        stored = self._stored(path, content, receipt)
        self.drop[path] = Copy(content, etag=f"{stored.etag}-{len(parts)}")
        del self.uploads_open[upload_id]
        return Stored(path, len(content), f"{stored.etag}-{len(parts)}", stored.sha256, receipt.index, receipt)

    async def abandon(self, session, upload_id, path, *, client):
        self._note("abandon", path)
        self._upload(upload_id, path)
        del self.uploads_open[upload_id]

    async def uploads(self, session, *, prefix, client):
        self._note("uploads", prefix)
        return tuple(sorted(((u.path, u) for u in self.uploads_open.values() if u.path.startswith(prefix)), key=lambda p: p[0]))

    # --- clients

    def sign(self, method, target, *, headers=None, body=b"", payload=None, host=HOST, signer=None, **who):
        """Headers of a signed request, by botocore. `payload` replaces the hash that is signed."""
        return sign(method, target, headers=headers, body=body, payload=payload, host=host, **who)

    def ask(self, method, target, *, headers=None, body=b"", payload=None, host=HOST, pieces=None, **who):
        """Sign with botocore and ask the door."""
        signed = sign(method, target, headers=headers, body=body, payload=payload, host=host, **who)
        return self.send(method, target, signed, body, pieces=pieces)

    def presign(self, method, target, *, expires=300, host=HOST, token=TOKEN, region=REGION):
        request = AWSRequest(method, f"http://{host}{target}")
        S3SigV4QueryAuth(Credentials(ACCESS_KEY, SECRET, token), "s3", region, expires=expires).add_auth(request)
        parts = urlsplit(request.url)
        return f"{parts.path}?{parts.query}"

    def send(self, method, target, headers, body=b"", *, pieces=None):
        """Ask the door with these very headers."""
        return asyncio.run(self._send(method, target, headers, body, pieces))

    async def _send(self, method, target, headers, body, pieces):
        path, _, query = target.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode("latin-1"),
            "query_string": query.encode("latin-1"),
            "headers": [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in headers],
            "client": ("127.0.0.1", 4242),
            "extensions": {} if self.without_abort else {"limen.abort": self._abort},
        }
        incoming = [bytes(p) for p in (pieces if pieces is not None else [body])]
        answer = Answer()
        forever = asyncio.Event()

        async def receive():
            if incoming:
                self.received += 1
                piece = incoming.pop(0)
                return {"type": "http.request", "body": piece, "more_body": bool(incoming)}
            if self.hangs_up:
                return {"type": "http.disconnect"}
            while self.hangs_up_at is not None:
                if len(answer.body) >= self.hangs_up_at:
                    return {"type": "http.disconnect"}
                await asyncio.sleep(0)
            await forever.wait()
            return None

        async def send(message):
            if message["type"] == "http.response.start":
                assert answer.status == 0
                answer.status = message["status"]
                answer.head = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in message["headers"]]
            else:
                answer.body += bytes(message["body"])
                await asyncio.sleep(0)
                answer.complete = not message.get("more_body", False)

        await self.door(scope, receive, send)
        return answer

    def _abort(self):
        self.aborts += 1


@dataclass
class Answer:
    status: int = 0
    head: list = field(default_factory=list)
    body: bytes = b""
    complete: bool = False

    @property
    def headers(self):
        return dict(self.head)

    @property
    def xml(self):
        root = ET.fromstring(self.body)
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
        return root

    @property
    def code(self):
        return self.xml.findtext("Code") if self.body else None

    @property
    def message(self):
        return self.xml.findtext("Message")


def sign(
    method,
    target,
    *,
    headers=None,
    body=b"",
    payload=None,
    host=HOST,
    access_key=ACCESS_KEY,
    secret=SECRET,
    token=TOKEN,
    region=REGION,
    service="s3",
):
    request = AWSRequest(method, f"http://{host}{target}", headers=dict(headers or {}), data=body)

    class Signer(S3SigV4Auth):
        def payload(self, request):
            return payload if payload is not None else super().payload(request)

    Signer(Credentials(access_key, secret, token), service, region).add_auth(request)
    # botocore encodes a str path by itself on the wire; these targets are encoded already.
    signed = [(name, value) for name, value in request.headers.items()]
    names = {name.lower() for name, _ in signed}
    if "host" not in names:
        signed.append(("host", host))
    if (body or method in ("PUT", "POST")) and "content-length" not in names:
        signed.append(("content-length", str(len(body))))
    return signed


def key_target(bucket, key, query=""):
    return f"/{bucket}/{quote(key, safe='/~')}{'?' + query if query else ''}"
