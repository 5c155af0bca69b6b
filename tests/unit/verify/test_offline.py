"""The verifier's own arithmetic: held against the specifications' vectors, and against the codecs that use `cryptography`."""

from __future__ import annotations

import ast
import base64
import hashlib
import inspect
import io
import json
import random
import sys
import zipfile

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from laid_out import LEAVES, SIGNER, SIZE, signed

from limen.formats import bagit, dsse, merkle, sshsig
from limen.formats.cosignature import Cosigner
from limen.verify import evidence, offline, spotcheck, verdict
from limen.verify.offline import Refused

# RFC 8032 §7.1: public key, message, signature
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]
ORDER = 2**252 + 27742317777372353535851937790883648493


@pytest.mark.parametrize(("public", "message", "signature"), VECTORS)
def test_the_specifications_signatures_verify(public, message, signature):
    key, text, blob = bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature)

    assert offline.ed25519(key, text, blob)
    assert not offline.ed25519(key, text + b"x", blob)
    assert not offline.ed25519(key, text, blob[:-1] + bytes([blob[-1] ^ 1]))


def test_it_agrees_with_cryptography_on_random_keys_and_broken_signatures():
    draw = random.Random(7)
    for _ in range(40):
        private = Ed25519PrivateKey.from_private_bytes(draw.randbytes(32))
        public, message = private.public_key().public_bytes_raw(), draw.randbytes(draw.randrange(200))
        signature = bytearray(private.sign(message))
        assert offline.ed25519(public, message, bytes(signature))
        signature[draw.randrange(64)] ^= 1 << draw.randrange(8)
        assert not offline.ed25519(public, message, bytes(signature))


def test_a_signature_in_a_second_spelling_is_refused():
    """S + L gives the same point: a verifier that takes it takes two signatures where there is one."""
    public, message, signature = (bytes.fromhex(part) for part in VECTORS[0])
    other = int.from_bytes(signature[32:], "little") + ORDER

    assert not offline.ed25519(public, message, signature[:32] + other.to_bytes(32, "little"))


@pytest.mark.parametrize(
    "public", [b"", bytes(31), b"\xff" * 32, (2).to_bytes(32, "little"), (1 | 1 << 255).to_bytes(32, "little")]
)
def test_what_is_no_point_is_no_key(public):
    assert not offline.ed25519(public, b"", bytes(64))


PRIME = 2**255 - 19
IDENTITY = (0, 1, 1, 0)
HALF = (0, PRIME - 1, 1, 0)  # the point of order two


def encoded(point):
    """RFC 8032 §5.1.2."""
    x, y, z, _ = point
    inverse = pow(z, PRIME - 2, PRIME)
    return (y * inverse % PRIME | (x * inverse % PRIME & 1) << 255).to_bytes(32, "little")


def challenge(r, public, message):
    return int.from_bytes(hashlib.sha512(r + public + message).digest(), "little") % ORDER


@pytest.mark.parametrize("y", [2, 7, PRIME, PRIME + 1, 1 | 1 << 255, PRIME - 1 | 1 << 255, 2**255 - 1], ids=hex)
def test_an_encoding_of_no_point_or_of_a_point_in_a_second_spelling_is_none(y):
    assert offline._point(y.to_bytes(32, "little")) is None


def test_a_point_is_the_one_that_its_sign_says():
    assert encoded(offline._BASE) == bytes.fromhex("58" + "66" * 31)
    assert offline._point(encoded(offline._BASE)) == offline._BASE
    assert offline._point(encoded(IDENTITY))[:2] == (0, 1)
    assert offline._BASE[0] % 2 == 0


def test_a_signature_whose_point_is_mirrored_in_either_coordinate_is_refused():
    """The equation must hold for both: S -> L - S mirrors one, a point of order two and that mirror the other."""
    a, r, message = 7, 11, b"message"
    public, good = encoded(offline._times(a, offline._BASE)), encoded(offline._times(r, offline._BASE))
    s = (r + challenge(good, public, message) * a) % ORDER
    shifted = encoded(offline._added(offline._times(r, offline._BASE), HALF))
    t = (r + challenge(shifted, public, message) * a) % ORDER

    assert offline.ed25519(public, message, good + s.to_bytes(32, "little"))
    for point, scalar in ((good, ORDER - s), (shifted, ORDER - t), (shifted, t)):
        signature = point + scalar.to_bytes(32, "little")
        assert not offline.ed25519(public, message, signature)
        with pytest.raises(InvalidSignature):
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)


def test_keys_and_signatures_of_another_length_are_refused():
    public, message, signature = (bytes.fromhex(part) for part in VECTORS[1])

    for bad in (signature + b"\0", signature[:-1], b""):
        assert not offline.ed25519(public, message, bad)
    for bad in (public + b"\0", public[:-1]):
        assert not offline.ed25519(bad, message, signature)
    # Whoever holds the key can sign for a longer spelling of it, too.
    a, r = 7, encoded(offline._times(11, offline._BASE))
    longer = encoded(offline._times(a, offline._BASE)) + b"\0"
    s = (11 + challenge(r, longer, message) * a) % ORDER
    assert not offline.ed25519(longer, message, r + s.to_bytes(32, "little"))


def test_the_zip_is_one_that_other_programs_read_and_that_has_one_form():
    files = {"r/b.txt": b"two", "r/a.txt": b"one" * 1000, "r/empty": b""}
    raw = offline.zipped(files)

    with zipfile.ZipFile(io.BytesIO(raw)) as opened:
        assert opened.testzip() is None
        assert {name: opened.read(name) for name in opened.namelist()} == files
    assert offline.unzipped(raw) == files
    assert raw == offline.zipped(dict(reversed(files.items())))


def test_every_changed_bit_of_a_zip_is_another_zip():
    raw = offline.zipped({"r/a.txt": b"one", "r/b": b""})
    for place in range(len(raw) * 8):
        bent = bytearray(raw)
        bent[place // 8] ^= 1 << place % 8
        try:
            assert offline.unzipped(bytes(bent)) != {
                "r/a.txt": b"one",
                "r/b": b"",
            }  # a name or a content: the manifest's to notice
        except (Refused, ValueError, UnicodeError):
            continue


def test_a_zip_of_another_program_is_refused():
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as out:
        out.writestr("r/a.txt", b"one")

    with pytest.raises(Refused, match="not, byte for byte"):
        offline.unzipped(made.getvalue())
    with pytest.raises(Refused, match="not, byte for byte"):
        offline.unzipped(offline.zipped({"r/a.txt": b"one"}) + b"\n")


def test_checkpoints_of_the_log_are_believed_under_its_key_alone():
    head, key = offline.checkpoint(signed(SIZE)), offline.vkey(SIGNER.vkey)

    offline.signed(head, key)
    assert (head.origin, head.size, head.root) == (SIGNER.name, SIZE, merkle.root_of(LEAVES))
    with pytest.raises(Refused, match="not signed by"):
        offline.signed(head._replace(text=head.text.replace(b"600", b"601")), key)
    with pytest.raises(Refused, match="is of the log"):
        offline.signed(head, offline.vkey(SIGNER.vkey)._replace(name="other"))


def test_proofs_of_consistency_hold_for_every_pair_and_break_for_every_change():
    roots = [merkle.root_of(LEAVES[:size]) for size in range(41)]
    for new in range(1, 41):
        for old in range(1, new + 1):
            proof = merkle.consistency_proof(old, new, lambda start, end: merkle.root_of(LEAVES[start:end]))
            assert offline.consistent(old, new, roots[old], proof) == roots[new]
            wrong = [bytes(32), *proof[1:]] if proof else [bytes(32)]
            try:
                assert offline.consistent(old, new, roots[old], wrong) != roots[new]
            except Refused:
                continue
    with pytest.raises(Refused):
        offline.consistent(5, 4, roots[4], [])


def test_many_entries_are_proved_together_and_each_by_itself():
    draw = random.Random(3)
    root = merkle.root_of(LEAVES)
    for count in (1, 2, 17, 300):
        leaves = {index: LEAVES[index] for index in draw.sample(range(SIZE), count)}
        asked = {}

        def other(start, end, asked=asked):
            asked[start, end] = merkle.root_of(LEAVES[start:end])
            return asked[start, end]

        _collect(sorted(leaves), 0, SIZE, other)
        tree = offline.Tree(SIZE, leaves, asked)
        assert tree.hash(0, SIZE) == root
        assert tree.used == len(asked)
        for index, leaf in leaves.items():
            assert offline.included(index, SIZE, leaf, tree.path(index)) == root
        assert tree.hash(0, SIZE) == root
        assert tree.used == len(asked)  # each is counted once, however often it is asked for


def _collect(order, start, end, other):
    if not any(start <= index < end for index in order):
        other(start, end)
    elif end - start > 1:
        middle = start + merkle.split(end - start)
        _collect(order, start, middle, other)
        _collect(order, middle, end, other)


def test_an_ssh_signature_that_the_codec_made_is_taken_and_every_change_of_it_refused():
    signer = sshsig.Signer(bytes(32))
    armor = sshsig.sign(b"message", signer, namespace=offline.NAMESPACE)

    offline.sshsig(armor, signer.key.raw, b"message")
    assert offline.by_ssh_keygen(armor, signer.key.raw, b"message") is True
    assert offline.by_ssh_keygen(armor, signer.key.raw, b"other") is False
    for place in range(len(armor)):
        bent = bytearray(armor)
        bent[place] ^= 1
        with pytest.raises((Refused, ValueError, IndexError)):
            offline.sshsig(bytes(bent), signer.key.raw, b"message")
    other = sshsig.sign(b"message", signer, namespace="file")
    with pytest.raises(Refused, match="for limen-evidence"):
        offline.sshsig(other, signer.key.raw, b"message")


# --- forms that are refused, one by one

NOTE = signed(SIZE)
TEXT, LINES = NOTE.split(b"\n\n")


@pytest.mark.parametrize(
    "raw",
    [
        TEXT + b"\n\n" + LINES[:-1],
        TEXT + b"\nmore\n\n" + LINES,
        TEXT.replace(b"\n600\n", b"\n0600\n") + b"\n\n" + LINES,
        TEXT.replace(b"\n600\n", b"\n-600\n") + b"\n\n" + LINES,
        TEXT.replace(b"\n600\n", b"\n" + b"9" * 20 + b"\n") + b"\n\n" + LINES,
        TEXT + b"\n\n" + LINES.replace("—".encode(), b"-"),
        TEXT + b"\n\n" + LINES.replace(b" ", b"  "),
        TEXT[:-1] + b"\n\n" + LINES,
    ],
    ids=["no newline", "four lines", "leading zero", "sign", "too many digits", "no dash", "two spaces", "root"],
)
def test_a_note_in_another_form_is_no_checkpoint(raw):
    assert offline.checkpoint(NOTE).size == SIZE
    with pytest.raises((Refused, ValueError)):
        offline.checkpoint(raw)


def test_signatures_of_others_say_nothing_and_one_wrong_one_of_the_log_spoils_it():
    head, key = offline.checkpoint(NOTE), offline.vkey(SIGNER.vkey)
    [(name, blob)] = head.lines
    other = (name, bytes(4) + blob[4:])

    offline.signed(head._replace(lines=[other, (name, blob), ("somebody", blob)]), key)
    for lines in ([], [other], [("somebody", blob)], [(name, blob), (name, blob[:-1] + bytes([blob[-1] ^ 1]))]):
        with pytest.raises(Refused, match="not signed by"):
            offline.signed(head._replace(lines=lines), key)
    with pytest.raises(Refused, match="is of the log"):
        offline.signed(head, key._replace(kind=4))


def test_a_cosignature_counts_for_its_witness_alone():
    witness = Cosigner.ed25519("witness.example", bytes(range(32)))
    key, head = offline.vkey(witness.key.vkey), offline.checkpoint(NOTE)
    line = witness.cosign(head.text, 1_775_000_000)
    with_it = head._replace(lines=[*head.lines, (line.name, line.key_id + line.blob)])

    assert offline.cosigned_at(with_it, key) == 1_775_000_000
    assert offline.cosigned_at(head, key) is None
    assert offline.cosigned_at(with_it, key._replace(name="other")) is None
    assert offline.cosigned_at(with_it, key._replace(id=bytes(4))) is None
    assert offline.cosigned_at(with_it, key._replace(kind=6)) is None
    with pytest.raises(Refused, match="does not verify"):
        offline.cosigned_at(with_it._replace(text=head.text.replace(b"600", b"601")), key)


def test_a_proof_of_consistency_that_is_short_long_or_of_another_tree_is_refused():
    roots = [merkle.root_of(LEAVES[:size]) for size in range(20)]
    for old, new in ((6, 15), (7, 7), (8, 15), (5, 19)):
        proof = merkle.consistency_proof(old, new, lambda start, end: merkle.root_of(LEAVES[start:end]))
        assert offline.consistent(old, new, roots[old], proof) == roots[new]
        for bad in ([*proof, bytes(32)], [bytes(32), *proof], *([proof[:-1], proof[1:]] if proof else [])):
            with pytest.raises(Refused):
                offline.consistent(old, new, roots[old], bad)
    for old, new in ((0, 5), (5, 4)):
        with pytest.raises(Refused, match="can't continue"):
            offline.consistent(old, new, roots[old], [])
    # A proof that makes the new root out of another old one: the old root must be the one that was seen.
    proof = merkle.consistency_proof(6, 15, lambda start, end: merkle.root_of(LEAVES[start:end]))
    with pytest.raises(Refused, match="cut or changed"):
        offline.consistent(6, 15, roots[5], proof)


def test_an_inclusion_proof_of_another_length_is_refused():
    path = merkle.inclusion_proof(3, 10, lambda start, end: merkle.root_of(LEAVES[start:end]))

    assert offline.included(3, 10, LEAVES[3], path) == merkle.root_of(LEAVES[:10])
    for bad in (path[:-1], [*path, bytes(32)]):
        with pytest.raises(Refused, match="hashes, not"):
            offline.included(3, 10, LEAVES[3], bad)


def test_a_tree_that_lacks_a_hash_says_which():
    with pytest.raises(Refused, match="entries 1 to 1"):
        offline.Tree(2, {0: LEAVES[0]}, {}).hash(0, 2)


@pytest.mark.parametrize(
    "text", ["", "a+b", "name+00000000+AAAA", SIGNER.vkey.replace("+", "-", 1), SIGNER.vkey[:-1], SIGNER.vkey + "A"]
)
def test_what_is_no_vkey_is_refused(text):
    assert offline.vkey(f" {SIGNER.vkey}\n").name == SIGNER.name
    with pytest.raises(Refused):
        offline.vkey(text)


KEY = sshsig.Signer(bytes(32)).key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ssh-ed25519",
        "ssh-rsa " + KEY.line.split()[1],
        KEY.line.split()[1],
        "ssh-ed25519 AAAA",
        KEY.line[:-4],
        KEY.line[:-8] + "AAAAAAAAAAAA",
    ],
)
def test_what_is_no_ssh_key_is_refused_with_a_sentence(text):
    assert offline.ssh_key(KEY.line + " a comment") == KEY.raw
    assert offline.key_line(KEY.raw) == KEY.line
    assert offline.fingerprint(KEY.raw) == KEY.fingerprint
    with pytest.raises(Refused):
        offline.ssh_key(text)


def test_a_key_of_another_kind_and_of_the_same_length_is_refused():
    other = base64.b64encode(bytes(51)).decode()
    with pytest.raises(Refused):
        offline.ssh_key(f"ssh-ed25519 {other}")
    empty = hashlib.sha256(b"name\n").hexdigest()[:8]
    with pytest.raises(Refused):
        offline.vkey(f"name+{empty}+")


def test_an_envelope_has_one_form_and_one_signer():
    signer = sshsig.Signer(bytes(32))
    body = dsse.statement({"a": "ab" * 32}, "https://p.example", {})
    raw = dsse.sign(body, dsse.IN_TOTO, signer)

    assert offline.dsse(raw, KEY.raw)["predicateType"] == "https://p.example"
    document = json.loads(raw)
    for bent in (
        raw + b"\n",
        raw.replace(b'"sig"', b'"sig" '),
        offline.canonical({**document, "more": 1}) + b"\n",
        offline.canonical({**document, "payloadType": "text/plain"}) + b"\n",
        offline.canonical({**document, "signatures": document["signatures"] * 2}) + b"\n",
        dsse.sign(body, dsse.IN_TOTO, sshsig.Signer(bytes(range(32)))),
        dsse.encode(dsse.Envelope(dsse.IN_TOTO, body, ((KEY.fingerprint, bytes(64)),))),
    ):
        with pytest.raises(Refused):
            offline.dsse(bent, KEY.raw)


def a_bag(change=None):
    """A small bag in its zip, as a bundle has it."""
    files = bagit.bag({"bundle.json": b"{}"}, [("External-Identifier", "r")])
    files |= {offline.SIGNATURE: b"s", offline.ENVELOPE: b"e"}
    if change:
        change(files)
    return offline.zipped({f"r/{path}": raw for path, raw in files.items()})


def renamed(files):
    files["bag-info.txt"] = files["bag-info.txt"].replace(b"Identifier: r", b"Identifier: q")
    files[offline.TAGS] = bagit.manifest({name: files[name] for name in ("bag-info.txt", "bagit.txt", offline.MANIFEST)})


def tags_name_payload(files):
    files[offline.TAGS] += bagit.manifest({"data/bundle.json": files["data/bundle.json"]})


def a_line_twice(files):
    files[offline.MANIFEST] *= 2
    files[offline.TAGS] = bagit.manifest({name: files[name] for name in ("bag-info.txt", "bagit.txt", offline.MANIFEST)})


def no_line(files):
    files[offline.TAGS] += b"nothing\n"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (renamed, "another name"),
        (tags_name_payload, "does not read"),
        (a_line_twice, "does not read"),
        (no_line, "does not read"),
        (lambda files: files.pop("bagit.txt"), "bagit.txt is missing"),
        (lambda files: files.pop(offline.ENVELOPE), "is missing"),
        (lambda files: files.pop("data/bundle.json"), "is missing: a manifest names it"),
        (lambda files: files.update({"data/bundle.json": b"[]"}), "not the one that its manifest names"),
        (lambda files: files.update({"data/more": b""}), "no manifest names it"),
    ],
)
def test_a_bag_that_is_not_whole_says_what_is_wrong(change, says):
    assert offline.opened(a_bag())["data/bundle.json"] == b"{}"
    with pytest.raises(Refused, match=says):
        offline.opened(a_bag(change))


def test_a_zip_of_two_directories_and_one_of_none_are_no_bundle():
    for files in ({"r/a": b"", "q/a": b""}, {}):
        with pytest.raises(Refused, match="exactly one directory"):
            offline.opened(offline.zipped(files))


def test_a_zip_that_would_need_extensions_has_no_form():
    with pytest.raises(Refused, match=r"65,534"):
        offline.zipped({str(number): b"" for number in range(65_535)})
    assert offline.unzipped(offline.zipped({str(number): b"" for number in range(65_534)}))


def test_a_name_beyond_ascii_is_refused_with_a_sentence():
    raw = offline.zipped({"r/ab": b""}).replace(b"r/ab", b"r/a\xe9")

    with pytest.raises(Refused, match="not, byte for byte"):
        offline.unzipped(raw)


def test_without_ssh_keygen_nobody_is_asked(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    assert offline.by_ssh_keygen(b"", KEY.raw, b"") is None


@pytest.mark.parametrize("text", ["AB==", "AA", "A===", "AA==\n", "é", "_w=="])
def test_base64_has_one_spelling(text):
    assert offline.canonical_base64("AA==") == b"\0"
    with pytest.raises(Refused):
        offline.canonical_base64(text)


@pytest.mark.parametrize("cut", [1, 10, 29, 30, 31])
def test_a_zip_that_ends_in_the_middle_is_refused(cut):
    with pytest.raises(Refused, match="not, byte for byte"):
        offline.unzipped(offline.zipped({"r/a": b"one"})[:cut])


@pytest.mark.parametrize("module", [offline, evidence, spotcheck, verdict])
def test_what_ships_in_bundles_is_python_3_9_and_imports_the_standard_library_alone(module):
    tree = ast.parse(inspect.getsource(module), feature_version=(3, 9))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)

    assert names - {"limen.verify", "offline", "collections.abc"} <= sys.stdlib_module_names
    assert not any(isinstance(node, ast.keyword) and node.arg in ("strict", "slots", "kw_only") for node in ast.walk(tree))
