"""Opening one class of an entry: what it proves, what it does not say, and that nothing in it can be swapped."""

from __future__ import annotations

import base64
import json

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
    ("field", "value"),
    [
        ("value", {"issuer": "https://id.example", "subject": "somebody-else", "holder": "quillwork/q03"}),
        ("value", {"issuer": "https://id.example", "subject": "zelda"}),
        ("value", []),
        ("class", "network"),
        ("class", "nothing"),
        ("salt", "00" * 16),
        ("salt", "00" * 15),
        ("salt", "not hex"),
        ("entry", "!"),
        ("format", "limen-disclosure/v2"),
        ("proof", "\ud800"),
        ("proof", "c2sp.org/tlog-proof@v1\nindex 2\n\n"),
    ],
)
def test_whatever_is_swapped_is_refused(made, field, value):
    document = json.loads(made[2])
    document[field] = value

    with pytest.raises(Invalid):
        check(json.dumps(document).encode())


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
    assert not {"\x1b", "\u202e"} & set(told)
