"""One table from limen's errors to STS's: code, status, and whose fault it is. Looked up by MRO.

Follows "Common errors" and AssumeRoleWithWebIdentity, AWS STS API reference (2011-06-15). Only an error's `reason` reaches
the caller. The SDKs try IDPCommunicationError and 503 again and nothing else, so only transient faults have those.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from limen.core import errors as core
from limen.formats import s3xml, sigv4

NAMESPACE: Final = "https://sts.amazonaws.com/doc/2011-06-15/"


class MissingAction(core.Invalid):
    """A request that does not say what it wants."""


class InvalidAction(core.Unsupported):
    """An action that STS has and limen does not, or that nobody has."""


class MalformedPolicy(core.Invalid):
    """A session policy or a provider id: refused, because ignoring a restriction would widen what was asked for."""


class BadAccessKey(core.BadCredential):
    """An access key or session token that limen did not issue."""


class Row(NamedTuple):
    """How STS says one of our errors."""

    code: str
    status: int
    fault: str = "Sender"
    message: str = ""


TABLE: Final[dict[type[core.LimenError], Row]] = {
    # the identity token
    core.BadCredential: Row("InvalidIdentityToken", 400),
    core.IdentityExpired: Row("ExpiredTokenException", 400),
    core.ClaimRejected: Row("IDPRejectedClaim", 403),
    core.IssuerUnavailable: Row("IDPCommunicationError", 400),
    # the signature
    BadAccessKey: Row("InvalidClientTokenId", 403),
    sigv4.Unsigned: Row("MissingAuthenticationToken", 403),
    sigv4.SignatureV2: Row("IncompleteSignature", 400),
    sigv4.MalformedAuthorization: Row("IncompleteSignature", 400),
    sigv4.UnsignedHeader: Row("IncompleteSignature", 400),
    sigv4.TimeSkewed: Row("RequestExpired", 400),
    sigv4.PresignedExpired: Row("RequestExpired", 400),
    sigv4.SignatureMismatch: Row("SignatureDoesNotMatch", 403),
    # whether they may
    core.Denied: Row("AccessDenied", 403),
    core.SessionEnded: Row("ExpiredToken", 403),
    core.NotFound: Row("AccessDenied", 403, message="no such project, or it is not yours"),
    # what was asked
    core.Invalid: Row("ValidationError", 400),
    MalformedPolicy: Row("MalformedPolicyDocument", 400),
    MissingAction: Row("MissingAction", 400),
    core.Unsupported: Row("InvalidAction", 400),
    core.Conflict: Row("ValidationError", 400),
    core.PreconditionFailed: Row("ValidationError", 400),
    # whether we can
    core.LedgerUnavailable: Row("ServiceUnavailable", 503, "Receiver"),
    core.UpstreamUnavailable: Row("ServiceUnavailable", 503, "Receiver"),  # no bytes go through here; the table is whole
    core.MarkKeyUnavailable: Row("ServiceUnavailable", 503, "Receiver"),  # as above
    core.TamperDetected: Row("InternalFailure", 500, "Receiver"),
    core.Failed: Row("InternalFailure", 500, "Receiver"),
}

INTERNAL: Final = Row("InternalFailure", 500, "Receiver", "limen failed; no session was made. The operator's log says why.")


def row_of(error: core.LimenError) -> Row:
    """The row of the nearest class in the error's MRO."""
    return next((TABLE[kind] for kind in type(error).__mro__ if kind in TABLE), INTERNAL)


def document(row: Row, error: core.LimenError | None, *, request_id: str) -> bytes:
    """The `<ErrorResponse>` document."""
    reason = row.message or getattr(error, "reason", "") or INTERNAL.message
    lines = [("Type", row.fault), ("Code", row.code), ("Message", reason)]
    return s3xml.document("ErrorResponse", [("Error", lines), ("RequestId", request_id)], namespace=NAMESPACE)
