"""What was served, counted again from the clients' side alone: nothing of limen's log or marks is used.

Every client in the story notes what it asked and the bytes that it got. A record was served if a whole line of it
arrived; a range that begins or ends inside a line leaves a fragment, which must fit exactly one more record.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


class Wrong(Exception):
    """limen's answer is not the one that the story expects."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request as its client saw it: bytes from `start` on, as far as they came."""

    person: str
    session: str
    at_us: int
    key: str
    start: int
    got: bytes = field(repr=False)
    cut: bool = False  # the transfer was aborted: more was handed over than arrived


@dataclass(slots=True)
class Counted:
    """Records that a set of requests holds whole, and the fragments at their edges."""

    whole: set[int] = field(default_factory=set)
    heads: list[bytes] = field(default_factory=list)  # a line's beginning: its rest was never served
    tails: list[bytes] = field(default_factory=list)

    def check(self, what: str, said: set[int], lines: list[bytes]) -> None:
        """Compare with what limen says; Wrong if they differ by even one record."""
        missing, extra = self.whole - said, said - self.whole
        if missing:
            raise Wrong(f"{what}: limen leaves out {len(missing)} records that a client holds, such as {min(missing)}")
        for record in extra:
            if not any(lines[record].startswith(h) for h in self.heads) and not any(
                lines[record].endswith(t) for t in self.tails
            ):
                raise Wrong(f"{what}: limen counts record {record}, and no client got any of it")
        fragments = len(self.heads) + len(self.tails)
        if len(extra) > fragments:
            raise Wrong(f"{what}: limen counts {len(extra)} records beyond the whole ones; clients hold {fragments} fragments")
        for head in self.heads:
            if not any(lines[record].startswith(head) for record in said):
                raise Wrong(f"{what}: a client holds the beginning of a record that limen does not count")


def count(requests: Iterable[Request], lines: list[bytes]) -> Counted:
    """What one person's requests of one shard hold. Ranges that touch are joined before they are cut into lines."""
    place = {line: number for number, line in enumerate(lines)}
    counted = Counted()
    for start, got in _joined(requests):
        pieces = [piece.strip() for piece in got.split(b"\n")]
        last = len(pieces) - 1
        for number, piece in enumerate(pieces):
            if piece in place:
                counted.whole.add(place[piece])
            elif piece and number == last:
                counted.heads.append(piece)
            elif piece and number == 0 and start:
                counted.tails.append(piece)
            elif piece:
                raise Wrong(f"a client got a line that the lab never registered: {piece[:60]!r}")
    return counted


def _joined(requests: Iterable[Request]) -> list[tuple[int, bytes]]:
    joined: list[tuple[int, bytes]] = []
    for request in sorted(requests, key=lambda r: (r.start, -len(r.got))):
        if not request.got:
            continue
        if joined and request.start <= joined[-1][0] + len(joined[-1][1]):
            start, so_far = joined[-1]
            overlap = start + len(so_far) - request.start
            shared = min(overlap, len(request.got))
            if so_far[request.start - start : request.start - start + shared] != request.got[:shared]:
                raise Wrong(f"{request.person} got different bytes for the same range of {request.key}")
            joined[-1] = (start, so_far + request.got[overlap:])
        else:
            joined.append((request.start, request.got))
    return joined


def compare(report: dict[str, Any], raw: list[Request], lines: dict[str, list[bytes]], *, since_us: int, session: str) -> int:
    """Compare a vendor's exposure report with the raw requests, record by record; returns how many records agreed.

    `lines`: the registered lines of each key, canaries last. Wrong names the first difference.
    """
    agreed = 0
    for key, source in lines.items():
        asset, _, shard = key.partition("/")
        line = next((a for a in report["assets"] if a["asset"] == asset), None)
        mine = [r for r in raw if r.key == key]
        if line is None:
            if any(r.got for r in mine):
                raise Wrong(f"{asset} was served, and the report does not name it")
            continue
        tiers = {
            "served_ever": mine,
            "served_since": [r for r in mine if r.at_us >= since_us],
            "by_session": [r for r in mine if r.session == session],
        }
        for tier, some in tiers.items():
            said = {int(name.rpartition("#")[2]) for name in line[tier]["records"]}
            if len(said) != line[tier]["count"] or not all(name.startswith(f"{shard}@1#") for name in line[tier]["records"]):
                raise Wrong(f"{asset}, {tier}: the count and the record ids do not fit")
            total = Counted()
            for requests in _by_person(some).values():
                counted = count(requests, source)
                total.whole |= counted.whole
                total.heads += counted.heads
                total.tails += counted.tails
            total.check(f"{asset}, {tier}", said, source)
            agreed += len(said)
        _check_people(line, mine)
    return agreed


def _check_people(line: dict[str, Any], mine: list[Request]) -> None:
    """Each person's bytes and sessions, to the byte."""
    by_person = _by_person(mine)
    said = {p["person"]: (p["bytes"], set(p["sessions"])) for p in line["people"] if p["bytes"]}
    held = {p: (sum(len(r.got) for r in rs), {r.session for r in rs if r.got}) for p, rs in by_person.items()}
    held = {p: value for p, value in held.items() if value[0]}
    for person in sorted(said.keys() | held.keys()):
        if any(r.cut for r in by_person.get(person, ())):
            if said.get(person, (0, set()))[0] < held.get(person, (0, set()))[0]:
                raise Wrong(f"{line['asset']}: limen says less than {person} holds")
        elif said.get(person) != held.get(person):
            limen, client = said.get(person, (0, set())), held.get(person, (0, set()))
            raise Wrong(f"{line['asset']}, {person}: limen says {limen[0]} bytes, its client holds {client[0]}; or sessions")


def _by_person(requests: Iterable[Request]) -> dict[str, list[Request]]:
    found: dict[str, list[Request]] = defaultdict(list)
    for request in requests:
        found[request.person].append(request)
    return found
