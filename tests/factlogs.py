"""Invented logs for the facts: weeks of two vendors' work in a few hundred entries, everything at random, the same for a seed.

`Paper` is a log on paper: entries by limen's own encoder, in a list. What a test expects of it is counted again from the raw
entries in `test_facts_recount`, by other means.
"""

import random
from dataclasses import dataclass, field

from limen.core.events import decode, encode
from limen.filing import time_of

US = 1_000_000
MINUTE = 60 * US
HOUR = 60 * MINUTE
DAY = 24 * HOUR
MONDAY = 1_767_571_200 * US  # 2026-01-05
VENDORS = ("quillwork", "tessel")
ORIGIN = "example.com/log"


@dataclass
class Paper:
    """A log on paper: what `Derived` reads of one. `gap` entries are left out, as if somebody had cut them."""

    raws: list = field(default_factory=list)
    start: int = 0
    salt: int = 0

    def add(self, kind, at_us, **fields):
        self.salt += 1
        self.raws.append(encode(kind, at_us, self.salt.to_bytes(16, "big"), fields))
        return len(self.raws) - 1

    def entries(self, start=0, end=None):
        stop = len(self.raws) if end is None else min(end, len(self.raws))
        for index in range(start, stop):
            if self.raws[index] is not None:
                yield index, self.raws[index]

    def upto(self, at_us):
        """The same log as it was at a moment: without what was written later."""
        return Paper([raw for raw in self.raws if time_of(decode(raw)) <= at_us])


class Story:
    """Writes a log. Time only goes on; what it writes is legal, but for what a crash may leave."""

    def __init__(self, seed, *, days=9, steps=260):
        self.draw = random.Random(seed)
        self.paper = Paper()
        self.at = MONDAY + self.draw.randrange(6 * HOUR)
        self.step = days * DAY // steps
        self.sessions = []  # (id, fields of who)
        self.open = []  # (index, intent fields)
        self.pauses = []
        self.people = {}
        self.keys = {}
        self.incidents = []
        self._begin()
        for _ in range(steps):
            self._go()
            self.draw.choices(*zip(*self._acts(), strict=True))[0]()

    def write(self, kind, **fields):
        return self.paper.add(kind, self.at, **fields)

    def _go(self):
        # Some things come within a second, others after a night: both sides of minutes and days are met.
        draw = self.draw
        self.at += draw.choice((draw.randrange(1, US), draw.randrange(20 * US), draw.randrange(2 * self.step)))
        if draw.random() < 0.05:
            self.at += DAY - self.at % DAY if draw.random() < 0.5 else MINUTE - self.at % MINUTE

    def _begin(self):
        self.write("server.start")
        self.write(
            "tier.set",
            tier="secret",
            granted_by=["owner"],
            session_s=3600,
            hardware_key=True,
            export_bytes_day=None,
            window_bytes=None,
            window_s=None,
        )
        for asset, tier in (("a", "open"), ("b", "restricted"), ("c", "secret"), ("d", "confidential")):
            self.write("asset.add", asset=asset, project="orchid", **{"class": "training"}, tier=tier, asset_kind="dataset")
            self.write(
                "asset.version",
                asset=asset,
                number=1,
                mark_key=None,
                shards=4,
                shards_digest="",
                marked=0,
                length=4000,
                records=40,
            )
        for vendor in VENDORS:
            self.write("vendor.add", vendor=vendor, name=vendor, by="x")
            self.write(
                "agreement.add",
                agreement=f"msa-{vendor}",
                vendor=vendor,
                digest="ab" * 32,
                valid_from=0,
                valid_until=MONDAY // US + self.draw.randrange(4, 40) * 86_400,
            )
            for n in range(3):
                name = f"p-{vendor}-{n}"
                self.people[name] = vendor
                self.write("person.add", person=name, vendor=vendor, roles=[])
                self.write(
                    "grant.add",
                    grant=f"g-{vendor}-{n}",
                    holder=f"o-{vendor}-{n}",
                    project="orchid",
                    vendor=vendor,
                    assets=["*"],
                    actions=["read"],
                    granted_by="p-lab",
                    not_before=0,
                    expires_at=MONDAY // US + self.draw.randrange(2, 60) * 86_400,
                )

    def _acts(self):
        return [
            (self._session, 3),
            (self._read, 9),
            (self._look, 3),
            (self._refuse, 2),
            (self._finish, 9),
            (self._pause, 1),
            (self._leave, 0.8),
            (self._notice, 0.5),
            (self._key, 0.6),
            (self._paper, 0.6),
            (self._dispute, 0.3),
            (self._grants, 0.4),
            (self._stray, 0.2),
            (self._restart, 0.2),
            (self._lab, 1),
        ]

    # --- accesses

    def _session(self):
        vendor, n = self.draw.choice(VENDORS), self.draw.randrange(3)
        session = f"s{len(self.sessions):04}"
        who = {"session": session, "who": f"o-{vendor}-{n}", "project": "orchid", "vendor": vendor}
        if n == 2:
            who = {**who, "who": f"w-{vendor}", "sponsor": f"o-{vendor}-2"}
        self.sessions.append(who)
        until = self.at // US + self.draw.choice((900, 3600, 7200))
        self.write("session.start", **who, until=until, strength=self.draw.choice(("single", "hardware")))
        if self.draw.random() < 0.1:
            self.at += self.draw.randrange(HOUR)
            self.write("session.end", session=session, by="x")

    def _who(self):
        if not self.sessions:
            self._session()
        return self.draw.choice(self.sessions[-6:])

    def _read(self):
        who, asset = self._who(), self.draw.choice("abcd")
        start = self.draw.randrange(0, 1000, 50)
        fields = {
            **who,
            "action": "read",
            "asset": asset,
            "version": 1,
            "etag": "e",
            "status": self.draw.choice((200, 206, 206, 304)),
        }
        if self.draw.random() < 0.3:
            fields |= {"status": 200, "window": 30, "run": [["0", 1000], ["1", 1000]]}
        elif fields["status"] != 304:
            fields |= {"shard": self.draw.choice("0123"), "span": [start, self.draw.randrange(start, 1001)]}
        index = self.write("access.intent", **fields)
        if "run" in fields or "span" in fields:
            self.open.append((index, fields))

    def _look(self):
        self.write("access.intent", **self._who(), action="list", assets=["a"], status=200)

    def _finish(self):
        if not self.open:
            return
        index, fields = self.open.pop(self.draw.randrange(len(self.open)))
        if self.draw.random() < 0.06:
            return  # its outcome is never written
        if self.draw.random() < 0.1:
            self.write("access.outcome", of=index, end="unknown")
        elif "run" in fields:
            handed = [[self.draw.randrange(2), at, at + self.draw.randrange(300), 0, 0, 1] for at in (0, 200, 500)]
            self.write(
                "access.outcome",
                of=index,
                session=fields["session"],
                end="complete",
                sent=sum(row[2] - row[1] for row in handed),
                reads=3,
                handed=handed,
            )
        else:
            sent = self.draw.randrange(fields["span"][1] - fields["span"][0] + 1)
            self.write("access.outcome", of=index, session=fields["session"], end="complete", sent=sent)

    def _refuse(self):
        rules = ("other-project", "notfound", "no-grant", "forbid-barrier", "quota", "pause")
        action = self.draw.choice(("read", "session"))
        self.write("access.refusal", **self._who(), action=action, rule=self.draw.choice(rules))

    def _stray(self):
        """An access in a session that nobody opened."""
        self.write(
            "access.intent",
            session="s-none",
            who="o-nobody",
            project="orchid",
            vendor=self.draw.choice(VENDORS),
            action="head",
            asset="a",
            status=200,
        )

    def _lab(self):
        index = self.write(
            "access.intent",
            session="s-lab",
            who="o-lab",
            project="orchid",
            action="read",
            asset="b",
            version=1,
            shard="0",
            etag="e",
            status=200,
            span=[0, 1000],
        )
        self.write("access.outcome", of=index, session="s-lab", end="complete", sent=1000)

    # --- the rest

    def _pause(self):
        vendor = self.draw.choice(VENDORS)
        subject = self.draw.choice(
            (f"vendor/{vendor}", f"person/p-{vendor}-1", "project/orchid", f"session/{self._who()['session']}")
        )
        drill = {"drill": True} if self.draw.random() < 0.4 else {}
        order = self.write(
            "pause.order",
            subject=subject,
            since=self.at // US - self.draw.randrange(2),
            essential=[],
            streams=1,
            sessions=2,
            by="x",
            **drill,
        )
        if self.draw.random() < 0.7:
            self._go()
            self.write(
                "pause.measured", subject=subject, order=order, last_byte_us=self.draw.randrange(10 * US), clock="operator"
            )

    def _grants(self):
        """A grant is revoked, or somebody who never came is given one."""
        vendor, n = self.draw.choice(VENDORS), self.draw.randrange(3)
        if self.draw.random() < 0.8:
            self.write("grant.end", grant=f"g-{vendor}-{n}", by="x")
        else:
            self.write(
                "grant.add",
                grant=f"g-{self.at}",
                holder=f"o-{vendor}-{n}",
                project="orchid",
                assets=["*"],
                actions=["read"],
                granted_by="p-lab",
                not_before=0,
                expires_at=self.at // US + 2 * 86_400,
            )

    def _leave(self):
        if self.people:
            person = self.draw.choice(sorted(self.people))
            vendor = self.people.pop(person)
            if self.draw.random() < 0.7:
                self.write(
                    "notice.add",
                    vendor=vendor,
                    notice="leaver",
                    person=person,
                    by="x",
                    left_us=self.at - self.draw.randrange(2 * DAY),
                )
            self._go()
            if self.draw.random() < 0.7:
                self.write("person.end", person=person, by="x")

    def _notice(self):
        vendor = self.draw.choice(VENDORS)
        match self.draw.randrange(4):
            case 0:
                self.incidents.append((vendor, f"INC-{len(self.incidents)}"))
                self.write(
                    "notice.add",
                    vendor=vendor,
                    notice="incident",
                    incident=self.incidents[-1][1],
                    by="x",
                    known_us=self.at - self.draw.randrange(DAY),
                    of=self.draw.choice(([], [3])),
                )
            case 1 if self.incidents:
                vendor, name = self.draw.choice(self.incidents)
                self.write("notice.add", vendor=vendor, notice="told", incident=name, told_us=self.at, now=True, by="x")
            case 2:
                self.write(
                    "notice.add",
                    vendor=vendor,
                    notice="project-end",
                    project="orchid",
                    by="x",
                    ended_us=self.at - self.draw.randrange(DAY),
                )
            case _:
                self.write(
                    "notice.add",
                    vendor=vendor,
                    notice=self.draw.choice(("returned", "destroyed")),
                    project="orchid",
                    done_us=self.at - self.draw.randrange(HOUR),
                    digest=self.draw.choice(("", "ab" * 32)),
                    by="x",
                )

    def _key(self):
        vendor = self.draw.choice(VENDORS)
        name = f"k{self.draw.randrange(3)}"
        match self.draw.randrange(4):
            case 0:
                self.write(
                    "static.add",
                    vendor=vendor,
                    key=name,
                    what="deploy-key",
                    issued_us=self.at - self.draw.randrange(90 * DAY),
                    observed=False,
                    by="x",
                )
            case 1:
                self.write("static.list", vendor=vendor, count=1, by="x")
            case 2:
                self.write(
                    "rotation.add",
                    vendor=vendor,
                    key=name,
                    rotated_us=self.at,
                    by="x",
                    old=self.draw.choice(("refused", "alive", "untried")),
                    new=self.draw.choice(("", f"{name}-2")),
                )
            case _:
                self.write(
                    "static.end", vendor=vendor, key=name, ended_us=self.at, old=self.draw.choice(("refused", "untried")), by="x"
                )

    def _paper(self):
        vendor = self.draw.choice(VENDORS)
        if self.draw.random() < 0.5:
            self.write(
                "fact.add",
                vendor=vendor,
                facts=[{"measure": "soc2_report", "value": 2}, {"measure": "soc2_exceptions", "value": 1}],
                from_us=MONDAY - 300 * DAY,
                to_us=MONDAY,
                of_us=MONDAY,
                source="an auditor",
                digest="ab" * 32,
                length=3,
                by="x",
            )
        else:
            self.write(
                "fact.add",
                vendor=vendor,
                facts=[{"measure": "declared.named_share", "value": [1, 1]}],
                digest="",
                from_us=MONDAY,
                to_us=None,
                of_us=MONDAY,
                source="questionnaire",
                by="x",
            )

    def _dispute(self):
        vendor = self.draw.choice(VENDORS)
        index = self.write("fact.dispute", vendor=vendor, measure="revoke_us", from_us=MONDAY, to_us=None, by="x")
        if self.draw.random() < 0.6:
            self._go()
            self.write("fact.settle", vendor=vendor, dispute=index, outcome=self.draw.choice(("stands", "upheld")), by="x")

    def _restart(self):
        """A new epoch: some newest entries were lost with a disk."""
        size = len(self.paper.raws)
        lost = self.draw.choice((0, 0, 3))
        self.write(
            "epoch.begin",
            epoch=1,
            kept=size,
            by="x",
            previous={"origin": ORIGIN, "size": size + lost, "root": "", "checkpoint": ""},
            witnessed=None,
            proved=True,
        )
