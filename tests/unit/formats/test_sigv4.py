"""SigV4 against AWS's own published examples, and against botocore as an independent signer."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from limen.core.errors import Invalid
from limen.formats import sigv4

AWS_SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
AWS_NOW = 1_369_353_600  # 2013-05-24T00:00:00Z
EXAMPLE = b"AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,SignedHeaders=%s,Signature=%s"
EMPTY = sigv4.EMPTY_SHA256.encode()

# "Examples: Signature Calculations in AWS Signature Version 4", Amazon S3 API reference.
PUBLISHED = {
    "get object": (
        "GET", b"/test.txt", b"",
        {b"range": b"bytes=0-9", b"x-amz-content-sha256": EMPTY},
        b"host;range;x-amz-content-sha256;x-amz-date",
        b"f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    ),
    "put object": (
        "PUT", b"/test$file.text", b"",
        {
            b"date": b"Fri, 24 May 2013 00:00:00 GMT",
            b"x-amz-storage-class": b"REDUCED_REDUNDANCY",
            b"x-amz-content-sha256": b"44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
        },
        b"date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        b"98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    ),
    "get bucket lifecycle": (
        "GET", b"/", b"lifecycle", {b"x-amz-content-sha256": EMPTY},
        b"host;x-amz-content-sha256;x-amz-date",
        b"fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    ),
    "list objects": (
        "GET", b"/", b"max-keys=2&prefix=J", {b"x-amz-content-sha256": EMPTY},
        b"host;x-amz-content-sha256;x-amz-date",
        b"34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ),
    "put object in signed chunks": (
        "PUT", b"/examplebucket/chunkObject.txt", b"",
        {
            b"content-encoding": b"aws-chunked",
            b"content-length": b"66824",
            b"host": b"s3.amazonaws.com",
            b"x-amz-content-sha256": b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
            b"x-amz-decoded-content-length": b"66560",
            b"x-amz-storage-class": b"REDUCED_REDUNDANCY",
        },
        b"content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class",
        b"4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    ),
}  # fmt: skip


def verify(request, *, secret, now, region="limen-1", service="s3", payload_sha256=None):
    unverified = sigv4.read(request, payload_sha256=payload_sha256)

    def key_for(claimed):
        return sigv4.signing_key(secret, day=claimed.day, region=claimed.region, service=claimed.service)

    return sigv4.verify(unverified, request, key_for=key_for, now=now, region=region, service=service)


def published(name):
    method, path, query, headers, signed, signature = PUBLISHED[name]
    lines = {b"host": b"examplebucket.s3.amazonaws.com", b"x-amz-date": b"20130524T000000Z", **headers}
    lines[b"authorization"] = EXAMPLE % (signed, signature)
    return sigv4.Request.of(method, path, query, lines.items())


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_example_verifies(name):
    verified = verify(published(name), secret=AWS_SECRET, now=AWS_NOW, region="us-east-1")

    assert verified.access_key == "AKIAIOSFODNN7EXAMPLE"


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_example_fails_with_another_secret_path_or_method(name):
    request = published(name)

    for broken in (replace(request, path=request.path + "x"), replace(request, method="DELETE")):
        with pytest.raises(sigv4.SignatureMismatch):
            verify(broken, secret=AWS_SECRET, now=AWS_NOW, region="us-east-1")
    with pytest.raises(sigv4.SignatureMismatch):
        verify(request, secret=AWS_SECRET + "x", now=AWS_NOW, region="us-east-1")


def test_the_published_presigned_url_verifies_for_a_day_and_no_longer():
    query = (
        b"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        b"&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        b"&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )
    request = sigv4.Request.of("GET", b"/test.txt", query, [(b"host", b"examplebucket.s3.amazonaws.com")])

    assert verify(request, secret=AWS_SECRET, now=AWS_NOW + 86_399, region="us-east-1").presigned
    with pytest.raises(sigv4.PresignedExpired):
        verify(request, secret=AWS_SECRET, now=AWS_NOW + 86_400, region="us-east-1")
    with pytest.raises(sigv4.PresignedExpired):
        verify(request, secret=AWS_SECRET, now=AWS_NOW - 3600, region="us-east-1")


# --- botocore as the other implementation

KEYS = ["a", "a b", "a+b", "ä/ö/ü.jsonl", "x~y-z_.0", "a%20b", "a//b", "./..", "q?&=#", "(1)!*'", "日本/🙂"]
SECRET = "botocore and we share this"


def from_botocore(method, url, headers=None, body=b"", *, auth=S3SigV4Auth, service="s3", token="tok/en+1==", **more):
    request = AWSRequest(method, url, headers=headers or {}, data=body)
    auth(Credentials("LMNAAAAAAAAAAAAAAAAA", SECRET, token), service, "limen-1", **more).add_auth(request)
    parts = urlsplit(request.url)
    lines = [(n.lower().encode(), v.encode()) for n, v in request.headers.items()]
    if "host" not in {n.decode() for n, _ in lines}:
        lines.append((b"host", parts.netloc.encode()))
    return sigv4.Request.of(method, parts.path.encode(), parts.query.encode(), lines)


@pytest.mark.parametrize("key", KEYS)
def test_what_botocore_signs_verifies(key):
    url = f"http://localhost:8333/orchid/{quote(key, safe='/~')}?prefix={quote(key, safe='')}&x-id=GetObject&empty=&flag"
    request = from_botocore("GET", url, {"X-Amz-Meta-Note": "two  spaces,  and\ttab", "Range": "bytes=0-"})

    verified = verify(request, secret=SECRET, now=int(time.time()))

    assert verified.token == "tok/en+1=="
    with pytest.raises(sigv4.SignatureMismatch):
        verify(replace(request, headers={**request.headers, "range": "bytes=1-"}), secret=SECRET, now=int(time.time()))


@pytest.mark.parametrize("key", KEYS)
def test_what_botocore_presigns_verifies(key):
    url = f"http://orchid.localhost:8333/{quote(key, safe='/~')}?response-content-type=text%2Fplain"
    request = from_botocore("GET", url, auth=S3SigV4QueryAuth, expires=60)

    verified = verify(request, secret=SECRET, now=int(time.time()))

    assert verified.presigned
    assert verified.payload == sigv4.UNSIGNED
    assert verified.token == "tok/en+1=="


def test_sts_requests_are_signed_over_their_body_and_for_their_own_service():
    body = b"Action=GetCallerIdentity&Version=2011-06-15"
    request = from_botocore(
        "POST",
        "http://localhost:8333/",
        {"Content-Type": "application/x-www-form-urlencoded"},
        body,
        auth=SigV4Auth,
        service="sts",
    )
    digest = hashlib.sha256(body).hexdigest()

    verify(request, secret=SECRET, now=int(time.time()), service="sts", payload_sha256=digest)

    with pytest.raises(sigv4.SignatureMismatch):
        verify(request, secret=SECRET, now=int(time.time()), service="sts", payload_sha256=sigv4.EMPTY_SHA256)
    with pytest.raises(sigv4.MalformedAuthorization, match="service"):
        verify(request, secret=SECRET, now=int(time.time()), service="s3", payload_sha256=digest)


@pytest.mark.parametrize("zone", ["America/New_York", "UTC", "Asia/Tokyo"])
def test_a_date_header_will_do_in_place_of_x_amz_date_wherever_we_are(monkeypatch, zone):
    request = from_botocore("GET", "http://localhost/orchid", {"Date": "replaced by botocore with the time of signing"})
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert "x-amz-date" not in request.headers
        verify(request, secret=SECRET, now=int(time.time()))
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_string_to_sign_is_kept_for_the_signer_to_compare():
    request = from_botocore("GET", "http://localhost/orchid")

    with pytest.raises(sigv4.SignatureMismatch) as caught:
        verify(request, secret="another", now=int(time.time()))

    assert caught.value.string_to_sign.startswith("AWS4-HMAC-SHA256\n")
    assert caught.value.string_to_sign.split("\n")[2].endswith("/limen-1/s3/aws4_request")


def test_a_header_that_changes_the_request_must_be_signed():
    request = from_botocore("GET", "http://localhost/orchid/a")

    with pytest.raises(sigv4.UnsignedHeader, match="x-amz-acl"):
        verify(replace(request, headers={**request.headers, "x-amz-acl": "private"}), secret=SECRET, now=int(time.time()))
    # A header of no consequence may stand outside: proxies and libraries add them.
    verify(replace(request, headers={**request.headers, "x-trace": "1"}), secret=SECRET, now=int(time.time()))


@pytest.mark.parametrize("skew", [-901, 901])
def test_a_clock_that_is_wrong_by_more_than_a_quarter_of_an_hour_has_its_own_error(skew):
    request = from_botocore("GET", "http://localhost/orchid")
    signed_at = int(time.time())

    verify(request, secret=SECRET, now=signed_at + (895 if skew > 0 else -895))
    with pytest.raises(sigv4.TimeSkewed):
        verify(request, secret=SECRET, now=signed_at + skew + (1 if skew > 0 else -1))


def test_the_only_region_is_named_to_a_signer_for_another():
    request = sigv4.Request.of("GET", b"/", b"", [
        (b"host", b"h"), (b"x-amz-date", b"20130524T000000Z"), (b"x-amz-content-sha256", EMPTY),
        (b"authorization", EXAMPLE % (b"host;x-amz-content-sha256;x-amz-date", b"0" * 64)),
    ])  # fmt: skip

    with pytest.raises(sigv4.MalformedAuthorization, match="limen-1") as caught:
        verify(request, secret=SECRET, now=AWS_NOW)

    assert caught.value.region == "limen-1"


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({b"authorization": b"AWS AKIAIOSFODNN7EXAMPLE:frJIUN8DYpKDtOLCwo//yllqDzg="}, b""),
        ({}, b"AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=x&Expires=1"),
    ],
)
def test_signature_version_2_is_refused_with_what_to_do(headers, query):
    with pytest.raises(sigv4.SignatureV2, match="Version 4"):
        sigv4.read(sigv4.Request.of("GET", b"/", query, headers.items()))


def test_a_parameter_given_twice_is_refused():
    with pytest.raises(Invalid, match="twice"):
        sigv4.Request.of("GET", b"/", b"prefix=a&prefix=b", [])


def test_a_presigned_url_may_live_for_seven_days_at_most():
    ok = from_botocore("GET", "http://localhost/orchid/a", auth=S3SigV4QueryAuth, expires=604_800)
    verify(ok, secret=SECRET, now=int(time.time()))

    for expires in (0, 604_801, 10**30):
        with pytest.raises(sigv4.MalformedAuthorization, match="Expires"):
            verify(from_botocore("GET", "http://localhost/a", auth=S3SigV4QueryAuth, expires=expires), secret=SECRET, now=0)


def test_a_verifier_that_skips_the_comparison_would_fail_these_tests(monkeypatch):
    monkeypatch.setattr(sigv4.hmac, "compare_digest", lambda _a, _b: True)

    with pytest.raises(pytest.fail.Exception):
        test_a_published_example_fails_with_another_secret_path_or_method("get object")
