"""Which keys stand on a vendor's list, by what was served, used, issued, read and cloned; and what is not known."""

import asyncio
import json
import random
import string
import subprocess

import pytest

from inprocess import DESK, a_gateway, a_session
from limen import scanning
from limen.core.types import Grade, Span
from limen.registration import Marking, Source
from limen.response.exposure import Exposure
from limen.response.keys import Inventory
from limen.response.touches import Credentials, Touch
from limen.scan.keyring import Keyring
from limen.scan.manifest import Commit, Key, KeyPlace, Manifest
from limen.scan.secrets import Kingfisher
from limen.scanning import Recorded
from limen.verbs import VERBS

KEYRING = Keyring.of(b"k" * 32)
DAY = 86_400
US = 1_000_000
NOW = 1_780_000_000 * US


def touch(reason, where, *, at=1_760_000_000, vendor="quillwork", **more):
    known = {"people": (f"{vendor}/q01",), "vendors": (vendor,)} if vendor else {}
    return Touch(reason, Grade.OBSERVED, where, at * US, at * US, 1, principal="github:x", **{**known, **more})


class Told:
    """What observations say, as plain values."""

    def __init__(self, *, used=(), issued=(), read=(), histories=None, objects=()):
        self._all = (used, issued, read)
        self._histories, self._objects = histories or {}, objects

    def used(self):
        return iter(self._all[0])

    def issued(self):
        return iter(self._all[1])

    def read(self):
        return iter(self._all[2])

    def histories(self):
        return self._histories

    def objects(self, assets):
        return ((asset, one) for asset, one in self._objects if asset in assets)


def found(secret, *places, kind="betterleaks.github-pat"):
    sealed = KEYRING.seal(secret)
    return Key(key=sealed.key, aliases=sealed.aliases, kind=kind, places=places)


def in_repo(at, *, path="a.py", blob="ab" * 20):
    commits = (Commit(commit="cd" * 20, path=path, at=at),) if at else ()
    return KeyPlace(blob=blob, line=1, commits=commits)


def scanned(*keys, repo="github:Acme/R", subject="git", **more):
    return Recorded(7, NOW, Manifest(repo=repo, subject=subject, keys=keys, kingfisher="2.14.0", **more))


def names(inventory, vendor):
    return {
        (row["key"], touch["reason"], touch["certain"])
        for row in inventory.report(vendor, now_us=NOW)["keys"]
        for touch in row["touched"]
    }


def test_a_key_in_a_history_is_on_the_list_of_whoever_took_it_after_the_key_was_there():
    early, late, unplaced = (
        found(b"one", in_repo(1_750_000_000)),
        found(b"two", in_repo(1_770_000_000, blob="b")),
        found(b"three", in_repo(0, blob="c")),
    )
    told = Told(histories={"github:acme/r": [touch("cloned", "github:acme/R")]})
    inventory = Inventory(KEYRING, [scanned(early, late, unplaced)], told)
    assert names(inventory, "quillwork") == {(early.key, "cloned", True), (unplaced.key, "cloned", False)}
    assert names(inventory, "tessel") == set()
    report = inventory.report("quillwork", now_us=NOW)
    assert any("1 keys were committed" in line for line in report["unknown"])
    assert len(inventory.report(None, now_us=NOW)["keys"]) == 3


def test_a_wrong_clock_widens_the_time_in_which_a_history_may_have_been_taken():
    key = found(b"one", in_repo(1_760_000_300))
    told = {"histories": {"github:acme/r": [touch("cloned", "github:acme/r")]}}
    assert names(Inventory(KEYRING, [scanned(key)], Told(**told)), "quillwork") == set()
    assert names(Inventory(KEYRING, [scanned(key)], Told(**told), skew_us=600 * US), "quillwork") == {(key.key, "cloned", True)}


def test_a_key_that_was_used_is_the_one_that_was_found_under_any_of_its_names(tmp_path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "x", "-f", str(tmp_path / "k")], check=True)
    shown = subprocess.run(["ssh-keygen", "-l", "-f", str(tmp_path / "k.pub")], capture_output=True, text=True, check=True).stdout
    key = found((tmp_path / "k").read_bytes(), in_repo(1_750_000_000), kind="betterleaks.private-key")
    told = Told(used=[Credentials(shown.split()[1], touch("used", "github")), Credentials("AKIAOTHER", touch("used", "trail"))])
    rows = Inventory(KEYRING, [scanned(key)], told).report("quillwork", now_us=NOW)["keys"]
    assert {(row["key"], row["name"]) for row in rows} == {
        (key.key, shown.split()[1]),
        (KEYRING.name("AKIAOTHER"), "AKIAOTHER"),
    }


def test_an_unknown_principal_is_shown_and_is_on_no_list():
    told = Told(histories={"github:acme/r": [touch("cloned", "github:acme/r", vendor="")]})
    key = found(b"one", in_repo(1_750_000_000))
    inventory = Inventory(KEYRING, [scanned(key)], told)
    report = inventory.report("quillwork", now_us=NOW)
    assert report["keys"] == []
    assert [(one["principal"], one["reason"], one["keys"]) for one in report["unknown_principals"]] == [("github:x", "cloned", 1)]


def test_one_of_two_vendors_is_on_both_lists():
    shared = touch("used", "trail", people=("quillwork/q01", "tessel/t01"), vendors=("quillwork", "tessel"))
    inventory = Inventory(KEYRING, [], Told(used=[Credentials("AKIAX", shared)]))
    assert names(inventory, "quillwork") == names(inventory, "tessel") != set()


def test_an_object_that_holds_a_key_is_known_by_its_shard_or_else_perhaps():
    place = KeyPlace(blob="aa", line=1, asset="orchid-sft-v3", version=1, shard="a/train.jsonl", record=0)
    key = found(b"one", place)
    reads = [("orchid-sft-v3", touch("served", f"s3://b/sft/{name}")) for name in ("a/train.jsonl", "renamed")]
    other = [("orchid-sft-v3", touch("served", "s3://b/sft/other.jsonl", vendor="tessel"))]
    inventory = Inventory(KEYRING, [scanned(key, repo="assets", subject="assets")], Told(objects=[*reads, *other]))
    assert names(inventory, "quillwork") == {(key.key, "served", True), (key.key, "served", False)}
    assert names(inventory, "tessel") == {(key.key, "served", False)}


def test_what_was_not_looked_at_is_said():
    assert any("nothing was scanned" in line for line in Inventory(KEYRING, [], Told()).report("x", now_us=NOW)["unknown"])
    report = Inventory(KEYRING, [scanned(left_out=("the clone is shallow",))], Told()).report("x", now_us=NOW)
    assert any("left out: the clone is shallow" in line for line in report["unknown"])
    assert any("assets were not searched" in line for line in report["unknown"])


def test_a_history_that_was_taken_and_not_scanned_or_not_since_is_said():
    told = Told(
        histories={f"github:acme/{n}": [touch("cloned", f"github:acme/{n}", at=at)] for n, at in (("r", 1), ("x", 1), ("y", 2))}
    )
    scans = [scanned(), Recorded(8, US, Manifest(repo="github:acme/y", subject="git", kingfisher="2"))]
    unknown = Inventory(KEYRING, scans, told).report("quillwork", now_us=NOW)["unknown"]
    assert [line.split(",")[0] for line in unknown if "never scanned" in line] == ["quillwork took github:acme/x"]
    assert any("github:acme/y after it was last scanned (entry 8)" in line for line in unknown)
    assert not any("github:acme" in line for line in Inventory(KEYRING, scans, told).report("tessel", now_us=NOW)["unknown"])


# --- served by us, to the record

TOKEN = "ghp_" + "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=36))


@pytest.fixture
def world(tmp_path, rules):
    """Runs a coroutine function with a gateway whose unmarked asset of five records holds a key in record 3."""
    lines = [json.dumps({"n": n, "text": f"use {TOKEN}" if n == 3 else "nothing of interest here"}) for n in range(5)]

    def run(body):
        async def whole():
            gateway = await a_gateway(tmp_path / "data")
            try:
                source = tmp_path / "five.jsonl"
                source.write_text("\n".join(lines) + "\n")
                await gateway.registrar.register("orchid-blob", [Source("five.jsonl", source)], Marking(marked=False), by="t")
                rows = await VERBS["scan.shards"](gateway, {}, "t")
                held = scanning.content(gateway.config.data, rows, fetch=None)
                keyring = Keyring.of((gateway.config.data / "keys" / "server.key").read_bytes())
                with Kingfisher.ready(keyring, rules=rules) as kingfisher:
                    staged = scanning.stage(gateway.config.data, scanning.scan_assets(held, kingfisher))
                await VERBS["scan.commit"](gateway, {"manifest": staged}, "t")
                return await body(gateway, [len(line) + 1 for line in lines])
            finally:
                await gateway.close()

        return asyncio.run(whole())

    return run


async def read(gateway, subject, start, end):
    """One ranged read, to its end."""
    session = await a_session(gateway, subject)
    wanted = Span(206, start, end)
    delivery = await gateway.access.open(session, "orchid-blob/five.jsonl", choose=lambda _copy, _at: wanted, client=DESK)
    await delivery.send_to(lambda _chunk: asyncio.sleep(0), lambda: None)


async def around_record_3(gateway, lengths):
    """One person is handed a byte of record 3, two of another vendor the bytes beside it; then both vendors' lists."""
    before = sum(lengths[:3])
    await read(gateway, "q01", before, before + 1)
    await read(gateway, "t01", before - 1, before)
    await read(gateway, "t02", before + lengths[3], before + lengths[3] + 5)
    return [await VERBS["keys.list"](gateway, {"vendor": vendor}, "t") for vendor in ("quillwork", "tessel")]


def test_a_served_record_that_holds_a_key_puts_it_on_the_list_and_its_neighbour_does_not(world):
    quillwork, tessel = world(around_record_3)
    [row] = quillwork["keys"]
    [one] = row["touched"]
    assert (one["reason"], one["grade"], one["people"], one["certain"]) == ("served", "measured", ["quillwork/q01"], True)
    assert one["where"] == "orchid-blob@1/five.jsonl#3"
    assert tessel["keys"] == []
    assert any("no log of another system" in line for line in tessel["unknown"])


def test_that_check_fails_if_reads_were_taken_for_the_whole_shard(world, monkeypatch):
    real = Exposure._records
    monkeypatch.setattr(Exposure, "_records", lambda self, *place: real(self, *place[:-1], None))
    _, tessel = world(around_record_3)
    assert len(tessel["keys"]) == 1
