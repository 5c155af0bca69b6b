"""RFC 5424 syslog messages, and how RFC 6587 frames them on a stream (octet counting, as RFC 5425 does over TLS). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from limen.formats.cloudevents import rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping

FACILITY: Final = 13  # log audit
SEVERITIES: Final = {1: 6, 2: 5, 3: 4, 4: 2, 5: 1}  # OCSF's number -> syslog's
NIL: Final = "-"
# 32473 is the enterprise number that RFC 5612 gives to whoever has none of their own.
SD_ID: Final = "limen@32473"
BOM: Final = b"\xef\xbb\xbf"


def message(*, severity: int, at_us: int, kind: str, fields: Mapping[str, str], text: str) -> bytes:
    """One message: its structured data holds the fields, its text is UTF-8. No host name is told."""
    params = "".join(f' {name}="{_escaped(value)}"' for name, value in fields.items())
    priority = FACILITY * 8 + SEVERITIES[severity]
    return f"<{priority}>1 {rfc3339(at_us)} {NIL} limen {NIL} {kind} [{SD_ID}{params}] ".encode() + BOM + text.encode()


def framed(raw: bytes) -> bytes:
    """A message on a stream: its length in octets comes first."""
    return b"%d %s" % (len(raw), raw)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")
