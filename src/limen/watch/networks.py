"""Which networks somebody was seen in lately: for the two rules about where a session comes from. Kept in memory alone.

A network is the first 24 bits of an IPv4 address, 48 of an IPv6 one. Addresses stand in sealed records, which are dropped
after `ledger.network_days` and destroyed when somebody is erased; nothing made from them may outlast that, so none of it
is written down, neither in clear nor as a digest, and no finding says which network it was. After a start it is read from the
records that are left. Where one is gone, a network that only it knew is new again, and a replay can't say: `blind`.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from limen.watch import rules as r

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from limen.watch.finding import Finding

IPV4_BITS: Final = 24
IPV6_BITS: Final = 48
SESSIONS_KEPT: Final = 65_536


@dataclass(slots=True)
class _Session:
    """How one session moved lately: its networks with the moment and entry of each change."""

    moves: list[tuple[int, int, str]] = field(default_factory=list)
    new: str = ""

    def move(self, at_us: int, index: int, network: str, rules: r.Rules) -> None:
        """A session's networks are recorded when they change, so each entry after the first is a change."""
        self.moves = [move for move in self.moves if at_us - move[0] < rules.split_s * 1_000_000]
        self.moves.append((at_us, index, network))

    def is_split(self, rules: r.Rules) -> bool:
        """To and fro within minutes, with a new network at one end: two machines use one session."""
        places = {place for _, _, place in self.moves}
        return self.new in places and len(places) > 1 and len(self.moves) > rules.split_switches


@dataclass(slots=True)
class Networks:
    """What was seen where, as days by network; and when detail was missing last."""

    rules: r.Rules
    people: dict[tuple[str, str], dict[str, int]] = field(default_factory=dict)  # (project, who) -> network -> newest day
    days: dict[tuple[str, str], set[int]] = field(default_factory=dict)
    vendors: dict[str, dict[str, int]] = field(default_factory=dict)
    blind: dict[str, int] = field(default_factory=dict)  # vendor -> day
    cannot_say: int = 0
    _sessions: dict[str, _Session] = field(default_factory=dict)

    def seen(
        self, index: int, entry: dict[str, Any], at_us: int, network: str | None, say: Callable[..., Finding]
    ) -> Iterable[Finding]:
        """Note where a session's access came from; a finding if that is new, or if the session is in two places."""
        who, vendor, day = (entry["project"], entry["who"]), entry.get("vendor", ""), at_us // r.DAY_US
        if network is None:
            self.blind[vendor] = max(day, self.blind.get(vendor, 0))
            return
        mine, days = self.people.setdefault(who, {}), self.days.setdefault(who, set())
        theirs = self.vendors.setdefault(vendor, {})
        oldest = day - self.rules.past_days
        known = mine.get(network, -1) >= oldest or theirs.get(network, -1) >= oldest
        enough = len([d for d in days if oldest <= d < day]) >= self.rules.network_days
        session = self._sessions.setdefault(entry["session"], _Session())
        if len(self._sessions) > SESSIONS_KEPT:
            del self._sessions[next(iter(self._sessions))]
        if not known:
            if not enough:
                self.cannot_say += 1
            elif not session.new:
                session.new = network
                yield say(r.NETWORK, r.Severity.LOW, at_us, (index,), entry)
        mine[network] = max(day, mine.get(network, -1))
        theirs[network] = max(day, theirs.get(network, -1))
        days.add(day)
        session.move(at_us, index, network, self.rules)
        if session.is_split(self.rules):
            entries, session.new = tuple(move[1] for move in session.moves), ""
            yield say(r.SPLIT, r.Severity.HIGH, at_us, entries, entry, figures={"switches": len(entries) - 1})
        self._prune(who, vendor, oldest)

    def _prune(self, who: tuple[str, str], vendor: str, oldest: int) -> None:
        for by_network in (self.people[who], self.vendors[vendor]):
            for network in [n for n, day in by_network.items() if day < oldest]:
                del by_network[network]
        self.days[who] = {day for day in self.days[who] if day >= oldest}

    def forget(self) -> None:
        """Drop all of it: somebody was erased, and whose is whose is not known here. Then read anew what is left."""
        for kept in (self.people, self.days, self.vendors, self.blind, self._sessions):
            kept.clear()


def network_of(address: str) -> str:
    """The network that an address is in; the text itself if it is no address (a socket's path, a test's name)."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    bits = IPV4_BITS if found.version == 4 else IPV6_BITS  # noqa: PLR2004  the protocol's own number
    return str(ipaddress.ip_network((found, bits), strict=False))
