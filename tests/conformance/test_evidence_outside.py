"""An evidence bundle on a machine without limen: stock tools accept it, and a bare interpreter sees every change of it.

The bundle is exported from an open gateway: people, a bill of materials, a contract, runs of the gate, accesses. Beside each
check stands something that it refuses; and a verifier that was blinded in one line, which misses what the real one sees.
"""

import asyncio
import base64
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from evidenced import ask, exported, settled
from inprocess import a_gateway
from limen.assurance.evidence.bundle import programs
from limen.verify import offline

BAGIT = Path(__file__).parents[2] / ".make" / "clients" / "bagit" / "bin" / "python"
CHANGES = 1000
DRIVER = Path(__file__).parent / "clients" / "drive_verify.py"
BAGIT_DRIVER = DRIVER.with_name("drive_bagit.py")


def missing(what):
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}; CI must run these tests")
    pytest.skip(what)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The bundle, the lab's keys, and a directory that has it unpacked."""
    place = tmp_path_factory.mktemp("outside")

    async def run():
        gateway = await a_gateway(place / "data")
        try:
            await settled(gateway, named=True)
            await exported(gateway, place / "first.zip")
            await ask(gateway, "gate", vendor="quillwork", purpose="renewal")
            return await exported(gateway, place / "bundle.zip")
        finally:
            await gateway.close()

    found = asyncio.run(run())
    with zipfile.ZipFile(place / "bundle.zip") as archive:
        archive.extractall(place / "unpacked")
    [bag] = (place / "unpacked").iterdir()
    return place, bag, found


def ran(*command, cwd, stdin=None):
    done = subprocess.run(list(map(str, command)), cwd=cwd, input=stdin, capture_output=True, check=False)
    return done.returncode, done.stdout.decode() + done.stderr.decode()


def copied(bag, tmp_path):
    return Path(shutil.copytree(bag, tmp_path / "copy"))


def test_sha256sum_accepts_both_manifests(made, tmp_path):
    _, bag, _ = made
    for name in (offline.MANIFEST, offline.TAGS):
        assert ran("sha256sum", "--strict", "-c", name, cwd=bag)[0] == 0

    other = copied(bag, tmp_path)
    (other / "data" / "facts.json").write_bytes(b"{}")
    assert ran("sha256sum", "-c", offline.MANIFEST, cwd=other)[0] == 1


def test_ssh_keygen_accepts_the_signature_under_the_key_that_the_lab_prints(made, tmp_path):
    _, bag, found = made
    signers = tmp_path / "signers"
    signers.write_text(f'evidence@limen namespaces="limen-evidence" {found["key"]}\n')
    check = ["ssh-keygen", "-Y", "verify", "-f", signers, "-I", "evidence@limen", "-n", "limen-evidence"]
    tags = (bag / offline.TAGS).read_bytes()

    assert ran(*check, "-s", bag / offline.SIGNATURE, cwd=tmp_path, stdin=tags)[0] == 0
    assert ran(*check, "-s", bag / offline.SIGNATURE, cwd=tmp_path, stdin=tags + b"\n")[0] != 0


def test_openssl_accepts_the_envelopes_signature(made, tmp_path):
    _, bag, _ = made
    envelope = json.loads((bag / offline.ENVELOPE).read_bytes())
    kind, body = envelope["payloadType"].encode(), base64.b64decode(envelope["payload"])
    (tmp_path / "sig").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    names = ["-inkey", bag / "data" / "evidence.pem", "-in", "pae", "-sigfile", "sig"]

    def checked(message):
        (tmp_path / "pae").write_bytes(message)
        return ran("openssl", "pkeyutl", "-verify", "-pubin", "-rawin", *names, cwd=tmp_path)[0] == 0

    assert checked(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body))
    assert not checked(b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(body), body[:-1] + b" "))
    statement = json.loads(body)
    assert statement["subject"][0]["name"] == offline.TAGS


def test_the_bagit_package_accepts_the_bag(made, tmp_path):
    if not BAGIT.exists():
        missing("the bagit package is not there: tools/setup conformance")
    _, bag, _ = made
    other = copied(bag, tmp_path)
    (other / "data" / "added.txt").write_text("x")
    code, said = ran(BAGIT, BAGIT_DRIVER, bag, other, cwd=tmp_path)

    assert code == 0, said
    good, bad = json.loads(said.splitlines()[-1])
    assert good == ""
    assert "validation failed" in bad


@pytest.fixture
def bare(made, tmp_path):
    """An empty directory with the programs and the bundle, and a way to run them without anything else."""
    place, _, found = made
    for name, raw in programs().items():
        (tmp_path / name).write_bytes(raw)
    shutil.copy(place / "bundle.zip", tmp_path)
    shutil.copy(place / "first.zip", tmp_path)
    shutil.copy(DRIVER, tmp_path)

    def run(program, *args):
        return ran(sys.executable, "-I", "-S", program, *args, cwd=tmp_path)

    return run, found, tmp_path


def test_the_programs_from_the_bundle_are_those_of_this_limen(made):
    _, bag, _ = made

    assert {name: (bag / "data" / name).read_bytes() for name in programs()} == programs()


def test_a_bare_interpreter_verifies_it(bare):
    run, found, _ = bare
    code, said = run("verify.py", "bundle.zip", "--log", found["log"], "--previous", "first.zip")

    assert code == 0, said
    assert [line.split(":")[0][2:] for line in said.splitlines()[:6]] == [
        "whole? YES",
        "ours? YES",
        "in the log? YES",
        "nothing cut since last time? YES",
        "same verdict when replayed? YES",
        "when? YES",
    ]
    assert run("verify.py", "bundle.zip")[0] == 5  # nobody's key was given


def test_every_python_that_is_here_verifies_it_without_a_warning(bare):
    run, found, place = bare
    tried = 0
    for minor in range(9, 15):
        program = shutil.which(f"python3.{minor}")
        if program is None or ran(program, "--version", cwd=place)[0]:
            continue  # not here, or a name that leads nowhere
        code, said = ran(program, "-I", "-S", "-W", "error", "verify.py", "bundle.zip", "--log", found["log"], cwd=place)
        assert code == 0, (program, said)
        tried += 1
    assert tried or run("verify.py", "bundle.zip", "--log", found["log"])[0] == 0


def test_a_thousand_of_a_thousand_changed_bytes_are_caught_and_every_dropped_added_or_swapped_file(bare):
    run, found, _ = bare
    code, said = run("drive_verify.py", "bundle.zip", found["log"], str(CHANGES))
    counted = json.loads(said)

    assert code == 0
    assert counted["good"] is True
    assert counted["changed"] == [CHANGES, CHANGES]
    for what in ("dropped", "added", "swapped", "renamed"):
        caught, tried = counted[what]
        assert caught == tried > 10


def test_a_blinded_verifier_misses_changes(bare):
    """The negative control of the test above: two checks taken out, and the same driver counts what gets by."""
    run, found, place = bare
    source = (place / "offline.py").read_text()
    for check in ("if hashlib.sha256(bag[path]).hexdigest() != digest:", "or zipped(files) != raw:"):
        assert source.count(check) == 1
    blind = source.replace("if hashlib.sha256(bag[path]).hexdigest() != digest:", "if not bag:")
    (place / "offline.py").write_text(blind.replace("or zipped(files) != raw:", "or not raw:"))
    code, said = run("drive_verify.py", "bundle.zip", found["log"], "15", "changed")
    caught, tried = json.loads(said)["changed"]

    assert code == 0
    assert caught < tried


def test_a_time_stamp_of_the_checkpoint_says_when_and_another_does_not(tmp_path):
    authority = tmp_path / "tsa"
    authority.mkdir()
    make_authority(authority)

    async def run():
        gateway = await a_gateway(tmp_path / "data")
        try:
            await settled(gateway)
            await ask(gateway, "evidence.key")
            await gateway.custody.ledger.flush()
            note = (gateway.published / "checkpoint").read_bytes()
            token = base64.b64encode(stamped(authority, note)).decode()
            await exported(gateway, tmp_path / "good.zip", checkpoint=note.decode(), token=token)
            wrong = base64.b64encode(stamped(authority, b"something else")).decode()
            await exported(gateway, tmp_path / "bad.zip", checkpoint=note.decode(), token=wrong)
            return gateway.verifier.vkey
        finally:
            await gateway.close()

    vkey = asyncio.run(run())
    for name, raw in programs().items():
        (tmp_path / name).write_bytes(raw)
    check = [sys.executable, "-I", "-S", "verify.py"]
    trust = ["--log", vkey, "--tsa", authority / "cert.pem"]

    code, said = ran(*check, "good.zip", *trust, cwd=tmp_path)
    assert code == 0, said
    assert "a time stamping authority says: " in said
    assert "a time stamp lies in it that nobody checked" in ran(*check, "good.zip", "--log", vkey, cwd=tmp_path)[1]
    assert ran(*check, "bad.zip", *trust, cwd=tmp_path)[0] == 5


def make_authority(place):
    """A time stamping authority of our own, by openssl."""
    (place / "tsa.cnf").write_text(
        "[tsa]\ndefault_tsa=t\n[t]\nserial=serial\nsigner_digest=sha256\ndefault_policy=1.2.3.4\ndigests=sha256\naccuracy=secs:1\n"
    )
    (place / "serial").write_text("01\n")
    subject = ["-subj", "/CN=test authority", "-addext", "extendedKeyUsage=critical,timeStamping"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key.pem", "-out", "cert.pem"]
    assert ran("openssl", "req", "-x509", *key, *subject, "-days", "30", cwd=place)[0] == 0


def stamped(place, raw):
    """An RFC 3161 reply over these bytes."""
    (place / "what").write_bytes(raw)
    assert ran("openssl", "ts", "-query", "-data", "what", "-sha256", "-cert", "-out", "q.tsq", cwd=place)[0] == 0
    make = ["-config", "tsa.cnf", "-section", "t", "-queryfile", "q.tsq", "-signer", "cert.pem", "-inkey", "key.pem"]
    assert ran("openssl", "ts", "-reply", *make, "-out", "r.tsr", cwd=place)[0] == 0
    return (place / "r.tsr").read_bytes()
