"""The checksums that S3 requests and responses carry, computed as bytes pass.

CRC32, CRC32C, CRC64NVME, SHA1 and SHA256 as "Checking object integrity", Amazon S3 user guide, names them: big-endian,
base64. Content-MD5 is RFC 1864. Any newer kind is refused by name rather than ignored: a caller who asked for a check must
get it or hear that it was not done.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING, Final, Protocol

from awscrt import checksums as crt

from limen.core.errors import Invalid, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

HEADER: Final = "x-amz-checksum-"
CONTENT_MD5: Final = "content-md5"
_ABOUT: Final = frozenset({"x-amz-checksum-algorithm", "x-amz-checksum-type", "x-amz-checksum-mode"})


class BadDigest(Invalid):
    """The bytes that arrived do not have the checksum that the caller gave."""


class InvalidDigest(Invalid):
    """A checksum that is not base64, or not of its kind's length."""


class Sum(Protocol):
    """One running checksum."""

    def update(self, chunk: bytes, /) -> None:
        """Take the next bytes."""

    def digest(self) -> bytes:
        """The checksum so far, big-endian."""


class _Crc:
    """A CRC of awscrt's, continued from chunk to chunk."""

    def __init__(self, function: Callable[[bytes, int], int], width: int) -> None:
        self._function = function
        self._width = width
        self._value = 0

    def update(self, chunk: bytes, /) -> None:
        self._value = self._function(chunk, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._width, "big")


def _sha1() -> Sum:
    return hashlib.sha1(usedforsecurity=False)


def _md5() -> Sum:
    return hashlib.md5(usedforsecurity=False)


KINDS: Final[dict[str, tuple[int, Callable[[], Sum]]]] = {
    "crc32": (4, lambda: _Crc(crt.crc32, 4)),
    "crc32c": (4, lambda: _Crc(crt.crc32c, 4)),
    "crc64nvme": (8, lambda: _Crc(crt.crc64nvme, 8)),
    "sha1": (20, _sha1),
    "sha256": (32, hashlib.sha256),
}

_COMBINE: Final[dict[str, Callable[[int, int, int], int]]] = {
    "crc32": crt.combine_crc32,
    "crc32c": crt.combine_crc32c,
    "crc64nvme": crt.combine_crc64nvme,
}


def kind_of(header: str) -> str:
    """The checksum kind that a header or trailer name carries. Raises Unsupported for one that is not offered."""
    kind = header.lower().removeprefix(HEADER)
    if kind not in KINDS:
        raise Unsupported(f"the checksum {kind!r} is not offered; use one of {', '.join(sorted(KINDS))}")
    return kind


def declared(headers: Mapping[str, str]) -> dict[str, str]:
    """The checksums that request headers state, by kind, as base64; `md5` for Content-MD5."""
    found = {kind_of(name): value.strip() for name, value in headers.items() if name.startswith(HEADER) and name not in _ABOUT}
    if CONTENT_MD5 in headers:
        found["md5"] = headers[CONTENT_MD5].strip()
    return found


class Checks:
    """The checksums that one body must match: those stated up front, and those that trailers will state.

    Feed every byte to `update`, then ask `verified` once.
    """

    def __init__(self, stated: Mapping[str, str], *, later: frozenset[str] = frozenset()) -> None:
        self._stated = {kind: _decode(kind, value) for kind, value in stated.items()}
        self._later = later
        self._sums = {kind: _md5() if kind == "md5" else KINDS[kind][1]() for kind in {*stated, *later}}

    def update(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        for running in self._sums.values():
            running.update(chunk)

    def verified(self, trailers: Mapping[str, str] | None = None) -> dict[str, str]:
        """Every checksum that was asked for, by kind, as base64. Raises BadDigest, naming the kind that differs."""
        due = dict(self._stated)
        for kind in self._later:
            if kind not in (trailers or {}):
                raise BadDigest(kind, "the trailer that should carry it did not come")
        for kind, value in (trailers or {}).items():
            if kind in self._later:
                due[kind] = _decode(kind, value)
        for kind, expected in due.items():
            if not hmac.compare_digest(self._sums[kind].digest(), expected):
                raise BadDigest(kind, "the body that arrived does not have this checksum; nothing was kept")
        return {kind: base64.b64encode(running.digest()).decode() for kind, running in self._sums.items()}


def _decode(kind: str, value: str) -> bytes:
    width = hashlib.md5(usedforsecurity=False).digest_size if kind == "md5" else KINDS[kind][0]
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as e:
        raise InvalidDigest(kind, "is not base64") from e
    if len(raw) != width:
        raise InvalidDigest(kind, f"must be {width} bytes in base64")
    return raw


def check_joined(kind: str, stated: str, parts: Sequence[tuple[str, int]]) -> None:
    """Check an object's stated checksum against those of its parts, (base64, length) in order. Raises BadDigest.

    `<base64>-<count>` is S3's composite form, the checksum of the parts' checksums; otherwise it is of all the bytes, which
    only CRCs can be joined to.
    """
    value, dash, count = stated.partition("-")
    digests = [_decode(kind, part) for part, _ in parts]
    if dash:
        running = KINDS[kind][1]()
        running.update(b"".join(digests))
        holds = count == str(len(parts)) and hmac.compare_digest(running.digest(), _decode(kind, value))
    else:
        holds = hmac.compare_digest(_joined(kind, digests, [length for _, length in parts]), _decode(kind, stated))
    if not holds:
        raise BadDigest(kind, "the parts that were uploaded do not join to this checksum")


def _joined(kind: str, digests: Sequence[bytes], lengths: Sequence[int]) -> bytes:
    combine = _COMBINE.get(kind)
    if combine is None:
        raise Unsupported(f"a {kind} of the whole can't be had from parts; use a composite one, or a CRC")
    joined = 0
    for digest, length in zip(digests, lengths, strict=True):
        joined = combine(joined, int.from_bytes(digest, "big"), length)
    return joined.to_bytes(KINDS[kind][0], "big")
