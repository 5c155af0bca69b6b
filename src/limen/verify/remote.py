"""A published log read from a server over HTTP/1.1: a Reader for `verify.published`. C2SP tlog-tiles v0.1, §"HTTP".

The only module of the verifier that opens a connection, and one thread's at a time. Nothing that a server says is trusted,
so an answer is bounded in length and time, and a redirect is refused: the address that was given is the one that is asked.
"""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from limen.core.errors import Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable

TIMEOUT_S: Final = 15.0
# The largest thing there is: a bundle of 256 entries of 65,535 bytes, each behind its length.
MAX_BODY: Final = 256 * (2 + 65_535)
_OK: Final = 200
_GONE: Final = (404, 410)


class Remote:
    """The log below `prefix`, an http or https address. Keeps one connection open; `close` ends it."""

    def __init__(self, prefix: str, *, timeout_s: float = TIMEOUT_S) -> None:
        try:
            parts = urlsplit(prefix)
            host, port = parts.hostname, parts.port
        except ValueError as e:
            raise Invalid("address", f"{prefix!a}: {e}") from e
        plain = all(0x20 < ord(c) < 0x7F for c in prefix)  # noqa: PLR2004  printable ASCII: what a request line can hold
        if parts.scheme not in ("http", "https") or not host or not plain:
            raise Invalid("address", f"{prefix!a} is no http:// or https:// address")
        if parts.query or parts.fragment or parts.username is not None:
            raise Invalid("address", "has a query, a fragment or a name and password; give the prefix that tiles lie below")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(host, port, timeout=timeout_s)
        self._base = parts.path.rstrip("/")
        self._shown = prefix.rstrip("/")

    def read(self, path: str) -> bytes:
        """The body of a 200. NotFound on 404; OSError if the server can't be asked or answers anything else."""
        try:
            status, body = self._get(path)
        except ConnectionError:
            # A server may close an idle connection at any time; a second refusal is the server's word.
            self._connection.close()
            status, body = self._get(path)
        if status in _GONE:
            raise NotFound(self.where(path))
        if status != _OK:
            raise ConnectionError(f"{self.where(path)}: the server answered {status}")
        if len(body) > MAX_BODY:
            self._connection.close()
            raise ConnectionError(f"{self.where(path)}: the answer is longer than anything that a log publishes")
        return body

    def wider(self, path: str, width: int) -> Iterable[str]:
        """Nothing: a server is not asked to list. It may cut a narrower tile from a wider one by itself."""
        del path, width
        return ()

    def where(self, path: str) -> str:
        """The whole address."""
        return f"{self._shown}/{path}"

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _get(self, path: str) -> tuple[int, bytes]:
        try:
            # `identity`: what is hashed must be the bytes themselves, and a bomb can't hide in a compressed answer.
            self._connection.request("GET", f"{self._base}/{path}", headers={"Accept-Encoding": "identity"})
            response = self._connection.getresponse()
            body = response.read(MAX_BODY + 1)
            if len(body) <= MAX_BODY and response.length:  # what is still to come; a bounded read does not tell by itself
                raise http.client.IncompleteRead(body, response.length)
        except ConnectionError:
            raise
        except (OSError, http.client.HTTPException) as e:
            self._connection.close()
            raise OSError(f"{self.where(path)}: {type(e).__name__}: {e}") from e
        return response.status, body
