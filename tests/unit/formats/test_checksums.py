from __future__ import annotations

import base64
import hashlib
import zlib

import pytest

from limen.core.errors import Unsupported
from limen.formats import checksums

CHECK = b"123456789"
# The check values of the CRC catalogue (reveng), for the nine digits; SHA from FIPS 180 implementations.
KNOWN = {
    "crc32": "cbf43926",
    "crc32c": "e3069283",
    "crc64nvme": "ae8b14860a799888",
    "sha1": hashlib.sha1(CHECK).hexdigest(),
    "sha256": hashlib.sha256(CHECK).hexdigest(),
}


def b64(hexadecimal):
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()


@pytest.mark.parametrize("kind", KNOWN)
def test_each_kind_has_its_published_check_value_in_any_cuts(kind):
    for step in (1, 4, 9):
        checks = checksums.Checks({kind: b64(KNOWN[kind])})
        for at in range(0, 9, step):
            checks.update(CHECK[at : at + step])

        assert checks.verified() == {kind: b64(KNOWN[kind])}


@pytest.mark.parametrize("kind", KNOWN)
def test_another_byte_is_a_bad_digest(kind):
    checks = checksums.Checks({kind: b64(KNOWN[kind])})
    checks.update(b"123456780")

    with pytest.raises(checksums.BadDigest, match=kind):
        checks.verified()


def test_the_headers_of_a_request_state_its_checksums():
    headers = {
        "x-amz-checksum-crc32": "y/Q5Jg==",
        "x-amz-checksum-algorithm": "CRC32",
        "x-amz-checksum-mode": "ENABLED",
        "content-md5": "JfnnlDI7RTiF9RgfG2JNCw==",
        "content-length": "9",
    }

    assert checksums.declared(headers) == {"crc32": "y/Q5Jg==", "md5": "JfnnlDI7RTiF9RgfG2JNCw=="}
    checks = checksums.Checks(checksums.declared(headers))
    checks.update(CHECK)
    assert set(checks.verified()) == {"crc32", "md5"}


@pytest.mark.parametrize("kind", ["sha512", "md5", "xxhash64", "xxhash3", "crc16", ""])
def test_a_kind_that_is_not_offered_is_refused_by_name(kind):
    with pytest.raises(Unsupported, match="not offered"):
        checksums.declared({f"x-amz-checksum-{kind}": "AAAA"})


@pytest.mark.parametrize("value", ["", "AAAA", "not base64!", "y/Q5Jg", "y/Q5Jg==y/Q5Jg==", "ä"])
def test_a_checksum_that_is_not_of_its_kind_is_an_invalid_digest(value):
    with pytest.raises(checksums.InvalidDigest):
        checksums.Checks({"crc32": value})


def test_a_checksum_promised_for_later_must_come_and_hold():
    checks = checksums.Checks({}, later=frozenset({"crc32"}))
    checks.update(CHECK)

    assert checks.verified({"crc32": "y/Q5Jg=="}) == {"crc32": "y/Q5Jg=="}
    with pytest.raises(checksums.BadDigest, match="did not come"):
        checks.verified({})
    with pytest.raises(checksums.BadDigest):
        checks.verified({"crc32": "AAAAAA=="})


@pytest.mark.parametrize("kind", ["crc32", "crc32c", "crc64nvme"])
def test_the_whole_of_a_joined_upload_is_checked_from_its_parts(kind):
    def of(content):
        checks = checksums.Checks({}, later=frozenset({kind}))
        checks.update(content)
        return base64.b64encode(checks._sums[kind].digest()).decode()

    parts = [(of(b"1234"), 4), (of(b"567"), 3), (of(b"89"), 2)]

    checksums.check_joined(kind, b64(KNOWN[kind]), parts)
    checksums.check_joined(kind, of(b"".join(base64.b64decode(p) for p, _ in parts)) + "-3", parts)
    for wrong in (parts[::-1], parts[:2]):
        with pytest.raises(checksums.BadDigest):
            checksums.check_joined(kind, b64(KNOWN[kind]), wrong)
    with pytest.raises(checksums.BadDigest):
        checksums.check_joined(kind, of(b"".join(base64.b64decode(p) for p, _ in parts)) + "-2", parts)


def test_a_hash_of_the_whole_cannot_be_had_from_parts():
    with pytest.raises(Unsupported, match="composite"):
        checksums.check_joined("sha256", b64(KNOWN["sha256"]), [(b64(KNOWN["sha256"]), 9)])


def test_crc32_agrees_with_zlib_on_large_input():
    content = bytes(range(256)) * 5000
    checks = checksums.Checks({"crc32": base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()})
    checks.update(content)

    assert checks.verified()
