import json
import re

import pytest
from click.testing import CliRunner

from limen.assurance import profile as shipped
from limen.assurance.contract.parse import parsed
from limen.assurance.measures import MEASURES
from limen.cli.profile import profile
from limen.core.errors import Invalid, NotFound

CONTROLS = shipped.definition()["controls"]
FRAMEWORKS = {
    "nist-sp-800-53-r5": r"(SR|PS|AU|AC|IR)-\d+(\(\d+\))?",
    "nist-sp-800-161-r1": r"(SR|PS|AU|AC|IR)-\d+(\(\d+\))?",
    "nist-ai-600-1": r"(GV|MP|MS|MG)-\d\.\d{1,2}-\d{3}",
    "soc-2": r"CC[679]\.\d",
    "iso-iec-42001": r"A\.\d{1,2}(\.\d){1,2}",
    "csa-aicm": r"[A-Z]{3}-\d\d",
}


def run(*words):
    done = CliRunner().invoke(profile, words, catch_exceptions=True)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout


def test_there_are_fourteen_controls_and_every_id_has_its_standards_form():
    assert [one["id"] for one in CONTROLS] == [f"LM-{n:02}" for n in range(1, 15)]
    assert set(shipped.definition()["frameworks"]) == set(FRAMEWORKS)
    for one in CONTROLS:
        assert one["maps"]["nist-sp-800-53-r5"], one["id"]
        for name, ids in one["maps"].items():
            assert len(set(ids)) == len(ids) > 0
            assert [id_ for id_ in ids if not re.fullmatch(FRAMEWORKS[name], id_)] == []


def test_what_is_measured_is_a_measure_of_that_control():
    for one in CONTROLS:
        for each in one["measures"]:
            assert MEASURES[each["measure"]].control == one["id"]
            assert MEASURES[each["measure"]].grade == each["grade"]


def test_statements_name_their_thresholds():
    for one in CONTROLS:
        told = shipped.statement(one)
        assert "{" not in told
        assert all(param["value"] in told for param in one["params"])


def test_the_oscal_profile_sets_every_parameter_of_the_catalog_and_no_other():
    controls = shipped.oscal_catalog()["catalog"]["controls"]
    declared = {param["id"] for one in controls for param in one["params"]}
    used = set(re.findall(r"insert: param, ([a-z0-9_-]+) ", json.dumps(controls)))
    settings = {one["param-id"]: one["values"] for one in shipped.oscal_profile()["profile"]["modify"]["set-parameters"]}

    assert declared == used == set(settings)
    assert settings["lm-05_worst"] == ["300 seconds"]


def test_what_no_program_can_check_says_manual():
    destroyed = next(one for one in shipped.oscal_catalog()["catalog"]["controls"] if one["id"] == "lm-12")
    [method] = [part for part in destroyed["parts"] if part["id"].startswith("lm-12_man")]

    assert method["prose"].startswith("Manual: ")
    assert {"name": "checked-by", "ns": "https://limen.example/oscal/v1", "value": "manual"} in method["props"]
    assert "manual" in run("show", "lm-12")


def test_export_gives_the_same_bytes_each_time_and_writes_over_nothing(tmp_path):
    first, again = run("export", "oscal-catalog"), run("export", "oscal-catalog")
    run("export", "oscal-profile", "-o", str(tmp_path / "profile.json"))

    assert first == again
    assert json.loads((tmp_path / "profile.json").read_text()) == shipped.oscal_profile()
    with pytest.raises(Exception, match="is there already"):
        run("export", "oscal-profile", "-o", str(tmp_path / "profile.json"))


def test_a_contract_s_first_lines_are_filled_in_and_nothing_else_can_be():
    plain, filled = run("export", "contract"), run("export", "contract", "--vendor", "quillwork", "--fee", "98000.00")
    changed = [line for line, before in zip(filled.splitlines(), plain.splitlines(), strict=True) if line != before]

    assert changed == ["vendor: quillwork", 'monthly_fee: "98000.00"']
    with pytest.raises(Invalid, match="vendor"):
        shipped.contract({"vendor": "x\nclauses: []"})
    with pytest.raises(Invalid, match="belongs to a contract"):
        run("export", "oscal-catalog", "--vendor", "quillwork")


def test_the_contract_can_be_judged_and_asks_what_the_controls_ask():
    read = parsed(shipped.contract().encode(), "contract.yaml")
    values = {row["ref"]: row for row in read["clauses"]}
    thresholds = {param["clause"]: param["value"] for one in CONTROLS for param in one["params"]}
    written = dict(re.findall(r"ref: (\S+)\n(?:.*\n)*?    value: (.+)\n", shipped.contract()))

    assert {row["control"] for row in read["clauses"]} == {one["id"] for one in CONTROLS}
    for ref, value in thresholds.items():
        short = re.sub(r" (d|h|min|s)\w+$", lambda unit: {"d": "d", "h": "h"}.get(unit[1], f" {unit[1]}"), value)
        assert written[ref].strip('"').removesuffix("d") == short.removesuffix("d"), ref
        assert values[ref]["measure"] in {each["measure"] for each in shipped.control(values[ref]["control"])["measures"]}
    for one in CONTROLS:
        clauses = {row["measure"] for row in read["clauses"] if row["control"] == one["id"]}
        assert clauses == {each["measure"] for each in one["measures"]}


def test_the_filled_in_contract_is_still_one():
    text = run(
        "export", "contract", "--contract", "q-2026", "--vendor", "quillwork", "--starts", "2026-02-02", "--ends", "2026-05-10"
    )

    assert parsed(text.encode(), "q.yaml")["ends"] == "2026-05-10"
    with pytest.raises(Invalid, match="no day of the calendar"):
        parsed(shipped.contract({"starts": "2026-02-30"}).encode(), "q.yaml")


def test_an_unknown_control_is_not_found():
    with pytest.raises(NotFound, match="LM-99"):
        run("show", "LM-99")


def test_the_list_names_every_control_for_programs_too():
    told = json.loads(run("list", "--json"))

    assert told["schema"] == "limen/profile/v1"
    assert [one["control"] for one in told["controls"]] == [one["id"] for one in CONTROLS]
