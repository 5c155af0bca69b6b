"""Facts of a served world: what people did through the door is what the document says, and telling limen things is an entry."""

import json

import pytest

from limen.core.events import canonical, decode
from limen.ledger.stored import look
from simulator import World


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World.make(tmp_path_factory.mktemp("facts"), blob=b"x" * 1000).serve()
    yield world
    world.stop(kill=True)


def entries(world):
    """The raw entries, read from the store beside the running gateway."""
    store = look(world.data, "limen.local/log")
    return [decode(raw) for _, raw in store.entries(0, store.head().size)]


def document(world, vendor="quillwork", *options):
    done = world.limen("fact", "show", vendor, *options)
    return json.loads(done.stdout)


def values(doc, measure):
    return [s["value"] for f in doc["facts"] if f["measure"] == measure for s in f["samples"]]


def test_the_document_tells_what_people_did_and_what_a_drill_took(world):
    q03, t01 = world.login("q03"), world.login("t01")
    for start in (0, 100, 300):
        assert q03.get("orchid-blob/blob.bin", start=start, end=start + 50).status == 206
    assert q03.ask("GET", "helio/helio-prefs-v2/x").status in {403, 404}
    assert q03.get("aurelia-core/x").status in {403, 404}
    assert t01.get("orchid-blob/blob.bin").status == 200
    drill = world.ask_json("pause", "vendor/quillwork", "--drill", "--reason", "rehearsal")
    world.limen("resume", "vendor/quillwork", "--reason", "over")
    told = [e for e in entries(world) if e.get("vendor") == "quillwork" and e["kind"] in {"access.intent", "access.refusal"}]
    doc = document(world)
    assert sum(whole for _, whole in values(doc, "named_share")) == len(told)
    assert sum(part for part, _ in values(doc, "named_share")) == len(told)
    out = [e for e in told if e["kind"] == "access.refusal" and e["rule"] in {"other-project", "no-grant", "forbid-barrier"}]
    assert len(values(doc, "refusals_out_of_project")) == len(out) >= 1
    assert values(doc, "drill_us") == values(doc, "revoke_us") == [drill["order_to_last_byte_us_at_most"]]
    assert all(0 < length <= 8 * 3600 * 1_000_000 for length in values(doc, "session_length_us"))
    assert set(values(doc, "log_complete")) == {True}
    assert values(document(world, "tessel"), "drill_us") == []


def test_the_same_moment_gives_the_same_bytes_whatever_comes_later(world):
    moment = document(world)["as_of"]
    before = world.limen("fact", "show", "quillwork", "--as-of", moment).stdout
    world.login("q04").get("orchid-blob/blob.bin")
    world.limen("notice", "incident", "quillwork", "INC-1", "--known", "2026-01-01T00:00:00Z")
    assert world.limen("fact", "show", "quillwork", "--as-of", moment).stdout == before
    assert before.encode() == canonical(json.loads(before)) + b"\n"
    assert values(document(world), "notice_latency_us")


def test_what_is_told_is_an_entry_with_its_paper(world, tmp_path):
    report = tmp_path / "soc2.pdf"
    report.write_bytes(b"%PDF a report\n")
    options = ("--from", "2025-01-01", "--to", "2026-01-01", "--source", "An Auditor", "--document", str(report))
    added = world.ask_json("fact", "add", "quillwork", "soc2_report=2", "soc2_exceptions=1", *options)
    assert (world.data / "blobs" / "sha256" / added["digest"][:2] / added["digest"]).read_bytes() == report.read_bytes()
    world.limen("static-key", "add", "quillwork", "deploy-1", "--what", "deploy-key", "--issued", "2026-01-01")
    world.limen("static-key", "complete", "quillwork")
    rotated = world.ask_json("rotation", "add", "quillwork", "deploy-1", "--old", "alive", "--new", "deploy-2")
    assert rotated["alive"] is True
    told = [e["kind"] for e in entries(world)]
    assert [kind for kind in told if kind.startswith(("fact.", "static.", "rotation."))] == [
        "fact.add", "static.add", "static.list", "rotation.add",
    ]  # fmt: skip
    doc = document(world)
    assert values(doc, "soc2_report") == [2]
    assert values(doc, "static_keys") == [2]
    listed = world.limen("fact", "list", "quillwork", "--measure", "soc2_report", "--measure", "static_keys").stdout
    assert "evidence" in listed
    lines = {line.split()[0]: line for line in world.limen("fact", "list", "quillwork").stdout.splitlines() if line.strip()}
    assert "declared" in lines["static_keys"]
    assert "UNKNOWN:" in lines
    assert "declared" in listed
    keys = world.ask_json("static-key", "list", "quillwork")
    assert [(key["key"], key["ended"]) for key in keys["keys"]] == [("deploy-1", None), ("deploy-2", None)]


@pytest.mark.parametrize(
    ("args", "code", "word"),
    [
        (("fact", "add", "quillwork", "soc2_report=3 h", "--from", "2026-01-01", "--source", "x"), 2, "no value"),
        (("fact", "add", "quillwork", "named_share=1/1", "--from", "2026-01-01", "--source", "x"), 2, "declared.named_share"),
        (("notice", "told", "quillwork", "INC-9"), 4, "limen notice incident"),
        (("notice", "leaver", "quillwork", "tessel/t01", "--left", "2026-01-01"), 2, "not of quillwork"),
        (("rotation", "add", "quillwork", "nokey", "--old", "refused"), 4, "static-key add"),
        (("fact", "settle", "0", "--outcome", "stands", "--reason", "x"), 2, "no fact.dispute"),
        (("fact", "show", "quillwork", "--as-of", "2999-01-01"), 2, "future"),
        (("fact", "show", "nobody"), 4, "not found"),
    ],
)
def test_what_can_not_be_is_refused_in_words_and_changes_nothing(world, args, code, word):
    before = len(entries(world))
    done = world.limen(*args, check=False)
    assert (done.returncode, word in done.stderr) == (code, True), done.stderr
    assert len([e for e in entries(world)[before:] if e["kind"].startswith(("fact.", "notice.", "rotation."))]) == 0
