"""Judges a contract by facts: `evaluate(contract, facts, as_of)`, a pure function over JSON values.

This file stands alone: Python 3.9 or later and its standard library, nothing of limen. Evidence bundles carry it as it is,
so that somebody who trusts nobody can compute the verdict again and compare the bytes (`canonical`). It reads no clock, no
disk and no network; the same three values give the same bytes.

Days are UTC, from 00:00 to 00:00, the end excluded. Each day is judged by the window that trails its end, and by nothing
before the contract's first day (before the contract begins: nothing before the facts' own first day). A clause is

    met       the statistic compares as the contract says, and every day of the window is known
    breached  it does not; or what is known suffices to say so, whatever the days that are missing held
    unknown   anything else: a day without a fact, too few samples, a fact of too weak a grade, a dispute that is not settled

Unknown is never met. Nothing that is left out of the facts can make a clause met: a fact that is missing leaves a hole in
its days, in `seq` and in the census.

A breach run begins with a breached day and ends with the first day that is met; unknown days in between neither end it nor
cost anything. A breached day costs its percent of the monthly fee if it is over, lies in the contract, is not waived, and
the cure period, counted from the run's first day, has ended before it. A day is billed once, whatever number of clauses were
breached on it: by the highest percent (the first in the contract, of several). Amounts are rounded, half up, once a month;
then come the month's cap and what is left of the total one. Rewards are computed in the same way from the days on which
they are met, and stand beside the clawbacks: neither is set off against the other.

The order of the file: what is asked (`evaluate`), the judgement of one clause (`_Judged`), statistics, money, words, reading.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import operator
from bisect import bisect_left, insort
from datetime import date
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    Row = dict[str, Any]

DAY_US = 86_400_000_000
EPOCH = date(1970, 1, 1).toordinal()
PURPOSES = ("standing", "onboarding", "renewal")
GRADES = ("measured", "observed", "evidence", "declared")
WEIGHT = {None: 0, "warn": 1, "block_renewal": 2, "restrict": 3, "pause": 4}
WORST = 3


def evaluate(contract: Row, facts: Any, as_of: str, purpose: str = "standing") -> Row:
    """The verdict, as a JSON value. ValueError if the contract, the facts and the time are not of one piece."""
    asked = _Asked(contract, facts, as_of, purpose)
    clauses = [_Judged(asked, row) for row in contract["clauses"]]
    rewards = [_Judged(asked, row) for row in contract["rewards"]]
    rows = [one.clause() for one in clauses]
    money = _money(asked, clauses, rewards)
    for row, one in zip(rows, clauses):  # noqa: B905  Python 3.9 does not know `strict`
        row["billed"] = _stretches(one.billed)
    return {
        "v": 1,
        "vendor": contract["vendor"],
        "as_of": as_of,
        "purpose": purpose,
        "renewal": purpose == "renewal",
        "contract": {"id": contract["id"], "digest": digest(contract), "starts": contract["starts"], "ends": contract["ends"]},
        "facts": {"digest": digest(facts), "log": facts["log"], "cut": asked.cut()},
        "clauses": rows,
        "rewards": [one.reward() for one in rewards],
        "money": money,
        "passed_on": contract["passed_on"],
        "consequences": _consequences(contract, rows),
        "decision": _decision(rows) if purpose == "renewal" else None,
        "outcome": _outcome(rows, purpose),
        "notice_deadline": _text_of(_day(contract["ends"]) - contract["notice_days"]),
    }


def canonical(value: Any) -> bytes:
    """The bytes in which a contract, facts or a verdict are compared and digested (RFC 8785, for values without floats)."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(value: Any) -> str:
    """SHA-256, in hex, of a value's canonical bytes."""
    return hashlib.sha256(canonical(value)).hexdigest()


# --- what is asked


class _Asked:
    """One question: the contract, its days up to the time, and the facts by measure."""

    def __init__(self, contract: Row, facts: Any, as_of: str, purpose: str) -> None:
        if contract.get("v") != 1 or facts.get("v") != 1:
            raise ValueError("this judges contracts and facts of version 1")
        if purpose not in PURPOSES:
            raise ValueError(f"purpose {purpose!r} is none of {', '.join(PURPOSES)}")
        if facts["vendor"] != contract["vendor"]:
            raise ValueError(f"the facts are about {facts['vendor']}, the contract about {contract['vendor']}")
        if facts["as_of"] != as_of:
            raise ValueError(f"the facts were put together as of {facts['as_of']}, not {as_of}: later ones are not in them")
        self.contract, self.as_of_us = contract, _moment(as_of)
        self.starts, self.ends = _day(contract["starts"]), _day(contract["ends"])
        # The last day that has begun; at 00:00 sharp that is the day before.
        self.last = min(_ordinal(self.as_of_us - 1), self.ends - 1)
        self.begun = self.last >= self.starts
        self.first = self.starts if self.begun else min(_ordinal(_moment(facts["from"])), self.last)
        self.waivers = contract.get("waivers", [])
        self._reasons = facts.get("unknown", [])
        self._measures = _by_measure(facts, self.as_of_us)

    def known(self, measure: str) -> _Known:
        """What the facts hold of a measure."""
        return self._measures.get(measure) or _Known(measure, None, [], self.as_of_us)

    def cut(self) -> list[str]:
        """Why the facts can't be all that there were, a line for each measure; empty if they can."""
        return sorted(f"{name}: {known.cut}" for name, known in self._measures.items() if known.cut)

    def reason(self, measure: str, days: list[int]) -> str:
        """What the facts say of why days without a fact have none; empty if they don't."""
        for one in self._reasons:
            if one["measure"] == measure and any(
                _moment(one["from"]) <= (day - EPOCH) * DAY_US < _moment(one["to"]) for day in days
            ):
                return str(one["why"])
        return ""

    def end_of(self, day: int) -> int:
        """The moment at which a day ends, or that up to which it is known."""
        return min((day + 1 - EPOCH) * DAY_US, self.as_of_us)

    def over(self, day: int) -> bool:
        """Whether a day has ended."""
        return (day + 1 - EPOCH) * DAY_US <= self.as_of_us

    def waiver(self, ref: str, day: int) -> Row | None:
        """The waiver that covers a clause on a day; of several, the one that lasts longest."""
        if not self.waivers:
            return None
        found = [one for one in self.waivers if one["clause"] == ref and _day(one["from"]) <= day < _day(one["until"])]
        return max(found, key=lambda one: (one["until"], one.get("entry", -1))) if found else None


class _Sample(NamedTuple):
    """One sample: its value as something exact, its moment, and itself."""

    number: Any
    at_us: int
    raw: dict[str, Any]


class _Fact(NamedTuple):
    """One fact, read."""

    grade: str
    source: str
    disputed: Any
    start_us: int
    end_us: int | None
    seq: int
    samples: list[_Sample]
    numbers: list[Any]


class _Known:
    """All facts of one measure. `cut` says why they can't be all that there were; then nothing is known."""

    def __init__(self, measure: str, census: Any, facts: Any, as_of_us: int) -> None:
        self.facts: list[_Fact] = []
        self.cut: str | None = None
        if census is None:
            self.cut = "the census does not name it" if facts else None
        elif sorted(fact["seq"] for fact in facts) != list(range(census)):
            self.cut = f"{len(facts)} facts are here, {census} were put together"
        if self.cut is None:
            try:
                self.facts = sorted((_fact(fact, as_of_us) for fact in facts), key=lambda fact: fact.seq)
            except (KeyError, TypeError, ValueError, ArithmeticError) as e:
                self.cut = f"a fact can't be read ({e})"
        self.measure = measure
        self._days: dict[int, _Fact] | None = None
        self._series: dict[Any, list[Any]] = {}

    def days(self) -> dict[int, Any]:
        """Facts of single days, by day."""
        if self._days is None:
            found: dict[int, _Fact] = {}
            for fact in self.facts:
                day = _ordinal(fact.start_us)
                if day in found or (day - EPOCH) * DAY_US != fact.start_us:
                    self.cut, self.facts, found = "two facts are about one day, or one begins within a day", [], {}
                    break
                found[day] = fact
            self._days = found
        return self._days

    def series(self, asked: _Asked, row: Row) -> list[Any]:
        """For each day from the first to the last: its usable fact, or in words why there is none."""
        key = (row["grade"], row["source"])
        if key not in self._series:
            days = self.days()
            self._series[key] = [self._of_day(asked, day, days.get(day), row) for day in range(asked.first, asked.last + 1)]
        return self._series[key]

    def _of_day(self, asked: _Asked, day: int, fact: Any, row: Row) -> Any:
        if self.cut:
            return "cut"
        if fact is None or fact.end_us is None or fact.end_us < asked.end_of(day):
            return "missing"
        return self.unusable(fact, row) or fact

    @staticmethod
    def unusable(fact: Any, row: Row) -> str | None:
        """Why a fact can't count for a clause, in a word; None if it can."""
        if GRADES.index(fact.grade) > GRADES.index(row["grade"]):
            return "grade"
        if row["source"] is not None and fact.source != row["source"]:
            return "source"
        return "disputed" if fact.disputed else None


# --- one clause


class _Judged:
    """One clause or reward over all days up to the time asked about."""

    def __init__(self, asked: _Asked, row: Row) -> None:
        self.asked, self.row = asked, row
        self.known = asked.known(row["measure"])
        self.billed: list[int] = []  # days on which it was what was billed, or rewarded
        self._judging: _Days | _Statements = (
            _Statements(asked, row, self.known) if row["shape"] == "statement" else _Days(asked, row, self.known)
        )
        self.days = [self._judging.verdict(day) for day in range(asked.first, asked.last + 1)]
        self.verdict = self.days[-1]

    def chargeable(self) -> list[int]:
        """The days, ended and in the contract, that a breach made chargeable."""
        asked, cure = self.asked, self.row["cure_days"]
        if not asked.begun:
            return []
        return [
            day
            for start, end in self.runs()
            for day in range(start + cure, end)
            if self.days[day - asked.first] == "breached" and asked.over(day) and not asked.waiver(self.row["ref"], day)
        ]

    def met_days(self) -> list[int]:
        """The days, ended and in the contract, on which it was met."""
        asked = self.asked
        every = range(asked.first, asked.last + 1) if asked.begun else ()
        return [day for day in every if self.days[day - asked.first] == "met" and asked.over(day)]

    def runs(self) -> list[tuple[int, int]]:
        """Breach runs as [first day, end); one that no met day has ended goes on to the last day."""
        found, since = [], None
        for day, verdict in enumerate(self.days, self.asked.first):
            if verdict == "breached" and since is None:
                since = day
            elif verdict == "met" and since is not None:
                found.append((since, day))
                since = None
        return [*found, (since, self.asked.last + 1)] if since is not None else found

    def reward(self) -> Row:
        """The row of a reward."""
        return {**self._common(), "met_days": len(self.met_days())}

    def clause(self) -> Row:
        """The row of a clause."""
        asked, row, common = self.asked, self.row, self._common()
        runs = self.runs()
        still = bool(runs) and runs[-1][1] == asked.last + 1 and self.days[-1] != "met"
        cure_ends = runs[-1][0] + row["cure_days"] if still and row["cure_days"] else None
        curing = self.verdict == "breached" and cure_ends is not None and asked.last < cure_ends
        waiver = asked.waiver(row["ref"], asked.last)
        disputed = self.verdict == "unknown" and self._judging.disputed(asked.last)
        consequence = None
        if not waiver and self.verdict == "breached" and not curing:
            consequence = row["breach"]
        elif not waiver and self.verdict == "unknown" and not disputed:
            # What is not known ends no breach: its consequence stays in force beside that of not knowing.
            stays = row["breach"] if still and asked.last >= runs[-1][0] + row["cure_days"] else None
            consequence = max(row["unknown"], stays, key=lambda action: WEIGHT[action])
        due = row["due"]
        overdue = bool(due) and self.verdict != "met" and not waiver and asked.as_of_us >= (_day(due) + 1 - EPOCH) * DAY_US
        return {
            **common,
            "runs": [{"from": _text_of(a), "to": None if still and b == asked.last + 1 else _text_of(b)} for a, b in runs],
            "cure_ends": None if cure_ends is None else _text_of(cure_ends),
            "curing": curing,
            "waiver": waiver,
            "disputed": disputed,
            "breach": row["breach"],
            "unknown": row["unknown"],
            "consequence": consequence,
            "clawback_percent_day": row["clawback_percent_day"],
            "owner": row["owner"],
            "due": due,
            "overdue": overdue,
        }

    def _common(self) -> Row:
        row, judging, last = self.row, self._judging, self.asked.last
        n, value = judging.figures(last)
        first = judging.window(last)[0]
        return {
            **{name: row[name] for name in ("ref", "control", "text", "measure", "sentence", "unit", "grade", "source")},
            **{name: row[name] for name in ("statistic", "comparator", "min_n")},
            "threshold": row["value"],
            "threshold_text": _said(row["value"], row),
            "window": {"days": row["window_days"], "from": _text_of(first), "to": _moment_text(self.asked.end_of(last))},
            "n": n,
            "value": value,
            "value_text": None if value is None else _said(value, row),
            "verdict": self.verdict,
            "why": _why(self, n, value),
            "green": _green(self, n, value),
            "worst": _worst(judging.samples(last), row),
        }

    def holes(self) -> dict[str, list[int]]:
        """The days of the last window that can't be used: word for why to days."""
        return self._judging.holes(self.asked.last)

    def samples(self) -> list[Any]:
        """The samples of the last window, each with its day's or statement's end of counting."""
        return self._judging.samples(self.asked.last)


class _Days:
    """A clause over a measure with one fact a day; the window moves on by a day at a time."""

    def __init__(self, asked: _Asked, row: Row, known: _Known) -> None:
        self.asked, self.row = asked, row
        self.series = known.series(asked, row)
        self.tally = _tally(row)
        self._bad = 0  # days of the window that can't be used
        self._next = asked.first
        self._newest: int | None = None  # the last usable day that held a sample
        self._hole: int | None = None  # the last day that can't be used

    def window(self, day: int) -> tuple[int, int]:
        """Its first and last day."""
        return max(self.asked.first, day - self.row["window_days"] + 1), day

    def verdict(self, day: int) -> str:
        """The verdict on a day. Days come in order."""
        if day != self._next:
            raise RuntimeError("days come in order")
        self._next += 1
        one = self.series[day - self.asked.first]
        if isinstance(one, str):
            self._bad += 1
            self._hole = day
        else:
            if one.samples or (self.row["shape"] == "states" and self.row["statistic"] == "last"):
                self._newest = day
            if one.samples:
                self.tally.add(one.numbers)
        gone = day - self.row["window_days"]
        if gone >= self.asked.first:
            one = self.series[gone - self.asked.first]
            if isinstance(one, str):
                self._bad -= 1
            elif one.samples:
                self.tally.drop(one.numbers)
        return self._decided(day)

    def _decided(self, day: int) -> str:
        row, tally = self.row, self.tally
        if row["statistic"] == "age_days":
            return self._aged(day)
        if row["statistic"] == "last":
            return self._newest_decides(day)
        if tally.n < row["min_n"]:
            return "unknown"
        if self._bad:
            return "breached" if tally.n and tally.breached_whatever_else() else "unknown"
        if tally.n == 0 and row["statistic"] not in ("count", "sum"):
            return "met"  # the contract says that nothing having happened is enough
        return "met" if tally.holds() else "breached"

    def _newest_decides(self, day: int) -> str:
        first, _ = self.window(day)
        if self._hole is not None and self._hole >= max(first, -1 if self._newest is None else self._newest):
            return "unknown"
        found = self._latest(day)
        if len(found) < self.row["min_n"]:
            return "unknown"
        if not found:
            return "met"
        return "met" if all(self.tally.limit.holds(sample.number, 1) for sample in found) else "breached"

    def _latest(self, day: int) -> list[Any]:
        """The samples that stand for the end of a day: of states all of that day, of events the newest."""
        first, _ = self.window(day)
        if self._newest is None or self._newest < first:
            return []
        samples: list[_Sample] = self.series[self._newest - self.asked.first].samples
        if self.row["shape"] == "states":
            return samples
        return [max(samples, key=lambda sample: sample.at_us)]

    def _aged(self, day: int) -> str:
        first, _ = self.window(day)
        if self._hole is not None and self._hole >= max(first, -1 if self._newest is None else self._newest):
            return "unknown"
        age = self._age(day)
        if age is not None:
            return "met" if self.tally.limit.holds(age, 1) else "breached"
        # Nothing in the whole window, all of which is known: it is older than that.
        older = day - first + 2
        return "breached" if self.row["comparator"] in ("<=", "<") and not self.tally.limit.holds(older, 1) else "unknown"

    def _age(self, day: int) -> int | None:
        """Days begun since the newest sample of the window; None if it holds none."""
        if self._newest is None or self._newest < self.window(day)[0]:
            return None
        at_us = max(sample.at_us for sample in self.series[self._newest - self.asked.first].samples)
        return int(-((at_us - self.asked.end_of(day)) // DAY_US))

    def figures(self, day: int) -> tuple[int, Any]:
        """How many samples the last window holds, and the statistic's value as JSON, or None."""
        row = self.row
        if row["statistic"] == "age_days":
            return self.tally.n, self._age(day)
        if row["statistic"] == "last":
            found = self._latest(day)
            return len(found), _value_of(_worst_of(found, row, 1)[0].number, 1, row) if found else None
        return self.tally.n, self.tally.value()

    def samples(self, day: int) -> list[Any]:
        """The usable samples of the last window, with the day after which each has left it."""
        first, last = self.window(day)
        if self.row["statistic"] == "last":
            return [(sample, last + self.row["window_days"]) for sample in self._latest(day)]
        return [
            (sample, each + self.row["window_days"])
            for each in range(first, last + 1)
            for sample in getattr(self.series[each - self.asked.first], "samples", ())
        ]

    def holes(self, day: int) -> dict[str, list[int]]:
        """The unusable days of the last window, by the word for why."""
        first, last = self.window(day)
        found: dict[str, list[int]] = {}
        for each in range(first, last + 1):
            one = self.series[each - self.asked.first]
            if isinstance(one, str):
                found.setdefault(one, []).append(each)
        return found

    def disputed(self, day: int) -> bool:
        """Whether a dispute, and nothing else, is why days can't be used."""
        return set(self.holes(day)) == {"disputed"}


class _Statements:
    """A clause over papers or answers, each of which speaks for a time of its own."""

    def __init__(self, asked: _Asked, row: Row, known: _Known) -> None:
        self.asked, self.row, self.known = asked, row, known
        self._seen: dict[Any, str] = {}

    def window(self, day: int) -> tuple[int, int]:
        """Its first and last day."""
        return max(self.asked.first, day - self.row["window_days"] + 1), day

    def verdict(self, day: int) -> str:
        """The verdict on a day."""
        facts = self._facts(day)
        aged = self.row["statistic"] == "age_days"
        key = (tuple(fact.seq for fact in facts), self.asked.end_of(day) if aged else None)
        if key not in self._seen:
            self._seen[key] = self._decided(facts, day)
        return self._seen[key]

    def _decided(self, facts: Any, day: int) -> str:
        usable = [fact for fact in facts if not fact.disputed]
        row = self.row
        if self.known.cut or not facts or len(usable) < len(facts) or len(facts) < row["min_n"]:
            return "unknown"
        if row["statistic"] == "age_days":
            return "met" if _compares(self._age(facts, day), 1, row) else "breached"
        tally = self._tallied(facts)
        return "met" if tally.holds() else "breached"

    def _facts(self, day: int) -> list[Any]:
        """The facts of sufficient grade that a day is judged by; of `last`, the one in force at the day's end."""
        first, _ = self.window(day)
        start_us, end_us = (first - EPOCH) * DAY_US, self.asked.end_of(day)
        row = self.row
        found = [fact for fact in self.known.facts if _Known.unusable(fact, row) in (None, "disputed") and fact.start_us < end_us]
        if row["statistic"] == "age_days":
            return sorted(found, key=lambda fact: (fact.samples[0].at_us, fact.seq))[-1:]
        if row["statistic"] == "last":
            found = [fact for fact in found if fact.end_us is None or fact.end_us >= end_us]
            return sorted(found, key=lambda fact: (fact.start_us, fact.seq))[-1:]
        return [fact for fact in found if fact.end_us is None or fact.end_us > start_us]

    def _age(self, facts: Any, day: int) -> int:
        return int(-((facts[-1].samples[0].at_us - self.asked.end_of(day)) // DAY_US))

    def _tallied(self, facts: Any) -> _Sum | _Sorted:
        tally = _tally({**self.row, "statistic": "max" if self.row["statistic"] == "last" else self.row["statistic"]})
        for fact in facts:
            tally.add(fact.numbers)
        return tally

    def figures(self, day: int) -> tuple[int, Any]:
        """How many statements count, and the statistic's value as JSON, or None."""
        facts = self._facts(day)
        if not facts or self.known.cut:
            return 0, None
        if self.row["statistic"] == "age_days":
            return 1, self._age(facts, day)
        return len(facts), self._tallied(facts).value()

    def samples(self, day: int) -> list[Any]:
        """The samples of the statements that count, with the day after which each has no force."""
        return [(fact.samples[0], None if fact.end_us is None else _ordinal(fact.end_us)) for fact in self._facts(day)]

    def holes(self, day: int) -> dict[str, list[int]]:
        """Why there is nothing to judge by, by the word for it."""
        if self.known.cut:
            return {"cut": []}
        if self.disputed(day):
            return {"disputed": []}
        if self._facts(day):
            return {}
        words = {_Known.unusable(fact, self.row) or "missing" for fact in self.known.facts} - {"disputed"}
        return {word: [] for word in words} or {"missing": []}

    def disputed(self, day: int) -> bool:
        """Whether a dispute is why it can't be judged."""
        return any(fact.disputed for fact in self._facts(day))


# --- statistics


def _tally(row: Row) -> _Sum | _Sorted:
    """An empty tally of a statistic."""
    return (_Sorted if row["statistic"] in ("max", "min", "p50", "p95") else _Sum)(row)


class _Sum:
    """Sums and counts: count, sum, mean, share. Of `last` and `age_days` it counts the samples only."""

    def __init__(self, row: Row) -> None:
        self.row, self.limit, self.part, self.n = row, _Limit(row), 0, 0
        self._shares, self._adds = row["statistic"] == "share", row["statistic"] in ("sum", "mean")

    def add(self, numbers: Any) -> None:
        """Take a day's samples in."""
        part, n = self._of(numbers)
        self.part += part
        self.n += n

    def drop(self, numbers: Any) -> None:
        """Let a day's samples go that left the window."""
        part, n = self._of(numbers)
        self.part -= part
        self.n -= n

    def _of(self, numbers: Any) -> tuple[Any, int]:
        if self._shares:
            pairs = [number if isinstance(number, tuple) else (number, 1) for number in numbers]
            return sum([part for part, _ in pairs]), sum([whole for _, whole in pairs])
        return (sum(map(_plain, numbers)) if self._adds else 0), len(numbers)

    def fraction(self) -> tuple[Any, int]:
        """The statistic as numerator and denominator."""
        statistic = self.row["statistic"]
        if statistic == "count":
            return self.n, 1
        return (self.part, 1) if statistic == "sum" else (self.part, self.n)

    def holds(self) -> bool:
        """Whether it compares as the contract says."""
        return self.limit.holds(*self.fraction())

    def breached_whatever_else(self) -> bool:
        """Whether more samples could only make it worse: a count or a sum that is over its limit already."""
        grows = self.row["statistic"] == "count" or (self.row["statistic"] == "sum" and self.row["kind"] == "int")
        return grows and self.row["comparator"] in ("<=", "<") and not self.holds()

    def value(self) -> Any:
        """It as JSON; None if there is nothing to divide by."""
        part, whole = self.fraction()
        if not whole:
            return None
        if self.row["statistic"] == "share":
            return [part, whole]
        return part if self.row["statistic"] == "count" else _value_of(part, whole, self.row)


class _Sorted:
    """Ranks: max, min, p50, p95 (nearest rank: the smallest sample that so many percent do not exceed)."""

    def __init__(self, row: Row) -> None:
        self.row, self.limit = row, _Limit(row)
        self._in_order: list[Any] = []

    @property
    def n(self) -> int:
        """How many samples."""
        return len(self._in_order)

    def add(self, numbers: Any) -> None:
        """Take a day's samples in."""
        for number in numbers:
            insort(self._in_order, _plain(number))

    def drop(self, numbers: Any) -> None:
        """Let a day's samples go that left the window."""
        for number in numbers:
            del self._in_order[bisect_left(self._in_order, _plain(number))]

    def _found(self) -> Any:
        statistic = self.row["statistic"]
        if statistic in ("max", "min"):
            return self._in_order[-1 if statistic == "max" else 0]
        return self._in_order[-(-len(self._in_order) * int(statistic[1:]) // 100) - 1]

    def holds(self) -> bool:
        """Whether it compares as the contract says."""
        return self.limit.holds(self._found(), 1)

    def breached_whatever_else(self) -> bool:
        """Whether more samples could only make it worse: the largest is too large, or the smallest too small."""
        bad = {"max": ("<=", "<"), "min": (">=", ">")}.get(self.row["statistic"], ())
        return self.row["comparator"] in bad and not self.holds()

    def value(self) -> Any:
        """It as JSON; None of nothing."""
        return _value_of(self._found(), 1, self.row) if self._in_order else None


def _plain(number: Any) -> Any:
    """A sample as one number that orders and adds exactly."""
    return Fraction(*number) if isinstance(number, tuple) else number


def _threshold(row: Row) -> tuple[int, int]:
    """The contract's value as an exact numerator and denominator."""
    value = row["value"]
    if isinstance(value, list):
        return value[0], value[1]
    if isinstance(value, str):
        exact = Fraction(value)
        return exact.numerator, exact.denominator
    return int(value), 1


class _Limit:
    """What a clause compares with, and how."""

    def __init__(self, row: Row) -> None:
        self._top, self._bottom = _threshold(row)
        self._holds = _COMPARE[row["comparator"]]

    def holds(self, part: Any, whole: int) -> bool:
        """Whether part / whole stands to the limit as the comparator says, without dividing."""
        return bool(self._holds(_plain(part) * self._bottom, self._top * whole))


_COMPARE = {"<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt, "==": operator.eq}


def _compares(part: Any, whole: int, row: Row) -> bool:
    return _Limit(row).holds(part, whole)


def _value_of(part: Any, whole: int, row: Row) -> Any:
    """The quotient in the measure's own kind where that is exact, else as [numerator, denominator]."""
    if isinstance(part, tuple):
        return list(part)
    exact = Fraction(part) / whole
    if row["kind"] == "bool":
        return bool(exact)
    if row["kind"] == "decimal":
        return _decimal_text(exact)
    if row["kind"] == "int" and exact.denominator == 1:
        return exact.numerator
    return [exact.numerator, exact.denominator]


def _decimal_text(exact: Fraction) -> Any:
    """A fraction as text where it ends, else as [numerator, denominator]."""
    bottom = exact.denominator
    for prime in (2, 5):
        while bottom % prime == 0:
            bottom //= prime
    if bottom != 1:
        return [exact.numerator, exact.denominator]
    with localcontext() as context:
        context.prec = 60
        return format(Decimal(exact.numerator) / Decimal(exact.denominator), "f")


def _worst_of(samples: Any, row: Row, most: int) -> list[Any]:
    """The worst samples by what the clause asks for, the worst first; of equals the earlier."""
    top, bottom = _threshold(row)
    comparator, counts = row["comparator"], row["statistic"] in ("count", "age_days")

    def badness(sample: _Sample) -> Any:
        if counts:  # what there is too much of: the newest; what there is too little of: the oldest
            return -sample.at_us if comparator in ("<=", "<") else sample.at_us
        number = _plain(sample.number)
        if comparator == "==":
            return -abs(number * bottom - top)
        return -number if comparator in ("<=", "<") else number

    return heapq.nsmallest(most, samples, key=lambda sample: (badness(sample), sample.at_us))


def _worst(samples: Any, row: Row) -> list[Row]:
    return [
        {
            "value": one.raw["value"],
            "value_text": _sample_said(one.raw["value"], row),
            "at": one.raw["at"],
            "entries": one.raw["entries"],
        }
        for one in _worst_of([sample for sample, _ in samples], row, WORST)
    ]


# --- money


def _money(asked: _Asked, clauses: list[_Judged], rewards: list[_Judged]) -> Row:
    """What is clawed back and what is paid as reward, month by month. Notes with each clause the days billed for it."""
    contract = asked.contract
    taken = _daily(clauses, "clawback_percent_day", lambda one: one.chargeable())
    given = _daily(rewards, "reward_percent_day", lambda one: one.met_days())
    with localcontext() as context:
        context.prec = 60
        clawed = _monthly(contract, taken, "clawback")
        paid = _monthly(contract, given, "reward")
        zero = Decimal(0).quantize(_quantum(contract))
        months = [
            {
                "month": month,
                "days": len([day for day in taken if _month(day) == month]),
                "uncapped": str(clawed.get(month, (zero, zero))[0]),
                "clawback": str(clawed.get(month, (zero, zero))[1]),
                "reward_days": len([day for day in given if _month(day) == month]),
                "reward": str(paid.get(month, (zero, zero))[1]),
            }
            for month in sorted({*clawed, *paid})
        ]
        total = {
            "clawback": str(sum((amount for _, amount in clawed.values()), zero)),
            "reward": str(sum((amount for _, amount in paid.values()), zero)),
        }
    return {
        "currency": contract["currency"],
        "monthly_fee": contract["monthly_fee"],
        "upto": _text_of(asked.last + 1 if asked.over(asked.last) else asked.last),
        "months": months,
        "total": total,
    }


def _daily(rows: Any, name: str, days_of: Callable[[_Judged], list[int]]) -> dict[int, Decimal]:
    """Day to percent: of several rows that ask for a day, the highest, and of equals the first. No day comes twice."""
    percents: dict[int, Decimal] = {}
    by: dict[int, _Judged] = {}
    for one in rows:
        if one.row[name] is None:
            continue
        percent = Decimal(one.row[name])
        for day in days_of(one):
            if day not in percents or percent > percents[day]:
                percents[day], by[day] = percent, one
    for day in sorted(by):
        by[day].billed.append(day)
    return percents


def _monthly(contract: Row, percents: dict[int, Decimal], kind: str) -> dict[str, tuple[Decimal, Decimal]]:
    """Month to (amount before caps, amount)."""
    fee, quantum = Decimal(contract["monthly_fee"]), _quantum(contract)
    month_cap, total_cap = contract["caps"][kind + "_month"], contract["caps"][kind + "_total"]
    left = None if total_cap is None else Decimal(total_cap)
    sums: dict[str, Decimal] = {}
    for day in sorted(percents):
        sums[_month(day)] = sums.get(_month(day), Decimal(0)) + percents[day]
    amounts = {}
    for month, percent in sums.items():
        whole = (fee * percent / 100).quantize(quantum, ROUND_HALF_UP)
        amount = whole if month_cap is None else min(whole, Decimal(month_cap))
        if left is not None:
            amount = min(amount, left)
            left -= amount
        amounts[month] = (whole, amount.quantize(quantum, ROUND_DOWN))
    return amounts


def _quantum(contract: Row) -> Decimal:
    """The smallest amount: as many places as the monthly fee is written with."""
    return Decimal(1).scaleb(-len(contract["monthly_fee"].partition(".")[2]))


def _month(day: int) -> str:
    return date.fromordinal(day).isoformat()[:7]


# --- what follows


def _consequences(contract: Row, rows: Any) -> list[Row]:
    """What is in force now, the gravest first, each with the clauses that ask for it."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row["consequence"]:
            found.setdefault(row["consequence"], []).append(row["ref"])
    in_order = sorted(found, key=lambda action: -WEIGHT[action])
    return [
        {"action": action, "clauses": found[action], **(contract["restrict"] or {} if action == "restrict" else {})}
        for action in in_order
    ]


def _outcome(rows: Any, purpose: str) -> str:
    """pass, fail or undecided: a breach fails if it leads to more than a warning; nothing unknown ever passes."""
    open_rows = [row for row in rows if not row["waiver"]]
    if any(row["verdict"] == "breached" and WEIGHT[row["consequence"]] > WEIGHT["warn"] for row in open_rows):
        return "fail"
    if purpose == "renewal" and any(row["overdue"] for row in open_rows):
        return "fail"
    if any(row["verdict"] == "unknown" or (row["curing"] and row["breach"] != "warn") for row in open_rows):
        return "undecided"
    return "pass"


def _decision(rows: Any) -> str:
    """The advice on renewal."""
    if any(WEIGHT[row["consequence"]] > WEIGHT["warn"] or row["overdue"] for row in rows):
        return "DO NOT RENEW"
    return "RENEW" if all(row["verdict"] == "met" for row in rows) else "RENEW WITH CONDITIONS"


# --- words

_NAMED = {
    "last": "the last value", "max": "the largest", "min": "the smallest", "mean": "the mean", "p50": "the median",
    "p95": "the 95th percentile", "share": "the share", "count": "the count", "sum": "the sum", "age_days": "the age",
}  # fmt: skip
_ASKED = {"<=": "at most", "<": "less than", ">=": "at least", ">": "more than", "==": "exactly"}
_HOLE = {
    "missing": "no fact covers {}",
    "grade": "what is known of {} is of a weaker grade than {grade}",
    "source": "what is known of {} is not from {source}",
    "disputed": "what is known of {} is disputed, and set aside until that is settled",
}


def _why(judged: _Judged, n: int, value: Any) -> str:
    """One sentence: why the clause has its verdict."""
    row, verdict = judged.row, judged.verdict
    limit = f"{_ASKED[row['comparator']]} {_said(row['value'], row)}"
    holes = judged.holes()
    if verdict != "unknown":
        if value is None and row["statistic"] == "age_days":
            return f"nothing in the window, all of which is known; it asks for {limit}"
        if value is None:
            return "nothing happened in the window, all of which is known"
        sure = (
            " already, whatever the days without facts held"
            if verdict == "breached" and holes and row["statistic"] != "last"
            else ""
        )
        return f"{_NAMED[row['statistic']]} is {_said(value, row)}{sure}; it asks for {limit}"
    if "cut" in holes:
        return f"the facts are not whole: {judged.known.cut}"
    if holes:
        word, days = min(holes.items())
        where = "it" if not days else _days_said(days)
        said = _HOLE[word].format(where, grade=row["grade"], source=row["source"])
        reason = judged.asked.reason(row["measure"], days) if word == "missing" else ""
        said += f": {reason}" if reason else ""
        return said + (f" (of {n} samples {_NAMED[row['statistic']]} would be {_said(value, row)})" if value is not None else "")
    if row["statistic"] == "age_days":
        return "nothing in the window, which is shorter than the age asked for"
    return f"{n} of the {row['min_n']} samples that it takes"


def _green(judged: _Judged, n: int, value: Any) -> str | None:
    """What would make the clause met; None if it is."""
    row, holes = judged.row, judged.holes()
    if judged.verdict == "met":
        return None
    limit = f"{_ASKED[row['comparator']]} {_said(row['value'], row)}"
    if judged.verdict == "unknown":
        if "cut" in holes:
            return "the whole facts document"
        if set(holes) == {"disputed"}:
            return "the dispute's settlement"
        if holes:
            days = sorted(day for some in holes.values() for day in some)
            if row["shape"] == "statement":
                return f"a statement of grade {row['grade']} in force now that says {limit}"
            gone = _text_of(days[-1] + row["window_days"])
            return f"facts of grade {row['grade']} for {_days_said(days)}; without them not before {gone}"
        missing = max(1, row["min_n"] - n)
        return f"{missing} more {'sample' if missing == 1 else 'samples'}, with {_NAMED[row['statistic']]} {limit}"
    return _repaired(judged, limit, value)


def _repaired(judged: _Judged, limit: str, value: Any) -> str:
    row, statistic = judged.row, judged.row["statistic"]
    if row["shape"] == "statement":
        return f"a newer statement that says {limit}"
    if statistic in ("last", "age_days"):
        return f"{'a newer one' if statistic == 'age_days' else 'a newest value'} of {limit}"
    bad = [(sample, leaves) for sample, leaves in judged.samples() if not _alone(sample, row)]
    if statistic in ("max", "min") and bad:
        latest = max(leaves for _, leaves in bad)
        return f"no further one beyond {_said(row['value'], row)}: the last leaves the window on {_text_of(latest)}"
    if statistic in ("count", "sum") and row["comparator"] in ("<=", "<"):
        return f"{limit} in the window: {_freed(judged)}"
    if statistic == "share" and isinstance(value, list) and row["comparator"] in (">=", ">"):
        return f"{limit}; {value[1] - value[0]} of {value[1]} fall short now"
    if statistic == "mean" and row["comparator"] in ("<=", "<"):
        return f"a mean of {limit}: {_freed(judged)}"
    return f"{_NAMED[statistic]} of {limit}"


def _freed(judged: _Judged) -> str:
    """When the window would hold again if nothing more happened."""
    tally = _tally(judged.row)
    leaving: dict[int, list[Any]] = {}
    for sample, leaves in judged.samples():
        leaving.setdefault(leaves, []).append(sample.number)
        tally.add([sample.number])
    for leaves in sorted(leaving):
        tally.drop(leaving[leaves])
        if not tally.n or tally.holds():
            return f"if nothing is added, on {_text_of(leaves)}"
    return "as soon as what is in it has left it"


def _alone(sample: Any, row: Row) -> bool:
    return _compares(sample.number, 1, row)


def _days_said(days: list[int]) -> str:
    stretches = _stretches(days)
    return stretches[0]["from"] if len(days) == 1 else f"{len(days)} days ({_stretch_said(stretches)})"


def _stretch_said(stretches: list[dict[str, str]]) -> str:
    shown = [one["from"] if _day(one["to"]) - _day(one["from"]) == 1 else f"{one['from']} to {_text_of(_day(one['to']) - 1)}"
             for one in stretches[:3]]  # fmt: skip
    return ", ".join(shown) + (", …" if len(stretches) > len(shown) else "")


def _said(value: Any, row: Row) -> str:
    """A value of the clause's statistic, for people."""
    if row["statistic"] == "count":
        return str(value)
    if row["statistic"] == "age_days":
        return f"{value} days"
    return _sample_said(value, row)


def _sample_said(value: Any, row: Row) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        if row["kind"] == "ratio" or row["statistic"] == "share":
            return f"{_rounded(Fraction(value[0] * 100, value[1]), 2)} % ({value[0]} of {value[1]})"
        return _sample_said(None, row) if not value[1] else _unit_said(Fraction(value[0], value[1]), row)
    if isinstance(value, str):
        return value
    return _unit_said(Fraction(value), row)


# Microseconds in words: from how many on, of what size, called what. `60 s`, `60 min` and `24 h` stay what contracts call them.
_SIZES = (
    (2 * DAY_US, DAY_US, "d"),
    (7_200_000_000, 3_600_000_000, "h"),
    (600_000_000, 60_000_000, "min"),
    (1_000_000, 1_000_000, "s"),
    (1_000, 1_000, "ms"),
)


def _unit_said(exact: Fraction, row: Row) -> str:
    if row["unit"] == "us":
        for least, size, name in _SIZES:
            if exact >= least:
                return f"{_rounded(exact / size, 2)} {name}"
        return f"{_rounded(exact, 2)} us"
    return f"{_rounded(exact, 2)} {row['unit']}" if row["unit"] not in ("money", "yes or no", "type") else _rounded(exact, 2)


def _rounded(exact: Fraction, places: int) -> str:
    """A fraction in at most so many places; `~` before it if it is not exact."""
    scaled = exact * 10**places
    near = (scaled.numerator * 2 + scaled.denominator) // (2 * scaled.denominator)
    text = f"{near // 10**places}.{near % 10**places:0{places}d}".rstrip("0").rstrip(".")
    return text if scaled.denominator == 1 else "~" + text


# --- reading


def _by_measure(facts: Any, as_of_us: int) -> dict[str, _Known]:
    census = facts["census"]
    grouped: dict[str, list[Any]] = {name: [] for name in census}
    for fact in facts["facts"]:
        grouped.setdefault(fact["measure"], []).append(fact)
    return {name: _Known(name, census.get(name), some, as_of_us) for name, some in grouped.items()}


def _fact(fact: Any, as_of_us: int) -> _Fact:
    if fact["grade"] not in GRADES:
        raise ValueError(f"grade {fact['grade']!r}")
    if _moment(fact["recorded_at"]) > as_of_us:
        raise ValueError("it was recorded later than the time asked about")
    samples = [_Sample(_number(one["value"]), _moment(one["at"]), one) for one in fact["samples"]]
    end_us = None if fact["to"] is None else _moment(fact["to"])
    numbers = [sample.number for sample in samples]
    return _Fact(fact["grade"], fact["source"], fact["disputed"], _moment(fact["from"]), end_us, fact["seq"], samples, numbers)


def _number(value: Any) -> Any:
    """A sample's value as something exact: an int, a Fraction, or (part, whole)."""
    if isinstance(value, (bool, int)) and value >= 0:
        return int(value)
    if isinstance(value, str) and Decimal(value) >= 0:
        return Fraction(Decimal(value))
    part, whole = value
    if not (isinstance(part, int) and isinstance(whole, int)) or part < 0 or whole <= 0:
        raise ValueError(f"{value!r} is no part of a whole")
    return (part, whole)


_moments: dict[str, int] = {}


def _moment(text: str) -> int:
    """Microseconds since 1970 of `2026-04-09T00:00:00Z`, with up to six places of a second."""
    found = _moments.get(text)
    if found is None:
        if len(text) < 20 or text[10] != "T" or text[-1] != "Z" or text[13] != ":" or text[16] != ":":  # noqa: PLR2004
            raise ValueError(f"{text!r} is no time like 2026-04-09T00:00:00Z")
        hour, minute, second, rest = int(text[11:13]), int(text[14:16]), int(text[17:19]), text[19:-1]
        if hour > 23 or minute > 59 or second > 59 or (rest and (rest[0] != "." or not rest[1:].isdigit() or len(rest) > 7)):  # noqa: PLR2004
            raise ValueError(f"{text!r} is no time like 2026-04-09T00:00:00Z")
        micro = int(rest[1:].ljust(6, "0")) if rest else 0
        found = (_day(text[:10]) - EPOCH) * DAY_US + ((hour * 60 + minute) * 60 + second) * 1_000_000 + micro
        if len(_moments) < 100_000:  # noqa: PLR2004  a bound, so that a long life does not gather them all
            _moments[text] = found
    return found


def _day(text: str) -> int:
    return date.fromisoformat(text).toordinal()


def _ordinal(us: int) -> int:
    return us // DAY_US + EPOCH


def _text_of(day: int) -> str:
    return date.fromordinal(day).isoformat()


def _moment_text(us: int) -> str:
    seconds, micro = divmod(us % DAY_US, 1_000_000)
    clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{_text_of(_ordinal(us))}T{clock}{f'.{micro:06d}' if micro else ''}Z"


def _stretches(days: list[int]) -> list[dict[str, str]]:
    """Sorted days as stretches, the end excluded."""
    found: list[list[int]] = []
    for day in days:
        if found and found[-1][1] == day:
            found[-1][1] = day + 1
        else:
            found.append([day, day + 1])
    return [{"from": _text_of(a), "to": _text_of(b)} for a, b in found]
