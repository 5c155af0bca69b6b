from __future__ import annotations

from email.utils import formatdate

import pytest

from limen.formats.httprange import Answer, evaluate

TAG = "abc-1"
AT = 1_760_000_000
AT_TEXT, BEFORE, AFTER = (formatdate(AT + shift, usegmt=True) for shift in (0, -1, 1))


def ask(length=100, **headers):
    return evaluate({name.replace("_", "-"): value for name, value in headers.items()}, etag=TAG, modified_at=AT, length=length)


@pytest.mark.parametrize(
    ("text", "status", "start", "end"),
    [
        ("bytes=0-9", 206, 0, 10),
        ("bytes=0-0", 206, 0, 1),
        ("bytes=99-99", 206, 99, 100),
        ("bytes=0-99", 206, 0, 100),
        ("bytes=0-", 206, 0, 100),
        ("bytes=10-", 206, 10, 100),
        ("bytes=90-1000", 206, 90, 100),
        ("bytes=-1", 206, 99, 100),
        ("bytes=-100", 206, 0, 100),
        ("bytes=-1000", 206, 0, 100),
        ("Bytes = 5 - 6", 206, 5, 7),
        ("bytes=100-", 416, 0, 0),
        ("bytes=100-200", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
        # RFC 9110 14.2: what is not a valid byte range is ignored.
        ("bytes=9-0", 200, 0, 100),
        ("bytes=", 200, 0, 100),
        ("bytes=-", 200, 0, 100),
        ("bytes=a-b", 200, 0, 100),
        ("bytes=0-9,20-29", 200, 0, 100),
        ("lines=0-9", 200, 0, 100),
        ("bytes=0-9 ", 206, 0, 10),
        ("bytes=99999999999999999999-", 200, 0, 100),
        ("bytes=\u0661-\u0662", 200, 0, 100),
        ("", 200, 0, 100),
    ],
)
def test_a_range_is_read_as_rfc_9110_says(text, status, start, end):
    assert ask(range=text) == Answer(status, start, end)


def test_an_empty_object_satisfies_no_range():
    assert ask(length=0, range="bytes=0-").status == 416
    assert ask(length=0) == Answer(200, 0, 0)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if_match": '"abc-1"'}, 200),
        ({"if_match": "abc-1"}, 200),
        ({"if_match": "*"}, 200),
        ({"if_match": '"x", "abc-1"'}, 200),
        ({"if_match": '"x"'}, 412),
        ({"if_match": 'W/"abc-1"'}, 412),  # If-Match compares strongly
        ({"if_match": ""}, 412),
        ({"if_none_match": '"abc-1"'}, 304),
        ({"if_none_match": 'W/"abc-1"'}, 304),  # If-None-Match compares weakly
        ({"if_none_match": "*"}, 304),
        ({"if_none_match": '"x"'}, 200),
        ({"if_modified_since": AT_TEXT}, 304),
        ({"if_modified_since": BEFORE}, 200),
        ({"if_modified_since": AFTER}, 304),
        ({"if_modified_since": "not a date"}, 200),
        ({"if_unmodified_since": AT_TEXT}, 200),
        ({"if_unmodified_since": BEFORE}, 412),
        ({"if_unmodified_since": "not a date"}, 200),
        # 13.2.2: a tag outranks a date of its own kind; If-Match stands before If-None-Match.
        ({"if_match": '"abc-1"', "if_unmodified_since": BEFORE}, 200),
        ({"if_none_match": '"x"', "if_modified_since": AFTER}, 200),
        ({"if_match": '"x"', "if_none_match": '"abc-1"'}, 412),
        ({"if_match": '"abc-1"', "if_none_match": '"abc-1"'}, 304),
        ({"if_unmodified_since": BEFORE, "if_modified_since": AFTER}, 412),
        # Conditions come before the range.
        ({"if_match": '"x"', "range": "bytes=500-"}, 412),
        ({"if_none_match": '"abc-1"', "range": "bytes=0-1"}, 304),
        ({"if_match": '"abc-1"', "range": "bytes=0-1"}, 206),
        # If-Range: only of the same representation, compared strongly.
        ({"if_range": '"abc-1"', "range": "bytes=0-1"}, 206),
        ({"if_range": 'W/"abc-1"', "range": "bytes=0-1"}, 200),
        ({"if_range": '"x"', "range": "bytes=0-1"}, 200),
        ({"if_range": AT_TEXT, "range": "bytes=0-1"}, 206),
        ({"if_range": AFTER, "range": "bytes=0-1"}, 200),
    ],
)
def test_conditions_are_decided_in_the_order_of_rfc_9110(headers, status):
    assert ask(**headers).status == status


def test_no_answer_but_200_and_206_has_bytes():
    for headers in ({"if_match": '"x"'}, {"if_none_match": "*"}, {"range": "bytes=100-"}):
        answer = ask(**headers)
        assert (answer.start, answer.end) == (0, 0)


def test_every_range_agrees_with_a_plain_recomputation():
    content = bytes(range(20))
    for first in range(25):
        for last in range(25):
            answer = ask(length=20, range=f"bytes={first}-{last}")
            expected = content[first : last + 1]
            assert content[answer.start : answer.end] == (expected if first <= last else content)
            assert (answer.status == 416) == (first <= last and not expected)
