"""What is worth an alert, as plain values: one name and one severity for each rule, and thresholds that a lab may set.

Every threshold is a whole number, so that the same log always gives the same findings. What is compared with somebody's
past is never compared with less past than is named here: then the answer is *cannot say*, and it is counted.
"""

from __future__ import annotations

import hashlib
from enum import IntEnum
from typing import Annotated, Final

import msgspec

from limen.core.events import canonical

DAY_S: Final = 86_400
DAY_US: Final = DAY_S * 1_000_000
VERSION: Final = 1  # of the rules' meaning; it changes when the same thresholds would find something else

Count = Annotated[int, msgspec.Meta(ge=1, le=2**40)]


class Severity(IntEnum):
    """How much it matters, by the numbers of OCSF. An alert goes out from the target's `least` on."""

    LOW = 2
    MEDIUM = 3
    HIGH = 4


CANARY: Final = "canary-read"
QUOTA: Final = "export-over-quota"
CLONE: Final = "full-clone"
BULK: Final = "bulk-read"
ENUMERATION: Final = "enumeration"
DENIED: Final = "denied-then-read"
NETWORK: Final = "new-network"
SPLIT: Final = "session-in-two-networks"
HOURS: Final = "off-hours"
UNREADABLE: Final = "unreadable-entry"
MALICIOUS: Final = "malicious-component"
WAITS: Final = "consequence-waits"

TITLES: Final[dict[str, str]] = {
    CANARY: "a canary asset was reached for",
    QUOTA: "an export was refused: over the day's quota",
    CLONE: "an asset was read whole by somebody who never did so before",
    BULK: "far more was read in a day than ever before, by them or by their peers",
    ENUMERATION: "many things were asked for that are not there, or looked at and not read",
    DENIED: "an asset was read soon after it was refused to the same person, and nobody granted it in between",
    NETWORK: "a session came from a network that nobody of that vendor has used lately",
    SPLIT: "one session is used from two networks at once, one of them new",
    HOURS: "an access at an hour at which neither they nor their peers work",
    MALICIOUS: "a vendor's bill of material lists a component that an advisory names as malicious",
    WAITS: "what follows from a malicious component was not done by itself: it waits for people to approve it",
    UNREADABLE: "an entry is missing from the log or can't be read: what it says is not known",
}


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The thresholds, `[watch]` in limen.toml. docs/alerts.md says what each one means."""

    mute: tuple[str, ...] = ()  # rules that find nothing
    past_days: Annotated[int, msgspec.Meta(ge=7, le=366)] = 28  # how far back anything is compared
    own_days: Count = 5  # active days that make somebody's own past
    peer_days: Count = 20  # active days, of all peers together, that make theirs
    bulk_floor_bytes: Count = 1 << 20
    bulk_factor: Count = 4
    clone_floor_bytes: Count = 1 << 20
    clone_percent: Annotated[int, msgspec.Meta(ge=50, le=100)] = 95
    clone_peers_percent: Annotated[int, msgspec.Meta(ge=1, le=100)] = 25  # so many peers did the same: it is ordinary
    burst_s: Count = 600
    misses: Count = 20  # in `burst_s`
    looks: Count = 200  # in `burst_s`, with fewer reads than a tenth of it
    denied_s: Count = DAY_S
    hours_around: Annotated[int, msgspec.Meta(ge=0, le=11)] = 2  # an hour next to a usual one is usual
    network_days: Count = 3  # days on which networks were seen, before one can be new
    observed_reads: Count = 1000  # in other systems' logs, a day: where they don't tell bytes
    observed_misses: Count = 100
    observed_looks: Count = 1000
    observed_clones: Count = 3  # repositories that somebody cloned for the first time
    observed_days: Count = 7  # what happened longer before its import is kept, and not sent
    split_s: Count = 600
    split_switches: Annotated[int, msgspec.Meta(ge=2, le=100)] = 3

    def digest(self) -> str:
        """Names these thresholds, so that findings of other ones are told apart."""
        return hashlib.sha256(canonical({"version": VERSION, **msgspec.to_builtins(self)})).hexdigest()[:16]
