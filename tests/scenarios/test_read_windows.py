"""Read windows over HTTP, with a program that fetches one object in parallel ranges and one that is killed in between."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from limen.core.events import decode
from limen.ledger.stored import look
from simulator import World, records

BLOB = "orchid-blob/blob.bin"
CONTENT = random.Random(3).randbytes(8 << 20)


@pytest.fixture
def world(tmp_path):
    world = World.make(tmp_path, sft=records(300), blob=CONTENT).serve()
    yield world
    world.stop(kill=True)


def of_kind(world, kind):
    decoded = ((index, decode(raw)) for index, raw in look(world.data, "limen.local/log").entries(0, 1 << 40))
    return {index: entry for index, entry in decoded if entry["kind"] == kind}


def in_parallel(who, parts):
    """An object fetched as that many ranges at once."""
    size = len(CONTENT) // parts
    with ThreadPoolExecutor(parts) as pool:
        replies = list(pool.map(lambda n: who.get(BLOB, start=n * size, end=(n + 1) * size), range(parts)))
    assert b"".join(reply.body for reply in replies) == CONTENT
    return replies


def test_a_download_in_eight_parallel_ranges_costs_one_commit(world):
    who = world.login("q01")
    replies = in_parallel(who, 8)
    assert len(of_kind(world, "access.intent")) == 1
    assert len({reply.headers["x-limen-entry"] for reply in replies}) == 1

    report = world.ask_json("exposure", "person/quillwork/q01")  # closes the window, so that its outcome is in it
    [outcome] = of_kind(world, "access.outcome").values()
    assert (outcome["reads"], outcome["sent"]) == (8, len(CONTENT))
    [line] = next(asset for asset in report["assets"] if asset["asset"] == "orchid-blob")["people"]
    assert (line["accesses"], line["bytes"], line["uncertain"]) == (8, len(CONTENT), 0)


def test_of_a_window_that_a_kill_left_open_all_counts_as_handed_over(world):
    who = world.login("q01")
    assert who.get(BLOB, start=0, end=1000).status == 206
    world.stop(kill=True)
    world.serve()
    [outcome] = of_kind(world, "access.outcome").values()
    assert outcome["end"] == "unknown"
    report = world.ask_json("exposure", "person/quillwork/q01")
    [line] = next(asset for asset in report["assets"] if asset["asset"] == "orchid-blob")["people"]
    assert (line["bytes"], line["uncertain"]) == (len(CONTENT), 1)


def test_quotas_count_what_was_read_again_under_a_window_also_after_a_restart(world):
    who = world.login("q01")
    for _ in range(3):
        assert who.get(BLOB).status == 200
    world.stop()
    world.serve()
    report = world.ask_json("exposure", "person/quillwork/q01")
    [line] = next(asset for asset in report["assets"] if asset["asset"] == "orchid-blob")["people"]
    assert (line["accesses"], line["bytes"]) == (3, 3 * len(CONTENT))


def test_a_polite_stop_leaves_nothing_unknown(world):
    who = world.login("q01")
    assert who.get(BLOB, start=0, end=1000).status == 206
    server = world.server
    world.stop()
    assert server.returncode == 0
    [outcome] = of_kind(world, "access.outcome").values()
    assert (outcome["end"], [row[1:3] for row in outcome["handed"]]) == ("complete", [[0, 1000]])
