"""What a response's writes become on the wire."""

from __future__ import annotations

import pytest

from limen.transport import JOINED_AT_MOST, HeadWithBody

HEAD = b"HTTP/1.1 206 Partial Content\r\ncontent-length: 3\r\n\r\n"


class Wire:
    """What a real transport would have been given."""

    def __init__(self):
        self.writes, self.closed = [], False

    def write(self, data):
        assert not self.closed
        self.writes.append(bytes(data))

    def close(self):
        self.closed = True

    def is_closing(self):
        return self.closed


@pytest.fixture
def wire():
    return Wire()


def test_the_head_leaves_with_the_first_bytes_of_the_body(wire):
    response = HeadWithBody(wire)
    response.write(HEAD)
    assert wire.writes == []
    response.write(memoryview(b"abc"))
    response.write(b"def")
    assert wire.writes == [HEAD + b"abc", b"def"]


def test_an_empty_body_sends_the_head_alone(wire):
    response = HeadWithBody(wire)
    response.write(HEAD)
    response.write(b"")
    assert wire.writes == [HEAD]


def test_a_long_body_is_not_copied(wire):
    response = HeadWithBody(wire)
    response.write(HEAD)
    response.write(bytes(JOINED_AT_MOST + 1))
    assert [len(data) for data in wire.writes] == [len(HEAD), JOINED_AT_MOST + 1]


def test_leave_to_send_a_body_goes_out_at_once_and_is_no_head(wire):
    response = HeadWithBody(wire)
    response.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    response.write(HEAD)
    response.write(b"abc")
    assert wire.writes == [b"HTTP/1.1 100 Continue\r\n\r\n", HEAD + b"abc"]


def test_a_close_loses_no_head(wire):
    response = HeadWithBody(wire)
    response.write(HEAD)
    response.close()
    assert (wire.writes, response.is_closing()) == ([HEAD], True)
