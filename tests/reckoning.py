"""The money of a contract reckoned by hand: one day after the other, from nothing but what the contract's form says.

Written apart from `limen.verify.verdict`, and differently: no window moves on here, nothing is added up ahead. Each day looks at
its window afresh, each month is rounded in whole cents, and a run is followed backwards from the day that it may cost.
Also here: histories at random, with gaps, disputes, waivers, cures, caps, leap days and ends of years.
"""

from __future__ import annotations

import datetime as dt
import operator
from decimal import Decimal
from fractions import Fraction

from clauses import clause, contract, daily, document

COMPARE = {"<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt, "==": operator.eq}
DAY = dt.timedelta(days=1)
SECOND = 1_000_000


# --- by hand


def reckoned(terms, facts, as_of):
    """Month to [clawback, reward], both as Decimals, of months in which there is either."""
    book = {(fact["measure"], fact["from"][:10]): fact for fact in facts["facts"]}
    starts, ends = (dt.date.fromisoformat(terms[name]) for name in ("starts", "ends"))
    now = dt.datetime.fromisoformat(as_of)
    every = []
    day = starts
    while day < ends and _midnight(day + DAY) <= now:
        every.append(day)
        day += DAY
    said = {
        row["ref"]: {day: _verdict(row, day, starts, book) for day in every} for row in (*terms["clauses"], *terms["rewards"])
    }
    taken = {
        day: max((_cost(row, day, said[row["ref"]], terms["waivers"]) for row in terms["clauses"]), default=0) for day in every
    }
    given = {
        day: max((Fraction(row["reward_percent_day"]) for row in terms["rewards"] if said[row["ref"]][day] == "met"), default=0)
        for day in every
    }
    clawed, paid = (_months(terms, days, kind) for days, kind in ((taken, "clawback"), (given, "reward")))
    return {month: [clawed.get(month, Decimal(0)), paid.get(month, Decimal(0))] for month in {*clawed, *paid}}


def _midnight(day):
    return dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)


def _cost(row, day, said, waivers):
    """The percent that a clause asks for on a day."""
    if row["clawback_percent_day"] is None or said[day] != "breached":
        return 0
    if any(w["clause"] == row["ref"] and w["from"] <= str(day) < w["until"] for w in waivers):
        return 0
    first = day
    back = day
    while back in said and said[back] != "met":
        if said[back] == "breached":
            first = back
        back -= DAY
    return Fraction(row["clawback_percent_day"]) if (day - first).days >= row["cure_days"] else 0


def _verdict(row, day, starts, book):  # noqa: C901  the form's own cases, one after the other
    samples, holes, in_order = [], False, []
    for back in range(row["window_days"]):
        at = day - back * DAY
        if at < starts:
            break
        fact = book.get((row["measure"], str(at)))
        if fact is None or fact["disputed"] or fact["grade"] == "declared":
            holes = True
            in_order.append(None)
        else:
            samples += [sample["value"] for sample in fact["samples"]]
            in_order.append([sample["value"] for sample in fact["samples"]])
    holds = COMPARE[row["comparator"]]
    limit = _exact(row["value"])
    if row["statistic"] == "last":
        for values in in_order:  # from this day backwards
            if values is None:
                return "unknown"
            if values:
                return "met" if holds(_exact(values[-1]), limit) else "breached"
        return "unknown" if row["min_n"] else "met"
    n = sum(value[1] for value in samples) if row["statistic"] == "share" else len(samples)
    if n < row["min_n"]:
        return "unknown"
    if holes:
        one_way = {"max": "<=", "count": "<=", "sum": "<=", "min": ">="}.get(row["statistic"])
        sure = one_way == row["comparator"] and samples and not holds(_statistic(row["statistic"], samples), limit)
        return "breached" if sure else "unknown"
    if n == 0 and row["statistic"] not in ("count", "sum"):
        return "met"
    return "met" if holds(_statistic(row["statistic"], samples), limit) else "breached"


def _exact(value):
    return Fraction(value[0], value[1]) if isinstance(value, list) else Fraction(value)


def _statistic(name, samples):
    if name == "count":
        return len(samples)
    if name == "share":
        return Fraction(sum(part for part, _ in samples), sum(whole for _, whole in samples))
    numbers = [_exact(sample) for sample in samples]
    if name in ("max", "min"):
        return max(numbers) if name == "max" else min(numbers)
    if name == "sum":
        return sum(numbers)
    if name == "mean":
        return sum(numbers) / len(numbers)
    percent = int(name[1:])  # nearest rank: the smallest that so many percent do not exceed
    return min(x for x in numbers if 100 * sum(1 for y in numbers if y <= x) >= percent * len(numbers))


def _months(terms, percents, kind):
    """Month to its amount: in whole hundredths, rounded half up, then capped."""
    fee = Fraction(terms["monthly_fee"])
    left = Fraction(terms["caps"][f"{kind}_total"])
    most = Fraction(terms["caps"][f"{kind}_month"])
    found = {}
    for month in sorted({str(day)[:7] for day, percent in percents.items() if percent}):
        exact = sum((fee * percent / 100 for day, percent in percents.items() if str(day)[:7] == month), Fraction(0))
        cents = (exact * 200 + 1) // 2  # half a cent goes up
        amount = min(Fraction(cents, 100), most, left)
        left -= amount
        found[month] = Decimal(int(amount * 100)).scaleb(-2)
    return found


# --- at random

RULES = (  # measure, statistic, comparator, values
    ("revoke_us", "max", "<=", (60 * SECOND, 200 * SECOND)),
    ("revoke_us", "mean", "<=", (60 * SECOND, 100 * SECOND)),
    ("revoke_us", "p95", "<=", (100 * SECOND,)),
    ("revoke_us", "p50", "<", (60 * SECOND,)),
    ("revoke_us", "min", ">=", (20 * SECOND,)),
    ("revoke_us", "count", "<=", (1, 4)),
    ("revoke_us", "sum", "<=", (300 * SECOND,)),
    ("revoke_us", "last", "<=", (60 * SECOND,)),
    ("named_share", "share", ">=", ([99, 100], [1, 1])),
    ("named_share", "min", ">=", ([9, 10],)),
)
BEGINNINGS = ("2023-12-01", "2024-02-15", "2024-01-31", "2025-11-20", "2026-01-01", "2027-12-31", "2028-02-01")


def history(draw, *, longest=200):
    """A contract, its facts, and a moment, from a `random.Random`."""
    starts = dt.date.fromisoformat(draw.choice(BEGINNINGS))
    length = draw.randint(1, longest)
    ends = starts + dt.timedelta(days=draw.choice([length, length + 30, max(1, length - 30)]))
    rows = [_row(draw, f"c{i}", clawback_percent_day=_percent(draw)) for i in range(draw.randint(1, 3))]
    rewards = [{**_row(draw, f"r{i}"), "reward_percent_day": _percent(draw)} for i in range(draw.randint(0, 2))]
    fee = draw.choice(["120000.00", "99999.99", "0.03", "1234.56", "7.77"])
    caps = [f"{Decimal(fee) * draw.choice([1, 2, 10]) / 10:.2f}", f"{Decimal(fee) * draw.choice([1, 3]):.2f}"] * 2
    waivers = [_waiver(draw, starts, length, draw.choice(rows)["ref"]) for _ in range(draw.choice([0, 0, 1, 2]))]
    as_of = f"{starts + dt.timedelta(days=length)}T{draw.choice(['00:00:00', '00:00:00', '13:30:00'])}Z"
    at_hour = "00:00:00" not in as_of
    facts = []
    for measure in sorted({row["measure"] for row in (*rows, *rewards)}):
        days = _days(draw, measure, length + at_hour)
        some = daily(measure, str(starts), days, as_of=as_of)
        for fact in draw.sample(some, min(len(some), draw.choice([0, 0, 2, 5]))):
            fact["disputed"] = {"entry": 9, "since": fact["from"]}
        for fact in draw.sample(some, min(len(some), draw.choice([0, 0, 1]))):
            fact["grade"] = "declared"
        facts += some
    names = {"starts": str(starts), "ends": str(ends), "monthly_fee": fee, "caps": caps, "rewards": rewards, "waivers": waivers}
    return contract(*rows, **names), document(facts, as_of, str(starts)), as_of


def _percent(draw):
    return draw.choice(["0.5", "1", "0.25", "3.333333", "0.000001", "10"])


def _row(draw, ref, **fields):
    measure, statistic, comparator, values = draw.choice(RULES)
    more = {
        "ref": ref,
        "window_days": draw.choice([1, 1, 2, 7, 30, 92]),
        "min_n": draw.choice([0, 1]) if statistic != "min" else 1,
        "cure_days": draw.choice([0, 0, 1, 3, 10]),
    }
    return clause(measure, statistic=statistic, comparator=comparator, value=draw.choice(values), **more, **fields)


def _waiver(draw, starts, length, ref):
    first = starts + dt.timedelta(days=draw.randint(0, length))
    return {"clause": ref, "from": str(first), "until": str(first + dt.timedelta(days=draw.randint(1, 40))), "entry": 5}


def _days(draw, measure, length):
    """Each day's values: mostly calm, with stretches of trouble, and days that nobody vouches for."""
    days, trouble = [], 0
    gaps = draw.choice([0, 0, 0, 0.02, 0.2])
    for _ in range(length):
        trouble = max(0, trouble - 1) or (draw.randint(1, 12) if draw.random() < 0.05 else 0)
        if draw.random() < gaps:
            days.append(None)
        elif measure == "named_share":
            whole = draw.randint(1, 30)
            days.append([[whole - (draw.randint(0, whole) if trouble else 0), whole]])
        else:
            top = 400 if trouble else 55
            days.append([draw.randint(1, top * SECOND) for _ in range(draw.choice([0, 0, 1, 1, 2]))])
    return days
