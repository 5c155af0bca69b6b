"""The STS door: an identity token in, session credentials out; and who a session belongs to. Pure ASGI.

    AssumeRoleWithWebIdentity    form, no signature: the identity token is the credential
      relying_party.verify       every check of the token            BadCredential, ClaimRejected, IdentityExpired
      start_session              may they, and `session.start` durable   Denied, Paused, LedgerUnavailable
      sessions.issue             credentials exist only from here on
    GetCallerIdentity            signed with SigV4 by a session
      sigv4, sessions.resolve    whose session                       BadCredential, SessionEnded
      admit                      is it cut                           Paused

Follows the AWS STS API reference (2011-06-15), query protocol. Every other action is InvalidAction: limen has no roles to
chain, no users, and no long-lived keys. A refused token's failed step goes to the operator's log, never to the caller.
"""

from __future__ import annotations

import hashlib
import itertools
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import structlog

from limen.core.errors import BadCredential, Invalid, IssuerUnavailable, LimenError
from limen.core.types import Client
from limen.doors.sts.errors import INTERNAL, NAMESPACE, BadAccessKey, InvalidAction, MissingAction, document, row_of
from limen.doors.sts.form import MAX_BODY, VERSION, read_form, read_web_identity
from limen.formats import s3xml, sigv4

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from limen.core.types import Session
    from limen.identity.oidc import RelyingParty
    from limen.identity.sessions import Sessions

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

ACCOUNT: Final = "000000000000"  # limen has no accounts; the shape of an ARN wants twelve digits
_FORM: Final = b"application/x-www-form-urlencoded"

log = structlog.get_logger("limen.doors.sts")


class StsDoor:
    """Sessions for verified identities. Owned by the event loop's thread.

    `start_session(claims, project, name=, duration_s=, client=)` returns a Session only once its entry is durable.
    `admit(session, client)` passes in silence or raises after the refusal is durable: a cut session can't even ask who it
    is. `unresolved` hears of every request that proved nobody, so that they can be counted.
    """

    def __init__(
        self,
        relying_party: RelyingParty,
        sessions: Sessions,
        start_session: Callable[..., Awaitable[Session]],
        *,
        admit: Callable[[Session, Client], Awaitable[None]],
        now: Callable[[], int],
        region: str,
        unresolved: Callable[[LimenError], None] = lambda _: None,
    ) -> None:
        self._relying_party = relying_party
        self._sessions = sessions
        self._start_session = start_session
        self._admit = admit
        self._now = now
        self._region = region
        self._unresolved = unresolved
        self._count = itertools.count(1)

    def speaks(self, scope: Message) -> bool:
        """Whether a request to `/` is for this door: S3 has neither forms nor an `Action` there."""
        headers = dict(scope["headers"])
        form = scope["method"] == "POST" and headers.get(b"content-type", b"").partition(b";")[0].strip().lower() == _FORM
        action = any(part.startswith(b"Action=") for part in scope["query_string"].split(b"&"))
        return form or action or b"/sts/aws4_request" in headers.get(b"authorization", b"")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        request_id = f"{self._now():08x}-{next(self._count):08x}"
        try:
            status, body = 200, await self._answer(scope, receive, request_id)
        except LimenError as error:
            row = row_of(error)
            log.info("refused", code=row.code, step=getattr(error, "step", ""), why=str(error), request_id=request_id)
            status, body = row.status, document(row, error, request_id=request_id)
        except Exception:
            log.exception("a request failed", request_id=request_id)
            status, body = INTERNAL.status, document(INTERNAL, None, request_id=request_id)
        headers = [
            (b"content-type", b"text/xml"),
            (b"content-length", str(len(body)).encode()),
            (b"x-amzn-requestid", request_id.encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Message, receive: Receive, request_id: str) -> bytes:
        if scope["method"] not in ("POST", "GET"):
            raise InvalidAction("STS speaks POST and GET only")
        body = await _receive_body(receive)
        fields = read_form(scope["query_string"] if scope["method"] == "GET" else body)
        if fields.get("Version", VERSION) != VERSION:
            raise InvalidAction(f"the only version of STS is {VERSION}")
        match fields.get("Action", ""):
            case "AssumeRoleWithWebIdentity":
                return await self._assume(scope, fields, request_id)
            case "GetCallerIdentity":
                return await self._identity(scope, body, request_id)
            case "":
                raise MissingAction("Action", "is missing")
            case other:
                raise InvalidAction(
                    f"{other[:64]!r} is not offered. Sessions come from AssumeRoleWithWebIdentity (`limen login`) only,"
                    " and GetCallerIdentity says whose they are"
                )

    async def _assume(self, scope: Message, fields: dict[str, str], request_id: str) -> bytes:
        asked = read_web_identity(fields)
        try:
            claims = await self._relying_party.verify(asked.unverified_token, now=self._now())
        except (BadCredential, IssuerUnavailable) as error:
            self._unresolved(error)
            raise
        session = await self._start_session(
            claims, asked.project, name=asked.name, duration_s=asked.duration_s, client=_client(scope)
        )
        issued = self._sessions.issue(session)
        credentials = [
            ("AccessKeyId", issued.access_key_id),
            ("SecretAccessKey", issued.secret_access_key),
            ("SessionToken", issued.session_token),
            ("Expiration", _rfc3339(issued.expires_at)),
        ]
        result = [
            ("Credentials", credentials),
            ("SubjectFromWebIdentityToken", claims.subject),
            ("AssumedRoleUser", [("Arn", _arn(session)), ("AssumedRoleId", _role_id(session))]),
            ("Provider", claims.issuer),
            ("Audience", claims.audience),
        ]
        return _response("AssumeRoleWithWebIdentity", result, request_id)

    async def _identity(self, scope: Message, body: bytes, request_id: str) -> bytes:
        try:
            session = self._signed_by(scope, body)
        except LimenError as error:
            self._unresolved(error)
            raise
        await self._admit(session, _client(scope))
        result = [
            ("Arn", _arn(session)),
            ("UserId", _role_id(session)),
            ("Account", ACCOUNT),
            # Beyond STS, which SDKs pass over: what `limen whoami` shows.
            ("Person", session.holder),
            ("Vendor", session.vendor or ""),
            ("Sponsor", session.sponsor or ""),
            ("Project", session.project),
            ("Session", session.id),
            ("Strength", session.strength),
            ("Expiration", _rfc3339(session.expires_at)),
        ]
        return _response("GetCallerIdentity", result, request_id)

    def _signed_by(self, scope: Message, body: bytes) -> Session:
        """The session whose signature the request carries, in its header.

        A presigned GetCallerIdentity is refused: it would be a bearer proof of identity, which nobody here accepts.
        """
        request = sigv4.Request.of(scope["method"], scope["raw_path"], scope["query_string"], scope["headers"])
        if "authorization" not in request.headers:
            raise sigv4.Unsigned("GetCallerIdentity must be signed in its Authorization header", step="sigv4.present")
        unverified = sigv4.read(request, payload_sha256=hashlib.sha256(body).hexdigest())
        verified = sigv4.verify(unverified, request, key_for=self._key_for, now=self._now(), region=self._region, service="sts")
        try:
            return self._sessions.resolve(verified.access_key, verified.token, now=self._now())
        except BadCredential as e:
            raise BadAccessKey(e.reason, step=e.step) from e

    def _key_for(self, unverified: sigv4.Unverified) -> bytes:
        try:
            secret = self._sessions.secret_for(unverified.access_key)
        except BadCredential as e:
            raise BadAccessKey(e.reason, step=e.step) from e
        return sigv4.signing_key(secret, day=unverified.day, region=unverified.region, service=unverified.service)


async def _receive_body(receive: Receive) -> bytes:
    """The whole body, at most MAX_BODY; Invalid beyond, or if the sender went away."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Invalid("body", "the connection closed before it was complete")
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise Invalid("body", f"more than {MAX_BODY} bytes")
        if not message.get("more_body", False):
            return bytes(body)


def _response(action: str, result: list[tuple[str, Any]], request_id: str) -> bytes:
    content: list[tuple[str, Any]] = [(f"{action}Result", result), ("ResponseMetadata", [("RequestId", request_id)])]
    return s3xml.document(f"{action}Response", content, namespace=NAMESPACE)


def _client(scope: Message) -> Client:
    agent = dict(scope["headers"]).get(b"user-agent", b"").decode("latin-1")
    return Client((scope.get("client") or ("",))[0], agent)


def _arn(session: Session) -> str:
    return f"arn:aws:sts::{ACCOUNT}:assumed-role/{session.project}/{session.holder}"


def _role_id(session: Session) -> str:
    return f"{session.id}:{session.holder}"


def _rfc3339(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
