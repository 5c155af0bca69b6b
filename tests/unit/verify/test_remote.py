"""A published log read from a server: what is taken from its answers, and what is not."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading

import pytest
from laid_out import SIGNER, SIZE

from limen.core.errors import Invalid, NotFound, TamperDetected
from limen.verify import remote
from limen.verify.published import Published, verify
from limen.verify.remote import Remote

KEY = SIGNER.verifier


class Served(http.server.BaseHTTPRequestHandler):
    """Serves `server.answer(path)`: a status, a body and headers."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.asked.append((self.path, self.headers))
        status, body, headers = self.server.answer(self.path)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)
        self.close_connection = self.server.hang_up

    def log_message(self, *args):
        pass


@pytest.fixture
def server(log):
    root = log.reader.root

    def files(path):
        path = root / path.removeprefix("/log/")
        return (200, path.read_bytes(), {}) if path.is_file() else (404, b"not here", {})

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Served) as served:
        served.answer, served.asked, served.hang_up, served.daemon_threads = files, [], False, True
        served.prefix = f"http://127.0.0.1:{served.server_port}/log/"
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        served.shutdown()
        thread.join()


@pytest.fixture
def far(server):
    reader = Remote(server.prefix, timeout_s=5)
    with contextlib.closing(reader):
        yield Published(reader)


def test_a_served_log_verifies_like_a_directory(far, log):
    assert far.verifier() == KEY
    assert verify(far, KEY) == verify(log, KEY)


def test_a_part_that_the_server_does_not_have_is_named_as_damage(far, log):
    (log.reader.root / "tile/0/001").unlink()
    with pytest.raises(TamperDetected) as found:
        verify(far, KEY)
    assert found.value.index == 256


def test_a_partial_tile_that_has_become_full_is_read_from_the_full_one(far, log):
    assert far.tile(0, 0, 7) == log.tile(0, 0, 7)
    assert far.bundle(1, 44) == log.bundle(1, 44)
    with pytest.raises(NotFound, match=r"tile/0/002\.p/3"):
        far.tile(0, 2, 3)


def test_a_connection_that_the_server_closed_meanwhile_is_opened_again(server, far):
    server.hang_up = True
    assert verify(far, KEY).checkpoint.size == SIZE


def test_an_answer_is_asked_for_as_it_is(server, far):
    far.checkpoint(KEY)
    assert server.asked[0][0] == "/log/checkpoint"
    assert server.asked[0][1]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("status", [301, 302, 403, 500, 503, 204, 206])
def test_an_answer_that_is_neither_yes_nor_no_is_not_taken_for_damage(server, far, status):
    server.answer = lambda _: (status, b"", {"Location": server.prefix})
    with pytest.raises(OSError, match=f"answered {status}"):
        verify(far, KEY)
    assert len(server.asked) == 1


@pytest.mark.parametrize("length", [1001, 100_000])
def test_an_answer_without_end_is_cut_off_and_the_next_one_read(server, far, monkeypatch, length):
    files = server.answer
    monkeypatch.setattr(remote, "MAX_BODY", 1000)
    server.answer = lambda _: (200, bytes(length), {})
    with pytest.raises(OSError, match="longer than anything"):
        far.reader.read("checkpoint")

    server.answer = lambda _: (200, bytes(1000), {})
    assert far.reader.read("checkpoint") == bytes(1000)
    server.answer = files
    assert far.checkpoint(KEY).size == SIZE


@pytest.mark.parametrize("length", [5, 1000])
def test_an_answer_that_breaks_off_is_no_answer_and_the_next_one_is_read(server, far, monkeypatch, length):
    files = server.answer
    monkeypatch.setattr(remote, "MAX_BODY", 1000)
    server.hang_up = True
    server.answer = lambda _: (200, bytes(length), {"Content-Length": "1500"})
    with pytest.raises(OSError, match="checkpoint"):
        far.reader.read("checkpoint")

    server.answer = files
    assert far.checkpoint(KEY).size == SIZE


def test_a_server_that_says_nothing_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        reader = Remote(f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout_s=0.05)
        with contextlib.closing(reader), pytest.raises(OSError, match="timed out"):
            reader.read("checkpoint")


def test_a_server_that_is_not_there_is_not_called_damaged():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    reader = Remote(f"http://127.0.0.1:{port}")
    with contextlib.closing(reader), pytest.raises(ConnectionRefusedError):
        reader.read("checkpoint")


@pytest.mark.parametrize(
    "address",
    [
        "ftp://host/",
        "http://",
        "http:///log",
        "http://host/?q",
        "http://host/#f",
        "http://a:b@host/",
        "http://host:port/",
        "http://[host/",
        "http://host/a b",
        "http://host/\x7f",
        "http://host/\n",
        "http://h\N{LATIN SMALL LETTER O WITH DIAERESIS}st/",
    ],
)
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(Invalid, match="address"):
        Remote(address)


def test_a_secure_address_is_asked_securely():
    with contextlib.closing(Remote("https://log.example:8443/a/")) as reader:
        assert type(reader._connection).__name__ == "HTTPSConnection"
        assert (reader._connection.host, reader._connection.port) == ("log.example", 8443)
        assert reader.where("checkpoint") == "https://log.example:8443/a/checkpoint"
