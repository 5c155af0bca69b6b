"""Bags: whole or refused, and accepted by sha256sum. (The `bagit` package judges whole bundles in tests/conformance.)"""

from __future__ import annotations

import subprocess

import pytest

from limen.core.errors import Invalid
from limen.formats import bagit

PAYLOAD = {"a.txt": b"one", "b/c.json": b"{}"}
INFO = [("Source-Organization", "limen"), ("Bagging-Date", "2026-04-09")]
BAG = bagit.bag(PAYLOAD, INFO)


def test_a_bag_is_whole_and_the_same_each_time():
    bagit.check(BAG)

    assert bagit.bag(dict(reversed(PAYLOAD.items())), INFO) == BAG
    assert list(BAG) == sorted(BAG)
    assert b"Payload-Oxum: 5.2\n" in BAG["bag-info.txt"]


def test_sha256sum_accepts_both_manifests_and_notices_a_change(tmp_path):
    for path, raw in BAG.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(raw)

    def checked(name):
        return (
            subprocess.run(["sha256sum", "--strict", "-c", name], cwd=tmp_path, capture_output=True, check=False).returncode == 0
        )

    assert checked(bagit.MANIFEST)
    assert checked(bagit.TAG_MANIFEST)
    (tmp_path / "data/a.txt").write_bytes(b"two")
    assert not checked(bagit.MANIFEST)


@pytest.mark.parametrize("path", sorted(BAG))
def test_a_file_that_is_missing_is_named(path):
    files = {name: raw for name, raw in BAG.items() if name != path}

    with pytest.raises(Invalid, match=path.replace(".", r"\.")):
        bagit.check(files)


@pytest.mark.parametrize("path", sorted(BAG.keys() - {bagit.TAG_MANIFEST}))  # over that one a signature must stand
def test_a_file_that_was_changed_is_refused(path):
    with pytest.raises(Invalid):
        bagit.check({**BAG, path: BAG[path] + b"\n"})


def test_a_file_too_many_is_named_unless_it_is_expected():
    more = {**BAG, "signature": b"x"}

    with pytest.raises(Invalid, match="in no manifest"):
        bagit.check(more)
    bagit.check(more, beside=["signature"])


def test_two_files_that_changed_places_are_refused():
    swapped = {**BAG, "data/a.txt": BAG["data/b/c.json"], "data/b/c.json": BAG["data/a.txt"]}

    with pytest.raises(Invalid, match="is not what its manifest names"):
        bagit.check(swapped)


@pytest.mark.parametrize("path", ["../x", "/x", "a//b", "a b", ".x", "a/../b", "a\nb", "é", "", "a/", "a/.b"])
def test_a_path_that_could_mean_something_else_is_refused(path):
    with pytest.raises(Invalid, match="can't be in a bag"):
        bagit.bag({path: b""}, INFO)


def test_two_paths_that_are_one_on_other_systems_are_refused():
    with pytest.raises(Invalid, match="capitals"):
        bagit.bag({"A": b"", "a": b""}, INFO)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"ab  x\n", "line 1"),
        (b"0" * 64 + b"  x", "no newline"),
        ((b"0" * 64 + b"  x\n") * 2, "twice"),
        (b"\xff\n", "not UTF-8"),
    ],
)
def test_what_is_no_manifest_is_refused_with_the_reason(raw, why):
    with pytest.raises(Invalid, match=why):
        bagit.read_manifest(raw)


def test_a_bag_of_nothing_and_a_value_of_two_lines_are_refused():
    with pytest.raises(Invalid, match="no payload"):
        bagit.bag({}, INFO)
    with pytest.raises(Invalid, match="more than one line"):
        bagit.bag(PAYLOAD, [("A", "x\ny")])
