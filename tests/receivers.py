"""What alerts go to, on 127.0.0.1: a webhook, a mail server, a syslog server. Each keeps what it was given, in order."""

from __future__ import annotations

import json
import queue
import socket
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = "whsec_" + "bGltZW4tdGVzdC1zZWNyZXQtMDEyMzQ1Njc4OQ=="


class Receiver:
    """Serves for the length of a `with`; `got` has one item a delivery, `wait` takes the next."""

    def __init__(self, port=0):
        self.got = queue.Queue()
        self._server = self._made(port)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def port(self):
        return self._server.server_address[1]

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def wait(self, timeout=20):
        return self.got.get(timeout=timeout)

    def all(self):
        return [self.got.get() for _ in range(self.got.qsize())]


class Webhook(Receiver):
    """Answers what `status` says; an item is (time, headers, body)."""

    def _made(self, port):
        receiver = self
        self.status = 204

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = receiver.status(json.loads(body)) if callable(receiver.status) else receiver.status
                receiver.got.put((time.time(), {k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        return ThreadingHTTPServer(("127.0.0.1", port), Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/hooks/limen?x=1"

    def events(self):
        return [json.loads(body) for _, _, body in self.all()]


class Mail(Receiver):
    """The least of an SMTP server (RFC 5321); an item is (recipients, message, login). `refuse` answers DATA with 451."""

    def _made(self, port):
        receiver = self
        self.refuse = False

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                self.wfile.write(b"220 here\r\n")
                to, login = [], ""
                while line := self.rfile.readline().decode().strip():
                    verb = line[:4].upper()
                    if verb == "EHLO":
                        self.wfile.write(b"250-here\r\n250 AUTH PLAIN\r\n")
                    elif verb == "AUTH":
                        login = line
                        self.wfile.write(b"235 come in\r\n")
                    elif verb == "RCPT":
                        to.append(line.partition(":")[2].strip("<>"))
                        self.wfile.write(b"250 ok\r\n")
                    elif verb == "DATA":
                        self.wfile.write(b"354 go on\r\n")
                        lines = iter(self.rfile.readline, b".\r\n")
                        raw = b"".join(lines)
                        if receiver.refuse:
                            self.wfile.write(b"451 later\r\n")
                        else:
                            receiver.got.put((to, raw, login))
                            self.wfile.write(b"250 taken\r\n")
                    elif verb == "QUIT":
                        self.wfile.write(b"221 bye\r\n")
                        return
                    else:
                        self.wfile.write(b"250 ok\r\n")

        return socketserver.ThreadingTCPServer(("127.0.0.1", port), Handler)


class Syslog(Receiver):
    """A stream of syslog frames, in clear or under TLS; an item is what one connection sent."""

    def __init__(self, port=0, *, tls=None):
        self._tls = tls
        super().__init__(port)

    def _made(self, port):
        receiver = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                with receiver._tls.wrap_socket(self.request, server_side=True) if receiver._tls else self.request as stream:
                    receiver.got.put(b"".join(iter(lambda: stream.recv(65536), b"")))

        return socketserver.ThreadingTCPServer(("127.0.0.1", port), Handler)


class Datagrams:
    """A bound UDP socket."""

    def __enter__(self):
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(20)
        self.port = self._socket.getsockname()[1]
        return self

    def __exit__(self, *_):
        self._socket.close()

    def wait(self):
        return self._socket.recv(65536)
