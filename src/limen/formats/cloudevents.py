"""CloudEvents 1.0.2, JSON event format in structured mode: what a webhook carries and a file of events has a line of.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md. Extension attributes are lower-case
letters and digits. Pure.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTENT_TYPE: Final = "application/cloudevents+json; charset=utf-8"
SPEC_VERSION: Final = "1.0"


def structured(
    *, id_: str, source: str, type_: str, at_us: int, data: Mapping[str, Any], extensions: Mapping[str, int | bool | str]
) -> bytes:
    """One event, as one line of JSON without a line break at its end."""
    event = {
        "specversion": SPEC_VERSION,
        "id": id_,
        "source": source,
        "type": type_,
        "time": rfc3339(at_us),
        "datacontenttype": "application/json",
        **extensions,
        "data": data,
    }
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()


def rfc3339(at_us: int) -> str:
    """Microseconds since 1970 as RFC 3339 text in UTC."""
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{at_us % 1_000_000:06}Z"
