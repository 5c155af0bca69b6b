"""Two copies of real text, united and laundered: the same slots are read from it, and the same two copies implicated.

In this process and small; `tools/robustness` does it through the doors, in full.
"""

import json
import random
from dataclasses import dataclass

import plainly
import pytest
from orchid import Lab, person

from laundering.texts import library, speeches
from laundering.transforms import LAUNDERED, UNCHANGED, jsonl
from limen.marks import normalise, trace
from limen.marks.index import Index

PEOPLE = [person(n) for n in range(1, 8)] + [person(n, "tessel") for n in range(1, 8)]
LEAKERS = [PEOPLE[2], PEOPLE[9]]
ROWS, RECORDS = 3_000, 560
KEPT = ["shuffled, fields too", "longest field alone", "Markdown stripped", "near duplicates removed"]
STEPS = {
    "upper case": ["case folding"],
    "full width": ["NFKC", "case folding"],
    "made HTML": ["tags"],
    "curly quotes": ["what is no word", "what is no word in ASCII"],
    "white space squeezed": ["one space"],
}


@dataclass
class Leaked:
    lab: Lab
    index: Index
    records: list

    def slots(self, name):
        """What a laundered leak shows, as slot -> side or sides."""
        observed = self.observe(name)
        return dict(zip(observed.slots["number"].tolist(), observed.slots["seen"].tolist(), strict=True))

    def observe(self, name):
        return self.index.observe(LAUNDERED[name](self.records, random.Random(f"{name} 1")))

    def named(self, name):
        result = trace.score(self.observe(name), PEOPLE, keys={"orchid": self.lab.key}, served={p.copy_id for p in PEOPLE})
        return {copy.recipient for copy in result.copies}


@pytest.fixture(scope="module", params=["speeches", "library"])
def leaked(request, tmp_path_factory):
    rows = library(ROWS) if request.param == "library" else random.Random(1).sample(speeches(), ROWS)
    lab = Lab(tmp_path_factory.mktemp("laundered"))
    prepared = lab.prepare(jsonl(rows))
    draw = random.Random(2)
    held = [[json.loads(line) for line in lab.bytes(prepared, who).splitlines() if line.strip()] for who in LEAKERS]
    return Leaked(lab, Index([prepared]), [row for some in held for row in draw.sample(some, RECORDS // 2)])


@pytest.mark.parametrize("name", [*KEPT, *STEPS])
def test_what_keeps_the_words_keeps_the_slots(leaked, name):
    plain, laundered = leaked.slots(UNCHANGED), leaked.slots(name)
    assert sum(laundered.get(slot) == side for slot, side in plain.items()) >= 0.98 * len(plain)
    assert sum(slot not in plain for slot in laundered) <= 0.01 * len(plain)


@pytest.mark.parametrize("name", [UNCHANGED, *KEPT, *STEPS])
def test_the_two_copies_are_implicated_and_no_other(leaked, name):
    assert leaked.named(name) == {who.id for who in LEAKERS}


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("leaked", ["library"], indirect=True)
def test_a_form_without_the_step_that_undoes_it_differs(leaked, name):
    changed = [json.loads(line) for line in LAUNDERED[name](leaked.records, random.Random(1)).splitlines()]
    texts = [(was[at], now[at]) for was, now in zip(leaked.records, changed, strict=True) for at in was if was[at] != now[at]]

    def same(form):
        return sum(form(was) == form(now) for was, now in texts) / len(texts)

    def without(text):
        for step, apply in plainly.STEPS.items():
            text = text if step in STEPS[name] else apply(text)
        return text

    assert same(normalise.normalise) >= 0.99
    assert same(without) < 0.5
