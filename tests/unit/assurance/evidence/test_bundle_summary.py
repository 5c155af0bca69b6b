"""A bundle's verdict in short: a SLSA verification summary that the evidence key signed."""

import dataclasses
import io
import json
import zipfile

import pytest

from evidencing import EVIDENCE, bundles, parts
from limen.assurance.evidence.bundle import compose
from limen.core.errors import Invalid
from limen.core.events import canonical
from limen.formats import dsse, sshsig, vsa
from verdicts import judged


def test_a_bundle_carries_its_verdict_as_a_signed_summary(tmp_path):
    _, _, log, rows = bundles(tmp_path)
    verdict = judged()
    made = compose(dataclasses.replace(parts(log, rows), contract=b"{}", verdict=canonical(verdict)), EVIDENCE)
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("/verdict.vsa.json")]
        raw = archive.read(name)

    told = dsse.read_statement(dsse.verify(raw, payload_type=dsse.IN_TOTO, keys=[EVIDENCE.key]))

    assert told == vsa.statement(verdict)
    assert told["predicate"]["verificationResult"] == "FAILED"
    assert told["subject"][0]["digest"]["sha256"] == verdict["facts"]["digest"]
    bent = json.loads(raw)
    bent["payload"] = bent["payload"][:-8] + "AAAAAAA="
    for wrong, keys in ((json.dumps(bent).encode(), [EVIDENCE.key]), (raw, [sshsig.Signer(bytes(32)).key])):
        with pytest.raises(Invalid):
            dsse.verify(wrong, payload_type=dsse.IN_TOTO, keys=keys)
