"""SSH signatures: ssh-keygen accepts ours, we accept its, and nothing else."""

from __future__ import annotations

import subprocess

import pytest

from limen.core.errors import Invalid
from limen.formats import sshsig
from limen.formats.sshsig import PublicKey, Signature, Signer

LAB = Signer(bytes(range(32)), "lab evidence")
OTHER = Signer(bytes(32))
SPACE = "limen-evidence"
MESSAGE = b"the bytes that were signed\n"


def keygen(*args, stdin=b"", cwd=None):
    return subprocess.run(["ssh-keygen", *map(str, args)], input=stdin, cwd=cwd, capture_output=True, check=False)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """A key pair made by ssh-keygen, and its signature of MESSAGE."""
    where = tmp_path_factory.mktemp("keys")
    assert keygen("-q", "-t", "ed25519", "-N", "", "-C", "somebody", "-f", where / "id").returncode == 0
    signed = keygen("-Y", "sign", "-f", where / "id", "-n", SPACE, stdin=MESSAGE)
    assert signed.returncode == 0
    return PublicKey.from_line((where / "id.pub").read_text()), signed.stdout, where


def accepted_by_keygen(tmp_path, armor, message, *, key=LAB.key, namespace=SPACE):
    (tmp_path / "allowed").write_text(key.allowed("lab@limen", SPACE) + "\n")
    (tmp_path / "sig").write_bytes(armor)
    check = ["-Y", "verify", "-f", tmp_path / "allowed", "-I", "lab@limen", "-n", namespace, "-s", tmp_path / "sig"]
    return keygen(*check, stdin=message).returncode == 0


@pytest.mark.parametrize("message", [b"", MESSAGE, b"\0" * 100_000], ids=["empty", "short", "long"])
def test_ssh_keygen_accepts_what_is_signed_here(tmp_path, message):
    assert accepted_by_keygen(tmp_path, sshsig.sign(message, LAB, namespace=SPACE), message)


def test_ssh_keygen_refuses_other_bytes_another_key_and_another_namespace(tmp_path):
    armor = sshsig.sign(MESSAGE, LAB, namespace=SPACE)

    assert not accepted_by_keygen(tmp_path, armor, MESSAGE + b"x")
    assert not accepted_by_keygen(tmp_path, armor, MESSAGE, key=OTHER.key)
    assert not accepted_by_keygen(tmp_path, armor, MESSAGE, namespace="file")


def test_what_ssh_keygen_signs_verifies_here(theirs):
    key, armor, _ = theirs

    assert sshsig.verify(armor, MESSAGE, namespace=SPACE, keys=[LAB.key, key]) == key
    assert sshsig.read(armor).hash == "sha512"


def test_a_signature_is_written_byte_for_byte_as_ssh_keygen_writes_it(theirs):
    _, armor, _ = theirs

    assert sshsig.armored(sshsig.read(armor)) == armor


def test_a_signature_over_sha256_verifies_too(theirs):
    key, _, where = theirs
    armor = keygen("-Y", "sign", "-f", where / "id", "-n", SPACE, "-O", "hashalg=sha256", stdin=MESSAGE).stdout

    assert sshsig.verify(armor, MESSAGE, namespace=SPACE, keys=[key]) == key


def test_a_message_may_come_in_pieces():
    armor = sshsig.sign(iter([MESSAGE[:3], b"", MESSAGE[3:]]), LAB, namespace=SPACE)

    assert armor == sshsig.sign(MESSAGE, LAB, namespace=SPACE)
    assert sshsig.verify(armor, iter([MESSAGE]), namespace=SPACE, keys=[LAB.key]) == LAB.key


def test_a_key_and_its_fingerprint_read_as_ssh_keygen_writes_them(theirs):
    key, _, where = theirs
    line = (where / "id.pub").read_text().strip()

    assert key.line == line
    assert key.fingerprint in keygen("-l", "-f", where / "id.pub").stdout.decode()


def test_the_key_inside_a_signature_is_not_trusted_for_being_there():
    armor = sshsig.sign(MESSAGE, OTHER, namespace=SPACE)

    with pytest.raises(Invalid, match="none of the keys that are trusted"):
        sshsig.verify(armor, MESSAGE, namespace=SPACE, keys=[LAB.key])
    with pytest.raises(Invalid, match="no trusted key"):
        sshsig.verify(armor, MESSAGE, namespace=SPACE, keys=[])


def test_what_was_signed_for_one_purpose_is_refused_for_another():
    armor = sshsig.sign(MESSAGE, LAB, namespace="limen-advisory")

    with pytest.raises(Invalid, match="is for 'limen-advisory'"):
        sshsig.verify(armor, MESSAGE, namespace=SPACE, keys=[LAB.key])


def test_a_namespace_that_was_exchanged_in_the_signature_is_refused():
    made = sshsig.read(sshsig.sign(MESSAGE, LAB, namespace="limen-advisory"))
    moved = sshsig.armored(Signature(made.key, SPACE, made.hash, made.blob))

    with pytest.raises(Invalid, match="does not verify"):
        sshsig.verify(moved, MESSAGE, namespace=SPACE, keys=[LAB.key])


def test_every_changed_character_of_a_signature_is_refused():
    armor = sshsig.sign(MESSAGE, LAB, namespace=SPACE)
    for place in range(len(armor) - 1):  # the last newline is not part of what is read
        bent = bytearray(armor)
        bent[place] ^= 1
        if bytes(bent).replace(b"\r\n", b"\n") == armor:
            continue
        with pytest.raises(Invalid):
            sshsig.verify(bytes(bent), MESSAGE, namespace=SPACE, keys=[LAB.key])


def test_a_check_that_trusts_the_key_it_is_handed_would_take_a_forgery():
    """The negative control: what `verify` is for, shown by leaving it out."""
    forged = sshsig.sign(b"forged", OTHER, namespace=SPACE)

    assert sshsig.verify(forged, b"forged", namespace=SPACE, keys=[sshsig.read(forged).key])
    with pytest.raises(Invalid):
        sshsig.verify(forged, b"forged", namespace=SPACE, keys=[LAB.key])


@pytest.mark.parametrize(
    ("armor", "why"),
    [
        (b"", "not one block"),
        (b"-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n", "not one block"),
        (b"-----BEGIN SSH SIGNATURE-----\nU1NI\n-----END SSH SIGNATURE-----\n", "ends too early"),
        (b"-----BEGIN SSH SIGNATURE-----\n%%%%\n-----END SSH SIGNATURE-----\n", "not Base64"),
        (b"x" * 9000, "longer than"),
        ("-----BEGIN SSH SIGNATURE-----\né\n".encode(), "not ASCII"),
    ],
)
def test_what_is_no_signature_is_refused_with_the_reason(armor, why):
    with pytest.raises(Invalid, match=why):
        sshsig.read(armor)


def test_other_kinds_of_key_are_refused_with_a_sentence(tmp_path):
    assert keygen("-q", "-t", "ecdsa", "-N", "", "-f", tmp_path / "id").returncode == 0
    armor = keygen("-Y", "sign", "-f", tmp_path / "id", "-n", SPACE, stdin=MESSAGE).stdout

    with pytest.raises(Invalid, match="only ssh-ed25519 is read"):
        sshsig.read(armor)
    with pytest.raises(Invalid, match="begins with 'ecdsa-sha2-nistp256'"):
        PublicKey.from_line((tmp_path / "id.pub").read_text())


def test_a_private_seed_is_never_shown():
    assert LAB.seed.hex() not in repr(LAB)
    assert repr(LAB.seed) not in repr(LAB)


def test_a_principal_that_would_break_the_list_of_signers_is_refused():
    with pytest.raises(Invalid, match="can't stand"):
        LAB.key.allowed("a b", SPACE)
