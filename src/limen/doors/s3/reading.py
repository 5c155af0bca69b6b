"""Reading operations: ListBuckets, HeadBucket, GetBucketLocation, HeadObject, GetObject.

Each is one call of `access`, so each is logged before its answer. GetObject and HeadObject hand `access.open` the pure
reading of Range and conditions, so that the intent covers the status as well as the bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from limen.core.errors import Invalid, PreconditionFailed
from limen.core.types import Action, Span
from limen.doors.s3.errors import RangeNotSatisfiable
from limen.doors.s3.reply import Reply, header, http_date, iso_date, receipt_headers, refusal, xml
from limen.formats import httprange

if TYPE_CHECKING:
    from collections.abc import Callable

    from limen.access import Access, Delivery
    from limen.doors.s3.call import Call
    from limen.doors.s3.reply import Headers
    from limen.marks.copy import Copy

OVERRIDES: Final = {
    "response-content-type": "content-type",
    "response-content-disposition": "content-disposition",
    "response-content-encoding": "content-encoding",
    "response-content-language": "content-language",
    "response-cache-control": "cache-control",
    "response-expires": "expires",
}
# A copy is one recipient's: no shared cache may keep it. What a drop box holds was chosen by its writer: no browser may run it.
_GUARDS: Final = [
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; sandbox"),
]
_MAX_PART: Final = 10_000


async def list_buckets(access: Access, call: Call) -> Reply:
    """The session's one project. Its CreationDate is when the session began: the door knows no other."""
    projects = await access.projects(call.session, client=call.client)
    since = iso_date(call.session.issued_at)
    buckets = [
        ("Bucket", [("Name", project.id), ("CreationDate", since), ("BucketRegion", call.region)])
        for project in projects
        if project.id.startswith(call.params.get("prefix", "")) and call.params.get("bucket-region", call.region) == call.region
    ]
    owner = [("ID", call.session.pseudonym), ("DisplayName", call.session.pseudonym)]
    return xml("ListAllMyBucketsResult", [("Owner", owner), ("Buckets", buckets)])


async def head_bucket(access: Access, call: Call) -> Reply:
    """Whether the project is there, and the region to sign for."""
    await access.projects(call.session, client=call.client)
    return Reply(200, [header("x-amz-bucket-region", call.region)])


async def get_location(access: Access, call: Call) -> Reply:
    """The region, in S3's oldest document."""
    await access.projects(call.session, client=call.client)
    return xml("LocationConstraint", call.region)


async def get_object(access: Access, call: Call) -> Reply:
    """One object of the caller's own copy, whole or in part; the bytes leave only through the Delivery."""
    return await _open(access, call, Action.READ)


async def head_object(access: Access, call: Call) -> Reply:
    """What GetObject would say, without the bytes."""
    return await _open(access, call, Action.HEAD)


async def _open(access: Access, call: Call, action: Action) -> Reply:
    overrides = _overrides(call)
    choose = _chooser(call)
    delivery = await access.open(call.session, call.key, action=action, choose=choose, client=call.client)
    reply = _represent(call, delivery, overrides)
    if action is Action.READ and delivery.span.status in (httprange.OK, httprange.PARTIAL):
        reply.delivery = delivery
    else:
        delivery.close()
    return reply


def _chooser(call: Call) -> Callable[[Copy, int], Span]:
    """The pure reading of this request against a copy: its status and span."""
    part = _part_number(call)

    def choose(copy: Copy, modified_at: int) -> Span:
        answer = httprange.evaluate(call.headers, etag=copy.etag, modified_at=modified_at, length=copy.length)
        if part is None or answer.status != httprange.OK:
            return Span(answer.status, answer.start, answer.end)
        if part > 1:  # every object has one part
            return Span(httprange.NOT_SATISFIABLE, 0, 0)
        return Span(httprange.PARTIAL if copy.length else httprange.OK, 0, copy.length)

    return choose


def _part_number(call: Call) -> int | None:
    text = call.params.get("partNumber")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_PART)) and 1 <= int(text) <= _MAX_PART):
        raise Invalid("partNumber", f"must be a whole number from 1 to {_MAX_PART}")
    if "range" in call.headers:
        raise Invalid("partNumber", "goes with no Range header; use one of the two")
    return int(text)


def _overrides(call: Call) -> Headers:
    """The response headers that the request's own (signed) parameters set."""
    found = []
    for name, target in OVERRIDES.items():
        value = call.params.get(name)
        if value is None:
            continue
        if not value.isprintable():
            raise Invalid(name, "holds control characters")
        found.append(header(target, value))
    return found


def _represent(call: Call, delivery: Delivery, overrides: Headers) -> Reply:
    """Status and headers of a delivery; and the words of a 412 or 416."""
    copy, span = delivery.copy, delivery.span
    receipt = receipt_headers(delivery.receipt.index, delivery.receipt)
    if span.status == httprange.PRECONDITION_FAILED:
        condition = "If-Match" if "if-match" in call.headers else "If-Unmodified-Since"
        reply = refusal(PreconditionFailed(condition), resource=call.key, request_id=call.request_id)
        reply.headers += receipt
        return reply
    if span.status == httprange.NOT_SATISFIABLE:
        reply = refusal(
            RangeNotSatisfiable("Range", f"starts past the end of {copy.length} bytes"),
            resource=call.key,
            request_id=call.request_id,
        )
        reply.headers += [*receipt, header("content-range", f"bytes */{copy.length}")]
        return reply
    headers = [
        header("etag", f'"{copy.etag}"'),
        header("last-modified", http_date(delivery.modified_at)),
        *receipt,
    ]
    if span.status == httprange.NOT_MODIFIED:
        return Reply(span.status, headers)
    defaults = [header("content-type", copy.content_type), (b"cache-control", b"private")]
    overridden = {name for name, _ in overrides}
    headers += [line for line in defaults if line[0] not in overridden]
    headers += [*overrides, *_GUARDS, (b"accept-ranges", b"bytes"), header("content-length", str(span.end - span.start))]
    if span.status == httprange.PARTIAL:
        headers.append(header("content-range", f"bytes {span.start}-{span.end - 1}/{copy.length}"))
    # Clients check any checksum they are sent against the bytes they got, so a part never carries the whole's.
    whole = span.start == 0 and span.end == copy.length
    if whole and copy.crc64nvme and call.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED":
        headers += [header("x-amz-checksum-crc64nvme", copy.crc64nvme), (b"x-amz-checksum-type", b"FULL_OBJECT")]
    return Reply(span.status, headers)
