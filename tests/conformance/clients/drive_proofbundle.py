"""Checks C2SP tlog-proofs with the package proofbundle, in its own environment: JSON cases in, JSON verdicts out."""

import base64
import json
import sys

from proofbundle.tlogproof import verify_tlog_proof

verdicts = []
for case in json.load(sys.stdin):
    found = verify_tlog_proof(
        base64.b64decode(case["proof"]).decode("utf-8", "replace"),
        base64.b64decode(case["entry"]),
        case["vkey"],
        case["cosigners"],
        threshold=len(case["cosigners"]),
        expected_origin=case["origin"],
    )
    verdicts.append({"ok": found["ok"], "size": found["tree_size"], "index": found["index"], "why": found.get("detail", "")})
json.dump(verdicts, sys.stdout)
