"""One attempt to bring one alert to one receiver. What it carries says by itself which attempt it is.

Each way out raises Undelivered when the receiver does not say that it has it (a datagram's receiver never says so). No
redirect is followed and no proxy used.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import smtplib
import socket
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any, Final

from limen.formats import cloudevents, syslog, webhooks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from urllib.parse import SplitResult

    from limen.watch.target import Target

FINDING_TYPE: Final = "limen.finding.v1"
TEST_TYPE: Final = "limen.test.v1"
HOSTNAME: Final = "limen"  # what a mail server is told
_MULTIPLE: Final = 300


class Undelivered(OSError):
    """The receiver did not take it, or did not say so. Try again."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One event on its way, for one attempt. `id` is the finding's, the same for every attempt and every receiver."""

    id: str
    source: str
    at_us: int
    severity: int
    data: dict[str, Any]
    attempt: int = 1
    again: bool = False  # found in a book that was made anew: it may have been sent before
    test: bool = False

    @property
    def type(self) -> str:
        """What kind of event it is."""
        return TEST_TYPE if self.test else FINDING_TYPE

    def event(self) -> bytes:
        """It as a CloudEvent. What is not so is left out."""
        extensions: dict[str, int | bool | str] = {"limenattempt": self.attempt}
        if self.again:
            extensions["limenagain"] = True
        if self.test:
            extensions["limentest"] = True
        return cloudevents.structured(
            id_=self.id, source=self.source, type_=self.type, at_us=self.at_us, data=self.data, extensions=extensions
        )

    def fields(self) -> dict[str, str]:
        """The same in words of one line."""
        unmapped = self.data.get("unmapped", {})
        told = {
            "id": self.id,
            "attempt": str(self.attempt),
            **({"again": "true"} if self.again else {}),
            **({"test": "true"} if self.test else {}),
            "ledger": self.source,
            **{name: str(value) for name, value in unmapped.get("subject", {}).items()},
            "grade": str(unmapped.get("grade", "")),
            "entries": ",".join(map(str, unmapped.get("entries", []))),
        }
        return {name: value for name, value in told.items() if value}

    def title(self) -> str:
        """What it says, in one line."""
        if self.test:
            return "a test of limen's alerts: nothing happened"
        return str(self.data["finding_info"]["title"])

    def rule(self) -> str:
        """Which rule, or `test`."""
        return "test" if self.test else str(self.data["finding_info"]["analytic"]["uid"])


def sender(target: Target, secret: str, *, data: Path, now: Callable[[], float]) -> Callable[[Alert], None]:
    """How one attempt to a target is made."""
    match target.kind:
        case "webhook":
            return lambda alert: _webhook(target, webhooks.key_of(secret), alert, at=int(now()))
        case "email":
            return lambda alert: _email(target, secret, alert)
        case "syslog":
            return lambda alert: _syslog(target, alert)
        case "file":
            return lambda alert: _line(data / target.path, alert)


def _webhook(target: Target, key: bytes, alert: Alert, *, at: int) -> None:
    body = alert.event()
    headers = {
        "Content-Type": cloudevents.CONTENT_TYPE,
        "User-Agent": "limen",
        **webhooks.headers(key, id_=alert.id, at=at, body=body),
    }
    parts = target.address
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host, port = parts.hostname or "", parts.port
    connection = (
        http.client.HTTPSConnection(host, port, timeout=target.timeout_s, context=ssl.create_default_context())
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, port, timeout=target.timeout_s)
    )
    try:
        with contextlib.closing(connection):
            connection.request("POST", path, body=body, headers=headers)
            status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as e:
        raise Undelivered(_why(e)) from e
    if not 200 <= status < _MULTIPLE:  # noqa: PLR2004  RFC 9110: 2xx is success
        raise Undelivered(f"status {status}")


def _email(target: Target, password: str, alert: Alert) -> None:
    message = EmailMessage()
    message["From"], message["To"] = target.sender, ", ".join(target.to)
    repeat = f" (attempt {alert.attempt})" if alert.attempt > 1 else ""
    message["Subject"] = f"limen: {alert.rule()}{repeat}"
    message["Message-ID"] = f"<{alert.id}.{alert.attempt}@limen>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834
    message["X-Limen-Id"], message["X-Limen-Attempt"] = alert.id, str(alert.attempt)
    if alert.again:
        message["X-Limen-Again"] = "true"
    if alert.test:
        message["X-Limen-Test"] = "true"
    lines = [f"{name}: {value}" for name, value in alert.fields().items()]
    body = json.dumps(alert.data, indent=2, ensure_ascii=False)
    message.set_content(f"{alert.title()}\n\n" + "\n".join(lines) + f"\n\nlimen findings show {alert.id}\n\n{body}\n")
    parts = target.address
    try:
        with _smtp(target, parts) as server:
            if parts.scheme == "smtp":
                server.starttls(context=ssl.create_default_context())
            if target.login:
                server.login(target.login, password)
            server.send_message(message)
    except (OSError, smtplib.SMTPException) as e:
        raise Undelivered(_why(e)) from e


def _smtp(target: Target, parts: SplitResult) -> smtplib.SMTP:
    host, timeout_s = parts.hostname or "", target.timeout_s
    if parts.scheme == "smtps":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(host, parts.port or 465, local_hostname=HOSTNAME, timeout=timeout_s, context=context)
    return smtplib.SMTP(host, parts.port or 587, local_hostname=HOSTNAME, timeout=timeout_s)


def _syslog(target: Target, alert: Alert) -> None:
    raw = syslog.message(severity=alert.severity, at_us=alert.at_us, kind=alert.rule(), fields=alert.fields(), text=alert.title())
    parts = target.address
    address = (parts.hostname or "", parts.port or 0)
    try:
        if parts.scheme == "udp":
            family = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM)[0][0]
            with socket.socket(family, socket.SOCK_DGRAM) as datagram:
                datagram.sendto(raw, address)
            return
        with socket.create_connection(address, timeout=target.timeout_s) as stream:
            if parts.scheme == "tls":
                with ssl.create_default_context().wrap_socket(stream, server_hostname=parts.hostname) as secure:
                    secure.sendall(syslog.framed(raw))
                    with contextlib.suppress(OSError):  # the farewell is ours; many a receiver gives none back
                        secure.unwrap()
            else:
                stream.sendall(syslog.framed(raw))
    except OSError as e:
        raise Undelivered(_why(e)) from e


def _line(path: Path, alert: Alert) -> None:
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "r+b", buffering=0) as stream:
            end = stream.seek(0, os.SEEK_END)
            # A line that a crash tore stays by itself.
            torn = bool(end) and os.pread(stream.fileno(), 1, end - 1) != b"\n"
            raw = (b"\n" if torn else b"") + alert.event() + b"\n"
            if stream.write(raw) != len(raw):
                raise Undelivered(f"{path}: the disk took only part of the line")
            os.fsync(stream.fileno())
    except OSError as e:
        raise Undelivered(_why(e)) from e


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
