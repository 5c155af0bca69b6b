"""Who is who: which person stands behind a principal of another system's log, and which asset behind a place in it.

A mapping is one TOML document, edited by people and set with `limen who set`. Its rules are read in their order and the
first that matches wins, so a narrow rule stands above a wide one. A principal that no rule matches is *unknown*: reports
carry it with its figures. Nothing here reads observations: the same mapping, or another, is laid over them at each report,
and no import is ever repeated for it. docs/who.md describes the document.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import Invalid
from limen.observe.globs import Globs, head

if TYPE_CHECKING:
    from collections.abc import Iterable

LAB: Final = "lab"
MAX_BYTES: Final = 16 << 20
MAX_TEXT: Final = 2048
DEPLOY_KEY: Final = "github:deploy-key/"  # a fingerprint follows, in which case tells
_SEEN: Final = 65_536  # principals with their sessions whose rules are kept in memory
_SCHEME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}:")
_PERSON: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}/[a-z0-9][a-z0-9._-]{0,62}\Z")
_ID: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z")
_ANSWERS: Final = ("person", "people", "vendor", "lab")


@dataclass(frozen=True, slots=True)
class Attribution:
    """Whom an observation is put down to. Empty: an unknown principal.

    One of `people`: that person. Several: one of them, and nobody can say which. None but a `vendor`: somebody there.
    `lab`: the lab's own, or one of its people. `vendor` is None also where `people` are of several vendors; see `vendors`.
    """

    people: tuple[str, ...] = ()
    vendor: str | None = None
    lab: bool = False

    @property
    def known(self) -> bool:
        """Whether the mapping says anything of the principal."""
        return bool(self.people or self.vendor or self.lab)

    @property
    def vendors(self) -> tuple[str, ...]:
        """Every vendor that it may have been; the lab is none."""
        found = {person.partition("/")[0] for person in self.people} - {LAB}
        return tuple(sorted(found | ({self.vendor} if self.vendor else set())))

    @property
    def sort(self) -> str:
        """How much is known of who it was: `person`, `one-of`, `vendor`, `lab` or `unknown`."""
        if self.people:
            return "person" if len(self.people) == 1 else "one-of"
        return "vendor" if self.vendor else "lab" if self.lab else "unknown"


UNKNOWN: Final = Attribution()


@dataclass(frozen=True, slots=True)
class Rule:
    """One `[[who]]`: principals and sessions by pattern, in [`from_us`, `until_us`), and whom they are put down to."""

    principal: str
    session: str
    from_us: int | None
    until_us: int | None
    attribution: Attribution

    def holds(self, at_us: int) -> bool:
        """Whether the rule is about that moment."""
        return (self.from_us is None or self.from_us <= at_us) and (self.until_us is None or at_us < self.until_us)


@dataclass(frozen=True, slots=True)
class PlaceRule:
    """One `[[place]]`: resources by pattern, and the asset that they are copies of."""

    resource: str
    asset: str


@dataclass(frozen=True)
class Who:
    """One mapping, whole. `digest` is the SHA-256 of its document, hex; empty for the mapping that was never set."""

    rules: tuple[Rule, ...] = ()
    places: tuple[PlaceRule, ...] = ()
    digest: str = ""
    _seen: dict[tuple[str, str], tuple[Rule, ...]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, raw: bytes) -> Who:
        """Read a mapping; Invalid names the rule (`who[3].session`) and what is wrong with it."""
        document = _toml(raw)
        if surplus := document.keys() - {"who", "place"}:
            raise Invalid(min(surplus), "is not a section of a mapping; there are who and place")
        rules = tuple(_rule(f"who[{i}]", row) for i, row in enumerate(_rows(document, "who")))
        places = tuple(_place(f"place[{i}]", row) for i, row in enumerate(_rows(document, "place")))
        _no_twins(rules)
        _no_twin_places(places)
        return cls(rules, places, hashlib.sha256(raw).hexdigest())

    def of(self, principal: str, session: str, at_us: int) -> Attribution:
        """Whom an observation of that principal and session at that moment is put down to; empty if nobody knows."""
        return next((rule.attribution for rule in self.about(principal, session) if rule.holds(at_us)), UNKNOWN)

    def about(self, principal: str, session: str) -> tuple[Rule, ...]:
        """The rules that match a principal and session at some moment, in order, down to the first that always does."""
        key = (folded(principal), session)
        rules = self._seen.get(key)
        if rules is None:
            found = []
            for number in self._rules.matches(*key):
                found.append(self.rules[number])
                if found[-1].from_us is None and found[-1].until_us is None:
                    break
            if len(self._seen) >= _SEEN:
                self._seen.clear()
            rules = self._seen[key] = tuple(found)
        return rules

    def reaching(self, principal: str) -> tuple[Attribution, ...]:
        """Whom a principal may be put down to in some session at some moment: what is granted to it, they may use."""
        return tuple(dict.fromkeys(self.rules[number].attribution for number in self._principals.matches(folded(principal))))

    def looks_closer(self, principal: str) -> bool:
        """Whether it depends on the session or the moment whom a principal is put down to."""
        number = self._principals.first(folded(principal))
        if number is None:
            return False
        rule = self.rules[number]  # if it always holds, none after it counts
        return rule.session != "*" or rule.from_us is not None or rule.until_us is not None

    def asset_of(self, resource: str) -> str | None:
        """The asset that a resource is a copy of, or None if no rule says so."""
        number = self._places.first(folded(resource))
        return None if number is None else self.places[number].asset

    def with_places(self, places: Iterable[PlaceRule]) -> Who:
        """The same mapping with further places after its own: those of adopted assets, which map themselves."""
        return Who(self.rules, (*self.places, *places), self.digest)

    @cached_property
    def _rules(self) -> Globs:
        return Globs((folded(rule.principal), rule.session) for rule in self.rules)

    @cached_property
    def _principals(self) -> Globs:
        return Globs((folded(rule.principal),) for rule in self.rules)

    @cached_property
    def _places(self) -> Globs:
        return Globs((folded(place.resource),) for place in self.places)


def folded(text: str) -> str:
    """A principal or resource as it is compared: GitHub's names are the same in any case, all others as they are."""
    return text.lower() if text[:7].lower() == "github:" and not text.startswith(DEPLOY_KEY) else text


def _toml(raw: bytes) -> dict[str, Any]:
    if len(raw) > MAX_BYTES:
        raise Invalid("mapping", f"has more than {MAX_BYTES >> 20} MiB")
    try:
        return tomllib.loads(raw.decode())
    except UnicodeDecodeError as e:
        raise Invalid("mapping", f"is not UTF-8 at byte {e.start}") from e
    except RecursionError as e:
        raise Invalid("mapping", "is nested too deeply") from e
    except ValueError as e:
        raise Invalid("mapping", f"is not TOML: {str(e)[:200]}") from e


def _rows(document: dict[str, Any], section: str) -> list[dict[str, Any]]:
    rows = document.get(section, [])
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Invalid(section, f"is not a list of [[{section}]]")
    return rows


def _rule(where: str, row: dict[str, Any]) -> Rule:
    _only(where, row, {"principal", "session", "from", "until", *_ANSWERS})
    said = [name for name in _ANSWERS if name in row]
    if len(said) != 1:
        raise Invalid(where, f"must say exactly one of {', '.join(_ANSWERS)}; it says {' and '.join(said) or 'none'}")
    principal = _pattern(f"{where}.principal", row.get("principal"))
    session = _text(f"{where}.session", row.get("session", "*"), empty=True)
    from_us, until_us = (_moment(f"{where}.{name}", row.get(name)) for name in ("from", "until"))
    if from_us is not None and until_us is not None and until_us <= from_us:
        raise Invalid(f"{where}.until", "is not after from: the rule would never hold")
    return Rule(principal, session, from_us, until_us, _attribution(f"{where}.{said[0]}", said[0], row[said[0]]))


def _attribution(where: str, name: str, value: object) -> Attribution:
    match name, value:
        case "lab", True:
            return Attribution(lab=True)
        case "vendor", str() if _ID.match(value) and value != LAB:
            return Attribution(vendor=value)
        case "person", str():
            return _people(where, [value])
        case "people", list() if value:
            return _people(where, value)
    wanted = {"lab": "true", "vendor": "a vendor's id", "person": "`vendor/handle`", "people": "a list of `vendor/handle`"}
    raise Invalid(where, f"is not {wanted[name]}")


def _people(where: str, ids: list[Any]) -> Attribution:
    for id_ in ids:
        if not isinstance(id_, str) or not _PERSON.match(id_):
            raise Invalid(where, f"{str(id_)[:80]!r} is not `vendor/handle`")
    if len(set(ids)) != len(ids):
        raise Invalid(where, "names somebody twice")
    companies = {id_.partition("/")[0] for id_ in ids}
    vendor = companies.pop() if len(companies) == 1 else None
    return Attribution(tuple(sorted(ids)), None if vendor == LAB else vendor, vendor == LAB)


def _place(where: str, row: dict[str, Any]) -> PlaceRule:
    _only(where, row, {"resource", "asset"})
    asset = row.get("asset")
    if not isinstance(asset, str) or not _ID.match(asset):
        raise Invalid(f"{where}.asset", "is not an asset's id")
    return PlaceRule(_pattern(f"{where}.resource", row.get("resource")), asset)


def _only(where: str, row: dict[str, Any], names: set[str]) -> None:
    if surplus := row.keys() - names:
        raise Invalid(f"{where}.{min(surplus)}", f"is unknown; there are {', '.join(sorted(names))}")


def _pattern(where: str, value: object) -> str:
    pattern = _text(where, value)
    # A rule whose system is open (`*`) would speak of logs that its writer never saw.
    if not _SCHEME.match(head(pattern)):
        raise Invalid(where, f"{pattern[:80]!r} does not begin with a system's name and a colon, like aws: or github:")
    return pattern


def _text(where: str, value: object, *, empty: bool = False) -> str:
    if value is None:
        raise Invalid(where, "is missing")
    if not isinstance(value, str) or len(value) > MAX_TEXT or not (value or empty):
        raise Invalid(where, f"is not a text of at most {MAX_TEXT} characters")
    return value


def _moment(where: str, value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, str):
        value = _written(where, value)
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(value, datetime):
        raise Invalid(where, "is not a time (2026-04-02 or 2026-04-02T09:00:00Z)")
    if value.tzinfo is None:
        raise Invalid(where, "has no offset from UTC; end it with Z or +hh:mm")
    return int(value.timestamp()) * 1_000_000 + value.microsecond


def _written(where: str, text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as e:
        raise Invalid(where, f"{text[:80]!r} is not a time (2026-04-02 or 2026-04-02T09:00:00Z)") from e


def _no_twins(rules: tuple[Rule, ...]) -> None:
    """Refuse a rule that another of the same patterns hides: whoever wrote it believes that it counts."""
    earlier: dict[tuple[str, str], list[tuple[int, Rule]]] = {}
    for number, rule in enumerate(rules):
        same = earlier.setdefault((folded(rule.principal), rule.session), [])
        for other_number, other in same:
            if _overlap(rule, other):
                raise Invalid(f"who[{number}]", f"has the principal and session of who[{other_number}] at the same time")
        same.append((number, rule))


def _overlap(one: Rule, other: Rule) -> bool:
    first, last = max(one.from_us or 0, other.from_us or 0), [u for u in (one.until_us, other.until_us) if u is not None]
    return not last or first < min(last)


def _no_twin_places(places: tuple[PlaceRule, ...]) -> None:
    seen: dict[str, int] = {}
    for number, place in enumerate(places):
        other = seen.setdefault(folded(place.resource), number)
        if other != number:
            raise Invalid(f"place[{number}]", f"has the resource of place[{other}]")
