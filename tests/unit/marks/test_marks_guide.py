"""Guidelines: a copy has one wording of each place, and a leak of it shows which, whatever became of the Markdown."""

import json
import re

import numpy as np
import pytest
from guidelines import block, guideline, inline
from orchid import jsonl, person, records

from limen.core.errors import Invalid
from limen.core.types import Recipient
from limen.marks.index import Index
from limen.marks.trace import score

ONE, TWO = "Read the whole answer before anything else.", "Begin by going over all of it, from its first word to its last."


def shown(prepared, sample):
    """Slot id -> what a sample shows of it."""
    slots = Index([prepared]).observe(sample if isinstance(sample, bytes) else sample.encode()).slots
    return dict(zip(slots["number"].tolist(), slots["seen"].tolist(), strict=True))


def held(lab, prepared, who):
    """Slot id -> the side that a copy has, as `shown` tells it."""
    copy = lab.copy(prepared, who)
    coded = prepared.regions["slot"] >= 0
    numbers = prepared.slots["number"][prepared.regions["slot"][coded]]
    return dict(zip(numbers.tolist(), (1 << copy.bits[coded].astype(int)).tolist(), strict=True))


def stripped(markdown):
    """As somebody pastes it: no markup, no line ends."""
    return re.sub(r"\s+", " ", re.sub(r"[*#`>|-]", "", markdown))


@pytest.fixture
def guide(lab):
    return lab.prepare(guideline(160), media="authored", least=150)


def test_copies_have_one_length_and_no_marker_and_show_what_was_dealt(lab, guide):
    assert (len(guide.slots), guide.unmarked_why) == (160, "")
    copies = [lab.bytes(guide, person(n)) for n in range(4)]
    assert len(set(copies)) == 4
    assert {len(copy) for copy in copies} == {guide.length}
    for n, copy in enumerate(copies):
        assert b"<!--" not in copy
        assert shown(guide, copy) == held(lab, guide, person(n))
        assert lab.copy(guide, person(n)).records(0, guide.length).size == guide.records - 160


@pytest.mark.parametrize(
    "launder",
    [
        stripped,
        str.upper,
        lambda text: json.dumps({"prompt": text}),
        lambda text: "\n".join(stripped(text).split(". ")),
        lambda text: re.sub(r"(\S+ \S+ \S+) ", r"\1\n", text),
        lambda text: f"<html><p>{text.replace('**', '')}</p></html>",
    ],
    ids=["stripped", "upper", "in JSON", "a sentence a line", "three words a line", "html"],
)
def test_a_leak_shows_its_slots_whatever_became_of_the_markdown(lab, guide, launder):
    leak = launder(lab.bytes(guide, person(5)).decode())
    assert shown(guide, leak) == held(lab, guide, person(5))


def test_half_of_it_shows_half_and_two_together_show_where_they_differ(lab, guide):
    mine, theirs = (lab.bytes(guide, person(n)).decode() for n in (5, 6))
    half = shown(guide, stripped(mine[: len(mine) // 2]))
    assert 70 < len(half) < 90
    assert half.items() <= held(lab, guide, person(5)).items()
    a, b = held(lab, guide, person(5)), held(lab, guide, person(6))
    assert shown(guide, stripped(mine) + "\n\n" + stripped(theirs)) == {number: a[number] | b[number] for number in a}


def test_text_that_is_not_ours_shows_nothing_and_common_text_is_ours_without_a_slot(lab, guide):
    observed = Index([guide]).observe(guideline(40, seed=8))
    assert not len(observed.slots)
    common = Index([guide]).observe(b"Read this once, whole. It is about answers and nothing else.\n")
    assert common.matched
    assert not len(common.slots)


def test_a_leaked_guideline_names_whose_copy_it_was(lab):
    guide = lab.prepare(guideline(200), media="authored", least=150)
    people = [person(n) for n in range(1000)]
    leak = stripped(lab.bytes(guide, people[77]).decode()).encode()
    result = score(Index([guide]).observe(leak), people, keys={"orchid": lab.key}, served=[p.copy_id for p in people])
    assert [copy.recipient for copy in result.copies] == [people[77].id]
    # The control: somebody who holds no copy of ours wrote it.
    other = score(
        Index([guide]).observe(guideline(200, seed=5).split(b"\n\n", 2)[2]), people, keys={"orchid": lab.key}, served=[]
    )
    assert other.verdict == "none"


def test_too_few_places_are_served_as_their_first_wording_and_the_numbers_are_told(lab):
    few = lab.prepare(guideline(20), media="authored", least=150)
    assert few.unmarked_why == "cannot be fingerprinted: its 20 alternatives are 130 fewer than the 150 needed"
    copies = {lab.bytes(few, person(n)) for n in range(8)}
    assert len(copies) == 1
    assert b"limen" not in copies.pop()
    # Everyone has read them: they stay as they are when more are written.
    grown = lab.prepare(guideline(20) + guideline(160, seed=9), media="authored", least=150)
    assert len(grown.slots) == 160
    assert "of each of its 20 places before" in lab.prepare(guideline(20), media="authored", least=1).unmarked_why


def test_a_named_place_keeps_slot_and_side_when_its_wording_is_edited(lab):
    more = guideline(8)
    old = lab.prepare(block(ONE, TWO, "order").encode() + b"\n" + more, media="authored")
    new = lab.prepare(block(ONE + " Always.", TWO, "order").encode() + b"\n" + more, media="authored")
    assert [bytes(i) for i in old.slots["id"]] == [bytes(i) for i in new.slots["id"]]
    for n in range(12):
        was, now = (lab.bytes(p, person(n)).decode().split("\n")[0] for p in (old, new))
        assert now.startswith(was.split(".")[0])


def test_an_unnamed_place_ends_when_a_wording_is_edited_and_what_was_served_stays(lab):
    more = guideline(8)
    old = lab.prepare(block(ONE, TWO).encode() + b"\n" + more, media="authored")
    before = [lab.bytes(old, person(n)) for n in range(6)]
    new = lab.prepare(block(ONE, TWO + " Twice.").encode() + b"\n" + more, media="authored")
    assert (len(old.slots), len(new.slots)) == (9, 8)
    assert all(lab.bytes(new, person(n)).decode().startswith(ONE) for n in range(6))
    assert [lab.bytes(old, person(n)) for n in range(6)] == before


def test_wordings_that_were_paired_otherwise_are_not_paired_again(lab):
    a, b, c, d = (f"This is wording number {n} of all that there are here." for n in ("one", "two", "three", "four"))
    lab.prepare((block(a, b) + "\n" + block(c, d)).encode(), media="authored")
    again = lab.prepare((block(a, d) + "\n" + block(c, b)).encode(), media="authored")
    assert not len(again.slots)


def test_the_same_alternatives_in_two_guidelines_are_one_slot(lab):
    place = block(ONE, TWO)
    first, second = (lab.prepare(f"{text}\n\n{place}".encode(), media="authored", scope=text) for text in ("One.", "Two."))
    assert bytes(first.slots["id"][0]) == bytes(second.slots["id"][0])
    for n in range(8):
        assert (ONE in lab.bytes(first, person(n)).decode()) == (ONE in lab.bytes(second, person(n)).decode())


@pytest.mark.parametrize(
    ("source", "line", "why"),
    [
        (
            "x\n\n" + block("Read **everything** twice, and slowly!", "read everything, twice... and SLOWLY"),
            3,
            "read the same once case",
        ),
        (block("Read it twice.", TWO), 1, "too little to be recognised in a leak: 13 bytes, 24 are needed"),
        (block(ONE, ONE + " Then mark it."), 1, "stand nowhere else here"),
        (f"{ONE}\n\n" + block(ONE, TWO), 3, "stand nowhere else here"),
        (block(ONE, TWO) + "\n" + block(TWO, "Something else that nobody has said before."), 1, "stand nowhere else here"),
    ],
)
def test_wordings_that_no_leak_could_tell_apart_are_refused_with_their_line(lab, source, line, why):
    with pytest.raises(Invalid, match=why) as caught:
        lab.prepare(source.encode(), media="authored", scope="guide.md")
    assert caught.value.field == f"guide.md, line {line}"


def test_preparing_is_deterministic_and_text_that_shares_no_wording_costs_no_slot(lab, guide):
    again = lab.prepare(guideline(160), media="authored", least=150)
    assert {p.name: p.read_bytes() for p in sorted(guide.path.iterdir())} == {
        p.name: p.read_bytes() for p in sorted(again.path.iterdir())
    }
    pool = lab.prepare(jsonl(records(60, seed=40)))
    alone, both = (Index(some).observe(lab.bytes(pool, person(3))).slots for some in ([pool], [pool, guide]))
    assert alone.tobytes() == both.tobytes()


def test_a_slot_s_two_sides_have_digests_of_their_own(guide):
    assert (guide.slots["sides"][:, 0] != guide.slots["sides"][:, 1]).any(axis=1).all()
    assert len(np.unique(guide.slots["sides"].reshape(-1, 2), axis=0)) == 2 * len(guide.slots)


def test_guidelines_and_records_of_one_lineage_are_looked_up_together(lab, guide):
    pool = lab.prepare(jsonl(records(60)))
    who = Recipient("quillwork/q09", "quillwork", "copy-quillwork-9", "firm-quillwork", None)
    leak = stripped(lab.bytes(guide, who).decode()).encode() + b"\n" + lab.bytes(pool, who)
    assert len(Index([guide, pool]).observe(leak).slots) == 160 + len(pool.slots)


def test_inline_places_of_one_paragraph_are_slots_of_their_own(lab):
    second = inline("take your time over every word", "be quick, for others wait for it")
    raw = f"First. {inline(ONE, TWO)} Then {second}, and go on.\n"
    both = lab.prepare(raw.encode(), media="authored")
    assert len({lab.bytes(both, person(n)) for n in range(400)}) == 4
