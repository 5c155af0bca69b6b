"""The `vulnerabilities` of a CycloneDX 1.4-1.7 document in JSON, read as VEX: what `analysis` says, as values of `vex`.

CycloneDX has six states where VEX has four statuses: `false_positive` counts as *not affected*, both kinds of `resolved` as
*fixed*. A vulnerability without an analysis says nothing of the kind and is left out. What is affected is named by a reference
into the document, by a BOM-Link, or by a purl; a reference that leads to no component stays as it is, and is about nothing that
could be compared.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote

from limen.core.errors import Invalid
from limen.formats.osv import time_us
from limen.formats.vex import AFFECTED, FIXED, NOT_AFFECTED, UNDER_INVESTIGATION, Document, Statement, items, some_text, text

FORM: Final = "cyclonedx"
STATES: Final = {
    "resolved": FIXED,
    "resolved_with_pedigree": FIXED,
    "exploitable": AFFECTED,
    "in_triage": UNDER_INVESTIGATION,
    "false_positive": NOT_AFFECTED,
    "not_affected": NOT_AFFECTED,
}
_DEPTH: Final = 64


def read(document: dict[str, Any]) -> Document:
    """Read a document that says it is CycloneDX; Invalid names the place that is wrong, or that it has no VEX in it."""
    metadata = document.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    at = metadata.get("timestamp")
    issued_us = None if at is None else time_us(at, "metadata.timestamp")
    purls = _purls(document, metadata)
    statements = []
    for place, each in enumerate(items(document.get("vulnerabilities"), "vulnerabilities")):
        statement = _statement(each, f"vulnerabilities[{place}]", issued_us, purls)
        if statement is not None:
            statements.append(statement)
    if not statements:
        raise Invalid("vulnerabilities", "none has an analysis with a state, so the document states nothing")
    return Document(FORM, some_text(document.get("serialNumber")), issued_us, tuple(statements))


def _statement(value: dict[str, Any], where: str, issued_us: int | None, purls: dict[str, str]) -> Statement | None:
    analysis = value.get("analysis")
    if not isinstance(analysis, dict) or analysis.get("state") is None:
        return None
    state = analysis["state"]
    if not isinstance(state, str) or state not in STATES:
        raise Invalid(f"{where}.analysis.state", f"is none of {', '.join(STATES)}")
    names = [text(value.get("id"), f"{where}.id")]
    names += [text(each.get("id"), f"{where}.references") for each in items(value.get("references"), f"{where}.references")]
    affects = items(value.get("affects"), f"{where}.affects")
    at = analysis.get("lastUpdated", value.get("updated"))
    return Statement(
        names=tuple(dict.fromkeys(names)),
        status=STATES[state],
        products=tuple(_product(text(each.get("ref"), f"{where}.affects.ref"), purls) for each in affects),
        why=some_text(analysis.get("justification")) or some_text(analysis.get("detail")),
        at_us=issued_us if at is None else time_us(at, f"{where}.analysis"),
    )


def _product(ref: str, purls: dict[str, str]) -> str:
    """The purl that a reference leads to, else the reference."""
    inner = unquote(ref.partition("#")[2]) if ref.startswith("urn:cdx:") else ref
    return purls.get(inner, inner if inner.startswith("pkg:") else ref)


def _purls(document: dict[str, Any], metadata: dict[str, Any]) -> dict[str, str]:
    """The purl of each component that has one, by its reference in the document."""
    found: dict[str, str] = {}
    main = metadata.get("component")
    level = [*items(document.get("components"), "components"), *([main] if isinstance(main, dict) else [])]
    for _ in range(_DEPTH):
        for each in level:
            ref, purl = each.get("bom-ref"), each.get("purl")
            if isinstance(ref, str) and isinstance(purl, str):
                found[ref] = text(purl, "components.purl")
        level = [inner for each in level for inner in items(each.get("components"), "components")]
        if not level:
            break
    return found
