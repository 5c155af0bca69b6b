"""The built-in sensitivity tiers: floors that configuration and `tier.set` may tighten and never lower.

A tier of any other name is held to the floor of `open`, the least of them.
"""

from __future__ import annotations

from typing import Final

from limen.core.errors import Denied, Invalid
from limen.core.types import Tier

HOUR: Final = 3_600
MIB: Final = 1 << 20
GIB: Final = 1 << 30
SHORTEST_SESSION_S: Final = 900  # AssumeRoleWithWebIdentity issues no shorter one

BUILT_IN: Final[dict[str, Tier]] = {
    tier.name: tier
    for tier in (
        Tier("open", frozenset({"owner", "data", "security"}), 12 * HOUR, False, None, 256 * MIB, 30),
        Tier("internal", frozenset({"owner", "security"}), 8 * HOUR, False, 1024 * GIB, 64 * MIB, 10),
        Tier("confidential", frozenset({"owner", "security"}), HOUR, False, 64 * GIB, 16 * MIB, 5),
        Tier("restricted", frozenset({"security"}), HOUR, True, 8 * GIB, 0, 0),
    )
}


def floor_of(name: str) -> Tier:
    """What a tier of this name may not fall below."""
    return BUILT_IN.get(name, BUILT_IN["open"])


def check_floor(tier: Tier) -> None:
    """Refuse a tier that asks for less than its floor does. Each message names the one control that is too low."""
    floor = floor_of(tier.name)
    if not tier.granted_by:
        raise Invalid("granted_by", "names no role: nobody could sign a grant")
    if extra := sorted(tier.granted_by - floor.granted_by):
        _below("granted_by", f"lets {', '.join(extra)} sign; {_floor(floor)} is {', '.join(sorted(floor.granted_by))}")
    if tier.session_s < SHORTEST_SESSION_S:
        raise Invalid("session_s", f"is below {SHORTEST_SESSION_S}, the shortest session that can be issued")
    if tier.session_s > floor.session_s:
        _below("session_s", f"{tier.session_s} is longer than {_floor(floor)} of {floor.session_s}")
    if floor.hardware_key and not tier.hardware_key:
        _below("hardware_key", f"false is less than {_floor(floor)}, which needs one")
    if tier.export_bytes_day is not None and tier.export_bytes_day < 0:
        raise Invalid("export_bytes_day", "is negative")
    if floor.export_bytes_day is not None and (tier.export_bytes_day is None or tier.export_bytes_day > floor.export_bytes_day):
        given = "no limit" if tier.export_bytes_day is None else str(tier.export_bytes_day)
        _below("export_bytes_day", f"{given} is more than {_floor(floor)} of {floor.export_bytes_day}")
    for field, given_, most in (
        ("window_bytes", tier.window_bytes, floor.window_bytes),
        ("window_s", tier.window_s, floor.window_s),
    ):
        if given_ > most:
            _below(field, f"{given_} is more than {_floor(floor)} of {most}")


def _floor(floor: Tier) -> str:
    return f"the floor of tier {floor.name}"


def _below(field: str, why: str) -> None:
    raise Denied(f"{field}: {why}; a tier can only be tightened", rule="tier-floor")
