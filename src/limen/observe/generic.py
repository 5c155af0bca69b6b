"""Reads any log of one JSON object a line (JSON Lines), by a mapping in TOML: docs/formats/observations.md gives its grammar.

A mapping names fields by dotted paths; nothing but what it names is kept, and what it calls a credential is kept as a hash.
"""

from __future__ import annotations

import fnmatch
import re
import tomllib
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from limen.core.errors import Invalid
from limen.observe.moments import any_form, number, rfc3339
from limen.observe.reader import read_json
from limen.observe.rows import ACTIONS, OddError, id_of, network_of, size_of

if TYPE_CHECKING:
    from limen.observe.inputs import Feed
    from limen.observe.reader import Taken
    from limen.observe.report import Report
    from limen.observe.rows import Rows

_SLOT: Final = re.compile(r"\{([^{}]*)\}")
_PREFIX: Final = re.compile(r"[a-z][a-z0-9.+-]{0,31}\Z")
_RESERVED: Final = frozenset({"aws", "github", "vault", "s3"})


class _Actions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which of our actions each value of a field is. A value that is not named is left out and counted."""

    field: str
    names: dict[str, str]


class _Outcomes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which values of a field say that it was granted, or denied: globs. Any other value is `failed`, none is `ok`."""

    field: str
    ok: tuple[str, ...] = ("2??", "3??", "ok", "success", "true")
    denied: tuple[str, ...] = ("401", "403", "denied")


class Mapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How the lines of one log read."""

    name: str
    time: str
    time_unit: Literal["", "rfc3339", "s", "ms", "us", "ns"] = ""
    id: str = ""
    principal: str
    session: str = ""
    credential: str = ""
    resource: str
    size: str = msgspec.field(default="", name="bytes")
    network: str = ""
    detail: str = ""
    action: str = ""  # one action for every line, if there is no table
    actions: _Actions | None = None
    outcome: _Outcomes | None = None
    gap_s: int = 3600

    @classmethod
    def read(cls, raw: bytes, where: str) -> Mapping:
        """A mapping from its TOML. Invalid names what is wrong."""
        try:
            mapping = msgspec.convert(tomllib.loads(raw.decode()), cls)
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as e:
            raise Invalid(where, str(e)) from e
        if not _PREFIX.match(mapping.name) or mapping.name in _RESERVED:
            raise Invalid(f"{where}: name", "begins principals and resources: small letters, and none of aws, github, vault, s3")
        if bool(mapping.action) == (mapping.actions is not None):
            raise Invalid(f"{where}: action", "give either one action for every line, or a table [actions]")
        named = [mapping.action] if mapping.actions is None else list(mapping.actions.names.values())
        if wrong := [name for name in named if name not in ACTIONS]:
            raise Invalid(f"{where}: action", f"{wrong[0]!r} is none of {', '.join(ACTIONS)}")
        if mapping.gap_s < 60:  # noqa: PLR2004  as for every source
            raise Invalid(f"{where}: gap_s", "is a number of seconds, 60 or more")
        return mapping

    @property
    def fields(self) -> tuple[str, ...]:
        """Every path that it names."""
        texts = (self.principal, self.session, self.resource, self.detail)
        paths = [slot.strip() for text in texts for slot in _SLOT.findall(text)]
        others = (self.time, self.id, self.credential, self.size, self.network)
        tables = (self.actions.field if self.actions else "", self.outcome.field if self.outcome else "")
        return tuple(dict.fromkeys(path for path in (*others, *paths, *tables) if path))


class Generic:
    """Reads JSON Lines by a mapping."""

    kind = "generic"
    basis = "gap"

    def __init__(self, mapping: Mapping) -> None:
        self._mapping = mapping
        self.fields = mapping.fields
        self.gap_s = mapping.gap_s

    def ends_us(self, name: str) -> None:
        """Names say nothing of it."""
        del name

    def read(self, feed: Feed, rows: Rows, report: Report) -> None:
        """Read one log."""
        read_json(feed, rows, report, take=self.take, many=_many, like=lambda _: True)

    def take(self, given: Any) -> Taken:
        """One line's row."""
        mapping = self._mapping
        event = given if isinstance(given, dict) else _any(given)
        if not isinstance(event, dict):
            raise OddError("is no JSON object")
        at_us = self._time(_at(event, mapping.time))
        action = mapping.action
        if mapping.actions is not None:
            found = mapping.actions.names.get(_word(_at(event, mapping.actions.field)))
            if found is None:
                return at_us, [], "lines whose action the mapping does not name"
            action = found
        principal, resource = self._named(event, mapping.principal), self._named(event, mapping.resource)
        session, detail = _filled(event, mapping.session), _filled(event, mapping.detail)
        credential = _word(_at(event, mapping.credential)) if mapping.credential else ""
        told = _at(event, mapping.size) if mapping.size else None
        own = _word(_at(event, mapping.id)) if mapping.id else _whole(event)
        row = (
            id_of(own, at_us, principal, session, action, resource),
            at_us,
            principal,
            session,
            f"blake2b:{blake2b(credential.encode(), digest_size=16).hexdigest()}" if credential else "",
            action,
            resource,
            _count(told),
            self._outcome(event),
            network_of(_word(_at(event, mapping.network))) if mapping.network else "",
            detail,
        )
        return at_us, [row], ""

    def _time(self, value: object) -> int:
        unit = self._mapping.time_unit
        if not unit:
            return any_form(value)
        if unit == "rfc3339":
            return rfc3339(_word(value))
        return number(float(_word(value)), unit)

    def _named(self, event: dict[str, Any], template: str) -> str:
        filled = _filled(event, template)
        if not filled:
            raise OddError(f"has nothing where the mapping says {template}")
        return f"{self._mapping.name}:{filled}"

    def _outcome(self, event: dict[str, Any]) -> str:
        outcomes = self._mapping.outcome
        if outcomes is None:
            return "ok"
        told = _word(_at(event, outcomes.field)).lower()
        if not told or any(fnmatch.fnmatchcase(told, glob) for glob in outcomes.ok):
            return "ok"
        return "denied" if any(fnmatch.fnmatchcase(told, glob) for glob in outcomes.denied) else "failed"


_any = msgspec.json.Decoder().decode


def _many(raw: bytes) -> list[Any]:
    found = _any(raw)
    if not isinstance(found, list):
        raise OddError("is no list of events")
    return found


def _at(event: Any, path: str) -> Any:
    """The value at a dotted path; None if there is none."""
    for step in path.split("."):
        if not isinstance(event, dict):
            return None
        event = event.get(step)
    return event


def _word(value: object) -> str:
    """A value as text: what is no text, number or truth value is nothing."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else ""


def _filled(event: dict[str, Any], template: str) -> str:
    """A template with its slots filled; empty if every slot is."""
    slots = [_word(_at(event, slot.strip())) for slot in _SLOT.findall(template)]
    if slots and not any(slots):
        return ""
    filling = iter(slots)
    return _SLOT.sub(lambda _: next(filling), template)


def _count(value: object) -> int | None:
    text = _word(value)
    return size_of(float(text)) if text and not isinstance(value, bool) else None


def _whole(event: dict[str, Any]) -> str:
    """What stands for an id where a log has none: equal lines are one event."""
    return blake2b(msgspec.json.encode(event, order="sorted"), digest_size=16).hexdigest()
