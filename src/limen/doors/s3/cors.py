"""Cross-origin requests: which web origins may read an answer. Follows the Fetch standard's CORS protocol.

A preflight is answered without a signature, since browsers send none: it says only what the configuration says, never what
is stored. With no origin configured, every preflight is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from limen.core.errors import Denied
from limen.doors.s3.reply import Reply, header

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limen.doors.s3.reply import Headers

METHODS: Final = "GET, HEAD, PUT, POST, DELETE"
EXPOSED: Final = (
    "etag, content-range, content-length, last-modified, x-amz-request-id,"
    " x-amz-checksum-crc64nvme, x-limen-entry, x-limen-receipt, x-limen-reason"
)


def preflight(headers: Mapping[str, str], *, origins: frozenset[str]) -> Reply:
    """Answer OPTIONS: what a page of that origin may send. Raises Denied for every other."""
    origin = headers.get("origin", "")
    if origin not in origins or "access-control-request-method" not in headers:
        raise Denied("cross-origin requests from this origin are not allowed", rule="cors")
    asked = headers.get("access-control-request-headers", "")
    allowed = [*allow(headers, origins=origins), header("access-control-allow-methods", METHODS)]
    if asked:
        allowed.append(header("access-control-allow-headers", asked))
    return Reply(200, [*allowed, (b"access-control-max-age", b"600")])


def allow(headers: Mapping[str, str], *, origins: frozenset[str]) -> Headers:
    """The headers that let a page of a configured origin read this answer; none for others."""
    origin = headers.get("origin", "")
    if origin not in origins:
        return []
    return [
        header("access-control-allow-origin", origin),
        header("access-control-expose-headers", EXPOSED),
        (b"vary", b"origin"),
    ]
