"""Contracts that nobody wrote: whatever the bytes, the answer is a contract or a list of places, and never a crash."""

from __future__ import annotations

import json
import random

import jsonschema_rs
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clauses import PAPER
from limen.assurance.contract import schema
from limen.assurance.contract.parse import parse
from limen.verify.verdict import canonical

MANY = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
WORDS = [
    *PAPER.split(),
    "!!str",
    "&a",
    "*a",
    "<<:",
    "---",
    "? ",
    "- ",
    "{",
    "[",
    "}",
    "]",
    "'",
    '"',
    "|",
    ">",
    "%TAG",
    "@",
    "`",
    "\t",
]
VALIDATOR = jsonschema_rs.validator_for(json.loads(schema.kept()))


def judged(raw):
    """What a text comes to; every problem has a place in it."""
    form, problems = parse(raw)
    assert (form is None) == bool(problems)
    lines = raw.count(b"\n") + 2
    assert all(1 <= one.line <= lines and one.column >= 1 and one.why for one in problems)
    assert problems == sorted(problems)
    return form


@MANY
@given(st.binary(max_size=400))
def test_bytes_at_random_are_refused_with_places(raw):
    assert judged(raw) is None


@MANY
@given(st.lists(st.sampled_from(WORDS), max_size=60), st.sampled_from([" ", "\n", "\n  "]))
def test_words_of_a_contract_in_any_order_are_refused_with_places(words, between):
    judged(between.join(words).encode())


def mutated(draw):
    """A contract with a few characters changed, words swapped, or lines moved."""
    text = PAPER
    for _ in range(draw.randint(1, 3)):
        lines = text.split("\n")
        at = draw.randrange(len(lines))
        match draw.randrange(4):
            case 0:
                lines[at] = ""
            case 1:
                lines.insert(draw.randrange(len(lines)), lines[at])
            case 2:
                lines[at] = lines[at].replace(draw.choice(lines[at] or " "), draw.choice("x0.: -\"'%d"), 1)
            case _:
                lines[at] = f"{lines[at].partition(':')[0]}: {draw.choice(WORDS)}"
        text = "\n".join(lines)
    return text


def test_a_changed_contract_is_refused_or_is_one_that_the_schema_accepts_too():
    accepted = 0
    for seed in range(500):
        text = mutated(random.Random(seed))
        form = judged(text.encode())
        if form is not None:
            accepted += 1
            assert canonical(form) == canonical(judged(text.encode()))
            plain = yaml.load(text, Loader=yaml.BaseLoader)  # every scalar as text: the schema sees the numbers that we read
            assert VALIDATOR.is_valid(_typed(plain)), text
    assert accepted >= 10


def _typed(value):
    if isinstance(value, dict):
        return {key: int(one) if key in ("notice_days", "min_n") else _typed(one) for key, one in value.items()}
    return [_typed(one) for one in value] if isinstance(value, list) else value
