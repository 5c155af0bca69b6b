"""Advisories in the OSV schema, version 1.7, and whether they name a version: its sections "affected fields" and "Evaluation".

`Advisory.read` takes one record's bytes and raises Invalid with the reason for what is none; fields that it does not know it
passes over. `affects` has three values, and None (cannot say) wherever a text can't be placed in its ecosystem's order:
an unparseable version is never cleared.

Where the specification is silent: at one version `fixed` comes before `introduced`; a `last_affected` there closes one of what
was open before and what is introduced. A version counts as listed in `versions` if it is the same version in another spelling.
GIT ranges are about commits; they count only where nothing else is said, and then as *cannot say*. What has a release in the
ecosystem's name (`Debian:12`) is about that release; whether it holds for a package of an unnamed release can't be said.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from limen.core.errors import Invalid
from limen.formats import jsonobject
from limen.formats import versions as order
from limen.formats.purl import CONTAINER, Package, digest_of, package, package_of
from limen.formats.versions import pypi

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_RECORD: Final = 8 << 20
MAX_TEXT: Final = 4096
_MAX_ID: Final = 256
_MAX_ALIASES: Final = 1000
_EMBEDDED_MALICIOUS_CODE: Final = "CWE-506"
_ID: Final = re.compile(r"[!-~]+\Z")
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d{1,18}))?(?:[Zz]|([+-])(\d\d):(\d\d))\Z", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)  # noqa: UP017  `timezone` is needed for offsets
_FIRST_US: Final = -62_135_596_800_000_000
_LAST_US: Final = 253_402_300_799_999_999
_DIGEST: Final = re.compile(r"(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})\Z")
_KINDS: Final = ("ECOSYSTEM", "SEMVER", "GIT")
_EVENTS: Final = ("introduced", "fixed", "last_affected", "limit")


class Event(NamedTuple):
    """One event of a range: `introduced`, `fixed`, `last_affected` or `limit`, and at which version."""

    kind: str
    version: str


_FROM_THE_START: Final = Event("introduced", "0")
_UNLIMITED: Final = Event("limit", "*")


class Range(NamedTuple):
    """A range of versions: `ECOSYSTEM`, `SEMVER` or `GIT`, and its events as they were given."""

    kind: str
    events: tuple[Event, ...]

    @property
    def is_everything(self) -> bool:
        """Whether it holds every version there is, so that nobody need read the version."""
        return _FROM_THE_START in self.events and all(event.kind == "introduced" or event == _UNLIMITED for event in self.events)


@dataclass(frozen=True, slots=True)
class Affected:
    """What one advisory says of one package. `digests` are those of container images and of archives (`sha256:…`)."""

    package: Package
    versions: frozenset[str] = frozenset()
    ranges: tuple[Range, ...] = ()
    digests: frozenset[str] = frozenset()

    def holds(self, version: str) -> bool | None:
        """Whether this version of the package is affected; None if that can't be said. Empty: the version is not known."""
        return self.holder()(version)

    def holder(self) -> Callable[[str], bool | None]:
        """`holds` for many versions, with what does not depend on the version done once."""
        if any(each.is_everything for each in self.ranges):
            return lambda _: True
        ranges = [_Ordered.of(self.package.ecosystem, each) for each in self.ranges if each.kind != "GIT"]
        listed = self.versions
        if len(ranges) == 1 and not listed:
            return ranges[0].holds

        def holds(version: str) -> bool | None:
            if version and version in listed:
                return True
            answers = [each.holds(version) for each in ranges]
            if listed:
                answers.append(self._listed(version))
            return _any(answers) if answers else None

        return holds

    def rule(self) -> str:
        """All but the package as one line of JSON, which `from_rule` reads back: the form of derived tables."""
        ranges = [[each.kind, [list(event) for event in each.events]] for each in self.ranges]
        return json.dumps([sorted(self.versions), ranges, sorted(self.digests)], separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_rule(cls, named: Package, rule: str) -> Affected:
        """What `rule` wrote."""
        listed, ranges, digests = json.loads(rule)
        read = tuple(Range(kind, tuple(Event(*event) for event in events)) for kind, events in ranges)
        return cls(named, frozenset(listed), read, frozenset(digests))

    def _listed(self, version: str) -> bool | None:
        """Whether it is one of the listed versions in another spelling."""
        ecosystem = self.package.ecosystem
        if ecosystem == CONTAINER:  # a tag that is not listed may have stood for what is
            return False if _DIGEST.match(version) and self.digests and version not in self.digests else None
        placed = order.certain(ecosystem, version)
        if placed is None:
            return None
        listed = _keys(ecosystem, self.versions)
        return placed in listed or (ecosystem == "PyPI" and order.key(ecosystem, pypi.public(version)) in listed)


@dataclass(frozen=True, slots=True)
class Advisory:
    """One record, in one of its revisions. Times are µs since 1970; `malicious`: it names code that was made to do harm."""

    id: str
    modified_us: int
    published_us: int | None
    withdrawn_us: int | None
    aliases: tuple[str, ...]
    related: tuple[str, ...]
    affected: tuple[Affected, ...]
    malicious: bool
    summary: str

    @classmethod
    def read(cls, raw: bytes) -> Advisory:
        """Read a record; Invalid says why it is none. Related and upstream ids never make two records one."""
        record = jsonobject.read(raw, "record", limit=MAX_RECORD)
        version = record.get("schema_version", "1.0.0")
        if not isinstance(version, str) or version.partition(".")[0] != "1":
            raise Invalid("schema_version", f"{str(version)[:20]!a} is not known here; needed is 1.x")
        name = _identifier(record.get("id"), "id")
        aliases = _identifiers(record, "aliases")
        return cls(
            id=name,
            modified_us=time_us(record.get("modified"), "modified"),
            published_us=_time_if_any(record, "published"),
            withdrawn_us=_time_if_any(record, "withdrawn"),
            aliases=tuple(dict.fromkeys(alias for alias in aliases if alias != name)),
            related=(*_identifiers(record, "related"), *_identifiers(record, "upstream")),
            affected=tuple(_affected(record)),
            malicious=_is_malicious(record, (name, *aliases)),
            summary=_summary(record.get("summary")),
        )

    def affects(self, named: Package, version: str) -> bool | None:
        """Whether it names this version of this package; None if that can't be said. A withdrawn record answers as before."""
        return _any([_of(each, named, version) for each in self.affected])


def same(advised: str, mine: str) -> bool | None:
    """Whether an advisory for one ecosystem is about another: releases must agree; None if only one of them names one."""
    if advised == mine:
        return True
    base, _, release = advised.partition(":")
    other_base, _, other_release = mine.partition(":")
    if base != other_base or (release and other_release):
        return False
    return None


def time_us(value: object, where: str) -> int:
    """An RFC 3339 time in µs since 1970, later digits dropped; Invalid names the field."""
    found = _TIME.match(value) if isinstance(value, str) else None
    if found is None:
        raise Invalid(where, "is not an RFC 3339 time" if value is not None else "is missing; needed is an RFC 3339 time")
    moment, fraction, sign, hours, minutes = found.groups()
    try:
        at = datetime.fromisoformat(moment.upper() + "+00:00") - _EPOCH
    except ValueError as e:
        raise Invalid(where, f"is no time that a clock shows: {e}") from e
    if sign:
        if int(hours) > 23 or int(minutes) > 59:  # noqa: PLR2004  a day has 24 hours
            raise Invalid(where, "has an offset that no clock has")
        at -= timedelta(hours=int(hours), minutes=int(minutes)) * (1 if sign == "+" else -1)
    us = at // timedelta(microseconds=1) + int((fraction or "0").ljust(6, "0")[:6])
    if not _FIRST_US <= us <= _LAST_US:
        raise Invalid(where, "lies outside the years 1 to 9999")
    return us


def _any(answers: list[bool | None]) -> bool | None:
    """True if one is; else None if one can't be said."""
    if True in answers:
        return True
    return None if None in answers else False


def _of(each: Affected, named: Package, version: str) -> bool | None:
    if each.package.name != named.name:
        return False
    about = same(each.package.ecosystem, named.ecosystem)
    if about is False:
        return False
    holds = each.holds(version)
    return None if about is None and holds else holds


@lru_cache(maxsize=1 << 12)
def _keys(ecosystem: str, listed: frozenset[str]) -> frozenset[Any]:
    return frozenset(order.key(ecosystem, each) for each in listed) - {None}


class _Ordered(NamedTuple):
    """One range with its events placed in their order; `steps` is None if one has no place in it."""

    rules: str
    limits: tuple[Any, ...]
    steps: tuple[_Step, ...] | None
    always: bool  # introduced from the start
    public: bool  # PEP 440: a local label counts only against another

    @classmethod
    def of(cls, ecosystem: str, each: Range) -> _Ordered:
        rules = order.SEMVER if each.kind == "SEMVER" else ecosystem
        public = rules == "PyPI" and not any("+" in event.version for event in each.events)
        limits, steps = _placed(rules, each.events)
        return cls(rules, limits, steps, _FROM_THE_START in each.events, public)

    def holds(self, version: str) -> bool | None:
        """The specification's evaluation of one range."""
        mine = order.certain(self.rules, pypi.public(version) if self.public else version)
        if self.steps is None or mine is None:
            return None
        if self.limits and not any(mine < limit for limit in self.limits):
            return False
        affected = self.always
        for step in self.steps:
            if mine < step.key:
                break
            affected = step.at if mine == step.key else step.after
        return affected


class _Step(NamedTuple):
    """A version at which something changes: whether it is affected itself, and whether what follows it is."""

    key: Any
    at: bool
    after: bool


@lru_cache(maxsize=1 << 14)
def _placed(rules: str, events: tuple[Event, ...]) -> tuple[tuple[Any, ...], tuple[_Step, ...] | None]:
    """The limits, and the steps in their order (None if an event has no place in it).

    At one version, `fixed` comes before `introduced`. A `last_affected` closes one of what was open before and what is introduced
    just there: stretches may touch, and a stretch may be one version.
    """
    limits = []
    found: dict[Any, list[str]] = {}
    for event in events:
        if event in {_FROM_THE_START, _UNLIMITED}:
            continue
        placed = order.certain(rules, event.version)
        if placed is None:
            return (), None
        if event.kind == "limit":
            limits.append(placed)
        else:
            found.setdefault(placed, []).append(event.kind)
    steps = []
    affected = _FROM_THE_START in events
    for placed in sorted(found):
        kinds = found[placed]
        before = affected and "fixed" not in kinds
        opened = before + kinds.count("introduced")
        affected = opened > kinds.count("last_affected")
        steps.append(_Step(placed, opened > 0, affected))
    return () if _UNLIMITED in events else tuple(limits), tuple(steps)


def _affected(record: dict[str, Any]) -> list[Affected]:
    found = []
    for place, each in enumerate(_list(record, "affected", "affected")):
        where = f"affected[{place}]"
        if not isinstance(each, dict):
            raise Invalid(where, "is not an object")
        named = _package(each.get("package"), where)
        if named is None:
            continue  # commits alone, of no package: no bill of materials can name them
        listed = frozenset(_text(v, f"{where}.versions") for v in _list(each, "versions", f"{where}.versions"))
        ranges = tuple(_range(v, f"{where}.ranges[{n}]") for n, v in enumerate(_list(each, "ranges", f"{where}.ranges")))
        found.append(Affected(named, listed, ranges, _digests(each, listed)))
    return found


def _package(value: object, where: str) -> Package | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise Invalid(f"{where}.package", "is not an object")
    ecosystem, name, purl = value.get("ecosystem"), value.get("name"), value.get("purl")
    if ecosystem or name or not purl:
        return package(_text(ecosystem, f"{where}.package.ecosystem"), _text(name, f"{where}.package.name"))
    found = package_of(_text(purl, f"{where}.package.purl"))
    if found is None:
        raise Invalid(f"{where}.package.purl", "names no package, and nothing else does")
    return found[0]


def _range(value: object, where: str) -> Range:
    if not isinstance(value, dict) or value.get("type") not in _KINDS:
        raise Invalid(where, f"is not a range of type {', '.join(_KINDS)}")
    events = []
    for each in _list(value, "events", f"{where}.events"):
        known = [kind for kind in _EVENTS if isinstance(each, dict) and kind in each]
        if not known:
            raise Invalid(f"{where}.events", f"an event is none of {', '.join(_EVENTS)}")
        events += [Event(kind, _text(each[kind], f"{where}.events.{kind}")) for kind in known]
    if not any(event.kind == "introduced" for event in events):
        raise Invalid(f"{where}.events", "none says `introduced`, so the range begins nowhere")
    return Range(value["type"], tuple(events))


def _digests(each: dict[str, Any], listed: frozenset[str]) -> frozenset[str]:
    """Digests of what carries the package: among its versions, in its purl, or under `digests` of the databases' own fields."""
    found = set(listed)
    purl = each["package"].get("purl")
    if isinstance(purl, str):
        found.add(digest_of(purl))
    for name in ("ecosystem_specific", "database_specific"):
        own = each.get(name)
        digests = own.get("digests") if isinstance(own, dict) else None
        found.update(d for d in digests if isinstance(d, str)) if isinstance(digests, list) else None
    return frozenset(digest for digest in found if _DIGEST.match(digest))


def _is_malicious(record: dict[str, Any], names: tuple[str, ...]) -> bool:
    """By its own name or an alias of OpenSSF's malicious packages, or by its weakness: embedded malicious code (CWE-506)."""
    own = record.get("database_specific")
    own = own if isinstance(own, dict) else {}
    weaknesses = own.get("cwe_ids")
    return (
        any(name.startswith("MAL-") for name in names)
        or "malicious-packages-origins" in own
        or (isinstance(weaknesses, list) and _EMBEDDED_MALICIOUS_CODE in weaknesses)
    )


def _list(value: dict[str, Any], name: str, where: str) -> list[Any]:
    found = value.get(name)
    if found is None:
        return []
    if not isinstance(found, list):
        raise Invalid(where, "is not a list")
    return found


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise Invalid(where, "is not text, or empty")
    if len(value) > MAX_TEXT:
        raise Invalid(where, f"has {len(value)} characters, more than {MAX_TEXT}")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as e:
            raise Invalid(where, "is not valid Unicode") from e
    return value


def _identifier(value: object, where: str) -> str:
    name = _text(value, where)
    if len(name) > _MAX_ID or not _ID.match(name):
        raise Invalid(where, f"{name[:40]!a} is no identifier: at most {_MAX_ID} printable characters without spaces")
    return name


def _identifiers(record: dict[str, Any], name: str) -> list[str]:
    found = _list(record, name, name)
    if len(found) > _MAX_ALIASES:
        raise Invalid(name, f"has {len(found)} entries, more than {_MAX_ALIASES}")
    return [_identifier(each, name) for each in found]


def _time_if_any(record: dict[str, Any], name: str) -> int | None:
    value = record.get(name)
    return None if value is None else time_us(value, name)


def _summary(value: object) -> str:
    """One line for people; what is no text, or too long, says less and stops nothing."""
    text = value[:300] if isinstance(value, str) else ""
    if text.isprintable() and text.isascii():
        return text
    text = text.encode(errors="replace").decode()
    return "".join(c if c.isprintable() else " " for c in text)
