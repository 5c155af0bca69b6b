"""Reads Amazon S3 server access logs (log format of the S3 User Guide, 24 to 26 fields; later fields are let be).

S3 delivers them on a best-effort basis and promises no completeness: so coverage by events alone is called that, too.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from limen.observe.cloudtrail import by_arn
from limen.observe.reader import read_lines
from limen.observe.rows import US, OddError, id_of, network_of, size_of

if TYPE_CHECKING:
    from limen.observe.inputs import Feed
    from limen.observe.reader import Taken
    from limen.observe.report import Report
    from limen.observe.rows import Rows

_LINE: Final = re.compile(
    r"(?P<owner>\S+) (?P<bucket>\S+) \[(?P<time>[^\]]{20,32})\] (?P<address>\S+) (?P<requester>\S+) (?P<id>\S+)"
    r' (?P<operation>\S+) (?P<key>\S+) (?:"(?P<uri>.*?)"|-) (?P<status>\d{3}|-) (?P<error>\S+) (?P<sent>\d+|-)'
    r" (?P<size>\d+|-) "
)
_TIME: Final = re.compile(r"(\d\d)/([A-Z][a-z]{2})/(\d{4}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)\Z")
_MONTHS: Final = {name: n for n, name in enumerate("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), start=1)}  # noqa: SIM905
_CANONICAL: Final = re.compile(r"[0-9a-f]{64}\Z")

# What is asked of an object or a bucket; anything else is a setting.
_ACTIONS: Final[dict[tuple[str, str], str]] = {
    ("GET", "OBJECT"): "read",
    ("GET", "OBJECT_TORRENT"): "read",
    ("SELECT", "OBJECT_CONTENT"): "read",
    ("COPY", "OBJECT_GET"): "read",
    ("COPY", "PART_GET"): "read",
    ("HEAD", "OBJECT"): "head",
    ("HEAD", "BUCKET"): "head",
    ("GET", "ACL"): "head",
    ("GET", "OBJECT_TAGGING"): "head",
    ("GET", "OBJECT_ATTRIBUTES"): "head",
    ("GET", "BUCKET"): "list",
    ("GET", "BUCKETVERSIONS"): "list",
    ("GET", "UPLOADS"): "list",
    ("GET", "UPLOAD"): "list",
    ("GET", "SERVICE"): "list",
    ("PUT", "OBJECT"): "write",
    ("POST", "OBJECT"): "write",
    ("POST", "UPLOADS"): "write",
    ("POST", "UPLOAD"): "write",
    ("PUT", "PART"): "write",
    ("COPY", "OBJECT"): "write",
    ("COPY", "PART"): "write",
    ("DELETE", "OBJECT"): "delete",
    ("POST", "MULTI_OBJECT_DELETE"): "delete",
    ("DELETE", "UPLOAD"): "delete",
}


class S3Access:
    """Reads S3 server access logs."""

    kind = "s3access"
    fields = (
        "Bucket",
        "Time",
        "Remote IP (its /24 or /48 network)",
        "Requester",
        "Request ID (hashed)",
        "Operation (as action and detail)",
        "Key",
        "Request-URI: the prefix that a list asks for",
        "HTTP status (as outcome)",
        "Bytes Sent",
        "Object Size (of a write)",
    )
    gap_s = 6 * 3600
    basis = "best-effort"

    def ends_us(self, name: str) -> None:
        """Names tell when a log was written, hours after what it tells."""
        del name

    def read(self, feed: Feed, rows: Rows, report: Report) -> None:
        """Read one log."""
        read_lines(feed.chunks(), _take, feed=feed, rows=rows, report=report)


def _take(raw: bytes) -> Taken:
    line = raw.decode("utf-8", "replace")
    found = _LINE.match(line)
    if found is None:
        raise OddError("is no line of an S3 server access log")
    at_us = _moment(found["time"])
    parts = found["operation"].split(".")
    if len(parts) < 3 or parts[0] in ("S3", "BATCH"):  # noqa: PLR2004  TYPE.METHOD.RESOURCE
        return at_us, [], "S3's own acts (lifecycle, restore, batches)"
    method, thing = parts[1], ".".join(parts[2:])
    action, detail = _ACTIONS.get((method, thing)), ""
    if action is None:
        if method in ("GET", "HEAD", "OPTIONS"):
            return at_us, [], "reads of S3 settings"
        action, detail = "admin", f"s3.{found['operation']}"
    bucket = found["bucket"]
    key = "" if found["key"] == "-" else unquote(found["key"])
    if action == "list" and not key:
        key = _prefix(found["uri"] or "")
    resource = "s3://" if bucket == "-" else f"s3://{bucket}/{key}"
    principal, session = _requester(found["requester"])
    told = found["sent"] if action == "read" else found["size"] if action == "write" else "-"
    status = found["status"]
    row = (
        id_of(found["id"], at_us, principal, session, found["operation"], resource),
        at_us,
        principal,
        session,
        "",
        action,
        resource,
        None if told == "-" else size_of(int(told[:20])),
        "ok" if status[0] in "23" else "denied" if status in ("401", "403") else "failed",
        network_of(found["address"]),
        detail,
    )
    return at_us, [row], ""


def _prefix(uri: str) -> str:
    asked = re.search(r"[?&]prefix=([^& ]*)", uri)
    return unquote(asked.group(1).replace("+", " ")) if asked else ""


def _requester(text: str) -> tuple[str, str]:
    if text == "-":
        return "aws:anonymous", ""
    if text.startswith("arn:"):
        return by_arn(text)
    if text.startswith("svc:"):
        return f"aws:service/{text[4:]}", ""
    return (f"aws:canonical/{text}", "") if _CANONICAL.match(text) else (f"aws:unknown/{text}", "")


_hours: dict[str, int] = {}


def _moment(text: str) -> int:
    """`06/Feb/2019:00:00:38 +0000`."""
    hour = _hours.get(text[:14] + text[20:])
    if hour is None or not text[14:20].replace(":", "").isdecimal():
        found = _TIME.match(text)
        if found is None or found[2] not in _MONTHS:
            raise OddError("has a time that is none")
        day, month, year, hours, minutes, seconds, sign, away_h, away_m = found.groups()
        away = timedelta(hours=int(away_h), minutes=int(away_m)) * (1 if sign == "+" else -1)
        zone = timezone(away) if away else UTC
        moment = datetime(int(year), _MONTHS[month], int(day), int(hours), tzinfo=zone)
        hour = int(moment.timestamp()) * US
        if len(_hours) < 100_000:  # noqa: PLR2004  bounds memory
            _hours[text[:14] + text[20:]] = hour
        return hour + (int(minutes) * 60 + int(seconds)) * US
    return hour + (int(text[15:17]) * 60 + int(text[18:20])) * US
