"""The observed part of an exposure: what other systems' logs say that somebody touched, beside what limen itself served.

Every row is of grade *observed*, and none is ever added to what is measured. The log's clock is the one that counts: a
window that is asked for is widened on both sides by as much as each source's clock may be wrong. Whatever no import covers
in it is named, and so is every principal that the mapping does not know: it may have been anybody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import Invalid
from limen.core.intervals import Intervals
from limen.core.types import Grade
from limen.observe.coverage import scope_of
from limen.observe.globs import head
from limen.response.figures import Gathered, Reach, label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from limen.observe.depot import Depot
    from limen.observe.who import Attribution, Who
    from limen.response.figures import Identity, Line

US: Final = 1_000_000
SUBJECTS: Final = ("vendor", "person", "project", "session")


@dataclass(frozen=True, slots=True)
class Look:
    """What is asked: a subject; the window, microseconds, half-open, None for open; and which project an asset is of."""

    subject: str
    since_us: int | None
    until_us: int | None
    now_us: int
    project_of: Callable[[str], str]
    objects: bool = False

    @property
    def kind(self) -> str:
        """What sort of subject."""
        return self.subject.partition("/")[0]

    @property
    def name(self) -> str:
        """Its id."""
        return self.subject.partition("/")[2]

    def about(self, attribution: Attribution) -> bool:
        """Whether an observation that is put down so may be the subject's."""
        match self.kind:
            case "vendor":
                return self.name in attribution.vendors
            case "person":
                if attribution.people:
                    return self.name in attribution.people
                return attribution.vendor == self.name.partition("/")[0]
            case "project":
                return bool(attribution.vendors)
        return False

    def shows(self, place: str) -> bool:
        """Whether a place belongs into the report: any does, but in a project's."""
        return self.kind != "project" or ":" in place or self.project_of(place) == self.name


def report(depot: Depot, who: Who, look: Look) -> dict[str, Any]:
    """The observed part as a JSON value. Empty lists without imports, and a sentence that says so."""
    if look.kind not in SUBJECTS:
        raise Invalid("subject", "must be vendor/…, project/…, person/… or session/…")
    imports = depot.imports()
    answer: dict[str, Any] = {"grade": Grade.OBSERVED, "sources": [], "rows": [], "unknown_principals": [], "unknown": []}
    answer |= {"lab": _count(()), "others": _count(()), "observations": 0}
    if not imports:
        answer["unknown"].append("no log of another system was imported: what was touched outside limen, limen cannot say")
        return answer
    if look.kind == "session":
        answer["unknown"].append("a session of limen stands in no other system's log: nothing of them is shown here")
        return answer
    answer["sources"] = sources(depot, reach := reached(depot, look.since_us, look.until_us, look.now_us))
    try:
        _fill(answer, Gathered(depot, who, reach), look)
    except Invalid as e:  # the extra is missing: what is measured stands all the same
        answer["unknown"].append(f"{len(imports)} imports can't be read ({e}): what they hold, limen cannot say")
        return answer
    answer["unknown"] += _unknown(depot, who, answer)
    return answer


def _fill(answer: dict[str, Any], gathered: Gathered, look: Look) -> None:
    theirs = [one for one in gathered.identities if look.about(one.attribution)]
    strange = [one for one in gathered.identities if not one.attribution.known]
    rows = {one: label(one.attribution) for one in theirs} | {one: _principal(one) for one in strange}
    lines = gathered.lines(rows, resources=look.objects)
    answer["rows"], answer["unknown_principals"] = _rows(lines, theirs, strange, look)
    answer["lab"] = _count(one for one in gathered.identities if one.attribution.lab and not look.about(one.attribution))
    known = (one for one in gathered.identities if one.attribution.known and not one.attribution.lab)
    answer["others"] = _count(one for one in known if not look.about(one.attribution))
    answer["observations"] = sum(one.observations for one in gathered.identities)


def reached(depot: Depot, since_us: int | None, until_us: int | None, now_us: int) -> Reach:
    """The window as each source's clock may have told it. Open ends reach from the first covered moment until now."""
    covered = [spans.spans for spans in depot.coverage().values() if spans]
    seen = [m for each in depot.imports() for m in (each.manifest.first_us, each.manifest.last_us) if m is not None]
    first = min([spans[0][0] for spans in covered] + seen, default=now_us)
    last = max([spans[-1][1] for spans in covered] + [m + 1 for m in seen], default=now_us)
    windows = {}
    for source, skew_s in depot.skews().items():
        start = first if since_us is None else since_us - skew_s * US
        end = max(now_us, last) if until_us is None else until_us + skew_s * US
        windows[source] = (start, max(start, end))
    return Reach(windows, first, last)


def sources(depot: Depot, reach: Reach) -> list[dict[str, Any]]:
    """What each source covers of the window, and what it does not, by its own clock."""
    covered, skews = depot.coverage(), depot.skews()
    kinds = {each.source: each.manifest.kind for each in depot.imports()}
    found = []
    for source, (start, end) in sorted(reach.windows.items()):
        asked = Intervals.of([(start, end)])
        scopes = [
            {"scope": scope, "covered": _spans(spans.common(asked)), "uncovered": _spans(asked.minus(spans))}
            for (of, scope), spans in covered.items()
            if of == source
        ]
        entries = [each.entry for each in depot.imports() if each.source == source]
        told = {"source": source, "kind": kinds[source], "skew_s": skews[source], "window": [start, end]}
        found.append({**told, "imports": entries, "scopes": scopes})
    return found


def holes(told: Iterable[Mapping[str, Any]]) -> dict[str, Intervals]:
    """What of the window no source covers, scope by scope. Two sources of one scope help each other."""
    found: dict[str, Intervals] = {}
    for source in told:
        for scope in source["scopes"]:
            hole, name = Intervals.of(map(tuple, scope["uncovered"])), scope["scope"]
            found[name] = found[name].common(hole) if name in found else hole
    return found


def _rows(
    lines: list[Line], theirs: Iterable[Identity], strange: Iterable[Identity], look: Look
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    by_label: dict[str, list[Identity]] = {}
    for one in theirs:
        by_label.setdefault(label(one.attribution), []).append(one)
    by_principal = {_principal(one): one for one in strange}
    rows, unknown = [], []
    for line in lines:
        if not look.shows(line.place):
            continue
        if line.row in by_principal:
            one = by_principal[line.row]
            unknown.append({"principal": one.principal, "session": one.key[1], **_figures(line, look)})
            continue
        members = by_label[line.row]
        attribution = members[0].attribution
        told = {"who": attribution.sort, "people": list(attribution.people), "vendors": list(attribution.vendors)}
        principals = sorted({member.principal for member in members})
        rows.append({**told, "principals": principals, **_figures(line, look)})
    return rows, unknown


def _figures(line: Line, look: Look) -> dict[str, Any]:
    outside = ":" in line.place
    told = {"asset": None if outside else line.place, "place": line.place if outside else None}
    listed = {"resources": list(line.resources)} if look.objects else {}
    return {**told, "objects": line.objects, **line.figures.to_json(), **listed, "grade": Grade.OBSERVED}


def _unknown(depot: Depot, who: Who, answer: Mapping[str, Any]) -> list[str]:
    """What can't be said, in words."""
    found = []
    for source in answer["sources"]:
        for scope in source["scopes"]:
            if scope["uncovered"]:
                hours = sum(end - start for start, end in scope["uncovered"]) / US / 3600
                found.append(
                    f"{source['source']} does not cover {scope['scope']} in {len(scope['uncovered'])} stretches, {hours:.1f} h in"
                    f" all: what was touched there then, limen cannot say"
                )
    scopes = {scope for _, scope in depot.coverage()}
    found += [
        f"no import covers {place.resource}, where {place.asset} lies: limen cannot say who touched it there"
        for place in who.places
        if scope_of(head(place.resource)) not in scopes
    ]
    strangers = {line["principal"] for line in answer["unknown_principals"]}
    if strangers:
        found.append(f"mapped to nobody, so each may be anybody: {_named(strangers)}")
    return found


def _named(names: set[str], *, shown: int = 3) -> str:
    """The first few of some names, and how many more there are."""
    first = sorted(names)[:shown]
    return ", ".join(first) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def _principal(one: Identity) -> str:
    """A row of its own for an unknown principal, and session where rules look at it. No label of the mapping begins so."""
    return f"?{one.key[0]}\n{one.key[1]}"


def _count(identities: Iterable[Identity]) -> dict[str, int]:
    members = list(identities)
    return {"principals": len({one.principal for one in members}), "observations": sum(one.observations for one in members)}


def _spans(intervals: Intervals) -> list[list[int]]:
    return [list(span) for span in intervals]
