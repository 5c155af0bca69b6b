"""One observation is one row; this is what a row holds, and how rows are gathered into Arrow batches.

docs/formats/observations.md gives the grammar of each column. A row never holds a secret: a credential is an access key's
id or a token's fingerprint, an address is cut to its network, and whatever else a record tells is left behind.
"""

from __future__ import annotations

import ipaddress
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pyarrow as pa

from limen.observe.places import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable

ID_BYTES: Final = 16
US: Final = 1_000_000
DAY_US: Final = 86_400 * US
WEIGHT: Final = 128 << 20  # bytes of input whose rows are held at most

ACTIONS: Final = ("read", "head", "list", "write", "delete", "clone", "fetch", "push", "download", "admin")
OUTCOMES: Final = ("ok", "denied", "failed")

_ARROW: Final = {"VARCHAR": pa.string(), "BLOB": pa.binary(ID_BYTES), "BIGINT": pa.int64()}
SCHEMA: Final = pa.schema([pa.field(name, _ARROW[kind], nullable=name == "bytes") for name, kind in COLUMNS.items()])
_TOLD: Final = SCHEMA.names[2:]  # what differs from row to row


class OddError(ValueError):
    """Something that is no event of its kind; the message says why, and repeats nothing of it."""


class Row(NamedTuple):
    """One observation, but for its source and kind, which are the import's."""

    id: bytes
    at_us: int
    principal: str
    session: str
    credential: str
    action: str
    resource: str
    bytes: int | None
    outcome: str
    network: str
    detail: str


def id_of(event: str, *said: object) -> bytes:
    """What makes two rows of a source the same: the event's own id, and what it says happened.

    The content is hashed with it so that an id that was used twice can't hide the second event.
    """
    text = "\0".join((event, *map(str, said)))  # at_us, principal, session, action, resource
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=ID_BYTES).digest()


class Rows:
    """Gathers rows, and the times of all events, kept or not: those tell when the log was alive.

    `full` is called with a batch of about `most` rows, or sooner if they were read from much. Owned by one thread.
    """

    def __init__(self, source: str, kind: str, full: Callable[[pa.RecordBatch], None], *, most: int = 65_536) -> None:
        self._constant = (source, kind)
        self._full = full
        self._most = most
        self._rows: list[tuple[Any, ...]] = []
        self._read = 0
        self.extend = self._rows.extend  # by Rows, or tuples of their form

    def settle(self, read: int) -> None:
        """Hand on what was gathered, if it is enough; to be called between two pieces of input, with how long one was."""
        self._read += read
        if len(self._rows) >= self._most or self._read >= WEIGHT:
            self.flush()

    def flush(self) -> None:
        """Hand on what was gathered."""
        self._read = 0
        if not self._rows:
            return
        count = len(self._rows)
        constant = [pa.repeat(value, count) for value in self._constant]
        told = [
            pa.array(column, SCHEMA.field(name).type) for name, column in zip(_TOLD, zip(*self._rows, strict=True), strict=True)
        ]
        self._rows.clear()
        self._full(pa.RecordBatch.from_arrays([*constant, *told], schema=SCHEMA))


def size_of(value: float | None) -> int | None:
    """A count of bytes. OddError for one that can't be."""
    if value is None:
        return None
    if not 0 <= value < 2**63:
        raise OddError("tells a size that cannot be")
    return int(value)


NETWORKS: Final[dict[str, str]] = {}  # address -> network, for the readers that look here first


def network_of(address: str) -> str:
    """The network an address is in: /24 of IPv4, /48 of IPv6. What is no address (a service's name, `-`) is none."""
    known = NETWORKS.get(address)
    if known is not None:
        return known
    if len(NETWORKS) > 100_000:  # noqa: PLR2004  bounds memory; it fills again
        NETWORKS.clear()
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        found = ""
    else:
        mapped = parsed.ipv4_mapped if parsed.version == 6 else None  # noqa: PLR2004  the protocol's own number
        parsed = mapped or parsed
        found = str(ipaddress.ip_network(f"{parsed}/{24 if parsed.version == 4 else 48}", strict=False))  # noqa: PLR2004
    if len(address) <= 64:  # noqa: PLR2004  the longest address, and more
        NETWORKS[address] = found
    return found
