"""The closed table of measures: what can be said about a vendor at all, and in which words, units and grade.

A contract names measures of this table and nothing else. Pure; the facts themselves are made in `assurance.facts`.

A facts document (JSON, canonical bytes) is

    {"v": 1, "vendor", "as_of", "from", "log": {"origin", "size"}, "facts": [...], "census": {measure: how many facts},
     "contradictions": [...], "unknown": [...]}

and a fact in it is

    {"measure", "grade", "from", "to" (null: open), "recorded_at", "seq" (from 0, for each measure), "source",
     "samples": [{"value", "at", "entries": [index, ...], "note"?}], "disputed": null | {"entry", "since"}}

`census` names every measure of the table, also with 0. What a sample's `value` is, by the measure's kind:

    int      a whole number, of `us` (microseconds), days, or things
    ratio    [part, whole], whole > 0: never divided here, so that nothing is rounded
    decimal  money as text, "5000000.00"
    bool     true or false

Shapes:

    events     one fact for each UTC day [00:00, 24:00), the last one up to `as_of`; a sample for each thing that happened on
               it. An empty list: nothing happened, and that is known.
    states     one fact for each UTC day; a sample for each thing that stood on it (often exactly one), at its worst that
               day. An empty list: there was nothing that could have stood.
    statement  one fact for each document or statement: `from` and `to` are the time for which it speaks (its effective
               dates), `recorded_at` is when limen was given it; one sample, whose `at` is what its age counts from.

A day that nobody can vouch for has no fact. So a fact that is left out leaves a hole in `seq`, in `census` and in the days:
what is missing is unknown, and unknown is never met.

`declared.X` is what the vendor itself says of X: of a measure of this table, or an answer to a question of ANSWERS.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

from limen.core.types import Grade

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["int", "ratio", "decimal", "bool"]
Shape = Literal["events", "states", "statement"]
Worse = Literal["more", "less"]

DECLARED: Final = "declared."
DAY_US: Final = 86_400_000_000

# An asset of tier 1: of these built-in tiers, or of any tier that needs a hardware key. The contract can't redefine it: the
# log decides, by the tier's name and floor at the time.
TIER_1: Final = frozenset({"confidential", "restricted"})


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure. `worse` says in which direction: the worst events of a clause are picked by it.

    `control` is the control of the shipped profile that it belongs to, or empty. `grade` is how it is known at best: a fact
    carries its own, that of its weakest sample.
    """

    name: str
    sentence: str
    unit: str
    kind: Kind
    shape: Shape
    worse: Worse
    grade: Grade = Grade.MEASURED
    control: str = ""

    @property
    def daily(self) -> bool:
        """Whether it has one fact for each UTC day."""
        return self.shape != "statement"


_E = Grade.EVIDENCE
_D = Grade.DECLARED

_MEASURES: Final = (
    # who came, and how they proved it
    Measure("named_share", "accesses by a named human, or by a workload with a named sponsor, of all accesses that day",
            "share", "ratio", "states", "less", control="LM-01"),
    Measure("refusals_out_of_project", "requests refused because they reached for another project, or for what no grant gives",
            "refusals", "int", "events", "more"),
    Measure("hardware_share", "sessions that opened an asset of tier 1 with a hardware-backed factor, of all that opened one",
            "share", "ratio", "states", "less", control="LM-02"),
    Measure("static_keys", "long-lived keys of the vendor that were alive at some time of the day",
            "keys", "int", "states", "more", _D, control="LM-03"),
    Measure("static_key_age_us", "age of the oldest of them at the end of the day",
            "us", "int", "states", "more", _D, control="LM-03"),
    Measure("session_length_us", "lifetime of each credential that was issued",
            "us", "int", "events", "more", control="LM-04"),
    Measure("credential_age_us", "age of the oldest credential that was used that day, at its last use",
            "us", "int", "states", "more", control="LM-04"),
    # cutting off
    Measure("revoke_us", "order to last byte, at most, of each pause of the vendor, its people or sessions; real ones and drills",
            "us", "int", "events", "more", control="LM-05"),
    Measure("drill_us", "the same, of drills alone: a rehearsed pause of a named subject",
            "us", "int", "events", "more", control="LM-05"),
    Measure("rotation_age_days", "days since each long-lived key of the vendor was issued or last rotated, at the end of the day",
            "days", "int", "states", "more", _D, control="LM-06"),
    Measure("rotation_after_incident_us", "from an incident becoming known to the last of its keys replaced and its old one "
            "refused; still running where that has not happened",
            "us", "int", "states", "more", _D, control="LM-06"),
    Measure("deprovision_us", "from somebody leaving the vendor to the end of their access; still running where it has not ended",
            "us", "int", "states", "more", _D, control="LM-07"),
    # what it runs
    Measure("bom_age_days", "age of the newest bill of materials at the end of the day, by its own date",
            "days", "int", "states", "more", control="LM-08"),
    Measure("bom_unknown_days", "1 for a day that no complete bill of materials covers from its first to its last moment, else 0",
            "days", "int", "states", "more", control="LM-08"),
    Measure("malicious_open", "components known to be malicious that were installed at some time of the day",
            "components", "int", "states", "more", control="LM-09"),
    Measure("malicious_dwell_us", "how long each of them had been installed, at the end of the day or of its stay",
            "us", "int", "states", "more", control="LM-09"),
    # what it says
    Measure("notice_latency_us", "from an incident becoming known to the vendor's notice of it; still running where none came",
            "us", "int", "states", "more", control="LM-10"),
    # the log itself
    Measure("log_complete", "no entry of the day was lost, and every access of the vendor's has its outcome",
            "yes or no", "bool", "states", "less", control="LM-11"),
    Measure("outcomes_unknown", "accesses of the day whose outcome is not known, and that count as handed over whole",
            "accesses", "int", "states", "more", control="LM-11"),
    Measure("witness_gap_us", "longest time of the day without a checkpoint that the witnesses' quorum has cosigned",
            "us", "int", "states", "more", control="LM-11"),
    # what it holds
    Measure("return_us", "from the end of the vendor's last grant in a project to return or destruction of what it was served; "
            "still running where neither was shown",
            "us", "int", "states", "more", _E, control="LM-12"),
    Measure("tier1_held_share", "largest part of a version of a tier-1 asset that one person has been served by the end of "
            "the day, in bytes of their own copy",
            "share", "ratio", "states", "more", control="LM-13"),
    Measure("audit_passed", "items that passed, of all that a random audit drew",
            "share", "ratio", "events", "less", control="LM-14"),
    # papers
    Measure("soc2_report", "type of a SOC 2 report (1 or 2); in force over its period, of age since the period's end",
            "type", "int", "statement", "less", _E),
    Measure("soc2_exceptions", "exceptions that a SOC 2 report names", "exceptions", "int", "statement", "more", _E),
    Measure("soc2_bridge", "a bridge letter: the report's issuer says that nothing has changed since its period",
            "yes or no", "bool", "statement", "less", _E),
    Measure("iso27001", "a certificate by ISO/IEC 27001, over its validity", "yes or no", "bool", "statement", "less", _E),
    Measure("iso42001", "a certificate by ISO/IEC 42001, over its validity", "yes or no", "bool", "statement", "less", _E),
    Measure("pentest", "findings of high or critical severity that a penetration test left open",
            "findings", "int", "statement", "more", _E),
    Measure("insurance", "cover of a cyber insurance, in the contract's currency", "money", "decimal", "statement", "less", _E),
)  # fmt: skip

# Answers of a questionnaire that stand for no measure above.
ANSWERS: Final = MappingProxyType(
    {
        "policy": "a written information security policy is in force",
        "training": "everybody with access was trained in security within the last year",
        "screening": "everybody with access was screened before they were given it",
        "mfa": "every account that reaches the lab's content needs a second factor",
        "encryption": "the lab's content is encrypted at rest wherever the vendor holds it",
        "devices": "it is opened on managed devices alone",
        "incident_plan": "an incident plan exists and was rehearsed within the last year",
        "subprocessors": "no sub-processor is given the lab's content but those in the bill of materials",
        "no_training": "the lab's content trains nobody else's model",
        "deletion": "what is not needed any more is deleted, and that is recorded",
    }
)


def _declared() -> tuple[Measure, ...]:
    claims = tuple(
        Measure(DECLARED + one.name, f"the vendor says: {one.sentence}", one.unit, one.kind, "statement", one.worse, _D)
        for one in _MEASURES
        if one.daily
    )
    answers = tuple(
        Measure(DECLARED + name, f"the vendor says: {sentence}", "yes or no", "bool", "statement", "less", _D)
        for name, sentence in ANSWERS.items()
    )
    return claims + answers


MEASURES: Final[Mapping[str, Measure]] = MappingProxyType({one.name: one for one in (*_MEASURES, *_declared())})


def measured_of(name: str) -> Measure | None:
    """The measure that a declared one is a claim about, where there is one."""
    return MEASURES.get(name.removeprefix(DECLARED)) if name.startswith(DECLARED) else None
