"""One table from limen's errors to S3's: code, status, and the word of `x-limen-reason`. Looked up by MRO.

Follows "Error responses", Amazon S3 API reference (2006-03-01). Only an error's `reason` reaches the caller.
OverQuota is 403 QuotaExceeded: boto3 and rclone report a 403 and stop, where 429 and 503 are tried again for minutes.
LedgerUnavailable is 503 ServiceUnavailable, which both try again, as they should.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from limen.core import errors as core
from limen.formats import awschunked, checksums, s3uri, s3xml, sigv4


class NoSuchBucket(core.NotFound):
    """A bucket that is not this session's project, whether or not it is somebody's."""


class NoSuchUpload(core.NotFound):
    """An upload that is not this writer's, or is over."""


class BucketOwned(core.Conflict):
    """CreateBucket of the project that the session is in."""


class NoToken(core.BadCredential):
    """A signed request without a session token: limen issues no long-lived keys."""


class BadToken(core.BadCredential):
    """A session token that limen did not issue, or not for this access key."""


class RangeNotSatisfiable(core.Invalid):
    """A range that starts past the end. Only its words: the access itself was logged as a 416."""


class MissingLength(core.Invalid):
    """A body whose length was not said beforehand."""


class TooLarge(core.Invalid):
    """A body over the limit of its operation."""


class BodyMismatch(core.Invalid):
    """A body whose SHA-256 is not the signed one."""


class InvalidPart(core.Invalid):
    """A completion that names a part which was not uploaded so."""


class InvalidPartOrder(core.Invalid):
    """A completion whose parts are not in ascending order."""


class MethodNotAllowed(core.Unsupported):
    """A method that S3 itself does not have at this place."""


class Row(NamedTuple):
    """How S3 says one of our errors. `message` stands in where the error's own reason says too little."""

    code: str
    status: int
    word: str
    message: str = ""


TABLE: Final[dict[type[core.LimenError], Row]] = {
    # who
    core.BadCredential: Row("InvalidAccessKeyId", 403, "credential"),
    sigv4.Unsigned: Row("AccessDenied", 403, "credential"),
    sigv4.SignatureV2: Row("InvalidRequest", 400, "credential"),
    sigv4.MalformedAuthorization: Row("AuthorizationHeaderMalformed", 400, "credential"),
    sigv4.UnsignedHeader: Row("AccessDenied", 403, "credential"),
    sigv4.TimeSkewed: Row("RequestTimeTooSkewed", 403, "credential"),
    sigv4.PresignedExpired: Row("AccessDenied", 403, "credential"),
    sigv4.SignatureMismatch: Row("SignatureDoesNotMatch", 403, "credential"),
    awschunked.ChunkMismatch: Row("SignatureDoesNotMatch", 403, "credential"),
    NoToken: Row("InvalidToken", 400, "credential"),
    BadToken: Row("InvalidToken", 400, "credential"),
    # whether they may
    core.Denied: Row("AccessDenied", 403, "denied"),
    core.SessionEnded: Row("ExpiredToken", 400, "ended"),
    core.Paused: Row("AccessDenied", 403, "paused"),
    core.OverQuota: Row("QuotaExceeded", 403, "quota"),
    # what there is
    core.NotFound: Row("NoSuchKey", 404, "not-found", "The key does not exist, or is not in your sandbox."),
    NoSuchBucket: Row("NoSuchBucket", 404, "not-found", "The bucket does not exist, or is not your project."),
    NoSuchUpload: Row("NoSuchUpload", 404, "not-found", "The upload does not exist, is over, or is not yours."),
    core.Conflict: Row("OperationAborted", 409, "conflict"),
    BucketOwned: Row("BucketAlreadyOwnedByYou", 409, "conflict"),
    core.UpstreamChanged: Row("OperationAborted", 409, "changed"),
    core.PreconditionFailed: Row("PreconditionFailed", 412, "condition"),
    # what was asked
    core.Invalid: Row("InvalidArgument", 400, "invalid"),
    RangeNotSatisfiable: Row("InvalidRange", 416, "invalid"),
    MissingLength: Row("MissingContentLength", 411, "invalid"),
    TooLarge: Row("EntityTooLarge", 400, "invalid"),
    BodyMismatch: Row("XAmzContentSHA256Mismatch", 400, "invalid"),
    InvalidPart: Row("InvalidPart", 400, "invalid"),
    InvalidPartOrder: Row("InvalidPartOrder", 400, "invalid"),
    awschunked.BadChunk: Row("InvalidRequest", 400, "invalid"),
    awschunked.Truncated: Row("IncompleteBody", 400, "invalid"),
    s3xml.Malformed: Row("MalformedXML", 400, "invalid"),
    checksums.BadDigest: Row("BadDigest", 400, "invalid"),
    checksums.InvalidDigest: Row("InvalidDigest", 400, "invalid"),
    s3uri.KeyTooLong: Row("KeyTooLongError", 400, "invalid"),
    core.Unsupported: Row("NotImplemented", 501, "unsupported"),
    MethodNotAllowed: Row("MethodNotAllowed", 405, "unsupported"),
    # whether we can
    core.UpstreamUnavailable: Row("ServiceUnavailable", 503, "upstream"),
    core.MarkKeyUnavailable: Row("ServiceUnavailable", 503, "key"),
    core.LedgerUnavailable: Row("ServiceUnavailable", 503, "ledger"),
    core.TamperDetected: Row("InternalError", 500, "tamper"),
    core.Failed: Row("InternalError", 500, "internal"),
}

INTERNAL: Final = Row("InternalError", 500, "internal", "limen failed; nothing more was served. The operator's log says why.")


def row_of(error: core.LimenError) -> Row:
    """The row of the nearest class in the error's MRO."""
    for kind in type(error).__mro__:
        row = TABLE.get(kind)
        if row is not None:
            return row
    return INTERNAL


def document(row: Row, error: core.LimenError | None, *, resource: str, request_id: str) -> bytes:
    """The `<Error>` document: S3's code, our reason, and what helps a signer to find the difference."""
    reason = row.message or getattr(error, "reason", "") or INTERNAL.message
    lines = [("Code", row.code), ("Message", reason), *_hints(error), ("Resource", resource), ("RequestId", request_id)]
    return s3xml.document("Error", lines, namespace="")


def _hints(error: core.LimenError | None) -> list[tuple[str, str]]:
    match error:
        case sigv4.SignatureMismatch():
            return [
                ("AWSAccessKeyId", error.access_key),
                ("StringToSign", error.string_to_sign),
                ("SignatureProvided", error.provided),
            ]
        case sigv4.MalformedAuthorization(region=region) if region:
            return [("Region", region)]
        case core.PreconditionFailed():
            return [("Condition", error.condition)]
        case core.Invalid():
            return [("ArgumentName", error.field)]
        case _:
            return []
