"""OSCAL 1.1 (NIST, pages.nist.gov/OSCAL; written as version 1.1.3, JSON form): catalog, profile and assessment results.

Pure. A document's and each object's UUID is name-based (RFC 9562 version 5) over what it is about, so the same input gives the
same bytes, and the same clause of the same contract keeps its identity. What OSCAL has no field for stands in properties of
the name space NS.

A profile's definition (`limen.assurance.profile`) becomes a catalog, whose thresholds are parameters without values, and a
profile, which sets them. A gate's verdict becomes assessment results: an observation for each clause, a finding for each
control. An objective is `satisfied` only if every clause of its control is met; what nobody can judge is `not-satisfied`, for
another reason than `fail`. What no program can check is said in an assessment method of its own, marked `manual`.
"""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any, Final

from limen.core.events import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OSCAL_VERSION: Final = "1.1.3"
NS: Final = "https://limen.example/oscal/v1"  # a name, never an address; OSCAL 1.1 readers want a URL here
_SPACE: Final = uuid.UUID("6f0d6a0e-6c3c-4d6f-9c56-8f1d1c8b5a71")  # limen's own, drawn once
# How an assessor finds out, in OSCAL's words, by the grade of what is asked.
METHODS: Final = {"measured": "TEST", "observed": "TEST", "evidence": "EXAMINE", "declared": "INTERVIEW"}
REASONS: Final = {"met": "pass", "breached": "fail", "unknown": "other"}


def catalog(profile: Mapping[str, Any]) -> dict[str, Any]:
    """The controls of a profile's definition as an OSCAL catalog."""
    frameworks = profile["frameworks"]
    return {
        "catalog": {
            "uuid": _uuid("catalog", profile["profile"], profile["version"]),
            "metadata": _metadata(profile["title"], profile["published"], profile["version"]),
            "controls": [_control(profile, control) for control in profile["controls"]],
            "back-matter": {
                "resources": [
                    {"uuid": _framework(profile, name), "title": one["title"], "description": one["written"]}
                    for name, one in frameworks.items()
                ]
            },
        }
    }


def profile(definition: Mapping[str, Any], *, catalog_href: str) -> dict[str, Any]:
    """The profile that takes every control of the catalog at `catalog_href` and sets the thresholds."""
    settings = [
        {"param-id": param_id(control["id"], one["id"]), "values": [one["value"]]}
        for control in definition["controls"]
        for one in control.get("params", ())
    ]
    return {
        "profile": {
            "uuid": _uuid("profile", definition["profile"], definition["version"]),
            "metadata": _metadata(definition["title"], definition["published"], definition["version"]),
            "imports": [{"href": catalog_href, "include-all": {}}],
            "merge": {"as-is": True},
            "modify": {"set-parameters": settings},
        }
    }


def assessment_results(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """A gate's verdict as OSCAL assessment results, with one result."""
    seed = _digest(verdict)
    vendor, contract = verdict["vendor"], verdict["contract"]
    party, plan = _uuid("vendor", vendor), _uuid("contract", contract["id"], contract["digest"])
    clauses = verdict["clauses"]
    title = f"Gate of {vendor} under contract {contract['id']}"
    starts = [clause["window"]["from"] for clause in clauses if clause.get("window")]
    result: dict[str, Any] = {
        "uuid": _uuid("result", seed),
        "title": title,
        "description": f"Each clause of the contract, judged from what was known at {verdict['as_of']}.",
        "start": _moment(min(starts, default=verdict["as_of"])),
        "end": verdict["as_of"],
        "props": [
            _prop("outcome", verdict["outcome"]),
            *([_prop("decision", verdict["decision"])] if verdict.get("decision") else []),
            _prop("facts-sha256", verdict["facts"]["digest"]),
        ],
        "reviewed-controls": {"control-selections": [_selection(clauses)]},
    }
    if clauses:
        result["observations"] = [_observation(verdict, clause, seed=seed, party=party) for clause in clauses]
        result["findings"] = [_finding(control, some, seed) for control, some in _by_control(clauses).items()]
    return {
        "assessment-results": {
            "uuid": _uuid("assessment-results", seed),
            "metadata": {
                **_metadata(title, verdict["as_of"], verdict["as_of"]),
                "parties": [{"uuid": party, "type": "organization", "name": vendor}],
            },
            "import-ap": {"href": f"#{plan}", "remarks": "The contract is the plan: what is asked, of what, over which time."},
            "results": [result],
            "back-matter": {
                "resources": [
                    {"uuid": plan, "title": f"Contract {contract['id']}", "rlinks": [_file("contract.json", contract["digest"])]}
                ]
            },
        }
    }


def param_id(control: str, name: str) -> str:
    """A parameter's id in the catalog."""
    return f"{token(control)}_{name}"


def token(name: str) -> str:
    """A name as an OSCAL token: identifiers begin with a letter and hold no spaces."""
    made = re.sub(r"[^A-Za-z0-9._-]", "-", name).lower()
    return made if made[:1].isalpha() else f"c-{made}"


# --- the catalog's parts


def _control(profile: Mapping[str, Any], control: Mapping[str, Any]) -> dict[str, Any]:
    own = token(control["id"])
    made: dict[str, Any] = {"id": own, "class": "limen", "title": control["title"]}
    params = [{"id": param_id(control["id"], one["id"]), "label": one["label"]} for one in control.get("params", ())]
    if params:
        made["params"] = params
    made["props"] = [
        {"name": "label", "value": control["id"]},
        *({**_prop("maps-to", each), "class": token(name)} for name, ids in control["maps"].items() for each in ids),
    ]
    made["links"] = [
        {
            "href": f"#{_framework(profile, name)}",
            "rel": "related",
            "text": f"{profile['frameworks'][name]['title']}: {', '.join(ids)}",
        }
        for name, ids in control["maps"].items()
        if ids
    ]
    made["parts"] = [
        {"id": f"{own}_smt", "name": "statement", "prose": _inserted(control)},
        {"id": f"{own}_gdn", "name": "guidance", "prose": control["why"].strip()},
        {"id": f"{own}_obj", "name": "assessment-objective", "prose": control["objective"].strip()},
        *(_method(own, f"{own}_asm-{n}", one, "program") for n, one in enumerate(control.get("measures", ()), 1)),
        *(_method(own, f"{own}_man-{n}", one, "manual") for n, one in enumerate(control.get("manual", ()), 1)),
    ]
    return made


def _method(control: str, own: str, one: Mapping[str, Any], how: str) -> dict[str, Any]:
    """How it is found out: by limen from a measure, or by people."""
    method = METHODS[one["grade"]] if how == "program" else one["method"]
    props = [{"name": "method", "ns": "http://csrc.nist.gov/ns/rmf", "value": method}, _prop("checked-by", how)]
    if how == "program":
        props.append(_prop("measure", one["measure"]))
    prose = one["says"].strip() if how == "program" else f"Manual: {one['says'].strip()}"
    return {
        "id": own,
        "name": "assessment-method",
        "props": props,
        "links": [{"href": f"#{control}_obj", "rel": "assessment-for"}],
        "prose": prose,
    }


def _inserted(control: Mapping[str, Any]) -> str:
    """The statement with its thresholds as references to parameters."""
    places = {one["id"]: f"{{{{ insert: param, {param_id(control['id'], one['id'])} }}}}" for one in control.get("params", ())}
    return re.sub(r"\{([a-z-]+)\}", lambda found: places[found[1]], control["statement"].strip())


def _framework(profile: Mapping[str, Any], name: str) -> str:
    return _uuid("framework", profile["profile"], name)


# --- the results' parts


def _observation(verdict: Mapping[str, Any], clause: Mapping[str, Any], *, seed: str, party: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        "uuid": _uuid("observation", seed, clause["ref"]),
        "title": f"{clause['ref']}: {clause['verdict']}",
        "description": clause["text"],
        "props": [
            _prop("clause", clause["ref"]),
            _prop("verdict", clause["verdict"]),
            _prop("measure", clause["measure"]),
            _prop("n", str(clause.get("n", 0))),
            *([_prop("owner", clause["owner"])] if clause.get("owner") else []),
            *([_prop("due", clause["due"])] if clause.get("due") else []),
            *([_prop("cure-ends", clause["cure_ends"])] if clause.get("cure_ends") else []),
        ],
        "methods": [METHODS.get(clause.get("grade", ""), "UNKNOWN")],
        "types": ["control-objective"],
        "subjects": [{"subject-uuid": party, "type": "party"}],
        "collected": verdict["as_of"],
        "remarks": clause.get("why") or "no reason was given",
    }
    evidence = [
        {"description": f"{one.get('value_text') or _text(one.get('value'))} at {one['at']}", "props": [_prop("entry", str(e))]}
        for one in clause.get("worst") or ()
        for e in dict.fromkeys(one.get("entries") or ())
    ]
    if evidence:
        made["relevant-evidence"] = evidence
    return made


def _finding(control: str, clauses: list[Mapping[str, Any]], seed: str) -> dict[str, Any]:
    worst = next((v for v in ("breached", "unknown") if any(c["verdict"] == v for c in clauses)), "met")
    said = "; ".join(f"{c['ref']} {c['verdict']}" + (", waived" if c.get("waiver") else "") for c in clauses)
    green = " ".join(c["green"] for c in clauses if c["verdict"] != "met" and c.get("green"))
    return {
        "uuid": _uuid("finding", seed, control),
        "title": f"{control}: {worst}",
        "description": said,
        "target": {
            "type": "objective-id",
            "target-id": f"{token(control)}_obj",
            "status": {
                "state": "satisfied" if worst == "met" else "not-satisfied",
                "reason": REASONS[worst],
                **({"remarks": f"Green when: {green}"} if green else {}),
            },
        },
        "related-observations": [{"observation-uuid": _uuid("observation", seed, c["ref"])} for c in clauses],
    }


def _selection(clauses: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    named = [token(control) for control in _by_control(clauses)]
    return {"include-controls": [{"control-id": one} for one in named]} if named else {"include-all": {}}


def _by_control(clauses: Iterable[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """A clause that names no control of the profile is a control of its own."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for clause in clauses:
        found.setdefault(clause.get("control") or clause["ref"], []).append(clause)
    return found


# --- both


def _metadata(title: str, modified: str, version: str) -> dict[str, Any]:
    return {"title": title, "last-modified": modified, "version": version, "oscal-version": OSCAL_VERSION}


def _prop(name: str, value: str) -> dict[str, str]:
    return {"name": name, "ns": NS, "value": value}


def _file(name: str, digest: str) -> dict[str, Any]:
    return {"href": name, "hashes": [{"algorithm": "SHA-256", "value": digest}]}


def _moment(day_or_time: str) -> str:
    """A date is the beginning of its UTC day."""
    return day_or_time if "T" in day_or_time else f"{day_or_time}T00:00:00Z"


def _text(value: object) -> str:
    return " of ".join(str(part) for part in value) if isinstance(value, list | tuple) else str(value)


def _digest(verdict: Mapping[str, Any]) -> str:
    return str(uuid.uuid5(_SPACE, canonical(verdict).decode()))


def _uuid(*names: str) -> str:
    return str(uuid.uuid5(_SPACE, "\n".join(names)))
