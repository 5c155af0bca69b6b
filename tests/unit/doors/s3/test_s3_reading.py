from __future__ import annotations

import base64
from urllib.parse import quote

import pytest
from awscrt import checksums as crt
from s3world import HOST, MODIFIED_AT, Copy, key_target

from limen.core.errors import Denied, LedgerUnavailable, OverQuota, Paused, TamperDetected
from limen.doors.s3 import app
from limen.formats import receipt as receipts

OBJECT = "/orchid/sft/a.jsonl"
PAUSED = Paused(subject="vendor/quillwork", since="2026-03-27T09:00:00Z", contact="security@lab.example", reason="LiteLLM breach")


def test_an_object_is_read_whole_with_the_entry_that_covers_it(world):
    answer = world.ask("GET", OBJECT)

    assert (answer.status, answer.body, answer.complete) == (200, world.objects["sft/a.jsonl"].content, True)
    assert world.calls == [("open", "read", "sft/a.jsonl")]
    assert answer.headers["x-limen-entry"] == "1"
    assert receipts.decode(answer.headers["x-limen-receipt"]).index == 1
    assert answer.headers["etag"] == '"0123456789abcdef0123456789abcdef-1"'
    assert answer.headers["last-modified"] == "Thu, 09 Oct 2025 08:53:20 GMT"
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-type"] == "application/jsonl"
    assert answer.headers["cache-control"] == "private"
    assert world.deliveries[0].end == "complete"


def test_head_says_what_get_would_without_a_byte(world):
    head, get = world.ask("HEAD", OBJECT), world.ask("GET", OBJECT)

    assert head.body == b""
    differing = {"x-amz-request-id", "x-limen-entry", "x-limen-receipt"}
    assert {k: v for k, v in head.headers.items() if k not in differing} == {
        k: v for k, v in get.headers.items() if k not in differing
    }
    assert world.calls[0] == ("open", "head", "sft/a.jsonl")
    assert world.deliveries[0].end == "complete"


def test_a_range_is_206_with_exactly_its_bytes(world):
    answer = world.ask("GET", OBJECT, headers={"Range": "bytes=10-19"})

    assert (answer.status, answer.body) == (206, world.objects["sft/a.jsonl"].content[10:20])
    assert answer.headers["content-range"] == "bytes 10-19/9000"
    assert answer.headers["content-length"] == "10"


def test_a_range_past_the_end_is_416_and_still_an_access(world):
    answer = world.ask("GET", OBJECT, headers={"Range": "bytes=9000-"})

    assert (answer.status, answer.code) == (416, "InvalidRange")
    assert answer.headers["content-range"] == "bytes */9000"
    assert answer.headers["x-limen-entry"] == "1"
    assert world.deliveries[0].end == "complete"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-Match": '"x"'}, 412),
        ({"If-None-Match": '"0123456789abcdef0123456789abcdef-1"'}, 304),
        ({"If-Modified-Since": "Thu, 09 Oct 2025 08:53:20 GMT"}, 304),
        ({"If-Unmodified-Since": "Thu, 09 Oct 2025 08:53:19 GMT"}, 412),
        ({"If-Match": '"0123456789abcdef0123456789abcdef-1"'}, 200),
    ],
)
def test_conditions_are_read_against_the_copy(world, headers, status):
    for method in ("GET", "HEAD"):
        answer = world.ask(method, OBJECT, headers=headers)

        assert answer.status == status
        assert answer.headers["x-limen-entry"]
    if status == 412:
        assert world.ask("GET", OBJECT, headers=headers).code == "PreconditionFailed"
    if status == 304:
        assert answer.body == b""
        assert answer.headers["etag"]


def test_an_empty_object_is_200_with_no_bytes(world):
    answer = world.ask("GET", "/orchid/sft/empty")

    assert (answer.status, answer.body, answer.complete, answer.headers["content-length"]) == (200, b"", True, "0")


def test_the_whole_copys_checksum_goes_only_with_the_whole(world):
    copy = world.objects["sft/a.jsonl"]
    mode = {"x-amz-checksum-mode": "ENABLED"}

    whole = world.ask("GET", OBJECT, headers=mode)
    exact = world.ask("GET", OBJECT, headers={**mode, "Range": "bytes=0-8999"})
    part = world.ask("GET", OBJECT, headers={**mode, "Range": "bytes=0-8998"})
    unasked = world.ask("GET", OBJECT)

    for answer in (whole, exact):
        assert answer.headers["x-amz-checksum-crc64nvme"] == copy.crc64nvme
        assert base64.b64decode(copy.crc64nvme) == crt.crc64nvme(answer.body).to_bytes(8, "big")
        assert answer.headers["x-amz-checksum-type"] == "FULL_OBJECT"
    for answer in (part, unasked):
        assert not any(name.startswith("x-amz-checksum") for name in answer.headers)


def test_every_object_has_one_part(world):
    first = world.ask("GET", OBJECT + "?partNumber=1")
    second = world.ask("GET", OBJECT + "?partNumber=2")

    assert (first.status, first.headers["content-range"]) == (206, "bytes 0-8999/9000")
    assert second.status == 416
    assert world.ask("GET", OBJECT + "?partNumber=1", headers={"Range": "bytes=0-1"}).code == "InvalidArgument"


def test_response_headers_are_overridden_by_the_signed_query(world):
    disposition = quote('attachment; filename="a.txt"', safe="")
    query = f"response-content-type=text%2Fplain&response-content-disposition={disposition}&response-cache-control=no-store"
    answer = world.ask("GET", f"{OBJECT}?{query}")

    assert [answer.headers[n] for n in ("content-type", "content-disposition", "cache-control")] == [
        "text/plain",
        'attachment; filename="a.txt"',
        "no-store",
    ]
    assert sum(name == "content-type" for name, _ in answer.head) == 1
    assert world.ask("GET", f"{OBJECT}?response-content-type=a%0D%0Ax-evil%3A1").code == "InvalidArgument"


def test_a_stored_content_type_cannot_end_a_header_line(world):
    world.objects["sft/odd"] = Copy(b"x", content_type="text/plain\r\nx-evil: 1\x00 \u65e5")

    assert world.ask("GET", "/orchid/sft/odd").headers["content-type"] == "text/plain??x-evil: 1? ?"


@pytest.mark.parametrize("key", ["a b+c.jsonl", "ä/日本/🙂", "(1)!*'", "%41", "a//b", "?&=#"])
def test_any_key_can_be_read(world, key):
    world.objects[key] = Copy(b"found")

    assert world.ask("GET", key_target("orchid", key)).body == b"found"


def test_a_bucket_can_be_a_virtual_host(world):
    answer = world.ask("GET", "/sft/a.jsonl", host=f"orchid.{HOST}")

    assert answer.body == world.objects["sft/a.jsonl"].content
    assert world.ask("GET", "/sft/a.jsonl", host=f"aurelia.{HOST}").code == "NoSuchBucket"


def test_a_presigned_url_reads(world):
    answer = world.send("GET", world.presign("GET", OBJECT), [("host", HOST)])

    assert (answer.status, len(answer.body)) == (200, 9000)


def test_another_project_and_none_look_alike_and_each_is_recorded(world):
    answers = [world.ask("GET", f"/{bucket}/secret.jsonl") for bucket in ("aurelia", "no-such-project")]

    assert {(a.status, a.code, a.message) for a in answers} == {(404, "NoSuchBucket", answers[0].message)}
    assert world.calls == [("elsewhere", b, "secret.jsonl", "read") for b in ("aurelia", "no-such-project")]


@pytest.mark.parametrize("target", ["/aurelia?acl", "/aurelia?list-type=2", "/aurelia/x?tagging", "//x"])
def test_no_operation_on_another_project_gets_further(world, target):
    assert world.ask("GET", target).code == "NoSuchBucket"
    assert [call[0] for call in world.calls] == ["elsewhere"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_pause_is_said_with_whom_to_ask(world, method):
    world.raises = PAUSED

    answer = world.ask(method, OBJECT)

    assert (answer.status, answer.headers["x-limen-reason"]) == (403, "paused")
    if method == "GET":
        assert answer.code == "AccessDenied"
        assert all(part in answer.message for part in ("vendor/quillwork", "2026-03-27T09:00:00Z", "security@lab.example"))


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (LedgerUnavailable("disk full"), 503, "ServiceUnavailable"),
        (OverQuota("today's 10 GiB are used up", resets="2026-03-28T00:00:00Z"), 403, "QuotaExceeded"),
        (Denied("no grant covers this asset"), 403, "AccessDenied"),
        (TamperDetected("blob"), 500, "InternalError"),
    ],
)
def test_what_access_refuses_sends_no_byte_of_content(world, error, status, code):
    world.raises = error

    for target in (OBJECT, "/orchid", "/orchid?location", "/"):
        answer = world.ask("GET", target)
        assert (answer.status, answer.code) == (status, code)
    assert world.deliveries == []


def test_a_reader_is_cut_when_the_delivery_says_so(world):
    world.objects["sft/a.jsonl"].chunk = 100
    world.cut_after, world.cut_by = 300, PAUSED

    answer = world.ask("GET", OBJECT)

    assert (answer.status, len(answer.body), answer.complete) == (200, 300, False)
    assert world.aborts == 1


def test_a_failure_after_the_first_byte_cuts_the_connection(world):
    world.objects["sft/a.jsonl"].chunk = 100
    world.cut_after, world.cut_by = 300, OSError("the disk is gone")

    answer = world.ask("GET", OBJECT)

    assert (len(answer.body), answer.complete) == (300, False)
    assert world.aborts == 2  # the world's own, and the door's


def test_a_failure_before_the_first_byte_is_said(world):
    world.cut_after, world.cut_by = 0, TamperDetected("blob")

    assert world.ask("GET", OBJECT).code == "InternalError"


def test_a_copy_that_ends_short_never_looks_complete(world):
    class Short(Copy):
        length = 9000

    world.objects["sft/short"] = Short(b"x" * 10)

    answer = world.ask("GET", "/orchid/sft/short")

    assert not answer.complete
    assert world.aborts == 1


def test_a_reader_who_went_away_is_noticed(world, monkeypatch):
    monkeypatch.setattr(app, "WATCHED_FROM", 100)
    world.objects["sft/a.jsonl"].chunk = 100
    world.hangs_up_at = 500

    answer = world.ask("GET", OBJECT)

    assert 500 <= len(answer.body) < 9000
    assert world.deliveries[0].end == "failed"


def test_nothing_is_answered_where_the_server_offers_no_way_to_cut(world):
    world.without_abort = True

    with pytest.raises(RuntimeError, match=r"limen\.abort"):
        world.ask("GET", OBJECT)


def test_an_unforeseen_failure_is_a_500_that_closes(world):
    world.raises = ZeroDivisionError("a bug")

    answer = world.ask("GET", OBJECT)

    assert (answer.status, answer.code, answer.headers["connection"]) == (500, "InternalError", "close")
    assert "bug" not in answer.message


# --- buckets and listings


def test_the_bucket_operations_answer_for_the_sessions_project(world):
    buckets = world.ask("GET", "/").xml
    assert [b.findtext("Name") for b in buckets.iter("Bucket")] == ["orchid"]
    assert world.ask("HEAD", "/orchid").headers["x-amz-bucket-region"] == "limen-1"
    assert world.ask("GET", "/orchid?location").xml.text == "limen-1"
    assert [call[0] for call in world.calls] == ["projects"] * 3


def fill(world, *keys):
    world.objects = {key: Copy(key.encode()) for key in keys}


def names(answer):
    root = answer.xml
    return [e.findtext("Key") for e in root.iter("Contents")], [e.findtext("Prefix") for e in root.iter("CommonPrefixes")]


KEYS = ["a", "a/", "a/1", "a/2/x", "a/2/y", "b", "c/1", "c/2", "d", "ä/1", "🙂"]


def every_page(world, query, *, version):
    """All pages of a listing, followed as SDKs do."""
    keys, prefixes, pages, after = [], [], 0, ""
    while True:
        answer = world.ask("GET", f"/orchid?{'list-type=2&' if version == 2 else ''}{query}{after}")
        assert answer.status == 200
        found = names(answer)
        keys += found[0]
        prefixes += found[1]
        pages += 1
        if answer.xml.findtext("IsTruncated") == "false":
            return keys, prefixes, pages
        if version == 2:
            after = "&continuation-token=" + answer.xml.findtext("NextContinuationToken").replace("=", "%3D")
        else:
            after = "&marker=" + quote(answer.xml.findtext("NextMarker"), safe="")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("most", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", (KEYS, [])),
        ("delimiter=%2F", (["a", "b", "d", "🙂"], ["a/", "c/", "ä/"])),
        ("prefix=a%2F&delimiter=%2F", (["a/", "a/1"], ["a/2/"])),
        ("prefix=a%2F", (["a/", "a/1", "a/2/x", "a/2/y"], [])),
        ("prefix=nothing", ([], [])),
        ("prefix=c&delimiter=%2F", ([], ["c/"])),
    ],
)
def test_a_listing_is_the_same_however_it_is_paged(world, version, most, query, expected):
    fill(world, *KEYS)

    found = every_page(world, f"max-keys={most}{'&' if query else ''}{query}", version=version)

    assert found[:2] == expected
    assert found[2] == max(1, -(-(len(expected[0]) + len(expected[1])) // most))


def test_a_listing_starts_after_a_name(world):
    fill(world, *KEYS)

    assert names(world.ask("GET", "/orchid?list-type=2&start-after=c%2F1"))[0] == ["c/2", "d", "ä/1", "🙂"]
    assert names(world.ask("GET", "/orchid?marker=d"))[0] == ["ä/1", "🙂"]


def test_a_page_of_none_is_not_truncated(world):
    answer = world.ask("GET", "/orchid?list-type=2&max-keys=0").xml

    assert (answer.findtext("KeyCount"), answer.findtext("IsTruncated")) == ("0", "false")


def test_a_listing_shows_each_object_as_this_recipient_would_get_it(world):
    entry = next(world.ask("GET", "/orchid?list-type=2&fetch-owner=true&prefix=sft%2Fa").xml.iter("Contents"))

    head = world.ask("HEAD", OBJECT).headers
    assert entry.findtext("ETag") == head["etag"]
    assert entry.findtext("Size") == head["content-length"]
    assert entry.findtext("LastModified") == "2025-10-09T08:53:20.000Z"
    assert entry.findtext("Owner/ID") == "orchid"
    assert MODIFIED_AT == 1_760_000_000


def test_keys_are_percent_encoded_when_asked(world):
    fill(world, "a b+&<ä", "x\x01y")

    assert names(world.ask("GET", "/orchid?encoding-type=url"))[0] == ["a%20b%2B%26%3C%C3%A4", "x%01y"]
    assert names(world.ask("GET", "/orchid"))[0] == ["a b+&<ä", "x\ufffdy"]
    assert world.ask("GET", "/orchid?encoding-type=base64").code == "InvalidArgument"


def test_versions_are_those_of_an_unversioned_bucket(world):
    fill(world, "a/1", "b")

    root = world.ask("GET", "/orchid?versions&delimiter=%2F").xml

    assert [(v.findtext("Key"), v.findtext("VersionId"), v.findtext("IsLatest")) for v in root.iter("Version")] == [
        ("b", "null", "true")
    ]
    assert root.findtext("CommonPrefixes/Prefix") == "a/"
    assert world.ask("GET", "/orchid/b?versionId=null").status == 200
    assert world.ask("GET", "/orchid/b?versionId=3").code == "NotImplemented"


def test_a_preflight_is_answered_by_configuration_alone(world):
    asked = [("host", HOST), ("origin", "https://console.limen.test"), ("access-control-request-method", "GET")]

    allowed = world.send("OPTIONS", OBJECT, [*asked, ("access-control-request-headers", "x-amz-date")])
    refused = world.send(
        "OPTIONS", OBJECT, [("host", HOST), ("origin", "https://evil.test"), ("access-control-request-method", "GET")]
    )

    assert allowed.status == 200
    assert allowed.headers["access-control-allow-origin"] == "https://console.limen.test"
    assert allowed.headers["access-control-allow-headers"] == "x-amz-date"
    assert (refused.status, "access-control-allow-origin" in refused.headers) == (403, False)
    assert (world.calls, world.unresolved) == ([], [])
    assert "access-control-allow-origin" in world.ask("GET", OBJECT, headers={"Origin": "https://console.limen.test"}).headers
