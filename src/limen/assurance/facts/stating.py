"""What somebody may state: a measure's value as it is typed and as entries hold it, and the checks that both must pass. Pure.

Typed values: `2`, `yes`, `5000000.00`, `99.5%` or `199/200`, and for durations `45 s`, `60 min`, `4 h`, `2 d` (or microseconds).
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, Final

from limen.assurance.measures import MEASURES
from limen.core.errors import Invalid
from limen.core.events import MAX_INT

OLD: Final = ("refused", "alive", "untried")  # what trying a replaced key showed
OUTCOMES: Final = ("stands", "upheld")
WHAT: Final = ("deploy-key", "webhook-secret", "api-key", "access-key", "token", "password", "certificate", "other")
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,199}\Z")
_UNITS: Final = {"us": 1, "ms": 1_000, "s": 1_000_000, "min": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_DURATION: Final = re.compile(r"([0-9]+)\s*(us|ms|s|min|h|d)?\Z")
_RATIO: Final = re.compile(r"([0-9]+)/([0-9]+)\Z")
_PERCENT: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)%\Z")
_MONEY: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?\Z")
_WORDS: Final = {"yes": True, "true": True, "no": False, "false": False}


def typed(measure: str, text: str) -> Any:
    """The value that was typed for a measure, as an entry holds it; Invalid says what it may look like."""
    found = statement(measure)
    match found.kind:
        case "bool" if text.lower() in _WORDS:
            return _WORDS[text.lower()]
        case "decimal" if _MONEY.match(text):
            return text
        case "int" if part := _DURATION.match(text):
            number, unit = int(part[1]), part[2]
            if unit is None or found.unit == "us":
                return number * _UNITS[unit or "us"]
            if found.unit == "days" and unit == "d":
                return number
        case "ratio" if part := _RATIO.match(text):
            return [int(part[1]), int(part[2])]
        case "ratio" if part := _PERCENT.match(text):
            return list((Fraction(part[1]) / 100).as_integer_ratio())
    forms = {"bool": "yes or no", "decimal": "like 5000000.00", "ratio": "like 99.5% or 199/200", "int": "a whole number"}
    also = ", or a duration like 60 min" if found.unit == "us" else ""
    raise Invalid(measure, f"{text!r} is no value of it; it is {forms[found.kind]}{also}")


def check(measure: str, value: Any) -> None:
    """Pass in silence for a value that an entry may hold of a measure; else Invalid."""
    kind = statement(measure).kind
    match kind:
        case "bool":
            good = isinstance(value, bool)
        case "int":
            good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INT
        case "ratio":
            good = (
                isinstance(value, list)
                and len(value) == 2  # noqa: PLR2004  part and whole
                and all(isinstance(one, int) and not isinstance(one, bool) for one in value)
                and 0 <= value[0] <= value[1] <= MAX_INT
                and value[1] > 0
            )
        case "decimal":
            good = isinstance(value, str) and bool(_MONEY.match(value)) and _is_decimal(value)
    if not good:
        raise Invalid(measure, f"{value!r} is no value of it: it is of kind {kind}")


def statement(measure: str) -> Any:
    """The measure of that name, if it is one that is stated; Invalid if it is measured, or there is none."""
    found = MEASURES.get(measure)
    if found is None:
        raise Invalid("measure", f"{measure!r} is none; `limen fact measures` lists them")
    if found.daily:
        raise Invalid("measure", f"{measure} is counted, not stated; what the vendor says of it is declared.{measure}")
    return found


def named(field: str, name: str) -> str:
    """A name of an incident or a key, as entries and documents may hold it; Invalid for any other."""
    if not NAME.match(name):
        raise Invalid(field, f"{name!r} is not a name of letters, digits and . _ : / @ + - (at most 200)")
    return name


def _is_decimal(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False
