"""100,000 mutated and random import documents: each is read, or refused as Invalid; nothing else ever comes out."""

from __future__ import annotations

import json
import random
import tomllib

import pytest

from limen.catalog import imports
from limen.catalog.imports import read_import
from limen.catalog.snapshot import Snapshot
from limen.core.errors import Denied, Invalid

ROUNDS = 100_000
NOW = 1_775_000_000
SAMPLE = b"""[[vendor]]
id = "q"
name = "Q"
contact = "c"
[[person]]
id = "q/a"
issuer = "https://i"
subject = "s"
name = "A"
[[person]]
id = "lab/m"
issuer = "https://i"
subject = "m"
name = "M"
roles = ["owner"]
[[project]]
id = "o"
title = "O"
owner = "lab/m"
[[class]]
name = "t"
vendors = true
[[tier]]
name = "internal"
granted_by = ["owner"]
session_s = 3600
hardware_key = false
export_bytes_day = 9
[[agreement]]
id = "m"
vendor = "q"
digest = "%s"
valid_from = 2026-01-01
valid_until = 2027-01-01T00:00:00Z
[[asset]]
id = "d"
project = "o"
class = "t"
tier = "internal"
[[grant]]
holder = "q/a"
project = "o"
assets = ["*"]
actions = ["read"]
granted_by = "lab/m"
expires = "2027-01-01"
""" % (b"ab" * 32)
JSON = json.dumps(tomllib.loads(SAMPLE.decode()), default=lambda moment: moment.isoformat()).encode()
PIECES = [
    b"[[", b"]]", b"[", b"]", b"{", b"}", b'"', b"'''", b'"""', b"\\u0000", b"\\ud800", b"\xff", b"\x00", b"\n", b"=", b".", b",",
    b"[[grant]]\n", b"1e999", b"nan", b"-1", b"9" * 30, b"null", b"true", b"[]", b"{}", b"1979-05-27T00:00:00", b"07:32:00",
    b"9999-12-31T23:59:59-23:59", b"0001-01-01T00:00:00+23:59", b'"2026-13-01"', b"a.b.c = 1\n", b"* ", b"\xe2\x80\xae", b"0x10",
    b"inf",
]  # fmt: skip
ODD = [
    None, True, 0, -1, 2**63, 10**40, "", "q", "*", "lab/m", "q/a", "x" * 2000, "\u202e", "\ud800", "a\nb", "e\u0301",
    "2026-02-30", "2026-01-01T00:00:00", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59",
    [], ["*"], ["read", 5], [["read"]], {}, {"id": "q"},
    "drop", "https://i", "1970-01-01", "9999-12-31", ["d"], ["write"], ["owner"], "internal", "restricted", 900, 3600,
]  # fmt: skip


def mutated(rng, sample):
    """A sample with a few bytes, spans or pieces changed."""
    raw = bytearray(sample)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(raw) + 1)
        match rng.randrange(5):
            case 0:
                raw[at : at + rng.randint(1, 6)] = rng.choice(PIECES)
            case 1:
                raw[at:at] = rng.choice(PIECES)
            case 2:
                del raw[at : at + rng.randint(1, 40)]
            case 3:
                other = rng.randrange(len(raw) + 1)
                raw[at:at] = raw[other : other + rng.randint(1, 60)]
            case _:
                raw[at : at + 1] = rng.randbytes(1)
    return bytes(raw)


def odd(rng):
    """A document of the right shape with an odd value, a field too many or too few, or a row twice."""
    document = json.loads(JSON)
    for _ in range(rng.randint(1, 3)):
        rows = document[rng.choice(list(document))]
        row = rng.choice(rows) if rows else {}
        name = rng.choice([*row, "extra"]) if row else "id"
        match rng.randrange(6):
            case 0:
                rows.append(dict(row))
            case 1:
                rows.remove(row) if row in rows else None
            case 2:
                row.pop(name, None)
            case _:
                row[name] = rng.choice(ODD)
    return json.dumps(document).encode()


def section(rng, sample):
    """A part of a sample, so that short documents come up too."""
    start = rng.randrange(len(sample))
    return sample[start : start + rng.randint(0, 160)]


def documents(seed, rounds):
    rng = random.Random(seed)
    tables = [b"[[" + part for part in SAMPLE.split(b"[[")[1:]]
    for i in range(rounds):
        kind = i % 10
        if kind == 9:
            yield rng.choice(("toml", "json")), rng.randbytes(rng.randint(0, 60))
        elif kind == 8:
            yield "json", mutated(rng, JSON)
        elif kind == 7:
            yield "json", section(rng, JSON)
        elif kind == 6:
            yield "toml", mutated(rng, SAMPLE)
        elif kind >= 3:
            yield "json", odd(rng)
        else:
            yield "toml", mutated(rng, rng.choice(tables))


def survives(rounds, seed=11):
    """How many documents could be read, and how many of those were good changes to an empty catalog."""
    read, good, said = 0, 0, set()
    numbers = random.Random(seed)
    for form, raw in documents(seed, rounds):
        try:
            changes = read_import(raw, form)
            read += 1
            Snapshot().prepare(changes, random=numbers.randbytes, index=0, at=NOW, places=changes.places)
            good += 1
        except (Invalid, Denied) as refused:
            said.add(refused.reason)
    assert [reason for reason in said if not reason.isprintable()] == []
    return read, good


def test_only_invalid_ever_comes_out_of_an_import():
    read, good = survives(ROUNDS)
    assert read > ROUNDS // 20, "the documents are too broken to test what follows the parsers"
    assert good > 100


def test_control_a_reader_that_does_not_check_types_would_fall():
    class Trusting(imports.Fields):
        def text(self, name, default=None):
            return self._row.pop(name, default)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(imports, "Fields", Trusting)
        with pytest.raises((AttributeError, TypeError)):
            survives(5_000)
