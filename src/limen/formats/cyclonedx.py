"""CycloneDX 1.2 to 1.7 (1.6 is ECMA-424, 1.7 its second edition), JSON only: what of a bill of materials limen reads.

`parse` takes bytes to JSON within limits and says whether they are a CycloneDX document at all; whether it is a *valid* one is
for the official schemas to say (`limen.assurance.bom.schemas`). `read` takes a document to the components, services and
statements of completeness that are counted here; it takes any JSON object without failing, since it ignores what has not the
type that the schema gives it. Everything else stays in the bytes, which nobody here changes.

Components are those of `components` and below, `metadata.component` itself unless it is the platform that the BOM is about,
the tools that made the BOM, and those of `formulation`: the actions and images of a build run at the vendor's too. Ancestors
and variants of a pedigree are not there, so they are not read.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from limen.core.errors import Invalid
from limen.core.events import MAX_INT
from limen.formats.purl import digest_of, image_of, package_of, why_not

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from limen.formats.purl import Package

VERSIONS: Final = ("1.2", "1.3", "1.4", "1.5", "1.6", "1.7")
MAX_BYTES: Final = 64 * 1024 * 1024
MAX_DEPTH: Final = 64
MAX_COMPONENTS: Final = 200_000
MAX_VALUES: Final = 4_000_000  # objects and lists: each takes some hundred bytes of memory, and two of the text
REQUIRED: Final = "required"
WITHIN: Final = " > "  # between a component and the one around it
_ALGORITHMS: Final = {"SHA-1": (40, "sha1"), "SHA-256": (64, "sha256"), "SHA-384": (96, "sha384"), "SHA-512": (128, "sha512")}
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_NO_MARKS: Final = bytes(set(range(256)) - set(b'{}[]":'))
_ALIKE: Final = bytes.maketrans(b"{}", b"[]")
_STRING: Final = re.compile(rb'"[^"]*"')
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_US: Final = timedelta(microseconds=1)


class Part(NamedTuple):
    """A component at one place. `path`: what it is in, outermost first, then ` @ ` and its occurrence, as far as it is said.

    `scope` is `required` (also if nothing is said), `optional` (not installed, by CycloneDX's definition), `excluded` (not
    reachable at run time: tests, builds) or `external` (provided by its surroundings). `digests` are `sha256:…` and the like.
    """

    name: str
    version: str
    purl: str
    kind: str
    scope: str
    path: str
    digests: tuple[str, ...]

    def package(self) -> tuple[Package, str] | None:
        """The package and version that advisories would name; None if they could name none. A purl's version goes first."""
        if self.purl:
            found = package_of(self.purl)
        else:
            image = self._image()
            found = image[:2] if image else None
        if found is None or found[1]:
            return found
        package = found[0]
        return package, self.version.removeprefix("v") if package.ecosystem == "Go" else self.version

    def all_digests(self) -> tuple[str, ...]:
        """Its hashes, and the digest that its purl or its name pins it to."""
        image = None if self.purl else self._image()
        pinned = digest_of(self.purl) if self.purl else image[2] if image else ""
        return self.digests if not pinned or pinned in self.digests else (*self.digests, pinned)

    def _image(self) -> tuple[Package, str, str] | None:
        if self.kind != "container":
            return None
        colon = "@" if self.version.startswith("sha256:") else ":"
        return image_of(f"{self.name}{colon}{self.version}" if self.version else self.name)


class Data(NamedTuple):
    """Data that goes to or from a service, in the BOM's own words."""

    flow: str
    classification: str
    name: str


class Service(NamedTuple):
    """A service; None where the BOM does not say whether it asks who one is, or lies across a trust boundary."""

    name: str
    path: str
    provider: str
    endpoints: tuple[str, ...]
    authenticated: bool | None
    crosses_boundary: bool | None
    data: tuple[Data, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """What a BOM says. `incomplete` holds the reasons why the absence of a component can't be said; empty: it can.

    `timestamp_us` is None without a timestamp that makes sense. `gaps` are sentences on what else is left unsaid.
    """

    spec: str
    serial: str
    version: int
    timestamp_us: int | None
    subject: Part | None
    parts: tuple[Part, ...]
    services: tuple[Service, ...]
    incomplete: tuple[str, ...]
    gaps: tuple[str, ...]


def parse(raw: bytes) -> dict[str, Any]:
    """The JSON object of a CycloneDX document; Invalid if the bytes are none, or beyond a limit, with what to do about it."""
    if len(raw) > MAX_BYTES:
        raise Invalid("BOM", f"has {len(raw)} bytes, more than {MAX_BYTES}; split it")
    text = _text_of(raw)
    members = _check_nesting(raw)
    try:
        document = _loaded(text, members)
    except RecursionError as e:
        raise Invalid("BOM", f"is nested deeper than {MAX_DEPTH} levels") from e
    except ValueError as e:
        raise Invalid("BOM", f"is not JSON: {e}") from e
    if _SURROGATE.search(text):
        _check_unicode(document)
    if not isinstance(document, dict):
        raise Invalid("BOM", "is JSON, but not an object, so no CycloneDX document")
    if document.get("bomFormat") != "CycloneDX":
        if "spdxVersion" in document or "@context" in document:
            raise Invalid("BOM", "looks like an SPDX document; convert it to CycloneDX JSON first")
        raise Invalid("bomFormat", 'is not "CycloneDX", so this is no CycloneDX document')
    return document


def read(document: dict[str, Any]) -> Document:
    """What a parsed document says; Invalid only if it has too many components, or a version that is no sensible number."""
    metadata = _dict(document.get("metadata"))
    spec = _text(document.get("specVersion"))
    parts: list[Part] = []
    top = _dict(metadata.get("component"))
    subject = _part(top, "") if top else None
    if subject is not None and subject.kind == "platform":
        _collect(parts, top.get("components"), "")
    else:
        _collect(parts, [top] if top else [], "")
    _collect(parts, document.get("components"), "")
    tools = metadata.get("tools")
    if isinstance(tools, dict):
        _collect(parts, tools.get("components"), "tools")
    services: list[Service] = []
    _collect_services(services, document.get("services"), "")
    _formulation(parts, services, document)
    timestamp = _moment(metadata.get("timestamp"))
    return Document(
        spec=spec,
        serial=_text(document.get("serialNumber")),
        version=_version(document.get("version", 1)),
        timestamp_us=timestamp,
        subject=subject,
        parts=tuple(dict.fromkeys(parts)),  # a flat list may name the same twice
        services=tuple(services),
        incomplete=tuple(_incomplete(document, spec, top, parts)),
        gaps=tuple(_gaps(document, timestamp, parts, services)),
    )


def unnamed(parts: Iterable[Part]) -> tuple[int, list[str]]:
    """How many parts no advisory can name, and a sentence a reason, the most frequent first."""
    why: Counter[str] = Counter()
    for part in parts:
        if part.package() is None:
            why[why_not(part.purl) if part.purl else "they have no package URL"] += 1
    most = why.most_common(5)
    return why.total(), [f"no advisory can name {count} components: {reason[:200]}" for reason, count in most]


# -- bytes to JSON --------------------------------------------------------------------------------------------------------


def _text_of(raw: bytes) -> str:
    start = raw[:256].removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"<"):
        raise Invalid("BOM", "is XML, which limen does not read; convert it: `cyclonedx convert --output-format json`")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise Invalid("BOM", f"is not UTF-8 at byte {e.start}, so no JSON") from e


def _loaded(text: str, members: int) -> Any:
    """The value of JSON text that has so many members in all its objects; ValueError if some object has a name twice."""
    found = 0

    def count(made: dict[str, Any]) -> dict[str, Any]:
        nonlocal found
        found += len(made)
        return made

    document = json.loads(text, object_hook=count, parse_constant=_constant)
    if found != members:
        json.loads(text, object_pairs_hook=_object)  # says which name it is
        raise ValueError(f"there are {members} members in the text, and {found} in what was read from it")
    return document


def _object(pairs: list[tuple[str, Any]]) -> None:
    # One reader takes the first, another the last: such a BOM says two things at once.
    twice = next((name for name, count in Counter(name for name, _ in pairs).items() if count > 1), None)
    if twice is not None:
        raise ValueError(f"an object has the name {twice[:60]!r} twice")


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _check_nesting(raw: bytes) -> int:
    """Refuse what is nested too deeply, or has too many parts, by its brackets alone, before anything is made of it.

    Returns how many members its objects have, which is how many colons it has outside strings.

    Strings go first, as pairs of quotes with nothing between them but brackets; then one level of brackets at a time. For
    text that is no JSON any answer will do, since it is refused after.
    """
    if b"\\" in raw:
        raw = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    marks = raw.translate(_ALIKE, _NO_MARKS).replace(b'""', b"")
    if b'"' in marks:
        marks = _STRING.sub(b"", marks)
    members = marks.count(b":")
    marks = marks.translate(None, b":")
    if marks.count(b"[") > MAX_VALUES:
        raise Invalid("BOM", f"has more than {MAX_VALUES} objects and lists; split it")
    for _ in range(MAX_DEPTH):
        left = marks.replace(b"[]", b"")
        if not left or len(left) == len(marks):
            return members
        marks = left
    raise Invalid("BOM", f"is nested deeper than {MAX_DEPTH} levels")


def _check_unicode(document: object) -> None:
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as e:
        raise Invalid("BOM", "has half of a surrogate pair in a text, which is no Unicode") from e


# -- JSON to components ---------------------------------------------------------------------------------------------------


def _part(item: dict[str, Any], path: str) -> Part:
    get = item.get
    name, group, scope = get("name"), get("group"), get("scope", REQUIRED)
    version, purl, kind = get("version", ""), get("purl", ""), get("type", "")
    if group and isinstance(group, str):
        name = f"{group}/{_text(name)}"
    if "isExternal" in item and item["isExternal"] is True:
        scope = "external"
    if "evidence" in item:
        path = _occurring(path, item["evidence"])
    return Part(
        name if isinstance(name, str) else "",
        version if isinstance(version, str) else "",
        purl if isinstance(purl, str) else "",
        kind if isinstance(kind, str) else "",
        scope if isinstance(scope, str) else REQUIRED,
        path,
        _digests(item["hashes"]) if "hashes" in item else (),
    )


def _occurring(path: str, evidence: object) -> str:
    occurrences = evidence.get("occurrences") if isinstance(evidence, dict) else None
    if not occurrences or not isinstance(occurrences, list):
        return path
    found = [each.get("location") for each in occurrences if isinstance(each, dict)]
    places = [place for place in found if place and isinstance(place, str)]
    if not places:
        return path
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return f"{path} @ {places[0]}{more}" if path else f"@ {places[0]}{more}"


def _digests(hashes: object) -> tuple[str, ...]:
    found = []
    for each in _list(hashes):
        if isinstance(each, dict):
            algorithm, content = each.get("alg"), each.get("content")
            length, short = _ALGORITHMS.get(algorithm, (0, "")) if isinstance(algorithm, str) else (0, "")
            if length and isinstance(content, str) and len(content) == length and content.isalnum():
                found.append(f"{short}:{content.lower()}")
    return tuple(found)


def _collect(parts: list[Part], items: object, path: str) -> None:
    for item in _list(items):
        if isinstance(item, dict):
            parts.append(_part(item, path))
            if "components" in item:
                _below(parts, item, path)
    if len(parts) > MAX_COMPONENTS:
        raise Invalid("components", f"are more than {MAX_COMPONENTS}; split the BOM")


def _below(parts: list[Part], item: dict[str, Any], path: str) -> None:
    _collect(parts, item.get("components"), _within(path, _name(item)))


def _collect_services(services: list[Service], items: object, path: str) -> None:
    for each in _list(items):
        item = _dict(each)
        if not item:
            continue
        provider = _dict(item.get("provider"))
        services.append(
            Service(
                name=_name(item),
                path=path,
                provider=_text(provider.get("name")) or next(iter(_texts(provider.get("url"))), ""),
                endpoints=tuple(_texts(item.get("endpoints"))),
                authenticated=_flag(item.get("authenticated")),
                crosses_boundary=_flag(item.get("x-trust-boundary")),
                data=tuple(_data(item.get("data"))),
            )
        )
        _collect_services(services, item.get("services"), _within(path, _name(item)))


def _data(items: object) -> Iterator[Data]:
    for each in _list(items):
        item = _dict(each)
        yield Data(_text(item.get("flow")) or "unknown", _text(item.get("classification")), _text(item.get("name")))


def _formulation(parts: list[Part], services: list[Service], document: dict[str, Any]) -> None:
    """The components of each formula, once a workflow or task that refers to it; a formula's own if none does."""
    for each in _list(document.get("formulation")):
        formula = _dict(each)
        used: dict[str, list[str]] = {}
        for workflow in map(_dict, _list(formula.get("workflows"))):
            path = _within("formulation", _text(workflow.get("name")) or _text(workflow.get("uid")))
            for step in (workflow, *map(_dict, _list(workflow.get("tasks")))):
                where = path if step is workflow else _within(path, _text(step.get("name")) or _text(step.get("uid")))
                for reference in map(_dict, _list(step.get("resourceReferences"))):
                    used.setdefault(_text(reference.get("ref")), []).append(where)
        for item in _list(formula.get("components")):
            for path in used.get(_text(_dict(item).get("bom-ref")), ["formulation"]):
                _collect(parts, [item], path)
        _collect_services(services, formula.get("services"), "formulation")


# -- what is left unsaid --------------------------------------------------------------------------------------------------


def _incomplete(document: dict[str, Any], spec: str, top: dict[str, Any], parts: list[Part]) -> Iterator[str]:
    """Why the absence of a component can't be said, a sentence a reason."""
    if spec == "1.2":
        yield "CycloneDX 1.2 can't say whether a BOM is complete"
        return
    if top.get("type") != "platform":
        yield "metadata.component is no platform, so the BOM does not speak for the whole vendor"
    whole: set[str] = set()  # what is said to be complete in itself; the empty text stands for everything
    for composition in map(_dict, _list(document.get("compositions"))):
        assemblies, dependencies = list(_texts(composition.get("assemblies"))), list(_texts(composition.get("dependencies")))
        if composition.get("vulnerabilities") and not assemblies and not dependencies:
            continue
        aggregate = _text(composition.get("aggregate")) or "not_specified"
        if aggregate == "complete":
            whole.update(assemblies if assemblies or dependencies else [""])
        else:
            count = len({*assemblies, *dependencies})
            yield f"compositions say {aggregate[:60]} of {f'{count} of its parts' if count else 'the whole'}"
    if not whole & {"", _text(top.get("bom-ref")) or ""}:
        yield "no composition says that the assembly of metadata.component is complete"
    if "" not in whole and any(part.kind == "container" for part in parts):
        closed = [_name(item) for item in _containers(document) if _text(item.get("bom-ref")) not in whole]
        if closed:
            yield f"what is in {len(closed)} container images is not listed, {closed[0][:120]} among them"


def _containers(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Container images in `components`, at any depth, of which no component is listed."""
    todo = [*_list(document.get("components")), *_list(_dict(_dict(document.get("metadata")).get("component")).get("components"))]
    while todo:
        item = _dict(todo.pop())
        below = _list(item.get("components"))
        todo += below
        if item.get("type") == "container" and not below:
            yield item


def _gaps(document: dict[str, Any], timestamp: int | None, parts: list[Part], services: list[Service]) -> Iterator[str]:
    if timestamp is None:
        yield "there is no timestamp that makes sense, so the BOM counts from when it was received"
    if count := sum(1 for part in parts if not part.version and "@" not in part.purl):
        yield f"{count} components have no version"
    twice = [ref for ref, count in Counter(_references(document)).items() if count > 1]
    if twice:
        yield f"{len(twice)} bom-refs stand for more than one thing, {twice[0][:120]} among them"
    if count := sum(1 for service in services if not service.provider):
        yield f"{count} services have no provider"
    if count := sum(1 for service in services if not service.data):
        yield f"of {count} services nothing says which data goes there"


def _references(document: dict[str, Any]) -> Iterator[str]:
    metadata = _dict(document.get("metadata"))
    todo = [metadata.get("component"), *_list(document.get("components")), *_list(document.get("services"))]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            reference = item.get("bom-ref")
            if reference and isinstance(reference, str):
                yield reference
            if "components" in item:
                todo += _list(item["components"])
            if "services" in item:
                todo += _list(item["services"])


# -- values of any type ---------------------------------------------------------------------------------------------------


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> Iterator[str]:
    return (each for each in _list(value) if isinstance(each, str))


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _name(item: dict[str, Any]) -> str:
    group, name = _text(item.get("group")), _text(item.get("name"))
    return f"{group}/{name}" if group else name


def _within(path: str, name: str) -> str:
    return f"{path}{WITHIN}{name}" if path and name else path or name


def _version(value: object) -> int:
    number = int(value) if isinstance(value, float) and value.is_integer() else value  # to a schema 2.0 is an integer
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= MAX_INT:
        raise Invalid("version", f"is not a whole number from 0 to {MAX_INT}")
    return number


def _moment(value: object) -> int | None:
    """Microseconds since 1970 of an RFC 3339 time, None for anything else and for what lies outside an entry's integers."""
    try:
        moment = datetime.fromisoformat(_text(value).upper())
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    found = (moment - _EPOCH) // _US
    return found if 0 <= found <= MAX_INT else None
