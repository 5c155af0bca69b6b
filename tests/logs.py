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
