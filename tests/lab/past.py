"""What happened, drawn from a seed and written into the logs as it is drawn.

What is wrong with the logs, on purpose: CloudTrail was off for a day; one of its files is cut short and one was delivered
twice; access log lines come twice and one file ends within a line; two exports of GitHub's log overlap; Vault's clock is
ten minutes ahead. The truth of each source is what its log still holds.
"""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

from lab import logs
from lab.cast import (
    CLONED_BY,
    DAY,
    DEPLOY_KEY,
    ORG,
    PLACES,
    SECRETS,
    START,
    TRAILED,
    Actor,
    Size,
    aws_actors,
    entity,
    intake_actors,
    people_of,
)
from lab.truth import Event, Truth

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from lab.cast import Place

HOUR = 3600
DARK_DAY = 1  # counted from 0: CloudTrail is off
CUT_DAY, CUT_HOUR, TWICE_HOUR = 2, 10, 14
VAULT_AHEAD = 600
SHARES = {"trail-eu": 0.70, "intake-log": 0.20, "github": 0.05, "vault": 0.05}
GITHUB = f"github:{ORG}"


def objects(place: Place, size: Size) -> list[tuple[str, int]]:
    """The keys of a data set, and how long each is."""
    return [(f"{place.prefix}part-{i:05}.jsonl", 900 + 37 * i) for i in range(size.objects)]


class Past:
    """Draws what happened. `people`: of each vendor; the last of each never does anything."""

    def __init__(self, size: Size, seed: int, root: Path) -> None:
        self.size = size
        self.root = root
        self.people = people_of(size)
        self.idle = {members[-1] for members in self.people.values()}
        self.draw = random.Random(seed)
        end = START + size.days * DAY
        # From within the dark day on, and to a moment within the last day: windows that must be widened by the skew.
        self.truth = Truth(START, end, asked=(START + DAY + 17 * HOUR, end - 7 * HOUR), skew={"vault": VAULT_AHEAD})
        self.objects = {name: objects(place, size) for name, place in PLACES.items()}
        self._numbers = itertools.count(1)

    def happen(self) -> Truth:
        """Write every log, and return the truth."""
        self._trail()
        self._intake()
        self._github()
        self._vault()
        return self.truth

    def _hours(self, source: str, actors: list[Actor]) -> Iterator[tuple[int, list[tuple[int, Actor]]]]:
        """For each hour, who acts when, in order of time. Every actor that is not idle acts at least once."""
        hours = self.size.days * 24
        each, more = divmod(int(self.size.events * SHARES[source]), hours)
        acting = [actor for actor in actors if actor.who not in self.idle]
        weights = list(itertools.accumulate(actor.weight for actor in acting))
        # On the last day, when every log is whole: otherwise who acts once might be lost altogether.
        once = {hours - 2 - i % 20: acting[i % 20 :: 20] for i in range(min(20, len(acting)))}
        for hour in range(hours):
            begins, count = START + hour * HOUR, each + (hour < more)
            times = sorted(self.draw.choices(range(begins + 60, begins + HOUR - 60), k=count))
            acts = list(zip(times, self.draw.choices(acting, cum_weights=weights, k=count), strict=True))
            acts += [(begins + HOUR - 50, actor) for actor in once.get(hour, ())]
            yield begins, acts

    def _act(self, actor: Actor) -> tuple[str, str, str, int, bool]:
        """What somebody does: action, place, key, length, whether it is allowed."""
        chance = self.draw.random()
        if chance < 0.02 and actor.vendor and actor.home != ("intake",):
            key, length = self.draw.choice(self.objects["core"])
            return "read", "core", key, length, False
        name = self.draw.choice(actor.home)
        key, length = self.objects[name][int(self.draw.random() ** 2 * self.size.objects)]
        if chance < 0.10:
            return "head", name, key, length, True
        if chance < 0.14:
            return "list", name, PLACES[name].prefix, 0, True
        return "read", name, key, length, True

    # --- CloudTrail

    def _trail(self) -> None:
        actors = aws_actors(self.people)
        told = {actor: (logs.identity(actor), logs.address(actor.who)) for actor in actors}
        trail = logs.Trail(self.root / "trail")
        dark = START + DARK_DAY * DAY
        for scope in TRAILED:
            self.truth.dark["trail-eu", f"s3://{scope}"].append((dark, dark + DAY))
        for hour, acts in self._hours("trail-eu", actors):
            if dark <= hour < dark + DAY:
                for at, actor in acts:
                    self._lose("trail-eu", at, actor, self._act(actor))
                trail.stopped()
                continue
            self._trail_hour(trail, hour, acts, told)

    def _trail_hour(
        self, trail: logs.Trail, hour: int, acts: list[tuple[int, Actor]], told: dict[Actor, tuple[str, str]]
    ) -> None:
        delivered = []
        slots = max(1, self.size.files_an_hour)
        for slot in range(slots):
            mine = [act for act in acts if (act[0] - hour) * slots // HOUR == slot]
            if not mine:
                continue
            events = [(at, actor, self._act(actor)) for at, actor in mine]
            records = [
                logs.record(at, told[actor], action, PLACES[name].bucket, key, length, next(self._numbers), ok=ok)
                for at, actor, (action, name, key, length, ok) in events
            ]
            name, raw, packed = trail.file(hour + (slot + 1) * HOUR // slots, records)
            delivered.append((name, raw, mine[0][0], mine[-1][0]))
            when = hour - START - CUT_DAY * DAY
            if when == CUT_HOUR * HOUR and slot == 0:
                events = self._cut(trail, name, packed, records, events)
            elif when == TWICE_HOUR * HOUR and slot == 0:
                trail.put(trail.names(hour + 3 * HOUR, "DELIVEREDTWICEAA"), packed)
            for at, actor, (action, place, key, length, ok) in events:
                self._keep("trail-eu", at, actor, action, place, key, length, ok=ok)
        trail.digest(hour, delivered)

    def _cut(self, trail: logs.Trail, name: str, packed: bytes, records: list[str], events: list) -> list:
        """Half of a file: what can still be read of it."""
        half = packed[: len(packed) // 2]
        trail.put(name, half)
        whole = logs.readable(half, records)
        assert 0 < whole < len(records)
        for at, actor, act in events[whole:]:
            self._lose("trail-eu", at, actor, act)
        return events[:whole]

    def _keep(self, source: str, at: int, actor: Actor, action: str, name: str, key: str, length: int, *, ok: bool) -> None:
        place = PLACES[name]
        resource = f"s3://{place.bucket}/{key}"
        handed = length if ok and action == "read" else 0
        who = (actor.who, actor.principal, actor.session)
        self.truth.saw(source, at, who, action, place.asset or place.uri, resource, handed, ok=ok)

    def _lose(self, source: str, at: int, actor: Actor, act: tuple[str, str, str, int, bool]) -> None:
        _, name, key, _, _ = act
        place = PLACES[name]
        event = Event(at, source, f"s3://{place.bucket}", actor.who, place.asset or place.uri, f"s3://{place.bucket}/{key}")
        self.truth.lost.append(event)

    # --- server access logs

    def _intake(self) -> None:
        folder = self.root / "intake-log"
        folder.mkdir(parents=True)
        bucket = PLACES["intake"].bucket
        cut = START + CUT_DAY * DAY + CUT_HOUR * HOUR
        for hour, acts in self._hours("intake-log", intake_actors(self.people)):
            lines = []
            for at, actor in acts:
                action, name, key, length, ok = self._act(actor)
                line = logs.access_line(at, actor, action, bucket, key, length, next(self._numbers), ok=ok)
                if hour == cut and (at, actor) == acts[-1]:
                    lines.append(line[: len(line) // 2])
                    self._lose("intake-log", at, actor, (action, name, key, length, ok))
                    continue
                lines += [line, line] if self.draw.random() < 0.05 else [line]
                self._keep("intake-log", at, actor, action, name, key, length, ok=ok)
            stamp = logs.moment(hour + HOUR).replace(":", "-").removesuffix("Z")
            (folder / f"{stamp}-{logs.drawn('log', hour).hex()[:16].upper()}").write_text("".join(lines))

    # --- GitHub

    def _github(self) -> None:
        actors = [
            Actor(f"github:{logs.github_name(person)}", "", person, vendor, (repository,), "")
            for repository, vendor in CLONED_BY.items()
            for person in self.people[vendor]
        ]
        every = max(1.0, len(actors) / 10)
        actors.append(Actor(f"github:deploy-key/{DEPLOY_KEY}", "", "vendor:marlow", "marlow", ("marlow-sync",), "", every))
        actors.append(Actor(f"github:{logs.LAB_LOGIN}", "", "lab", "", ("infra", "orchid-tools"), "", every))
        events = []
        for _, acts in self._hours("github", actors):
            for at, actor in acts:
                repository = self.draw.choice(actor.home)
                action = self.draw.choices(("clone", "fetch", "push"), (2, 5, 1))[0]
                name = f"{GITHUB}/{repository}"
                line = logs.audit_event(
                    at,
                    actor.principal.removeprefix("github:") if "/" not in actor.principal else "",
                    f"git.{action}",
                    repository,
                    next(self._numbers),
                )
                events.append((at, line))
                self.truth.saw("github", at, (actor.who, actor.principal, actor.session), action, name, name, None, ok=True)
        middle = len(events) // 2
        folder = self.root / "github"
        folder.mkdir(parents=True)
        overlap = max(3, len(events) // 10)
        (folder / "export-1.json").write_text("".join(line for _, line in events[: middle + overlap]))
        (folder / "export-2.json").write_text("".join(line for _, line in events[middle:]))

    # --- Vault

    def _vault(self) -> None:
        actors = [
            Actor(f"vault:entity/{entity(person)}", "", person, vendor, tuple(p for p, v in SECRETS.items() if v == vendor), "")
            for vendor in ("quillwork", "tessel")
            for person in self.people[vendor]
        ]
        lines = []
        for _, acts in self._hours("vault", actors):
            for at, actor in acts:
                denied = self.draw.random() < 0.03
                path = "kv/data/aurelia/root" if denied else self.draw.choice(actor.home)
                told = at + VAULT_AHEAD
                lines.append(logs.vault_lines(told, actor.who, path, next(self._numbers), ok=not denied))
                place = f"vault:{path}"
                self.truth.saw(
                    "vault", told, (actor.who, actor.principal, actor.session), "read", place, place, None, ok=not denied
                )
        folder = self.root / "vault"
        folder.mkdir(parents=True)
        (folder / "audit.log").write_text("".join(lines))
