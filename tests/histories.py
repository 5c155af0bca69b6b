"""Invented histories of a lab's log: ordinary work of weeks, and events that are planted in it.

`Benign` tells what ordinary people do: a weekly rhythm with holidays and vacations, people who join and leave, work at home
and elsewhere, networks that change, a late evening now and then, days and weeks of much more work, mistyped names, programs
that train at night and read whole sets. `plant` adds one event of each rule, and says where. Entries are written by limen's own
encoder; nothing else of limen is used. The same seed gives the same history.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field
from typing import Any

from limen.core.events import encode

DAY_S = 86_400
MONDAY = 1_767_571_200  # 2026-01-05
MIB = 1 << 20
SALT = bytes(16)


@dataclass
class Worker:
    """Somebody who works: their hours, places and how much they read a day."""

    who: str
    vendor: str
    project: str
    begins: int  # hour, UTC
    home: str
    office: str
    typical: int  # bytes a day
    joined: int
    left: int
    away: set[int]
    at_home: float
    workload: str = ""  # the sponsor's pseudonym, if it is a program


@dataclass
class Planted:
    """What was planted: the rule that has to find it, whose it is, and when."""

    rule: str
    who: str
    at_s: int


@dataclass
class History:
    """Events by time, written as entries at the end. An event is a list of (kind, fields, network or None)."""

    seed: int
    people: int = 40
    days: int = 60
    projects: tuple[str, ...] = ("orchid", "helio")
    shards: int = 60
    shard_bytes: int = 2 * MIB
    planted: list[Planted] = field(default_factory=list)

    def __post_init__(self):
        self.draw = random.Random(self.seed)
        self.holidays = set(self.draw.sample(range(self.days), self.days // 30))
        self.workers = [self._worker(n) for n in range(self.people)]
        self._queue: list[tuple[int, int, list[tuple[str, dict[str, Any], str | None]]]] = []
        self._count = 0
        self._sessions = 0

    # --- people

    def _worker(self, n: int) -> Worker:
        draw = self.draw
        vendor = draw.choice(("quillwork", "tessel", "lexara"))
        project = self.projects[n % len(self.projects)]
        program = n % 20 == 19
        joined = draw.randrange(self.days) if draw.random() < 0.2 else 0
        left = draw.randrange(joined + 1, self.days + 1) if draw.random() < 0.1 else self.days
        vacation = draw.randrange(self.days)
        return Worker(
            who=f"p-{self.seed:04x}{n:016x}",
            vendor=vendor,
            project=project,
            begins=draw.choice((6, 7, 8, 9)),
            home=f"10.{n}.0.7",
            office={"quillwork": "192.0.2.9", "tessel": "198.51.100.9", "lexara": "203.0.113.9"}[vendor],
            typical=int(draw.lognormvariate(13.5, 0.6)),
            joined=joined,
            left=left,
            away=set(range(vacation, vacation + draw.choice((0, 5, 14)))),
            at_home=draw.choice((0.1, 0.4, 0.9)),
            workload=f"p-{self.seed:04x}{n - 1:016x}" if program else "",
        )

    @property
    def person_days(self) -> int:
        """Days on which somebody was there."""
        return sum(1 for w in self.workers for day in range(self.days) if self._works(w, day, weekends=True))

    def _works(self, worker: Worker, day: int, *, weekends: bool = False) -> bool:
        if not worker.joined <= day < worker.left or day in worker.away:
            return False
        if worker.workload:
            return True
        if day in self.holidays:
            return False
        return day % 7 < 5 or weekends

    # --- ordinary days

    def benign(self) -> History:
        """Fill every day with ordinary work."""
        for project in self.projects:
            for asset in self.assets(project):
                made = {"asset": asset, "number": 1, "shards": self.shards, "length": self.shards * self.shard_bytes}
                self.at(0, [("asset.version", made, None)])
        for day in range(self.days):
            for worker in self.workers:
                if worker.workload and self._works(worker, day):
                    self._train(worker, day)
                elif self._works(worker, day) or (self._works(worker, day, weekends=True) and self.draw.random() < 0.03):
                    self._workday(worker, day)
        return self

    def assets(self, project: str) -> tuple[str, ...]:
        """Three datasets a project."""
        return tuple(f"{project}-set-{n}" for n in (1, 2, 3))

    def _workday(self, worker: Worker, day: int) -> None:
        draw = self.draw
        network = worker.home if draw.random() < worker.at_home else worker.office
        if draw.random() < 0.02:  # a train, a café, a visit
            network = f"172.{draw.randrange(16, 32)}.{draw.randrange(256)}.5"
        if draw.random() < 0.01:  # another provider
            worker.home = f"10.{draw.randrange(100, 250)}.{draw.randrange(256)}.7"
        wanted = int(worker.typical * draw.lognormvariate(0, 0.5) * self._pressure(worker, day))
        start = worker.begins * 3600 + draw.randrange(-1800, 3600)
        sessions = draw.choice((1, 2, 2, 3))
        for n in range(sessions):
            at = day * DAY_S + start + n * 2 * 3600 + draw.randrange(1200)
            if draw.random() < 0.004:
                at += 5 * 3600  # a late evening
            elsewhere = network if draw.random() < 0.9 else (worker.home if network != worker.home else worker.office)
            self._work(worker, at, wanted // sessions, elsewhere)

    def _pressure(self, worker: Worker, day: int) -> float:
        """Before a release a project reads twice as much for a week; on some days somebody looks for a mistake."""
        release = 2.0 if day // 7 % 8 == self.projects.index(worker.project) else 1.0
        looked = self.draw.random()
        return release * (6 if looked < 0.002 else 3 if looked < 0.012 else 1)

    def _work(self, worker: Worker, at: int, wanted: int, network: str) -> None:
        """One session: a list, some reads, a mistyped name now and then."""
        draw = self.draw
        session = self.session(worker, at, network)
        self.look(worker, session, at + 5, draw.choice((1, 1, 2)))
        if draw.random() < 0.1:
            for n in range(draw.choice((1, 1, 2, 5))):
                self.refused(worker, session, at + 8 + n, "notfound")
        at += 20
        while wanted > 0:
            asset = draw.choice(self.assets(worker.project)[:2])
            size = min(wanted, self.shard_bytes, draw.choice((64 << 10, 256 << 10, MIB)))
            self.read(worker, session, at, asset, draw.randrange(self.shards), size)
            wanted -= size
            at += draw.randrange(5, 240)

    def _train(self, worker: Worker, day: int) -> None:
        """A program that reads a whole set every night."""
        at = day * DAY_S + 2 * 3600 + self.draw.randrange(600)
        session = self.session(worker, at, "192.0.2.77")
        self.whole(worker, session, at, self.assets(worker.project)[0])

    # --- single events

    def at(self, at_s: int, entries: list[tuple[str, dict[str, Any], str | None]]) -> None:
        """Something that is written at one moment, in seconds since the history began."""
        self._count += 1
        heapq.heappush(self._queue, (at_s, self._count, entries))

    def who(self, worker: Worker, session: str) -> dict[str, Any]:
        """How each entry names who acts."""
        sponsor = {"sponsor": worker.workload} if worker.workload else {}
        return {"session": session, "who": worker.who, "project": worker.project, "vendor": worker.vendor, **sponsor}

    def session(self, worker: Worker, at: int, network: str) -> str:
        """A new session, and where it comes from."""
        self._sessions += 1
        session = f"s{self.seed:04x}{self._sessions:016x}"
        fields = {**self.who(worker, session), "until": MONDAY + at + 3600, "strength": "single"}
        self.at(at, [("session.start", fields, network)])
        return session

    def look(self, worker: Worker, session: str, at: int, times: int, *, network: str | None = None) -> None:
        """LISTs, one after the other."""
        for n in range(times):
            fields = {**self.who(worker, session), "action": "list", "assets": [], "status": 200}
            self.at(at + n // 20, [("access.intent", fields, network)])

    def refused(self, worker: Worker, session: str, at: int, rule: str, **more: Any) -> None:
        """One refusal."""
        fields = {**self.who(worker, session), "action": "read", "rule": rule, **more}
        self.at(at, [("access.refusal", fields, None)])

    def read(self, worker: Worker, session: str, at: int, asset: str, shard: int, size: int, **more: Any) -> None:
        """One read from the start of a shard, and its outcome."""
        fields = {
            **self.who(worker, session),
            "action": "read",
            "asset": asset,
            "version": 1,
            "shard": f"{shard:05}.jsonl",
            "etag": "e-1",
            "status": 206,
            "span": [0, size],
            **more,
        }
        outcome = {"of": None, "session": session, "end": "complete", "sent": size}
        self.at(at, [("access.intent", fields, None), ("access.outcome", outcome, None)])

    def whole(self, worker: Worker, session: str, at: int, asset: str) -> None:
        """A whole set, shard by shard."""
        for shard in range(self.shards):
            self.read(worker, session, at + shard, asset, shard, self.shard_bytes)

    # --- what is planted

    def plant(self, *, first_day: int = 35) -> History:
        """One event for each rule, each by somebody else, on working days when they have a past."""
        draw = self.draw
        days = [d for d in range(first_day, self.days) if d % 7 < 5 and d not in self.holidays]
        settled = [w for w in self.workers if not w.workload and w.joined == 0 and w.left == self.days and {*days} - w.away]
        draw.shuffle(settled)
        for rule, plant in PLANTS.items():
            worker = settled.pop()
            day = draw.choice([d for d in days if d not in worker.away])
            at = day * DAY_S + (worker.begins + 3) * 3600
            plant(self, worker, at)
            self.planted.append(Planted(rule, worker.who, at))
        return self

    # --- as a log

    def entries(self):
        """(index, raw, network) in the order of time."""
        index, pending = 0, sorted(self._queue, key=lambda event: event[:2])
        for at_s, _, entries in pending:
            intent = index
            for kind, fields, network in entries:
                of = {"of": intent} if "of" in fields else {}
                commit = {} if network is None else {"commit": {"network": "00" * 32}}
                yield index, encode(kind, (MONDAY + at_s) * 1_000_000, SALT, {**fields, **of, **commit}), network
                index += 1


def _canary(history, worker, at):
    session = history.session(worker, at, worker.office)
    history.read(worker, session, at + 30, f"{worker.project}-honey", 0, 4096, canary=True)


def _quota(history, worker, at):
    session = history.session(worker, at, worker.office)
    history.refused(worker, session, at + 30, "quota", asset=history.assets(worker.project)[0])


def _clone(history, worker, at):
    session = history.session(worker, at, worker.office)
    history.whole(worker, session, at + 30, history.assets(worker.project)[2])


def _bulk(history, worker, at):
    session = history.session(worker, at, worker.office)
    for n in range(history.shards // 2):
        history.read(worker, session, at + n, history.assets(worker.project)[0], n, history.shard_bytes)


def _misses(history, worker, at):
    session = history.session(worker, at, worker.office)
    for n in range(40):
        history.refused(worker, session, at + 5 * n, "notfound")


def _looks(history, worker, at):
    session = history.session(worker, at, worker.office)
    history.look(worker, session, at, 400)


def _denied(history, worker, at):
    """Refused by themselves, they let their program read it."""
    asset = history.assets(worker.project)[1]
    session = history.session(worker, at, worker.office)
    history.refused(worker, session, at + 5, "no-grant", asset=asset)
    program = Worker(**{**vars(worker), "who": worker.who[:-1] + "f", "workload": worker.who})
    own = history.session(program, at + 900, "192.0.2.77")
    history.read(program, own, at + 960, asset, 3, 4096)


def _elsewhere(history, worker, at):
    session = history.session(worker, at, "100.64.9.9")
    history.look(worker, session, at + 5, 1)


def _split(history, worker, at):
    """Somebody else has their session; both use it."""
    session = history.session(worker, at, worker.office)
    for n, network in enumerate(["100.65.1.1", worker.office, "100.65.1.1", worker.office]):
        history.look(worker, session, at + 60 * (n + 1), 1, network=network)


def _night(history, worker, at):
    at = at - at % DAY_S + 22 * 3600 + 1800
    session = history.session(worker, at, worker.office)
    history.look(worker, session, at + 5, 1)


def _night_bulk(history, worker, at):
    at = at - at % DAY_S + 22 * 3600 + 1800
    session = history.session(worker, at, worker.office)
    for n in range(history.shards // 3):
        history.read(worker, session, at + n, history.assets(worker.project)[1], n, history.shard_bytes)


PLANTS = {
    "canary-read": _canary,
    "export-over-quota": _quota,
    "full-clone": _clone,
    "bulk-read": _bulk,
    "enumeration misses": _misses,
    "enumeration looks": _looks,
    "denied-then-read": _denied,
    "new-network": _elsewhere,
    "session-in-two-networks": _split,
    "off-hours": _night,
    "off-hours bulk": _night_bulk,
}
