"""What follows from a malicious package at a vendor: how much, and whether people have to say so first. Pure.

A forged advisory must not stop thousands of people's paid work. So only what a signed and allow-listed source names acts by
itself, and by itself only on a few vendors and people a day. What goes further waits for two people; what nobody trusted has
said, for one. Every refusal to act is a sentence, and what waits changes nobody's access.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from limen.formats.purl import Package


class Act(StrEnum):
    """What a vendor's policy lets a hit lead to. All of them lead to a finding."""

    NOTIFY = "notify"
    RESTRICT = "restrict"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True)
class Policy:
    """What a hit at one vendor leads to, as the lab decided. `entry` is None where it never did: then this is the default."""

    act: Act = Act.RESTRICT
    read_only: bool = True
    projects: tuple[str, ...] = ()
    entry: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How far limen goes by itself in one UTC day, and how many findings of one kind of source it takes one by one."""

    vendors: int
    people: int
    findings: int


class Strike(NamedTuple):
    """One component of one vendor's that an open record of a malicious package names; both by their entries.

    `may`: how far the sources that signed the record may go by themselves (an `Act`'s value); empty if none has.
    """

    vendor: str
    package: Package
    version: str
    bom: int
    id: str
    feed: int
    may: str

    @property
    def trusted(self) -> bool:
        """Whether what it leads to may be done by itself."""
        return self.may in {Act.RESTRICT, Act.PAUSE}


@dataclass(frozen=True, slots=True)
class Consequence:
    """What a proposal does to one vendor, and to how many people and workloads of its."""

    vendor: str
    act: Act
    people: int
    read_only: bool = False
    projects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Proposal:
    """One finding's consequences (or a flood's, all at once), how many people have to approve, and why, in words."""

    ids: tuple[str, ...]
    strikes: tuple[Strike, ...]
    vendors: tuple[Consequence, ...]
    needs: int
    why: tuple[str, ...]
    trusted: bool
    flood: bool = False

    @property
    def touches(self) -> tuple[Consequence, ...]:
        """Those that would change what somebody may do."""
        return tuple(each for each in self.vendors if each.act is not Act.NOTIFY)


@dataclass(slots=True)
class Day:
    """What was done automatically so far in this UTC day: vendors and people touched, and findings by kind of source."""

    vendors: set[str]
    people: int = 0
    trusted: int = 0
    untrusted: int = 0


def propose(
    fresh: Iterable[Strike],
    *,
    group_of: Callable[[str], str],
    policy_of: Callable[[str], Policy],
    people_of: Callable[[str], int],
    limits: Limits,
    day: Day,
) -> list[Proposal]:
    """What to do about strikes that nothing was done about yet. `day` is brought up to date with what is proposed to be taken.

    Findings of trusted and of other sources are counted apart: a flood of the one must not hold up the other.
    """
    groups: dict[tuple[bool, str], list[Strike]] = defaultdict(list)
    for strike in fresh:
        groups[not strike.trusted, group_of(strike.id)].append(strike)
    proposals: list[Proposal] = []
    for untrusted in (False, True):
        mine = [strikes for (kind, _), strikes in sorted(groups.items()) if kind is untrusted]
        before = day.untrusted if untrusted else day.trusted
        one_by_one = max(0, limits.findings - before)
        if len(mine) > one_by_one:
            merged = [strike for strikes in mine for strike in strikes]
            proposals.append(_flood(merged, len(mine), policy_of, people_of, limits, trusted=not untrusted))
        else:
            proposals += [_one(strikes, policy_of, people_of, limits, day) for strikes in mine]
        count = 1 if len(mine) > one_by_one else len(mine)
        day.untrusted, day.trusted = (
            (day.untrusted + count, day.trusted) if untrusted else (day.untrusted, day.trusted + count)
        )  # fmt: skip
    return proposals


def _one(
    strikes: Sequence[Strike],
    policy_of: Callable[[str], Policy],
    people_of: Callable[[str], int],
    limits: Limits,
    day: Day,
) -> Proposal:
    vendors, held_back = _consequences(strikes, policy_of, people_of)
    touched = [each for each in vendors if each.act is not Act.NOTIFY]
    trusted = all(strike.trusted for strike in strikes)
    needs, why = 0, held_back
    if touched and not trusted:
        needs = 1
        why.append("no signed source that limen.toml allows to restrict says so: somebody has to approve it")
    news = {each.vendor for each in touched} - day.vendors
    if touched and len(day.vendors | news) > limits.vendors:
        needs = 2
        why.append(
            f"it would bring the vendors touched today to {len(day.vendors | news)}, more than {limits.vendors}: "
            "two people have to approve it"
        )
    people = sum(each.people for each in touched if each.vendor in news)
    if touched and day.people + people > limits.people:
        needs = 2
        why.append(
            f"it would bring the people touched today to {day.people + people}, more than {limits.people}: "
            "two people have to approve it"
        )
    if touched and not needs:
        day.vendors |= news
        day.people += people
    return Proposal(_ids(strikes), tuple(strikes), vendors, needs, tuple(why), trusted)


def _flood(
    strikes: Sequence[Strike],
    findings: int,
    policy_of: Callable[[str], Policy],
    people_of: Callable[[str], int],
    limits: Limits,
    *,
    trusted: bool,
) -> Proposal:
    vendors, _ = _consequences(strikes, policy_of, people_of)
    source = "allow-listed sources" if trusted else "sources that may not restrict"
    why = (
        f"a flood: with these {findings} findings there would be more than {limits.findings} today from {source}, "
        "so all of them are held as one, and two people have to approve it"
    )
    touches = any(each.act is not Act.NOTIFY for each in vendors)
    return Proposal(_ids(strikes), tuple(strikes), vendors, 2 if touches else 0, (why,) if touches else (), trusted, flood=True)


def _consequences(
    strikes: Sequence[Strike], policy_of: Callable[[str], Policy], people_of: Callable[[str], int]
) -> tuple[tuple[Consequence, ...], list[str]]:
    """What each vendor's policy says; and where that is less, because no source that says so may pause, a sentence about it."""
    found, held_back = [], []
    for vendor in sorted({strike.vendor for strike in strikes}):
        policy, people = policy_of(vendor), people_of(vendor)
        mine = [strike for strike in strikes if strike.vendor == vendor]
        if policy.act is Act.PAUSE and all(strike.trusted for strike in mine) and not any(s.may == Act.PAUSE for s in mine):
            held_back.append(
                f"{vendor} is only restricted: its policy says pause, and no source that says so may pause by itself"
            )
            policy = Policy(Act.RESTRICT)
        restricts = policy.act is Act.RESTRICT
        projects = policy.projects if restricts else ()
        found.append(Consequence(vendor, policy.act, people, read_only=restricts and policy.read_only, projects=projects))
    return tuple(found), held_back


def _ids(strikes: Iterable[Strike]) -> tuple[str, ...]:
    return tuple(sorted({strike.id for strike in strikes}))


def undone(strikes: Iterable[Strike], done: Mapping[tuple[str, Package, str], Sequence[tuple[frozenset[str], bool]]],
           *, aliases_of: Callable[[str], frozenset[str]]) -> list[Strike]:  # fmt: skip
    """The strikes that no action is about yet.

    `done` has, by vendor and component, each action's ids and whether its source was trusted. An action about any of a
    record's aliases is about the record too: one finding leads to one action. But what only others had said so far is news
    when a trusted source says it.
    """
    fresh = []
    for strike in strikes:
        before = done.get((strike.vendor, strike.package, strike.version), ())
        ids = aliases_of(strike.id)
        if not any(ids & names and (trusted or not strike.trusted) for names, trusted in before):
            fresh.append(strike)
    return fresh
