"""Three lineages agree on our log: ours, the Go checksum database's own code, and the package proofbundle.

A log of 70,000 entries, written through the ledger, so that three levels of tiles and partial tiles of each are there. At
each size on the way the checkpoint is cosigned with both kinds of key, and every lineage reads what limen emits: notes,
cosignatures, every tile and entry, proofs and consistency proofs. Beside it, every lineage refuses a flipped byte of each.
A witness of another's making (aics-witness) cosigns the log, where a Python 3.12 is.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from limen.core import events
from limen.core.errors import TamperDetected
from limen.formats import merkle, note, tiles, witness
from limen.formats.cosignature import Cosigner, CosignerKey
from limen.formats.note import Signer
from limen.formats.tlogpolicy import Policy
from limen.ledger.ledger import Ledger
from limen.verify import consistency, proof
from limen.verify.published import Published, prove, verify

REPOSITORY = Path(__file__).parents[2]
GO_SOURCE = Path(__file__).parent / "go"
DRIVER = Path(__file__).parent / "clients" / "drive_proofbundle.py"
ENVIRONMENTS = REPOSITORY / ".make" / "clients"
SIGNER = Signer("limen.example/lineages", bytes(range(32)))
ED = Cosigner.ed25519("witness.example/ed25519", bytes([1] * 32))
ML = Cosigner.mldsa44("witness.example/mldsa44", bytes([2] * 32))
POLICY = Policy.read(
    f"log {SIGNER.vkey}\nwitness ed {ED.key.vkey}\nwitness ml {ML.key.vkey}\ngroup both all ed ml\nquorum both\n"
)
SIZES = [1, 2, 255, 256, 257, 511, 4_097, 65_535, 65_536, 65_537, 70_000]
LAST = SIZES[-1]
AT = 1_790_000_000


# --- the log


@dataclass(frozen=True)
class Told:
    """What the log said at one size: its checkpoint, cosigned, and proofs of some entries with the entries."""

    checkpoint: bytes
    proofs: list[tuple[bytes, bytes]]


def cosigned(raw):
    text = note.parse(raw)[0].encode()
    for cosigner in (ED, ML):
        line = cosigner.cosign(text, AT)
        raw = note.append_signature(raw, line.name, line.key_id, line.blob)
    return raw


def grow(path, size):
    """Append entries through the ledger until the log has this many, and let it publish them."""

    async def scene():
        ledger = Ledger.open(path, origin=SIGNER.name, signer=SIGNER, now=lambda: AT)
        try:
            while (start := ledger.head().size) < size:
                await ledger.append_all([(entry(index), None) for index in range(start, min(start + 5_000, size))])
            await ledger.flush()
        finally:
            await ledger.close()

    asyncio.run(scene())


def entry(index):
    fields = {"name": "x" * (index % 7), "n": index}
    return events.encode("server.start", AT * 1_000_000 + index, index.to_bytes(16, "big"), fields)


@pytest.fixture(scope="module")
def history(tmp_path_factory, lineage):
    """The log grown size by size. At each, the Go reader reads the whole log as it was published then."""
    path = tmp_path_factory.mktemp("lineages")
    log, told, read_by_go = Published(path / "log"), {}, {}
    for size in SIZES:
        grow(path, size)
        checkpoint = path / "log" / "checkpoint"
        checkpoint.write_bytes(cosigned(checkpoint.read_bytes()))
        read_by_go[size] = lineage("log", path / "log", SIGNER.vkey, ED.key.vkey)
        indexes = {0, size // 2, size - 1}
        told[size] = Told(checkpoint.read_bytes(), [(prove(log, POLICY, i)[0].encode(), entry(i)) for i in sorted(indexes)])
    return log, told, read_by_go


# --- the other lineages


@pytest.fixture(scope="module")
def lineage():
    """The Go reader, built from Debian's packages: run it, get its exit code and what it said."""
    assert shutil.which("go"), "no Go here: run tools/setup packages"
    made = REPOSITORY / ".make" / "go"
    made.mkdir(parents=True, exist_ok=True)
    # Debian's packages of Go sources lie in a GOPATH; nothing is fetched, and a developer's own settings don't count.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GO")}
    env = {**kept, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(made / "cache"), "GOENV": "off"}
    subprocess.run(["go", "build", "-o", made / "lineage", "."], cwd=GO_SOURCE, env=env, check=True, stdin=subprocess.DEVNULL)

    def run(*words):
        done = subprocess.run([made / "lineage", *words], capture_output=True, text=True, check=False)
        return done.returncode, (done.stdout or done.stderr).strip()

    return run


@pytest.fixture(scope="module")
def proofbundle():
    """The package proofbundle: check proofs, get its verdicts."""
    python = ENVIRONMENTS / "proofbundle" / "bin" / "python"
    if os.environ.get("CI") != "true":
        subprocess.run([REPOSITORY / "tools" / "setup", "conformance"], check=True, stdin=subprocess.DEVNULL)

    def check(cases):
        """Each case: a proof, an entry, and the cosigners that must all have cosigned."""
        asked = [
            {
                "proof": base64.b64encode(raw).decode(),
                "entry": base64.b64encode(proven).decode(),
                "vkey": SIGNER.vkey,
                "cosigners": [cosigner.key.vkey for cosigner in cosigners],
                "origin": SIGNER.name,
            }
            for raw, proven, cosigners in cases
        ]
        done = subprocess.run([python, DRIVER], input=json.dumps(asked), capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    return check


# --- they agree


def test_go_opens_every_checkpoint_and_reads_every_tile_and_entry(history):
    _, _, read_by_go = history

    for size, (code, said) in read_by_go.items():
        there = sum(-(-(size >> (8 * level)) // 256) for level in range(8))
        assert (code, said) == (0, f"size {size}, {there} tiles, {size} entries")


def test_ours_verifies_the_whole_log_with_both_cosignatures(history):
    log, _, _ = history
    began = time.process_time()
    found = verify(log, POLICY)
    took = time.process_time() - began

    print(f"\n{LAST / took:,.0f} entries/s of processor time: every signature, entry and tile of a log of {LAST:,}")
    assert found.checkpoint.size == LAST
    assert found.cosigners == (("ed", AT), ("ml", AT))
    assert (log.reader.root / "tile/2/000.p/1").exists(), "three levels of tiles are in play"


def test_every_proof_is_accepted_by_all_three(history, lineage, proofbundle, tmp_path):
    _, told, _ = history
    cases = [(raw, proven) for at in told.values() for raw, proven in at.proofs]
    assert len(cases) > 25

    for raw, proven in cases:
        ours = proof.check(raw, POLICY)
        assert ours.entry == proven
        (tmp_path / "proof").write_bytes(raw)
        (tmp_path / "entry").write_bytes(proven)
        code, said = lineage("proof", tmp_path / "proof", tmp_path / "entry", SIGNER.vkey, ED.key.vkey)
        assert (code, said) == (0, f"entry {ours.index} is in the tree of {ours.checkpoint.size}")
    verdicts = proofbundle([(raw, proven, [ED, ML]) for raw, proven in cases])
    assert [(v["ok"], v["index"], v["size"]) for v in verdicts] == [
        (True, (found := proof.check(raw, POLICY)).index, found.checkpoint.size) for raw, _ in cases
    ]


def test_each_kind_of_cosignature_is_read_by_proofbundle_alone(history, proofbundle):
    _, told, _ = history
    raw, proven = told[LAST].proofs[0]
    stranger = Cosigner.mldsa44(ML.key.name, bytes([9] * 32))

    verdicts = proofbundle([(raw, proven, [ED]), (raw, proven, [ML]), (raw, proven, [stranger])])
    assert [v["ok"] for v in verdicts] == [True, True, False]


def test_every_checkpoint_continues_every_older_one_for_ours_and_for_go(history, lineage, tmp_path):
    log, told, _ = history
    newest = log.reader.read("checkpoint")
    try:
        for new in (257, 65_536, LAST):
            # Tiles of a larger tree serve for an older checkpoint: partial tiles are beginnings of what came later.
            (log.reader.root / "checkpoint").write_bytes(told[new].checkpoint)
            for old in (size for size in SIZES if size <= new):
                request, found = consistency.prove(log, POLICY, told[old].checkpoint)
                assert (found.old.size, found.new.size) == (old, new)
                (tmp_path / "proof").write_bytes(request.encode())
                (tmp_path / "old").write_bytes(told[old].checkpoint)
                said = lineage("continues", tmp_path / "proof", tmp_path / "old", SIGNER.vkey, ED.key.vkey)
                assert said == (0, f"{new} continues {old}")
    finally:
        (log.reader.root / "checkpoint").write_bytes(newest)


# --- the controls: each lineage refuses a flipped byte of each


@contextlib.contextmanager
def flipped(path, position):
    """The file with one bit of one byte changed, for as long as it takes."""
    raw = path.read_bytes()
    bent = bytearray(raw)
    bent[position] ^= 4
    path.write_bytes(bent)
    try:
        yield
    finally:
        path.write_bytes(raw)


def test_a_flipped_byte_of_a_published_file_is_refused_by_ours_and_by_go(history, lineage):
    log, _, _ = history
    width = LAST % 256
    parts = ["checkpoint", "tile/0/000", "tile/0/123", tiles.path(0, LAST // 256, width), "tile/1/000"]
    parts += [tiles.path(1, 1, (LAST // 256) % 256), "tile/2/000.p/1", "tile/entries/007", tiles.path(None, LAST // 256, width)]

    assert lineage("log", log.reader.root, SIGNER.vkey, ED.key.vkey)[0] == 0
    for part in parts:
        path = log.reader.root / part
        # A checkpoint's own signature begins its second half; of its end Go, which has no ML-DSA, would see nothing.
        for position in (3, -4) if part != "checkpoint" else (3, len(note.parse(path.read_bytes())[0]) + 60):
            with flipped(path, position):
                with pytest.raises(TamperDetected):
                    verify(log, POLICY)
                code, said = lineage("log", log.reader.root, SIGNER.vkey, ED.key.vkey)
                assert code == 1, f"Go accepts {part} with byte {position} flipped: {said}"


def bent_proofs(raw, proven):
    """One bent copy of a proof for each part of it, and the right proof of another entry."""
    whole = raw.decode()
    where = {
        "index": whole.index("index ") + 6,
        "hash": whole.index("\n", whole.index("index ")) + 5,
        "root": whole.index("\n\n") + 2 + len(SIGNER.name) + 12,
        "log": whole.index(f"— {SIGNER.name}") + len(SIGNER.name) + 30,
        "ed": whole.index(f"— {ED.key.name}") + len(ED.key.name) + 30,
        "ml": whole.index(f"— {ML.key.name}") + len(ML.key.name) + 90,
    }
    for part, at in where.items():
        bent = whole[:at] + ("1" if whole[at] != "1" else "2") + whole[at + 1 :]
        yield part, bent.encode(), proven
    yield "entry", raw, proven + b" "


def test_a_flipped_byte_of_a_proof_is_refused_by_all_three(history, lineage, proofbundle, tmp_path):
    _, told, _ = history
    bent = list(bent_proofs(*told[LAST].proofs[1]))
    verdicts = proofbundle([(raw, proven, [ED, ML]) for _, raw, proven in bent])

    for (part, raw, proven), verdict in zip(bent, verdicts, strict=True):
        with pytest.raises(TamperDetected):
            proof.check(raw, POLICY, entry=proven)
        assert not verdict["ok"], f"proofbundle accepts a bent {part}"
        if part != "ml":  # Go's note package, as we use it, has no ML-DSA, and passes such lines over
            (tmp_path / "proof").write_bytes(raw)
            (tmp_path / "entry").write_bytes(proven)
            assert lineage("proof", tmp_path / "proof", tmp_path / "entry", SIGNER.vkey, ED.key.vkey)[0] == 1, part


def test_a_bent_consistency_proof_is_refused_by_ours_and_by_go(history, lineage, tmp_path):
    log, told, _ = history
    request, _ = consistency.prove(log, POLICY, told[4_097].checkpoint)
    (tmp_path / "old").write_bytes(told[4_097].checkpoint)
    assert request.proof
    for bent in (
        witness.Request(4_097, (bytes(32), *request.proof[1:]), request.checkpoint),
        witness.Request(4_097, request.proof[:-1], request.checkpoint),
        witness.Request(4_096, request.proof, request.checkpoint),
        witness.Request(4_097, request.proof, told[65_537].checkpoint),
    ):
        with pytest.raises(TamperDetected):
            consistency.check(bent.encode(), told[4_097].checkpoint, POLICY)
        (tmp_path / "proof").write_bytes(bent.encode())
        assert lineage("continues", tmp_path / "proof", tmp_path / "old", SIGNER.vkey, ED.key.vkey)[0] == 1


# --- a witness of another's making


@dataclass(frozen=True)
class Stranger:
    """An aics-witness that runs: its key, and a way to ask it."""

    key: CosignerKey
    connection: http.client.HTTPConnection

    def ask(self, request):
        self.connection.request("POST", f"/{witness.ADD_CHECKPOINT}", body=request.encode())
        response = self.connection.getresponse()
        return response.status, response.headers.get_content_type(), response.read()

    def recorded(self):
        self.connection.request("GET", f"/{witness.monitoring_path(SIGNER.name)}")
        return self.connection.getresponse().read()


@pytest.fixture
def stranger(tmp_path):
    command = ENVIRONMENTS / "aics-witness" / "bin" / "aics-witness"
    if not command.exists():
        pytest.skip("aics-witness asks for Python 3.12, and there is none on this machine")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = ["--config", tmp_path / "witness.json"]

    def run(verb, *words):
        return subprocess.run([command, verb, *config, *words], check=True, capture_output=True, text=True).stdout

    run("init", "--name", "aics.example/w", "--listen", f"127.0.0.1:{port}")
    run("add-log", "--origin", SIGNER.name, "--vkey", SIGNER.vkey)
    vkey = next(word for word in re.findall(r"[^\s\",]+", run("status")) if word.startswith("aics.example/w+"))
    serve = [command, "serve", *config]
    with subprocess.Popen(serve, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            said = list(itertools.takewhile(lambda line: str(port) not in line, process.stdout))
            assert process.poll() is None, "".join(said)
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
                yield Stranger(CosignerKey.from_vkey(vkey), connection)
        finally:
            process.terminate()
            process.stdout.read()


def test_a_witness_of_anothers_making_cosigns_our_log(history, stranger, tmp_path):
    log, told, _ = history
    policy = Policy.read(f"log {SIGNER.vkey}\nwitness aics {stranger.key.vkey}\nquorum aics\n")

    for old, size in itertools.pairwise([0, 257, 65_537, LAST]):
        hashes = tuple(merkle.consistency_proof(old, size, log.range_hash)) if old else ()
        status, _, body = stranger.ask(witness.Request(old, hashes, told[size].checkpoint))
        assert status == 200, body
        (line,) = [one for one in witness.cosignatures(body) if one.key_id == stranger.key.key_id]
        raw = note.append_signature(told[size].checkpoint, line.name, line.key_id, line.blob)
        assert policy.check(raw).size == size
    assert policy.check(stranger.recorded()).size == LAST


def test_what_that_witness_refuses_is_read_as_it_means_it(history, stranger):
    log, told, _ = history
    assert stranger.ask(witness.Request(0, (), told[257].checkpoint))[0] == 200

    status, kind, body = stranger.ask(witness.Request(256, (), told[LAST].checkpoint))
    assert (status, kind, witness.recorded_size(body)) == (409, witness.TLOG_SIZE, 257)
    proven = tuple(merkle.consistency_proof(257, LAST, log.range_hash))
    assert stranger.ask(witness.Request(257, (bytes(32), *proven[1:]), told[LAST].checkpoint))[0] == 422
    assert stranger.ask(witness.Request(257, proven, told[LAST].checkpoint))[0] == 200
