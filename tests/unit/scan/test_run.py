"""A scan of a history: what it finds and where; that a second one reads only what is new and says the same."""

import json
import random
import string

import pytest

from limen.scan import governed
from limen.scan.history import History
from limen.scan.memory import Memory
from limen.scan.run import Looked, Scan
from repositories import Repository
from simulator import records

TOKEN = "ghp_" + "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=36))
CONTENT = records(40)
ANSWER = json.loads(CONTENT.splitlines()[17])["answer"]


@pytest.fixture
def looked(tmp_path):
    (tmp_path / "shard").write_bytes(CONTENT)
    shard = governed.Shard("ab" * 32, "jsonl", (tmp_path / "shard").read_bytes, (("orchid-sft-v3", 1, "sft.jsonl"),))
    return Looked((shard,), (governed.of(shard, tmp_path / "cache" / "index"),), None, governed.digest_of(["ab" * 32]))


@pytest.fixture
def repository(tmp_path):
    repo = Repository.make(tmp_path / "r.git")
    repo.commit({"readme": b"hello\n", "conf.py": f"x = 1\ntoken = '{TOKEN}'\n".encode()})
    repo.commit({"conf.py": b"x = 1\n"})
    repo.commit({"notes.md": b"> " + ANSWER.upper().encode() + b"\n"}, branch="gone", parent="main")
    repo.write()
    repo.git("update-ref", "-d", "refs/heads/gone")
    return repo


@pytest.fixture
def scan(repository, looked, kingfisher, tmp_path):
    def run(**changed):
        parts = {"looked": looked, "kingfisher": kingfisher, **changed}
        return Scan(History.open(repository.path), "github:acme/r", cache=tmp_path / "cache", **parts).run()

    return run


def test_a_deleted_key_and_content_of_a_deleted_branch_are_found_with_their_commits(scan):
    found = scan()
    [key] = found.keys
    [place] = key.places
    assert (key.kind, place.line) == ("betterleaks.github-pat", 2)
    assert [(c.path, c.at, c.reach) for c in place.commits] == [("conf.py", 1_750_000_060, "refs")]
    [reference] = found.references
    assert reference.names == (("orchid-sft-v3", 1, "sft.jsonl"),)
    assert [(s.line, s.source_line) for s in reference.stretches] == [(1, 18)]
    assert [(c.path, c.reach) for c in reference.commits] == [("notes.md", "nothing")]
    assert (found.blobs, found.read, found.commits, found.left_out) == (4, 4, 3, ())


def test_a_second_scan_reads_only_new_blobs_and_says_the_same_and_more(scan, repository):
    first = scan()
    again = scan()
    assert again.read == 0
    assert (again.keys, again.references) == (first.keys, first.references)
    repository.commit({"copy.py": f"x = 1\ntoken = '{TOKEN}'\n".encode(), "new.txt": f"a {TOKEN[::-1]} {TOKEN}\n".encode()})
    repository.write()
    third = scan()
    assert third.read == 1
    [key] = third.keys
    assert sorted(c.path for place in key.places for c in place.commits) == ["conf.py", "copy.py", "new.txt"]


def test_loose_objects_repacking_and_a_lost_note_change_nothing_that_is_found(scan, repository, tmp_path):
    first = scan()
    blob = repository.git("hash-object", "-w", "--stdin", told=f"token = '{TOKEN[:-3]}abc'\n".encode()).strip()
    tree = repository.git("mktree", told=f"100644 blob {blob}\tloose.py\n".encode()).strip()
    repository.git("commit-tree", tree, "-m", "m")
    second = scan()
    assert (second.read, second.blobs, len(second.keys)) == (1, first.blobs + 1, 2)
    repository.git("repack", "-adk", "-q")
    third = scan()
    assert (third.read, third.blobs, third.bytes, third.keys) == (0, second.blobs, second.bytes, second.keys)
    for note in (tmp_path / "cache").glob("repo-*"):
        note.unlink()
    assert scan() == third


def test_what_git_has_thrown_away_is_no_longer_told(scan, repository):
    assert len(scan().references) == 1
    repository.git("gc", "-q", "--prune=now")
    after = scan()
    assert (after.references, after.blobs, len(after.keys)) == ((), 3, 1)


def test_content_that_is_governed_later_is_found_in_old_blobs(scan, looked):
    none = Looked((), (), None, "")
    assert scan(looked=none).references == ()
    [reference] = scan(looked=looked).references
    assert [c.path for c in reference.commits] == ["notes.md"]


def test_a_scan_without_secrets_says_that_nobody_looked(scan):
    found = scan(kingfisher=None)
    assert (found.kingfisher, found.keys, len(found.references)) == ("", (), 1)
    assert len(scan().keys) == 1


def test_a_blob_too_large_to_read_is_left_out_and_said(scan, monkeypatch):
    monkeypatch.setattr("limen.scan.run.MAX_BLOB", 20)
    found = scan()
    assert found.read == 2
    assert "blobs of more than" in found.left_out[0]


def test_what_is_remembered_survives_a_torn_end(tmp_path):
    memory = Memory(tmp_path, "m")
    memory.note(["aa" * 20], [{"blob": "aa" * 20}])
    with (tmp_path / "m.20.rows").open("ab") as stream:
        stream.write(b'{"blob":"to')
    with (tmp_path / "m.20.ids").open("ab") as stream:
        stream.write(b"\xbb" * 7)
    again = Memory(tmp_path, "m")
    assert (again.ids, again.rows) == ({"aa" * 20}, [{"blob": "aa" * 20}])
    again.note(["cc" * 20], [{"blob": "cc" * 20}])
    assert Memory(tmp_path, "m").rows[-1] == {"blob": "cc" * 20}
    assert {"aa" * 20, "cc" * 20} <= Memory(tmp_path, "m").ids
