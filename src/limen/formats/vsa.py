"""SLSA Verification Summary Attestation v1 (slsa.dev/verification_summary/v1) in an in-toto Statement v1: a gate's outcome.

Pure, over the verdict's JSON; the same verdict gives the same value, signed elsewhere (`formats.dsse`). The predicate knows two
results only. So what is not decided is FAILED, and the reasons of all that is not met stand under a field whose name is a URI,
as the specification allows producers; a reader that doesn't know it passes over it and still refuses.

The subject is the facts document that was judged, by its digest; the policy is the contract. `timeVerified` is the moment as of
which it was judged, not that of somebody's key press: whoever judges again gets the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://slsa.dev/verification_summary/v1"
SLSA_VERSION: Final = "1.0"
PASSED: Final = "PASSED"
FAILED: Final = "FAILED"
LEVEL: Final = "LIMEN_CONTRACT_MET"  # levels of one's own are allowed, if they don't begin with SLSA_
REASONS: Final = "https://limen.example/gate/v1/reasons"


def statement(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict as a Statement. Invalid if the verdict doesn't say which facts and which contract it is about."""
    made = predicate(verdict)
    return {
        "_type": STATEMENT,
        "subject": [{"name": f"facts about {verdict['vendor']}", "digest": {"sha256": verdict["facts"]["digest"]}}],
        "predicateType": PREDICATE,
        "predicate": made,
    }


def predicate(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """What the Statement says of its subject."""
    contract, facts = verdict["contract"], verdict["facts"]
    for what, digest in (("contract", contract.get("digest")), ("facts", facts.get("digest"))):
        if not digest:
            raise Invalid(f"{what}.digest", "is missing: a summary about nothing in particular proves nothing")
    passed = verdict["outcome"] == "pass"
    origin = (facts.get("log") or {}).get("origin", "")
    return {
        "verifier": {"id": f"https://{origin}" if origin else "urn:limen:gate"},
        "timeVerified": verdict["as_of"],
        "resourceUri": f"urn:limen:vendor:{verdict['vendor']}",
        "policy": {"uri": f"urn:limen:contract:{contract['id']}", "digest": {"sha256": contract["digest"]}},
        "verificationResult": PASSED if passed else FAILED,
        "verifiedLevels": [LEVEL] if passed else [FAILED],
        "slsaVersion": SLSA_VERSION,
        REASONS: {
            "outcome": verdict["outcome"],
            "decision": verdict.get("decision"),
            "clauses": [_reason(clause) for clause in verdict["clauses"] if clause["verdict"] != "met"],
        },
    }


def _reason(clause: Mapping[str, Any]) -> dict[str, Any]:
    found = {"ref": clause["ref"], "verdict": clause["verdict"], "why": clause.get("why", "")}
    if clause.get("waiver"):
        found["waived"] = True
    return found
