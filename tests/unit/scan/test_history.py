"""Every blob that is still in the object store is read, whatever names it; and a stranger's repository runs nothing."""

import pytest

from limen.core.errors import Invalid
from limen.scan.history import GitFailed, History
from repositories import Repository


def contents(history):
    return {raw for _, raw in history.read(list(history.objects().blobs))}


@pytest.fixture
def repository(tmp_path):
    repo = Repository.make(tmp_path / "r.git")
    repo.commit({"a": b"one\n", "d/e f": b"two\n"})
    repo.commit({"a": None, "b": b"three\n"}, author=b"Bo <bo@x.example>")
    repo.commit({"g": b"gone branch\n"}, branch="gone", parent="main")
    repo.commit({"p": b"pull\n"}, branch="refs/pull/7/head", parent="main")
    repo.write()
    repo.git("update-ref", "-d", "refs/heads/gone")
    repo.git("hash-object", "-w", "--stdin", told=b"dangling\n")
    return repo


def test_deleted_paths_other_refs_and_what_nothing_names_are_read(repository):
    assert contents(History.open(repository.path)) == {b"one\n", b"two\n", b"three\n", b"gone branch\n", b"pull\n", b"dangling\n"}


def test_a_walk_of_the_branches_alone_would_miss_some(repository):
    listed = repository.git("rev-list", "--objects", "--branches").split()
    kinds = repository.git("cat-file", "--batch-check=%(objecttype)", told="\n".join(o for o in listed if len(o) == 40).encode())
    assert kinds.split().count("blob") == 3


def test_commits_paths_times_and_authors_are_told(repository):
    history = History.open(repository.path)
    objects = history.objects()
    by_content = {raw: oid for oid, raw in history.read(list(objects.blobs))}
    brought = history.brought(set(by_content.values()), objects.commits)
    assert {raw: [one.path for one in brought.get(oid, [])] for raw, oid in by_content.items()} == {
        b"one\n": ["a"],
        b"two\n": ["d/e f"],
        b"three\n": ["b"],
        b"gone branch\n": ["g"],
        b"pull\n": ["p"],
        b"dangling\n": [],
    }
    [three], [gone] = brought[by_content[b"three\n"]], brought[by_content[b"gone branch\n"]]
    assert history.authors([three.commit, gone.commit]) == {three.commit: "Bo", gone.commit: "ada-l"}
    assert gone.at == 1_750_000_180
    assert history.reach({three.commit, gone.commit}) == {three.commit: "refs", gone.commit: "nothing"}


def test_a_merge_that_brings_something_of_its_own_is_named(tmp_path):
    repo = Repository.make(tmp_path / "m.git")
    repo.commit({"a": b"a\n"})
    repo.commit({"x": b"x\n"}, branch="side", parent="main")
    repo.commit({"b": b"b\n"})
    repo.write()
    blob = repo.git("hash-object", "-w", "--stdin", told=b"evil\n").strip()
    tree = repo.git("mktree", told=f"100644 blob {blob}\te\n".encode()).strip()
    commit = repo.git("commit-tree", tree, "-p", "main", "-p", "side", "-m", "m").strip()
    history = History.open(repo.path)
    [one] = history.brought({blob}, history.objects().commits)[blob]
    assert (one.commit, one.path) == (commit, "e")


def test_equal_refs_have_an_equal_digest_and_a_moved_one_has_not(repository):
    history = History.open(repository.path)
    before = history.refs()
    assert history.refs() == before
    repository.git("update-ref", "refs/heads/new", "main")
    assert history.refs().digest != before.digest


def test_replaced_objects_do_not_hide_what_they_replace(repository):
    bad = repository.git("rev-parse", "main:b").strip()
    good = repository.git("hash-object", "-w", "--stdin", told=b"harmless\n").strip()
    repository.git("replace", bad, good)
    assert b"three\n" in contents(History.open(repository.path))


def test_a_repositorys_own_configuration_runs_nothing(repository, tmp_path):
    ran = tmp_path / "ran"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\ntouch {ran}\n")
    script.chmod(0o755)
    for key in ("core.fsmonitor", "diff.external", "core.pager", "core.sshCommand", "alias.cat-file", "core.askPass"):
        repository.git("config", key, str(script) if key != "alias.cat-file" else f"!{script}")
    (repository.path / "hooks" / "post-index-change").write_bytes(script.read_bytes())
    (repository.path / "hooks" / "post-index-change").chmod(0o755)
    history = History.open(repository.path)
    history.brought(set(history.objects().blobs), history.objects().commits)
    contents(history)
    assert not ran.exists()


def test_the_callers_git_environment_changes_nothing(repository, tmp_path, monkeypatch):
    other = Repository.make(tmp_path / "other.git")
    other.commit({"o": b"other\n"})
    other.write()
    monkeypatch.setenv("GIT_DIR", str(other.path))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(other.path / "objects"))
    assert b"other\n" not in contents(History.open(repository.path))


def test_a_directory_inside_a_repository_is_not_taken_for_it(repository, tmp_path):
    (tmp_path / "work").mkdir()
    repository.git("clone", "-q", str(repository.path), str(tmp_path / "work" / "c"))
    inside = tmp_path / "work" / "c" / "sub"
    inside.mkdir()
    with pytest.raises(Invalid, match="no git repository"):
        History.open(inside)
    assert History.open(tmp_path / "work" / "c").origin() == str(repository.path)


def test_a_shallow_clone_is_said_to_be_one(repository, tmp_path):
    repository.git("clone", "-q", "--depth=1", f"file://{repository.path}", str(tmp_path / "shallow"))
    [why] = History.open(tmp_path / "shallow").left_out
    assert "shallow" in why
    assert History.open(repository.path).left_out == []


def test_a_damaged_object_stops_the_reading(repository):
    history = History.open(repository.path)
    with pytest.raises(GitFailed, match="can't read"):
        list(history.read(["12" * 20]))
