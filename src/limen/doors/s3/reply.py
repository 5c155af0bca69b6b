"""What an operation answers: a status, headers, and either a few bytes or a Delivery. Nothing here decides anything."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING

from limen.core.errors import LedgerUnavailable, LimenError
from limen.doors.s3 import errors
from limen.formats import receipt as receipts
from limen.formats import s3xml, sigv4

if TYPE_CHECKING:
    from limen.access import Delivery
    from limen.core.types import Receipt

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")

Headers = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Reply:
    """One answer. With a `delivery`, its span is the body and `headers` state its length."""

    status: int
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    delivery: Delivery | None = None


def xml(root: str, content: s3xml.Content, *, status: int = 200) -> Reply:
    """A document in S3's namespace."""
    return Reply(status, [(b"content-type", b"application/xml")], s3xml.document(root, content))


def refusal(error: LimenError | None, *, resource: str, request_id: str) -> Reply:
    """An error in S3's words; None is a failure of limen's own."""
    row = errors.INTERNAL if error is None else errors.row_of(error)
    headers: Headers = [(b"content-type", b"application/xml"), (b"x-limen-reason", row.word.encode())]
    if isinstance(error, LedgerUnavailable):
        headers.append((b"retry-after", b"1"))
    if isinstance(error, sigv4.MalformedAuthorization) and error.region:  # a HEAD has no document to name it in
        headers.append(header("x-amz-bucket-region", error.region))
    return Reply(row.status, headers, errors.document(row, error, resource=resource, request_id=request_id))


def header(name: str, value: str) -> tuple[bytes, bytes]:
    """One header line; what a header can't hold becomes `?`, so that no stored text can end a line early."""
    return name.encode("latin-1"), _CONTROL.sub("?", value).encode("latin-1", "replace")


def receipt_headers(entry: int, receipt: Receipt) -> Headers:
    """Which entry covers this, and a receipt to hold against the log later."""
    return [header("x-limen-entry", str(entry)), (b"x-limen-receipt", receipts.header(receipt).encode())]


def http_date(seconds: int) -> str:
    """RFC 9110's date form."""
    return format_datetime(datetime.fromtimestamp(seconds, UTC), usegmt=True)


def iso_date(seconds: int) -> str:
    """The date form of S3's documents."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
