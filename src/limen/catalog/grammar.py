"""What a name, an id, a path or a time may look like: one small check each, each raising Invalid(field, why)."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from limen.core.errors import Invalid
from limen.core.events import MAX_INT

LAB: Final = "lab"  # the prefix of the lab's own people; no vendor may take it
MAX_TEXT: Final = 1_000
MAX_URL: Final = 2_048
MAX_SUBJECT: Final = 255  # OpenID Connect Core 1.0 §2: `sub` is at most 255 ASCII characters
MAX_PATH: Final = 900  # with the asset id and a slash it stays below S3's 1,024 bytes

_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_ROLE = re.compile(r"[a-z][a-z0-9-]{0,30}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_COPY_ID = re.compile(r"[0-9a-f]{32}")
_ID_RULE = "1 to 63 characters of a-z 0-9 . _ -, the first a letter or a digit"


def check_id(field: str, value: str) -> None:
    """A short name: what the CLI takes, and a bucket or the first segment of a key."""
    if not _ID.fullmatch(value):
        raise Invalid(field, f"{_show(value)} is not an id ({_ID_RULE})")


def check_member(field: str, value: str) -> tuple[str, str]:
    """`vendor/handle` or `lab/handle`, taken apart."""
    company, slash, handle = value.partition("/")
    if not slash or not _ID.fullmatch(company) or not _ID.fullmatch(handle):
        raise Invalid(field, f"{_show(value)} is not `vendor/handle` (each {_ID_RULE})")
    return company, handle


def check_text(field: str, value: str, *, empty: bool = False, most: int = MAX_TEXT) -> None:
    """One line of plain words, in the normal form that entries are hashed in."""
    if not value and not empty:
        raise Invalid(field, "is empty")
    if len(value) > most:
        raise Invalid(field, f"has {len(value)} characters, more than {most}")
    if value.isascii() and value.isprintable():
        return
    # Surrogates, line breaks and direction overrides are not printable: they could forge a line on an operator's screen.
    if not value.isprintable():
        raise Invalid(field, "has a control or unprintable character")
    if not unicodedata.is_normalized("NFC", value):
        raise Invalid(field, "is not in Unicode normal form C")


def check_issuer(field: str, value: str) -> None:
    """An OpenID Connect issuer: an https URL, or http on this machine (a development issuer)."""
    check_text(field, value, most=MAX_URL)
    if not value.isascii() or " " in value or not value.startswith(("https://", "http://127.0.0.1", "http://localhost")):
        raise Invalid(field, f"{_show(value)} is not an https URL")


def check_subject(field: str, value: str) -> None:
    """The issuer's name for a person: ASCII, compared byte for byte, never an address we write to."""
    check_text(field, value, most=MAX_SUBJECT)
    if not value.isascii():
        raise Invalid(field, "is not ASCII")


def check_role(field: str, value: str) -> None:
    """A lab role, as tiers name them."""
    if not _ROLE.fullmatch(value):
        raise Invalid(field, f"{_show(value)} is not a role (1 to 31 characters of a-z 0-9 -, the first a letter)")


def check_digest(field: str, value: str) -> None:
    """SHA-256 in hex."""
    if not _DIGEST.fullmatch(value):
        raise Invalid(field, "is not a SHA-256 digest (64 characters of 0-9 a-f)")


def check_copy_id(field: str, value: str) -> None:
    """A copy id: 16 random bytes in hex. `complete` makes them; nobody chooses one."""
    if not _COPY_ID.fullmatch(value):
        raise Invalid(field, "is not a copy id (32 characters of 0-9 a-f)")


def check_path(field: str, value: str) -> None:
    """A shard's path below its asset: relative, with no segment that a tool could read as `here` or `above`."""
    check_text(field, value, most=MAX_PATH)
    if len(value.encode()) > MAX_PATH:
        raise Invalid(field, f"has more than {MAX_PATH} bytes")
    if "\\" in value or any(part in {"", ".", ".."} for part in value.split("/")):
        raise Invalid(field, f"{_show(value)} is not a relative path of plain segments")


def check_count(field: str, value: int, *, least: int = 0, most: int = MAX_INT) -> None:
    """A whole number that an entry can hold."""
    if not least <= value <= most:
        raise Invalid(field, f"{value if abs(value) <= MAX_INT else 'the number'} is not between {least} and {most}")


def _show(value: str) -> str:
    return ascii(value if len(value) <= 80 else value[:80] + "…").replace("\\u2026", "…")  # noqa: PLR2004  a line's worth
