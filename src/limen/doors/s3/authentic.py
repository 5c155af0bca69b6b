"""Who makes a request: its signature checked, then its session token opened. No ledger, no policy, no body here.

The secret of an access key follows from the key itself, so every well-formed access key has one; what proves a session is
the signature *and* the token. Signing keys are kept per (access key, day), and only once a signature has held.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from limen.core.errors import BadCredential
from limen.doors.s3.errors import BadToken, NoToken
from limen.formats import sigv4

if TYPE_CHECKING:
    from collections.abc import Callable

    from limen.core.types import Session

KEYS_KEPT = 4096


class Authenticator:
    """Turns a request into its session. Owned by the event loop's thread."""

    def __init__(self, secret_for: Callable[[str], str], resolve: Callable[[str, str], Session], *, region: str) -> None:
        self._secret_for = secret_for
        self._resolve = resolve
        self._region = region
        self._keys: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def session_of(self, request: sigv4.Request, *, now: int) -> tuple[Session, sigv4.Verified]:
        """The session that signed this request. Raises BadCredential (with its step) or SessionEnded."""
        unverified = sigv4.read(request)
        verified = sigv4.verify(unverified, request, key_for=self._key_for, now=now, region=self._region)
        self._keep(unverified, verified.chunks.key)
        if not verified.token:
            raise NoToken(
                "the request carries no session token. limen issues temporary credentials only: pass all three parts,"
                " or set credential_process to `limen creds`",
                step="token.present",
            )
        try:
            session = self._resolve(verified.access_key, verified.token)
        except BadCredential as e:
            raise BadToken(e.reason, step=e.step or "token.resolve", detail=str(e)) from e
        return session, verified

    def _key_for(self, unverified: sigv4.Unverified) -> bytes:
        kept = self._keys.get((unverified.access_key, unverified.day))
        if kept is not None:
            return kept
        secret = self._secret_for(unverified.access_key)
        return sigv4.signing_key(secret, day=unverified.day, region=unverified.region, service=unverified.service)

    def _keep(self, unverified: sigv4.Unverified, key: bytes) -> None:
        self._keys[unverified.access_key, unverified.day] = key
        if len(self._keys) > KEYS_KEPT:
            self._keys.popitem(last=False)
