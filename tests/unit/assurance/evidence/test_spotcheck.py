"""Random audits: drawn as committed to, recomputed by others, and by nobody's choice."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import shutil
import subprocess
import sys

import pytest

from evidenced import ask, read, settled
from evidencing import LOG, lay_out
from inprocess import a_session
from limen.assurance.evidence.bundle import programs
from limen.core import events
from limen.core.errors import Conflict, Invalid, NotFound
from limen.core.events import decode
from limen.formats import checkpoint as checkpoints
from limen.formats import merkle, note
from limen.formats.cosignature import Cosigner
from limen.verify import offline, spotcheck
from limen.verify.spotcheck import CLASSES, Chance, Refused

SECRET = bytes(range(100, 132))
DIGEST = hashlib.sha256(SECRET).hexdigest()
WITNESS = Cosigner.ed25519("witness.example", bytes(range(1, 33)))


def check(gateway, index):
    return spotcheck.check(spotcheck.Log(str(gateway.published), offline.vkey(gateway.verifier.vkey)), index)


async def visited(gateway):
    await settled(gateway)
    for subject in ("q05", "q06", "q07", "t01"):
        session = await a_session(gateway, subject)
        for _ in range(3):
            await read(gateway, session)


def outside(place, log, vkey, index):
    """What the vendor's own run of the script says."""
    command = [sys.executable, "-I", "-S", "spotcheck.py", "check", str(log), "--log", vkey, "--draw", str(index)]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)


def test_an_audit_is_committed_drawn_found_and_recomputed_by_the_vendor(in_gateway, tmp_path):
    async def body(gateway):
        await visited(gateway)
        committed = await ask(gateway, "spotcheck.commit", vendor="quillwork", people=2, accesses=3, nonce=DIGEST)
        drawn = await ask(gateway, "spotcheck.draw", commit=committed["entry"], nonce=SECRET.hex())
        await gateway.custody.ledger.flush()

        assert {name: len(items) for name, items in drawn["drawn"].items()} == {"people": 2, "accesses": 3, "rotations": 0}
        for index in drawn["drawn"]["accesses"]:
            entry = decode(next(raw for _, raw in gateway.custody.ledger.entries(int(index), int(index) + 1)))
            assert (entry["kind"], entry["vendor"]) == ("access.intent", "quillwork")
        for name, raw in programs().items():
            (tmp_path / name).write_bytes(raw)
        done = await asyncio.to_thread(outside, tmp_path, gateway.published, gateway.verifier.vkey, drawn["entry"])
        assert (done.returncode, done.stderr) == (0, "")
        assert "neither the lab nor the vendor could choose" in done.stdout
        item = f"accesses:{drawn['drawn']['accesses'][0]}"
        found = await ask(gateway, "spotcheck.result", draw=drawn["entry"], failed=[item], note="Li could not be reached")
        assert (found["drawn"], found["passed"], found["failed"]) == (5, 4, [item])
        [listed] = await ask(gateway, "spotcheck.list")
        assert (listed["draw"], listed["result"], listed["passed"]) == (drawn["entry"], found["entry"], 4)
        assert b"could not be reached" not in b"".join(raw for _, raw in gateway.custody.ledger.entries())

    in_gateway(body)


def test_what_an_audit_found_is_a_measured_fact(in_gateway):
    async def body(gateway):
        await visited(gateway)
        committed = await ask(gateway, "spotcheck.commit", vendor="quillwork", people=2, nonce=DIGEST)
        drawn = await ask(gateway, "spotcheck.draw", commit=committed["entry"], nonce=SECRET.hex())
        await ask(gateway, "spotcheck.result", draw=drawn["entry"])
        facts = gateway.facts.document("quillwork", gateway.custody.clock.now_us())

        [sample] = [s for fact in facts["facts"] if fact["measure"] == "audit_passed" for s in fact["samples"]]
        assert sample["value"] == [2, 2]

    in_gateway(body)


def test_an_audit_is_drawn_once_and_only_with_the_bytes_that_were_promised(in_gateway):
    async def body(gateway):
        await visited(gateway)
        committed = await ask(gateway, "spotcheck.commit", vendor="quillwork", people=2, nonce=DIGEST)
        with pytest.raises(Invalid, match="nothing was drawn"):
            await ask(gateway, "spotcheck.draw", commit=committed["entry"], nonce=bytes(32).hex())
        with pytest.raises(Invalid, match="nothing was drawn"):
            await ask(gateway, "spotcheck.draw", commit=committed["entry"])
        drawn = await ask(gateway, "spotcheck.draw", commit=committed["entry"], nonce=SECRET.hex())
        with pytest.raises(Conflict, match="it is drawn once"):
            await ask(gateway, "spotcheck.draw", commit=committed["entry"], nonce=SECRET.hex())
        with pytest.raises(Invalid, match="was not drawn"):
            await ask(gateway, "spotcheck.result", draw=drawn["entry"], failed=["people:orchid/p-0"])
        await ask(gateway, "spotcheck.result", draw=drawn["entry"])
        with pytest.raises(Conflict, match="entered once"):
            await ask(gateway, "spotcheck.result", draw=drawn["entry"])
        with pytest.raises(NotFound):
            await ask(gateway, "spotcheck.draw", commit=drawn["entry"])

    in_gateway(body)


def test_a_vendor_that_does_not_tell_its_bytes_has_failed_the_audit(in_gateway):
    async def body(gateway):
        await visited(gateway)
        committed = await ask(gateway, "spotcheck.commit", vendor="quillwork", people=2, accesses=1, nonce=DIGEST)
        found = await ask(gateway, "spotcheck.result", refused=committed["entry"])

        assert (found["drawn"], found["passed"], found["draw"]) == (3, 0, None)

    in_gateway(body)


def test_an_audit_that_the_lab_alone_could_steer_is_refused(in_gateway):
    async def body(gateway):
        await visited(gateway)
        with pytest.raises(Invalid, match="somebody besides the lab"):
            await ask(gateway, "spotcheck.commit", vendor="quillwork", people=2)
        await ask(gateway, "spotcheck.commit", vendor="quillwork", people=2, nonce=DIGEST)
        with pytest.raises(Invalid, match="bytes of its own"):
            await ask(gateway, "spotcheck.commit", vendor="quillwork", people=2, nonce=DIGEST, start=0)
        with pytest.raises(Invalid, match="there are no rotations"):
            await ask(gateway, "spotcheck.commit", vendor="tessel", rotations=2, nonce="ab" * 32)
        with pytest.raises(Invalid, match="1 to 500"):
            await ask(gateway, "spotcheck.commit", vendor="quillwork", nonce="ab" * 32)

    in_gateway(body)


def test_a_witness_that_cosigned_later_gives_the_chance(in_gateway):
    async def body(gateway):
        await visited(gateway)
        with pytest.raises(Invalid, match="Ed25519 cosigner"):
            await ask(gateway, "spotcheck.commit", vendor="quillwork", people=2, witness=gateway.verifier.vkey)
        committed = await ask(gateway, "spotcheck.commit", vendor="quillwork", people=2, witness=WITNESS.key.vkey)
        with pytest.raises(NotFound, match=r"that witness\.example cosigned"):
            await ask(gateway, "spotcheck.draw", commit=committed["entry"])
        cosign(gateway.published / "checkpoint")
        drawn = await ask(gateway, "spotcheck.draw", commit=committed["entry"])
        await gateway.custody.ledger.flush()

        assert "could have chosen among 1 checkpoints at most" in check(gateway, drawn["entry"])[2]

    in_gateway(body)


def cosign(path):
    """What a witness does to the published checkpoint."""
    raw = path.read_bytes()
    line = WITNESS.cosign(raw.rpartition(b"\n\n")[0] + b"\n", 1_775_000_100)
    path.write_bytes(note.append_signature(raw, line.name, line.key_id, line.blob))


# --- a log written by hand, to lie in every place


def a_log(tmp_path, *, bend=None, witnessed=False):
    """Forty accesses of ten people, a commit and a draw of it; `bend` changes what a draw or commit says before it is written."""
    rows = [
        events.encode(
            "access.intent",
            1_775_000_000_000_000 + index,
            index.to_bytes(16, "big"),
            {"vendor": "quillwork" if index % 4 else "tessel", "who": f"p-{index % 10}", "project": "orchid", "session": "s"},
        )
        for index in range(40)
    ]
    found = spotcheck.populations(enumerate(rows), "quillwork")
    ask_ = {"people": 3, "accesses": 5, "rotations": 0}
    commit = {
        "vendor": "quillwork", "start": 0, "end": 40, "ask": ask_, "nonce": None if witnessed else DIGEST,
        "population": {name: [len(found[name]), spotcheck.digest(found[name])] for name in CLASSES},
        "witness": WITNESS.key.vkey if witnessed else None,
    }  # fmt: skip
    if bend:
        bend("commit", commit)
    rows.append(events.encode("audit.commit", 1_775_000_000_000_040, bytes(15) + b"\x40", commit))
    root = merkle.root_of([merkle.leaf_hash(raw) for raw in rows])
    secret, blob = SECRET, None
    if witnessed:
        text = checkpoints.encode(LOG.name, len(rows), root).encode()
        secret = blob = WITNESS.cosign(text, 1_775_000_100).blob
    seed = spotcheck.seed(rows[40], Chance(len(rows), root, secret))
    told = {"nonce": None if witnessed else SECRET.hex(), "cosignature": blob and base64.b64encode(blob).decode()}
    draw = {"vendor": "quillwork", "of": 40, "size": len(rows), "root": root.hex(), **told, "seed": seed.hex()}
    draw["drawn"] = spotcheck.all_drawn(seed, found, ask_)
    if bend:
        bend("draw", draw)
    rows.append(events.encode("audit.draw", 1_775_000_000_000_041, bytes(15) + b"\x41", draw))
    if bend:
        bend("rows", rows)
    lay_out(tmp_path, rows)
    return spotcheck.Log(str(tmp_path), offline.vkey(LOG.vkey))


@pytest.mark.parametrize("witnessed", [False, True])
def test_a_draw_follows_from_the_commit_and_the_chance(tmp_path, witnessed):
    said = spotcheck.check(a_log(tmp_path, witnessed=witnessed), 41)

    assert "3 of 10 people, 5 of 30 accesses" in said[1]
    assert ("witness.example" in said[2]) is witnessed


def steered(name, fields):
    """A lab that would rather look at somebody else."""
    if name == "draw":
        items = [f"orchid/p-{n}" for n in (1, 2, 3, 5, 6, 7, 8, 9)]
        fields["drawn"] = {**fields["drawn"], "people": [i for i in items if i not in fields["drawn"]["people"]][:3]}


def smaller(name, fields):
    """A lab that leaves somebody out of the population after it has seen the seed."""
    if name == "commit":
        fields["population"] = {**fields["population"], "people": [7, "ab" * 32]}


def other_bytes(name, fields):
    if name == "draw":
        fields["nonce"] = bytes(32).hex()


def other_size(name, fields):
    if name == "draw":
        fields["size"] = 30


def other_seed(name, fields):
    if name == "draw":
        fields["seed"] = "00" * 32


def later_population(name, fields):
    if name == "commit":
        fields["end"] = 41


def again_with_the_same_bytes(name, rows):
    if name == "rows":
        rows.append(
            events.encode("audit.commit", 1_775_000_000_000_050, bytes(15) + b"\x50", json.loads(rows[40]) | {"start": 1})
        )


@pytest.mark.parametrize(
    ("lie", "says"),
    [
        (steered, "does not follow from the seed"),
        (smaller, "are not those that the commit fixed"),
        (other_bytes, "not those whose digest"),
        (other_size, "the root is that of the commit"),
        (other_seed, "the seed does not follow"),
        (later_population, "were not written yet"),
        (again_with_the_same_bytes, "which one is drawn could be chosen"),
    ],
)
def test_every_way_of_steering_is_seen(tmp_path, lie, says):
    with pytest.raises(Refused, match=says):
        spotcheck.check(a_log(tmp_path, bend=lie), 41)


def test_a_witness_that_did_not_cosign_gives_no_chance(tmp_path):
    def another(name, fields):
        if name == "draw":
            fields["cosignature"] = "A" * 96

    with pytest.raises(Refused, match=r"cosignature of witness\.example does not verify"):
        spotcheck.check(a_log(tmp_path, witnessed=True, bend=another), 41)


def test_a_log_that_was_changed_is_refused_before_anything_is_drawn_from_it(tmp_path):
    a_log(tmp_path)
    place = next(path for path in (tmp_path / "tile" / "entries").rglob("*") if path.is_file())
    place.write_bytes(place.read_bytes().replace(b"p-1", b"p-2", 1))

    with pytest.raises(Refused, match="do not make the root"):
        spotcheck.Log(str(tmp_path), offline.vkey(LOG.vkey))
    shutil.rmtree(tmp_path / "tile")
    assert spotcheck.main(["check", str(tmp_path), "--log", LOG.vkey, "--draw", "41"]) == 5


def test_each_item_is_drawn_about_as_often_as_any_other():
    items, counts = [f"i{n}" for n in range(20)], dict.fromkeys((f"i{n}" for n in range(20)), 0)
    for number in range(2000):
        for item in spotcheck.drawn(hashlib.sha256(str(number).encode()).digest(), "people", items, 5):
            counts[item] += 1

    assert min(counts.values()) > 400
    assert max(counts.values()) < 600


def test_a_nonce_is_made_with_its_digest(capsys):
    assert spotcheck.main(["nonce"]) == 0
    secret, digest = (line.split()[1] for line in capsys.readouterr().out.splitlines())

    assert hashlib.sha256(bytes.fromhex(secret)).hexdigest() == digest
    assert spotcheck.check_nonce(secret, digest) == bytes.fromhex(secret)


def test_a_log_of_many_bundles_is_read_by_the_tiles_names(tmp_path):
    rows = [events.encode("server.start", 1_775_000_000_000_000 + i, i.to_bytes(16, "big"), {}) for i in range(600)]
    lay_out(tmp_path, rows)
    log = spotcheck.Log(str(tmp_path), offline.vkey(LOG.vkey))

    assert [raw for _, raw in log.entries(250, 520)] == rows[250:520]
    assert note.open_note((tmp_path / "checkpoint").read_bytes(), [LOG.verifier])
