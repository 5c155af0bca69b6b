"""A contract's YAML: what is taken, and every way in which it is refused, each with its place."""

from __future__ import annotations

import json

import jsonschema_rs
import pytest
import yaml

from clauses import PAPER
from limen.assurance.contract import schema
from limen.assurance.contract.parse import parse, parsed
from limen.core.errors import Invalid
from limen.verify.verdict import canonical


def problems(text):
    """What is wrong with a contract, a line each."""
    contract, found = parse(text.encode() if isinstance(text, str) else text)
    assert (contract is None) == bool(found)
    return [str(one) for one in found]


def test_a_contract_becomes_json_with_exact_values_alone():
    contract = parsed(PAPER.encode(), "contract.yaml")

    clause = contract["clauses"][0]
    assert (clause["value"], clause["window_days"], clause["cure_days"]) == (60_000_000, 92, 5)
    assert (clause["clawback_percent_day"], contract["monthly_fee"]) == ("0.5", "120000.00")
    assert contract["caps"] == {
        "clawback_month": "24000.00", "clawback_total": "60000.00", "reward_month": None, "reward_total": None,
    }  # fmt: skip
    assert (clause["grade"], clause["min_n"], clause["kind"], clause["shape"]) == ("measured", 1, "int", "events")
    assert b"." not in canonical(clause["value"])


def test_a_cap_is_worked_out_exactly_however_long_its_digits_are():
    text = PAPER.replace('"120000.00"', '"9999999999999.9999"').replace("20%", '"9999999999999.999999%"')

    assert parsed(text.encode(), "a")["caps"]["clawback_month"] == "999999999999999989900000.0000"


def test_the_same_text_gives_the_same_bytes():
    assert canonical(parsed(PAPER.encode(), "a")) == canonical(parsed(PAPER.encode(), "b"))


def test_all_mistakes_are_named_at_once_each_with_line_and_column():
    text = (
        PAPER.replace("currency: EUR", "currency: euro")
        .replace("  - ref", "  - reff: x\n    ref")
        .replace("60 s", "60")
        .replace("    unknown: block_renewal\n", "")
        .replace("ends: 2027-01-01", "ends: 2026-02-30")
    )

    assert problems(text) == [
        "5:7: ends: 2026-02-30 is no day of the calendar",
        "7:11: currency: 'euro' is not written like EUR",
        "16:5: clauses[1].reff: is no field here; did you mean ref?",
        "16:5: clauses[1].unknown: is missing",
        "24:12: clauses[1].value: 60 is not written like 60 s, 15 min or 4h",
    ]


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("vendor: quillwork", "vendor: !!str quillwork", "is a tag"),
        ("vendor: quillwork", "vendor: !!python/object/apply:os.system ['true']", "is a tag"),
        ("vendor: quillwork", "vendor: &v quillwork", "is an anchor"),
        ("vendor: quillwork", "vendor: *v", "is an alias"),
        ("vendor: quillwork", "vendor: quillwork\nvendor: lexara", "comes a second time; it stands in line 3"),
        ("vendor: quillwork", "vendor: no", "is read in different ways"),
        ("vendor: quillwork", "<<: {vendor: quillwork}", "is no field here"),
        ("vendor: quillwork", "? [a, b]\n: quillwork", "a key must be a plain word"),
        ("vendor: quillwork", "vendor:", "nothing is not written like"),
        ('"120000.00"', "120000.00", "would be read as a float, which rounds"),
        ('"120000.00"', "1.2e5", "would be read as a float, which rounds"),
        ('"120000.00"', "120000", "is not written like"),
        ('"120000.00"', '"1e5"', "is not written like"),
        ('"120000.00"', '"120 000"', "is not written like"),
        ("notice_days: 60", "notice_days: 060", "is read in different ways"),
        ("notice_days: 60", "notice_days: 1:00", "is read in different ways"),
        ("notice_days: 60", "notice_days: 60.0", "would be read as a float"),
        ("notice_days: 60", 'notice_days: "60"', "is not a whole number"),
        ("ends: 2027-01-01", "ends: 2026-01-01", "is 0 days after starts"),
        ("value: 60 s", "value: 1.5 s", "is not written like"),
        ("window: 92d", "window: 0d", "is not written like"),
        ("window: 92d", "window: 92 h", "is not written like"),
        ("statistic: mean", "statistic: share", "says nothing of revoke_us"),
        ("measure: revoke_us", "measure: revoke_seconds", "is none of"),
        ("    cure: 5d", "    grade: evidence\n    min_n: -1", "is not a whole number"),
        ("    owner: vendor security\n", "", "needs an owner"),
        ("restrict:\n  mode: read-only\n", "", "needs a restrict field"),
        ("  mode: read-only", "  mode: projects", "names no project"),
        ("  mode: read-only", "  mode: read-only\n  projects: [orchid]", "belongs to mode: projects"),
        ("  clawback_month: 20%\n", "", "needs caps"),
        ("passed_on: Clawbacks are", "passed_on: Clawbacks may be", "is none of"),
        ("limen: contract/1", "limen: contract/2", "is none of"),
        ("clawback_percent_day: 0.5%", "clawback_percent_day: 101%", "is not above 0%"),
        ("text: Access ends", "text: Access\\tends\\n", ""),
        ("text: Access ends", "text: |\n      two\n      lines\n    x: Access", "has a line break"),
        ("text: Access ends", "text: e\u0301 Access ends", "normal form C"),
    ],
)  # fmt: skip
def test_what_is_not_in_the_form_is_refused(before, after, says):
    assert before in PAPER
    found = problems(PAPER.replace(before, after))

    assert not says or any(says in one for one in found), found


def test_two_clauses_of_one_name_are_refused_because_a_waiver_names_one():
    row = PAPER[PAPER.index("  - ref") :]

    assert problems(PAPER + row) == ["30:10: ref: 7.1 is the clause of line 16 already"]


def test_a_measure_that_is_never_so_well_known_can_not_be_asked_for():
    text = PAPER.replace("revoke_us", "return_us").replace("    cure: 5d", "    grade: measured")

    assert problems(text) == ["24:12: clauses[1].grade: return_us is evidence at best, so that it could never be met"]


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "1:1: is empty"),
        (b"- a\n- b\n", "1:1: is not a contract"),
        (b"a: [\n", "2:1: is not YAML"),
        (b"a: \xff\n", "1:4: is not UTF-8 from here on"),
        (b"a: \x07\n", "1:4: has a character that YAML does not allow (U+0007)"),
        (b"a: 1\n---\nb: 2\n", "2:1: a second document begins here"),
        (b"a: " + b"[" * 100, "nested more than 8 deep"),
        (b"a: [" + b"1," * 21_000 + b"1]", "holds more than 20000 values"),
        (b"a" * (1 << 18) + b"a", "more than 262144"),
    ],
)
def test_text_that_is_no_contract_at_all_is_refused_with_its_place(raw, says):
    found = problems(raw)

    assert any(says in one for one in found), found


def test_what_expands_is_never_expanded():
    levels = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 9))

    assert any("is an alias" in one for one in problems(f"l0: &l0 [a]\n{levels}\n"))


def test_invalid_names_every_problem_with_the_contracts_name():
    with pytest.raises(Invalid) as caught:
        parsed(PAPER.replace("EUR", "euro").replace("60 s", "60").encode(), "q.yaml")

    assert "q.yaml:7:11: currency" in caught.value.why
    assert "q.yaml:23:12: clauses[1].value" in caught.value.why


def as_editors_read_it(text):
    """The value that a YAML 1.2 program sees: the safe loader, but days stay text."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.yaml_implicit_resolvers = {
        first: [(tag, found) for tag, found in rules if not tag.endswith("timestamp")]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    return yaml.load(text, Loader=Loader)  # our own safe subclass


def test_the_schema_in_the_package_is_that_of_the_table():
    assert schema.kept() == schema.written()


def test_an_editor_with_the_schema_accepts_what_is_accepted():
    jsonschema_rs.meta.validate(json.loads(schema.kept()))

    assert jsonschema_rs.validator_for(json.loads(schema.kept())).is_valid(as_editors_read_it(PAPER))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"120000.00"', "120000.00"),
        ("value: 60 s", "value: 60"),
        ("statistic: mean", "statistic: share"),
        ("measure: revoke_us", "measure: revoke_seconds"),
        ("    unknown: block_renewal\n", ""),
        ("vendor: quillwork", "vendor: quillwork\nvendors: quillwork"),
        ("passed_on: Clawbacks are", "passed_on: Clawbacks may be"),
    ],
)
def test_an_editor_with_the_schema_marks_most_mistakes(before, after):
    text = PAPER.replace(before, after)

    assert problems(text)
    assert not jsonschema_rs.validator_for(json.loads(schema.kept())).is_valid(as_editors_read_it(text))
