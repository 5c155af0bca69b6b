"""The closed table of a contract's form, version 1: every field, what may stand in it, and what it means.

Nothing else can be written in a contract. `parse` reads by this table and `schema` prints it for editors, so the two can't
disagree. Amounts and percents are text and stay exact: they become Decimals or whole-number ratios, never floats.

A *word* below is one kind of scalar: how it is written, and what the JSON form holds for it.

    date      2026-01-01              "2026-01-01", the day's beginning in UTC
    days      92d                     92
    duration  60 s, 4h, 15 min        microseconds
    percent   "99.5%"                 [199, 200]
    rate      "0.25%"                 "0.25": percent, as text
    money     "120000.00"             "120000.00"
    cap       money, or a percent of the monthly fee
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from limen.assurance.measures import MEASURES
from limen.core.types import Grade

if TYPE_CHECKING:
    from collections.abc import Callable

    from limen.assurance.contract.marked import Marked
    from limen.assurance.measures import Measure

FORM: Final = "contract/1"
PASSED_ON: Final = "Clawbacks are borne by the vendor alone and are never passed on to the people who do the work."
STATISTICS: Final = ("last", "max", "min", "mean", "p50", "p95", "share", "count", "sum", "age_days")
COMPARATORS: Final = ("<=", "<", ">=", ">", "==")
BREACH: Final = ("warn", "block_renewal", "restrict", "pause")
MAX_DAYS: Final = 3_660
YEARS: Final = [str(year) for year in range(1970, 2200)]
SHOWN: Final = 40  # characters of what somebody wrote, in a problem about it
UNITS_US: Final = {"us": 1, "ms": 10**3, "s": 10**6, "min": 60 * 10**6, "h": 3_600 * 10**6, "d": 86_400 * 10**6}

# Which statistics say something of which kind of value. A share is of yes or no, or of parts of wholes, summed up first.
FITTING: Final = {
    "int": frozenset({"last", "max", "min", "mean", "p50", "p95", "count", "sum", "age_days"}),
    "decimal": frozenset({"last", "max", "min", "mean", "p50", "p95", "count", "sum", "age_days"}),
    "ratio": frozenset({"last", "max", "min", "mean", "p50", "p95", "share", "count", "age_days"}),
    "bool": frozenset({"last", "share", "count", "age_days"}),
}


@dataclass(frozen=True, slots=True)
class Word:
    """One kind of scalar: its JSON Schema, and how it is read; reading raises ValueError with what is wrong."""

    schema: dict[str, Any]
    read: Callable[[Marked], Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a table. An optional one has `otherwise` in the JSON form where it is left out."""

    name: str
    word: Word
    says: str
    optional: bool = False
    otherwise: Any = None


def _matched(pattern: str, example: str, made: Callable[[re.Match[str]], Any]) -> Word:
    """Text of a pattern."""
    compiled = re.compile(pattern, re.ASCII)

    def read(node: Marked) -> Any:
        found = compiled.fullmatch(node.value) if node.kind == "text" else None
        if found is None:
            raise ValueError(f"{_shown(node)} is not written like {example}")
        return made(found)

    return Word({"type": "string", "pattern": f"^(?:{pattern})$"}, read)


def _shown(node: Marked) -> str:
    match node.kind:
        case "text":
            return repr(node.value if len(node.value) <= SHOWN else node.value[:SHOWN] + "…")
        case "list" | "map":
            return f"a {node.kind}"
        case "nothing":
            return "nothing"
        case _:
            return str(node.value).lower()


def one_of(*choices: str) -> Word:
    """One of a few words."""

    def read(node: Marked) -> str:
        if node.kind != "text" or node.value not in choices:
            raise ValueError(f"{_shown(node)} is none of: {', '.join(choices)}")
        return str(node.value)

    return Word({"enum": list(choices)} if len(choices) > 1 else {"const": choices[0]}, read)


def whole(least: int, most: int) -> Word:
    """A whole number, written plainly."""

    def read(node: Marked) -> int:
        if node.kind != "number" or not least <= node.value <= most:
            raise ValueError(f"{_shown(node)} is not a whole number from {least} to {most}")
        return int(node.value)

    return Word({"type": "integer", "minimum": least, "maximum": most}, read)


def text(most: int) -> Word:
    """One line of plain words."""

    def read(node: Marked) -> str:
        if node.kind != "text":
            raise ValueError(f"{_shown(node)} is not text; put it in quotes")
        if not node.value.strip() or len(node.value) > most:
            raise ValueError(f"is not 1 to {most} characters of text")
        if not node.value.isprintable():
            raise ValueError("has a line break or another character that can't be printed; write long text with >-")
        if not unicodedata.is_normalized("NFC", node.value):
            raise ValueError("is not in Unicode normal form C")
        return str(node.value)

    return Word({"type": "string", "minLength": 1, "maxLength": most}, read)


def _day(found: re.Match[str]) -> str:
    if found[1] not in YEARS:
        raise ValueError(f"{found[0]} is not between {YEARS[0]} and {YEARS[-1]}")
    try:
        return date.fromisoformat(found[0]).isoformat()
    except ValueError as e:
        raise ValueError(f"{found[0]} is no day of the calendar") from e


def _days(found: re.Match[str]) -> int:
    if int(found[1]) > MAX_DAYS:
        raise ValueError(f"{found[0]} is more than {MAX_DAYS} days")
    return int(found[1])


def _percent(found: re.Match[str]) -> list[int]:
    part = Fraction(found[1]) / 100
    if part > 1:
        raise ValueError(f"{found[0]} is more than 100%")
    return [part.numerator, part.denominator]


def _rate(found: re.Match[str]) -> str:
    if not 0 < Decimal(found[1]) <= 100:  # noqa: PLR2004  a percentage
        raise ValueError(f"{found[0]} is not above 0% and at most 100% of the monthly fee")
    return found[1]


def _read_truth(node: Marked) -> bool:
    if node.kind != "truth":
        raise ValueError(f"{_shown(node)} is neither true nor false")
    return bool(node.value)


_NUMBER = r"(?:0|[1-9][0-9]{0,12})"
ID: Final = _matched(r"[a-z0-9][a-z0-9._-]{0,62}", "quillwork-2026 (a-z 0-9 . _ -)", lambda found: found[0])
DATE: Final = _matched(r"([0-9]{4})-[0-9]{2}-[0-9]{2}", "2026-01-31", _day)
DAYS: Final = _matched(r"(0|[1-9][0-9]{0,3}) ?d", "92d", _days)
WINDOW: Final = _matched(r"([1-9][0-9]{0,3}) ?d", "92d (whole days, at least one)", _days)
PERCENT: Final = _matched(r"((?:0|[1-9][0-9]{0,2})(?:\.[0-9]{1,6})?) ?%", '"99.5%"', _percent)
RATE: Final = _matched(r"((?:0|[1-9][0-9]{0,2})(?:\.[0-9]{1,6})?) ?%", '"0.25%"', _rate)
MONEY: Final = _matched(rf"{_NUMBER}(?:\.[0-9]{{1,4}})?", '"120000.00", in quotes', lambda found: found[0])
CAP: Final = _matched(
    rf"({_NUMBER}(?:\.[0-9]{{1,6}})?)( ?%)?", '"20%" of the monthly fee, or "24000.00"', lambda found: (found[1], bool(found[2]))
)
DURATION: Final = _matched(
    r"(0|[1-9][0-9]{0,8}) ?(us|ms|s|min|h|d)", "60 s, 15 min or 4h", lambda found: int(found[1]) * UNITS_US[found[2]]
)
COUNT: Final = whole(0, 10**12)
TRUTH: Final = Word({"type": "boolean"}, _read_truth)
CURRENCY: Final = _matched("[A-Z]{3}", "EUR", lambda found: found[0])

CONTRACT: Final = (
    Field("limen", one_of(FORM), "The form and its version."),
    Field("contract", ID, "The contract's id; setting the same id again amends it."),
    Field("vendor", ID, "The vendor's id."),
    Field("starts", DATE, "The first day on which the clauses hold (00:00 UTC)."),
    Field("ends", DATE, "The day on whose beginning (00:00 UTC) they no longer hold."),
    Field("notice_days", whole(0, 3660), "How many days before the end notice must be given."),
    Field("currency", CURRENCY, "ISO 4217."),
    Field("monthly_fee", MONEY, "What percents are of. Amounts are rounded, half up, to as many places as this one has."),
    Field("passed_on", one_of(PASSED_ON), "A contract without this sentence is not accepted."),
)
CAPS: Final = (
    Field("clawback_month", CAP, "The most that is clawed back for one calendar month.", optional=True),
    Field("clawback_total", CAP, "The most that is clawed back over the whole contract.", optional=True),
    Field("reward_month", CAP, "The most that is paid as reward for one calendar month.", optional=True),
    Field("reward_total", CAP, "The most that is paid as reward over the whole contract.", optional=True),
)
RESTRICT: Final = (Field("mode", one_of("read-only", "projects"), "What is left of the vendor's access while it is restricted."),)
_JUDGED: Final = (
    Field("ref", text(60), "Where it stands in the signed contract: the name by which it is waived."),
    Field("control", text(60), "The control that it belongs to.", optional=True, otherwise=""),
    Field("text", text(600), "The clause in words, for whoever reads the verdict."),
    Field("measure", one_of(*MEASURES), "What is measured."),
    Field("grade", one_of(*Grade), "The weakest grade that counts; the measure's own if left out.", optional=True),
    Field("source", text(200), "Only facts from this source count.", optional=True),
    Field("statistic", one_of(*STATISTICS), "What is made of the samples in the window."),
    Field("window", WINDOW, "Whole UTC days that trail each day's end."),
    Field("min_n", whole(0, 10**9), "With fewer samples it is unknown; 0: that nothing happened is enough.", optional=True),
    Field("comparator", one_of(*COMPARATORS), "How the statistic must compare."),
)
CLAUSE: Final = (
    *_JUDGED,
    Field("cure", DAYS, "Days from a breach's first in which it costs nothing.", optional=True, otherwise=0),
    Field("breach", one_of(*BREACH), "What a breach leads to, once its cure period is over."),
    Field("clawback_percent_day", RATE, "Percent of the monthly fee for each day of breach.", optional=True),
    Field("unknown", one_of(*BREACH), "What it leads to that the clause can't be judged. It never counts as met."),
    Field("owner", text(120), "Who has to see to it.", optional=True),
    Field("due", DATE, "From the day after on, renewal is blocked unless the clause is met.", optional=True),
)
REWARD: Final = (*_JUDGED, Field("reward_percent_day", RATE, "Percent of the monthly fee for each day on which it is met."))


def word_of_value(statistic: str, measure: Measure) -> Word:
    """How the value that a statistic of a measure is compared with is written."""
    match statistic:
        case "count":
            return COUNT
        case "age_days":
            return DAYS
        case "share":
            return PERCENT
    match measure.kind, measure.unit:
        case "bool", _:
            return TRUTH
        case "ratio", _:
            return PERCENT
        case "decimal", _:
            return MONEY
        case _, "us":
            return DURATION
        case _, "days":
            return DAYS
        case _:
            return COUNT
