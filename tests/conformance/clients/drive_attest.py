"""Reads documents with the packages compliance-trestle and in-toto-attestation, in their own environment: what is wrong?"""

import json
import sys

from google.protobuf import json_format
from in_toto_attestation.predicates.vsa.v1 import vsa_pb2
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as Message
from trestle.oscal import assessment_results, catalog, profile

MODELS = {"catalog": catalog, "profile": profile, "assessment-results": assessment_results}


def vsa(document):
    Statement.copy_from_pb(json_format.ParseDict(document, Message())).validate()
    if document["predicateType"] != "https://slsa.dev/verification_summary/v1":
        raise ValueError("predicateType is another")
    # A producer may add fields whose names are URIs; all others must be the message's own.
    own = {name: value for name, value in document["predicate"].items() if ":" not in name}
    # The package's message has room for one level; the specification has a list, of which each one is read.
    levels = own.pop("verifiedLevels")
    if not isinstance(levels, list) or not levels:
        raise ValueError("verifiedLevels is not a list of levels")
    for level in levels:
        read = json_format.ParseDict({**own, "verifiedLevels": level}, vsa_pb2.VerificationSummary())
    for name in ("verifier", "time_verified", "policy"):
        if not read.HasField(name):
            raise ValueError(f"{name} is missing")
    if not read.resource_uri or not read.policy.uri or not read.verifier.id:
        raise ValueError("resourceUri, policy.uri or verifier.id is missing")
    if read.verification_result not in {"PASSED", "FAILED"}:
        raise ValueError(f"verificationResult is {read.verification_result}")


def wrong(kind, document):
    try:
        vsa(document) if kind == "vsa" else MODELS[kind].Model.model_validate(document)
    except Exception as e:  # noqa: BLE001  whatever another's package raises is its answer
        return str(e) or type(e).__name__
    return ""


json.dump([wrong(**case) for case in json.load(sys.stdin)], sys.stdout)
