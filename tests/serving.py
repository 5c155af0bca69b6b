"""An ASGI application on a socket of its own, for tests that speak real HTTP to it."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import threading

from limen.listening import address, beside, bound


class Served:
    """Serves an application for the length of a `with`; `ask` sends one request, its path as it stands."""

    def __init__(self, app, listen="127.0.0.1:0"):
        self._app = app
        self._socket = bound(listen)
        self.address = address(self._socket)
        self.url = f"http://{self.address}"

    def __enter__(self):
        started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()

        async def run():
            async with beside(self._app, self._socket):
                started.set()
                await self._stop.wait()

        def thread():
            with contextlib.closing(self._loop):
                self._loop.run_until_complete(run())

        self._thread = threading.Thread(target=thread)
        self._thread.start()
        assert started.wait(10)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def ask(self, method, path, body=None, headers=None):
        """Status, headers in lower case, and body."""
        connection = http.client.HTTPConnection(self.address, timeout=10)
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in (headers or {}).items():
                connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
