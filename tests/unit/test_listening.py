"""Small listeners: an address that is taken or none says so, and nobody waits for an acknowledgement."""

from __future__ import annotations

import socket

import pytest

from limen.core.errors import Conflict, Invalid
from limen.listening import address, bound


@pytest.mark.parametrize("listen", ["", "8460", ":8460", "127.0.0.1", "127.0.0.1:http", "127.0.0.1:-1"])
def test_what_is_no_address_is_refused(listen):
    with pytest.raises(Invalid, match="HOST:PORT"):
        bound(listen)


def test_an_address_that_is_taken_is_a_conflict():
    with bound("127.0.0.1:0") as taken, pytest.raises(Conflict, match="in use"):
        bound(address(taken))
    with pytest.raises(Conflict):
        bound("127.0.0.1:99999")


def test_accepted_connections_are_of_the_kind_that_asyncio_sends_without_delay():
    with bound("127.0.0.1:0") as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.proto == socket.IPPROTO_TCP


def test_that_check_sees_a_listener_that_does_not_name_the_protocol():
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.proto != socket.IPPROTO_TCP
