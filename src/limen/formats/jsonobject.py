"""JSON (RFC 8259) of others that has to be one object: bounded, and a clear refusal for anything else."""

from __future__ import annotations

import json
from typing import Any

from limen.core.errors import Invalid


def read(raw: bytes, where: str, *, limit: int) -> dict[str, Any]:
    """The object. Invalid(where, …) if the bytes are more than `limit`, no JSON, or JSON of another kind."""
    if len(raw) > limit:
        raise Invalid(where, f"has {len(raw)} bytes, more than {limit}")
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as e:
        raise Invalid(where, f"is not JSON: {str(e)[:100]}") from e
    if not isinstance(value, dict):
        raise Invalid(where, "is not a JSON object")
    return value
