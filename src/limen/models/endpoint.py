"""Next words from an OpenAI-compatible endpoint (`POST …/completions`), one beginning at a time, so that work can go on.

An address is `https://host/v1#model`, or http on this machine: what is asked is half of a secret and must not travel in
clear. The key comes from LIMEN_MODEL_KEY or a 0600 file, never from the command line. Redirects are not followed: the text
goes where its owner was told it would. What the endpoint calls its model is its own word.

Candidates are the likeliest first tokens if it tells them (`logprobs`), else the texts of its choices. An endpoint that is
busy (429, 5xx) is asked again after as long as it says, a minute at most; then the work stops, and what was answered stays.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from limen.core.errors import Failed, Invalid
from limen.formats.modelanswers import MOST_CANDIDATES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

TIMEOUT_S: Final = 120.0
TRIES: Final = 6
LONGEST_WAIT_S: Final = 60.0
MOST_BYTES: Final = 4 << 20
WORDS: Final = 8  # tokens to complete where no logprobs are told: enough for a word
_BUSY: Final = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
_NO_KEY: Final = frozenset({401, 403})
_OK: Final = 200
_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model answers: scheme, host, port, path before `/completions`, and what it calls the model."""

    scheme: str
    host: str
    port: int
    path: str
    model: str
    key: str = field(default="", repr=False)

    @classmethod
    def parse(cls, address: str, *, key: str = "") -> Endpoint:
        """From `URL#model`. Invalid for anything that is no http or https address, and for http to another machine."""
        try:
            parts = urlsplit(address)
            port = parts.port
        except ValueError as e:
            raise Invalid("endpoint", f"{address!a} is no address") from e
        if parts.scheme not in {"http", "https"} or not parts.hostname or not parts.fragment:
            raise Invalid("endpoint", f"{address!a} is not http(s)://HOST/PATH#MODEL")
        if parts.username or parts.password or parts.query:
            raise Invalid("endpoint", "holds a name, a password or a query; a key belongs in LIMEN_MODEL_KEY or a 0600 file")
        if parts.scheme == "http" and not _is_here(parts.hostname):
            raise Invalid("endpoint", f"{parts.hostname} would get our texts in clear; use https, or a tunnel to 127.0.0.1")
        default = 443 if parts.scheme == "https" else 80
        return cls(parts.scheme, parts.hostname, port or default, parts.path.rstrip("/"), parts.fragment, key)

    def complete(self, text: str, *, top: int, wait: Callable[[float], None]) -> tuple[str, ...]:
        """Candidates for what comes after a text, likeliest first. Failed if it stays busy or answers what can't be read."""
        asked = {
            "model": self.model,
            "prompt": text,
            "max_tokens": WORDS,
            "temperature": 0,
            "logprobs": top,
        }
        said, pause = "", 0.0
        for turn in range(TRIES):
            if turn:
                wait(min(LONGEST_WAIT_S, pause))
            try:
                status, asks, body = self._post(asked)
            except (OSError, http.client.HTTPException) as e:
                pause, said = 2.0**turn, f"can't be reached ({e})"
                continue
            if status == _OK:
                return _candidates(body, top)
            if status in _NO_KEY:
                raise Invalid("endpoint", f"{self.host} refuses the key ({status}); set LIMEN_MODEL_KEY, or --key-file")
            said = f"answered {status}: {body[:_SHOWN].decode(errors='replace')!a}"
            if status not in _BUSY:
                break
            pause = 2.0**turn if asks is None else asks
        raise Failed(f"{self.host} {said}")

    def _post(self, asked: Mapping[str, Any]) -> tuple[int, float | None, bytes]:
        if self.scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                self.host, self.port, timeout=TIMEOUT_S, context=ssl.create_default_context()
            )
        else:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_S)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        try:
            connection.request("POST", f"{self.path}/completions", json.dumps(asked).encode(), headers)
            response = connection.getresponse()
            body = response.read(MOST_BYTES)
            return response.status, _seconds(response.getheader("Retry-After")), body
        finally:
            connection.close()


def candidates_of(
    endpoint: Endpoint, questions: Mapping[str, str], *, top: int, wait: Callable[[float], None]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every question's candidates, one after the other; whoever takes them may stop and go on later."""
    for name, text in questions.items():
        yield name, endpoint.complete(text, top=top, wait=wait)


def key_from(path: Path | None, environment: Mapping[str, str]) -> str:
    """The endpoint's key: from a 0600 file, else from LIMEN_MODEL_KEY, else none."""
    if path is None:
        return environment.get("LIMEN_MODEL_KEY", "")
    try:
        if path.stat().st_mode & 0o077:
            raise Invalid("--key-file", f"{path} must be readable by its owner only (chmod 600)")
        key = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as e:
        raise Invalid("--key-file", f"{path} can't be read") from e
    if not key.isascii() or not key.isprintable():
        raise Invalid("--key-file", f"{path} holds no key on one line")
    return key


def _candidates(body: bytes, top: int) -> tuple[str, ...]:
    try:
        choices = json.loads(body)["choices"]
        told = (choices[0].get("logprobs") or {}).get("top_logprobs") or []
        if told and told[0]:
            likeliest = sorted(told[0].items(), key=lambda item: (-float(item[1]), item[0]))
            return tuple(str(token) for token, _ in likeliest[:top])
        return tuple(str(choice["text"]) for choice in choices[: min(top, MOST_CANDIDATES)])
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as e:
        raise Failed("the endpoint's answer is no completion as OpenAI's API gives it") from e


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _seconds(text: str | None) -> float | None:
    """What a busy endpoint asks for; None if it doesn't say, or says a date."""
    try:
        return None if text is None else max(0.0, float(text))
    except ValueError:
        return None
