"""An STS request's parameters, read strictly: AWS query protocol (form-encoded), AWS STS API reference (2011-06-15).

Every parameter once, every parameter known: an ignored restriction would be a wider session than was asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from limen.core.errors import Invalid
from limen.doors.sts.errors import MalformedPolicy

MAX_BODY: Final = 65_536
MAX_FIELDS: Final = 32
VERSION: Final = "2011-06-15"
MIN_SESSION_S, MAX_SESSION_S, SESSION_S = 900, 43_200, 3_600

_ROLE: Final = re.compile(r"arn:aws:iam::[0-9]{1,12}:role/([a-z0-9][a-z0-9._-]{0,62})")
_NAME: Final = re.compile(r"[A-Za-z0-9_+=,.@-]{2,64}")
_KNOWN: Final = frozenset({"Action", "Version", "RoleArn", "RoleSessionName", "WebIdentityToken", "DurationSeconds"})


@dataclass(frozen=True, slots=True)
class WebIdentity:
    """What AssumeRoleWithWebIdentity asks for. The role names the project; the session's name is noted, never identity."""

    project: str
    name: str
    unverified_token: str
    duration_s: int


def read_form(raw: bytes) -> dict[str, str]:
    """The form's fields. Invalid if there are too many, one stands twice, or one is not UTF-8."""
    fields: dict[str, str] = {}
    parts = [part for part in raw.split(b"&", MAX_FIELDS) if part]
    if len(parts) > MAX_FIELDS:
        raise Invalid("parameters", f"more than {MAX_FIELDS}")
    for part in parts:
        name, _, value = (unquote_to_bytes(piece.replace(b"+", b" ")) for piece in part.partition(b"="))
        try:
            text = name.decode()
            if text in fields:
                raise Invalid(text[:64] or "parameters", "given twice")
            fields[text] = value.decode()
        except UnicodeDecodeError as e:
            raise Invalid("parameters", "not UTF-8") from e
    return fields


def read_web_identity(fields: dict[str, str]) -> WebIdentity:
    """The parameters of AssumeRoleWithWebIdentity. Invalid names the one that is wrong."""
    for name in fields:
        if name in ("Policy", "ProviderId") or name.startswith("PolicyArns"):
            raise MalformedPolicy(name, "limen takes no session policy and no provider id; a session is always its whole project")
        if name not in _KNOWN:
            raise Invalid(name[:64] or "parameters", "not a parameter of AssumeRoleWithWebIdentity")
    role = _ROLE.fullmatch(fields.get("RoleArn", ""))
    if role is None:
        raise Invalid("RoleArn", "must read arn:aws:iam::<any number>:role/<project>")
    session_name = fields.get("RoleSessionName", "")
    if not _NAME.fullmatch(session_name):
        raise Invalid("RoleSessionName", "must be 2 to 64 letters, digits or any of _+=,.@-")
    token = fields.get("WebIdentityToken", "").strip()  # SDKs send the file as it is, and editors end it with a newline
    if not token:
        raise Invalid("WebIdentityToken", "is missing")
    return WebIdentity(role[1], session_name, token, _duration(fields.get("DurationSeconds", str(SESSION_S))))


def _duration(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_SESSION_S))):
        raise Invalid("DurationSeconds", "must be a whole number of seconds")
    seconds = int(text)
    if not MIN_SESSION_S <= seconds <= MAX_SESSION_S:
        raise Invalid("DurationSeconds", f"must be from {MIN_SESSION_S} to {MAX_SESSION_S}")
    return seconds
