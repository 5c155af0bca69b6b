"""Reads AWS CloudTrail log files (record contents, event version 1.00 to 1.11) for what touched S3, and for how keys came to be.

Of S3: every data event, and management events that list buckets or change settings. Of IAM: what changes something. Of
STS: sessions that are opened. Everything else is counted by what it is and left out. Log files (`{"Records": [...]}`),
bare arrays, and one record a line are taken.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

import msgspec

from limen.observe.moments import rfc3339
from limen.observe.reader import read_json
from limen.observe.rows import ID_BYTES, NETWORKS, US, OddError, network_of, size_of

if TYPE_CHECKING:
    from limen.observe.inputs import Feed
    from limen.observe.reader import Taken
    from limen.observe.report import Report
    from limen.observe.rows import Rows

_DELIVERED: Final = re.compile(r"_CloudTrail_[a-z0-9-]+_(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)Z_[A-Za-z0-9]+\.json(?:\.gz)?$")

_S3: Final[dict[str, str]] = {
    **dict.fromkeys(("GetObject", "SelectObjectContent", "GetObjectTorrent"), "read"),
    **dict.fromkeys(
        (
            *("HeadObject", "HeadBucket", "GetObjectAcl", "GetObjectTagging", "GetObjectAttributes"),
            *("GetObjectRetention", "GetObjectLegalHold"),
        ),
        "head",
    ),
    **dict.fromkeys(
        ("ListBuckets", "ListObjects", "ListObjectsV2", "ListObjectVersions", "ListMultipartUploads", "ListParts"), "list"
    ),
    **dict.fromkeys(
        (
            *("PutObject", "PostObject", "CopyObject", "UploadPart", "UploadPartCopy"),
            *("CreateMultipartUpload", "CompleteMultipartUpload"),
        ),
        "write",
    ),
    **dict.fromkeys(("DeleteObject", "DeleteObjects", "AbortMultipartUpload"), "delete"),
}
_DENIED: Final = re.compile(
    r"AccessDenied|AccountProblem|AllAccessDisabled|Client\.UnauthorizedOperation|ExpiredToken|Failed authentication"
    r"|InvalidAccessKeyId|InvalidClientTokenId|InvalidToken|NotSignedUp|RequestExpired|SignatureDoesNotMatch|Unauthorized"
)


class _Issuer(msgspec.Struct, gc=False):
    arn: str | None = None
    userName: str | None = None  # noqa: N815  CloudTrail's own name, as all below
    accountId: str | None = None  # noqa: N815


class _Context(msgspec.Struct, gc=False):
    sessionIssuer: _Issuer | None = None  # noqa: N815


class _Identity(msgspec.Struct, gc=False):
    type: str | None = None
    principalId: str | None = None  # noqa: N815
    arn: str | None = None
    accountId: str | None = None  # noqa: N815
    accessKeyId: str | None = None  # noqa: N815
    userName: str | None = None  # noqa: N815
    invokedBy: str | None = None  # noqa: N815
    identityProvider: str | None = None  # noqa: N815
    sessionContext: _Context | None = None  # noqa: N815


class _Event(msgspec.Struct, gc=False):
    eventTime: str  # noqa: N815
    eventSource: str = ""  # noqa: N815
    eventName: str = ""  # noqa: N815
    eventID: str = ""  # noqa: N815
    userIdentity: _Identity | None = None  # noqa: N815
    sourceIPAddress: str | None = None  # noqa: N815
    errorCode: str | None = None  # noqa: N815
    readOnly: bool | None = None  # noqa: N815
    eventCategory: str | None = None  # noqa: N815
    recipientAccountId: str | None = None  # noqa: N815
    requestParameters: msgspec.Raw = msgspec.Raw()  # noqa: N815
    responseElements: msgspec.Raw = msgspec.Raw()  # noqa: N815
    additionalEventData: msgspec.Raw = msgspec.Raw()  # noqa: N815
    resources: msgspec.Raw = msgspec.Raw()


class _File(msgspec.Struct):
    Records: list[_Event]


class _Place(msgspec.Struct, gc=False):
    bucketName: str | None = None  # noqa: N815
    key: str | None = None
    prefix: str | None = None
    copied: str | None = msgspec.field(default=None, name="x-amz-copy-source")


class _Moved(msgspec.Struct, gc=False):
    bytesTransferredOut: float | None = None  # noqa: N815
    bytesTransferredIn: float | None = None  # noqa: N815


_event = msgspec.json.Decoder(_Event).decode
_events = msgspec.json.Decoder(_File | list[_Event]).decode
_place = msgspec.json.Decoder(_Place | None).decode
_moved = msgspec.json.Decoder(_Moved | None).decode
_any = msgspec.json.Decoder().decode

_Rows = list[tuple[Any, ...]]


class CloudTrail:
    """Reads CloudTrail."""

    kind = "cloudtrail"
    fields = (
        "eventTime",
        "eventID (hashed)",
        "eventSource and eventName (as action and detail)",
        "userIdentity: type, arn, accountId, userName, accessKeyId, invokedBy, sessionContext.sessionIssuer",
        "sourceIPAddress (its /24 or /48 network)",
        "errorCode (as outcome)",
        "requestParameters: bucketName, key, prefix, x-amz-copy-source; of IAM and STS the names of what was changed",
        "responseElements: the id of an access key that was made",
        "additionalEventData: bytesTransferredOut, bytesTransferredIn",
        "resources: the ARN of bucket and object, where the request names an access point",
    )
    gap_s = 3600
    basis = "gap"

    def ends_us(self, name: str) -> int | None:
        """When the log file was delivered, to the minute: no event in it is later."""
        found = _DELIVERED.search(name)
        if found is None:
            return None
        year, month, day, hour, minute = found.groups()
        try:
            return rfc3339(f"{year}-{month}-{day}T{hour}:{minute}:00Z") + 60 * US
        except ValueError:
            return None

    def read(self, feed: Feed, rows: Rows, report: Report) -> None:
        """Read one log file."""
        read_json(feed, rows, report, take=_take, many=_many, like=_like, whole=32 << 20)


def _like(text: str) -> bool:
    return '"eventTime"' in text and '"eventName"' in text


def _take(given: Any) -> Taken:
    event = given if type(given) is _Event else _event(given)
    at_us = rfc3339(event.eventTime)
    source = event.eventSource
    if source == "s3.amazonaws.com" or source == "s3express.amazonaws.com":  # noqa: PLR1714  measured: twice as fast
        made = _of_s3(event, at_us)
    elif source in ("iam.amazonaws.com", "sts.amazonaws.com", "signin.amazonaws.com"):
        made = _of_identity(event, at_us, source.partition(".")[0])
    elif source or event.eventCategory == "Insight":
        made = "events of other services"
    else:
        raise OddError("has no eventSource")
    return (at_us, [], made) if type(made) is str else (at_us, made, "")  # type: ignore[return-value]


def _many(raw: bytes) -> list[Any]:
    found = _events(raw)
    return found.Records if isinstance(found, _File) else found


def _of_s3(event: _Event, at_us: int) -> _Rows | str:
    """The rows an S3 event makes, or what kind of event it is that makes none."""
    name = event.eventName
    action, detail = _S3.get(name), ""
    if action is None:
        if event.eventCategory == "Data":  # a new operation on objects: kept under its own name
            action = "head" if event.readOnly else "write"
        elif event.readOnly:
            return "reads of S3 settings"
        else:
            action = "admin"
        detail = f"s3.{name}"
    place = _place(event.requestParameters) if event.requestParameters else None
    bucket, key = (place.bucketName or "", place.key or place.prefix or "") if place else ("", "")
    if not bucket or bucket.startswith("arn:"):
        bucket, key = _from_resources(event, bucket, key)
    size = None
    if action in ("read", "write") and event.additionalEventData:
        moved = _moved(event.additionalEventData)
        told = None if moved is None else moved.bytesTransferredOut if action == "read" else moved.bytesTransferredIn
        size = size_of(told)
    made = [_row(event, at_us, action, f"s3://{bucket}/{key}" if bucket else "s3://", size=size, detail=detail)]
    if place and place.copied:  # the source of a copy was read, whoever got the bytes
        made.append(_row(event, at_us, "read", f"s3://{_unquoted(place.copied)}", detail=f"s3.{name}"))
    return made


def _unquoted(copied: str) -> str:
    from urllib.parse import unquote  # noqa: PLC0415  few events need it

    return unquote(copied.partition("?")[0]).lstrip("/")


def _from_resources(event: _Event, bucket: str, key: str) -> tuple[str, str]:
    """Bucket and key by the ARNs of the event's resources, where the request names an access point or nothing."""
    for resource in (_any(event.resources) or ()) if event.resources else ():
        arn = str(resource.get("ARN", "")) if isinstance(resource, dict) else ""
        parts = arn.split(":", 5)
        if len(parts) == 6 and parts[2] == "s3" and not parts[4] and parts[5]:  # noqa: PLR2004  arn:aws:s3:::bucket/key
            found, _, rest = parts[5].partition("/")
            if rest or resource.get("type") == "AWS::S3::Bucket":
                bucket, key = found, rest or key
                if rest:
                    break
    return bucket, key


def _of_identity(event: _Event, at_us: int, service: str) -> _Rows | str:
    name = event.eventName
    if name == "GetCallerIdentity":  # what a stolen key is tried with
        account = event.recipientAccountId or ""
        return [_row(event, at_us, "head", f"aws:account/{account}", detail="sts.GetCallerIdentity")]
    if event.readOnly and service == "iam":
        return "reads of IAM settings"
    asked = _dict(event.requestParameters)
    given = _dict(event.responseElements)
    account = event.recipientAccountId or (event.userIdentity.accountId if event.userIdentity else None) or ""
    detail = [f"{service}.{name}"]
    made = given.get("accessKey", given.get("credentials"))
    key = (made.get("accessKeyId") if isinstance(made, dict) else None) or asked.get("accessKeyId")
    if isinstance(key, str):
        detail.append(key)
    if isinstance(asked.get("roleArn"), str):
        resource = by_arn(asked["roleArn"])[0]
        if isinstance(asked.get("roleSessionName"), str):
            detail.append(asked["roleSessionName"])
    else:
        resource = next(
            (f"aws:{noun}/{account}/{asked[field]}" for field, noun in _NAMED if isinstance(asked.get(field), str)), ""
        ) or (_own(event) if name in _OWN else f"aws:account/{account}")
    return [_row(event, at_us, "admin", resource, detail=" ".join(detail))]


_NAMED: Final = (("userName", "user"), ("roleName", "role"), ("groupName", "group"), ("policyArn", "policy"))
_OWN: Final = ("CreateAccessKey", "DeleteAccessKey", "UpdateAccessKey", "GetSessionToken", "ChangePassword")


def _own(event: _Event) -> str:
    arn = event.userIdentity.arn if event.userIdentity else None
    return (by_arn(arn) if arn else _without_arn(event.userIdentity))[0]


def _dict(raw: msgspec.Raw) -> dict[str, Any]:
    found = _any(raw) if raw else None
    return found if isinstance(found, dict) else {}


def _row(event: _Event, at_us: int, action: str, resource: str, *, size: int | None = None, detail: str = "") -> tuple[Any, ...]:
    identity = event.userIdentity
    arn = identity.arn if identity else None
    principal, session = (_by_arn_known.get(arn) or by_arn(arn)) if arn else _without_arn(identity)
    text = f"{event.eventID}\0{at_us}\0{principal}\0{session}\0{action}\0{resource}"
    error = event.errorCode
    address = event.sourceIPAddress
    return (
        blake2b(text.encode(), digest_size=ID_BYTES).digest(),
        at_us,
        principal,
        session,
        (identity.accessKeyId or "") if identity else "",
        action,
        resource,
        size,
        "ok" if not error else "denied" if _DENIED.search(error) else "failed",
        (NETWORKS.get(address) or network_of(address)) if address else "",
        detail,
    )


_by_arn_known: dict[str, tuple[str, str]] = {}


def by_arn(arn: str) -> tuple[str, str]:
    """`arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION` and its siblings."""
    known = _by_arn_known.get(arn)
    if known is not None:
        return known
    parts = arn.split(":", 5)
    if len(parts) != 6:  # noqa: PLR2004  arn:partition:service:region:account:resource
        raise OddError("has an ARN that is none")
    account, (noun, _, name) = parts[4], parts[5].partition("/")
    session = ""
    if noun == "assumed-role":
        role, _, session = name.partition("/")
        found = f"aws:role/{account}/{role}"
    elif noun == "root":
        found = f"aws:root/{account}"
    elif noun in ("user", "role"):
        found = f"aws:{noun}/{account}/{name.rpartition('/')[2]}"  # a path before the name is no part of it
    elif noun == "federated-user":
        found = f"aws:federated/{account}/{name}"
    else:
        found = f"aws:{noun}/{account}/{name}"
    if len(_by_arn_known) > 200_000:  # noqa: PLR2004  bounds memory; it fills again
        _by_arn_known.clear()
    if len(arn) <= 512:  # noqa: PLR2004  longer ones are nobody's
        _by_arn_known[arn] = (found, session)
    return found, session


def _without_arn(identity: _Identity | None) -> tuple[str, str]:
    """The same by whatever else tells who it was."""
    if identity is None:
        return "aws:unknown", ""
    account = identity.accountId or ""
    if identity.type == "Root":
        return f"aws:root/{account}", ""
    if identity.invokedBy and identity.type in (None, "AWSService"):
        return f"aws:service/{identity.invokedBy}", ""
    if account.lower() in ("anonymous", "anonymous_principal") or identity.principalId == "ANONYMOUS_PRINCIPAL":
        return "aws:anonymous", ""
    if identity.type == "IAMUser" and identity.userName:
        return f"aws:user/{account}/{identity.userName}", ""
    issuer = identity.sessionContext.sessionIssuer if identity.sessionContext else None
    if identity.type == "AssumedRole" and issuer and issuer.arn:
        return by_arn(issuer.arn)[0], (identity.principalId or "").partition(":")[2]
    if identity.type in ("WebIdentityUser", "SAMLUser", "IdentityCenterUser", "FederatedUser"):
        name = identity.userName or identity.principalId or ""
        return f"aws:federated/{identity.identityProvider or account}/{name}", ""
    return _least(identity, account), ""


def _least(identity: _Identity, account: str) -> str:
    if identity.accessKeyId:
        return f"aws:key/{identity.accessKeyId}"
    if account:
        return f"aws:account/{account}"
    if identity.invokedBy:
        return f"aws:service/{identity.invokedBy}"
    return f"aws:unknown/{identity.type}" if identity.type else "aws:unknown"
