"""Multipart uploads: create, upload part, complete, abort, list parts, list uploads. UploadPartCopy is refused.

An upload is its writer's alone. A checksum that the completion states, for a part or for the whole, is checked against
those of the parts as they were received; one that can't be checked is refused, not ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from limen.core.errors import Conflict, Invalid, NotFound, PreconditionFailed, Unsupported
from limen.doors.s3.body import Body, document
from limen.doors.s3.call import MAX_KEYS
from limen.doors.s3.errors import InvalidPart, InvalidPartOrder, NoSuchUpload
from limen.doors.s3.reply import Reply, header, iso_date, receipt_headers, xml
from limen.doors.s3.writing import absent_only, check_options, content_type, kept, take
from limen.formats import checksums, s3uri, s3xml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limen.access import Access
    from limen.doors.s3.call import Call
    from limen.store.drops import Dropped

MAX_PARTS: Final = 10_000
_ELEMENTS: Final = {f"Checksum{kind.upper()}": kind for kind in checksums.KINDS}
_PART_ERRORS: Final[dict[str, type[Invalid]]] = {"ETag": InvalidPart, "PartNumber": InvalidPartOrder, "parts": s3xml.Malformed}


async def create(access: Access, call: Call) -> Reply:
    """Begin an upload; its id means nothing to anybody else."""
    check_options(call)
    s3uri.check_new_key(call.key)
    algorithm = call.headers.get("x-amz-checksum-algorithm", "")
    if algorithm:
        checksums.kind_of(algorithm)
    upload = await access.begin(
        call.session, call.key, client=call.client, content_type=content_type(call), checksum=algorithm.lower()
    )
    reply = xml(
        "InitiateMultipartUploadResult",
        [("Bucket", call.place.bucket), ("Key", call.key), ("UploadId", upload.id)],
    )
    if algorithm:
        reply.headers.append(header("x-amz-checksum-algorithm", algorithm.upper()))
    return reply


async def upload_part(access: Access, call: Call) -> Reply:
    """Take one part. The same number again replaces it."""
    check_options(call)
    number = call.number("partNumber", default=0, most=MAX_PARTS + 1)
    if not 1 <= number <= MAX_PARTS:
        raise Invalid("partNumber", f"must be a whole number from 1 to {MAX_PARTS}")
    body = Body(call)
    try:
        reception = await access.accept_part(
            call.session, call.params["uploadId"], call.key, number, length=body.length, client=call.client
        )
    except NotFound as e:
        raise NoSuchUpload(str(e)) from e
    stored, verified = await take(call, body, reception)
    return kept(stored, verified)


async def complete(access: Access, call: Call) -> Reply:
    """Join the parts that the body names, in its order, into one object."""
    only_if_absent = absent_only(call)
    stated = checksums.declared(call.headers)
    own = {"md5": stated.pop("md5")} if "md5" in stated else {}  # only Content-MD5 is of this body; the rest is the object's
    request = await document(call, root="CompleteMultipartUpload", stated=own)
    named = [_part_in(element) for element in request.all("Part")]
    upload_id = call.params["uploadId"]
    try:
        verified: dict[str, str] = {}
        if stated or any(of_part for _, _, of_part in named):
            verified = _check(await access.parts(call.session, upload_id, call.key, client=call.client), named, stated)
        pairs = [(number, etag) for number, etag, _ in named]
        stored = await access.finish(call.session, upload_id, call.key, pairs, client=call.client, only_if_absent=only_if_absent)
    except NotFound as e:
        raise NoSuchUpload(str(e)) from e
    except Conflict as e:
        if only_if_absent:
            raise PreconditionFailed("If-None-Match") from e
        raise
    except Invalid as e:
        kind = _PART_ERRORS.get(e.field)
        if type(e) is not Invalid or kind is None:
            raise
        raise (s3xml.Malformed(e.why) if kind is s3xml.Malformed else kind(e.field, e.why)) from e
    content: list[tuple[str, s3xml.Content]] = [
        ("Location", f"/{call.place.bucket}/{call.key}"),
        ("Bucket", call.place.bucket),
        ("Key", call.key),
        ("ETag", f'"{stored.etag}"'),
        *((f"Checksum{kind.upper()}", value) for kind, value in verified.items()),
    ]
    reply = xml("CompleteMultipartUploadResult", content)
    reply.headers += receipt_headers(stored.entry, stored.receipt)
    return reply


async def abort(access: Access, call: Call) -> Reply:
    """Drop an upload and its parts."""
    try:
        await access.abandon(call.session, call.params["uploadId"], call.key, client=call.client)
    except NotFound as e:
        raise NoSuchUpload(str(e)) from e
    return Reply(204)


async def list_parts(access: Access, call: Call) -> Reply:
    """The parts of one's own upload so far."""
    after = call.number("part-number-marker", default=0, most=MAX_PARTS)
    most = call.number("max-parts", default=MAX_KEYS, most=MAX_KEYS)
    try:
        parts = await access.parts(call.session, call.params["uploadId"], call.key, client=call.client)
    except NotFound as e:
        raise NoSuchUpload(str(e)) from e
    left = sorted((number, part) for number, part in parts.items() if number > after)
    shown = left[:most]
    lines: list[tuple[str, s3xml.Content]] = [("Part", _part_line(number, part)) for number, part in shown]
    content: list[tuple[str, s3xml.Content]] = [
        ("Bucket", call.place.bucket),
        ("Key", call.key),
        ("UploadId", call.params["uploadId"]),
        ("PartNumberMarker", after),
        ("NextPartNumberMarker", shown[-1][0] if shown else after),
        ("MaxParts", most),
        ("IsTruncated", len(left) > len(shown) > 0),
        ("StorageClass", "STANDARD"),
    ]
    return xml("ListPartsResult", [*content, *lines])


async def list_uploads(access: Access, call: Call) -> Reply:
    """One's own uploads in progress."""
    prefix, marker = call.params.get("prefix", ""), call.params.get("key-marker", "")
    id_marker = call.params.get("upload-id-marker", "")
    most = call.number("max-uploads", default=MAX_KEYS, most=MAX_KEYS)
    found = await access.uploads(call.session, prefix=prefix, client=call.client)
    # Without an id to go on after, a key marker skips all uploads of that key.
    left = sorted(
        (path, upload.id, upload.begun_at)
        for path, upload in found
        if path > marker or (path == marker and bool(id_marker) and upload.id > id_marker)
    )
    shown = left[:most]
    truncated = len(left) > len(shown) > 0
    content: list[tuple[str, s3xml.Content]] = [
        ("Bucket", call.place.bucket),
        ("Prefix", prefix),
        ("KeyMarker", marker),
        ("UploadIdMarker", id_marker),
        ("MaxUploads", most),
        ("IsTruncated", truncated),
    ]
    if truncated:
        content += [("NextKeyMarker", shown[-1][0]), ("NextUploadIdMarker", shown[-1][1])]
    uploads: list[tuple[str, s3xml.Content]] = [
        ("Upload", [("Key", path), ("UploadId", upload_id), ("Initiated", iso_date(begun_at)), ("StorageClass", "STANDARD")])
        for path, upload_id, begun_at in shown
    ]
    return xml("ListMultipartUploadsResult", [*content, *uploads])


def _part_in(element: s3xml.Element) -> tuple[int, str, dict[str, str]]:
    """Number, ETag and stated checksums of one <Part>."""
    number, etag = element.get("PartNumber"), element.get("ETag")
    if number is None or etag is None or not (number.isascii() and number.isdigit() and len(number) <= len(str(MAX_PARTS))):
        raise s3xml.Malformed("each <Part> needs a <PartNumber> and an <ETag>")
    stated: dict[str, str] = {}
    for child in element.children:
        if child.name.startswith("Checksum"):
            if child.name not in _ELEMENTS:
                raise Unsupported(f"the checksum <{child.name}> is not offered")
            stated[_ELEMENTS[child.name]] = child.text.strip()
    return int(number), etag.strip('"'), stated


def _check(
    parts: Mapping[int, Dropped], named: list[tuple[int, str, dict[str, str]]], whole: Mapping[str, str]
) -> dict[str, str]:
    """Hold what a completion states against what was received. Returns the whole's checksums that hold."""
    for number, _, stated in named:
        for kind, value in stated.items():
            if number not in parts or parts[number].checksums.get(kind) != value:
                raise InvalidPart("Part", f"part {number} was not uploaded with that {kind}")
    for kind, value in whole.items():
        received = []
        for number, _, _ in named:
            part = parts.get(number)
            if part is None or kind not in part.checksums:
                raise InvalidPart("Part", f"part {number} came without a {kind}, so that of the whole can't be checked")
            received.append((part.checksums[kind], part.length))
        checksums.check_joined(kind, value, received)
    return dict(whole)


def _part_line(number: int, part: Dropped) -> list[tuple[str, s3xml.Content]]:
    return [
        ("PartNumber", number),
        ("LastModified", iso_date(part.stored_at)),
        ("ETag", f'"{part.etag}"'),
        ("Size", part.length),
        *((f"Checksum{kind.upper()}", value) for kind, value in part.checksums.items()),
    ]
