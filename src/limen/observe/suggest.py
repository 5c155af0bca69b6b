"""Suggestions of who is who: what names themselves give away, each with its reason and its figures.

A name proves nothing: whoever may open a session chooses its name. So a suggestion is never put in force by itself; it
is a rule to read, and to paste into the mapping or not. Only principals that the mapping does not know yet are looked at.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from limen.observe.globs import literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from limen.observe.who import Who

SHORTEST_HANDLE: Final = 3  # a shorter one is found by chance in names that name no vendor besides
SHORTEST_BEGINNING: Final = 4  # of a vendor's id: quill- for quillwork
LAST_CHARACTER: Final = "\U0010ffff"
_BREAK: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Seen:
    """A principal with a session, and what was observed of it."""

    principal: str
    session: str
    observations: int
    bytes: int
    first_us: int
    last_us: int


@dataclass(frozen=True, slots=True)
class Names:
    """The names to look for: people as (id, subject at their issuer), vendors as (id, name)."""

    people: Sequence[tuple[str, str]]
    vendors: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A rule that might hold, why, and how much stands behind it. `people` or `vendor`, never both."""

    principal: str
    session: str
    people: tuple[str, ...]
    vendor: str | None
    reason: str
    observations: int
    sessions: int
    bytes: int
    first_us: int
    last_us: int

    @property
    def rule(self) -> str:
        """The rule as it would stand in the mapping, its reason as a comment."""
        lines = [f"# {self.reason} ({self.observations} observations)", "[[who]]", f"principal = {_quoted(self.principal)}"]
        if self.session != "*":
            lines.append(f"session = {_quoted(self.session)}")
        if len(self.people) == 1:
            lines.append(f"person = {_quoted(self.people[0])}")
        elif self.people:
            lines.append(f"people = [{', '.join(map(_quoted, self.people))}]")
        else:
            lines.append(f"vendor = {_quoted(self.vendor or '')}")
        return "\n".join(lines) + "\n"


def suggest(
    seen: Iterable[Seen],
    names: Names,
    who: Who,
    *,
    tags: Mapping[str, Mapping[str, str]] | None = None,
    keys: Mapping[str, str] | None = None,
) -> list[Suggestion]:
    """Suggestions for what the mapping does not know, narrow rules first.

    `tags`: principal to its IAM tags. `keys`: principals of which only an access key is known, to whom that key belongs
    elsewhere in the logs.
    """
    finder = _Finder(names)
    found: list[Suggestion] = []
    for principal, sessions in _by_principal(seen).items():
        unknown = [one for one in sessions if not who.of(principal, one.session, one.last_us).known]
        if unknown:
            found += _of_principal(finder, principal, unknown, sessions, (tags or {}).get(principal, {}))
            found += _of_key(who, principal, unknown, (keys or {}).get(principal))
    return sorted(found, key=lambda s: (not s.people, s.session == "*", -s.observations, s.principal, s.session))


def _by_principal(seen: Iterable[Seen]) -> dict[str, list[Seen]]:
    found: dict[str, list[Seen]] = defaultdict(list)
    for one in seen:
        found[one.principal].append(one)
    return found


def _of_principal(
    finder: _Finder, principal: str, unknown: list[Seen], sessions: list[Seen], tags: Mapping[str, str]
) -> list[Suggestion]:
    name = principal.rpartition("/")[2] if "/" in principal else principal.partition(":")[2]
    vendor, why_vendor = finder.vendor(name)
    whole = _drawn(principal, "*", unknown)
    for key, value in sorted(tags.items()):
        people, tagged = finder.exactly(value)
        if people or tagged:
            return [replace(whole, people=people, vendor=None if people else tagged, reason=f"its IAM tag {key} is {value!r}")]
    people, why = finder.people(name, vendor)
    if people:
        return [replace(whole, people=people, reason=why)]
    found, named, names = [], set(), sorted({one.session for one in sessions})
    for people, (ones, why) in _by_people(finder, unknown, vendor).items():
        named |= {one.session for one in ones}
        found += [
            replace(_drawn(principal, pattern, some), people=people, reason=why) for pattern, some in _patterns(ones, names)
        ]
    rest = [one for one in unknown if one.session not in named]
    if rest and not vendor:
        vendor, why_vendor = _of_most(found)
    if rest and vendor:
        found.append(replace(_drawn(principal, "*", rest), vendor=vendor, reason=why_vendor))
    return found


def _of_key(who: Who, principal: str, unknown: list[Seen], owner: str | None) -> list[Suggestion]:
    """An access key that belongs to a principal whom the mapping knows."""
    if owner is None:
        return []
    attribution = who.of(owner, "", max(one.last_us for one in unknown))
    if not attribution.people and not attribution.vendor:
        return []
    drawn = _drawn(principal, "*", unknown)
    vendor = None if attribution.people else attribution.vendor
    return [replace(drawn, people=attribution.people, vendor=vendor, reason=f"the same access key is {owner}'s")]


def _by_people(finder: _Finder, sessions: list[Seen], vendor: str | None) -> dict[tuple[str, ...], tuple[list[Seen], str]]:
    """The sessions by whom their names name."""
    found: dict[tuple[str, ...], tuple[list[Seen], str]] = {}
    for one in sessions:
        people, why = finder.people(one.session, vendor) if one.session else ((), "")
        if people:
            found.setdefault(people, ([], f"the session's name: {why}"))[0].append(one)
    return found


def _patterns(ones: list[Seen], names: list[str]) -> list[tuple[str, list[Seen]]]:
    """One pattern for all of these sessions if no other of the principal's (`names`, sorted) begins so; else one for each."""
    mine = {one.session for one in ones}
    first, last = min(mine), max(mine)
    begin = first[: next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))]
    if len(mine) > 1 and begin and literal(begin):
        alike = bisect_left(names, begin + LAST_CHARACTER) - bisect_left(names, begin)
        if alike == len(mine):
            return [(f"{begin}*", ones)]
    return [(one.session, [one]) for one in ones]


def _of_most(found: list[Suggestion]) -> tuple[str | None, str]:
    """The vendor of the people whom the principal's other sessions name, if it is one."""
    vendors = {person.partition("/")[0] for suggestion in found for person in suggestion.people} - {"lab"}
    if len(vendors) != 1:
        return None, ""
    vendor = vendors.pop()
    return vendor, f"{sum(s.sessions for s in found)} other sessions name people of {vendor}"


def _drawn(principal: str, session: str, ones: list[Seen]) -> Suggestion:
    """The figures of some sessions; whom they are put down to comes after."""
    return Suggestion(
        principal=principal,
        session=session,
        people=(),
        vendor=None,
        reason="",
        observations=sum(one.observations for one in ones),
        sessions=len({one.session for one in ones}),
        bytes=sum(one.bytes for one in ones),
        first_us=min(one.first_us for one in ones),
        last_us=max(one.last_us for one in ones),
    )


class _Finder:
    """Finds handles and vendors in names. A handle must stand there as a word of its own: q1 is not in q12."""

    def __init__(self, names: Names) -> None:
        self._vendors = [(id_, {_words(id_), _words(name)}) for id_, name in names.vendors]
        self._handles: dict[str, list[str]] = defaultdict(list)
        self._exact: dict[str, list[str]] = defaultdict(list)
        for id_, subject in names.people:
            self._handles[_words(id_.partition("/")[2])].append(id_)
            for name in {id_.lower(), id_.partition("/")[2].lower(), subject.lower()} - {""}:
                self._exact[name].append(id_)
        self._longest = max((handle.count("-") for handle in self._handles), default=1)

    def exactly(self, value: str) -> tuple[tuple[str, ...], str | None]:
        """Whose id, handle or subject a value is, or else which vendor's id or name."""
        people = tuple(sorted(set(self._exact.get(value.lower(), ()))))
        vendors = [id_ for id_, named in self._vendors if _words(value) in named]
        return people, None if people or len(vendors) != 1 else vendors[0]

    def vendor(self, name: str) -> tuple[str | None, str]:
        """The one vendor that a name names, and how."""
        words = _words(name)
        named = sorted({id_ for id_, forms in self._vendors for form in forms if form in words})
        if len(named) == 1:
            return named[0], f"its name holds {named[0]}"
        begins = sorted(
            {(id_, w) for w in words.split("-") if len(w) >= SHORTEST_BEGINNING for id_, _ in self._vendors if id_.startswith(w)}
        )
        if not named and len({id_ for id_, _ in begins}) == 1:
            return begins[0][0], f"its name holds {begins[0][1]!r}, with which {begins[0][0]} begins"
        return None, ""

    def people(self, name: str, vendor: str | None) -> tuple[tuple[str, ...], str]:
        """Whom a name names, of that vendor if one is known; several if they share a handle."""
        exact = self._exact.get(name.lower())
        if exact:
            return self._of(vendor, exact, f"{name} is a handle or subject")
        named = self.vendor(name)[0]
        shortest, vendor = (1, named) if named else (SHORTEST_HANDLE, vendor)
        words = _words(name).strip("-").split("-")
        for length in range(min(len(words), self._longest), 0, -1):
            for start in range(len(words) - length + 1):
                handle = f"-{'-'.join(words[start : start + length])}-"
                if handle in self._handles and len(handle) - 2 >= shortest:
                    return self._of(vendor, self._handles[handle], f"{name} holds the handle {handle[1:-1]}")
        return (), ""

    def _of(self, vendor: str | None, ids: list[str], why: str) -> tuple[tuple[str, ...], str]:
        theirs = sorted({id_ for id_ in ids if vendor is None or id_.partition("/")[0] == vendor}) or sorted(set(ids))
        return tuple(theirs), why if len(theirs) == 1 else f"{why}, which {len(theirs)} people have"


def _words(name: str) -> str:
    """A name as words between dashes: `-quill-annotators-`."""
    return f"-{_BREAK.sub('-', name.lower()).strip('-')}-"


def _quoted(text: str) -> str:
    """A TOML basic string."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
