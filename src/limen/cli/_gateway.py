"""What the commands ask of a gateway: how to log in, a session for an identity token, and whose a session is.

AWS STS API (2011-06-15), as docs/formats/sts.md; signed with Signature Version 4 by the codec that the doors verify with.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn
from urllib.parse import urlencode, urlsplit

from limen.cli import _web
from limen.core.errors import Denied, Invalid, SessionEnded
from limen.formats import s3xml, sigv4

if TYPE_CHECKING:
    from limen.cli._cache import Kept
    from limen.cli._web import Answer

VERSION: Final = "2011-06-15"
_ENDED: Final = frozenset({"ExpiredToken", "InvalidClientTokenId", "ExpiredTokenException"})
_AGAIN: Final = frozenset({"ServiceUnavailable", "IDPCommunicationError", "InternalFailure"})


class Gateway(NamedTuple):
    """A gateway as its `/.well-known/limen` describes it: `issuers` are (URL, client id)."""

    endpoint: str
    region: str
    sts: str
    issuers: tuple[tuple[str, str], ...]

    def issuer(self, wanted: str) -> tuple[str, str]:
        """The issuer to log in at: the one wanted, or the only one."""
        found = [pair for pair in self.issuers if not wanted or pair[0].rstrip("/") == wanted.rstrip("/")]
        if len(found) == 1:
            return found[0]
        known = ", ".join(url for url, _ in self.issuers) or "none"
        raise Invalid("--issuer", f"name one of the gateway's issuers ({known})")


class Issued(NamedTuple):
    """A session's credentials, fresh from the gateway."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    expires_at: int


def describe(endpoint: str) -> Gateway:
    """Ask a gateway what `limen login` needs to know."""
    endpoint = _web.check_url(endpoint.rstrip("/"), field="--endpoint")
    answer = _web.get(f"{endpoint}/.well-known/limen")
    if answer.status != 200:  # noqa: PLR2004
        raise _web.WebFault(f"{endpoint} is no limen gateway (status {answer.status} at /.well-known/limen)")
    document = answer.json()
    try:
        issuers = tuple((str(issuer["url"]), str(issuer["client_id"])) for issuer in document["issuers"])
        return Gateway(endpoint, str(document["region"]), str(document["sts"]), issuers)
    except (KeyError, TypeError) as e:
        raise _web.WebFault(f"{endpoint}/.well-known/limen lacks {e}") from e


def assume(sts: str, *, project: str, id_token: str, name: str, duration_s: int) -> Issued:
    """A session in one project for an identity token. Denied with the gateway's own sentence if it refuses."""
    answer = _web.post(
        f"{sts.rstrip('/')}/",
        {
            "Action": "AssumeRoleWithWebIdentity",
            "Version": VERSION,
            "RoleArn": f"arn:aws:iam::000000000000:role/{project}",
            "RoleSessionName": name,
            "DurationSeconds": str(duration_s),
            "WebIdentityToken": id_token,
        },
    )
    keys = _result(answer, "AssumeRoleWithWebIdentity", "AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
    return Issued(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], _seconds(keys["Expiration"]))


def caller_identity(kept: Kept) -> dict[str, str]:
    """Whose session this is, by the gateway's own word: Person, Vendor, Sponsor, Project, Session, Strength, Expiration."""
    form = {"Action": "GetCallerIdentity", "Version": VERSION}
    url = f"{kept.endpoint}/"
    answer = _web.post(url, form, headers=_signed(kept, url, urlencode(form).encode()))
    return _result(answer, "GetCallerIdentity", "Person", "Vendor", "Sponsor", "Project", "Session", "Strength", "Expiration")


def _signed(kept: Kept, url: str, body: bytes) -> dict[str, str]:
    """The headers that sign one form: SigV4 over host, date and token, and over the body's digest."""
    timestamp = datetime.fromtimestamp(time.time(), UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {"host": urlsplit(url).netloc, "x-amz-date": timestamp, "x-amz-security-token": kept.session_token}
    names = sorted(headers)
    claimed = sigv4.Unverified(
        access_key=kept.access_key_id,
        token=kept.session_token,
        timestamp=timestamp,
        day=timestamp[:8],
        region=kept.region,
        service="sts",
        signed_headers=";".join(names),
        signature="",
        payload=hashlib.sha256(body).hexdigest(),
    )
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    canonical = sigv4.canonical_request(sigv4.Request.of("POST", b"/", b"", raw), claimed, names)
    text = f"{sigv4.ALGORITHM}\n{timestamp}\n{claimed.scope}\n{hashlib.sha256(canonical).hexdigest()}"
    key = sigv4.signing_key(kept.secret_access_key, day=claimed.day, region=claimed.region, service="sts")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    authorization = (
        f"{sigv4.ALGORITHM} Credential={kept.access_key_id}/{claimed.scope},"
        f" SignedHeaders={claimed.signed_headers}, Signature={signature}"
    )
    return {"X-Amz-Date": timestamp, "X-Amz-Security-Token": kept.session_token, "Authorization": authorization}


def _result(answer: Answer, action: str, *names: str) -> dict[str, str]:
    """The named texts of an action's result; the gateway's refusal as one of our own errors."""
    if answer.status != 200:  # noqa: PLR2004
        _refused(answer)
    found: dict[str, str] = {}
    _collect(s3xml.read(answer.body, root=f"{action}Response"), found)
    missing = [name for name in names if name not in found]
    if missing:
        raise _web.WebFault(f"the gateway's answer to {action} lacks {missing[0]}")
    return found


def _collect(element: s3xml.Element, found: dict[str, str]) -> None:
    for child in element.children:
        found[child.name] = child.text
        _collect(child, found)


def _refused(answer: Answer) -> NoReturn:
    found: dict[str, str] = {}
    try:
        _collect(s3xml.read(answer.body, root="ErrorResponse"), found)
    except Invalid:
        raise _web.WebFault(f"the gateway answered with status {answer.status} and no reason") from None
    code, message = found.get("Code", ""), found.get("Message", "")
    if code in _ENDED:
        raise SessionEnded(message)
    if code in _AGAIN:
        raise _web.WebFault(message)
    raise Denied(message, rule=code, detail=f"{code}: {message}")


def _seconds(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except ValueError as e:
        raise _web.WebFault(f"the gateway gave a time that is none: {text[:40]!r}") from e
