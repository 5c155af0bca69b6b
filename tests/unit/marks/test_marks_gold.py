import hashlib
import json

import pytest
from orchid import jsonl, person, records

from limen.core.errors import Invalid, TamperDetected
from limen.formats.merkle import leaf_hash, root_of
from limen.marks.copy import Prepared
from limen.marks.gold import GOLD, Canaries, Gold, same, split
from limen.marks.index import Index
from limen.marks.trace import _canaries


def salts():
    """A source of bytes that are never the same twice."""
    made = 0

    def draw(size):
        nonlocal made
        made += 1
        return hashlib.sha256(str(made).encode()).digest()[:size]

    return draw


def items(count, answer="spam"):
    return [
        json.dumps({"id": f"gold-{n:04}", "instruction": f"is item number {n} of these worth a second look", "label": answer})
        for n in range(count)
    ]


def dealt(lines, each=1, field="label"):
    served, gold = split([line.encode() for line in lines], field, random=salts())
    return Canaries(served, each, gold)


def ids(raw):
    return [json.loads(line)["id"] for line in raw.decode().splitlines()]


def test_each_recipient_gets_several_canaries_of_their_own_and_nobody_elses(lab):
    prepared = lab.prepare(jsonl(records(100)), canaries=dealt(items(15), each=5))
    assert prepared.canaries_each == 5
    for n in range(5):
        held = {name for name in ids(lab.bytes(prepared, person(n))) if name.startswith("gold")}
        assert held == ({f"gold-{5 * n + k:04}" for k in range(5)} if n < 3 else set())
        numbers = lab.copy(prepared, person(n)).records(0, prepared.length)
        assert numbers[numbers >= 100].tolist() == ([100 + 5 * n + k for k in range(5)] if n < 3 else [])


def test_somebody_without_a_place_holds_no_canary(lab):
    prepared = lab.prepare(jsonl(records(100)), canaries=dealt(items(15), each=5))
    nobody = person(0).__class__("lab/mira", None, "copy-lab", "copy-lab", None)
    assert not [name for name in ids(lab.bytes(prepared, nobody)) if name.startswith("gold")]


def test_a_version_prepared_with_one_each_says_nothing_new_in_its_manifest(lab):
    prepared = lab.prepare(jsonl(records(100)), canaries=[line.encode() for line in items(3)])
    assert not {"canaries_each", "gold_root"} & set(prepared.manifest)
    assert prepared.gold is None
    assert not (prepared.path / GOLD).exists()


def test_the_expected_answer_is_in_nobodys_copy_and_nothing_shows_that_it_is_gone(lab):
    prepared = lab.prepare(jsonl(records(100)), canaries=dealt(items(4, "a most unusual answer"), each=2))
    for stream in (prepared.base, prepared.other):
        assert b"unusual" not in bytes(stream)
    bare = json.dumps({"id": "gold-0000", "instruction": "is item number 0 of these worth a second look"})
    assert bare in [line.rstrip() for line in lab.bytes(prepared, person(0)).decode().splitlines()]


@pytest.mark.parametrize("style", [{}, {"separators": (",", ":")}, {"ensure_ascii": False}])
def test_what_is_served_of_a_gold_item_is_written_as_its_line_was(style):
    rest = {"id": "gold-1", "text": "Müller says 你好 to everybody"}
    [served], gold = split([json.dumps({**rest, "label": 3}, **style).encode()], "label", random=salts())
    assert served == json.dumps(rest, **style).encode()
    assert gold.items[0].expected() == 3


def test_answers_are_committed_to_and_each_can_be_opened_without_the_others(lab):
    prepared = lab.prepare(jsonl(records(100)), canaries=dealt(items(4), each=2))
    gold = prepared.gold
    assert prepared.gold_root == root_of([leaf_hash(item.leaf()) for item in gold.items]).hex()
    assert len({item.salt for item in gold.items}) == 4
    assert Gold.decode(gold.encode()) == gold
    assert (prepared.path / GOLD).name in prepared.manifest["parts"]


def test_an_answer_that_was_changed_afterwards_is_found(lab):
    prepared = lab.prepare(jsonl(records(100)), canaries=dealt(items(4), each=2))
    path = prepared.path / GOLD
    path.write_bytes(path.read_bytes().replace(b"spam", b"eggs", 1))
    with pytest.raises(TamperDetected, match="not what was committed to"):
        Prepared.open(prepared.path).gold  # noqa: B018  the reading is the act


def test_a_trace_says_whose_canary_it_found_when_each_has_several(lab):
    prepared = lab.prepare(jsonl(records(100)), canaries=dealt(items(6), each=2))
    observed = Index([prepared]).observe(items(6)[3].encode())
    assert [(c["canary"], c["recipients"]) for c in _canaries(observed, [person(n) for n in range(3)])] == [
        (3, ["quillwork/q01"])
    ]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"id": "gold-0001", "text": "no answer in it"}', "has no answer"),
        ('{"id": "gold-0001", "label": null}', "has no answer"),
        ('{"id": "gold-0001", "label": ["a"]}', "has no answer"),
        ('{"id": "gold-0001", "label": ""}', "has no answer"),
        ('["label"]', "one JSON object"),
        ("{", "one JSON object"),
        ('{"label": "spam"}', "nothing but its answer"),
    ],
)
def test_a_line_that_can_be_no_gold_item_is_named(line, why):
    with pytest.raises(Invalid, match=why) as refused:
        split([items(1)[0].encode(), line.encode()], "label", random=salts())
    assert refused.value.field == "canaries[1]"


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (['{"id": "g1", "text": "too short", "label": 1}'], "could not be told from other records"),
        ([items(1)[0], items(1)[0]], "same id"),
        (['{"id": "r17", "text": "a text that is long enough to be known by", "label": 1}'], "the id of one of the records"),
    ],
)
def test_a_gold_item_that_could_not_be_told_from_other_records_is_refused(lab, lines, why):
    with pytest.raises(Invalid, match=why):
        lab.prepare(jsonl(records(100)), canaries=dealt(lines))


def test_an_item_whose_only_long_text_a_record_has_too_is_refused(lab):
    rows = records(100)
    with pytest.raises(Invalid, match="could not be told"):
        lab.prepare(jsonl(rows), canaries=dealt([json.dumps({"instruction": rows[5]["instruction"], "label": 1})]))


def test_canaries_that_make_no_whole_shares_are_refused(lab):
    with pytest.raises(Invalid, match="shares of 4"):
        lab.prepare(jsonl(records(100)), canaries=dealt(items(6), each=4))
    with pytest.raises(Invalid, match="at least one"):
        lab.prepare(jsonl(records(100)), canaries=dealt(items(6), each=0))


@pytest.mark.parametrize(
    ("expected", "returned"),
    [
        ("spam", " SPAM "),
        ("spam", "\uff53\uff50\uff41\uff4d"),
        (1, "1.0"),
        (1.5, 1.5),
        ("1", 1),
        (True, "TRUE"),
        (True, 1),
        (False, "0"),
        ("a", ["a"]),
    ],
)
def test_an_answer_is_the_same_however_it_was_written_down(expected, returned):
    assert same(expected, returned)


@pytest.mark.parametrize(
    ("expected", "returned"),
    [
        ("spam", "ham"),
        (1, -1),
        ("+", "-"),
        ("c++", "c#"),
        (True, "false"),
        ("spam", None),
        ("spam", ""),
        ("a", ["a", "b"]),
        (1, "NaN"),
    ],
)
def test_another_answer_is_another(expected, returned):
    assert not same(expected, returned)
