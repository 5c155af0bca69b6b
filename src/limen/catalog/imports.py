"""Reads a catalog from one TOML 1.0 or JSON document, as the ordered changes that make it.

Reading checks the document's shape alone: names, types and dates. `Snapshot.prepare` then checks the changes against the
catalog, all or nothing. Either way a mistake is one line that names its place: `grant[2].expires: …` (counted from 0).
docs/formats/import.md describes the document.

Strict, because what it says is authority: an unknown or repeated key, a float, a time without an offset are refused,
and so is a document above MAX_BYTES or nested deeper than its shape allows.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn, overload

from limen.catalog import changes as c
from limen.catalog.grammar import LAB
from limen.core.errors import Invalid
from limen.core.types import Action

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_BYTES: Final = 64 << 20  # 10^5 people with their grants are some 30 MB
MAX_LINE: Final = 64 << 10  # of TOML: a dotted key of that length is nobody's catalog
MAX_ROWS: Final = 1_000_000

# RFC 3339 §5.6: full-date, or date-time; without an offset it is refused later, with a reason of its own.
_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})?)?"
)

_ACTIONS: Final = tuple(action.value for action in Action)
FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 9999


class Import(Sequence[c.Change]):
    """The changes of one document, in order, with the place of each (`person[3]`)."""

    def __init__(self, rows: Sequence[tuple[str, c.Change]]) -> None:
        self.places = tuple(place for place, _ in rows)
        self._changes = tuple(change for _, change in rows)

    @overload
    def __getitem__(self, index: int) -> c.Change: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[c.Change, ...]: ...
    def __getitem__(self, index: int | slice) -> c.Change | tuple[c.Change, ...]:
        return self._changes[index]

    def __len__(self) -> int:
        return len(self._changes)


def read_import(raw: bytes, form: str) -> Import:
    """The changes in a document of form "toml" or "json"; Invalid, naming the place, if any of it is not as it should be."""
    if form not in {"toml", "json"}:
        raise Invalid("format", f"{form!a} is neither toml nor json")
    if len(raw) > MAX_BYTES:
        raise Invalid("import", f"has {len(raw)} bytes, more than {MAX_BYTES}")
    document = _toml(raw) if form == "toml" else _json(raw)
    for name in document:
        if name not in READERS:
            raise Invalid(_shown(name), f"is no section; there are {', '.join(READERS)}")
    return Import([row for name, read in READERS.items() for row in _section(document, name, read)])


def _section(document: dict[str, Any], name: str, read: Callable[[Fields], c.Change]) -> list[tuple[str, c.Change]]:
    rows = document.get(name, [])
    if not isinstance(rows, list):
        raise Invalid(name, f"is not a list; write [[{name}]] in TOML, or a list of objects in JSON")
    if len(rows) > MAX_ROWS:
        raise Invalid(name, f"has {len(rows)} rows, more than {MAX_ROWS}")
    changes = []
    for i, row in enumerate(rows):
        place = f"{name}[{i}]"
        fields = Fields(place, row)
        changes.append((place, read(fields)))
        fields.nothing_left()
    return changes


class Fields:
    """One row, taken apart field by field; what is left over at the end is an unknown field."""

    def __init__(self, place: str, row: object) -> None:
        if not isinstance(row, dict):
            raise Invalid(place, "is not a table of fields")
        self._place = place
        self._row: dict[str, Any] = dict(row)

    def nothing_left(self) -> None:
        """Refuse a row with a field that was not asked for."""
        for name in self._row:
            raise Invalid(f"{self._place}.{_shown(name)}", "is no field of this section")

    def text(self, name: str, default: str | None = None) -> str:
        """A text; without a default it must be there."""
        value = self._take(name, default)
        if not isinstance(value, str):
            self._wrong(name, value, "a text")
        return value

    def truth(self, name: str, *, default: bool | None = None) -> bool:
        """True or false."""
        value = self._take(name, default)
        if not isinstance(value, bool):
            self._wrong(name, value, "true or false")
        return value

    def count(self, name: str) -> int:
        """A whole number."""
        return self._whole(name, self._take(name, None))

    def count_or_none(self, name: str) -> int | None:
        """A whole number, or None if it is absent or null."""
        value = self._row.pop(name, None)
        return None if value is None else self._whole(name, value)

    def texts(self, name: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """A list of texts, none twice."""
        value = self._take(name, default)
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            self._wrong(name, value, "a list of texts")
        if len(set(value)) != len(value):
            raise Invalid(f"{self._place}.{name}", "names one twice")
        return tuple(value)

    def choice(self, name: str, choices: tuple[str, ...], default: str) -> str:
        """One of a few words."""
        value = self.text(name, default)
        if value not in choices:
            raise Invalid(f"{self._place}.{name}", f"{_shown(value)} is none of {', '.join(choices)}")
        return value

    def actions(self, name: str) -> tuple[Action, ...]:
        """A list of actions."""
        words = self.texts(name)
        for word in words:
            if word not in _ACTIONS:
                raise Invalid(f"{self._place}.{name}", f"{_shown(word)} is none of {', '.join(_ACTIONS)}")
        return tuple(Action(word) for word in words)

    def when(self, name: str, default: int | None = None) -> int:
        """A time in seconds since 1970: RFC 3339 with an offset, or a date, which is its first second in UTC."""
        value = self._take(name, default)
        if isinstance(value, int) and value is default:
            return value
        return _seconds(f"{self._place}.{name}", value)

    def company(self, name: str, id_: str) -> str | None:
        """The vendor of `vendor/handle`, None for the lab; a `vendor` field may say it again, and is compared later."""
        said = self._row.pop(name, None)
        if said is None:
            said = id_.partition("/")[0]
        if not isinstance(said, str):
            self._wrong(name, said, "a text")
        return None if said == LAB else said

    def _take(self, name: str, default: object) -> Any:
        value = self._row.pop(name, default)
        if value is None:
            raise Invalid(f"{self._place}.{name}", "is missing")
        return value

    def _whole(self, name: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            self._wrong(name, value, "a whole number")
        return value

    def _wrong(self, name: str, value: object, wanted: str) -> NoReturn:
        raise Invalid(f"{self._place}.{name}", f"is {_kind_of(value)}, not {wanted}")


def _vendor(row: Fields) -> c.Change:
    return c.VendorAdd(id=row.text("id"), name=row.text("name"), contact=row.text("contact"))


def _person(row: Fields) -> c.Change:
    id_ = row.text("id")
    return c.PersonAdd(
        id=id_,
        vendor=row.company("vendor", id_),
        issuer=row.text("issuer"),
        subject=row.text("subject"),
        name=row.text("name"),
        email=row.text("email", ""),
        roles=row.texts("roles", ()),
    )


def _workload(row: Fields) -> c.Change:
    id_ = row.text("id")
    return c.WorkloadAdd(
        id=id_,
        vendor=row.company("vendor", id_),
        issuer=row.text("issuer"),
        subject=row.text("subject"),
        sponsor=row.text("sponsor"),
    )


def _project(row: Fields) -> c.Change:
    return c.ProjectAdd(id=row.text("id"), title=row.text("title"), owner=row.text("owner"))


def _class(row: Fields) -> c.Change:
    # No default: whether vendors may ever touch a class is said, not left out.
    return c.ClassAdd(name=row.text("name"), vendors=row.truth("vendors"))


def _tier(row: Fields) -> c.Change:
    return c.TierSet(
        name=row.text("name"),
        granted_by=row.texts("granted_by"),
        session_s=row.count("session_s"),
        hardware_key=row.truth("hardware_key"),
        export_bytes_day=row.count_or_none("export_bytes_day"),
        window_bytes=row.count_or_none("window_bytes"),
        window_s=row.count_or_none("window_s"),
    )


def _agreement(row: Fields) -> c.Change:
    return c.AgreementAdd(
        id=row.text("id"),
        vendor=row.text("vendor"),
        digest=row.text("digest"),
        valid_from=row.when("valid_from"),
        valid_until=row.when("valid_until"),
    )


def _asset(row: Fields) -> c.Change:
    kind = row.choice("kind", ("dataset", "drop"), "dataset")
    return c.AssetAdd(
        id=row.text("id"),
        project=row.text("project"),
        asset_class=row.text("class"),
        tier=row.text("tier"),
        asset_kind="drop" if kind == "drop" else "dataset",
        description=row.text("description", ""),
        canary=row.truth("canary", default=False),
    )


def _grant(row: Fields) -> c.Change:
    return c.GrantAdd(
        id=row.text("id", ""),
        holder=row.text("holder"),
        project=row.text("project"),
        assets=row.texts("assets"),
        actions=row.actions("actions"),
        granted_by=row.text("granted_by"),
        not_before=row.when("not_before", 0),
        expires_at=row.when("expires"),
    )


# In the order in which each may name what came before it, whatever the document's own order.
READERS: Final[dict[str, Callable[[Fields], c.Change]]] = {
    "vendor": _vendor,
    "person": _person,
    "workload": _workload,
    "project": _project,
    "class": _class,
    "tier": _tier,
    "agreement": _agreement,
    "asset": _asset,
    "grant": _grant,
}


def _toml(raw: bytes) -> dict[str, Any]:
    try:
        text = raw.decode()
    except UnicodeDecodeError as e:
        raise Invalid("import", f"is not UTF-8 at byte {e.start}") from e
    if any(len(line) > MAX_LINE for line in text.split("\n")):
        raise Invalid("import", f"has a line of more than {MAX_LINE} characters")
    try:
        return tomllib.loads(text)
    except RecursionError as e:
        raise Invalid("import", "is nested too deeply") from e
    except ValueError as e:  # TOMLDecodeError, and int() on thousands of digits
        raise Invalid("import", f"is not TOML: {_shown(str(e), quote=False)}") from e


def _json(raw: bytes) -> dict[str, Any]:
    try:
        document = json.loads(raw.decode(), object_pairs_hook=_no_twins, parse_float=_no_float, parse_constant=_no_float)
    except UnicodeDecodeError as e:
        raise Invalid("import", f"is not UTF-8 at byte {e.start}") from e
    except RecursionError as e:
        raise Invalid("import", "is nested too deeply") from e
    except ValueError as e:
        raise Invalid("import", f"is not JSON: {_shown(str(e), quote=False)}") from e
    if not isinstance(document, dict):
        raise Invalid("import", "is not an object of sections")
    return document


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for key, value in pairs:
        if key in row:
            # JSON leaves it open which of two counts; a reviewer and a parser may read different ones.
            raise Invalid(_shown(key), "stands twice in one object")
        row[key] = value
    return row


def _no_float(text: str) -> NoReturn:
    raise Invalid("import", f"has the number {_shown(text, quote=False)}; only whole numbers are used")


def _seconds(field: str, value: object) -> int:
    if isinstance(value, str):
        value = _moment(field, value)
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise Invalid(field, "has no offset from UTC; end it with Z or +hh:mm")
    elif isinstance(value, date):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    else:
        raise Invalid(field, f"is {_kind_of(value)}, not a time (2026-04-02 or 2026-04-02T09:00:00Z)")
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise Invalid(field, f"is not a year from {FIRST_YEAR} on")
    try:
        seconds = int(value.timestamp())
    except OverflowError as e:
        raise Invalid(field, "is out of range") from e
    if seconds < 0:
        raise Invalid(field, f"is before {FIRST_YEAR}")
    return seconds


def _moment(field: str, text: str) -> datetime | date:
    # fromisoformat takes more than RFC 3339 does (weeks, no dashes, no seconds), so the shape is checked first.
    if not _TIME.fullmatch(text):
        raise Invalid(field, f"{_shown(text)} is not a time (2026-04-02 or 2026-04-02T09:00:00Z)")
    try:
        return date.fromisoformat(text) if len(text) == len("2026-04-02") else datetime.fromisoformat(text.upper())
    except ValueError as e:
        raise Invalid(field, f"{_shown(text)} is no such time: {e}") from e


def _kind_of(value: object) -> str:
    kinds = {
        bool: "true or false",
        int: "a number",
        float: "a number with a fraction",
        str: "a text",
        list: "a list",
        dict: "a table",
    }
    return next((name for kind, name in kinds.items() if type(value) is kind), "a time" if isinstance(value, date) else "nothing")


def _shown(value: str, *, quote: bool = True) -> str:
    short = value if len(value) <= 60 else value[:60] + "..."  # noqa: PLR2004  part of a line
    return ascii(short) if quote or not (short.isascii() and short.isprintable()) else short
