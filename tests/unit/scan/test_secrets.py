"""What Kingfisher finds in a plain directory we find in a history, by fingerprint; and no secret is printed or kept."""

import base64
import bz2
import gzip
import importlib.util
import io
import json
import lzma
import os
import random
import string
import subprocess
import tarfile
import zipfile

import pytest

from limen.core.errors import Unsupported
from limen.scan import secrets
from limen.scan.keyring import Keyring
from limen.scan.secrets import Kingfisher
from secretkinds import rules as listed_rules
from secretkinds import sample

KEYRING = Keyring.of(b"k" * 32)
LETTERS = string.ascii_letters + string.digits


def token(seed):
    return "ghp_" + "".join(random.Random(seed).choices(LETTERS, k=36))


def keys(kingfisher, raw):
    return [one.sealed.key for one in kingfisher.search([("ab" * 20, raw)]).get("ab" * 20, [])]


def key(secret):
    return KEYRING.seal(secret.encode()).key


def test_a_token_has_one_fingerprint_in_any_dress(kingfisher):
    t = token(1)
    forms = {
        "plain": f"a\nb\r\n  token = '{t}'\r\n".encode(),
        "after letters of several bytes": f"漢字é token: {t}\n".encode(),
        "utf-16": f"token {t}\n".encode("utf-16"),
        "latin-1": b"caf\xe9 token " + t.encode(),
        "base64": b"x = " + base64.b64encode(f"token={t}".encode()) + b"\n",
        "in something binary": b"\x89PNG\r\n\x1a\n\0\0\0" + t.encode() + b"\0\0",
        "with a comment that asks to be let off": f"t='{t}' # kingfisher:ignore gitleaks:allow".encode(),
        "far along a line": b"x" * 200_000 + b" token " + t.encode(),
    }
    found = kingfisher.search([(f"{n:040x}", raw) for n, raw in enumerate(forms.values())])
    assert {name: [one.sealed.key for one in found.get(f"{n:040x}", [])] for n, name in enumerate(forms)} == {
        name: [key(t)] for name in forms
    }


def test_two_tokens_have_two_fingerprints_and_another_directory_has_others(kingfisher):
    assert keys(kingfisher, f"a {token(1)}\nb {token(2)}\n".encode()) == [key(token(1)), key(token(2))]
    assert Keyring.of(b"j" * 32).seal(token(1).encode()).key != key(token(1))


def test_a_private_key_is_one_key_in_any_wrapping_and_meets_its_public_half(kingfisher, tmp_path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "x", "-f", str(tmp_path / "k")], check=True)
    pem = (tmp_path / "k").read_bytes()
    shown = subprocess.run(["ssh-keygen", "-l", "-f", str(tmp_path / "k.pub")], capture_output=True, text=True, check=True).stdout
    indented = b"\n".join(b"  " + line for line in pem.splitlines())
    found = kingfisher.search(
        [("aa" * 20, pem), ("bb" * 20, indented), ("cc" * 20, b"x = 1\n" + json.dumps({"key": pem.decode()}).encode())]
    )
    sealed = {oid: [one.sealed for one in some] for oid, some in found.items()}
    [first] = sealed["aa" * 20]
    assert [one.key for some in sealed.values() for one in some] == [first.key] * 3
    assert KEYRING.name(shown.split()[1]) in first.aliases


def test_a_token_meets_the_name_that_githubs_audit_log_has_for_it():
    import hashlib  # noqa: PLC0415  only here

    hashed = base64.b64encode(hashlib.sha256(token(1).encode()).digest()).decode()
    assert KEYRING.name(hashed) in KEYRING.seal(token(1).encode()).aliases
    assert KEYRING.name(hashed) not in KEYRING.seal(token(2).encode()).aliases


def zipped(raw, name="in/a.txt"):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, raw)
    return packed.getvalue()


def tarred(raw):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        part = tarfile.TarInfo("in/a.txt")
        part.size = len(raw)
        archive.addfile(part, io.BytesIO(raw))
    return packed.getvalue()


def test_a_packed_key_is_the_same_key_and_in_packings_of_packings_it_is_known_by_its_place(kingfisher):
    raw = f"a\ntoken {token(3)}\n".encode()
    packed = {"gz": gzip.compress(raw), "bz2": bz2.compress(raw), "xz": lzma.compress(raw), "zip": zipped(raw)}
    deep = {"zip in zip": zipped(zipped(raw), "in.zip"), "tar.gz": tarred(raw)}
    found = kingfisher.search([(f"{n:040x}", one) for n, one in enumerate([*packed.values(), *deep.values()])])
    told = [[one.sealed.key for one in found.get(f"{n:040x}", [])] for n in range(len(packed) + len(deep))]
    assert told[: len(packed)] == [[key(token(3))]] * len(packed)
    places = [one for [one] in told[len(packed) :]]
    assert all(one.startswith("at-") for one in places)
    assert len(set(places)) == len(places)


def test_what_a_killed_scan_left_is_removed_by_the_next_and_a_running_ones_is_not(kingfisher, tmp_path, monkeypatch):
    monkeypatch.setattr(secrets, "_MEMORY", tmp_path / "none")
    monkeypatch.setattr(secrets.tempfile, "gettempdir", lambda: str(tmp_path))
    gone = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True).stdout.strip()
    for owner in (gone, str(os.getpid())):
        (tmp_path / f"limen-scan-{owner}-x").mkdir()
    secrets._sweep(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"limen-scan-{os.getpid()}-x"]


def test_without_the_box_it_finds_the_same(rules, kingfisher):
    with Kingfisher.ready(KEYRING, boxed=False, rules=rules) as outside:
        assert keys(outside, f"x {token(5)}\n".encode()) == keys(kingfisher, f"x {token(5)}\n".encode()) == [key(token(5))]


def test_every_kind_that_kingfisher_finds_in_plain_files_is_found_in_blobs(kingfisher, rules, tmp_path):
    draw = random.Random(4)
    plain = tmp_path / "plain"
    plain.mkdir()
    texts = {}
    for number, rule in enumerate(listed_rules(tmp_path)):
        if text := sample(rule["pattern"], draw):
            texts[f"{number:040x}"] = text.encode()
            (plain / f"{number:040x}").write_bytes(text.encode())
    options = ["--no-validate", "--no-update-check", "--format", "jsonl", "--no-dedup", "--quiet", "--no-ignore"]
    compiled = rules / f"kingfisher-{kingfisher.version}"
    place = {"HOME": str(tmp_path), "KF_RULE_CACHE_DIR": str(compiled)}
    told = subprocess.run(
        [str(secrets.binary()), "scan", str(plain), *options], env=place, capture_output=True, check=False
    ).stdout
    rows = [json.loads(line) for line in told.splitlines()]
    truth = {(row["finding"]["path"].rpartition("/")[2], row["rule"]["id"]) for row in rows if "finding" in row}
    assert len({rule for _, rule in truth}) > 300
    found = kingfisher.search(list(texts.items()))
    assert {(oid, one.rule) for oid, some in found.items() for one in some} == truth
    # The secret is read again from its place: what Kingfisher itself shows, unredacted, has the same fingerprint.
    shown = {
        (row["finding"]["path"].rpartition("/")[2], KEYRING.seal(row["finding"]["snippet"].encode()).key)
        for row in rows
        if "finding" in row
    }
    ours = {(oid, one.sealed.key) for oid, some in found.items() for one in some}
    assert len(ours & shown) >= 0.97 * len(shown)


def test_an_answer_that_searched_less_than_it_got_is_no_answer(kingfisher, monkeypatch):
    real = kingfisher._run
    short = lambda batch: real(batch).replace(b'"blobs_scanned":2', b'"blobs_scanned":1')  # noqa: E731
    monkeypatch.setattr(type(kingfisher), "_run", lambda self, batch: short(batch))
    with pytest.raises(secrets.SandboxFailed, match="searched 1 of 2"):
        kingfisher.search([("aa" * 20, b"one"), ("bb" * 20, b"two")])


def test_without_the_extra_the_error_names_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(Unsupported, match=r"limen\[scan\]"):
        secrets.binary()
