"""Seeded damage to every part of a log: fsck notices each, and names the first entry that was touched.

The untouched log is the control in one direction, a check that looks away from a part the one in the other. Proofs and
cosigned checkpoints are held against their own verifiers.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import shutil
import sqlite3
from collections import Counter
from dataclasses import dataclass, field

import pytest

from limen.core import events
from limen.core.errors import LimenError
from limen.formats import checkpoint as checkpoints
from limen.formats import note, tiles, tlogproof
from limen.formats.cosignature import Cosigner, line
from limen.formats.note import Signer
from limen.formats.tlogpolicy import Policy
from limen.formats.tlogproof import Proof
from limen.ledger.ledger import Ledger
from limen.ledger.repair import examination
from limen.ledger.repair.examination import examine
from limen.ledger.repair.truth import Verdict
from limen.verify.published import Published, prove

SIGNER = Signer("example.com/log", bytes(32))
STRANGER = Signer("example.com/log", bytes(31) + b"\1")
WITNESS = Cosigner.ed25519("witness.example", bytes([7]) * 32)
SIZE = 700
OLDER = 430  # what a backup holds
FORKED = 300  # where the other history begins
EACH = 16  # seeds for a mutation that takes one
CLASSES = ("identity", "network")


def entries(tail=""):
    """Accesses and their outcomes; every tenth intent with sealed detail, the last two never finished."""
    salts = itertools.count()

    def written(kind, **fields):
        return events.encode(kind, 1_700_000_000_000_000, next(salts).to_bytes(16, "big"), fields)

    for index in range(SIZE):
        if index % 2 and index < SIZE - 4:
            yield written("access.outcome", of=index - 1, end="done", sent=4096, tail=tail if index >= FORKED else ""), None
        else:
            named = index % 20 == 0
            commit = {"commit": dict.fromkeys(CLASSES, "00" * 32)} if named else {}
            side = {name: b"\2" + bytes(16) + bytes(40) for name in CLASSES} if named else None
            yield (
                written(
                    "access.intent", action="read", status=206, span=[0, 4096], tail=tail if index >= FORKED else "", **commit
                ),
                side,
            )


def build(directory, *, tail="", snapshots=()):
    """A log of SIZE entries in commits of a few, one second apart; copies of the directory at some sizes."""
    directory.mkdir()
    moments = itertools.count(1_700_000_000)
    rng = random.Random("commits")

    async def fill():
        ledger = Ledger.open(directory, origin=SIGNER.name, signer=SIGNER, now=lambda: next(moments), deadline_s=30.0)
        waiting = list(entries(tail))
        while waiting:
            done = SIZE - len(waiting)
            stop = next(size for size in (*snapshots, SIZE) if size > done) - done
            some, waiting = waiting[: (count := min(rng.choice([8, 20, 40]), stop))], waiting[count:]
            *first, (last, side) = some
            await ledger.append_all(first)
            if side is None and waiting:
                ledger.append_soon(last, low_water=None)
            else:
                await ledger.append(last, side)
            await ledger.flush()
            if SIZE - len(waiting) in snapshots:
                await ledger.close()
                shutil.copytree(directory, directory.with_name(f"{directory.name}-{SIZE - len(waiting)}"))
                ledger = Ledger.open(directory, origin=SIGNER.name, signer=SIGNER, now=lambda: next(moments), deadline_s=30.0)
        await ledger.close()

    asyncio.run(fill())


@dataclass
class Log:
    """The log under attack, the one it was, and its other histories."""

    path: object
    pristine: dict = field(default_factory=dict)

    def __post_init__(self):
        self.pristine = {file: file.read_bytes() for file in self.path.rglob("*") if file.is_file()}
        self.raws = [raw for raw, _ in entries()]

    def mend(self):
        for file in [file for file in self.path.rglob("*") if file.is_file() and file not in self.pristine]:
            file.unlink()
        for file, raw in self.pristine.items():
            if not file.exists() or file.read_bytes() != raw:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(raw)

    def sql(self, *statements):
        with contextlib.closing(sqlite3.connect(self.path / "ledger.db", isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.execute("BEGIN")
            for statement, *values in statements:
                assert connection.execute(statement, values).rowcount, f"nothing changed: {statement}"
            connection.execute("COMMIT")
            connection.execute("PRAGMA journal_mode = WAL")

    def examined(self):
        with examine(self.path, SIGNER.verifier, trusted=[WITNESS.key]) as found:
            return found.findings, found.first_bad

    @property
    def database(self):
        return self.path / "ledger.db"

    def file(self, name):
        return self.path / "log" / name


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """The log, with the cosignature of a witness on its checkpoint, beside an older state and another history."""
    root = tmp_path_factory.mktemp("tampering")
    build(root / "log", snapshots=(OLDER,))
    build(root / "other", tail="forged", snapshots=(OLDER,))
    place = root / "log" / "log" / "checkpoint"
    text, _ = note.parse(place.read_bytes())
    place.write_bytes(place.read_bytes() + line(WITNESS.cosign(text.encode(), 1_700_000_000)))
    return Log(root / "log")


# --- mutations: each damages the log and returns the first index it touched, or None where that is no entry


def other_byte(raw, at, rng):
    return raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :]


def row_edited(log, rng):
    index = rng.randrange(SIZE)
    raw = log.raws[index]
    changed = rng.choice([other_byte(raw, rng.randrange(len(raw)), rng), raw + b" ", raw[:-1], b"", log.raws[index - 1]])
    log.sql(("UPDATE entry SET raw = ? WHERE idx = ?", changed, index))
    return index


def row_deleted(log, rng):
    index = rng.randrange(SIZE)
    log.sql(("DELETE FROM entry WHERE idx = ?", index))
    return index


def rows_deleted(log, rng):
    index = rng.randrange(SIZE - 1)
    log.sql(("DELETE FROM entry WHERE idx >= ? AND idx < ?", index, index + rng.randrange(2, 300)))
    return index


def rows_truncated(log, rng):
    index = rng.randrange(SIZE)
    log.sql(("DELETE FROM entry WHERE idx >= ?", index))
    return index


def row_inserted(log, rng):
    """Everything after it moves up by one."""
    index = rng.randrange(SIZE)
    log.sql(
        ("UPDATE entry SET idx = -idx - 2 WHERE idx >= ?", index),
        ("UPDATE entry SET idx = -idx - 1 WHERE idx < 0",),
        (
            "INSERT INTO entry (idx, committed_at, raw) SELECT ?, committed_at, ? FROM entry WHERE idx = ?",
            index,
            b"{}",
            index + 1,
        ),
    )
    return index


def row_appended(log, rng):
    index = SIZE + rng.randrange(3)
    log.sql(("INSERT INTO entry (idx, committed_at, raw) VALUES (?, 1800000000, ?)", index, b"{}"))
    return index


def rows_reordered(log, rng):
    one, other = sorted(rng.sample(range(SIZE), 2))
    log.sql(
        ("UPDATE entry SET raw = ? WHERE idx = ?", log.raws[other], one),
        ("UPDATE entry SET raw = ? WHERE idx = ?", log.raws[one], other),
    )
    return one


def row_of_another_type(log, rng):
    """A writable schema makes STRICT tables accept anything."""
    index = rng.randrange(SIZE)
    with contextlib.closing(sqlite3.connect(log.database, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET sql = replace(sql, ') STRICT', ')') WHERE name = 'entry'")
    log.sql(("UPDATE entry SET raw = 'text' WHERE idx = ?", index))
    return index


def time_set_back(log, rng):
    index = rng.randrange(50, SIZE)
    log.sql(("UPDATE entry SET committed_at = 1600000000 WHERE idx = ?", index))
    return index


def time_set_ahead(log, rng):
    index = rng.randrange(SIZE)
    log.sql(("UPDATE entry SET committed_at = 1800000000 WHERE idx = ?", index))
    return index


def side_of_no_entry(log, rng):
    index = SIZE + rng.randrange(5)
    log.sql(("INSERT INTO side (idx, class, raw) VALUES (?, 'identity', ?)", index, b"\2" + bytes(56)))
    return index


def side_of_no_commitment(log, rng):
    index = rng.randrange(SIZE // 20) * 20
    name, to = rng.choice([("identity", index + 1), ("network", index + 3)])
    log.sql(("UPDATE side SET idx = ? WHERE idx = ? AND class = ?", to, index, name))
    return to


def side_cut_short(log, rng):
    index = rng.randrange(SIZE // 20) * 20
    log.sql(("UPDATE side SET raw = ? WHERE idx = ? AND class = 'network'", b"\2" + bytes(rng.randrange(40)), index))
    return index


def side_of_another_class(log, rng):
    index = rng.randrange(SIZE // 20) * 20
    log.sql(("UPDATE side SET class = 'mood' WHERE idx = ? AND class = 'network'", index))
    return index


def head_column(log, rng):
    column, value = rng.choice([("root", rng.randbytes(32)), ("size", SIZE - 1), ("size", SIZE + 1), ("committed_at", 5)])
    log.sql((f"UPDATE head SET {column} = ?", value))
    return ... if column == "committed_at" else None


def head_frontier(log, rng):
    log.sql(("UPDATE head SET frontier = ?", rng.choice([rng.randbytes(32 * SIZE.bit_count()), b"", bytes(32)])))


def head_note(log, rng):
    raw = (log.path / "log" / "checkpoint").read_bytes()
    first = raw.index("—".encode())
    log.sql(("UPDATE head SET note = ?", other_byte(raw[: raw.index(b"\n", first) + 1], rng.randrange(first), rng)))


def head_signed_by_a_stranger(log, rng):
    text, _ = note.parse(log.file("checkpoint").read_bytes())
    log.sql(("UPDATE head SET note = ?", note.sign(text, STRANGER)))


def head_deleted(log, rng):
    log.sql(("DELETE FROM head",))


def low_water_beyond_an_open_intent(log, rng):
    log.sql(("UPDATE head SET low_water = ?", rng.randrange(SIZE - 2, SIZE + 1)))
    return SIZE - 4


def low_water_beyond_the_end(log, rng):
    log.sql(("UPDATE head SET low_water = ?", SIZE + rng.randrange(1, 9)))
    return ...


def database_rolled_back(log, rng):
    shutil.copy(log.path.with_name(f"log-{OLDER}") / "ledger.db", log.database)
    return OLDER


def head_rolled_back(log, rng):
    with contextlib.closing(sqlite3.connect(log.path.with_name(f"log-{OLDER}") / "ledger.db")) as older:
        head = older.execute("SELECT size, root, frontier, note, low_water, committed_at FROM head").fetchone()
    log.sql(("UPDATE head SET size = ?, root = ?, frontier = ?, note = ?, low_water = ?, committed_at = ?", *head))
    return OLDER


def database_forked(log, rng):
    """The real key signed it: only what others have seen tells."""
    other = rng.choice([log.path.with_name("other"), log.path.with_name(f"other-{OLDER}")])
    shutil.copy(other / "ledger.db", log.database)
    return FORKED


def published_rolled_back(log, rng):
    shutil.copy(log.path.with_name(f"log-{OLDER}") / "log" / "checkpoint", log.file("checkpoint"))
    return OLDER


def published_forked(log, rng):
    shutil.copytree(log.path.with_name("other") / "log", log.path / "log", dirs_exist_ok=True)
    return FORKED


def page_overwritten(log, rng):
    """Below SQLite: some bytes of the file. What then reads differently, row by row, is what was touched."""
    raw = bytearray(log.database.read_bytes())
    page = rng.randrange(1, len(raw) // 4096)
    at, length = page * 4096 + rng.choice([0, 8, rng.randrange(4000)]), rng.choice([1, 8, 64])
    raw[at : at + length] = bytes(byte ^ 0x5A for byte in raw[at : at + length])
    log.database.write_bytes(raw)
    with contextlib.closing(sqlite3.connect(f"file:{log.database}?mode=ro&immutable=1", uri=True)) as connection:
        for index, mine in enumerate(log.raws):
            row = None
            with contextlib.suppress(sqlite3.DatabaseError):
                row = connection.execute("SELECT raw FROM entry WHERE idx = ?", (index,)).fetchone()
            if row is None or row[0] != mine:
                return index
    return ...


def database_replaced_by_noise(log, rng):
    log.database.write_bytes(rng.randbytes(8192))
    return 0


def leaf_tile(log, rng):
    number = rng.randrange(3)
    width = 256 if number < 2 else SIZE - 512
    return number * 256, width, log.file(tiles.path(0, number, width))


def tile_hash_edited(log, rng):
    start, width, file = leaf_tile(log, rng)
    at = rng.randrange(width * 32)
    file.write_bytes(other_byte(file.read_bytes(), at, rng))
    return start + at // 32


def tile_cut_or_longer(log, rng):
    start, width, file = leaf_tile(log, rng)
    length = rng.randrange(width * 32)
    if rng.random() < 0.3 and width < 256:
        file.write_bytes(file.read_bytes() + bytes(32))
        return start + width
    file.write_bytes(file.read_bytes()[:length])
    return start + length // 32


def tile_hash_removed_or_inserted(log, rng):
    start, width, file = leaf_tile(log, rng)
    raw, at = file.read_bytes(), rng.randrange(width)
    file.write_bytes(raw[: 32 * at] + (raw[32 * at + 32 :] if rng.random() < 0.5 else bytes(32) + raw[32 * at :]))
    return start + at


def tile_reordered(log, rng):
    start, width, file = leaf_tile(log, rng)
    one, other = sorted(rng.sample(range(width), 2))
    hashes = tiles.decode_tile(file.read_bytes(), width)
    hashes[one], hashes[other] = hashes[other], hashes[one]
    file.write_bytes(b"".join(hashes))
    return start + one


def tile_lost(log, rng):
    start, _, file = leaf_tile(log, rng)
    file.unlink()
    return start


def older_partial_tile_edited(log, rng):
    files = [file for file in log.file("tile/0/002.p").iterdir() if int(file.name) < SIZE - 512]
    file = rng.choice(sorted(files))
    at = rng.randrange(int(file.name) * 32)
    file.write_bytes(other_byte(file.read_bytes(), at, rng))
    return 512 + at // 32


def upper_tile_edited(log, rng):
    file, at = log.file("tile/1/000.p/2"), rng.randrange(64)
    file.write_bytes(other_byte(file.read_bytes(), at, rng))
    return at // 32 * 256


def upper_tile_lost_or_cut(log, rng):
    file = log.file("tile/1/000.p/2")
    keep = rng.randrange(64)
    file.unlink() if rng.random() < 0.3 else file.write_bytes(file.read_bytes()[:keep])
    return keep // 32 * 256 if file.exists() else 0


def bundle(log, rng):
    start, width, _ = leaf_tile(log, rng)
    file = log.file(tiles.path(None, start // 256, width))
    return start, width, file, tiles.decode_bundle(file.read_bytes(), width)


def bundle_entry_edited(log, rng):
    start, width, file, held = bundle(log, rng)
    at = rng.randrange(width)
    held[at] = other_byte(held[at], rng.randrange(len(held[at])), rng)
    file.write_bytes(tiles.encode_bundle(held))
    return start + at


def bundle_entry_removed_or_inserted(log, rng):
    start, width, file, held = bundle(log, rng)
    at = rng.randrange(width)
    held[at : at + 1] = [] if rng.random() < 0.5 else [b"{}", held[at]]
    file.write_bytes(tiles.encode_bundle(held))
    return start + at


def bundle_reordered(log, rng):
    start, width, file, held = bundle(log, rng)
    one, other = sorted(rng.sample(range(width), 2))
    held[one], held[other] = held[other], held[one]
    file.write_bytes(tiles.encode_bundle(held))
    return start + one


def bundle_cut_or_longer(log, rng):
    start, width, file, held = bundle(log, rng)
    if rng.random() < 0.3:
        file.write_bytes(file.read_bytes() + b"\0\2{}")
        return start + width
    keep = rng.randrange(width)
    whole = sum(2 + len(raw) for raw in held[:keep])
    file.write_bytes(file.read_bytes()[: whole + rng.randrange(2 + len(held[keep]))])
    return start + keep


def bundle_length_edited(log, rng):
    start, width, file, held = bundle(log, rng)
    at = rng.randrange(width)
    offset = sum(2 + len(raw) for raw in held[:at])
    file.write_bytes(other_byte(file.read_bytes(), offset + rng.randrange(2), rng))
    return start + at


def bundle_lost(log, rng):
    start, _, file, _ = bundle(log, rng)
    file.unlink()
    return start


def checkpoint_edited(log, rng):
    """Text, signature, or the cosignature of a witness that is trusted."""
    raw = log.file("checkpoint").read_bytes()
    text, lines = note.parse(raw)
    match rng.randrange(5):
        case 0:
            changed = other_byte(raw, rng.randrange(len(text.encode())), rng)
        case 1:
            changed = note.sign(text, STRANGER)
        case 2:
            changed = raw[: rng.randrange(len(raw.split("—".encode())[0]) + 40)]
        case which:
            signature = lines[which - 3]
            blob = other_byte(signature.blob, rng.randrange(len(signature.blob)), rng)
            bent = line(note.Signature(signature.name, signature.key_id, blob))
            changed = raw.replace(line(signature), bent)
    log.file("checkpoint").write_bytes(changed)


def checkpoint_of_another_root(log, rng):
    """Signed with the log's own key, over a root that nothing makes."""
    log.file("checkpoint").write_bytes(note.sign(checkpoints.encode(SIGNER.name, SIZE, rng.randbytes(32)), SIGNER))
    return ...


def checkpoint_lost(log, rng):
    log.file("checkpoint").unlink()


def vkey_exchanged(log, rng):
    log.file("vkey").write_text(f"{STRANGER.verifier.vkey}\n")


SEEDED = [
    row_edited, row_deleted, rows_deleted, rows_truncated, row_inserted, rows_reordered, time_set_back, time_set_ahead,
    side_of_no_commitment, side_cut_short, side_of_another_class, page_overwritten, tile_hash_edited, tile_cut_or_longer,
    tile_hash_removed_or_inserted, tile_reordered, older_partial_tile_edited, upper_tile_edited, upper_tile_lost_or_cut,
    bundle_entry_edited, bundle_entry_removed_or_inserted, bundle_reordered, bundle_cut_or_longer, bundle_length_edited,
    checkpoint_edited, head_note,
]  # fmt: skip
FEW = [
    row_appended, row_of_another_type, side_of_no_entry, head_column, head_frontier, low_water_beyond_an_open_intent,
    low_water_beyond_the_end, tile_lost, bundle_lost, checkpoint_of_another_root,
]  # fmt: skip
ONCE = [
    head_signed_by_a_stranger, head_deleted, database_rolled_back, head_rolled_back, published_rolled_back, published_forked,
    database_replaced_by_noise, checkpoint_lost, vkey_exchanged,
]  # fmt: skip


def corpus(most=EACH):
    for mutations, seeds in ((SEEDED, EACH), (FEW, 8), ([database_forked], 4), (ONCE, 1)):
        yield from ((mutate, seed) for mutate in mutations for seed in range(min(seeds, most)))


def played(log, mutations):
    """Every mutation: how many there were of a kind, and what was missed or named wrongly."""
    counts, missed, misnamed = Counter(), [], []
    for mutate, seed in mutations:
        expected = mutate(log, random.Random(f"{mutate.__name__} {seed}"))
        try:
            findings, first = log.examined()
        finally:
            log.mend()
        counts[mutate.__name__] += 1
        if not findings:
            missed.append((mutate.__name__, seed))
        elif expected is not ... and first != expected:
            misnamed.append((mutate.__name__, seed, expected, first, findings))
    return counts, missed, misnamed


def test_every_damage_is_noticed_and_its_first_entry_named(log):
    assert log.examined() == ([], None), "the control: nothing is found where nothing is wrong"

    counts, missed, misnamed = played(log, corpus())

    print(f"\n{counts.total()} mutations of {len(counts)} kinds: {counts.total() - len(missed)} caught, ", end="")
    print(f"{counts.total() - len(missed) - len(misnamed)} with the first bad index as mutated")
    assert missed == []
    assert misnamed == [], "\n".join(map(str, misnamed))
    assert counts.total() >= 500
    assert log.examined() == ([], None)


def blind_to_files(monkeypatch):
    """Never looks at a published tile or bundle but for its leaves."""
    monkeypatch.setattr(examination.Examination, "_published_files", lambda _: None)


def blind_to_entries(monkeypatch):
    """Nor the rows with a signed root: it only counts them."""
    blind_to_files(monkeypatch)
    monkeypatch.setattr(examination, "judge", lambda size, root, copies, hints: Verdict({copy.name: [] for copy in copies}))


@pytest.mark.parametrize(
    ("weaken", "overlooked"),
    [(blind_to_files, {"tile_hash_edited", "bundle_reordered"}), (blind_to_entries, {"row_edited", "bundle_reordered"})],
)
def test_a_check_that_looks_away_misses_damage(log, monkeypatch, weaken, overlooked):
    """The negative control: the corpus can tell a good check from a bad one."""
    weaken(monkeypatch)

    counts, missed, _ = played(log, corpus(most=1))

    print(f"\n{weaken.__name__}: {len(missed)} of {counts.total()} mutations missed")
    assert overlooked <= {name for name, _ in missed}


def bent_proof(proof, rng):
    """A proof file with one thing changed: a byte, a hash, the index, the checkpoint, or the order."""
    raw = proof.encode()
    match rng.randrange(6):
        case 0:
            return other_byte(raw, rng.randrange(len(raw)), rng)
        case 1:
            return Proof(proof.index ^ 1, proof.hashes, proof.checkpoint).encode()
        case 2:
            at = rng.randrange(len(proof.hashes))
            return Proof(proof.index, (*proof.hashes[:at], *proof.hashes[at + 1 :]), proof.checkpoint).encode()
        case 3:
            one, other = rng.sample(range(len(proof.hashes)), 2)
            hashes = list(proof.hashes)
            hashes[one], hashes[other] = hashes[other], hashes[one]
            return Proof(proof.index, tuple(hashes), proof.checkpoint).encode()
        case 4:
            return Proof(proof.index, (*proof.hashes, rng.randbytes(32)), proof.checkpoint).encode()
        case _:
            return raw[: rng.randrange(len(raw))]


def believed(raw, entry, policy):
    try:
        tlogproof.decode(raw).verify(entry, policy)
    except LimenError:
        return False
    return True


def test_no_bent_proof_or_cosigned_checkpoint_is_believed(log):
    policy = Policy.read(f"log {SIGNER.verifier.vkey}\nwitness w {WITNESS.key.vkey}\nquorum w\n")
    rng, caught = random.Random("proofs"), 0
    for _ in range(200):
        proof, entry = prove(Published(log.path / "log"), policy, rng.randrange(SIZE))
        proof = Proof(proof.index, proof.hashes, proof.checkpoint)  # an extra line binds nobody
        assert believed(proof.encode(), entry, policy)
        assert not believed(proof.encode(), entry + b" ", policy)
        bent = bent_proof(proof, rng)
        assert not believed(bent, entry, policy), bent
        caught += 2
    uncosigned = Policy.read(f"log {SIGNER.verifier.vkey}\nquorum none\n")
    without = note.parse(proof.checkpoint)
    alone = Proof(proof.index, proof.hashes, note.sign(without[0], SIGNER)).encode()
    assert believed(alone, entry, uncosigned), "the control: a policy that asks for no witness"
    assert not believed(alone, entry, policy)
    print(f"\n{caught} bent proofs, none believed")
