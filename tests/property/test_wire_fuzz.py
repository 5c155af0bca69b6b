"""The S3 door's parsers of outside bytes meet 100,000 inputs each and answer with their own errors only.

Inputs are valid samples mutated (bytes flipped, cut, repeated, spliced with each other and with syntax) and plain random
bytes, from a fixed seed: a failure names its number and is the same tomorrow.
"""

from __future__ import annotations

import hashlib
import random

import pytest

from limen.core.errors import LimenError
from limen.formats import awschunked, httprange, s3uri, s3xml, sigv4

INPUTS = 100_000
NOW = 1_369_353_600
KEY = sigv4.signing_key("secret", day="20130524", region="limen-1", service="s3")


def mutated(rng, samples, syntax):
    """One input: mostly a sample with a few faults, sometimes noise."""
    if rng.random() < 0.05:
        return rng.randbytes(rng.randrange(200))
    raw = bytearray(rng.choice(samples))
    for _ in range(rng.randrange(4)):
        at = rng.randrange(len(raw) + 1)
        match rng.randrange(5):
            case 0 if raw:
                raw[at % len(raw)] = rng.randrange(256)
            case 1:
                del raw[at : at + rng.randrange(1, 12)]
            case 2:
                raw[at:at] = rng.choice(syntax)
            case 3:
                raw[at:at] = raw[at : at + rng.randrange(1, 40)]
            case _:
                other = rng.choice(samples)
                raw[at:] = other[rng.randrange(len(other) + 1) :]
    return bytes(raw)


def survive(parse, samples, syntax, seed):
    """Run the inputs; returns how many were taken and how many refused."""
    rng = random.Random(seed)
    taken = refused = 0
    for number in range(INPUTS):
        raw = mutated(rng, samples, syntax)
        try:
            parse(raw, rng)
            taken += 1
        except LimenError:
            refused += 1
        except Exception as error:  # noqa: BLE001  the point of the test is to name any other error, with its input
            pytest.fail(f"input {number} ({raw!r}) raised {error!r}")
    return taken, refused


# --- SigV4: one line of text holds method, path, query and headers, so that every part mutates

AUTHORIZATION = (
    b"AWS4-HMAC-SHA256 Credential=LMNQ03QUILLWORK23456/20130524/limen-1/s3/aws4_request,"
    b"SignedHeaders=host;x-amz-content-sha256;x-amz-date,Signature=" + b"0" * 64
)
SIGNED = b"\n".join(
    [
        b"GET",
        b"/orchid/a%20b/\xc3\xa4",
        b"prefix=a%2Fb&x-id=GetObject&flag",
        b"host:s3.limen.test",
        b"x-amz-date:20130524T000000Z",
        b"x-amz-content-sha256:" + sigv4.EMPTY_SHA256.encode(),
        b"authorization:" + AUTHORIZATION,
    ]
)
PRESIGNED = b"\n".join(
    [
        b"PUT",
        b"/orchid/a",
        b"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=LMN%2F20130524%2Flimen-1%2Fs3%2Faws4_request"
        b"&X-Amz-Date=20130524T000000Z&X-Amz-Expires=300&X-Amz-SignedHeaders=host&X-Amz-Signature=" + b"f" * 64,
        b"host:s3.limen.test",
    ]
)
DATED = (
    SIGNED.replace(b"x-amz-date:20130524T000000Z", b"date:Fri, 24 May 2013 00:00:00 GMT")
    .replace(b";x-amz-date", b"")
    .replace(b"=host;", b"=date;host;")
)
VERSION_2 = SIGNED.replace(AUTHORIZATION, b"AWS AKID:abc=")


def verify(raw, _rng):
    method, path, query, *lines = [*raw.split(b"\n"), b"", b"", b""][:40]
    headers = [(name.lower(), value) for name, _, value in (line.partition(b":") for line in lines)]
    request = sigv4.Request.of(method.decode("latin-1"), path, query, headers)
    unverified = sigv4.read(request)
    s3uri.place(request.path, request.headers.get("host", ""), domain="s3.limen.test")
    sigv4.verify(unverified, request, key_for=lambda _: KEY, now=NOW, region="limen-1")


def test_sigv4_survives_whatever_is_signed():
    syntax = [
        b"%",
        b"%zz",
        b"&",
        b"=",
        b";",
        b",",
        b"/",
        b"\n",
        b":",
        b"X-Amz-",
        b"\x00",
        b"9" * 30,
        b"\xff",
        b" ",
        b"+",
        b"AWS ",
    ]

    taken, refused = survive(verify, [SIGNED, PRESIGNED, DATED, VERSION_2], syntax, seed=1)

    assert (taken, refused) == (0, INPUTS)  # no mutation of an unsigned sample can be a signature


# --- aws-chunked

SIGNER = sigv4.ChunkSigner(KEY, "20130524T000000Z", "20130524/limen-1/s3/aws4_request", "0" * 64)
FIRST = SIGNER.chunk("0" * 64, hashlib.sha256(b"hello").hexdigest())
LAST = SIGNER.chunk(FIRST, sigv4.EMPTY_SHA256)
CHUNKED = [
    b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n",
    b"2\r\nhe\r\n3\r\nllo\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n",
    f"5;chunk-signature={FIRST}\r\nhello\r\n0;chunk-signature={LAST}\r\n\r\n".encode(),
]


def decode(raw, rng):
    signed = b"chunk-signature" in raw
    trailers = () if signed else ("x-amz-checksum-crc32",)
    decoder = awschunked.Decoder(length=5, signer=SIGNER if signed else None, trailers=trailers)
    content = b""
    at = 0
    while at < len(raw):
        step = rng.randrange(1, 40)
        content += b"".join(decoder.feed(raw[at : at + step]))
        at += step
    decoder.finish()
    assert len(content) == 5
    assert not signed or content == b"hello"


def test_aws_chunked_survives_whatever_arrives_in_any_cuts():
    syntax = [b"\r\n", b"\n", b";chunk-signature=", b"0\r\n", b"5", b"ffffffffff", b":", b"x-amz-trailer-signature:", b"\x00"]

    taken, refused = survive(decode, CHUNKED, syntax, seed=2)

    assert taken > 1000
    assert refused > 10_000


# --- XML

DOCUMENTS = [
    b"<Delete><Object><Key>a &amp; b</Key></Object><Quiet>true</Quiet></Delete>",
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Object/></Delete>',
    b"<Delete><Part><PartNumber>1</PartNumber><ETag>&quot;x&quot;</ETag></Part><!-- c --><![CDATA[x]]></Delete>",
]


def read(raw, _rng):
    root = s3xml.read(raw, root="Delete")
    for element in root.all("Object"):
        element.get("Key")
    root.get("Quiet")


def test_xml_survives_whatever_is_posted():
    syntax = [
        b"<",
        b">",
        b"&",
        b"<!DOCTYPE d [",
        b"<!ENTITY e 'x'>",
        b"]>",
        b"<?",
        b"&e;",
        b"&#0;",
        b"<Object>",
        b"</",
        b"\xff",
        b"<a>" * 9,
    ]

    taken, refused = survive(read, DOCUMENTS, syntax, seed=3)

    assert taken > 1000
    assert refused > 10_000


# --- Range and conditions: total functions, so nothing at all may be raised

FIELDS = ("range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
VALUES = [
    b"bytes=0-9",
    b"bytes=-5",
    b"bytes=90-",
    b'"abc-1"',
    b'W/"abc-1", "x"',
    b"*",
    b"Thu, 09 Oct 2025 08:53:20 GMT",
    b"Thursday, 09-Oct-25 08:53:20 GMT",
    b"Thu Oct  9 08:53:20 2025",
]


def evaluate(raw, rng):
    text = raw.decode("latin-1")
    headers = {rng.choice(FIELDS): text, rng.choice(FIELDS): rng.choice(VALUES).decode()}
    length = rng.choice((0, 1, 100))
    try:
        answer = httprange.evaluate(headers, etag="abc-1", modified_at=1_760_000_000, length=length)
    except LimenError as error:
        raise AssertionError("a condition must never be an error") from error
    assert answer.status in (200, 206, 304, 412, 416)
    assert 0 <= answer.start <= answer.end <= length
    assert answer.status in (200, 206) or answer.start == answer.end
    assert answer.status != 206 or answer.start < answer.end


def test_ranges_and_conditions_always_have_an_answer():
    syntax = [b"-", b"=", b",", b"bytes=", b'"', b"W/", b"9" * 25, b" ", b"\xb2", b"-0000", b"+2500", b"GMT", b"99999"]

    assert survive(evaluate, VALUES, syntax, seed=4) == (INPUTS, 0)


def test_a_parser_that_lets_another_error_out_is_noticed():
    with pytest.raises(pytest.fail.Exception, match="raised ValueError"):
        survive(lambda raw, _: int(raw), [b"12", b"x"], [b"-"], seed=5)
