"""HTTP as the commands speak it: small requests by the standard library, https only (http to this machine).

A redirect is never followed: what is sent here (tokens, codes, signatures) was meant for one address.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlencode, urlsplit

import click

from limen.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TIMEOUT_S: Final = 20.0
MAX_BODY: Final = 1 << 20
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class WebFault(Exception):
    """Nobody answers at the address, or something answers that makes no sense. Exit code 1: nobody's input was wrong."""


@contextlib.contextmanager
def plainly() -> Iterator[None]:
    """Turn a WebFault into one line and exit code 1."""
    try:
        yield
    except WebFault as e:
        click.echo(f"limen: error: {e}", err=True)
        sys.exit(1)


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body as a JSON object, or WebFault: something else answers at that address."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise WebFault(f"an answer (status {self.status}) that is not JSON; is this the right address?")
        return document


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows nothing."""

    def redirect_request(self, *_args: Any, **_named: Any) -> None:
        """Stop here: the answer itself is returned."""
        return


def check_url(url: str, *, field: str) -> str:
    """The address, if nothing that is sent there can be read on the way. Invalid otherwise."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if not host:
        raise Invalid(field, f"{url!r} is not a URL")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in _LOOPBACK):
        raise Invalid(field, f"{url!r} must be https (http only for this machine)")
    return url


def is_loopback(url: str) -> bool:
    """Whether an address is on this machine."""
    return urlsplit(url).hostname in _LOOPBACK


def get(url: str) -> Answer:
    """GET a document."""
    return _ask(urllib.request.Request(url, headers={"Accept": "application/json"}))  # noqa: S310  _ask checks


def post(url: str, form: Mapping[str, str], *, headers: Mapping[str, str] | None = None) -> Answer:
    """POST a form."""
    sent = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8", **(headers or {})}
    return _ask(urllib.request.Request(url, urlencode(form).encode(), sent))  # noqa: S310  _ask checks


def _ask(request: urllib.request.Request) -> Answer:
    check_url(request.full_url, field="url")
    request.add_header("User-Agent", "limen-cli")
    # A proxy from the environment may be the only way out, and is never the way to this machine.
    ways = [urllib.request.ProxyHandler({})] if is_loopback(request.full_url) else []
    opener = urllib.request.build_opener(_Stay, *ways)
    try:
        with opener.open(request, timeout=TIMEOUT_S) as response:
            return Answer(response.status, response.read(MAX_BODY))
    except urllib.error.HTTPError as e:
        with e:
            return Answer(e.code, e.read(MAX_BODY))
    except (OSError, http.client.HTTPException) as e:
        where = urlsplit(request.full_url)
        why = getattr(e, "reason", None) or e
        raise WebFault(f"{where.scheme}://{where.netloc} does not answer ({why})") from e
