"""OpenVEX 0.2.0 (openvex.dev/ns): a document's statements, with what they inherit from it, as values of `vex`.

Where a product names subcomponents, the statement is about those: they are what an advisory names, and the product is what
carries them. A statement that lacks what the specification demands of it makes the whole document invalid, as it says.
"""

from __future__ import annotations

from typing import Any, Final

from limen.core.errors import Invalid
from limen.formats.osv import time_us
from limen.formats.vex import AFFECTED, NOT_AFFECTED, STATUSES, Document, Statement, items, some_text, text

CONTEXT: Final = "https://openvex.dev/ns"
FORM: Final = "openvex"
JUSTIFICATIONS: Final = frozenset(
    {
        "component_not_present",
        "vulnerable_code_not_present",
        "vulnerable_code_not_in_execute_path",
        "vulnerable_code_cannot_be_controlled_by_adversary",
        "inline_mitigations_already_exist",
    }
)


def read(document: dict[str, Any]) -> Document:
    """Read a document that says it is OpenVEX; Invalid names the place that is wrong."""
    name = text(document.get("@id"), "@id")
    text(document.get("author"), "author")
    issued_us = time_us(document.get("timestamp"), "timestamp")
    found = items(document.get("statements"), "statements")
    if not found:
        raise Invalid("statements", "there is none")
    statements = tuple(_statement(each, f"statements[{place}]", issued_us) for place, each in enumerate(found))
    return Document(FORM, name, issued_us, statements)


def _statement(value: dict[str, Any], where: str, issued_us: int) -> Statement:
    status = value.get("status")
    if status not in STATUSES:
        raise Invalid(f"{where}.status", f"is none of {', '.join(STATUSES)}")
    justification = value.get("justification")
    if justification is not None and justification not in JUSTIFICATIONS:
        raise Invalid(f"{where}.justification", "is none that OpenVEX knows")
    impact = some_text(value.get("impact_statement"))
    action = some_text(value.get("action_statement"))
    if status == NOT_AFFECTED and not justification and not impact:
        raise Invalid(where, "says not_affected and neither justification nor impact_statement")
    if status == AFFECTED and not action:
        raise Invalid(where, "says affected and no action_statement")
    at = value.get("timestamp")
    return Statement(
        names=_names(value.get("vulnerability"), f"{where}.vulnerability"),
        status=status,
        products=_products(value.get("products"), f"{where}.products"),
        why=justification or impact or action or some_text(value.get("status_notes")),
        at_us=issued_us if at is None else time_us(at, f"{where}.timestamp"),
    )


def _names(value: object, where: str) -> tuple[str, ...]:
    if isinstance(value, str):  # as OpenVEX before 0.2 wrote it
        return (text(value, where),)
    if not isinstance(value, dict):
        raise Invalid(where, "is missing")
    aliases = value.get("aliases") or []
    if not isinstance(aliases, list):
        raise Invalid(f"{where}.aliases", "is not a list")
    return tuple(dict.fromkeys([text(value.get("name"), f"{where}.name"), *(text(a, f"{where}.aliases") for a in aliases)]))


def _products(value: object, where: str) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):  # likewise
        value = [{"@id": each} for each in value]
    named = []
    for place, product in enumerate(items(value, where)):
        inner = items(product.get("subcomponents"), f"{where}[{place}].subcomponents")
        named += [_component(each, f"{where}[{place}]") for each in (inner or [product])]
    if not named:
        raise Invalid(where, "there is none, so the statement is about nothing")
    return tuple(named)


def _component(value: dict[str, Any], where: str) -> str:
    """Its purl if it has one, else what it is called by."""
    identifiers = value.get("identifiers")
    purl = identifiers.get("purl") if isinstance(identifiers, dict) else None
    hashes = value.get("hashes")
    if purl is None and value.get("@id") is None and isinstance(hashes, dict) and hashes:
        name, digest = min(hashes.items())
        return text(f"{name}:{digest}", f"{where}.hashes")
    return text(purl if purl is not None else value.get("@id"), where)
