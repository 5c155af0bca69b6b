"""Bad signatures, tokens and requests: each gets its own S3 code, none a 500, and none a byte of content.

The requests are signed by botocore, then broken in one place each, and put to the door itself as ASGI. Every row that
fails before a session is proven must leave the layer below untouched and be counted once.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "doors" / "s3"))

from s3world import ACCESS_KEY, HOST, REGION, World, sign

OBJECT = "/orchid/sft/a.jsonl"
DROP = "/orchid/drop/x"
UPLOAD = "0" * 32
MALFORMED = "AuthorizationHeaderMalformed"
STREAM = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
SIGNED_STREAM = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"


def signed(method="GET", target=OBJECT, body=b"", **more):
    """A request that botocore signed, as is."""
    return lambda world: world.ask(method, target, body=body, **more)


def edited(edit, method="GET", target=OBJECT, body=b"", *, sent=None, **more):
    """A signed request whose headers were changed on the way."""

    def ask(world):
        headers = dict(sign(method, target, body=body, **more))
        edit(headers)
        return world.send(method, target, list(headers.items()), body if sent is None else sent)

    return ask


def authorization(old, new, **more):
    """A signed request whose Authorization header was changed."""
    return edited(lambda headers: headers.update(Authorization=headers["Authorization"].replace(old, new)), **more)


def with_authorization(value):
    return lambda world: world.send("GET", OBJECT, [("host", HOST), ("authorization", value), ("x-amz-date", "20260101T000000Z")])


def presigned(old="", new="", *, target=OBJECT, later=0, headers=(), **more):
    """A presigned URL, changed or used late."""

    def ask(world):
        url = world.presign("GET", target, **more).replace(old, new)
        world.shift = later
        return world.send("GET", url, [("host", HOST), *headers])

    return ask


def later(seconds):
    def ask(world):
        headers = sign("GET", OBJECT)
        world.shift = seconds
        return world.send("GET", OBJECT, headers)

    return ask


def ended(world):
    world.ended = True
    return world.ask("GET", OBJECT)


def month_13(headers):
    day = headers["X-Amz-Date"][:8]
    for name in ("X-Amz-Date", "Authorization"):
        headers[name] = headers[name].replace(day, day[:4] + "1301")


def remove(name):
    return lambda headers: headers.pop(name)


def put(body=b"hello", **headers):
    return signed("PUT", DROP, body, headers=headers)


def stream(raw, decoded="5", payload=STREAM, **headers):
    named = {"x-amz-decoded-content-length": decoded, "x-amz-trailer": "x-amz-checksum-crc32", **headers}
    return signed("PUT", DROP, raw, payload=payload, headers={name: value for name, value in named.items() if value is not None})


def delete(xml):
    return signed("POST", "/orchid?delete", xml)


def complete(xml):
    return signed("POST", f"{DROP}?uploadId={UPLOAD}", xml)


CRC_OF_HELLO = base64.b64encode((0x3610A686).to_bytes(4, "big"))
GOOD_STREAM = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:" + CRC_OF_HELLO + b"\r\n\r\n"

# Each row: a name, what is asked, and the status and code due.
CREDENTIALS = {
    # who: no proof at all, or of another kind
    "no signature": (lambda w: w.send("GET", OBJECT, [("host", HOST)]), 403, "AccessDenied"),
    "no signature, PUT": (
        lambda w: w.send("PUT", DROP, [("host", HOST)], b"hello"),
        403,
        "AccessDenied",
    ),
    "no headers at all": (lambda w: w.send("GET", "/", []), 403, "AccessDenied"),
    "SigV2 header": (with_authorization(f"AWS {ACCESS_KEY}:frJIUN8DYpKDtOLCwo//yllqDzg="), 400, "InvalidRequest"),
    "SigV2 query": (
        lambda w: w.send("GET", f"{OBJECT}?AWSAccessKeyId={ACCESS_KEY}&Signature=x&Expires=9", [("host", HOST)]),
        400,
        "InvalidRequest",
    ),
    "bearer token": (with_authorization("Bearer eyJhbGciOiJub25lIn0.e30."), 400, MALFORMED),
    "basic auth": (with_authorization("Basic YTpi"), 400, MALFORMED),
    "SigV4A": (with_authorization("AWS4-ECDSA-P256-SHA256 Credential=x"), 400, MALFORMED),
    "empty authorization": (with_authorization(""), 400, MALFORMED),
    "authorization of one word": (with_authorization("AWS4-HMAC-SHA256"), 400, MALFORMED),
    # the form of the header
    "no credential": (authorization("Credential=", "Credentials="), 400, MALFORMED),
    "signature twice": (authorization("Signature=", f"Signature={'0' * 64}, Signature="), 400, MALFORMED),
    "signature cut short": (authorization("Signature=", "Signature=0, x="), 400, MALFORMED),
    "signature in upper case": (
        edited(lambda h: h.update(Authorization=h["Authorization"][:-64] + h["Authorization"][-64:].upper() + "A")),
        400,
        MALFORMED,
    ),
    "scope without aws4_request": (authorization("aws4_request", "aws4"), 400, MALFORMED),
    "wrong region": (signed(region="us-east-1"), 400, MALFORMED),
    "wrong service": (signed(service="sts"), 400, MALFORMED),
    "day of another date": (
        edited(lambda h: h.update({"X-Amz-Date": "20200101T000000Z"})),
        400,
        MALFORMED,
    ),
    "a date that is none": (edited(lambda h: h.update({"X-Amz-Date": "yesterday"})), 400, MALFORMED),
    "no date": (edited(remove("X-Amz-Date")), 400, MALFORMED),
    "no payload hash": (edited(remove("X-Amz-Content-SHA256")), 400, MALFORMED),
    "payload hash of another kind": (signed(payload="md5:abc"), 400, MALFORMED),
    "ECDSA stream": (
        signed("PUT", DROP, b"x", payload="STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD"),
        400,
        MALFORMED,
    ),
    "host not signed": (authorization("SignedHeaders=host;", "SignedHeaders="), 400, MALFORMED),
    "a signed header that did not come": (
        edited(remove("Range"), headers={"Range": "bytes=0-"}),
        400,
        MALFORMED,
    ),
    "unsorted signed headers": (
        authorization("SignedHeaders=host;x-amz-content-sha256", "SignedHeaders=x-amz-content-sha256;host"),
        400,
        MALFORMED,
    ),
    "signed headers in upper case": (
        authorization("SignedHeaders=host", "SignedHeaders=Host"),
        400,
        MALFORMED,
    ),
    "an x-amz- header outside the signature": (edited(lambda h: h.update({"x-amz-acl": "private"})), 403, "AccessDenied"),
    "a Content-MD5 outside the signature": (edited(lambda h: h.update({"Content-MD5": "AAAA"})), 403, "AccessDenied"),
    "header and query at once": (
        presigned(headers=[("authorization", "AWS4-HMAC-SHA256 x")]),
        400,
        MALFORMED,
    ),
    # the signature itself
    "wrong secret": (signed(secret="guessed"), 403, "SignatureDoesNotMatch"),
    "empty secret": (signed(secret=""), 403, "SignatureDoesNotMatch"),
    "another method": (lambda w: w.send("HEAD", OBJECT, sign("GET", OBJECT)), 403, None),
    "another key": (lambda w: w.send("GET", "/orchid/sft/b.jsonl", sign("GET", OBJECT)), 403, "SignatureDoesNotMatch"),
    "another query": (lambda w: w.send("GET", f"{OBJECT}?partNumber=1", sign("GET", OBJECT)), 403, "SignatureDoesNotMatch"),
    "another host": (edited(lambda h: h.update(host="evil.test")), 403, "SignatureDoesNotMatch"),
    "another payload hash": (
        edited(lambda h: h.update({"X-Amz-Content-SHA256": hashlib.sha256(b"x").hexdigest()})),
        403,
        "SignatureDoesNotMatch",
    ),
    "another range": (
        edited(lambda h: h.update({"Range": "bytes=0-100"}), headers={"Range": "bytes=0-1"}),
        403,
        "SignatureDoesNotMatch",
    ),
    "another token": (edited(lambda h: h.update({"X-Amz-Security-Token": "other"})), 403, "SignatureDoesNotMatch"),
    "another access key": (signed(access_key="LMNOTHERKEYAAAAAAAAA"), 400, "InvalidToken"),
    "an access key that is not ours": (signed(access_key="AKIAIOSFODNN7EXAMPLE"), 403, "InvalidAccessKeyId"),
    "an access key of odd characters": (signed(access_key="\u00e4\u00f6"), 400, MALFORMED),
    # the token
    "no token": (signed(token=None), 400, "InvalidToken"),
    "a forged token": (signed(token="forged"), 400, "InvalidToken"),
    "a token of control characters": (signed(token="a\x01b"), 400, "InvalidToken"),
    "an ended session": (ended, 400, "ExpiredToken"),
    # time
    "a clock too late": (later(-901), 403, "RequestTimeTooSkewed"),
    "a clock too early": (later(902), 403, "RequestTimeTooSkewed"),
    "month 13": (edited(month_13), 400, MALFORMED),
    # presigned
    "an expired URL": (presigned(expires=60, later=61), 403, "AccessDenied"),
    "a URL from the future": (presigned(later=-1000), 403, "AccessDenied"),
    "a URL for eight days": (presigned(expires=8 * 86400), 400, MALFORMED),
    "a URL for no time": (presigned(expires=0), 400, MALFORMED),
    "a URL for longer than signed": (presigned("X-Amz-Expires=300", "X-Amz-Expires=301"), 403, "SignatureDoesNotMatch"),
    "a URL without its signature": (presigned("X-Amz-Signature", "X-Signature"), 400, MALFORMED),
    "a URL of another algorithm": (presigned("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA512"), 400, MALFORMED),
    "a URL of another key": (presigned("a.jsonl", "b.jsonl"), 403, "SignatureDoesNotMatch"),
    "a URL with more in it": (presigned("X-Amz-Algorithm", "versionId=null&X-Amz-Algorithm"), 403, "SignatureDoesNotMatch"),
    "a URL without a token": (presigned(token=None), 400, "InvalidToken"),
    "a URL and a token in a header": (presigned(headers=[("x-amz-security-token", "x")]), 400, MALFORMED),
    "a URL for another region": (presigned(region="eu-west-1"), 400, MALFORMED),
    # what is not even a request
    "a parameter given twice": (signed(target="/orchid?prefix=a&prefix=b"), 400, "InvalidArgument"),
    "a parameter that is not UTF-8": (signed(target="/orchid?prefix=%FF"), 400, "InvalidArgument"),
}

REQUESTS = {
    # what is asked of which place
    "a key that is not UTF-8": (signed(target="/orchid/%FF"), 400, "InvalidArgument"),
    "a bucket that is not UTF-8": (signed(target="/%FF/x"), 400, "InvalidArgument"),
    "a key that is not there": (signed(target="/orchid/none"), 404, "NoSuchKey"),
    "another project's key": (signed(target="/aurelia/core.bin"), 404, "NoSuchBucket"),
    "a key without a bucket": (signed(target="//x"), 404, "NoSuchBucket"),
    "PATCH": (signed("PATCH"), 405, "MethodNotAllowed"),
    "POST on an object": (signed("POST"), 501, "NotImplemented"),
    "POST on a bucket": (signed("POST", "/orchid"), 501, "NotImplemented"),
    "DELETE of the bucket": (signed("DELETE", "/orchid"), 501, "NotImplemented"),
    "PUT on the service": (signed("PUT", "/"), 501, "NotImplemented"),
    "an access list": (signed(target=f"{OBJECT}?acl="), 501, "NotImplemented"),
    "a bucket policy": (signed(target="/orchid?policy="), 501, "NotImplemented"),
    "tags": (signed("PUT", f"{DROP}?tagging=", b"<Tagging/>"), 501, "NotImplemented"),
    "select": (signed("POST", f"{OBJECT}?select=&select-type=2", b"x"), 501, "NotImplemented"),
    "a named version": (signed(target=f"{OBJECT}?versionId=7"), 501, "NotImplemented"),
    "an unknown parameter": (signed(target=f"{OBJECT}?whatever=1"), 501, "NotImplemented"),
    # reading
    "part 0": (signed(target=f"{OBJECT}?partNumber=0"), 400, "InvalidArgument"),
    "part x": (signed(target=f"{OBJECT}?partNumber=x"), 400, "InvalidArgument"),
    "part and range": (signed(target=f"{OBJECT}?partNumber=1", headers={"Range": "bytes=0-1"}), 400, "InvalidArgument"),
    "a range past the end": (signed(headers={"Range": "bytes=9000-"}), 416, "InvalidRange"),
    "a header in a header": (signed(target=f"{OBJECT}?response-content-type=a%0D%0Ab"), 400, "InvalidArgument"),
    # listing
    "a negative page": (signed(target="/orchid?max-keys=-1"), 400, "InvalidArgument"),
    "a page that is no number": (signed(target="/orchid?max-keys=ten"), 400, "InvalidArgument"),
    "a page beyond counting": (signed(target="/orchid?max-keys=99999999999999999999"), 400, "InvalidArgument"),
    "a forged continuation": (signed(target="/orchid?list-type=2&continuation-token=Zm9yZ2Vk"), 400, "InvalidArgument"),
    "a continuation that is not base64": (signed(target="/orchid?list-type=2&continuation-token=%C3%A4"), 400, "InvalidArgument"),
    "list type 3": (signed(target="/orchid?list-type=3"), 400, "InvalidArgument"),
    "an unknown encoding": (signed(target="/orchid?encoding-type=hex"), 400, "InvalidArgument"),
    # writing
    "a body without a length": (edited(remove("content-length"), "PUT", DROP, b"hello"), 411, "MissingContentLength"),
    "a length that is no number": (put(**{"Content-Length": "five"}), 400, "InvalidArgument"),
    "a body over 5 GiB": (put(**{"Content-Length": str((5 << 30) + 1)}), 400, "EntityTooLarge"),
    "a body cut short": (put(**{"Content-Length": "9"}), 400, "IncompleteBody"),
    "a body too long": (put(**{"Content-Length": "3"}), 400, "InvalidRequest"),
    "a body of another hash": (
        lambda w: w.send("PUT", DROP, sign("PUT", DROP, body=b"hello"), b"HELLO"),
        400,
        "XAmzContentSHA256Mismatch",
    ),
    "a wrong CRC32": (put(**{"x-amz-checksum-crc32": "AAAAAA=="}), 400, "BadDigest"),
    "a checksum that is not base64": (put(**{"x-amz-checksum-crc32": "!"}), 400, "InvalidDigest"),
    "a checksum of a newer kind": (put(**{"x-amz-checksum-xxhash3": "AAAA"}), 501, "NotImplemented"),
    "a wrong MD5": (put(**{"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="}), 400, "BadDigest"),
    "a key over 1,024 bytes": (signed("PUT", "/orchid/drop/" + "k" * 1025, b"x"), 400, "KeyTooLongError"),
    "a key of control characters": (signed("PUT", "/orchid/drop/a%00b", b"x"), 400, "InvalidArgument"),
    "a copy": (put(**{"x-amz-copy-source": "/orchid/sft/a.jsonl"}), 501, "NotImplemented"),
    "a public object": (put(**{"x-amz-acl": "public-read"}), 501, "NotImplemented"),
    "a place that takes nothing": (signed("PUT", OBJECT, b"x"), 404, "NoSuchKey"),
    # streams
    "a stream without its length": (stream(GOOD_STREAM, decoded=None), 411, "MissingContentLength"),
    "a stream of another length": (stream(GOOD_STREAM, decoded="6"), 400, "InvalidRequest"),
    "a stream of a longer length": (stream(GOOD_STREAM, decoded="4"), 400, "InvalidRequest"),
    "a stream that is none": (stream(b"hello"), 400, "IncompleteBody"),
    "a stream of garbage": (stream(b"zz\r\nhello\r\n"), 400, "InvalidRequest"),
    "a stream cut short": (stream(GOOD_STREAM[:8]), 400, "IncompleteBody"),
    "a stream with a wrong trailer": (stream(GOOD_STREAM.replace(CRC_OF_HELLO, b"AAAAAA==")), 400, "BadDigest"),
    "a stream without its trailer": (stream(b"5\r\nhello\r\n0\r\n\r\n"), 400, "IncompleteBody"),
    "a stream with another trailer": (stream(GOOD_STREAM.replace(b"crc32", b"crc32c")), 400, "InvalidRequest"),
    "a trailer of a newer kind": (stream(GOOD_STREAM, **{"x-amz-trailer": "x-amz-checksum-md5"}), 501, "NotImplemented"),
    "a trailer without a stream": (put(**{"x-amz-trailer": "x-amz-checksum-crc32"}), 400, "InvalidArgument"),
    "aws-chunked without a stream": (put(**{"Content-Encoding": "aws-chunked"}), 400, "InvalidArgument"),
    "a signed stream without signatures": (
        stream(b"5\r\nhello\r\n0\r\n\r\n", payload=SIGNED_STREAM, **{"x-amz-trailer": None}),
        400,
        "InvalidRequest",
    ),
    "a signed stream of other signatures": (
        stream(
            b"5;chunk-signature=" + b"0" * 64 + b"\r\nhello\r\n0;chunk-signature=" + b"0" * 64 + b"\r\n\r\n",
            payload=SIGNED_STREAM,
            **{"x-amz-trailer": None},
        ),
        403,
        "SignatureDoesNotMatch",
    ),
    # documents
    "no document": (delete(b""), 400, "MalformedXML"),
    "not XML": (delete(b"{}"), 400, "MalformedXML"),
    "another document": (delete(b"<Other/>"), 400, "MalformedXML"),
    "a document of nothing": (delete(b"<Delete/>"), 400, "MalformedXML"),
    "1,001 objects": (delete(b"<Delete>" + b"<Object><Key>k</Key></Object>" * 1001 + b"</Delete>"), 400, "MalformedXML"),
    "an object without a key": (delete(b"<Delete><Object/></Delete>"), 400, "MalformedXML"),
    "entities": (
        delete(b'<!DOCTYPE d [<!ENTITY e SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&e;</Key></Object></Delete>'),
        400,
        "MalformedXML",
    ),
    "a document over 1 MiB": (delete(b"<Delete>" + b" " * (1 << 20) + b"</Delete>"), 400, "EntityTooLarge"),
    "a version to delete": (
        delete(b"<Delete><Object><Key>drop/a</Key><VersionId>1</VersionId></Object></Delete>"),
        501,
        "NotImplemented",
    ),
    # multipart
    "a part of no upload": (signed("PUT", f"{DROP}?partNumber=1&uploadId={UPLOAD}", b"x"), 404, "NoSuchUpload"),
    "a part without a number": (signed("PUT", f"{DROP}?uploadId={UPLOAD}", b"x"), 400, "InvalidArgument"),
    "part 10,001": (signed("PUT", f"{DROP}?partNumber=10001&uploadId={UPLOAD}", b"x"), 400, "InvalidArgument"),
    "an upload id of another form": (signed("PUT", f"{DROP}?partNumber=1&uploadId=..%2F..%2Fx", b"x"), 404, "NoSuchUpload"),
    "a completion of no upload": (
        complete(b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag></Part></CompleteMultipartUpload>"),
        404,
        "NoSuchUpload",
    ),
    "a completion without ETags": (
        complete(b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber></Part></CompleteMultipartUpload>"),
        400,
        "MalformedXML",
    ),
    "a completion by a newer checksum": (
        complete(
            b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag><ChecksumSHA512>A</ChecksumSHA512></Part>"
            b"</CompleteMultipartUpload>"
        ),
        501,
        "NotImplemented",
    ),
    "an upload with a newer checksum": (
        signed("POST", f"{DROP}?uploads=", headers={"x-amz-checksum-algorithm": "SHA512"}),
        501,
        "NotImplemented",
    ),
}


@pytest.mark.parametrize("name", CREDENTIALS)
def test_a_request_that_proves_no_session_reaches_nothing(name):
    world = World()
    ask, status, code = CREDENTIALS[name]

    answer = ask(world)

    assert (answer.status, answer.code) == (status, code)
    assert answer.headers["x-limen-reason"] in ("credential", "invalid", "ended")
    assert (world.calls, len(world.unresolved), world.received) == ([], 1, 0)


@pytest.mark.parametrize("name", REQUESTS)
def test_a_bad_request_is_refused_with_its_code_and_without_content(name):
    world = World()
    ask, status, code = REQUESTS[name]

    answer = ask(world)

    assert (answer.status, answer.code) == (status, code)
    assert answer.message
    assert answer.complete
    assert b'{"n": 1}' not in answer.body
    assert (world.drop, world.unresolved) == ({}, [])


def test_the_table_is_as_long_as_promised():
    assert len(CREDENTIALS) + len(REQUESTS) >= 60
    assert not [name for name, (_, status, _) in {**CREDENTIALS, **REQUESTS}.items() if status == 500]


def test_the_unbroken_forms_of_these_requests_succeed():
    """Negative control: what is refused above is refused for its one fault."""
    for ask in (signed(), presigned(), later(0), put(), stream(GOOD_STREAM), edited(lambda headers: None)):
        assert ask(World()).status == 200
    assert REGION == "limen-1"


def test_a_signature_mismatch_shows_the_signer_what_was_signed():
    answer = World().ask("GET", OBJECT, secret="guessed")

    assert answer.xml.findtext("StringToSign").startswith("AWS4-HMAC-SHA256\n")
    assert answer.xml.findtext("AWSAccessKeyId") == ACCESS_KEY
    assert len(answer.xml.findtext("SignatureProvided")) == 64


def test_the_right_region_is_named_to_a_signer_for_another():
    answer = World().ask("GET", OBJECT, region="us-east-1")

    assert answer.xml.findtext("Region") == "limen-1"
    assert "limen-1" in answer.message
