"""One pass over the log's entries: state in, findings out. Pure: the same entries and rules give the same findings.

Volumes count when a read ends, by what was handed over; canaries, quotas, refusals and hours count when it begins. An
outcome that is unknown counts as everything, as in an exposure report, but what rests on that alone is said to be low.
Peers are the people of the same project; workloads have workloads for peers.

The state is a plain value: `Watch` keeps it beside how far it has read.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import msgspec

from limen.core.events import VERSION
from limen.ledger.recovery import OPENS_BYTES, needs_outcome
from limen.watch import advised, past
from limen.watch import rules as r
from limen.watch.finding import ENTRIES_NAMED, Finding
from limen.watch.networks import Networks
from limen.watch.past import Cover, Person
from limen.windows import covered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

TENTH: Final = 10
OPEN_KEPT: Final = 65_536
ALL: Final = "*"
NOT_ALLOWED: Final = frozenset({"no-grant", "forbid-barrier"})
OUT_OF_REACH: Final = NOT_ALLOWED | {"notfound", "other-project", "forbid-other-project"}
SUBJECT: Final = ("who", "sponsor", "vendor", "project", "session", "asset")


class Open(msgspec.Struct):
    """A read under way: what its outcome will be held against."""

    subject: dict[str, str]
    version: int
    parts: list[tuple[str, int, int]]


class State(msgspec.Struct):
    """All that a fold remembers but networks. `upto` is the next entry's index."""

    upto: int = 0
    at_us: int = 0  # of the last entry that could be read
    day: int = 0  # today. Only today's figures change: what was before stays what it was
    people: dict[str, dict[str, Person]] = {}  # project -> pseudonym
    versions: dict[str, int] = {}  # asset@number -> bytes
    open: dict[int, Open] = {}
    cannot_say: dict[str, int] = {}  # rule -> how often there was too little past


class Fold:
    """Folds entries into findings. Owned by one thread."""

    def __init__(self, rules: r.Rules, state: State | None = None, networks: Networks | None = None) -> None:
        self.rules = rules
        self.state = state or State()
        self.networks = networks or Networks(rules)
        self._usual_today: dict[tuple[str, bool], int | None] = {}
        self._kinds: dict[str, Callable[[int, dict[str, Any], int], Iterable[Finding]]] = {
            "access.intent": self._intent,
            "access.outcome": self._outcome,
            "access.refusal": self._refusal,
            "asset.version": self._version,
            "grant.add": self._grant,
            "advisory.action": advised.findings,
        }

    def add(self, index: int, raw: bytes, network: str | None = None) -> list[Finding]:
        """What one more entry says; `network` is where its session came from, if that was recorded and can be read."""
        found: list[Finding] = []
        if index > self.state.upto:
            found.append(self._unreadable(range(self.state.upto, index)))
        self.state.upto = index + 1
        try:
            entry = json.loads(raw)
            at_us = int(entry.get("story_at", entry["at"]))
            if entry["v"] != VERSION:
                found.append(self._unreadable((index,)))
                return found
            self._enter(at_us)
            if (of_kind := self._kinds.get(entry["kind"])) is not None:
                found += of_kind(index, entry, at_us)
            if "session" in entry and "who" in entry and "network" in entry.get("commit", ()):
                found += self.networks.seen(index, entry, at_us, network, self._say)
        except (ValueError, KeyError, TypeError):
            found.append(self._unreadable((index,)))
        return [finding for finding in found if finding.rule not in self.rules.mute]

    def recall(self, index: int, raw: bytes, network: str | None) -> None:
        """Note where an access came from that was judged before: networks are not part of the state."""
        entry = json.loads(raw)
        if "session" in entry and "who" in entry and "network" in entry.get("commit", ()):
            at_us = int(entry.get("story_at", entry["at"]))
            for _ in self.networks.seen(index, entry, at_us, network, self._say):
                pass  # it was said when it was new

    def _unreadable(self, indexes: Iterable[int]) -> Finding:
        some = [*indexes]
        return Finding(r.UNREADABLE, r.Severity.HIGH, self.state.at_us, tuple(some[-ENTRIES_NAMED:]), {}, {"entries": len(some)})

    # --- accesses

    def _intent(self, index: int, intent: dict[str, Any], at_us: int) -> Iterable[Finding]:
        person = self._person(intent)
        if intent.get("canary"):
            yield from self._canary(index, intent, at_us, person)
        yield from self._hour(index, intent, at_us, person)
        match intent["action"]:
            case "head" | "list":
                yield from self._look(index, intent, at_us, person)
            case "read" if intent.get("status") in OPENS_BYTES:
                past.note(person.recent_reads, at_us, index, self._burst_us)
                yield from self._read_after_denial(index, intent, at_us, person)
                if needs_outcome(intent):
                    parts = [(shard, start, end) for shard, start, end in covered(intent)]
                    self.state.open[index] = Open(_subject(intent), intent.get("version", 0), parts)
                    if len(self.state.open) > OPEN_KEPT:  # outcomes that were lost; a restart writes them
                        del self.state.open[next(iter(self.state.open))]

    def _outcome(self, index: int, outcome: dict[str, Any], at_us: int) -> Iterable[Finding]:
        read = self.state.open.pop(outcome["of"], None)
        if read is None:
            return
        person = self.state.people[read.subject["project"]][read.subject["who"]]
        person.enter(self.state.day, self.rules)
        certain = outcome.get("end") != "unknown" and "sent" in outcome
        parts = _handed(read.parts, outcome) if certain else read.parts
        handed = int(outcome["sent"]) if certain else sum(end - start for _, start, end in parts)
        if not handed:
            return
        by_day = person.taken if certain else person.unsure
        by_day[person.day] = by_day.get(person.day, 0) + handed
        entries = (outcome["of"], index)
        yield from self._bulk(entries, read.subject, at_us, person)
        yield from self._odd_bulk(entries, read.subject, at_us, person, handed)
        if certain:
            yield from self._whole(entries, read, at_us, person, parts)

    def _refusal(self, index: int, refusal: dict[str, Any], at_us: int) -> Iterable[Finding]:
        person = self._person(refusal)
        asset, rule = refusal.get("asset", ""), refusal["rule"]
        if refusal.get("canary"):
            yield from self._canary(index, refusal, at_us, person)
        if rule == "quota" and person.say_once(person.day, f"{r.QUOTA} {asset}"):
            yield self._say(r.QUOTA, r.Severity.MEDIUM, at_us, (index,), refusal)
        if rule in NOT_ALLOWED and refusal["action"] in {"read", "head"} and asset:
            person.denied[asset] = (at_us, index)
            if sponsor := refusal.get("sponsor"):
                self._named(refusal["project"], sponsor, refusal).denied[asset] = (at_us, index)
        if rule in OUT_OF_REACH and refusal["action"] != "session":
            yield from self._miss(index, refusal, at_us, person)

    # --- what the lab did

    def _version(self, index: int, entry: dict[str, Any], at_us: int) -> Iterable[Finding]:
        del index, at_us
        self.state.versions[f"{entry['asset']}@{entry['number']}"] = entry["length"]
        return ()

    def _grant(self, index: int, entry: dict[str, Any], at_us: int) -> Iterable[Finding]:
        del index
        person = self._named(entry["project"], entry["holder"], {})
        begins = max(at_us, entry["not_before"] * 1_000_000)
        for asset in entry["assets"]:
            person.granted[asset] = max(begins, person.granted.get(asset, 0))
        return ()

    # --- the rules

    def _canary(self, index: int, entry: dict[str, Any], at_us: int, person: Person) -> Iterable[Finding]:
        if person.say_once(person.day, f"{r.CANARY} {entry['asset']} {entry['kind']} {entry['action']}"):
            yield self._say(r.CANARY, r.Severity.HIGH, at_us, (index,), entry)

    def _bulk(self, entries: tuple[int, ...], subject: dict[str, str], at_us: int, person: Person) -> Iterable[Finding]:
        day, rules = person.day, self.rules
        certain, total = person.taken.get(day, 0), person.taken.get(day, 0) + person.unsure.get(day, 0)
        if total <= rules.bulk_floor_bytes:
            return
        own = past.own_most(person.taken, day, rules, active=person.active_days(day))
        if own is not None and total <= own * rules.bulk_factor:
            return
        peers = self._usual(subject, person)
        if own is None and peers is None:
            if person.say_once(day, f"? {r.BULK}"):
                self._cannot_say(r.BULK)
            return
        if peers is not None and total <= peers * rules.bulk_factor:
            return
        bar = rules.bulk_factor * max(own or 0, peers or 0, rules.bulk_floor_bytes // rules.bulk_factor)
        severity = r.Severity.MEDIUM if certain > bar else r.Severity.LOW
        if person.say_once(day, f"{r.BULK} {severity}"):
            figures = {"bytes": total, "uncertain_bytes": total - certain, **_known(own_most=own, peers_usual=peers)}
            yield self._say(r.BULK, severity, at_us, entries, subject, figures=figures, about=_WIDE)

    def _whole(
        self, entries: tuple[int, ...], read: Open, at_us: int, person: Person, parts: list[tuple[str, int, int]]
    ) -> Iterable[Finding]:
        subject, rules, day = read.subject, self.rules, person.day
        asset = subject["asset"]
        version = f"{asset}@{read.version}"
        length = self.state.versions.get(version, 0)
        if length < rules.clone_floor_bytes:
            return
        cover = person.cover.get(version)
        if cover is None or cover.began_us <= at_us - r.DAY_US:
            cover = person.cover[version] = Cover(at_us)
        for shard, start, end in parts:
            cover.add(shard, start, end)
        if cover.bytes * 100 < length * rules.clone_percent:
            return
        before, person.whole[asset] = person.whole.get(asset), day
        if before is not None:
            return
        peers = [p for p in self._peers(subject, person) if p.hours]
        days = sum(p.active_days(day) for p in peers)
        if person.active_days(day) < rules.own_days and days < rules.peer_days:
            self._cannot_say(r.CLONE)
            return
        same = sum(1 for p in peers if asset in p.whole)
        if peers and same * 100 >= len(peers) * rules.clone_peers_percent:
            return
        figures = {"bytes": cover.bytes, "of": length, "shards": len(cover.ranges), "peers": len(peers), "peers_same": same}
        yield self._say(r.CLONE, r.Severity.HIGH, at_us, entries, subject, figures=figures)

    def _miss(self, index: int, refusal: dict[str, Any], at_us: int, person: Person) -> Iterable[Finding]:
        person.misses[person.day] = person.misses.get(person.day, 0) + 1
        if past.note(person.recent_misses, at_us, index, self._burst_us) >= self.rules.misses:
            yield from self._burst("misses", at_us, person, refusal)

    def _look(self, index: int, intent: dict[str, Any], at_us: int, person: Person) -> Iterable[Finding]:
        person.looks[person.day] = person.looks.get(person.day, 0) + 1
        count = past.note(person.recent_looks, at_us, index, self._burst_us)
        if count >= self.rules.looks:
            reads = sum(1 for _ in past.within(person.recent_reads, at_us, self._burst_us))
            if reads * TENTH < count:
                yield from self._burst("looks", at_us, person, intent)

    def _burst(self, of: str, at_us: int, person: Person, entry: dict[str, Any]) -> Iterable[Finding]:
        """Many within a short time is a finding where it is not what they do on other days."""
        by_day, recent = (person.misses, person.recent_misses) if of == "misses" else (person.looks, person.recent_looks)
        own = past.own_most(by_day, person.day, self.rules, active=person.active_days(person.day))
        if own is not None and len(recent) <= own:
            return
        if person.say_once(person.day, f"{r.ENUMERATION} {of}"):
            entries = tuple(index for _, index in recent)[-ENTRIES_NAMED:]
            figures = {of: len(recent), "seconds": self.rules.burst_s, **_known(own_most=own)}
            yield self._say(r.ENUMERATION, r.Severity.MEDIUM, at_us, entries, entry, figures=figures, about=_WIDE)

    def _read_after_denial(self, index: int, intent: dict[str, Any], at_us: int, person: Person) -> Iterable[Finding]:
        asset = intent["asset"]
        denied = [person.denied[asset]] if asset in person.denied else []
        sponsor = self._named(intent["project"], intent["sponsor"], intent) if "sponsor" in intent else None
        if sponsor is not None and asset in sponsor.denied:
            denied.append(sponsor.denied[asset])
        for refused_us, refusal in sorted(denied):
            granted = max(person.granted.get(asset, 0), person.granted.get(ALL, 0))
            if at_us - refused_us > self.rules.denied_s * 1_000_000 or granted >= refused_us:
                continue
            if person.say_once(person.day, f"{r.DENIED} {asset}"):
                yield self._say(r.DENIED, r.Severity.HIGH, at_us, (refusal, index), intent)

    def _hour(self, index: int, intent: dict[str, Any], at_us: int, person: Person) -> Iterable[Finding]:
        day, bit = person.day, past.hour_bit(at_us)
        today = person.hours.get(day, 0)
        if today >> bit & 1:
            return
        person.hours[day] = today | 1 << bit
        if self._usual_hour(person, intent, day, past.around(bit, self.rules.hours_around)):
            return
        if person.odd_entry < 0:
            person.odd_entry = index
        if person.say_once(day, r.HOURS):
            yield self._say(r.HOURS, r.Severity.LOW, at_us, (index,), intent)

    def _usual_hour(self, person: Person, intent: dict[str, Any], day: int, usual: int) -> bool:
        """Whether they, or two of their peers, were there at such an hour before. Where nobody can say, it counts as usual."""
        if past.union(mask for d, mask in person.hours.items() if d < day) & usual:
            return True
        if not person.is_settled(day, self.rules):
            if person.say_once(day, f"? {r.HOURS}"):
                self._cannot_say(r.HOURS)
            return True
        others = 0
        for peer in self._peers(intent, person):
            others += bool(past.union(mask for d, mask in peer.hours.items() if d < day) & usual)
            if others > 1:
                return True
        return False

    def _odd_bulk(
        self, entries: tuple[int, ...], subject: dict[str, str], at_us: int, person: Person, handed: int
    ) -> Iterable[Finding]:
        """At hours that are not usual, more than on any whole day before."""
        if person.odd_entry < 0:
            return
        person.odd_bytes += handed
        own = past.own_most(person.taken, person.day, self.rules, active=person.active_days(person.day))
        if own is None or person.odd_bytes <= max(own, self.rules.bulk_floor_bytes):
            return
        if person.say_once(person.day, f"{r.HOURS} +"):
            figures = {"bytes": person.odd_bytes, "own_most": own}
            yield self._say(
                r.HOURS, r.Severity.MEDIUM, at_us, (person.odd_entry, *entries), subject, figures=figures, about=_WIDE
            )

    # --- people

    def _enter(self, at_us: int) -> None:
        """The clock may step back a little over midnight: that begins no day again. By more than a day, it was wrong before."""
        self.state.at_us, day = at_us, at_us // r.DAY_US
        if not self.state.day - 1 <= day <= self.state.day:
            self.state.day = day
            self._usual_today.clear()

    def _person(self, entry: dict[str, Any]) -> Person:
        person = self._named(entry["project"], entry["who"], entry)
        person.enter(self.state.day, self.rules)
        return person

    def _named(self, project: str, who: str, entry: dict[str, Any]) -> Person:
        people = self.state.people.setdefault(project, {})
        person = people.get(who)
        if person is None:
            person = people[who] = Person()
        if entry.get("who") == who:
            person.vendor, person.workload = entry.get("vendor", ""), "sponsor" in entry
        return person

    def _usual(self, subject: dict[str, str], person: Person) -> int | None:
        """What people of this project, or its programs, usually take in a day; reckoned once a day."""
        which = subject["project"], person.workload
        if which not in self._usual_today:
            everybody = (p.taken for p in self.state.people[which[0]].values() if p.workload == person.workload)
            self._usual_today[which] = past.usual(everybody, self.state.day, self.rules)
        return self._usual_today[which]

    def _peers(self, subject: dict[str, Any], person: Person) -> Iterable[Person]:
        people = self.state.people[subject["project"]].values()
        return (p for p in people if p is not person and p.workload == person.workload)

    def _cannot_say(self, rule: str) -> None:
        self.state.cannot_say[rule] = self.state.cannot_say.get(rule, 0) + 1

    def _say(
        self,
        rule: str,
        severity: r.Severity,
        at_us: int,
        entries: tuple[int, ...],
        entry: dict[str, Any],
        *,
        figures: dict[str, int] | None = None,
        about: tuple[str, ...] = SUBJECT,
    ) -> Finding:
        subject = {name: str(entry[name]) for name in about if entry.get(name)}
        return Finding(rule, severity, at_us, tuple(sorted(set(entries))), subject, figures or {})

    @property
    def _burst_us(self) -> int:
        return self.rules.burst_s * 1_000_000


_WIDE: Final = tuple(name for name in SUBJECT if name not in {"asset", "session"})  # about a day, not about one access


def _subject(entry: dict[str, Any]) -> dict[str, str]:
    return {name: entry[name] for name in SUBJECT if entry.get(name)}


def _known(**figures: int | None) -> dict[str, int]:
    return {name: figure for name, figure in figures.items() if figure is not None}


def _handed(parts: list[tuple[str, int, int]], outcome: dict[str, Any]) -> list[tuple[str, int, int]]:
    """The byte ranges that an outcome says were handed over."""
    if "handed" in outcome:
        return [(parts[place][0], start, end) for place, start, end, *_ in outcome["handed"]]
    sent = int(outcome["sent"])
    return [(shard, start, min(end, start + sent)) for shard, start, end in parts]
