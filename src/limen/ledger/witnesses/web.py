"""Asks another log or witness over HTTP/1.1: one connection to one prefix, kept alive; bounded in bytes and in time.

No redirect is followed and no proxy is used: what was configured is asked, or nobody. What comes back proves nothing until
its signatures and hashes have been verified.
"""

from __future__ import annotations

import http.client
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from limen.core.errors import Invalid

if TYPE_CHECKING:
    from typing import Self

_CHUNK: Final = 64 << 10


class Unreachable(OSError):
    """The other side did not answer in time, or not in HTTP. Try again."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, whole."""

    status: int
    content_type: str
    body: bytes

    def why(self) -> str:
        """The first line of the body, for an operator who reads why something was refused."""
        line = self.body[:200].decode("utf-8", "replace").partition("\n")[0]
        return f"{self.status} {''.join(c for c in line if c.isprintable())}".strip()


class Web:
    """One prefix, such as `https://witness.example/w1`. Owned by one thread at a time."""

    def __init__(self, prefix: str, *, timeout_s: float) -> None:
        """Invalid if the prefix is not a plain http or https address."""
        self.prefix = prefix.rstrip("/")
        self._timeout_s = timeout_s
        parts = urlsplit(self.prefix)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or parts.username:
            raise Invalid("url", f"{prefix!a} is not http://HOST[:PORT][/PATH] or https://…")
        self._path = parts.path
        if parts.scheme == "https":
            context = ssl.create_default_context()
            self._connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=timeout_s, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout_s)

    def get(self, path: str, *, limit: int) -> Reply:
        """GET a path below the prefix. Unreachable if it fails, or if the body has more than `limit` bytes."""
        return self._ask("GET", path, None, limit)

    def post(self, path: str, body: bytes, *, limit: int) -> Reply:
        """POST to a path below the prefix. Sent a second time if an idle connection turns out to have been closed."""
        return self._ask("POST", path, body, limit)

    def close(self) -> None:
        """Close the connection; the next question opens a new one."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, method: str, path: str, body: bytes | None, limit: int) -> Reply:
        kept_alive = self._connection.sock is not None
        try:
            return self._once(method, path, body, limit)
        except (ConnectionError, http.client.RemoteDisconnected) as e:
            self.close()
            if not kept_alive:
                raise Unreachable(f"{self.prefix}: {e}") from e
        except (OSError, http.client.HTTPException) as e:
            self.close()
            raise Unreachable(f"{self.prefix}: {e or type(e).__name__}") from e
        try:
            return self._once(method, path, body, limit)
        except (OSError, http.client.HTTPException) as e:
            self.close()
            raise Unreachable(f"{self.prefix}: {e or type(e).__name__}") from e

    def _once(self, method: str, path: str, body: bytes | None, limit: int) -> Reply:
        until = time.monotonic() + 2 * self._timeout_s
        self._connection.request(method, f"{self._path}/{path}", body=body, headers={"User-Agent": "limen"})
        response = self._connection.getresponse()
        found = bytearray()
        while chunk := response.read1(_CHUNK):
            found += chunk
            if len(found) > limit or time.monotonic() > until:
                raise Unreachable(f"an answer of more than {limit} bytes, or too slow")
        response.close()  # read to its end, it still counts as open, and the connection as busy
        if response.will_close:
            self.close()
        return Reply(response.status, response.headers.get_content_type(), bytes(found))
