"""Where a login keeps its session between commands: one small JSON text per profile, readable by its owner only.

`$LIMEN_CACHE`, else `$XDG_CACHE_HOME/limen`, else `~/.cache/limen`. What lies here opens one project until the session
ends: it is written with mode 0600 from its first byte, replaced whole, and not read if others could have read it.

`limen creds` runs before every command of the holder's tools, so this imports nothing that it can do without.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from limen.core.errors import Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA: Final = "limen/session/v1"
_PROFILE: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_CURRENT: Final = ".current"


class Kept(NamedTuple):
    """One login: the session's credentials, where they work, and what may renew them.

    `expires_at` is integer seconds. `refresh_token` is the issuer's; `id_token` is kept only where there is none.
    """

    endpoint: str
    region: str
    project: str
    access_key_id: str
    secret_access_key: str
    session_token: str
    expires_at: int
    issuer: str
    client_id: str
    duration_s: int
    refresh_token: str = ""
    id_token: str = ""


def directory() -> str:
    """The cache directory, made if it is not there."""
    base = os.environ.get("LIMEN_CACHE", "")
    if not base:
        home = os.environ.get("XDG_CACHE_HOME", "") or os.path.expanduser("~/.cache")  # noqa: PTH111  pathlib costs 5 ms here
        base = f"{home}/limen"
    os.makedirs(base, mode=0o700, exist_ok=True)  # noqa: PTH103  as above
    return base


def chosen(profile: str) -> str:
    """The profile named, else that of the last login. NotFound if nobody has logged in."""
    if not profile:
        try:
            with open(f"{directory()}/{_CURRENT}", encoding="ascii") as current:  # noqa: PTH123  as above
                profile = current.read().strip()
        except FileNotFoundError:
            raise NotFound("a session; run `limen login --endpoint URL --project PROJECT`") from None
    return check_profile(profile)


def check_profile(profile: str) -> str:
    """The name itself, if it can't reach outside the directory."""
    if not _PROFILE.fullmatch(profile):
        raise Invalid("profile", "must be 1 to 63 characters of a-z 0-9 . _ -, the first a letter or a digit")
    return profile


def read(profile: str) -> Kept:
    """What a profile's last login kept. NotFound if there is none; Invalid if it is unreadable or others can read it."""
    path = f"{directory()}/{profile}.json"
    try:
        with open(path, "rb") as opened:  # noqa: PTH123  pathlib costs 5 ms here
            status = os.fstat(opened.fileno())
            if status.st_mode & 0o077 or status.st_uid != os.geteuid():
                raise Invalid(path, "others can read this session; remove it and log in again")
            fields = json.loads(opened.read())
    except FileNotFoundError:
        raise NotFound(f"a session for {profile}; run `limen login --endpoint URL --project {profile}`") from None
    except ValueError as e:
        raise Invalid(path, "is not a kept session; log in again") from e
    if not isinstance(fields, dict) or fields.pop("schema", "") != SCHEMA or not isinstance(fields.get("expires_at"), int):
        raise Invalid(path, "is from another release of limen; log in again")
    try:
        return Kept(**fields)
    except TypeError as e:
        raise Invalid(path, "is from another release of limen; log in again") from e


def write(profile: str, kept: Kept, *, current: bool = False) -> None:
    """Keep a login; `current` makes it the one that commands without `--profile` mean."""
    _replace(f"{directory()}/{check_profile(profile)}.json", json.dumps({"schema": SCHEMA, **kept._asdict()}))
    if current:
        _replace(f"{directory()}/{_CURRENT}", profile)


def _replace(path: str, text: str) -> None:
    """Write beside and rename: readable by its owner only from the first byte, never seen half-written."""
    beside = f"{path}.{os.getpid()}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(beside)  # noqa: PTH108  left by a process of the same number that was killed
    opened = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(opened, "w", encoding="ascii") as out:
        out.write(text)
    os.rename(beside, path)  # noqa: PTH104  pathlib costs 5 ms here


@contextlib.contextmanager
def renewing(profile: str) -> Iterator[None]:
    """One renewal at a time: parallel tools ask at once, and a refresh token may work once only."""
    opened = os.open(f"{directory()}/{profile}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)
