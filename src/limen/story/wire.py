"""The story's clients over HTTP: boto3 where it is installed, else requests signed here; sessions from STS.

AWS Signature Version 4, service `s3`, with the payload's SHA-256 in its header (docs/formats/s3.md).
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import importlib
import importlib.util
import json
import socket
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from limen.config import REGION
from limen.core.errors import Denied
from limen.formats import s3xml, sigv4

if TYPE_CHECKING:
    from pathlib import Path

UNMODIFIED: Final = importlib.util.find_spec("boto3") is not None
CLIENT: Final = "boto3" if UNMODIFIED else "urllib, signed here (boto3 is not installed)"
WAIT_S: Final = 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client was told: a status, the door's error code and sentence, and the bytes."""

    status: int
    body: bytes = field(default=b"", repr=False)
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Keys:
    """One session's credentials, and whose they are."""

    person: str
    url: str
    access_key: str
    secret: str = field(repr=False)
    token: str = field(repr=False)

    def get(self, bucket: str, key: str, *, start: int | None = None, end: int | None = None) -> Answer:
        """GET an object, or bytes [start, end) of it."""
        asked = {} if start is None or end is None else {"Range": f"bytes={start}-{end - 1}"}
        return self._boto3(bucket, key, asked) if UNMODIFIED else self._plain(bucket, key, asked)

    def stream(self, bucket: str, key: str) -> http.client.HTTPConnection:
        """Ask for a whole read and leave the answer to the caller, who closes the connection."""
        url = f"{self.url}/{bucket}/{urllib.parse.quote(key)}"
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=WAIT_S)
        connection.connect()
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        connection.request("GET", urlsplit(url).path, headers=self._signed("GET", url, {}))
        return connection

    def _boto3(self, bucket: str, key: str, asked: dict[str, str]) -> Answer:
        # Imported on use: it is a development dependency, and the story runs without it.
        boto3, config, errors = map(importlib.import_module, ("boto3", "botocore.config", "botocore.exceptions"))
        client = boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret,
            aws_session_token=self.token,
            config=config.Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )
        try:
            found = client.get_object(Bucket=bucket, Key=key, **asked)
            return Answer(int(found["ResponseMetadata"]["HTTPStatusCode"]), found["Body"].read())
        except errors.ClientError as e:
            told: dict[str, Any] = e.response
            return Answer(
                told["ResponseMetadata"]["HTTPStatusCode"], b"", told["Error"].get("Code", ""), told["Error"].get("Message", "")
            )
        finally:
            client.close()

    def _plain(self, bucket: str, key: str, asked: dict[str, str]) -> Answer:
        url = f"{self.url}/{bucket}/{urllib.parse.quote(key)}"
        return _sent(urllib.request.Request(url, headers=self._signed("GET", url, asked)))  # noqa: S310  our own http address

    def _signed(self, method: str, url: str, asked: dict[str, str]) -> dict[str, str]:
        timestamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        empty = hashlib.sha256(b"").hexdigest()
        headers = {
            "host": urlsplit(url).netloc,
            "x-amz-content-sha256": empty,
            "x-amz-date": timestamp,
            "x-amz-security-token": self.token,
        }
        names = sorted(headers)
        claimed = sigv4.Unverified(
            access_key=self.access_key,
            token=self.token,
            timestamp=timestamp,
            day=timestamp[:8],
            region=REGION,
            service="s3",
            signed_headers=";".join(names),
            signature="",
            payload=empty,
        )
        sent = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        canonical = sigv4.canonical_request(sigv4.Request.of(method, urlsplit(url).path.encode(), b"", sent), claimed, names)
        text = f"{sigv4.ALGORITHM}\n{timestamp}\n{claimed.scope}\n{hashlib.sha256(canonical).hexdigest()}"
        key = sigv4.signing_key(self.secret, day=claimed.day, region=REGION, service="s3")
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        scope = f"{self.access_key}/{claimed.scope}"
        authorization = f"{sigv4.ALGORITHM} Credential={scope}, SignedHeaders={claimed.signed_headers}, Signature={signature}"
        return {**asked, **headers, "authorization": authorization}


def login(url: str, person: str, *, project: str) -> Keys:
    """A session for one person: a token from the development issuer, exchanged at STS. Denied with the door's sentence."""
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": f"arn:aws:iam::000000000000:role/{project}",
        "RoleSessionName": "story",
        "WebIdentityToken": identity(url, person),
    }
    answer = _sent(_form(f"{url}/", form))
    if answer.status != 200:  # noqa: PLR2004
        raise Denied(answer.message, rule=answer.code)
    found = _texts(answer.body, "AssumeRoleWithWebIdentityResponse")
    return Keys(person, url, found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])


def identity(url: str, person: str) -> str:
    """An identity token of one person's, from the development issuer."""
    minted = _sent(_form(f"{url}/_dev/issuer/mint", {"sub": person.partition("/")[2]}))
    return str(json.loads(minted.body)["id_token"])


def order(data: Path, verb: str, args: dict[str, Any]) -> Any:
    """Run one verb at the running gateway's control socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(WAIT_S)
        connection.connect(str(data / "control.sock"))
        connection.sendall(json.dumps({"verb": verb, "args": args}).encode() + b"\n")
        with connection.makefile("rb") as stream:
            answer = json.loads(stream.readline())
    if "error" in answer:
        raise RuntimeError(f"{verb}: {answer['error']['message']}")
    return answer["ok"]


def _form(url: str, fields: dict[str, str]) -> urllib.request.Request:
    return urllib.request.Request(url, urllib.parse.urlencode(fields).encode())  # noqa: S310  our own http address


def _sent(request: urllib.request.Request) -> Answer:
    try:
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:  # noqa: S310  our own http address
            return Answer(answer.status, answer.read())
    except urllib.error.HTTPError as e:
        body = e.read()
        root = "ErrorResponse" if b"<ErrorResponse" in body else "Error"
        found = _texts(body, root) if body.lstrip().startswith(b"<") else {}
        return Answer(e.code, b"", found.get("Code", ""), found.get("Message", ""))


def _texts(body: bytes, root: str) -> dict[str, str]:
    """Every text of an XML answer, by the name of its element."""
    found: dict[str, str] = {}

    def collect(element: s3xml.Element) -> None:
        found[element.name] = element.text
        for child in element.children:
            collect(child)

    collect(s3xml.read(body, root=root))
    return found
