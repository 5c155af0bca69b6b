"""Reads the log of a Vault or OpenBao audit device (JSON entries, schema of Vault 1.19 and OpenBao 2; one a line).

A request and its response are one observation. What the device hashed (`hmac-sha256:...`) stays as it is; what it did not
hash and could be a secret is not kept. Values are never kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from limen.observe.moments import rfc3339
from limen.observe.pieces import without_bom
from limen.observe.reader import read_lines
from limen.observe.rows import OddError, id_of, network_of

if TYPE_CHECKING:
    from limen.observe.inputs import Feed
    from limen.observe.reader import Taken
    from limen.observe.report import Report
    from limen.observe.rows import Rows

_ACTIONS: Final = {"read": "read", "list": "list", "create": "write", "update": "write", "patch": "write", "delete": "delete"}
_SYSTEM: Final = ("sys/", "auth/", "identity/")
_HASHED: Final = "hmac-sha256:"
WAITING: Final = 20_000  # requests whose response has not come yet
LARGE: Final = 16_384  # bytes of an entry that is not held: its pair is told apart by id only


class _Auth(msgspec.Struct, gc=False):
    entity_id: str | None = None
    display_name: str | None = None
    accessor: str | None = None


class _Namespace(msgspec.Struct, gc=False):
    path: str | None = None


class _Request(msgspec.Struct, gc=False):
    id: str
    operation: str
    path: str = ""
    remote_address: str | None = None
    namespace: _Namespace | None = None


class _Response(msgspec.Struct, gc=False):
    auth: _Auth | None = None


class _Entry(msgspec.Struct, gc=False):
    time: str
    type: str
    request: _Request
    auth: _Auth | None = None
    response: _Response | None = None
    error: str | None = None


_entry = msgspec.json.Decoder(_Entry).decode


class Vault:
    """Reads Vault's and OpenBao's audit logs."""

    kind = "vault"
    fields = (
        "time",
        "type",
        "request.id (hashed)",
        "request.operation (as action and detail)",
        "request.path, request.namespace.path",
        "request.remote_address (its /24 or /48 network)",
        "auth.entity_id, auth.display_name",
        "auth.accessor, if the device hashed it",
        "error (as outcome)",
    )
    gap_s = 3600
    basis = "gap"

    def ends_us(self, name: str) -> None:
        """Names say nothing of it."""
        del name

    def read(self, feed: Feed, rows: Rows, report: Report) -> None:
        """Read one log; requests whose response is not in it count as answered."""
        pairs = _Pairs()
        read_lines(without_bom(feed.chunks()), pairs.take, feed=feed, rows=rows, report=report)
        rows.extend(pairs.waiting.values())


class _Pairs:
    """Joins requests and responses; holds a bounded number of requests."""

    def __init__(self) -> None:
        self.waiting: dict[bytes, tuple[Any, ...]] = {}

    def take(self, raw: bytes) -> Taken:
        entry = _entry(raw)
        at_us = rfc3339(entry.time)
        row = _row(entry, at_us)
        if isinstance(row, str):
            return at_us, [], row
        if entry.type == "request" and len(raw) <= LARGE:
            self.waiting[row[0]] = row
            if len(self.waiting) <= WAITING:
                return at_us, [], ""
            return at_us, [self.waiting.pop(next(iter(self.waiting)))], ""
        asked = self.waiting.pop(row[0], None)
        return at_us, [row if asked is None else (row[0], asked[1], *row[2:])], ""


def _row(entry: _Entry, at_us: int) -> tuple[Any, ...] | str:
    """What an entry says was done; or what it is, if that is nobody's access."""
    if entry.type not in ("request", "response"):
        raise OddError("is neither a request nor a response")
    asked = entry.request
    path, operation = asked.path, asked.operation
    action = _ACTIONS.get(operation)
    if action is None:
        return "Vault's own operations"
    detail = ""
    if path.startswith(_SYSTEM):
        if action in ("read", "list"):
            return "reads of Vault's settings"
        action, detail = "admin", f"vault.{operation}"
    auth = entry.auth or _Auth()
    opened = entry.response.auth if entry.response else None
    if opened is not None and not (auth.entity_id or auth.display_name):
        auth = opened  # a login: who they are is in the answer
    space = asked.namespace.path if asked.namespace and asked.namespace.path else ""
    resource = f"vault:{space}{path}"
    principal = (
        f"vault:entity/{auth.entity_id}"
        if auth.entity_id
        else f"vault:token/{auth.display_name}"
        if auth.display_name
        else "vault:unknown"
    )
    accessor = auth.accessor or ""
    return (
        id_of(asked.id, operation, resource),  # without a time or a principal: of a pair, only the response may know them
        at_us,
        principal,
        "",
        accessor if accessor.startswith(_HASHED) else "",
        action,
        resource,
        None,
        "ok" if not entry.error else "denied" if "permission denied" in entry.error else "failed",
        network_of(asked.remote_address or ""),
        detail,
    )
