"""Records as other systems write them, in their own forms; a test bends one field at a time."""

from __future__ import annotations

import gzip
import json
import uuid
from datetime import UTC, datetime
from typing import Any

APRIL = 1_775_001_600  # 2026-04-01T00:00:00Z
ACCOUNT = "111122223333"


def moment(at: float) -> str:
    """An RFC 3339 time of a second since 1970."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def assumed(role: str, session: str, *, key: str = "ASIAEXAMPLE000000001") -> dict[str, Any]:
    """A CloudTrail userIdentity of somebody who assumed a role."""
    issuer = {"type": "Role", "arn": f"arn:aws:iam::{ACCOUNT}:role/{role}", "accountId": ACCOUNT, "userName": role}
    return {
        "type": "AssumedRole",
        "principalId": f"AROAEXAMPLE:{session}",
        "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{session}",
        "accountId": ACCOUNT,
        "accessKeyId": key,
        "sessionContext": {"sessionIssuer": issuer, "attributes": {"mfaAuthenticated": "false"}},
    }


def cloudtrail(number: int, *, at: float = APRIL, name: str = "GetObject", key: str = "", **more: Any) -> dict[str, Any]:
    """A CloudTrail record of an S3 data event. `number` makes its eventID."""
    return {
        "eventVersion": "1.11",
        "userIdentity": assumed("quill-annotator", "q01"),
        "eventTime": moment(at),
        "eventSource": "s3.amazonaws.com",
        "eventName": name,
        "awsRegion": "eu-central-1",
        "sourceIPAddress": "203.0.113.7",
        "userAgent": "[Boto3/1.40 of somebody's laptop]",
        "requestParameters": {"bucketName": "orchid-data", "key": key or f"sft/shard-{number:05}.jsonl"},
        "responseElements": None,
        "additionalEventData": {"bytesTransferredIn": 0, "bytesTransferredOut": 1000 + number, "x-amz-id-2": "dropped"},
        "requestID": f"{number:016X}",
        "eventID": str(uuid.UUID(int=number)),
        "readOnly": True,
        "eventType": "AwsApiCall",
        "managementEvent": False,
        "recipientAccountId": ACCOUNT,
        "eventCategory": "Data",
        **more,
    }


def log_file(*records: dict[str, Any]) -> bytes:
    """A CloudTrail log file, as it lies in a bucket."""
    return gzip.compress(json.dumps({"Records": records}, separators=(",", ":")).encode(), mtime=0)


def log_name(number: int, *, at: float) -> str:
    """The name of a log file delivered at a time."""
    stamp = datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%MZ")
    return f"{ACCOUNT}_CloudTrail_eu-central-1_{stamp}_{number:016x}.json.gz"


def json_lines(*records: dict[str, Any]) -> bytes:
    """One record a line."""
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def access_line(number: int, *, at: float = APRIL, operation: str = "REST.GET.OBJECT", **more: str) -> bytes:
    """A line of an S3 server access log."""
    told = {
        "requester": f"arn:aws:sts::{ACCOUNT}:assumed-role/quill-annotator/q01",
        "key": f"sft/shard-{number:05}.jsonl",
        "uri": f"GET /orchid-data/sft/shard-{number:05}.jsonl HTTP/1.1",
        "status": "200",
        "error": "-",
        "sent": str(1000 + number),
        "size": "5000",
        **more,
    }
    when = datetime.fromtimestamp(at, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
    return (
        f"{'79' * 32} orchid-data [{when}] 203.0.113.7 {told['requester']} {number:016X} {operation} {told['key']} "
        f'"{told["uri"]}" {told["status"]} {told["error"]} {told["sent"]} {told["size"]} 17 9 "-" "Boto3/1.40 \\"odd\\"" - '
        "s9lzHYrFp76 SigV4 TLS_AES_128_GCM_SHA256 AuthHeader orchid-data.s3.eu-central-1.amazonaws.com TLSv1.3 - -\n"
    ).encode()


def github(number: int, *, at: float = APRIL, action: str = "git.clone", **more: Any) -> dict[str, Any]:
    """An event of GitHub's audit log; a field set to None is not there."""
    event = {
        "@timestamp": int(at * 1000),
        "_document_id": f"doc{number:08}",
        "action": action,
        "actor": "ada-quill",
        "actor_ip": "203.0.113.7",
        "created_at": int(at * 1000),
        "org": "aurelia",
        "repo": "aurelia/orchid-tools",
        "transport_protocol_name": "http",
        "hashed_token": "3vLFsj9xWq2YFUVIRF2b0J6A1aV6t2GxkfDQsxFJXuE=",
        "programmatic_access_type": "Fine-grained personal access token",
        "user_agent": "git/2.47.0",
        **more,
    }
    return {field: value for field, value in event.items() if value is not None}


def vault(number: int, *, at: float = APRIL, kind: str = "response", **more: Any) -> dict[str, Any]:
    """An entry of a Vault audit device; fields of the request may be given by name."""
    request = {
        "id": str(uuid.UUID(int=number)),
        "operation": "read",
        "mount_point": "kv/",
        "client_token": "hmac-sha256:aa",
        "path": "kv/data/quillwork/annotator",
        "namespace": {"id": "root"},
        "remote_address": "203.0.113.7",
    }
    auth = {"entity_id": "e-q01", "display_name": "oidc-q01", "accessor": "hmac-sha256:bb", "client_token": "hmac-sha256:aa"}
    entry = {"time": f"{moment(at)[:-1]}.{number % 1000:03}000001Z", "type": kind, "auth": auth, "request": request}
    if kind == "response":
        entry["response"] = {"data": {"data": {"value": "hmac-sha256:cc"}}}
    for field, value in more.items():
        (entry if field in ("auth", "error", "response") else request)[field] = value
    return entry
