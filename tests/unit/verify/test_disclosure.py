"""Opening one class of an entry: what it proves, what it does not say, and that nothing in it can be swapped."""

from __future__ import annotations

import base64
import json
import random

import pytest

from limen.core import events
from limen.core.errors import Invalid
from limen.core.types import Side, SubjectKey
from limen.formats import checkpoint, merkle, note
from limen.formats.note import Signer
from limen.formats.tlogproof import Proof
from limen.ledger.scribe import Scribe, open_side
from limen.verify import disclosure
from limen.verify.__main__ import main

SIGNER = Signer("example.com/log", bytes(32))
KEY = SubjectKey(b"r" * 16, b"k" * 32)
SIDE = Side(
    "quillwork/q03",
    {
        "identity": {"issuer": "https://id.example", "subject": "zelda", "holder": "quillwork/q03"},
        "network": {"address": "192.0.2.77", "agent": "unmistakable/1"},
    },
)


def an_entry(seed):
    scribe = Scribe(lambda: 1, lambda n: bytes([seed]) * (n - 1) + bytes([next(draws)]), lambda _: KEY, lambda: None)
    draws = iter(range(255))
    return scribe.write("session.start", {"who": "p-1"}, SIDE)


@pytest.fixture
def made():
    """An entry, its side records, and the disclosure of its identity; third of five in a log."""
    entry, sides = an_entry(3)
    leaves = [merkle.leaf_hash(raw) for raw in (b"a", b"b", entry, b"d", b"e")]
    root = merkle.root_of(leaves)
    signed = note.sign(checkpoint.encode(SIGNER.name, 5, root), SIGNER)
    hashes = (leaves[3], merkle.node_hash(leaves[0], leaves[1]), leaves[4])
    opened = open_side("identity", sides["identity"], entry, KEY.key)
    raw = disclosure.write(Proof(2, hashes, signed), entry, "identity", *opened)
    return entry, sides, raw


def check(raw, signer=SIGNER):
    return disclosure.check(raw, [signer.verifier])


def test_a_disclosure_proves_what_the_entry_stood_for(made):
    entry, _, raw = made

    found = check(raw)
    assert (found.index, found.name, found.value) == (2, "identity", SIDE.classes["identity"])
    assert found.entry == events.decode(entry)
    assert (found.accepted.origin, found.accepted.size) == (SIGNER.name, 5)
    assert disclosure.is_one(raw)


def test_it_says_nothing_about_the_other_classes(made):
    entry, sides, raw = made
    other = open_side("network", sides["network"], entry, KEY.key)

    everything = raw + base64.b64decode(json.loads(raw)["entry"])
    told = [b"192.0.2.77", b"unmistakable", other.salt, other.salt.hex().encode(), base64.b64encode(other.salt), sides["network"]]
    assert [part for part in told if part in everything] == []


def test_control_the_same_search_finds_the_class_that_was_opened(made):
    entry, sides, raw = made
    own = open_side("identity", sides["identity"], entry, KEY.key)

    assert own.salt.hex().encode() in raw
    assert b"zelda" in raw


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("value", {"issuer": "https://id.example", "subject": "somebody-else", "holder": "quillwork/q03"}, "not what the entry"),
        ("value", {"issuer": "https://id.example", "subject": "zelda"}, "not what the entry committed to as identity"),
        ("value", [], "value: is not an object"),
        ("class", "network", "not what the entry committed to as network"),
        ("class", "nothing", "class: 'nothing' is none that the entry commits to"),
        ("class", 7, "class: is not text"),
        ("salt", "00" * 16, "not what the entry"),
        ("salt", "00" * 15, "salt: is not 16 bytes"),
        ("salt", "not hex", "salt: is not hex"),
        ("entry", "!", "entry: is not Base64"),
        ("format", "limen-disclosure/v2", "is not of format limen-disclosure/v1"),
        ("proof", "\ud800", "proof"),
        ("proof", "c2sp.org/tlog-proof@v1\nindex 2\n\n", "note"),
    ],
)
def test_whatever_is_swapped_is_refused(made, field, value, why):
    document = json.loads(made[2])
    document[field] = value

    with pytest.raises(Invalid, match=why):
        check(json.dumps(document).encode())


def test_a_salt_in_capitals_is_another_text_for_the_same_bytes_and_refused(made):
    document = json.loads(made[2])
    document["salt"] = "ab" * 15 + "AB"

    with pytest.raises(Invalid, match="in small hex letters"):
        check(json.dumps(document).encode())


def in_a_log_of_its_own(fields, name, salt, value):
    """A disclosure of an entry that stands alone in its log, whatever it says."""
    entry = events.encode("session.start", 1, bytes(16), fields)
    signed = note.sign(checkpoint.encode(SIGNER.name, 1, merkle.leaf_hash(entry)), SIGNER)
    return disclosure.write(Proof(0, (), signed), entry, name, salt, value)


def test_a_value_that_has_no_canonical_form_is_refused_though_the_entry_commits_to_it():
    commit = {"network": events.commitment(bytes(16), "network", {"x": 1.5})}

    with pytest.raises(Invalid, match="has no canonical form"):
        check(in_a_log_of_its_own({"commit": commit}, "network", bytes(16), {"x": 1.5}))


@pytest.mark.parametrize("fields", [{"commit": "network"}, {"commit": ["network"]}, {}])
def test_an_entry_that_commits_to_nothing_can_not_be_opened(fields):
    with pytest.raises(Invalid, match="is none that the entry commits to"):
        check(in_a_log_of_its_own(fields, "network", bytes(16), {"address": "192.0.2.77"}))


def test_a_disclosure_may_be_long_and_not_longer(made):
    padded = made[2].ljust(disclosure.MAX_DISCLOSURE)
    assert check(padded).value == SIDE.classes["identity"]
    with pytest.raises(Invalid, match="longer than"):
        check(padded + b" ")


@pytest.mark.parametrize(
    ("raw", "is_one"),
    [
        (b' \n{"format": "limen-disclosure/v1"}', True),
        (b'{"format": "limen-disclosure/v2"}', False),
        (b"limen-disclosure/v1", False),
        (b"c2sp.org/tlog-proof@v1", False),
        (b"", False),
    ],
)
def test_a_program_can_tell_what_means_to_be_a_disclosure(raw, is_one):
    assert disclosure.is_one(raw) is is_one


def test_a_value_of_another_entry_does_not_fit(made):
    other, sides = an_entry(4)
    opened = open_side("identity", sides["identity"], other, KEY.key)
    document = json.loads(made[2]) | {"salt": opened.salt.hex(), "value": opened.value}

    assert opened.value == SIDE.classes["identity"]
    with pytest.raises(Invalid, match="value: is not what the entry committed to"):
        check(json.dumps(document).encode())


def test_an_entry_that_is_not_in_the_log_is_refused_though_it_commits_to_the_value(made):
    other, sides = an_entry(4)
    opened = open_side("identity", sides["identity"], other, KEY.key)
    document = json.loads(made[2]) | {
        "salt": opened.salt.hex(),
        "value": opened.value,
        "entry": base64.b64encode(other).decode(),
    }

    with pytest.raises(Invalid):
        check(json.dumps(document).encode())


def test_another_logs_key_is_refused(made):
    with pytest.raises(Invalid):
        check(made[2], Signer("example.com/log", b"1" * 32))
    with pytest.raises(Invalid, match="no trusted key"):
        disclosure.check(made[2], [])


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b"\xff", b'{"format":"limen-disclosure/v1"}', b"[" * 100_000])
def test_bytes_that_are_no_disclosure_are_refused(raw):
    with pytest.raises(Invalid):
        check(raw)


def test_a_field_more_or_twice_is_refused(made):
    with pytest.raises(Invalid, match="other fields"):
        check(json.dumps(json.loads(made[2]) | {"name": "x"}).encode())
    with pytest.raises(Invalid, match="twice"):
        check(made[2].replace(b'"class": "identity"', b'"class": "network", "class": "identity"'))


def test_bent_bytes_are_refused_or_say_the_same(made):
    """Two thousand seeded mutations: none makes the check say anything else, or fail in another way."""
    draw = random.Random(11)
    same = 0
    for _ in range(2_000):
        bent = bytearray(made[2])
        at = draw.randrange(len(bent))
        match draw.randrange(4):
            case 0:
                bent[at] ^= 1 << draw.randrange(8)
            case 1:
                del bent[at : at + draw.randint(1, 40)]
            case 2:
                bent[at:at] = draw.randbytes(draw.randint(1, 4))
            case _:
                bent[at:at] = bent[at : at + draw.randint(1, 40)]
        try:
            found = check(bytes(bent))
        except Invalid:
            continue
        assert (found.index, found.name, found.value) == (2, "identity", SIDE.classes["identity"])
        same += 1
    assert same < 200, "white space, and the like"


def test_the_verifiers_command_checks_one_offline(made, tmp_path, capsys):
    path = tmp_path / "bundle.json"
    path.write_bytes(made[2])

    assert main([str(path), "--vkey", SIGNER.verifier.vkey]) == 0
    told = capsys.readouterr().out
    assert '  subject = "zelda"' in told
    assert "closed    network" in told
    path.write_bytes(made[2].replace(b"zelda", b"zorro"))
    assert main([str(path), "--vkey", SIGNER.verifier.vkey]) == 5
    assert "is not what the entry committed to" in capsys.readouterr().err
    assert main([str(path)]) == 2, "without a key it proves nothing"


def test_what_it_opens_can_not_steer_the_terminal(tmp_path, capsys):
    side = Side("quillwork/q03", {"request": {"path": "\x1b[31mgone\u202e"}})
    draws = iter(range(255))
    scribe = Scribe(lambda: 1, lambda n: bytes(n - 1) + bytes([next(draws)]), lambda _: KEY, lambda: None)
    entry, sides = scribe.write("access.intent", {"who": "p-1"}, side)
    signed = note.sign(checkpoint.encode(SIGNER.name, 1, merkle.leaf_hash(entry)), SIGNER)
    opened = open_side("request", sides["request"], entry, KEY.key)
    (tmp_path / "b").write_bytes(disclosure.write(Proof(0, (), signed), entry, "request", *opened))

    assert main([str(tmp_path / "b"), "--vkey", SIGNER.verifier.vkey]) == 0
    told = capsys.readouterr().out
    assert "gone" in told
    assert "closed    nothing" in told
    assert not {"\x1b", "\u202e"} & set(told)
