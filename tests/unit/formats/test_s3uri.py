from __future__ import annotations

import pytest

from limen.core.errors import Invalid
from limen.formats.s3uri import KeyTooLong, Place, check_new_key, place


@pytest.mark.parametrize(
    ("path", "host", "expected"),
    [
        ("/", "s3.limen.test", ("", "")),
        ("/orchid", "s3.limen.test", ("orchid", "")),
        ("/orchid/", "127.0.0.1:8333", ("orchid", "")),
        ("/orchid/a/b.jsonl", "s3.limen.test:8333", ("orchid", "a/b.jsonl")),
        ("/orchid//a", "s3.limen.test", ("orchid", "/a")),
        ("/orchid/%C3%A4%20+%2F", "s3.limen.test", ("orchid", "ä +/")),
        ("/orchid/\u00c3\u00a4", "s3.limen.test", ("orchid", "ä")),
        ("/a/b", "orchid.s3.limen.test", ("orchid", "a/b")),
        ("/a/b", "Orchid.S3.limen.test:443", ("orchid", "a/b")),
        ("/", "orchid.s3.limen.test", ("orchid", "")),
        ("/orchid/a", "[::1]:8333", ("orchid", "a")),
        ("/orchid/a", "evil-s3.limen.test", ("orchid", "a")),
        ("/orchid/../x", "s3.limen.test", ("orchid", "../x")),
        ("//x", "s3.limen.test", ("", "x")),
    ],
)
def test_a_bucket_is_named_by_path_or_by_virtual_host(path, host, expected):
    assert place(path, host, domain="s3.limen.test") == Place(*expected)


def test_without_a_domain_every_host_is_addressed_by_path():
    assert place("/orchid/a", "orchid.s3.limen.test", domain="") == Place("orchid", "a")


@pytest.mark.parametrize("path", ["/orchid/%ff", "/%ff/a", "/orchid/\u00ff"])
def test_a_name_that_is_not_utf_8_is_refused(path):
    with pytest.raises(Invalid, match="UTF-8"):
        place(path, "h", domain="")


def test_a_new_key_must_be_one_that_a_listing_can_show():
    check_new_key("a" * 1024)
    check_new_key("ä b/🙂")
    with pytest.raises(KeyTooLong):
        check_new_key("ä" * 513)
    for key in ("a\nb", "a\x00", "\x7f"):
        with pytest.raises(Invalid, match="control"):
            check_new_key(key)
