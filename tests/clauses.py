"""Contracts and facts for tests: a clause in JSON form, and a facts document that is whole, day by day."""

from __future__ import annotations

from datetime import date, timedelta

from limen.assurance.contract.form import PASSED_ON
from limen.assurance.measures import MEASURES

PAPER = """\
limen: contract/1
contract: quillwork-2026
vendor: quillwork
starts: 2026-01-01
ends: 2027-01-01
notice_days: 60
currency: EUR
monthly_fee: "120000.00"
passed_on: Clawbacks are borne by the vendor alone and are never passed on to the people who do the work.
caps:
  clawback_month: 20%
  clawback_total: "60000.00"
restrict:
  mode: read-only
clauses:
  - ref: "7.1"
    control: LM-05
    text: Access ends within 60 seconds of the order, on average.
    measure: revoke_us
    statistic: mean
    window: 92d
    comparator: <=
    value: 60 s
    cure: 5d
    breach: restrict
    clawback_percent_day: 0.5%
    unknown: block_renewal
    owner: vendor security
    due: 2026-04-01
"""


def clause(measure="revoke_us", *, statistic="max", comparator="<=", value=60_000_000, **fields):
    """A clause (or a reward) in JSON form, without money."""
    of = MEASURES[measure]
    return {
        "ref": "7.1",
        "control": "LM-05",
        "text": "A clause.",
        "measure": measure,
        "grade": str(of.grade),
        "source": None,
        "statistic": statistic,
        "window_days": 10,
        "min_n": 0 if statistic in ("count", "sum") else 1,
        "comparator": comparator,
        "value": value,
        "cure_days": 0,
        "breach": "restrict",
        "clawback_percent_day": None,
        "unknown": "block_renewal",
        "owner": None,
        "due": None,
        "sentence": of.sentence,
        "unit": of.unit,
        "kind": of.kind,
        "shape": of.shape,
        "worse": of.worse,
        **fields,
    }


def contract(*clauses, starts="2026-01-01", ends="2027-01-01", caps=(None, None, None, None), rewards=(), **fields):
    """A contract in JSON form."""
    names = ("clawback_month", "clawback_total", "reward_month", "reward_total")
    return {
        "v": 1,
        "id": "quillwork-2026",
        "vendor": "quillwork",
        "starts": starts,
        "ends": ends,
        "notice_days": 60,
        "currency": "EUR",
        "monthly_fee": "120000.00",
        "passed_on": PASSED_ON,
        "caps": dict(zip(names, caps, strict=True)),
        "restrict": {"mode": "read-only", "projects": []},
        "clauses": list(clauses),
        "rewards": list(rewards),
        "waivers": [],
        **fields,
    }


def daily(measure, start, days, *, as_of=None, grade=None, source="log", entry=100):
    """One fact for each day from `start` on: `days` is a list of each day's values, None for a day without a fact."""
    facts, first = [], date.fromisoformat(start)
    for i, values in enumerate(days):
        if values is None:
            continue
        day = first + timedelta(days=i)
        end = f"{day + timedelta(days=1)}T00:00:00Z"
        facts.append(
            {
                "measure": measure,
                "grade": grade or str(MEASURES[measure].grade),
                "from": f"{day}T00:00:00Z",
                "to": min(end, as_of or end),
                "recorded_at": min(end, as_of or end),
                "seq": len(facts),
                "source": source,
                "samples": [
                    {"value": value, "at": f"{day}T00:00:00.{j:06d}Z", "entries": [entry + i]} for j, value in enumerate(values)
                ],
                "disputed": None,
            }
        )
    return facts


def statement(measure, value, start, end=None, *, at=None, recorded_at=None, seq=0, **fields):
    """One statement: a paper or an answer, in force from `start` to `end`."""
    return {
        "measure": measure,
        "grade": str(MEASURES[measure].grade),
        "from": f"{start}T00:00:00Z",
        "to": end and f"{end}T00:00:00Z",
        "recorded_at": f"{recorded_at or start}T00:00:00Z",
        "seq": seq,
        "source": "paper",
        "samples": [{"value": value, "at": f"{at or start}T00:00:00Z", "entries": [7]}],
        "disputed": None,
        **fields,
    }


def document(facts, as_of, start="2026-01-01"):
    """A facts document that holds what it was put together of."""
    census = dict.fromkeys(MEASURES, 0)
    for fact in facts:
        census[fact["measure"]] += 1
    return {
        "v": 1,
        "vendor": "quillwork",
        "as_of": as_of,
        "from": f"{start}T00:00:00Z",
        "log": {"origin": "aurelia.example/log", "size": 5000},
        "facts": facts,
        "census": census,
        "contradictions": [],
        "unknown": [],
    }


def midnight(start, days):
    """The midnight so many days after a day."""
    return f"{date.fromisoformat(start) + timedelta(days=days)}T00:00:00Z"
