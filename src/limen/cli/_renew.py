"""Renew a kept login before its session ends: a fresh identity token from the issuer, then a fresh session for it.

Imported by `limen creds` only when it is needed, since it brings the whole of HTTP and TLS with it.
"""

from __future__ import annotations

import contextlib

from limen.cli import _cache, _gateway, _signin, _web
from limen.core.errors import LimenError


def renewed(profile: str, kept: _cache.Kept, *, now: int, spare_s: int) -> _cache.Kept | None:
    """The login with a fresh session, kept in place of the old one; None if it can't be renewed now.

    Parallel callers wait for the first and take what it got.
    """
    if not (kept.refresh_token or kept.id_token):
        return None
    with _cache.renewing(profile):
        latest = _cache.read(profile)
        if latest.expires_at - now >= spare_s:
            return latest
        with contextlib.suppress(LimenError, _web.WebFault):
            return _again(profile, latest)
    return None


def _again(profile: str, kept: _cache.Kept) -> _cache.Kept:
    id_token, refresh_token = kept.id_token, kept.refresh_token
    if refresh_token:
        issuer = _signin.discover(kept.issuer, kept.client_id)
        id_token, refresh_token = _signin.refresh(issuer, refresh_token)
        # Kept at once: the old one may be used up, whatever the gateway says next.
        kept = kept._replace(refresh_token=refresh_token)
        _cache.write(profile, kept)
    issued = _gateway.assume(kept.endpoint, project=kept.project, id_token=id_token, name=profile, duration_s=kept.duration_s)
    fresh = kept._replace(**issued._asdict())
    _cache.write(profile, fresh)
    return fresh
