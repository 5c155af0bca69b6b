"""Trust policies: which checkpoints they accept, and which texts are no policy."""

from __future__ import annotations

import itertools

import pytest

from limen.core.errors import Invalid
from limen.formats import checkpoint, note
from limen.formats.cosignature import MLDSA44_COSIGNATURE, Cosigner, CosignerKey
from limen.formats.tlogpolicy import MAX_OF_A_KIND, MAX_POLICY, Cosigned, Policy

LOG = note.Signer("log.example/one", bytes(range(32)))
SECOND = note.Signer("log.example/two", bytes(range(1, 33)))
ROOT = bytes(range(100, 132))
TEXT = checkpoint.encode(LOG.name, 7, ROOT).encode()
WITNESSES = {
    "X1": Cosigner.ed25519("x.example/1", bytes([1] * 32)),
    "X2": Cosigner.ed25519("x.example/2", bytes([2] * 32)),
    "X3": Cosigner.mldsa44("x.example/3", bytes([3] * 32)),
    "Y1": Cosigner.mldsa44("y.example/1", bytes([4] * 32)),
    "Y2": Cosigner.ed25519("y.example/2", bytes([5] * 32)),
}
WITNESS_LINES = "".join(f"witness {name} {cosigner.key.vkey}\n" for name, cosigner in WITNESSES.items())
NESTED = f"""\
# the specification's example, with five witnesses
log {LOG.vkey}

{WITNESS_LINES}
group X-witnesses 2 X1 X2 X3
group Y-witnesses any Y1 Y2
\tgroup  X-and-Y\tall X-witnesses Y-witnesses \t
quorum X-and-Y
"""


def cosigned(*names, text=TEXT, signer=LOG, at=100):
    raw = note.sign(text, signer)
    for place, name in enumerate(names):
        line = WITNESSES[name].cosign(text, at + place)
        raw = note.append_signature(raw, line.name, line.key_id, line.blob)
    return raw


def with_quorum(*lines):
    return f"log {LOG.vkey}\n{WITNESS_LINES}" + "".join(f"{line}\n" for line in lines)


def test_a_policys_lines_are_read_with_their_addresses():
    policy = Policy.read(
        f"log {LOG.vkey} https://log.example/one/\n"
        f"witness W {WITNESSES['X3'].key.vkey} http://127.0.0.1:1/\n"
        f"log {SECOND.vkey}\nquorum W\n"
    )

    assert (policy.log, policy.log_url) == (LOG.verifier, "https://log.example/one/")
    assert [log.verifier for log in policy.logs] == [LOG.verifier, SECOND.verifier]
    assert policy.logs[1].url is None
    assert policy.witnesses["W"].url == "http://127.0.0.1:1/"
    assert policy.witnesses["W"].key == WITNESSES["X3"].key
    assert policy.quorum == "W"


def test_every_set_of_witnesses_makes_a_nested_quorum_or_does_not():
    policy = Policy.read(NESTED)
    for count in range(6):
        for names in itertools.combinations(WITNESSES, count):
            expected = sum(name[0] == "X" for name in names) >= 2 and any(name[0] == "Y" for name in names)
            assert policy.satisfied_by(set(names)) is expected


def test_the_name_of_a_group_or_a_stranger_is_no_witness():
    policy = Policy.read(NESTED)

    assert not policy.satisfied_by({"X-and-Y"})
    assert not policy.satisfied_by({"X-witnesses", "Y-witnesses"})
    assert not policy.satisfied_by({"X1", "Z1", "Y1"})


def test_a_checkpoint_with_a_quorum_is_accepted_and_says_who_cosigned_and_when():
    found = Policy.read(NESTED).check(cosigned("Y1", "X3", "X1"))

    assert found == Cosigned(LOG.name, 7, ROOT, (("X1", 102), ("X3", 101), ("Y1", 100)))


def test_a_checkpoint_without_a_quorum_is_refused_and_told_what_it_has():
    with pytest.raises(Invalid, match="cosigned by X1, Y1, and the policy asks for X-and-Y"):
        Policy.read(NESTED).check(cosigned("X1", "Y1"))
    with pytest.raises(Invalid, match="cosigned by nobody"):
        Policy.read(NESTED).check(cosigned())


def test_one_witness_that_cosigns_twice_counts_once_and_with_its_newest_time():
    policy = Policy.read(with_quorum("group two 2 X1 X2", "quorum two"))
    line = WITNESSES["X1"].cosign(TEXT, 900)
    twice = note.append_signature(cosigned("X1", at=5), line.name, line.key_id, line.blob)

    with pytest.raises(Invalid, match="no quorum"):
        policy.check(twice)
    assert Policy.read(with_quorum("quorum X1")).check(twice).cosigners == (("X1", 900),)


def test_a_quorum_without_the_logs_own_signature_is_refused():
    lines = cosigned("X1", "X2", "Y1").removeprefix(note.sign(TEXT, LOG))
    unsigned = TEXT + b"\n" + lines

    with pytest.raises(Invalid, match="not signed by the log"):
        Policy.read(NESTED).check(unsigned)


def test_a_checkpoint_of_a_log_that_is_not_named_is_refused():
    strange = cosigned("X1", "X2", "Y1", text=checkpoint.encode(SECOND.name, 7, ROOT).encode(), signer=SECOND)

    with pytest.raises(Invalid, match="does not name the log"):
        Policy.read(NESTED).check(strange)


def test_a_named_log_does_not_sign_for_another_named_log():
    policy = Policy.read(f"log {LOG.vkey}\nlog {SECOND.vkey}\nquorum none\n")
    crossed = note.sign(TEXT, SECOND)

    assert policy.check(note.sign(TEXT, LOG)).origin == LOG.name
    with pytest.raises(Invalid, match="no signature is by a trusted key"):
        policy.check(crossed)


def test_a_log_that_has_two_keys_may_sign_with_either():
    newer = note.Signer(LOG.name, bytes(range(2, 34)))
    policy = Policy.read(f"log {LOG.vkey}\nlog {newer.vkey}\nquorum none\n")

    for signer in (LOG, newer):
        assert policy.check(note.sign(TEXT, signer)).size == 7


def test_a_wrong_cosignature_of_a_named_witness_spoils_the_checkpoint_even_with_a_quorum():
    wrong = WITNESSES["Y2"].cosign(checkpoint.encode(LOG.name, 8, ROOT).encode(), 5)
    raw = note.append_signature(cosigned("X1", "X2", "Y1"), wrong.name, wrong.key_id, wrong.blob)

    with pytest.raises(Invalid, match=r"y\.example/2 does not verify"):
        Policy.read(NESTED).check(raw)


def test_cosignatures_of_strangers_are_passed_over():
    stranger = Cosigner.ed25519("z.example/1", bytes([9] * 32)).cosign(TEXT, 5)
    raw = note.append_signature(cosigned("X1"), stranger.name, stranger.key_id, stranger.blob)

    assert Policy.read(with_quorum("quorum X1")).check(raw).cosigners == (("X1", 100),)


def test_quorum_none_asks_for_the_logs_signature_only():
    policy = Policy.read(f"log {LOG.vkey}\nquorum none\n")

    assert policy.satisfied_by(set())
    assert policy.check(cosigned()) == Cosigned(LOG.name, 7, ROOT)
    with pytest.raises(Invalid):
        policy.check(note.sign(TEXT, SECOND))
    assert Policy.of_logs([LOG.verifier]) == policy


def test_no_key_at_all_is_no_policy():
    with pytest.raises(Invalid, match="no trusted key"):
        Policy.of_logs([])


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["quorum none", "quorum none"], "line 8: quorum: is there already"),
        (["quorum Z1"], "no witness or group"),
        (["group g all X1", "quorum g g"], "does not read"),
        (["group g all", "quorum g"], "no member"),
        (["group g 0 X1", "quorum g"], "needs 0 of 1"),
        (["group g 2 X1", "quorum g"], "needs 2 of 1"),
        (["group g 01 X1", "quorum g"], "plain decimal"),
        (["group g most X1", "quorum g"], "plain decimal"),
        (["group g all X1 X1", "quorum g"], "a member already"),
        (["group g all X1", "group h all X1", "quorum h"], "a member already"),
        (["group g all none", "quorum g"], "no witness or group"),
        (["group g all h", "group h all X1", "quorum g"], "no witness or group"),
        (["group g all g", "quorum g"], "no witness or group"),
        (["group X1 all X2", "quorum X1"], "is taken"),
        (["group none all X2", "quorum none"], "is taken"),
        (["group g all X1", "group g all X2", "quorum g"], "is taken"),
        (["quorum"], "does not read"),
        (["witness"], "does not read"),
        (["witness Z1"], "does not read"),
        ([f"witness none {Cosigner.ed25519('n.example', bytes([8] * 32)).key.vkey}", "quorum none"], "is taken"),
        ([f"witness X1 {Cosigner.ed25519('n.example', bytes([8] * 32)).key.vkey}", "quorum none"], "is taken"),
        ([f"witness Z1 {LOG.vkey}", "quorum none"], "no cosigner's"),
        ([f"witness Z1 {WITNESSES['X1'].key.vkey}", "quorum none"], "on another line already"),
        ([f"log {LOG.vkey}", "quorum none"], "on another line already"),
        ([f"log {WITNESSES['X1'].key.vkey}", "quorum none"], "a log's key is 0x01"),
        ([f"log {SECOND.vkey} a b", "quorum none"], "does not read"),
        (["Log x", "quorum none"], "does not read"),
        ([f"witness Z1 {Cosigner.ed25519('n.example', bytes([8] * 32)).key.vkey} a b", "quorum none"], "does not read"),
        (["quorum none\r"], "control character"),
        (["quorum none\x7f"], "control character"),
        (["# \x0b", "quorum none"], "control character"),
        ([], "no quorum line"),
    ],
)
def test_a_text_that_is_no_policy_is_refused_with_the_line_and_the_reason(lines, why):
    with pytest.raises(Invalid, match=why):
        Policy.read(with_quorum(*lines))


def test_one_key_under_two_names_can_not_count_twice():
    renamed = CosignerKey.of("another.example", MLDSA44_COSIGNATURE, WITNESSES["X3"].key.public_key)
    with pytest.raises(Invalid, match="on another line already"):
        Policy.read(with_quorum(f"witness Z1 {renamed.vkey}", "group g 2 X3 Z1", "quorum g"))


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "quorum none\n", WITNESS_LINES + "quorum X1\n"])
def test_an_empty_policy_trusts_nobody(text):
    with pytest.raises(Invalid):
        Policy.read(text)


def test_a_policy_that_was_cut_is_refused():
    with pytest.raises(Invalid, match="may have been cut"):
        Policy.read(NESTED[:-1])
    longest = NESTED + "#" * (MAX_POLICY - len(NESTED) - 1) + "\n"
    assert Policy.read(longest) == Policy.read(NESTED)
    with pytest.raises(Invalid, match="longer than"):
        Policy.read("#" + longest)


def test_bytes_beyond_ascii_are_taken_in_names_and_comments_as_they_are():
    raw = with_quorum().encode() + b"# \xff\xfe\ngroup K\xff all X1\ngroup \xe2\x84\xaa any X2\nquorum K\xff\n"
    policy = Policy.read(raw)

    assert policy.check(cosigned("X1")).cosigners == (("X1", 100),)
    assert not policy.satisfied_by({"X2"})
    with pytest.raises(Invalid, match="no text"):
        Policy.read(with_quorum("# \ud800", "quorum none"))


def test_there_is_room_for_32_of_each_and_a_bound():
    def of(count):
        witnesses = [f"witness w{i} {Cosigner.ed25519(f'w.example/{i}', bytes([i, 7] * 16)).key.vkey}" for i in range(count)]
        groups = [f"group g{i} all w{i}" for i in range(count)]
        logs = [f"log {note.Signer(f'l.example/{i}', bytes([i, 6] * 16)).vkey}" for i in range(count)]
        return [logs, witnesses, groups]

    Policy.read("\n".join([*itertools.chain(*of(32)), "quorum g0\n"]))
    logs, witnesses, groups = of(MAX_OF_A_KIND)
    Policy.read("\n".join([*logs, *witnesses, *groups, "quorum g0\n"]))
    extra = Cosigner.ed25519("one.example", bytes([3] * 32)).key.vkey
    with pytest.raises(Invalid, match="witness: there are more"):
        Policy.read("\n".join([*logs, *witnesses, *groups, f"witness x {extra}", "quorum g0\n"]))
    with pytest.raises(Invalid, match="log: there are more"):
        Policy.read("\n".join([*logs, f"log {LOG.vkey}", "quorum none\n"]))
    with pytest.raises(Invalid, match="group: there are more"):
        Policy.read("\n".join([*logs, *witnesses, *groups, "group x all g0", "quorum g0\n"]))
