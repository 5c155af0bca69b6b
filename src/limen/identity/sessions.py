"""Session credentials: issued once, sealed into the token that the holder carries, and kept nowhere.

A session is three strings, shaped like the cloud's so that unmodified tools carry them. The access key id is random
and public. The secret is HMAC(server key, access key id), so it is computed and never stored. The session token is the
Session itself, sealed with AES-256-GCM (NIST SP 800-38D) under a key derived from the server key by HKDF (RFC 5869);
the access key id is authenticated with it, so that a token fits one key id only.

Token, version 1, base64url without padding: 0x01 ‖ key id (4 bytes) ‖ nonce (12) ‖ sealed JSON array ‖ tag (16). The
nonce is an HMAC of what is sealed: the same session gives the same token, and no two sessions share a nonce with
different contents. The key id says which server key sealed it, so that a second one can follow.

What is *not* decided here: whether the session is paused or ended. Every door asks `live` for that.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections import OrderedDict
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final, Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from limen.core.errors import BadCredential, SessionEnded
from limen.core.types import Session

if TYPE_CHECKING:
    from collections.abc import Callable

PREFIX: Final = "LMN"
MAX_TOKEN: Final = 4096
REMEMBERED: Final = 4096  # opened tokens kept, so that the requests of one download open theirs once

_VERSION: Final = b"\x01"
_KEY_ID: Final = 4
_NONCE: Final = 12
_ACCESS_KEY: Final = re.compile(rf"{PREFIX}[A-Z2-7]{{17}}")
_SECRET_BYTES: Final = 30  # 40 characters of base64url, as long as the cloud's


@dataclass(frozen=True, slots=True)
class Credentials:
    """What proves a session, as the holder's tools carry it. Handed out once; `expires_at` is integer seconds."""

    access_key_id: str
    secret_access_key: str
    session_token: str
    expires_at: int


class _Sealed(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A Session as it is sealed: every field but the access key, which travels beside the token and is authenticated."""

    id: str
    holder: str
    vendor: str | None
    sponsor: str | None
    project: str
    pseudonym: str
    strength: Literal["single", "hardware"]
    issued_at: int
    expires_at: int
    sponsor_pseudonym: str | None


_FIELDS: Final = tuple(f.name for f in fields(Session) if f.name != "access_key")


def new_access_key(random: Callable[[int], bytes]) -> str:
    """A fresh access key id: `LMN` and 85 random bits, 20 characters in all, shaped as the tools expect."""
    return PREFIX + base64.b32encode(random(11)).decode()[:17]


class Sessions:
    """Issues and resolves session credentials under one server key. Stateless but for a bounded memory of opened tokens.

    Owned by the event loop's thread.
    """

    def __init__(self, server_key: bytes) -> None:
        if len(server_key) != 32:  # noqa: PLR2004  256 bits, as AES-256 and HKDF-SHA256 give
            raise RuntimeError(f"server key of {len(server_key)} bytes, need 32")
        self._seal = AESGCM(_derive(server_key, b"limen session seal v1"))
        self._nonce_key = _derive(server_key, b"limen session nonce v1")
        self._secret_key = _derive(server_key, b"limen session secret v1")
        self._head = _VERSION + _derive(server_key, b"limen session key id v1")[:_KEY_ID]
        self._opened: OrderedDict[tuple[str, str], Session] = OrderedDict()

    def issue(self, session: Session) -> Credentials:
        """The credentials of a session whose `session.start` entry is durable. The same session gives the same ones."""
        access_key = _shaped(session.access_key)
        plain = msgspec.json.encode(_Sealed(*(getattr(session, name) for name in _FIELDS)))
        aad = self._head + access_key.encode()
        nonce = hmac.digest(self._nonce_key, aad + plain, "sha256")[:_NONCE]
        token = self._head + nonce + self._seal.encrypt(nonce, plain, aad)
        return Credentials(access_key, self.secret_for(access_key), _b64(token), session.expires_at)

    def secret_for(self, access_key_id: str) -> str:
        """The secret that belongs to an access key id. BadCredential for an id that can't be one of ours.

        It exists for every id of our shape, issued or not: holding it proves an issue, since nobody else can compute it.
        """
        return _b64(hmac.digest(self._secret_key, _shaped(access_key_id).encode(), "sha256")[:_SECRET_BYTES])

    def resolve(self, access_key_id: str, session_token: str, *, now: int) -> Session:
        """The session that a token holds; says nothing about pauses.

        BadCredential if the token is not ours or not of this access key; SessionEnded if it is over.
        """
        known = (access_key_id, session_token)
        session = self._opened.get(known)
        if session is None:
            session = self._open(_shaped(access_key_id), session_token)
            self._opened[known] = session
            if len(self._opened) > REMEMBERED:
                self._opened.popitem(last=False)
        else:
            self._opened.move_to_end(known)
        if now >= session.expires_at:
            raise SessionEnded("this session has expired; log in again", rule="expired")
        return session

    def _open(self, access_key: str, token: str) -> Session:
        if not token:
            raise BadCredential("a session token is needed beside the access key", step="session-token-missing")
        if len(token) > MAX_TOKEN:
            raise BadCredential("the session token is not one of ours", step="session-token-size")
        raw = _unb64(token)
        if len(raw) <= len(self._head) + _NONCE or raw[:1] != _VERSION:
            raise BadCredential("the session token is not one of ours", step="session-token-shape")
        head, nonce, sealed = raw[: len(self._head)], raw[len(self._head) :][:_NONCE], raw[len(self._head) + _NONCE :]
        if head != self._head:
            raise BadCredential("the session token is not one of ours", step="session-token-key")
        try:
            plain = self._seal.decrypt(nonce, sealed, head + access_key.encode())
        except InvalidTag as e:
            raise BadCredential("the session token is not one of ours", step="session-token-seal") from e
        try:
            opened = msgspec.json.decode(plain, type=_Sealed)
        except msgspec.MsgspecError as e:
            # The seal held, so this gateway wrote it: a release with another shape of session.
            raise SessionEnded("this session is from another release of the gateway; log in again", rule="expired") from e
        return Session(access_key=access_key, **{name: getattr(opened, name) for name in _FIELDS})


def _shaped(access_key_id: str) -> str:
    if not _ACCESS_KEY.fullmatch(access_key_id):
        raise BadCredential("no such access key", step="access-key-shape")
    return access_key_id


def _derive(key: bytes, purpose: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=purpose).derive(key)


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    """Strict base64url: one text for each token, or the memory of opened tokens could be filled with spellings of one."""
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as e:
        raise BadCredential("the session token is not one of ours", step="session-token-shape") from e
    if _b64(raw) != text:
        raise BadCredential("the session token is not one of ours", step="session-token-shape")
    return raw
