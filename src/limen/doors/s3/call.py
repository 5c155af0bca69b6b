"""One authenticated S3 request, as the operations see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limen.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, MutableMapping

    from limen.core.types import Client, Session
    from limen.formats.s3uri import Place
    from limen.formats.sigv4 import Verified

MAX_KEYS = 1000


@dataclass(frozen=True, slots=True)
class Call:
    """Who asks what of which place, and how to receive the body or cut the connection. The signature holds."""

    method: str
    place: Place
    params: Mapping[str, str]
    headers: Mapping[str, str]
    session: Session
    client: Client
    verified: Verified
    region: str
    request_id: str
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]]
    abort: Callable[[], None]

    @property
    def key(self) -> str:
        """The object's key: its path in the project."""
        return self.place.key

    def number(self, name: str, *, default: int, most: int) -> int:
        """A whole, non-negative parameter, or Invalid."""
        text = self.params.get(name, "")
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(1 << 31))) or int(text) >= 1 << 31:
            raise Invalid(name, "must be a whole number from 0 to 2147483647")
        return min(int(text), most)
