"""`limen scan`, as a person runs it: what it prints, what it records, and that no secret stays anywhere."""

import asyncio
import json
import random
import shutil
import string

import pytest

from inprocess import a_gateway
from limen import scanning
from limen.config import load
from limen.core.events import decode
from limen.ledger.stored import stored
from limen.registration import Marking, Source
from repositories import Repository
from simulator import records

LETTERS = string.ascii_letters + string.digits
TOKEN, OTHER = ("ghp_" + "".join(random.Random(n).choices(LETTERS, k=36)) for n in (1, 2))
ANSWER = json.loads(records(600).splitlines()[17])["answer"]


@pytest.fixture
def data(tmp_path, rules):
    """A data directory with 600 records as an asset, and a second asset of which record 2 holds a key."""

    async def make():
        gateway = await a_gateway(tmp_path / "data")
        source = tmp_path / "data" / "blob.jsonl"
        source.write_text("".join(json.dumps({"n": n, "t": f"use {OTHER}" if n == 2 else "nothing"}) + "\n" for n in range(4)))
        await gateway.registrar.register("orchid-blob", [Source("blob.jsonl", source)], Marking(marked=False), by="test")
        source.unlink()
        await gateway.close()

    asyncio.run(make())
    (tmp_path / "data" / "limen.toml").write_text('[server]\nmode = "development"\n')
    shutil.copytree(rules, tmp_path / "data" / "scans" / "cache" / "rules")
    return tmp_path / "data"


@pytest.fixture
def repository(tmp_path):
    repo = Repository.make(tmp_path / "r.git")
    repo.commit({"conf.py": f"x = 1\ntoken = '{TOKEN}'\n".encode()})
    repo.commit({"conf.py": b"x = 1\n", "notes.md": b"> " + ANSWER.upper().encode() + b"\n"}, author=b"Bo <bo@x.example>")
    repo.write()
    repo.git("config", "remote.origin.url", "git@github.com:acme/orchid-train.git")
    return repo


def entries(data):
    return [(index, decode(raw)) for index, raw in raw_entries(data)]


def raw_entries(data):
    store = stored(data, load(data).ledger.origin)
    return list(store.entries(0, store.head().size))


def places_of(data, text):
    """Every document below a directory that holds a text, read byte by byte."""
    return [path.name for path in data.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def test_a_scan_names_commit_path_line_and_author_and_is_an_entry(limen, data, repository):
    code, said, _ = limen("scan", repository.path, "--data", data)
    assert code == 0
    told = ["  KEY ", "betterleaks.github-pat", " line 2", "conf.py in", "by ada-l", "notes.md in", "by Bo"]
    told += ["REFERENCE to orchid-sft-v3@1/sft.jsonl", "the shard's line 18"]
    assert [part for part in told if part not in said] == []
    [(index, entry)] = [(i, e) for i, e in entries(data) if e["kind"] == "scan.run"]
    assert (entry["repo"], entry["keys"], entry["references"], entry["complete"]) == ("github:acme/orchid-train", 1, 1, True)
    assert (entry["boxed"], entry["kingfisher"]) == (True, "2.14.0")
    assert (data / "scans" / f"{index}.json").exists()


def test_neither_secret_nor_author_is_kept_in_any_byte_of_the_data_directory(limen, data, repository):
    limen("scan", repository.path, "--data", data)
    assert places_of(data, TOKEN) == []
    for told in ("ada-l", "bo@x.example", "Ada L"):
        assert places_of(data, told) == []
    # That search finds what is there: the fingerprint, and a secret where one is put.
    [key] = json.loads(limen("scan", repository.path, "--data", data, "--json")[1])["scans"][0]["keys"]
    assert places_of(data, key["key"])
    (data / "scans" / "planted").write_text(f"x {TOKEN}")
    assert places_of(data, TOKEN) == ["planted"]


def test_keys_in_our_own_assets_are_told_by_record(limen, data):
    code, said, _ = limen("scan", "--assets", "--data", data, "--json")
    [scan] = json.loads(said)["scans"]
    [key] = scan["keys"]
    [place] = key["places"]
    assert code == 0
    assert (place["asset"], place["version"], place["shard"], place["line"], place["record"]) == (
        "orchid-blob",
        1,
        "blob.jsonl",
        3,
        2,
    )
    assert scan["repo"] == "assets"


def test_a_key_in_adopted_content_is_in_no_record_that_anybody_knows(limen, data, tmp_path):
    place = tmp_path / "rests"
    place.mkdir()
    (place / "a.jsonl").write_text(json.dumps({"n": 0}) + "\n" + json.dumps({"n": 1, "t": f"use {TOKEN}"}) + "\n")
    limen("asset", "adopt", "helio-prefs-v2", place, "--data", data)
    keys = json.loads(limen("scan", "--assets", "--data", data, "--json")[1])["scans"][0]["keys"]
    places = {(p["asset"], p["line"], p["record"]) for key in keys for p in key["places"]}
    assert places == {("helio-prefs-v2", 2, -1), ("orchid-blob", 3, 2)}


def test_a_dry_run_records_nothing(limen, data, repository):
    before = len(entries(data))
    code, said, talk = limen("scan", repository.path, "--data", data, "--dry-run", "--no-secrets")
    assert (code, len([e for _, e in entries(data)]) - before, "REFERENCE" in said, "nothing was recorded" in talk) == (
        0,
        0,
        True,
        True,
    )
    assert "nobody looked" in said


def test_what_was_left_out_is_told_and_exits_6(limen, data, repository, tmp_path):
    repository.git("clone", "-q", "--depth=1", f"file://{repository.path}", str(tmp_path / "shallow"))
    code, said, _ = limen("scan", tmp_path / "shallow", "--data", data, "--no-secrets")
    assert code == 6
    assert "LEFT OUT: the clone is shallow" in said
    assert [e["complete"] for _, e in entries(data) if e["kind"] == "scan.run"] == [False]


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--no-secrets",), "name a repository"),
        (("nowhere",), "no git repository"),
        (("--assets", "--no-secrets"), "nothing to look for"),
        (("a", "b", "--name", "github:a/b"), "one by one"),
    ],
)
def test_bad_words_are_told_before_anything_is_read(limen, data, words, why):
    code, _, talk = limen("scan", *words, "--data", data)
    assert code == 2
    assert why in talk


def test_a_manifest_that_was_changed_counts_for_nothing_and_is_told(limen, data, repository):
    limen("scan", repository.path, "--data", data)
    held = raw_entries(data)
    [one], [] = scanning.recorded(data, held)
    assert one.manifest.repo == "github:acme/orchid-train"
    path = data / "scans" / f"{one.entry}.json"
    path.write_bytes(path.read_bytes().replace(b"conf.py", b"conf.px"))
    [], [why] = scanning.recorded(data, held)
    assert f"entry {one.entry}" in why


def test_a_crash_between_the_entry_and_the_manifests_move_loses_nothing(limen, data, repository):
    limen("scan", repository.path, "--data", data)
    [(index, entry)] = [(i, e) for i, e in entries(data) if e["kind"] == "scan.run"]
    (data / "scans" / f"{index}.json").rename(data / "scans" / "staging" / f"{entry['manifest']}.json")
    found, unknown = scanning.recorded(data, raw_entries(data))
    assert (len(found), unknown) == (1, [])


def test_what_scans_keep_is_for_its_owner_only(tmp_path):
    assert scanning.folder(tmp_path).stat().st_mode & 0o777 == 0o700


def test_what_was_not_staged_is_not_recorded(in_gateway):
    async def body(gateway):
        with pytest.raises(scanning.Invalid, match="not staged"):
            await scanning.commit(gateway.custody, gateway.config.data, "../../keys/server.key", by="test")

    in_gateway(body)


def test_an_adopted_directory_is_compared_where_it_rests_and_a_changed_object_is_left_out(limen, data, repository, tmp_path):
    place = tmp_path / "rests"
    place.mkdir()
    told = json.dumps({"t": "".join(random.Random(9).choices("abcdefghij klmno", k=300))})
    (place / "a.jsonl").write_text(told + "\n")
    repository.commit({"copy.txt": f"# {json.loads(told)['t'].upper()}\n".encode()})
    repository.write()
    assert limen("asset", "adopt", "helio-prefs-v2", place, "--data", data)[0] == 0
    words = ("scan", repository.path, "--data", data, "--no-secrets")
    code, said, _ = limen(*words)
    assert (code, "REFERENCE to helio-prefs-v2@1/a.jsonl" in said) == (0, True)
    shutil.rmtree(data / "scans" / "cache" / "index")
    (place / "a.jsonl").write_text("{}\n")
    code, said, _ = limen(*words)
    assert code == 6
    assert "LEFT OUT: helio-prefs-v2@1/a.jsonl was not compared" in said
    assert "REFERENCE to orchid-sft-v3@1/sft.jsonl" in said
