"""The contract's form as JSON Schema (2020-12), for editors: made of the table in `form`, and kept beside it as a document.

An editor shows what it says of each field and marks most mistakes; `limen contract check` finds the rest (sums over fields,
days of the calendar). Nothing that the schema refuses is accepted by `parse`.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from limen.assurance.contract.form import CAPS, CLAUSE, CONTRACT, FITTING, ID, RESTRICT, REWARD, STATISTICS, word_of_value
from limen.assurance.measures import MEASURES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from limen.assurance.contract.form import Field

NAME: Final = "contract.schema.json"


def schema() -> dict[str, Any]:
    """The schema, made of the table."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "limen contract/1",
        "description": "A vendor contract's clauses, to be judged by what was measured. Amounts and percents stand in quotes.",
        **_table(
            CONTRACT,
            {
                "caps": _table(CAPS),
                "restrict": {
                    **_table(RESTRICT, {"projects": {"type": "array", "items": ID.schema, "minItems": 1}}),
                    "description": "What `restrict` means for this vendor.",
                },
                "clauses": {"type": "array", "minItems": 1, "maxItems": 200, "items": _row(CLAUSE)},
                "rewards": {"type": "array", "minItems": 1, "maxItems": 200, "items": _row(REWARD)},
            },
            required=("clauses",),
        ),
    }


def kept() -> str:
    """The document in the package: the same, as text."""
    return resources.files(__package__).joinpath(NAME).read_text()


def written() -> str:
    """What the document must hold."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def _table(fields: Sequence[Field], more: dict[str, Any] | None = None, *, required: Iterable[str] = ()) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**{one.name: {**one.word.schema, "description": one.says} for one in fields}, **(more or {})},
        "required": [*(one.name for one in fields if not one.optional), *required],
        "additionalProperties": False,
    }


def _row(fields: Sequence[Field]) -> dict[str, Any]:
    """A clause: its value's form follows from statistic and measure."""
    rules = []
    forms: dict[str, tuple[dict[str, Any], dict[str, list[str]]]] = {}
    for name, measure in MEASURES.items():
        for statistic in STATISTICS:
            if statistic in FITTING[measure.kind]:
                value = word_of_value(statistic, measure).schema
                forms.setdefault(json.dumps(value), (value, {}))[1].setdefault(statistic, []).append(name)
    for value, cases in forms.values():
        for names, statistics in _alike(cases):
            when = {"properties": {"measure": {"enum": names}, "statistic": {"enum": statistics}}}
            rules.append({"if": when, "then": {"properties": {"value": value}}})
    for kind, fitting in FITTING.items():
        names = [name for name, measure in MEASURES.items() if measure.kind == kind]
        fits = {"properties": {"statistic": {"enum": [one for one in STATISTICS if one in fitting]}}}
        rules.append({"if": {"properties": {"measure": {"enum": names}}}, "then": fits})
    value = {"description": 'What it is compared with, with its unit: 60 s, 92d, "99.5%", "120000.00", 3, true.'}
    return {**_table(fields, {"value": value}, required=("value",)), "allOf": rules}


def _alike(cases: dict[str, list[str]]) -> list[tuple[list[str], list[str]]]:
    """Statistics that share their measures, put together."""
    grouped: dict[tuple[str, ...], list[str]] = {}
    for statistic, names in cases.items():
        grouped.setdefault(tuple(names), []).append(statistic)
    return [(list(names), statistics) for names, statistics in grouped.items()]
