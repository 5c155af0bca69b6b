"""Which operation a request names: method, place, and the query parameter that marks it.

One table. Every parameter that an operation does not list is refused by name: an option that is ignored is an answer to
another question. Follows the operations of the Amazon S3 API reference (2006-03-01).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from limen.core.errors import Unsupported
from limen.doors.s3 import listing, multipart, reading, writing
from limen.doors.s3.errors import MethodNotAllowed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from limen.access import Access
    from limen.doors.s3.call import Call
    from limen.doors.s3.reply import Reply

    Operation = Callable[[Access, Call], Awaitable[Reply]]


class Route(NamedTuple):
    """An operation, the parameter that marks it (empty: none needed), and those that may come with it."""

    marker: str
    operation: Operation
    allowed: frozenset[str] = frozenset()


_LIST: Final = frozenset({"prefix", "delimiter", "max-keys", "encoding-type"})
_READ: Final = frozenset({*reading.OVERRIDES, "partNumber", "versionId"})
_ALWAYS: Final = frozenset({"x-id"})  # names the operation once more; SDKs add it

# Within one place and method the first route whose marker is there wins; the one without a marker stands last.
TABLE: Final[dict[tuple[str, str], tuple[Route, ...]]] = {
    ("service", "GET"): (
        Route("", reading.list_buckets, frozenset({"prefix", "max-buckets", "continuation-token", "bucket-region"})),
    ),
    ("bucket", "HEAD"): (Route("", reading.head_bucket),),
    ("bucket", "GET"): (
        Route("location", reading.get_location),
        Route("uploads", multipart.list_uploads, frozenset({"prefix", "max-uploads", "key-marker", "upload-id-marker"})),
        Route("versions", listing.list_versions, _LIST | {"key-marker", "version-id-marker"}),
        Route("list-type", listing.list_objects_v2, _LIST | {"continuation-token", "start-after", "fetch-owner"}),
        Route("", listing.list_objects, _LIST | {"marker"}),
    ),
    ("bucket", "PUT"): (Route("", writing.create_bucket),),
    ("bucket", "POST"): (Route("delete", writing.delete_objects),),
    ("object", "HEAD"): (Route("", reading.head_object, _READ),),
    ("object", "GET"): (
        Route("uploadId", multipart.list_parts, frozenset({"max-parts", "part-number-marker"})),
        Route("", reading.get_object, _READ),
    ),
    ("object", "PUT"): (Route("uploadId", multipart.upload_part, frozenset({"partNumber"})), Route("", writing.put_object)),
    ("object", "POST"): (Route("uploads", multipart.create), Route("uploadId", multipart.complete)),
    ("object", "DELETE"): (
        Route("uploadId", multipart.abort),
        Route("", writing.delete_object, frozenset({"versionId"})),
    ),
}
_METHODS: Final = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE"})


def operation_for(call: Call) -> Operation:
    """The operation that a call names. Raises Unsupported for what limen does not offer, naming it."""
    level = "object" if call.place.key else "bucket" if call.place.bucket else "service"
    if call.method not in _METHODS:
        raise MethodNotAllowed(f"the method {call.method} is not one of S3's")
    for route in TABLE.get((level, call.method), ()):
        if route.marker and route.marker not in call.params:
            continue
        _check_parameters(call, route)
        return route.operation
    named = ", ".join(sorted(name for name in call.params if not _is_signature(name))) or "nothing more"
    raise Unsupported(f"{call.method} on a {level} with {named} is not offered; docs/formats/s3.md lists what is")


def _check_parameters(call: Call, route: Route) -> None:
    for name, value in call.params.items():
        if name == route.marker or name in route.allowed or name in _ALWAYS or _is_signature(name):
            if name == "versionId" and value != "null":
                raise Unsupported("versions can't be named; there is only the newest")
            continue
        raise Unsupported(f"the parameter {name!r} is not offered with this operation")


def _is_signature(name: str) -> bool:
    """Parts of a presigned query, and the x-amz-* headers that some signers move into it."""
    return name.lower().startswith("x-amz-")
