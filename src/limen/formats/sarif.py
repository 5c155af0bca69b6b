"""SARIF 2.1.0 (OASIS Standard, with Errata 01): the verdict on a vendor as one run, a rule and a result for each clause.

Pure, over the verdict's JSON; the same verdict gives the same value. §3.27.9 has words for all three answers: a clause that is
met is `pass`, one that is breached is `fail`, and one that nobody can judge is `open`, never `pass`. A disputed one is for
people to settle: `review`. A waiver doesn't change a result; it is an accepted suppression of it (§3.35). Events stand as
logical locations: they are entries of a log, and in no source file.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from limen.core.events import canonical

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VERSION: Final = "2.1.0"
SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
KINDS: Final = {"met": "pass", "breached": "fail", "unknown": "open"}
FINGERPRINT: Final = "limenClause/v1"


def log(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict as a SARIF log with one run."""
    clauses = verdict["clauses"]
    more = {
        name: verdict[name] for name in ("decision", "outcome", "money", "consequences", "notice_deadline") if name in verdict
    }
    run = {
        "tool": {"driver": {"name": "limen", "rules": [_rule(clause) for clause in clauses]}},
        "automationDetails": {"id": f"limen/gate/{verdict['vendor']}/{verdict['as_of']}"},
        "columnKind": "unicodeCodePoints",
        "logicalLocations": [_vendor(verdict)],
        "results": [_result(verdict, clause, index) for index, clause in enumerate(clauses)],
        "properties": {**more, "contract": verdict["contract"], "facts": verdict["facts"], "as_of": verdict["as_of"]},
    }
    return {"$schema": SCHEMA, "version": VERSION, "runs": [run]}


def _rule(clause: Mapping[str, Any]) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "id": clause["ref"],
        "shortDescription": {"text": clause["text"]},
        "properties": {"measure": clause["measure"], "tags": ["vendor-assurance"]},
    }
    if clause.get("control"):
        rule["properties"]["control"] = clause["control"]
    return rule


def _result(verdict: Mapping[str, Any], clause: Mapping[str, Any], index: int) -> dict[str, Any]:
    kind = "review" if clause.get("disputed") else KINDS[clause["verdict"]]
    result: dict[str, Any] = {
        "ruleId": clause["ref"],
        "ruleIndex": index,
        "kind": kind,
        # Only what fails has a level (§3.27.10).
        "level": "none" if kind != "fail" else "warning" if clause.get("consequence") == "warn" else "error",
        "message": {"text": message(clause)},
        "locations": [{"logicalLocations": [{"index": 0, "fullyQualifiedName": f"vendor/{verdict['vendor']}"}]}],
        "partialFingerprints": {FINGERPRINT: _fingerprint(verdict, clause)},
        "properties": {name: clause[name] for name in sorted(clause) if name not in _SAID},
    }
    events = list(_events(verdict, clause))
    if events:
        result["relatedLocations"] = events
    if clause.get("waiver"):
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": _waiver(clause["waiver"])}]
    return result


_SAID: Final = frozenset({"ref", "text", "control", "measure"})  # in the rule


def message(clause: Mapping[str, Any]) -> str:
    """One clause's verdict as a paragraph: what was asked, what was found and from how much, what would turn it green."""
    window = clause.get("window") or {}
    seen = f"n = {clause.get('n', 0)}" + (f", from {window['from']} to {window['to']}" if window else "")
    parts = [
        f"{clause['text'].rstrip('.')}.",
        f"{clause['verdict'].capitalize()}: {clause.get('why', '')}".rstrip(": ") + f" ({seen}).",
    ]
    if clause.get("green"):
        parts.append(f"Green when: {clause['green']}")
    return " ".join(parts)


def _events(verdict: Mapping[str, Any], clause: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The worst events, each at the entries that prove it."""
    origin = (verdict["facts"].get("log") or {}).get("origin", "")
    for number, worst in enumerate(clause.get("worst") or (), 1):
        entries = dict.fromkeys(worst.get("entries") or ())  # one event may rest on an entry twice; locations are a set
        yield {
            "id": number,
            "message": {"text": f"{worst.get('value_text') or _words(worst.get('value'))} at {worst['at']}"},
            "logicalLocations": [
                {"name": f"entry {entry}", "fullyQualifiedName": f"{origin}/{entry}", "kind": "resource"} for entry in entries
            ],
        }


def _vendor(verdict: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": verdict["vendor"], "fullyQualifiedName": f"vendor/{verdict['vendor']}", "kind": "resource"}


def _fingerprint(verdict: Mapping[str, Any], clause: Mapping[str, Any]) -> str:
    """The same for one clause of one contract over all runs: a reader tells what is new from what still stands."""
    named = {"contract": verdict["contract"]["id"], "ref": clause["ref"], "vendor": verdict["vendor"]}
    return hashlib.sha256(canonical(named)).hexdigest()


def _words(value: object) -> str:
    """A measured value in few words: a ratio stays a ratio."""
    if isinstance(value, list | tuple):
        return " of ".join(str(part) for part in value)
    return {True: "yes", False: "no", None: "unknown"}[value] if value is None or isinstance(value, bool) else str(value)


def _waiver(waiver: object) -> str:
    if not isinstance(waiver, dict):
        return f"waived by entry {waiver}"
    return "waived: " + ", ".join(f"{name} {_words(waiver[name])}" for name in sorted(waiver))
