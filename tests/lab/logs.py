"""The logs as the systems write them.

CloudTrail record contents 1.11 and its digest files · Amazon S3 server access log format · GitHub's audit log events for an
organization (`git.*`, `repo.*`, `deploy_key.*`) · Vault audit device entries. Written from those vendors' documentation.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import time
import uuid
import zlib
from typing import TYPE_CHECKING

from lab.cast import ACCOUNT, DEPLOY_KEY, LAB_LOGIN, ORG, REGION, drawn, entity, login

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from lab.cast import Actor

CALLS = {"read": "GetObject", "head": "HeadObject", "list": "ListObjects"}
VERBS = {"read": "REST.GET.OBJECT", "head": "REST.HEAD.OBJECT", "list": "REST.GET.BUCKET"}
TRAIL_BUCKET = "aurelia-trail"
FINGERPRINT = hashlib.sha256(b"trail").hexdigest()[:32]


def moment(at: float) -> str:
    """As CloudTrail writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def address(who: str) -> str:
    """Where somebody's requests come from."""
    low = drawn("address", who)
    return f"198.51.100.{low[0] % 250 + 1}" if low[1] % 2 else f"203.0.113.{low[0] % 250 + 1}"


# --- CloudTrail


def identity(actor: Actor) -> str:
    """`userIdentity`, as JSON."""
    _, _, rest = actor.principal.partition(":")
    kind, account, name = rest.split("/", 2)
    number = drawn("id", name).hex()[:16].upper()
    if kind == "user":
        value = {
            "type": "IAMUser",
            "principalId": f"AIDA{number}",
            "arn": f"arn:aws:iam::{account}:user/{name}",
            "accountId": account,
            "accessKeyId": actor.key,
            "userName": name,
        }
    else:
        issuer = {
            "type": "Role",
            "principalId": f"AROA{number}",
            "arn": f"arn:aws:iam::{account}:role/{name}",
            "accountId": account,
            "userName": name,
        }
        value = {
            "type": "AssumedRole",
            "principalId": f"AROA{number}:{actor.session}",
            "arn": f"arn:aws:sts::{account}:assumed-role/{name}/{actor.session}",
            "accountId": account,
            "accessKeyId": actor.key,
            "sessionContext": {"sessionIssuer": issuer, "attributes": {"mfaAuthenticated": "false"}},
        }
    return json.dumps(value, separators=(",", ":"))


RECORD = (
    '{"eventVersion":"1.11","userIdentity":%s,"eventTime":"%s","eventSource":"s3.amazonaws.com","eventName":"%s",'
    '"awsRegion":"' + REGION + '","sourceIPAddress":"%s","userAgent":"[Boto3/1.44.0 md/Botocore#1.44.0]",%s'
    '"requestParameters":%s,"responseElements":null,"additionalEventData":{"SignatureVersion":"SigV4",'
    '"CipherSuite":"TLS_AES_128_GCM_SHA256","bytesTransferredIn":0,"AuthenticationMethod":"AuthHeader",'
    '"x-amz-id-2":"%s","bytesTransferredOut":%d},"requestID":"%s","eventID":"%s","readOnly":true,"resources":[%s'
    '{"accountId":"' + ACCOUNT + '","type":"AWS::S3::Bucket","ARN":"arn:aws:s3:::%s"}],"eventType":"AwsApiCall",'
    '"managementEvent":false,"recipientAccountId":"' + ACCOUNT + '","eventCategory":"Data",'
    '"tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"%s"}}'
)
DENIED = '"errorCode":"AccessDenied","errorMessage":"User is not authorized to perform this action",'


def record(at: int, told: tuple[str, str], action: str, bucket: str, key: str, length: int, number: int, *, ok: bool) -> str:
    """One data event; `told` is the actor's `userIdentity` and address. For a list, `key` is the prefix."""
    host = f"{bucket}.s3.{REGION}.amazonaws.com"
    if action == "list":
        asked = f'{{"bucketName":"{bucket}","Host":"{host}","list-type":"2","prefix":"{key}"}}'
        thing = f'{{"type":"AWS::S3::Object","ARNPrefix":"arn:aws:s3:::{bucket}/{key}"}},'
    else:
        asked = f'{{"bucketName":"{bucket}","Host":"{host}","key":"{key}"}}'
        thing = f'{{"type":"AWS::S3::Object","ARN":"arn:aws:s3:::{bucket}/{key}"}},'
    serial = f"{number:032x}"
    event_id = f"{serial[:8]}-{serial[8:12]}-4{serial[13:16]}-8{serial[17:20]}-{serial[20:]}"
    told_by, ip = told
    return RECORD % (
        *(told_by, moment(at), CALLS[action], ip, "" if ok else DENIED, asked, "aGVsbG8=", length if ok else 243),
        *(f"{number:016X}", event_id, thing, bucket, host),
    )


class Trail:
    """Writes CloudTrail's files below a directory as it lies them in a bucket; a digest file each hour, chained."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._previous: tuple[str, str] | None = None

    def names(self, at: int, serial: str) -> str:
        """Where a log file lies that was delivered then."""
        day, hour = time.strftime("%Y/%m/%d", time.gmtime(at)), time.strftime("%Y%m%dT%H%MZ", time.gmtime(at))
        return f"AWSLogs/{ACCOUNT}/CloudTrail/{REGION}/{day}/{ACCOUNT}_CloudTrail_{REGION}_{hour}_{serial}.json.gz"

    def file(self, at: int, records: list[str], *, serial: str = "") -> tuple[str, bytes, bytes]:
        """One log file: its name, what was gzipped, and how."""
        raw = ('{"Records":[' + ",".join(records) + "]}").encode()
        packed = gzip.compress(raw, 1, mtime=0)
        name = self.names(at, serial or base64.b32encode(drawn("file", at, len(records)))[:16].decode())
        self.put(name, packed)
        return name, raw, packed

    def put(self, name: str, packed: bytes) -> None:
        """Write one file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(packed)

    def digest(self, hour: int, files: Iterable[tuple[str, bytes, int, int]]) -> None:
        """The digest of one hour: (name, unpacked content, oldest, newest) of each log file delivered in it."""
        end = hour + 3600
        day, told = time.strftime("%Y/%m/%d", time.gmtime(end)), time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(end))
        file = f"{ACCOUNT}_CloudTrail-Digest_{REGION}_aurelia_{REGION}_{told}.json.gz"
        name = f"AWSLogs/{ACCOUNT}/CloudTrail-Digest/{REGION}/{day}/{file}"
        listed = [
            {
                "s3Bucket": TRAIL_BUCKET,
                "s3Object": log,
                "hashValue": hashlib.sha256(raw).hexdigest(),
                "hashAlgorithm": "SHA-256",
                "newestEventTime": moment(newest),
                "oldestEventTime": moment(oldest),
            }
            for log, raw, oldest, newest in files
        ]
        before = self._previous
        value = {
            "awsAccountId": ACCOUNT,
            "digestStartTime": moment(hour),
            "digestEndTime": moment(end),
            "digestS3Bucket": TRAIL_BUCKET,
            "digestS3Object": name,
            "digestPublicKeyFingerprint": FINGERPRINT,
            "digestSignatureAlgorithm": "SHA256withRSA",
            "newestEventTime": max((each["newestEventTime"] for each in listed), default=None),
            "oldestEventTime": min((each["oldestEventTime"] for each in listed), default=None),
            "previousDigestS3Bucket": TRAIL_BUCKET if before else None,
            "previousDigestS3Object": before[0] if before else None,
            "previousDigestHashValue": before[1] if before else None,
            "previousDigestHashAlgorithm": "SHA-256" if before else None,
            "previousDigestSignature": drawn("signature", before[0]).hex() if before else None,
            "logFiles": listed,
        }
        raw = json.dumps(value, separators=(",", ":")).encode()
        self.put(name, gzip.compress(raw, 1, mtime=0))
        self._previous = (name, hashlib.sha256(raw).hexdigest())

    def stopped(self) -> None:
        """The trail was switched off and on again: the chain of digests begins anew."""
        self._previous = None


def readable(packed: bytes, records: list[str]) -> int:
    """How many of a file's records are whole in what can be unpacked of a part of it."""
    there = len(zlib.decompressobj(31).decompress(packed))
    end, whole = len('{"Records":['), 0
    for text in records:
        end += len(text)
        if end > there:
            break
        whole, end = whole + 1, end + 1
    return whole


# --- S3 server access logs


def access_line(at: int, actor: Actor, action: str, bucket: str, key: str, length: int, number: int, *, ok: bool) -> str:
    """One line. For a list, `key` is the prefix."""
    _, _, rest = actor.principal.partition(":")
    kind, account, name = rest.split("/", 2)
    requester = f"arn:aws:iam::{account}:user/{name}"
    if kind == "role":
        requester = f"arn:aws:sts::{account}:assumed-role/{name}/{actor.session}"
    when = time.strftime("[%d/%b/%Y:%H:%M:%S +0000]", time.gmtime(at))
    method = "HEAD" if action == "head" else "GET"
    target = f"/{bucket}?list-type=2&prefix={key}" if action == "list" else f"/{bucket}/{key}"
    status, error = ("200", "-") if ok else ("403", "AccessDenied")
    sent = str(length) if ok and action == "read" else ("-" if action == "head" else "243")
    shown = "-" if action == "list" else key
    ended = (
        f"{drawn('host', number % 97).hex()[:32]} SigV4 TLS_AES_128_GCM_SHA256 AuthHeader {bucket}.s3.amazonaws.com TLSv1.3 - -"
    )
    return (
        f"{drawn('owner').hex()} {bucket} {when} {address(actor.who)} {requester} {number:016X} {VERBS[action]} {shown} "
        f'"{method} {target} HTTP/1.1" {status} {error} {sent} {length or "-"} 12 9 "-" "Boto3/1.44.0" - {ended}\n'
    )


# --- GitHub


def audit_event(at: int, actor: str, action: str, repository: str, number: int) -> str:
    """One event of the organization's audit log; `actor` is a login, or empty for the deploy key."""
    value = {
        "@timestamp": at * 1000,
        "_document_id": base64.urlsafe_b64encode(drawn("document", number)[:16]).decode().rstrip("="),
        "action": action,
        "actor": actor or None,
        "actor_ip": address(actor or DEPLOY_KEY),
        "created_at": at * 1000,
        "org": ORG,
        "repo": f"{ORG}/{repository}",
        "repository": f"{ORG}/{repository}",
        "repository_public": False,
        "transport_protocol_name": "ssh" if not actor else "http",
        "user_agent": "git/2.47.0",
    }
    if not actor:
        value |= {"deploy_key_fingerprint": DEPLOY_KEY, "programmatic_access_type": "Deploy key"}
    elif action.startswith("git."):
        value |= {
            "hashed_token": token_of(actor),
            "programmatic_access_type": "Fine-grained personal access token",
        }
    return json.dumps(value, separators=(",", ":")) + "\n"


def token_of(login: str) -> str:
    """The hash of somebody's access token, as GitHub logs it."""
    return base64.b64encode(drawn("token", login)).decode()


def github_name(who: str) -> str:
    """The login of somebody, the lab's included; empty for the deploy key."""
    return {"lab": LAB_LOGIN, "vendor:marlow": ""}.get(who) if who in {"lab", "vendor:marlow"} else login(who)


# --- Vault


def accessor_of(person: str) -> str:
    """The accessor of somebody's Vault token, as the audit device hashes it."""
    return "hmac-sha256:" + drawn("accessor", person).hex()


def vault_lines(at: int, person: str, path: str, number: int, *, ok: bool) -> str:
    """A request and its response."""
    told = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{number % 1_000_000:06d}Z"
    vendor, _, handle = person.partition("/")
    token = "hmac-sha256:" + drawn("vault", person).hex()
    auth = {
        "client_token": token,
        "accessor": accessor_of(person),
        "display_name": f"oidc-{handle}",
        "policies": ["default", vendor],
        "token_policies": ["default", vendor],
        "entity_id": entity(person),
        "token_type": "service",
    }
    request = {
        "id": str(uuid.UUID(bytes=drawn("request", number)[:16], version=4)),
        "client_id": entity(person),
        "operation": "read",
        "mount_point": "kv/",
        "mount_type": "kv",
        "mount_class": "secret",
        "client_token": token,
        "client_token_accessor": auth["accessor"],
        "namespace": {"id": "root"},
        "path": path,
        "remote_address": address(person),
        "remote_port": 40_000 + number % 20_000,
    }
    asked = {"time": told, "type": "request", "auth": auth, "request": request}
    answered = {**asked, "type": "response", "response": {"mount_type": "kv", "mount_point": "kv/"}}
    if ok:
        answered["response"]["data"] = {"data": {"value": "hmac-sha256:" + drawn("value", path).hex()}}
    else:
        asked["error"] = answered["error"] = "1 error occurred:\n\t* permission denied\n\n"
    return "".join(json.dumps(each, separators=(",", ":")) + "\n" for each in (asked, answered))
