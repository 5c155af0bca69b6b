"""The closed table of measures: each is sayable, gradable, and has its word for what the vendor says of it."""

import pytest

from limen.assurance.measures import ANSWERS, DECLARED, MEASURES, Measure, measured_of
from limen.core.types import Grade

FOURTEEN = [f"LM-{n:02}" for n in range(1, 15)]


def test_every_control_of_the_profile_has_a_measure_and_no_measure_another_control():
    assert sorted({measure.control for measure in MEASURES.values()} - {""}) == FOURTEEN


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_a_measure_says_what_it_is_in_a_sentence_and_how_it_is_counted(measure):
    assert measure.sentence
    assert not measure.sentence.endswith(".")
    assert measure.unit == {"ratio": "share", "bool": "yes or no", "decimal": "money"}.get(measure.kind, measure.unit)
    assert measure.name.endswith("_us") == (measure.unit == "us")
    assert "float" not in measure.kind


def test_what_a_vendor_says_is_never_more_than_declared_and_always_a_statement():
    said = [measure for name, measure in MEASURES.items() if name.startswith(DECLARED)]
    assert {measure.grade for measure in said} == {Grade.DECLARED}
    assert {measure.shape for measure in said} == {"statement"}
    assert {measure.name for measure in said if measured_of(measure.name) is None} == {DECLARED + name for name in ANSWERS}


def test_what_it_says_of_a_measure_has_the_same_unit_and_kind():
    for name, measure in MEASURES.items():
        about = measured_of(name)
        if about is not None:
            assert (measure.unit, measure.kind, measure.worse) == (about.unit, about.kind, about.worse)
    assert measured_of("named_share") is None


def test_the_table_is_closed():
    with pytest.raises(TypeError):
        MEASURES["mine"] = Measure("mine", "mine", "us", "int", "events", "more")
