from __future__ import annotations

import base64
import hashlib
import hmac
import io
import zlib

import pytest
from awscrt import checksums as crt
from botocore.httpchecksum import AwsChunkedWrapper, Crc32Checksum
from s3world import HOST, SECRET

from limen.core.errors import Conflict, LedgerUnavailable, NotFound, Paused
from limen.formats import sigv4

TARGET = "/orchid/drop/q03/labels.jsonl"
KEY = "drop/q03/labels.jsonl"
BODY = b'{"id": 7, "label": "b"}\n' * 100


def b64(raw):
    return base64.b64encode(raw).decode()


CHECKSUMS = {
    "crc32": b64(zlib.crc32(BODY).to_bytes(4, "big")),
    "crc32c": b64(crt.crc32c(BODY).to_bytes(4, "big")),
    "crc64nvme": b64(crt.crc64nvme(BODY).to_bytes(8, "big")),
    "sha1": b64(hashlib.sha1(BODY).digest()),
    "sha256": b64(hashlib.sha256(BODY).digest()),
}


def stored(world):
    return {key: copy.content for key, copy in world.drop.items()}


def test_an_object_is_put_and_its_etag_and_entry_said(world):
    answer = world.ask("PUT", TARGET, body=BODY, headers={"Content-Type": "application/jsonl"}, pieces=[BODY[:7], BODY[7:]])

    assert (answer.status, stored(world)) == (200, {KEY: BODY})
    assert answer.headers["etag"] == f'"{hashlib.md5(BODY).hexdigest()}"'
    assert answer.headers["x-limen-entry"] == "1"
    assert world.calls == [("accept", KEY, len(BODY))]
    assert world.drop[KEY].content_type == "application/jsonl"
    assert world.receptions[0].watched is not None


def test_nothing_is_received_before_access_has_agreed(world):
    world.raises = NotFound("drop")

    answer = world.ask("PUT", TARGET, body=BODY, headers={"Expect": "100-continue"})

    assert (answer.status, world.received) == (404, 0)
    assert answer.headers["connection"] == "close"  # the body will never come, so the connection can't go on


@pytest.mark.parametrize(("length", "closes"), [(1000, False), (17 << 20, True)])
def test_a_refused_body_is_read_away_only_if_it_is_small(world, length, closes):
    world.raises = NotFound("drop")

    answer = world.ask("PUT", TARGET, headers={"Content-Length": str(length)}, payload=sigv4.UNSIGNED)

    assert (answer.headers.get("connection") == "close") == closes


# --- payload modes


def streaming(payload, decoded, **headers):
    return {
        "payload": payload,
        "headers": {"x-amz-decoded-content-length": str(decoded), "Content-Encoding": "aws-chunked", **headers},
    }


def unsigned_trailer(world, body=BODY, wrapped=None):
    raw = AwsChunkedWrapper(io.BytesIO(body), checksum_cls=Crc32Checksum, checksum_name="x-amz-checksum-crc32").read()
    asked = streaming(sigv4.STREAMING_UNSIGNED_TRAILER, len(BODY), **{"x-amz-trailer": "x-amz-checksum-crc32"})
    return world.ask("PUT", TARGET, body=wrapped(raw) if wrapped else raw, **asked)


def signed_chunks(headers, trailer=b""):
    """A signed streaming body for these already signed headers, written from the specification's text."""
    named = {name.lower(): value for name, value in headers}
    date, day = named["x-amz-date"], named["x-amz-date"][:8]
    scope = f"{day}/limen-1/s3/aws4_request"
    key = f"AWS4{SECRET}".encode()
    for part in (day, "limen-1", "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), "sha256").digest()
    previous = named["authorization"].rpartition("Signature=")[2]
    empty = hashlib.sha256(b"").hexdigest()
    raw = b""
    for chunk in (BODY[:1000], BODY[1000:], b""):
        text = "\n".join(["AWS4-HMAC-SHA256-PAYLOAD", date, scope, previous, empty, hashlib.sha256(chunk).hexdigest()])
        previous = hmac.new(key, text.encode(), "sha256").hexdigest()
        raw += f"{len(chunk):x};chunk-signature={previous}\r\n".encode() + chunk + (b"\r\n" if chunk else b"")
    if trailer:
        text = "\n".join(["AWS4-HMAC-SHA256-TRAILER", date, scope, previous, hashlib.sha256(trailer + b"\n").hexdigest()])
        signature = hmac.new(key, text.encode(), "sha256").hexdigest()
        raw += trailer + b"\r\nx-amz-trailer-signature:" + signature.encode() + b"\r\n"
    return raw + b"\r\n"


def put_signed_chunks(world, *, trailer=b"", change=None):
    more = {"x-amz-trailer": trailer.partition(b":")[0].decode()} if trailer else {}
    asked = streaming(sigv4.STREAMING_SIGNED_TRAILER if trailer else sigv4.STREAMING_SIGNED, len(BODY), **more)
    headers = world.sign("PUT", TARGET, **asked)
    raw = signed_chunks(headers, trailer)
    raw = change(raw) if change else raw
    return world.send("PUT", TARGET, headers, raw, pieces=[raw[:50], raw[50:1500], raw[1500:]])


def test_every_payload_mode_stores_the_same_bytes(world):
    trailer = f"x-amz-checksum-sha256:{CHECKSUMS['sha256']}".encode()
    ways = {
        "signed": lambda: world.ask("PUT", TARGET, body=BODY),
        "unsigned": lambda: world.ask("PUT", TARGET, body=BODY, payload=sigv4.UNSIGNED),
        "unsigned with trailer": lambda: unsigned_trailer(world),
        "signed chunks": lambda: put_signed_chunks(world),
        "signed chunks and trailer": lambda: put_signed_chunks(world, trailer=trailer),
        "presigned": lambda: world.send(
            "PUT", world.presign("PUT", TARGET), [("host", HOST), ("content-length", str(len(BODY)))], BODY
        ),
    }
    for way, put in ways.items():
        world.drop.clear()
        answer = put()
        assert (answer.status, stored(world)) == (200, {KEY: BODY}), (way, answer.body)


def test_a_changed_byte_is_refused_in_every_mode_that_can_tell(world):
    def flip(raw):
        return raw.replace(b'"label": "b"', b'"label": "a"', 1)

    trailer = f"x-amz-checksum-sha256:{CHECKSUMS['sha256']}".encode()
    answers = {
        "signed": world.send("PUT", TARGET, world.sign("PUT", TARGET, body=BODY), flip(BODY)),
        "trailer": unsigned_trailer(world, wrapped=flip),
        "chunks": put_signed_chunks(world, change=flip),
        "chunks and trailer": put_signed_chunks(world, trailer=trailer, change=flip),
    }

    assert {way: answer.code for way, answer in answers.items()} == {
        "signed": "XAmzContentSHA256Mismatch",
        "trailer": "BadDigest",
        "chunks": "SignatureDoesNotMatch",
        "chunks and trailer": "SignatureDoesNotMatch",
    }
    assert stored(world) == {}
    assert [reception.aborted for reception in world.receptions] == [1] * 4
    # Negative control: where nothing covers the bytes, the same change is stored.
    world.send("PUT", TARGET, world.sign("PUT", TARGET, body=BODY, payload=sigv4.UNSIGNED), flip(BODY))
    assert stored(world) == {KEY: flip(BODY)}


@pytest.mark.parametrize("kind", CHECKSUMS)
def test_each_checksum_is_verified_and_said_back(world, kind):
    good = world.ask("PUT", TARGET, body=BODY, headers={f"x-amz-checksum-{kind}": CHECKSUMS[kind]})
    bad = world.ask("PUT", TARGET + "2", body=BODY + b"x", headers={f"x-amz-checksum-{kind}": CHECKSUMS[kind]})

    assert good.headers[f"x-amz-checksum-{kind}"] == CHECKSUMS[kind]
    assert good.headers["x-amz-checksum-type"] == "FULL_OBJECT"
    assert (bad.status, bad.code) == (400, "BadDigest")
    assert list(stored(world)) == [KEY]


def test_content_md5_is_verified(world):
    assert world.ask("PUT", TARGET, body=BODY, headers={"Content-MD5": b64(hashlib.md5(BODY).digest())}).status == 200
    assert world.ask("PUT", TARGET, body=BODY, headers={"Content-MD5": b64(hashlib.md5(b"").digest())}).code == "BadDigest"
    assert world.ask("PUT", TARGET, body=BODY, headers={"Content-MD5": "AAAA"}).code == "InvalidDigest"


def test_a_checksum_moved_into_a_presigned_query_counts_as_its_header(world):
    good = world.presign(
        "PUT", TARGET + "?x-amz-checksum-crc32=" + CHECKSUMS["crc32"].replace("=", "%3D").replace("/", "%2F").replace("+", "%2B")
    )
    sent = [("host", HOST), ("content-length", str(len(BODY)))]

    assert world.send("PUT", good, sent, BODY).headers["x-amz-checksum-crc32"] == CHECKSUMS["crc32"]
    assert world.send("PUT", good, sent, BODY[::-1]).code == "BadDigest"


def test_a_writer_who_hangs_up_leaves_nothing(world):
    world.hangs_up = True

    world.ask("PUT", TARGET, body=BODY, pieces=[BODY[:100]], headers={"Content-Length": "9999"}, payload=sigv4.UNSIGNED)

    assert stored(world) == {}
    assert world.receptions[0].aborted == 1


def test_an_object_is_not_overwritten_when_the_writer_says_so(world):
    absent = {"If-None-Match": "*"}

    assert world.ask("PUT", TARGET, body=b"first", headers=absent).status == 200
    answer = world.ask("PUT", TARGET, body=b"second", headers=absent)

    assert (answer.status, answer.code) == (412, "PreconditionFailed")
    assert stored(world) == {KEY: b"first"}
    assert world.ask("PUT", TARGET, body=b"second").status == 200


def test_a_conflict_of_another_kind_is_not_called_a_condition(world):
    world.raises = Conflict("somebody else")

    assert (world.ask("PUT", TARGET, body=b"x").status, world.ask("PUT", TARGET, body=b"x").code) == (409, "OperationAborted")


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-copy-source": "/orchid/sft/a.jsonl"},
        {"x-amz-server-side-encryption": "AES256"},
        {"x-amz-server-side-encryption-customer-algorithm": "AES256"},
        {"x-amz-tagging": "a=b"},
        {"x-amz-acl": "public-read"},
        {"x-amz-grant-read": "id=1"},
        {"x-amz-storage-class": "GLACIER"},
        {"x-amz-object-lock-mode": "GOVERNANCE"},
        {"x-amz-website-redirect-location": "/x"},
        {"x-amz-checksum-sha512": "AAAA"},
        {"x-amz-write-offset-bytes": "5"},
        {"If-Match": '"x"'},
        {"If-None-Match": '"x"'},
    ],
)
def test_an_option_that_limen_does_not_have_is_refused_and_not_ignored(world, headers):
    for target in (TARGET, TARGET + "?partNumber=1&uploadId=" + "0" * 32):
        answer = world.ask("PUT", target, body=b"x", headers=headers)
        if "If-None-Match" in headers and "uploadId" in target:
            continue  # S3 has no such condition for a part
        assert (answer.status, answer.code) == (501, "NotImplemented")
    assert "accept" not in [name for name, *_ in world.calls]


@pytest.mark.parametrize("headers", [{"x-amz-acl": "private"}, {"x-amz-storage-class": "STANDARD"}, {"x-amz-meta-mtime": "1.5"}])
def test_options_that_change_nothing_are_taken(world, headers):
    assert world.ask("PUT", TARGET, body=b"x", headers=headers).status == 200


def test_creating_the_sessions_own_bucket_finds_it_there(world):
    assert world.ask("PUT", "/orchid").code == "BucketAlreadyOwnedByYou"
    for other in ("aurelia", "brand-new"):
        answer = world.ask("PUT", f"/{other}")
        assert (answer.status, answer.code) == (403, "AccessDenied")
    assert [call[0] for call in world.calls] == ["projects", "elsewhere", "elsewhere"]


# --- deleting


def test_ones_own_upload_is_deleted_and_deleting_twice_is_no_error(world):
    world.ask("PUT", TARGET, body=b"x")

    assert [world.ask("DELETE", TARGET).status for _ in range(2)] == [204, 204]
    assert stored(world) == {}
    assert [call for call in world.calls if call[0] == "remove"] == [("remove", KEY)] * 2


def delete_many(world, inner, **more):
    body = f"<Delete>{inner}</Delete>".encode()
    return world.ask("POST", "/orchid?delete", body=body, **more)


def test_several_are_deleted_each_with_its_own_answer(world):
    for name in ("a", "b"):
        world.ask("PUT", f"/orchid/drop/{name}", body=b"x")

    answer = delete_many(
        world, "".join(f"<Object><Key>{k}</Key></Object>" for k in ("drop/a", "drop/b", "drop/none", "drop/ a&amp;"))
    )

    assert [e.findtext("Key") for e in answer.xml.iter("Deleted")] == ["drop/a", "drop/b", "drop/none", "drop/ a&"]
    assert stored(world) == {}
    assert world.calls[-1] == ("remove", "drop/ a&")
    assert delete_many(world, "<Quiet>true</Quiet><Object><Key>drop/a</Key></Object>").xml.find("Deleted") is None


@pytest.mark.parametrize("error", [Paused(subject="project/orchid", since="s", contact="c", reason="r"), LedgerUnavailable("x")])
def test_what_concerns_the_whole_request_is_said_of_the_whole(world, error):
    world.raises = error

    assert delete_many(world, "<Object><Key>drop/a</Key></Object>").status in (403, 503)


# --- multipart


def begin(world, target=TARGET, **headers):
    return world.ask("POST", target + "?uploads", headers=headers).xml.findtext("UploadId")


def part(world, upload_id, number, body, **headers):
    return world.ask("PUT", f"{TARGET}?partNumber={number}&uploadId={upload_id}", body=body, headers=headers)


def completion(parts, checksum=None):
    inner = ""
    for number, etag, value in parts:
        stated = f"<{checksum}>{value}</{checksum}>" if checksum and value else ""
        inner += f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag>{stated}</Part>"
    return f'<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{inner}</CompleteMultipartUpload>'.encode()


def finish(world, upload_id, parts, checksum=None, **headers):
    return world.ask("POST", f"{TARGET}?uploadId={upload_id}", body=completion(parts, checksum), headers=headers)


def test_an_upload_in_parts_becomes_one_object(world):
    upload_id = begin(world, **{"x-amz-checksum-algorithm": "CRC32"})
    second = part(world, upload_id, 2, BODY[1000:])
    first = part(world, upload_id, 1, BODY[:1000])

    listed = world.ask("GET", f"{TARGET}?uploadId={upload_id}").xml
    assert [(p.findtext("PartNumber"), p.findtext("Size")) for p in listed.iter("Part")] == [
        ("1", "1000"),
        ("2", str(len(BODY) - 1000)),
    ]
    uploads = world.ask("GET", "/orchid?uploads").xml
    assert [(u.findtext("Key"), u.findtext("UploadId")) for u in uploads.iter("Upload")] == [(KEY, upload_id)]

    answer = finish(world, upload_id, [(1, first.headers["etag"], None), (2, second.headers["etag"], None)])

    assert (answer.status, stored(world)) == (200, {KEY: BODY})
    assert answer.xml.findtext("ETag").endswith('-2"')
    assert answer.headers["x-limen-entry"]
    assert world.ask("GET", "/orchid?uploads").xml.find("Upload") is None


def test_the_checksums_of_parts_and_of_the_whole_are_held_against_what_came(world):
    upload_id = begin(world)
    halves = [BODY[:1000], BODY[1000:]]
    sums = [b64(zlib.crc32(half).to_bytes(4, "big")) for half in halves]
    tags = [
        part(world, upload_id, n, half, **{"x-amz-checksum-crc32": s}).headers["etag"]
        for n, (half, s) in enumerate(zip(halves, sums, strict=True), 1)
    ]
    parts = list(zip((1, 2), tags, sums, strict=True))
    swapped = list(zip((1, 2), tags, sums[::-1], strict=True))
    composite = b64(zlib.crc32(b"".join(base64.b64decode(s) for s in sums)).to_bytes(4, "big")) + "-2"

    assert finish(world, upload_id, swapped, "ChecksumCRC32").code == "InvalidPart"
    assert finish(world, upload_id, parts, None, **{"x-amz-checksum-crc32": sums[0]}).code == "BadDigest"
    assert finish(world, upload_id, parts, None, **{"x-amz-checksum-crc64nvme": CHECKSUMS["crc64nvme"]}).code == "InvalidPart"
    assert finish(world, upload_id, parts, None, **{"x-amz-checksum-crc32": composite.replace("-2", "-3")}).code == "BadDigest"
    good = finish(world, upload_id, parts, "ChecksumCRC32", **{"x-amz-checksum-crc32": CHECKSUMS["crc32"]})

    assert (good.status, good.xml.findtext("ChecksumCRC32"), stored(world)) == (200, CHECKSUMS["crc32"], {KEY: BODY})


def test_a_completion_that_does_not_fit_the_parts_is_refused_and_can_be_made_again(world):
    upload_id = begin(world)
    tag = part(world, upload_id, 1, b"one").headers["etag"]
    other = part(world, upload_id, 2, b"two").headers["etag"]

    assert finish(world, upload_id, [(1, '"x"', None)]).code == "InvalidPart"
    assert finish(world, upload_id, [(3, tag, None)]).code == "InvalidPart"
    assert finish(world, upload_id, [(2, other, None), (1, tag, None)]).code == "InvalidPartOrder"
    assert finish(world, upload_id, []).code == "MalformedXML"
    assert finish(world, upload_id, [(1, tag, None)]).status == 200
    assert stored(world) == {KEY: b"one"}


def test_an_upload_is_aborted_and_then_unknown(world):
    upload_id = begin(world)

    assert world.ask("DELETE", f"{TARGET}?uploadId={upload_id}").status == 204
    for answer in (
        world.ask("DELETE", f"{TARGET}?uploadId={upload_id}"),
        part(world, upload_id, 1, b"x"),
        finish(world, upload_id, [(1, "x", None)]),
        world.ask("GET", f"{TARGET}?uploadId={upload_id}"),
    ):
        assert (answer.status, answer.code) == (404, "NoSuchUpload")


def test_parts_and_uploads_are_paged(world):
    upload_id = begin(world)
    for number in (1, 2, 3):
        part(world, upload_id, number, b"x")

    page = world.ask("GET", f"{TARGET}?uploadId={upload_id}&max-parts=2").xml
    assert [page.findtext(n) for n in ("IsTruncated", "NextPartNumberMarker")] == ["true", "2"]
    rest = world.ask("GET", f"{TARGET}?uploadId={upload_id}&max-parts=2&part-number-marker=2").xml
    assert [p.findtext("PartNumber") for p in rest.iter("Part")] == ["3"]

    begin(world, TARGET + "2")
    first = world.ask("GET", "/orchid?uploads&max-uploads=1").xml
    assert first.findtext("IsTruncated") == "true"
    key_marker = first.findtext("NextKeyMarker").replace("/", "%2F")
    marker = f"key-marker={key_marker}&upload-id-marker={first.findtext('NextUploadIdMarker')}"
    assert [u.findtext("Key") for u in world.ask("GET", f"/orchid?uploads&{marker}").xml.iter("Upload")] == [KEY + "2"]


@pytest.mark.parametrize("number", ["0", "10001", "-1", "x", "", "1.5", "99999999999999999999"])
def test_a_part_number_is_from_1_to_10000(world, number):
    answer = world.ask("PUT", f"{TARGET}?partNumber={number}&uploadId={begin(world)}", body=b"x")

    assert (answer.status, answer.code) == (400, "InvalidArgument")
