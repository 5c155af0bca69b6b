"""Listing operations: ListObjects (v1 and v2), ListObjectVersions.

`page` cuts one page out of a sorted listing, purely. Continuation tokens only carry the last name that the caller was
shown; a forged one shows nothing that the same caller could not list. Order is that of UTF-8 bytes, as S3's.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from limen.core.errors import Invalid
from limen.doors.s3.call import MAX_KEYS
from limen.doors.s3.reply import iso_date, xml

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from limen.access import Access
    from limen.core.types import Listed
    from limen.doors.s3.call import Call
    from limen.doors.s3.reply import Reply
    from limen.formats.s3xml import Content

_MARK: Final = "limen1:"


@dataclass(frozen=True, slots=True)
class Page:
    """One page: objects, common prefixes, and the name to go on after (None at the end)."""

    objects: tuple[Listed, ...]
    prefixes: tuple[str, ...]
    next_after: str | None


def page(lines: Sequence[Listed], *, prefix: str, delimiter: str, after: str, most: int) -> Page:
    """The names after `after`, with those that share a part up to `delimiter` rolled into one, at most `most` in all.

    `lines` are sorted by path. A name to go on after may itself be a common prefix: all below it was shown.
    """
    objects: list[Listed] = []
    prefixes: list[str] = []
    last = ""
    for line in lines:
        if line.path <= after or not line.path.startswith(prefix):
            continue
        cut = line.path.find(delimiter, len(prefix)) if delimiter else -1
        name = line.path if cut < 0 else line.path[: cut + len(delimiter)]
        if cut >= 0 and (name == after or (prefixes and prefixes[-1] == name)):
            continue
        if len(objects) + len(prefixes) == most:
            return Page(tuple(objects), tuple(prefixes), last or None)
        if cut < 0:
            objects.append(line)
        else:
            prefixes.append(name)
        last = name
    return Page(tuple(objects), tuple(prefixes), None)


async def list_objects(access: Access, call: Call) -> Reply:
    """ListObjects, version 1: pages by marker, which rclone and s3cmd use."""
    marker = call.params.get("marker", "")
    found, most = await _page(access, call, after=marker)
    encode = _encoder(call)
    truncated = found.next_after is not None
    content: list[tuple[str, Content]] = [
        ("Name", call.place.bucket),
        ("Prefix", encode(call.params.get("prefix", ""))),
        ("Marker", encode(marker)),
        ("MaxKeys", most),
        ("IsTruncated", truncated),
        *_asked(call, encode),
    ]
    if found.next_after is not None:
        content.append(("NextMarker", encode(found.next_after)))
    return xml("ListBucketResult", [*content, *_objects(found, encode), *_prefixes(found, encode)])


async def list_objects_v2(access: Access, call: Call) -> Reply:
    """ListObjects, version 2: pages by continuation token."""
    if call.params["list-type"] != "2":
        raise Invalid("list-type", "must be 2, or absent for version 1")
    token, start_after = call.params.get("continuation-token"), call.params.get("start-after", "")
    found, most = await _page(access, call, after=start_after if token is None else _name_in(token))
    encode = _encoder(call)
    content: list[tuple[str, Content]] = [
        ("Name", call.place.bucket),
        ("Prefix", encode(call.params.get("prefix", ""))),
        ("KeyCount", len(found.objects) + len(found.prefixes)),
        ("MaxKeys", most),
        ("IsTruncated", found.next_after is not None),
        *_asked(call, encode),
    ]
    if start_after:
        content.append(("StartAfter", encode(start_after)))
    if token is not None:
        content.append(("ContinuationToken", token))
    if found.next_after is not None:
        content.append(("NextContinuationToken", _token_for(found.next_after)))
    return xml("ListBucketResult", [*content, *_objects(found, encode, owner=_owner(call)), *_prefixes(found, encode)])


async def list_versions(access: Access, call: Call) -> Reply:
    """ListObjectVersions of an unversioned bucket: the newest of each, under the version `null`."""
    marker = call.params.get("key-marker", "")
    found, most = await _page(access, call, after=marker)
    encode = _encoder(call)
    content: list[tuple[str, Content]] = [
        ("Name", call.place.bucket),
        ("Prefix", encode(call.params.get("prefix", ""))),
        ("KeyMarker", encode(marker)),
        ("VersionIdMarker", call.params.get("version-id-marker", "")),
        ("MaxKeys", most),
        ("IsTruncated", found.next_after is not None),
        *_asked(call, encode),
    ]
    if found.next_after is not None:
        content += [("NextKeyMarker", encode(found.next_after)), ("NextVersionIdMarker", "null")]
    versions: list[tuple[str, Content]] = [
        ("Version", [("VersionId", "null"), ("IsLatest", True), *_line(line, encode)]) for line in found.objects
    ]
    return xml("ListVersionsResult", [*content, *versions, *_prefixes(found, encode)])


async def _page(access: Access, call: Call, *, after: str) -> tuple[Page, int]:
    """The page that was asked for. Parameters are read first: nothing is logged for a request that makes no sense."""
    prefix, delimiter = call.params.get("prefix", ""), call.params.get("delimiter", "")
    most = call.number("max-keys", default=MAX_KEYS, most=MAX_KEYS)
    if call.params.get("encoding-type", "url") != "url":
        raise Invalid("encoding-type", "must be url")
    lines = await access.list(call.session, prefix=prefix, client=call.client)
    return page(lines, prefix=prefix, delimiter=delimiter, after=after, most=most), most


def _encoder(call: Call) -> Callable[[str], str]:
    return quote if "encoding-type" in call.params else str


def _asked(call: Call, encode: Callable[[str], str]) -> list[tuple[str, Content]]:
    """The optional parameters, said back as S3 does."""
    content: list[tuple[str, Content]] = []
    if call.params.get("delimiter"):
        content.append(("Delimiter", encode(call.params["delimiter"])))
    if "encoding-type" in call.params:
        content.append(("EncodingType", "url"))
    return content


def _objects(
    found: Page, encode: Callable[[str], str], *, owner: Sequence[tuple[str, Content]] = ()
) -> list[tuple[str, Content]]:
    return [("Contents", [*_line(line, encode), *owner]) for line in found.objects]


def _owner(call: Call) -> list[tuple[str, Content]]:
    """The owner, where asked for: the project, since a listing names no person."""
    if call.params.get("fetch-owner") != "true":
        return []
    return [("Owner", [("ID", call.place.bucket), ("DisplayName", call.place.bucket)])]


def _prefixes(found: Page, encode: Callable[[str], str]) -> list[tuple[str, Content]]:
    return [("CommonPrefixes", [("Prefix", encode(prefix))]) for prefix in found.prefixes]


def _line(line: Listed, encode: Callable[[str], str]) -> list[tuple[str, Content]]:
    return [
        ("Key", encode(line.path)),
        ("LastModified", iso_date(line.modified_at)),
        ("ETag", f'"{line.etag}"'),
        ("Size", line.length),
        ("StorageClass", "STANDARD"),
    ]


def _token_for(name: str) -> str:
    return base64.urlsafe_b64encode((_MARK + name).encode()).decode()


def _name_in(token: str) -> str:
    try:
        raw = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as e:
        raise Invalid("continuation-token", "is not one that this endpoint gave") from e
    if not raw.startswith(_MARK):
        raise Invalid("continuation-token", "is not one that this endpoint gave")
    return raw.removeprefix(_MARK)
