"""How an import comes to count: never without its entry, never twice, whatever stops it and whoever else imports."""

import asyncio
import json
import os
import resource
import subprocess
import sys

import pytest

from limen import observing
from limen.core.errors import Invalid
from limen.core.events import decode
from limen.ledger.sqlite import SqliteStore
from limen.observe.depot import Depot, base_of
from limen.observe.importing import Order, manifest_of, read
from limen.observe.inputs import find
from limen.observe.kinds import reader_of
from limen.observe.manifest import digest
from limen.observe.staging import Staging
from logs import APRIL, cloudtrail, log_file

# Run a command in which one function dies in the place of its work, as by SIGKILL.
DYING = """
import os, sys
from limen import cli, observing
from limen.ledger.ledger import Ledger

async def dies(*_, **__): os._exit(9)
def died(*_, **__): os._exit(9)
async def moved_first(self, staged, told, base, *, by):
    observing._move(self._root, staged, self._custody.ledger.head().size)
    os._exit(9)

match sys.argv[1]:
    case "before the entry": Ledger.append = dies
    case "after the entry": observing._move = died
    case "in a commit that moves first": observing.Observing.commit = moved_first
cli.main(sys.argv[2:])
"""


def dying(lab, where):
    words = ["observe", "import", "cloudtrail", lab.logs, "--source", "trail-eu", "--data", lab.data]
    done = subprocess.run([sys.executable, "-c", DYING, where, *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == 9, done.stderr


def told(lab):
    """The imports that the ledger tells of, by entry."""
    store = SqliteStore(lab.data / "ledger.db", origin="limen.local/log")
    size = store.head().size
    entries = {index: decode(raw) for index, raw in store.entries(0, size)}
    return {index: entry["manifest"] for index, entry in entries.items() if entry["kind"] == "observe.import"}


def start(lab):
    """Start and stop whatever owns the directory."""
    assert lab.limen("session", "list", "--data", lab.data, "--json")[0] == 0


def nothing_counts_without_its_entry(lab):
    entered = told(lab)
    return all(entered.get(each.entry) == each.digest for each in lab.depot.imports())


def some(lab, start=0, count=50, name="x.json.gz"):
    return lab.put(name, log_file(*(cloudtrail(n, at=APRIL + n) for n in range(start, start + count))))


def test_a_crash_before_the_entry_leaves_nothing(lab):
    some(lab)
    dying(lab, "before the entry")
    start(lab)
    assert (lab.depot.imports(), told(lab)) == ((), {})
    assert lab.run("cloudtrail")[1]["new"] == 50
    assert list((lab.data / "observed" / "staging").iterdir()) == []


def test_a_crash_after_the_entry_is_finished_by_the_next_start(lab):
    some(lab)
    dying(lab, "after the entry")
    assert lab.depot.imports() == ()
    assert len(told(lab)) == 1
    start(lab)
    assert nothing_counts_without_its_entry(lab)
    assert len(lab.rows("id")) == 50
    before = lab.whole()
    assert lab.run("cloudtrail")[1]["entry"] is None
    assert lab.whole() == before


def test_a_commit_that_moves_first_fails_that_check(lab):
    some(lab)
    dying(lab, "in a commit that moves first")
    assert not nothing_counts_without_its_entry(lab)
    start(lab)  # but the start sets it aside
    assert lab.depot.imports() == ()
    assert len(list((lab.data / "observed").glob("no-entry-*"))) == 1


def test_what_lies_in_place_with_another_manifest_does_not_count(lab):
    some(lab)
    entry = lab.run("cloudtrail")[1]["entry"]
    path = lab.data / "observed" / f"entry={entry}" / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"skew_s":0', b'"skew_s":9'))
    start(lab)
    assert lab.depot.imports() == ()


def importing(lab, path, source="trail-eu"):
    words = ["observe", "import", "cloudtrail", path, "--source", source, "--data", lab.data, "--json"]
    return subprocess.Popen([sys.executable, "-m", "limen", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_imports_at_the_same_time_hold_every_event_once(lab):
    paths = [some(lab, start, 2000, f"{start}.json.gz") for start in (0, 500, 1000)]
    running = [importing(lab, path) for path in paths]
    ended = [(process.communicate(timeout=120), process.returncode) for process in running]
    assert [code for _, code in ended] == [0, 0, 0], ended
    assert sorted({json.loads(out)["entry"] for (out, _), _ in ended}) == sorted(told(lab))
    assert len(lab.rows("id")) == len(set(lab.rows("id"))) == 3000
    assert nothing_counts_without_its_entry(lab)


def staged(lab, name, path):
    """An import that is ready to be committed."""
    depot, order, reader = Depot.open(lab.data / "observed"), Order(source="trail-eu"), reader_of("cloudtrail")
    staging = Staging.begin(lab.data / "observed", name)
    found = read(reader, find([str(path)], None), order, staging, now_us=(APRIL + 99_999) * 1_000_000)
    base = base_of(depot, "trail-eu")
    raw = staging.finish(manifest_of(reader, order, found, staging, staging.gather("trail-eu", depot)))
    return staging, digest(raw), base


def both(lab):
    """Two imports of overlapping events, gathered side by side and then committed one after the other."""
    one = staged(lab, "1" * 16, some(lab, 0, 50, "1.json.gz"))
    other = staged(lab, "2" * 16, some(lab, 25, 50, "2.json.gz"))

    async def commit():
        from limen.config import load  # noqa: PLC0415  with the gateway, below
        from limen.server import Gateway  # noqa: PLC0415  slow to import

        gateway = await Gateway.open(load(lab.data))
        try:
            return [await gateway.observing.commit(s.name, told, base, by="test") for s, told, base in (one, other)]
        finally:
            await gateway.close()

    answers = asyncio.run(commit())
    for staging, *_ in (one, other):
        staging.close()
    return answers, lab.rows("id")


def test_an_import_that_was_gathered_before_another_came_is_sent_back(lab):
    answers, rows = both(lab)
    assert answers[1] == {"behind": True}
    assert len(rows) == len(set(rows)) == 50


def test_a_commit_that_looks_at_nothing_fails_that_check(lab, monkeypatch):
    monkeypatch.setattr(observing, "base_of", lambda *_: [])
    answers, rows = both(lab)
    assert "entry" in answers[1]
    assert len(rows) > len(set(rows))


def test_what_was_not_announced_is_not_entered(lab):
    staging, told_digest, base = staged(lab, "3" * 16, some(lab))

    async def commit(name, manifest):
        from limen.config import load  # noqa: PLC0415  with the gateway, below
        from limen.server import Gateway  # noqa: PLC0415  slow to import

        gateway = await Gateway.open(load(lab.data))
        try:
            await gateway.observing.commit(name, manifest, base, by="test")
        finally:
            await gateway.close()

    for name, manifest in (("../../blobs", told_digest), (staging.name, "0" * 64)):
        with pytest.raises(Invalid):
            asyncio.run(commit(name, manifest))
    (staging.folder / "ready" / "day=2026-04-01" / "part.parquet").unlink()
    with pytest.raises(Invalid, match="lacks"):
        asyncio.run(commit(staging.name, told_digest))
    staging.close()
    assert (told(lab), lab.depot.imports()) == ({}, ())


@pytest.mark.parametrize("room", [4096, 150_000])
def test_a_full_disk_is_told_and_nothing_is_imported(lab, room):
    lab.put("x.json.gz", log_file(*(cloudtrail(n, at=APRIL + n, key=os.urandom(40).hex()) for n in range(9000))))
    words = ["observe", "import", "cloudtrail", lab.logs, "--source", "trail-eu", "--data", lab.data]

    def little_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    done = subprocess.run(
        [sys.executable, "-m", "limen", *map(str, words)], preexec_fn=little_room, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "nothing was imported" in done.stderr
    assert "free some space" in done.stderr
    assert (lab.depot.imports(), told(lab)) == ((), {})
    assert list((lab.data / "observed" / "staging").iterdir()) == []
    assert lab.run("cloudtrail")[1]["new"] == 9000


def test_a_writer_that_died_is_swept_and_one_that_lives_is_not(lab):
    root = lab.data / "observed"
    living = Staging.begin(root, "a" * 16)
    dead = Staging.begin(root, "b" * 16)
    os.close(dead._lock)
    Staging.begin(root, "c" * 16).close()
    assert sorted(path.name for path in (root / "staging").iterdir()) == ["a" * 16, "a" * 16 + ".lock"]
    living.close()
