"""AWS Signature Version 4, read and verified: headers, presigned queries, chunks and trailers.

Follows "Signature Version 4 signing process" and "Authenticating Requests (AWS Signature Version 4)" of the Amazon S3 API
reference (2006-03-01), S3's variant: paths are encoded once, the payload's hash is a header. Pure: the caller passes the
secret and the time, and may keep signing keys. What a request claims is `Unverified` until `verify` returns.

Stricter than S3 where S3 is loose: a parameter given twice is refused, and every `x-amz-*` header must be signed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote_to_bytes

from limen.core.errors import BadCredential, Invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ALGORITHM: Final = "AWS4-HMAC-SHA256"
CHUNK_ALGORITHM: Final = "AWS4-HMAC-SHA256-PAYLOAD"
TRAILER_ALGORITHM: Final = "AWS4-HMAC-SHA256-TRAILER"
EMPTY_SHA256: Final = hashlib.sha256(b"").hexdigest()

UNSIGNED: Final = "UNSIGNED-PAYLOAD"
STREAMING_SIGNED: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
STREAMING_SIGNED_TRAILER: Final = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
STREAMING_UNSIGNED_TRAILER: Final = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
STREAMING: Final = frozenset({STREAMING_SIGNED, STREAMING_SIGNED_TRAILER, STREAMING_UNSIGNED_TRAILER})

SKEW_S: Final = 15 * 60
MAX_PRESIGNED_S: Final = 7 * 24 * 3600

_PLAIN_PATH = re.compile(r"[A-Za-z0-9._~/-]*\Z")
_TIMESTAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z\Z", re.ASCII)
_HEX64 = re.compile(r"[0-9a-f]{64}\Z")
_HEADER_NAMES = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+(;[a-z0-9!#$%&'*+.^_`|~-]+)*\Z")
_CREDENTIAL = re.compile(r"([\x21-\x2e\x30-\x7e]{1,128})/([0-9]{8})/([A-Za-z0-9-]{1,64})/([a-z0-9-]{1,32})/aws4_request\Z")
_FIELD = re.compile(r"\s*(Credential|SignedHeaders|Signature)=([^,\s]*)\s*\Z")
_QUERY_FIELDS = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature")


class Unsigned(BadCredential):
    """A request without any signature."""


class SignatureV2(BadCredential):
    """A request signed with Signature Version 2, which is not accepted."""


class MalformedAuthorization(BadCredential):
    """An Authorization header or presigned query that is not Signature Version 4, or is for another region or service.

    `region` is what a signer should use; it is empty when something else is wrong.
    """

    def __init__(self, reason: str, *, region: str = "") -> None:
        super().__init__(reason, step="sigv4.form")
        self.region = region


class UnsignedHeader(BadCredential):
    """A header that changes what a request does stands outside its signature."""


class TimeSkewed(BadCredential):
    """The signer's clock differs from ours by more than 15 minutes."""


class PresignedExpired(BadCredential):
    """A presigned URL outside its time."""


class SignatureMismatch(BadCredential):
    """The signature is not the one that this request and this secret give. `string_to_sign` shows what we signed."""

    def __init__(self, reason: str, *, string_to_sign: str, provided: str, access_key: str) -> None:
        super().__init__(reason, step="sigv4.signature")
        self.string_to_sign = string_to_sign
        self.provided = provided
        self.access_key = access_key


@dataclass(frozen=True, slots=True)
class Request:
    """What a signature covers: the request line and headers as they came, plus the query's decoded parameters.

    Text is Latin-1 of the bytes on the wire. Header names are lower case; repeated headers are joined by a comma.
    """

    method: str
    path: str
    headers: dict[str, str]
    query: tuple[tuple[bytes, bytes], ...]
    params: dict[str, str]

    @classmethod
    def of(cls, method: str, path: bytes, query: bytes, headers: Iterable[tuple[bytes, bytes]]) -> Request:
        """The request as received. Raises Invalid for a parameter that is given twice or is not UTF-8."""
        named: dict[str, str] = {}
        for raw_name, raw_value in headers:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            named[name] = f"{named[name]},{value}" if name in named else value
        pairs = tuple(_pairs(query)) if query else ()
        params: dict[str, str] = {}
        for key, value_bytes in pairs:
            try:
                text, value = key.decode(), value_bytes.decode()
            except UnicodeDecodeError as e:
                raise Invalid("query", "a parameter is not UTF-8") from e
            if text in params:
                raise Invalid("query", f"the parameter {text!r} is given twice")
            params[text] = value
        return cls(method, path.decode("latin-1"), named, pairs, params)


@dataclass(frozen=True, slots=True)
class Unverified:
    """What a request says about who signed it, when, and how. Nothing here is proven."""

    access_key: str
    token: str
    timestamp: str
    day: str
    region: str
    service: str
    signed_headers: str
    signature: str
    payload: str
    expires_s: int | None = None  # set for presigned queries only

    @property
    def scope(self) -> str:
        """The credential scope, as it is signed."""
        return f"{self.day}/{self.region}/{self.service}/aws4_request"


@dataclass(frozen=True, slots=True)
class ChunkSigner:
    """What a verified request hands to its body: the key and scope under which chunks must be signed, in order."""

    key: bytes
    timestamp: str
    scope: str
    seed: str

    def chunk(self, previous: str, digest: str) -> str:
        """The signature due for a chunk whose SHA-256 is `digest`, after the signature `previous`."""
        text = f"{CHUNK_ALGORITHM}\n{self.timestamp}\n{self.scope}\n{previous}\n{EMPTY_SHA256}\n{digest}"
        return hmac.digest(self.key, text.encode(), "sha256").hex()

    def trailer(self, previous: str, trailers: bytes) -> str:
        """The signature due for trailing headers, each `name:value` and a line feed, after the last chunk's signature."""
        digest = hashlib.sha256(trailers).hexdigest()
        text = f"{TRAILER_ALGORITHM}\n{self.timestamp}\n{self.scope}\n{previous}\n{digest}"
        return hmac.digest(self.key, text.encode(), "sha256").hex()


@dataclass(frozen=True, slots=True)
class Verified:
    """A request whose signature holds under the secret of `access_key`. The session token is not looked at here."""

    access_key: str
    token: str
    payload: str
    presigned: bool
    chunks: ChunkSigner


def read(request: Request, *, payload_sha256: str | None = None) -> Unverified:
    """What the request claims, from its Authorization header or its presigned query.

    `payload_sha256` is for services whose signature covers the body directly (STS); S3 names it in a header.
    Raises Unsigned, SignatureV2 or MalformedAuthorization.
    """
    authorization = request.headers.get("authorization")
    presigned = any(name in request.params for name in ("X-Amz-Signature", "X-Amz-Algorithm", "X-Amz-Credential"))
    if "AWSAccessKeyId" in request.params or (authorization or "").startswith("AWS "):
        raise SignatureV2(
            "Signature Version 2 is not accepted. Sign with Signature Version 4: set the region to one that is not a"
            " classic AWS region (boto3: region_name, signature_version='s3v4')",
            step="sigv4.version",
        )
    if authorization is not None and presigned:
        raise MalformedAuthorization("the request is signed twice, by header and by query; use one")
    if authorization is not None:
        return _from_header(request, authorization, payload_sha256)
    if presigned:
        return _from_query(request)
    raise Unsigned("the request is not signed, and nothing here is open to anonymous requests", step="sigv4.present")


def signing_key(secret: str, *, day: str, region: str, service: str) -> bytes:
    """The key derived for one day, region and service. The caller may keep it: it changes with none but these."""
    key = b"AWS4" + secret.encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def verify(
    unverified: Unverified,
    request: Request,
    *,
    key_for: Callable[[Unverified], bytes],
    now: int,
    region: str,
    service: str = "s3",
) -> Verified:
    """Check, in order, region and service, time, coverage, and then the signature itself in constant time.

    `key_for` gives the signing key for the claimed access key and day; it may raise BadCredential.
    """
    # 1. The scope is ours. The region is named, so that a signer can be put right.
    if unverified.region != region:
        raise MalformedAuthorization(
            f"the region {unverified.region!r} is wrong; this endpoint's only region is {region!r}", region=region
        )
    if unverified.service != service:
        raise MalformedAuthorization(f"the service {unverified.service!r} is wrong; sign for {service!r}")
    # 2. The time is now, or within what a presigned URL allows.
    _check_time(unverified, now)
    # 3. Everything that changes the meaning is under the signature.
    names = unverified.signed_headers.split(";")
    _check_coverage(request, names)
    # 4. The signature is the one that this request gives.
    canonical = canonical_request(request, unverified, names)
    digest = hashlib.sha256(canonical).hexdigest()
    text = f"{ALGORITHM}\n{unverified.timestamp}\n{unverified.scope}\n{digest}"
    key = key_for(unverified)
    expected = hmac.digest(key, text.encode(), "sha256").hex()
    if not hmac.compare_digest(expected, unverified.signature):
        raise SignatureMismatch(
            "the signature does not match; check the secret access key, and that nothing on the way changed the request",
            string_to_sign=text,
            provided=unverified.signature,
            access_key=unverified.access_key,
        )
    chunks = ChunkSigner(key, unverified.timestamp, unverified.scope, unverified.signature)
    return Verified(unverified.access_key, unverified.token, unverified.payload, unverified.expires_s is not None, chunks)


def canonical_request(request: Request, unverified: Unverified, names: list[str]) -> bytes:
    """The canonical request ("Task 1"): method, path, query, headers, their names, payload hash."""
    headers = request.headers
    lines = "".join([f"{name}:{' '.join(headers[name].split())}\n" for name in names])
    query = _canonical_query(request.query) if request.query else ""
    path = request.path if _PLAIN_PATH.match(request.path) else quote(unquote_to_bytes(request.path.encode("latin-1")), safe="/~")
    text = f"{request.method}\n{path or '/'}\n{query}\n{lines}\n{unverified.signed_headers}\n{unverified.payload}"
    return text.encode("latin-1")  # headers came in as Latin-1, so this gives back the bytes that were signed


def _pairs(query: bytes) -> Iterable[tuple[bytes, bytes]]:
    """Name and value of each parameter, decoded; `+` is a space, as in forms."""
    for part in query.split(b"&"):
        if part:
            name, _, value = part.partition(b"=")
            yield unquote_to_bytes(name.replace(b"+", b" ")), unquote_to_bytes(value.replace(b"+", b" "))


def _canonical_query(pairs: tuple[tuple[bytes, bytes], ...]) -> str:
    encoded = [(quote(name, safe="~"), quote(value, safe="~")) for name, value in pairs if name != b"X-Amz-Signature"]
    return "&".join([f"{name}={value}" for name, value in sorted(encoded)])


def _from_header(request: Request, authorization: str, payload_sha256: str | None) -> Unverified:
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != ALGORITHM:
        raise MalformedAuthorization(f"the only authorization accepted is {ALGORITHM}")
    fields: dict[str, str] = {}
    for part in rest.split(","):
        match = _FIELD.match(part)
        if match is None or match[1] in fields:
            raise MalformedAuthorization("need Credential, SignedHeaders and Signature, once each, separated by commas")
        fields[match[1]] = match[2]
    if len(fields) != len(("Credential", "SignedHeaders", "Signature")):
        raise MalformedAuthorization("need all of Credential, SignedHeaders and Signature")
    payload = payload_sha256 if payload_sha256 is not None else request.headers.get("x-amz-content-sha256")
    if payload is None:
        raise MalformedAuthorization("the header x-amz-content-sha256 is missing")
    return _unverified(
        credential=fields["Credential"],
        timestamp=_timestamp(request),
        signed_headers=fields["SignedHeaders"],
        signature=fields["Signature"],
        payload=payload,
        token=request.headers.get("x-amz-security-token", ""),
    )


def _from_query(request: Request) -> Unverified:
    params = request.params
    missing = [name for name in _QUERY_FIELDS if name not in params]
    if missing:
        raise MalformedAuthorization(f"the presigned query lacks {missing[0]}")
    if params["X-Amz-Algorithm"] != ALGORITHM:
        raise MalformedAuthorization(f"the only X-Amz-Algorithm accepted is {ALGORITHM}")
    if "x-amz-security-token" in request.headers:
        raise MalformedAuthorization("a presigned request carries its session token in the query, not in a header")
    expires = params["X-Amz-Expires"]
    if not (expires.isascii() and expires.isdigit() and len(expires) <= len(str(MAX_PRESIGNED_S))):
        raise MalformedAuthorization("X-Amz-Expires must be a number of seconds")
    if not 1 <= int(expires) <= MAX_PRESIGNED_S:
        raise MalformedAuthorization(f"X-Amz-Expires must be from 1 to {MAX_PRESIGNED_S} seconds (seven days)")
    return _unverified(
        credential=params["X-Amz-Credential"],
        timestamp=params["X-Amz-Date"],
        signed_headers=params["X-Amz-SignedHeaders"],
        signature=params["X-Amz-Signature"],
        payload=request.headers.get("x-amz-content-sha256") or params.get("X-Amz-Content-Sha256") or UNSIGNED,
        token=params.get("X-Amz-Security-Token", ""),
        expires_s=int(expires),
    )


def _unverified(
    *,
    credential: str,
    timestamp: str,
    signed_headers: str,
    signature: str,
    payload: str,
    token: str,
    expires_s: int | None = None,
) -> Unverified:
    """Check the form of every part, so that `verify` meets only shapes it knows."""
    scope = _CREDENTIAL.match(credential)
    if scope is None:
        raise MalformedAuthorization("the credential must read ACCESSKEY/YYYYMMDD/region/service/aws4_request")
    if not _TIMESTAMP.match(timestamp):
        raise MalformedAuthorization("the date of signing must read YYYYMMDDTHHMMSSZ")
    if timestamp[:8] != scope[2]:
        raise MalformedAuthorization("the day in the credential differs from the date of signing")
    if not _HEADER_NAMES.match(signed_headers):
        raise MalformedAuthorization("SignedHeaders must be lower-case header names separated by semicolons")
    if not _HEX64.match(signature):
        raise MalformedAuthorization("the signature must be 64 lower-case hexadecimal digits")
    if payload not in STREAMING and payload != UNSIGNED and not _HEX64.match(payload):
        raise MalformedAuthorization(
            "x-amz-content-sha256 must be a SHA-256 in lower-case hexadecimal,"
            f" {UNSIGNED}, or one of {', '.join(sorted(STREAMING))}"
        )
    return Unverified(scope[1], token, timestamp, scope[2], scope[3], scope[4], signed_headers, signature, payload, expires_s)


def _timestamp(request: Request) -> str:
    """The date of signing: x-amz-date, or Date where that is absent."""
    stated = request.headers.get("x-amz-date")
    if stated is not None:
        return stated
    try:
        date = parsedate_to_datetime(request.headers["date"])
        # botocore writes the zone as -0000, which the parser gives back without one.
        return (date.astimezone(UTC) if date.tzinfo else date).strftime("%Y%m%dT%H%M%SZ")
    except KeyError:
        raise MalformedAuthorization("the request needs an x-amz-date or Date header") from None
    except (ValueError, TypeError, IndexError, OverflowError):
        raise MalformedAuthorization("the Date header is not a date") from None


def _check_time(unverified: Unverified, now: int) -> None:
    try:
        t = unverified.timestamp  # YYYYMMDDTHHMMSSZ, cut by hand: strptime costs more than the signature
        day = datetime(int(t[:4]), int(t[4:6]), int(t[6:8]), int(t[9:11]), int(t[11:13]), int(t[13:15]), tzinfo=UTC)
    except ValueError:
        raise MalformedAuthorization("the date of signing is not a date") from None
    signed_at = int(day.timestamp())
    if unverified.expires_s is not None:
        if signed_at > now + SKEW_S:
            raise PresignedExpired("this presigned URL is not valid yet", step="sigv4.time")
        if now >= signed_at + unverified.expires_s:
            raise PresignedExpired("this presigned URL has expired; ask for a new one", step="sigv4.time")
    elif abs(now - signed_at) > SKEW_S:
        raise TimeSkewed(
            f"the request was signed {abs(now - signed_at)} s {'before' if signed_at < now else 'after'} this endpoint's time;"
            f" at most {SKEW_S} s are accepted: set the clock",
            step="sigv4.time",
        )


def _check_coverage(request: Request, names: list[str]) -> None:
    """Host is signed, every signed header is there, and no x-amz-* header or Content-MD5 stands outside."""
    covered = frozenset(names)
    if "host" not in covered:
        raise MalformedAuthorization("the host header must be signed")
    if names != sorted(covered):
        raise MalformedAuthorization("SignedHeaders must be sorted and name each header once")
    for name in names:
        if name not in request.headers:
            raise MalformedAuthorization(f"the signed header {name!r} is not in the request")
    # The header with the date needs no check here: the date itself is in the string to sign.
    for name in request.headers:
        if name not in covered and (name.startswith("x-amz-") or name == "content-md5"):
            raise UnsignedHeader(f"the header {name!r} must be signed", step="sigv4.coverage")
