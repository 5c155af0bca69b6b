"""An asset's keys over time: rotated, retired, opened by two; what is served meanwhile, and what a trace makes of it."""

import asyncio
import json
import shutil

import pytest

from inprocess import DESK, a_gateway, a_session
from limen.config import Config, Marks, Server
from limen.core.errors import Conflict, Denied, Invalid, MarkKeyUnavailable, NotFound
from limen.core.events import decode
from limen.core.types import Span
from limen.marks.keys import agrees
from limen.registration import Marking, Source
from limen.server import Gateway
from limen.verbs import VERBS
from simulator import records
from tokens import PIN, soft_token
from tracing import copy_id, trace

ASSET, KEY, NEXT = "orchid-sft-v3", "orchid-sft-v3", "orchid-sft-v3~2"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A data directory with 600 records as version 1, for every test to copy."""
    data = tmp_path_factory.mktemp("made") / "data"

    async def make():
        await (await a_gateway(data)).close()

    asyncio.run(make())
    return data


@pytest.fixture
def within(made, tmp_path):
    """Run a coroutine function on a gateway over a copy of that directory."""

    def run(work):
        async def running():
            data = shutil.copytree(made, tmp_path / "data")
            gateway = await Gateway.open(Config(data=data, server=Server(mode="development")))
            try:
                return await work(gateway)
            finally:
                await gateway.close()

        return asyncio.run(running())

    return run


def entries(gateway, kind):
    ledger = gateway.custody.ledger
    found = [(index, decode(raw)) for index, raw in ledger.entries(0, ledger.head().size)]
    return [(index, entry) for index, entry in found if entry["kind"] == kind]


async def copy_of(gateway, number, person="quillwork/q03"):
    version, shard = gateway.custody.catalog.snapshot.shard_of(ASSET, number, "sft.jsonl")
    copy = gateway.custody.fresh_copy(person, version, shard)
    return b"".join(copy.read(0, copy.length))


async def register(gateway, count=600):
    """The next version of the asset, with the same records or more."""
    source = gateway.config.data / "sft.jsonl"
    source.write_bytes(records(count))
    version, _ = await gateway.registrar.register(ASSET, [Source("sft.jsonl", source)], Marking(), by="test")
    return version


async def leak(gateway, *parts):
    sample = gateway.config.data / "leak.jsonl"
    sample.write_bytes(b"".join(parts))
    return await trace(gateway, sample)


async def ask(gateway, verb, by="uid:1001", **args):
    return await VERBS[f"key.{verb}"](gateway, {"asset": ASSET, **args}, by)


def lines(raw, first, last):
    return b"".join(line + b"\n" for line in raw.split(b"\n")[first:last] if line.strip())


# --- rotation


def test_a_rotation_touches_new_versions_only_and_is_logged_before_anything_is_served_under_it(within):
    async def work(gateway):
        before = await copy_of(gateway, 1)
        answer = await ask(gateway, "rotate", reason="yearly")
        version = await register(gateway)
        return before, await copy_of(gateway, 1), await copy_of(gateway, 2), answer, version, gateway.custody.catalog.snapshot, [
            entries(gateway, kind) for kind in ("key.rotate", "key.commit", "asset.version")
        ]  # fmt: skip

    before, after, new, answer, version, snapshot, (rotations, commits, versions) = within(work)
    assert after == before
    assert new != before
    assert (answer["key"], version.mark_key) == (NEXT, NEXT)
    assert [one.id for one in snapshot.lineages(ASSET)] == [KEY, NEXT]
    [(at, rotation)] = rotations
    assert [commit["key"] for _, commit in commits] == [KEY, NEXT]
    assert rotation["subkeys"] == commits[1][1]["subkeys"]
    assert commits[1][1]["manifests"].keys() == {"sft.jsonl"}
    assert at < commits[1][0] < versions[1][0]
    assert "yearly" not in json.dumps(rotation)


def test_a_leak_that_mixes_versions_of_two_keys_names_the_copy_that_fed_it_and_nobody_else(within):
    async def work(gateway):
        await ask(gateway, "rotate")
        await register(gateway)
        old, new = await copy_of(gateway, 1), await copy_of(gateway, 2)
        samples = [(lines(old, 0, 260), lines(new, 260, 600)), (old, new), (old,), (new,)]
        return copy_id(gateway, "quillwork/q03"), [await leak(gateway, *some) for some in samples]

    mine, reports = within(work)
    for report in reports:
        assert {copy["copy"] for copy in report["copies"]} == {mine}


def test_a_look_up_under_two_keys_tells_each_slot_with_its_key(within):
    async def work(gateway):
        await ask(gateway, "rotate")
        await register(gateway)
        snapshot, shelf = gateway.custody.catalog.snapshot, gateway.custody.shelf
        shards = [shard for version in snapshot.versions(ASSET) for shard in version.shards]
        index = shelf.index(shards)
        observed = index.observe(await copy_of(gateway, 1))
        rows = {key: observed.slots[observed.slots["key"] == number] for number, key in enumerate(observed.keys)}
        slots = {key: shelf.prepared(shard).slots for key, shard in zip(observed.keys, shards, strict=True)}
        return rows, slots

    rows, slots = within(work)
    assert sorted(rows) == [KEY, NEXT]
    for key, some in rows.items():
        assert len(some) > 200
        known = {(int(s["number"]), int(s["tier"]), int(s["level"]), int(s["index"])) for s in slots[key]}
        assert {(int(s["number"]), int(s["tier"]), int(s["level"]), int(s["index"])) for s in some} <= known
        assert set(some["seen"].tolist()) <= ({1, 2} if key == KEY else {1, 2, 3})


def test_the_next_key_rests_where_the_one_before_did_unless_something_else_is_asked(within):
    async def work(gateway):
        await ask(gateway, "rotate", levels="nuida16")
        with pytest.raises(Invalid, match="must be one of"):
            await ask(gateway, "rotate", keep="drawer")
        with pytest.raises(Invalid, match="must be one of"):
            await ask(gateway, "rotate", levels="nuida9")
        with pytest.raises(MarkKeyUnavailable, match="names none"):
            await ask(gateway, "rotate", keep="token")
        return (await ask(gateway, "show"))["keys"]

    shown = within(work)
    assert [(one["key"], one["keep"], one["levels"], one["versions"]) for one in shown] == [
        (KEY, "file", "nuida8", [1]),
        (NEXT, "file", "nuida16", []),
    ]


def test_a_key_that_a_crash_kept_from_the_log_is_taken_up_and_never_replaced(within):
    async def work(gateway):
        made = gateway.custody.shelf.make_key(NEXT)
        with pytest.raises(Conflict, match="no entry names it"):
            await ask(gateway, "rotate", levels="nuida16")
        await ask(gateway, "rotate")
        [(_, rotation)] = entries(gateway, "key.rotate")
        return made, rotation

    made, rotation = within(work)
    assert rotation["commitment"] == made.commitment()


def test_a_key_that_the_log_names_and_that_is_gone_is_not_made_anew(within):
    async def work(gateway):
        shelf = gateway.custody.shelf
        await ask(gateway, "rotate")
        shelf.keep.path(NEXT).unlink()
        shelf._keys.clear()
        with pytest.raises(MarkKeyUnavailable, match=f"mark key {NEXT} can't be used"):
            await register(gateway)
        return gateway.custody.catalog.snapshot.version(ASSET).number, shelf.keep.path(NEXT).exists()

    assert within(work) == (1, False)


def test_nothing_is_served_under_a_key_that_is_gone_and_the_refusal_is_an_entry(within, tmp_path):
    async def work(gateway):
        session = await a_session(gateway, "q03")
        shelf = gateway.custody.shelf
        shelf.keep.path(KEY).rename(tmp_path / "away")
        shelf._keys.clear()

        def whole(copy, _):
            return Span(0, copy.length, 200)

        with pytest.raises(MarkKeyUnavailable, match=f"mark key {KEY} can't be used"):
            await gateway.access.open(session, f"{ASSET}/sft.jsonl", choose=whole, client=DESK)
        refused, served = entries(gateway, "access.refusal"), entries(gateway, "access.intent")
        (tmp_path / "away").rename(shelf.keep.path(KEY))
        delivery = await gateway.access.open(session, f"{ASSET}/sft.jsonl", choose=whole, client=DESK)
        delivery.close("failed")
        return refused, served, entries(gateway, "access.intent")

    refused, served, later = within(work)
    assert [entry["rule"] for _, entry in refused] == ["markkeyunavailable"]
    assert (len(served), len(later)) == (0, 1)


def test_a_gateway_whose_token_is_gone_serves_nothing_of_that_asset_and_the_rest_as_ever(made, tmp_path, monkeypatch):
    soft = soft_token()
    data = shutil.copytree(made, tmp_path / "data")
    config = Config(data=data, server=Server(mode="development"), marks=Marks(module=soft.module, token=soft.label))
    monkeypatch.setenv("LIMEN_PKCS11_PIN", PIN)

    async def run(work):
        gateway = await Gateway.open(config)
        try:
            failed = gateway.custody.shelf.load_kept()
            return failed, await work(gateway)
        finally:
            await gateway.close()

    async def moved(gateway):
        answer = await ask(gateway, "rotate", keep="token")
        await register(gateway)
        return answer["key"], await copy_of(gateway, 2)

    async def both(gateway):
        """Version 1, whose key is a file; and version 2, whose key is in the token, or why it can't be had."""
        try:
            new = await copy_of(gateway, 2)
        except MarkKeyUnavailable as e:
            new = str(e)
        return await copy_of(gateway, 1), new, [one["why"] for one in await ask_show(gateway)]

    async def ask_show(gateway):
        return (await ask(gateway, "show"))["keys"]

    _, (key, new) = asyncio.run(run(moved))
    soft.take_away()
    failed, (old, refused, whys) = asyncio.run(run(both))
    soft.bring_back()
    again, (same, served, _) = asyncio.run(run(both))
    assert (key, list(failed), again) == (NEXT, [NEXT], {})
    assert f"token {soft.label} is not there" in refused
    assert [bool(why) for why in whys] == [False, True]
    assert (same, served) == (old, new)


# --- the end of a key


def test_after_a_retirement_the_next_version_takes_another_key_and_the_old_one_is_served_as_before(within):
    async def work(gateway):
        before = await copy_of(gateway, 1)
        await ask(gateway, "retire", reason="seen in a paste")
        version = await register(gateway)
        return before, await copy_of(gateway, 1), version.mark_key, [e["key"] for _, e in entries(gateway, "key.rotate")]

    before, after, key, rotated = within(work)
    assert after == before
    assert (key, rotated) == (NEXT, [NEXT])


def test_two_people_open_a_key_and_what_they_open_is_what_the_log_committed_to(within):
    async def work(gateway):
        await leak(gateway, await copy_of(gateway, 1))
        asked = await ask(gateway, "request", reason="case 17")
        with pytest.raises(Denied, match="somebody else has to"):
            await ask(gateway, "approve", request=asked["request"])
        told = await ask(gateway, "why", request=asked["request"])
        opened = await ask(gateway, "approve", by="uid:1002", request=asked["request"])
        return asked, told, opened, *(entries(gateway, f"key.{kind}") for kind in ("commit", "open", "refusal")), (
            gateway.custody.catalog.snapshot.lineages(ASSET)
        )  # fmt: skip

    asked, told, opened, [(_, commit)], [(at, opening)], [(_, refusal)], [lineage] = within(work)
    assert told["reason"] == "case 17"
    assert (refusal["rule"], opening["request"], opened["entry"]) == ("same-person", asked["request"], at)
    assert list(opened["subkeys"]) == ["slot", "side", "level", "tier", "copy"]
    assert agrees(opened, commit["subkeys"])
    assert opening["subkeys"] == {use: commit["subkeys"][use] for use in opened["subkeys"]}
    assert (lineage.retired, lineage.opened) == (at, at)
    assert not any(raw in json.dumps(opening) for raw in opened["subkeys"].values())


def test_an_opening_waits_for_every_logged_sample_to_be_scored(within):
    async def work(gateway):
        custody = gateway.custody
        sample = await copy_of(gateway, 1)
        digest = {"digest": "ab" * 32, "length": 1, "by": "test"}
        logged = await custody.ledger.append(*custody.scribe.write("trace.sample", digest, None))
        with pytest.raises(Denied, match=f"the first by entry {logged.index}"):
            await ask(gateway, "request", reason="case 17")
        with pytest.raises(Invalid, match="is no sample that waits"):
            await ask(gateway, "request", reason="case 17", lost=[logged.index, 0])
        asked = await ask(gateway, "request", reason="case 17", lost=[logged.index])
        later = await custody.ledger.append(*custody.scribe.write("trace.sample", {**digest, "digest": "cd" * 32}, None))
        with pytest.raises(Denied, match=f"the first by entry {later.index}"):
            await ask(gateway, "approve", by="uid:1002", request=asked["request"])
        again = await ask(gateway, "request", reason="case 17", lost=[logged.index, later.index])
        await leak(gateway, sample)
        opened = await ask(gateway, "approve", by="uid:1002", request=again["request"])
        return [logged.index, later.index], opened, entries(gateway, "key.refusal"), entries(gateway, "key.open")

    lost, opened, refusals, [(_, opening)] = within(work)
    assert [entry["rule"] for _, entry in refusals] == ["unscored"]
    assert opening["lost"] == lost
    assert opened["id"] == KEY


def test_the_check_notices_an_opening_that_waits_for_nothing(within, monkeypatch):
    async def work(gateway):
        custody = gateway.custody
        await custody.ledger.append(*custody.scribe.write("trace.sample", {"digest": "ab" * 32, "length": 1, "by": "t"}, None))
        return await ask(gateway, "request", reason="case 17")

    monkeypatch.setattr("limen.markkeys._refuse_unscored", lambda *_: None)
    assert within(work)["key"] == KEY


def test_a_request_that_has_expired_opens_nothing(within, monkeypatch):
    async def work(gateway):
        asked = await ask(gateway, "request", reason="case 17", uses=["copy"])
        later = gateway.custody.clock.now() + 86_400
        monkeypatch.setattr(gateway.custody.clock, "now", lambda: later)
        with pytest.raises(Denied, match="has expired"):
            await ask(gateway, "approve", by="uid:1002", request=asked["request"])
        return entries(gateway, "key.open")

    assert within(work) == []


@pytest.mark.parametrize(
    ("verb", "args", "kind", "why"),
    [
        ("request", {"reason": " "}, Invalid, "say for which case"),
        ("request", {"reason": "x", "uses": ["all"]}, Invalid, "is no use of a mark key"),
        ("request", {"reason": "x", "key": NEXT}, NotFound, "lists them"),
        ("approve", {"request": 0}, NotFound, "request 0"),
        ("request", {"reason": "x", "as": "lab/mira"}, Denied, "only root"),
    ],
)
def test_what_asks_for_nothing_that_is_there_is_refused(within, verb, args, kind, why):
    async def work(gateway):
        with pytest.raises(kind, match=why):
            await ask(gateway, verb, **args)
        return entries(gateway, "key.request")

    assert within(work) == []


def test_keys_change_by_their_own_commands_alone(within):
    async def work(gateway):
        change = {"asset": ASSET, "key": KEY, "request": 1, "subkeys": {"copy": "0" * 64}}
        with pytest.raises(Invalid, match="limen asset key"):
            await VERBS["change"](gateway, {"kind": "key.open", "change": change}, "uid:1001")
        return gateway.custody.catalog.snapshot.retired_at(KEY)

    assert within(work) is None
