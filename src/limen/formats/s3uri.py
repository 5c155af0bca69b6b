"""Which bucket and key an S3 request names, by path or by virtual host.

Follows "Virtual hosting of general purpose buckets", Amazon S3 user guide. Keys are the percent-decoded path, taken as
opaque UTF-8: `..`, `//` and `.` mean nothing special.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from limen.core.errors import Invalid

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
MAX_KEY = 1024


class Place(NamedTuple):
    """A bucket and a key in it; both empty for the service itself, the key empty for the bucket itself."""

    bucket: str
    key: str


def place(path: str, host: str, *, domain: str) -> Place:
    """The place that a raw path (Latin-1 of the wire) names under a Host header. Raises Invalid for a key that is not text."""
    bucket = _bucket_of(host, domain)
    rest = path.removeprefix("/")
    if not bucket:
        raw_bucket, _, rest = rest.partition("/")
        bucket = _text(raw_bucket, "bucket")
    return Place(bucket, _text(rest, "key"))


def check_new_key(key: str) -> None:
    """Refuse a key that a listing could not show again: too long, or with control characters."""
    if len(key.encode()) > MAX_KEY:
        raise KeyTooLong(f"longer than {MAX_KEY} bytes")
    if _CONTROL.search(key):
        raise Invalid("key", "holds control characters")


class KeyTooLong(Invalid):
    """A key over S3's limit of 1,024 bytes."""

    def __init__(self, why: str) -> None:
        super().__init__("key", why)


def _bucket_of(host: str, domain: str) -> str:
    """The bucket in front of our domain; empty for the domain itself and for every other host, where the path names it."""
    name = host.strip().lower()
    if not name.startswith("["):  # an IPv6 address in brackets holds colons of its own, and no bucket
        name = name.partition(":")[0]
    suffix = f".{domain.lower()}"
    return name.removesuffix(suffix) if domain and name.endswith(suffix) else ""


def _text(raw: str, what: str) -> str:
    if "%" not in raw and raw.isascii():
        return raw
    try:
        return unquote_to_bytes(raw.encode("latin-1")).decode()
    except UnicodeDecodeError as e:
        raise Invalid(what, "is not UTF-8") from e
