"""A trace recomputed by somebody else's program: what it confirms, and that it names whatever was changed."""

from __future__ import annotations

import asyncio
import json
import math
import random
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from inprocess import a_gateway
from limen.core.types import Recipient
from limen.marks import decoder as dec
from limen.marks.classes import Classes
from limen.marks.code import BIASES, codebook
from limen.marks.index import OBSERVED, Observed
from limen.marks.keys import MarkKey, opened
from limen.marks.trace import score
from limen.registration import Marking, Source
from limen.response import trace as tracing
from limen.response.trace_words import short
from limen.verify import arbiter, dealing, offline, scoring
from tracing import Q03, Q11, copy_id, copy_of, leak, reads, trace, verb


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """Two looks at one leak that two copies fed, one of them most of it, exported; and the key, opened."""
    folder = tmp_path_factory.mktemp("arbiter")

    async def made():
        gateway = await a_gateway(folder / "data")
        try:
            await reads(gateway, Q03)
            await reads(gateway, Q11)
            mine, theirs = copy_of(gateway, Q03), copy_of(gateway, Q11)
            (folder / "mixed.jsonl").write_bytes(b"\n".join([*mine[:220], *theirs[230:290]]) + b"\n")
            first = await trace(gateway, leak(folder / "a.jsonl", mine, 60), case="night", alpha=1e-6)
            second = await trace(gateway, folder / "mixed.jsonl", case="night")
            out = folder / "night.zip"
            told = await verb(gateway, "case.export", case="night", output=str(out))
            key = opened(gateway.custody.shelf.key("orchid-sft-v3"))
            looks = [json.loads(gateway.custody.blobs.path(one["document"]).read_bytes()) for one in (first, second)]
            again = folder / "again.zip"
            before = await verb(gateway, "case.export", case="night", look=1, output=str(again))
            copies = {copy_id(gateway, who) for who in (Q03, Q11)}
            return SimpleNamespace(
                raw=out.read_bytes(), told=told, key=key, looks=looks, first=before, copies=copies, folder=folder
            )
        finally:
            await gateway.close()

    return asyncio.run(made())


def bent(case, path, change):
    """The bundle with one part changed, and nothing else."""
    files = offline.unzipped(case.raw)
    [name] = [name for name in files if name.endswith(path)]
    value = json.loads(files[name])
    change(value)
    files[name] = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return offline.zipped(files)


def checked(case, raw=None, key=None):
    return arbiter.check(case.raw if raw is None else raw, [key or case.key], case.told["log"])


# --- it holds


def test_every_figure_follows_from_the_bundle_and_the_opened_key(case):
    found = checked(case)
    assert found.wrong == []
    assert set() < {copy["copy"] for copy in case.looks[1]["result"]["copies"]} <= case.copies
    assert found.said[-1].startswith("look 2: named; ")
    assert "tier and level of" in found.said[3]


def test_the_programs_in_it_do_the_same_with_the_standard_library_alone(case, tmp_path):
    for name, raw in offline.unzipped(case.raw).items():
        (tmp_path / name.rpartition("/")[2]).write_bytes(raw)
    (tmp_path / "night.zip").write_bytes(case.raw)
    (tmp_path / "key.json").write_text(json.dumps(case.key))
    words = [sys.executable, "-I", "-S", "arbiter.py", "night.zip", "--log", case.told["log"], "--key", "key.json"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("RECOMPUTED: every figure follows from the bundle and the keys\n")


def test_the_same_case_under_the_same_checkpoint_gives_the_same_bytes_and_names_nobody(case):
    text = case.raw.decode("utf-8", "replace")
    assert "quillwork/q" not in text
    assert case.key["subkeys"]["copy"] not in text
    assert offline.zipped(offline.unzipped(case.raw)) == case.raw
    assert case.first["look"] == 1


def test_two_lineages_two_tables_and_withheld_records_are_recomputed_too(tmp_path):
    async def made():
        gateway = await a_gateway(tmp_path / "data")
        try:
            await verb(gateway, "key.rotate", asset="orchid-sft-v3", levels="nuida16", reason="to try it")
            source, marking = Source("sft.jsonl", tmp_path / "data" / "sft.jsonl"), Marking(pairs_percent=70, withhold_percent=30)
            await gateway.registrar.register("orchid-sft-v3", [source], marking, by="test")
            await trace(gateway, leak(tmp_path / "a.jsonl", copy_of(gateway, Q03), 250), case="two")
            told = await verb(gateway, "case.export", case="two", output=str(tmp_path / "two.zip"))
            return told, [opened(gateway.custody.shelf.key(name)) for name in ("orchid-sft-v3", "orchid-sft-v3~2")]
        finally:
            await gateway.close()

    told, keys = asyncio.run(made())
    raw = (tmp_path / "two.zip").read_bytes()
    found = arbiter.check(raw, keys, told["log"])
    assert found.wrong == []
    rows = [row for look in found.looks for row in look["slots"]]
    assert {row[0] for row in rows} == {0, 1}  # both lineages know these records
    assert {row[5] for row in rows} == {0, 1}  # pairs, and records that are withheld
    assert max(row[4] for row in rows) > 3  # a level that only the larger table has
    other = [{**one, "levels": "nuida8"} for one in keys]
    assert any("its levels are not those of entry" in line for line in arbiter.check(raw, other, told["log"]).wrong)


# --- it names what was changed


def result(document):
    return document["result"]


def unsee(document):
    row = next(row for row in document["slots"] if row[3] == 0 and row[9] != 3)
    row[9] = 3 - row[9]


@pytest.mark.parametrize(
    ("path", "change", "named"),
    [
        ("looks/1.json", unsee, "agree of copies"),
        ("looks/1.json", lambda d: d["slots"][0].__setitem__(6, d["slots"][0][6] + 1), "a slot shown is not in the manifest"),
        (
            "looks/1.json",
            lambda d: d["slots"][0].__setitem__(4, (d["slots"][0][4] + 1) % 4),
            "its level does not follow from its id",
        ),
        ("looks/1.json", lambda d: [row.__setitem__(3, 1) for row in d["copies"]], "look 2: q of copies"),
        ("looks/1.json", lambda d: d["copies"].pop(), "compared is told as"),
        ("looks/2.json", lambda d: result(d).update(alpha=1e-2), "alpha 0.01 is not what entry"),
    ],
)
def test_what_was_changed_in_a_look_is_named_and_so_is_the_look(case, path, change, named):
    wrong = checked(case, bent(case, path, change)).wrong
    assert any(named in line for line in wrong), wrong
    assert any(f"{path} is not the document that entry" in line for line in wrong)


def misstate(document):
    """Every figure of a look, each by itself wrong."""
    told = result(document)
    told["copies"][0].update(p=1e-30, q=1.1 * told["copies"][0]["q"], log10_e=99.0, agree=1, slots=2, look=9, round=9, attack="x")
    told["second_best"].update(q=1e-3)
    told["power"].update({"3": 0.5})
    told.update(verdict="none", slots_needed=1, slots_person=1, slots_vendor=1, slots_both=1, slots_matched=1, compared=1)


def test_each_figure_that_does_not_follow_is_named(case):
    wrong = checked(case, bent(case, "looks/2.json", misstate)).wrong
    figures = ("p", "q", "e-value (log 10)", "agree", "slots", "look", "round", "attack")
    for figure in (*(f"{name} of copies" for name in figures), "q of second_best", "power against 3"):
        assert any(f"look 2: {figure}" in line for line in wrong), figure
    for figure in ("verdict", "slots_needed", "slots_person", "slots_vendor", "slots_both", "slots_matched", "compared"):
        assert any(f"look 2: {figure} is told as" in line for line in wrong), figure
    assert any("says another verdict" in line for line in wrong)
    fewer = checked(case, bent(case, "looks/2.json", lambda d: result(d)["copies"].pop())).wrong
    assert any("look 2: copies is told as" in line for line in fewer)


@pytest.mark.parametrize(
    ("path", "change", "named"),
    [
        ("manifests/0.json", lambda m: m["hashes"].pop(), "a slot shown is not in the manifest"),
        ("manifests/0.json", lambda m: m["hashes"].append("00" * 32), "a slot shown is not in the manifest"),
        ("manifests/0.json", lambda m: m.update(root="00" * 32), "its root or key is not what entry"),
        ("log/entries.json", lambda e: e[0].update(path=e[1]["path"]), "is not in the log that this checkpoint signs"),
        (
            "bundle.json",
            lambda b: b["entries"].reverse(),
            "its sample was not logged before its result, and after the look before",
        ),
    ],
)
def test_what_was_changed_around_the_looks_is_named(case, path, change, named):
    wrong = checked(case, bent(case, path, change)).wrong
    assert any(named in line for line in wrong), wrong


def test_a_lie_that_stands_in_the_log_is_named_by_its_figure(tmp_path, monkeypatch):
    real = tracing._figures
    monkeypatch.setattr(tracing, "_figures", lambda one: {**real(one), "q": real(one)["q"] / 10})

    async def made():
        gateway = await a_gateway(tmp_path / "data")
        try:
            await trace(gateway, leak(tmp_path / "a.jsonl", copy_of(gateway, Q03), 200), case="lie")
            told = await verb(gateway, "case.export", case="lie", output=str(tmp_path / "lie.zip"))
            return told, opened(gateway.custody.shelf.key("orchid-sft-v3"))
        finally:
            await gateway.close()

    told, key = asyncio.run(made())
    wrong = arbiter.check((tmp_path / "lie.zip").read_bytes(), [key], told["log"]).wrong
    assert wrong
    assert all(line.startswith("look 1: q of ") for line in wrong)


def test_a_wrong_key_is_named_and_so_is_one_that_is_not_there(case):
    other = {**case.key, "subkeys": {**case.key["subkeys"], "copy": "00" * 32}}
    wrong = checked(case, key=other).wrong
    assert "copy are not what entry" in wrong[0]
    assert any("copies is told as" in line for line in wrong)
    missing = arbiter.check(case.raw, [], case.told["log"])
    assert "was not given: nothing is recomputed" in missing.wrong[0]


def test_a_subkey_that_was_not_opened_leaves_the_figures_and_says_nothing_of_ids(case):
    some = {**case.key, "subkeys": {"copy": case.key["subkeys"]["copy"]}}
    assert checked(case, key=some).wrong == []
    assert checked(case, bent(case, "looks/1.json", unsee), key=some).wrong


def test_another_logs_key_and_a_file_that_is_no_bundle_are_refused(case, tmp_path, capsys):
    (tmp_path / "b.zip").write_bytes(case.raw[:-1])
    (tmp_path / "k.json").write_text(json.dumps(case.key))
    words = [str(tmp_path / "b.zip"), "--log", case.told["log"], "--key", str(tmp_path / "k.json")]
    assert arbiter.main(words) == arbiter.DIFFERS
    (tmp_path / "b.zip").write_bytes(case.raw)
    other = case.told["log"].replace("limen", "other").replace("localhost", "other")
    name, _, rest = case.told["log"].partition("+")
    words[2] = f"x{name}+{rest}" if other == case.told["log"] else other
    assert arbiter.main(words) == arbiter.DIFFERS
    assert capsys.readouterr().out.count("NOT AS SAID: ") == 2


# --- the second implementation, part by part


def test_aes_is_that_of_the_standard():
    key, block = bytes(range(16)), bytes.fromhex("00112233445566778899aabbccddeeff")
    assert dealing.aes(dealing._schedule(key), block).hex() == "69c4e0d86a7b0430d8cdb78070b4c55a"  # FIPS 197, C.1
    draw = np.random.default_rng(1)
    for _ in range(50):
        key, block = draw.bytes(16), draw.bytes(16)
        ecb = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
        assert dealing.aes(dealing._schedule(key), block) == ecb.update(block)


def two(draw, found):
    """The same classes for both implementations."""
    kinds = {(int(a), int(b), int(c)) for a, b, c in zip(*(draw.integers(0, n, 30) for n in (4, 4, found + 1)), strict=True)}
    ordered = sorted(kinds)
    count = draw.integers(1, 300, len(ordered))
    level, symbol, held = np.array(ordered).T
    ours = Classes(BIASES[level], symbol, held, np.zeros(len(ordered), dtype=np.int64), count)
    classes = [(scoring.Class(float(BIASES[a]), b, c, "k"), int(n)) for (a, b, c), n in zip(ordered, count, strict=True)]
    return ours, classes


@pytest.mark.parametrize(("found", "threshold"), [(0, 22.0), (0, 60.0), (2, 30.0)])
def test_both_implementations_weigh_any_leak_alike(found, threshold):
    ours, theirs = two(np.random.default_rng(found + 1), found)
    mine, others = dec.bank(ours, found=found, threshold=threshold), scoring.bank(theirs, found, threshold)
    assert len(mine) == len(others)
    for one, other in zip(mine, others, strict=True):
        assert one.colluders == other.colluders
        assert math.isclose(one.share, other.share, rel_tol=1e-9)
        assert np.allclose(np.stack([one.one, one.zero], axis=1), np.array(other.weights), rtol=1e-6, atol=1e-9)
        score = float(ours.count @ one.one) / 2
        bound = math.log(dec.chernoff(one, ours, score))
        assert math.isclose(bound, scoring.chernoff([(theirs, other.weights)], score), rel_tol=1e-6, abs_tol=1e-9)


def test_a_report_shortens_copy_ids_as_the_arbiter_does(case):
    copy = case.looks[1]["result"]["copies"][0]["copy"]
    assert short(copy) == copy[:12]


def leaked(seed):
    """Two looks at what a coalition of 1 to 4 made of 40 copies: slots with symbols, and both implementations' keys."""
    draw = random.Random(seed)
    key = MarkKey.make("k", random=draw.randbytes)
    people = [Recipient(f"{n:032x}", f"v{n % 4}", f"{n:032x}", f"{n % 4:032x}") for n in range(40)]
    coalition = draw.sample(range(40), draw.randint(1, 4))
    looks = []
    for _ in range(2):
        count = draw.choice([40, 150, 500])
        rows = np.zeros(count, dtype=OBSERVED)
        for at in range(count):
            rows[at] = (0, at, draw.random() < 1 / 3, draw.randrange(4), draw.random() < 0.1, draw.randrange(900), 1)
        _, first = np.unique(rows[["tier", "level", "index"]], return_index=True)
        rows = rows[np.sort(first)]
        for tier in (0, 1):
            mine = np.flatnonzero(rows["tier"] == tier)
            whose = [people[j].copy_id if tier == 0 else people[j].vendor_copy_id for j in coalition]
            bits = codebook(key, tier, whose, levels=rows["level"][mine], indexes=rows["index"][mine])
            for at, held in zip(mine.tolist(), bits, strict=True):
                shown = 1 << int(held[draw.randrange(len(held))])
                flipped = 3 - shown if draw.random() < 0.04 else shown
                both = 3 if len(set(held.tolist())) == 2 and draw.random() < 0.2 else flipped
                rows["seen"][at] = 2 if rows["kind"][at] else both
        looks.append(Observed(("k",), rows, matched={"v": rows["number"]}))
    return key, people, looks, {people[j].copy_id for j in draw.sample(range(40), 12)}


def agree(seed):
    """Whether the two say the same of one leak; how many copies are found."""
    key, people, looks, served = leaked(seed)
    ours = score(looks[1], people, keys={"k": key}, served=served, alpha=1e-4, earlier=looks[:1])
    theirs = dealing.Key(opened(key))
    rows = [
        [
            dealing.Slot(
                "k", 0, 0, "", *(int(row[name]) for name in ("tier", "level", "kind", "index")), ("", ""), int(row["seen"])
            )
            for row in look.slots
        ]
        for look in looks
    ]
    new = arbiter._counted_once(rows)
    whose = [(one.copy_id, one.copy_id in served) for one in people]
    shown = [scoring.Shown(some, [theirs.bits(copy, some) for copy, _ in whose]) for some in
             ([slot for slot in look if slot.tier == 0] for look in new)]  # fmt: skip
    prior = arbiter._log_priors([had for _, had in whose])
    _, found, best = scoring.search(shown, prior, 1e-4, lambda slot: theirs.of_256[slot.level] / 256)
    figures = [arbiter._figures(one, shown, whose) for one in found]
    assert [one["copy"] for one in figures] == [one.copy_id for one in ours.copies]
    for one, other in zip(ours.copies, figures, strict=True):
        assert (one.slots, one.agree, one.look, one.round, one.attack) == tuple(
            other[name] for name in ("slots", "agree", "look", "round", "attack")
        )
        assert math.isclose(math.log(one.p), math.log(other["p"]), rel_tol=arbiter.TOLERANCE, abs_tol=arbiter.TOLERANCE)
        assert math.isclose(math.log(one.q), math.log(other["q"]), rel_tol=arbiter.TOLERANCE, abs_tol=arbiter.TOLERANCE)
    assert (best is None) == (ours.second_best is None)
    return len(figures)


def test_both_implementations_implicate_the_same_copies_by_the_same_figures():
    assert sum(agree(seed) for seed in (1, 2)) == 3


@pytest.mark.slow
def test_a_hundred_leaks_are_told_alike_by_both():
    found = sum(agree(seed) for seed in range(100))
    print(f"{found} copies implicated in 100 leaks, each by the same figures")
    assert found > 30
