"""Writing operations: PutObject, DeleteObject, DeleteObjects, and the CreateBucket that some tools send first.

Only drop boxes take objects; `access` says so. Authority is settled and the intent durable before the first byte of a body
is received, and nothing is kept unless every hash and length that was stated holds. Options that would change what is
stored, and that limen does not have, are refused rather than ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from limen.core.errors import (
    Conflict,
    Denied,
    Invalid,
    LimenError,
    NotFound,
    Paused,
    PreconditionFailed,
    SessionEnded,
    Unsupported,
)
from limen.doors.s3 import errors
from limen.doors.s3.body import Body, document
from limen.doors.s3.call import MAX_KEYS
from limen.doors.s3.reply import Reply, header, receipt_headers, xml
from limen.formats import s3uri, s3xml

if TYPE_CHECKING:
    from limen.access import Access
    from limen.core.types import Stored
    from limen.doors.s3.call import Call
    from limen.receive import Reception

_ACLS: Final = frozenset({"", "private", "bucket-owner-full-control"})
_REFUSED: Final = {
    "x-amz-copy-source": "copying within the store is not offered; read the object and put it",
    "x-amz-server-side-encryption": "encryption is not chosen by the request; leave it out",
    "x-amz-tagging": "objects carry no tags",
    "x-amz-object-lock": "objects carry no locks",
    "x-amz-website-redirect-location": "objects carry no redirects",
    "x-amz-grant-": "objects carry no access lists; grants are made by the lab",
    "x-amz-write-offset-bytes": "objects are not appended to; put the whole",
    "if-match": "a conditional overwrite is not offered; use If-None-Match: *",
}


async def put_object(access: Access, call: Call) -> Reply:
    """Put one object into a drop box."""
    check_options(call)
    s3uri.check_new_key(call.key)
    only_if_absent = absent_only(call)
    body = Body(call)
    reception = await access.accept(
        call.session, call.key, length=body.length, client=call.client, content_type=content_type(call)
    )
    stored, checksums = await take(call, body, reception, only_if_absent=only_if_absent)
    return kept(stored, checksums)


async def delete_object(access: Access, call: Call) -> Reply:
    """Remove one's own upload. What is not there is deleted already, as in S3; the attempt is logged all the same."""
    try:
        await access.remove(call.session, call.key, client=call.client)
    except NotFound:
        return Reply(204)
    return Reply(204)


async def delete_objects(access: Access, call: Call) -> Reply:
    """Remove several of one's own uploads; each is its own access, and each its own answer."""
    request = await document(call, root="Delete")
    named = request.all("Object")
    if not 1 <= len(named) <= MAX_KEYS:
        raise s3xml.Malformed(f"need from 1 to {MAX_KEYS} <Object>")
    keys = [_key_in(element) for element in named]
    quiet = (request.get("Quiet") or "").lower() == "true"
    answers: list[tuple[str, s3xml.Content]] = []
    for key in keys:
        refusal = await _remove(access, call, key)
        if refusal is not None:
            row = errors.row_of(refusal)
            reason = row.message or str(getattr(refusal, "reason", ""))
            answers.append(("Error", [("Key", key), ("Code", row.code), ("Message", reason)]))
        elif not quiet:
            answers.append(("Deleted", [("Key", key)]))
    return xml("DeleteResult", answers)


async def create_bucket(access: Access, call: Call) -> Reply:
    """Say that the project is there already. Projects are made by the lab, not by a request."""
    await access.projects(call.session, client=call.client)
    raise errors.BucketOwned(f"the bucket {call.place.bucket!r} is your project, and is there already")


def check_options(call: Call) -> None:
    """Refuse the headers that ask for what limen does not have. `x-amz-meta-*` is taken and not kept."""
    for name in call.headers:
        for refused, why in _REFUSED.items():
            if name.startswith(refused):
                raise Unsupported(f"{name}: {why}")
    if call.headers.get("x-amz-acl", "") not in _ACLS:
        raise Unsupported("x-amz-acl: objects carry no access lists; grants are made by the lab")
    if call.headers.get("x-amz-storage-class", "STANDARD") != "STANDARD":
        raise Unsupported("x-amz-storage-class: there is only STANDARD")


def absent_only(call: Call) -> bool:
    """Whether the writer asked not to overwrite. `*` is the only condition that S3 has for this too."""
    condition = call.headers.get("if-none-match")
    if condition is None:
        return False
    if condition.strip() != "*":
        raise Unsupported("If-None-Match: only * goes with a write")
    return True


def content_type(call: Call) -> str:
    """The type that the writer states, to be shown again to the lab's readers."""
    stated = call.headers.get("content-type", "")
    if not stated.isprintable() or len(stated) > MAX_KEYS:
        raise Invalid("content-type", "is not a media type")
    return stated or "application/octet-stream"


async def take(call: Call, body: Body, reception: Reception, *, only_if_absent: bool = False) -> tuple[Stored, dict[str, str]]:
    """Receive the body into an open reception and keep it, or keep nothing. A pause cuts the connection meanwhile."""
    reception.watch(call.abort)
    try:
        async for chunk in body.chunks():
            await reception.write(chunk)
        checksums = {kind: value for kind, value in body.verified().items() if kind != "md5"}
    except BaseException:  # also a cancelled task: whatever ended the upload, nothing of it may stay
        await reception.abort()
        raise
    try:
        return await reception.commit(only_if_absent=only_if_absent, checksums=checksums), checksums
    except Conflict as e:
        if only_if_absent:
            raise PreconditionFailed("If-None-Match") from e
        raise


def kept(stored: Stored, checksums: dict[str, str]) -> Reply:
    """The answer to what was stored: its ETag, its entry, and the checksums that were verified."""
    headers = [header("etag", f'"{stored.etag}"'), *receipt_headers(stored.entry, stored.receipt)]
    headers += [header(f"x-amz-checksum-{kind}", value) for kind, value in checksums.items()]
    if checksums:
        headers.append((b"x-amz-checksum-type", b"FULL_OBJECT"))
    return Reply(200, headers)


async def _remove(access: Access, call: Call, key: str) -> LimenError | None:
    """Remove one of several. What concerns the whole request (a pause, a lost ledger) is raised."""
    try:
        await access.remove(call.session, key, client=call.client)
    except NotFound:
        return None
    except (Paused, SessionEnded):
        raise
    except (Denied, Invalid, Unsupported) as refusal:
        return refusal
    return None


def _key_in(element: s3xml.Element) -> str:
    """The key of one <Object>, taken as it stands: spaces belong to it."""
    keys = element.all("Key")
    if len(keys) != 1 or not keys[0].text:
        raise s3xml.Malformed("each <Object> needs one <Key>")
    if (element.get("VersionId") or "null") != "null":
        raise Unsupported("versions can't be named; there is only the newest")
    return keys[0].text
