"""A verdict for a person: what is wrong first, then what nobody can say, then what is met; the money; the decision.

Each clause says its sentence, its value with count and window, the three worst events with their entries, what would turn it
green, and when its cure period ends. Nothing stands here that is not in the verdict.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ORDER: Final = ("breached", "unknown", "met")
REWARDS: Final = {"breached": "NOT MET", "unknown": "UNKNOWN", "met": "REWARD"}
OUTCOMES: Final = {
    "pass": "PASS",
    "fail": "FAIL",
    "undecided": "UNDECIDED: something that the contract asks for can't be judged, or may still be cured",
}
_INDENT: Final = " " * 10


def lines(verdict: Mapping[str, Any]) -> Iterator[str]:
    """The whole verdict."""
    contract = verdict["contract"]
    yield (
        f"{verdict['vendor']} by contract {contract['id']} ({contract['starts']} to {contract['ends']}), "
        f"as of {verdict['as_of']}, {verdict['purpose']}"
    )
    for problem in verdict["facts"]["cut"]:
        yield f"UNVERIFIABLE: {problem}"
    for word in ORDER:
        for row in verdict["clauses"]:
            if row["verdict"] == word:
                yield ""
                yield from clause(row)
    for row in verdict["rewards"]:
        yield ""
        yield from _head(row, REWARDS[row["verdict"]])
        yield f"{_INDENT}reward: met on {row['met_days']} days so far"
    yield ""
    yield from money(verdict["money"], verdict["passed_on"])
    yield ""
    yield from ending(verdict)


def clause(row: Mapping[str, Any]) -> Iterator[str]:
    """One clause."""
    yield from _head(row)
    if row["worst"] and row["verdict"] != "met":
        worst = "; ".join(f"{one['value_text']} at {one['at']} ({_entries(one['entries'])})" for one in row["worst"])
        yield f"{_INDENT}worst: {worst}"
    if row["green"]:
        yield f"{_INDENT}green: {row['green']}"
    if row["runs"] and row["verdict"] != "met":
        yield f"{_INDENT}{_since(row)}"
    if row["waiver"]:
        yield f"{_INDENT}waived until {row['waiver']['until']} by {row['waiver']['signed_by']} (entry {row['waiver']['entry']})"
    elif row["disputed"] and row["verdict"] == "unknown":
        yield f"{_INDENT}disputed: set aside until that is settled; it costs nothing and leads to nothing, and is not met"
    elif row["verdict"] != "met" and not row["curing"]:
        yield f"{_INDENT}leads to: {_leads(row)}"
    if row["verdict"] != "met" and row["owner"]:
        yield f"{_INDENT}owner: {row['owner']}" + (
            f", due {row['due']}{': OVERDUE' if row['overdue'] else ''}" if row["due"] else ""
        )


def money(sums: Mapping[str, Any], passed_on: str) -> Iterator[str]:
    """The clawbacks, the rewards beside them, and who bears them."""
    unit = sums["currency"]
    if not sums["months"]:
        yield f"Clawback up to {sums['upto']}: {sums['total']['clawback']} {unit}; reward: {sums['total']['reward']} {unit}"
    for month in sums["months"]:
        capped = f" (capped; {month['uncapped']} before)" if month["uncapped"] != month["clawback"] else ""
        parts = [f"clawback {month['clawback']} {unit} for {month['days']} days{capped}"] if month["days"] else []
        parts += [f"reward {month['reward']} {unit} for {month['reward_days']} days"] if month["reward_days"] else []
        yield f"{month['month']}: {'; '.join(parts)}"
    if sums["months"]:
        yield f"In all up to {sums['upto']}: clawback {sums['total']['clawback']} {unit}, reward {sums['total']['reward']} {unit}"
    yield passed_on


def ending(verdict: Mapping[str, Any]) -> Iterator[str]:
    """What it comes to."""
    counts = {word: len([row for row in verdict["clauses"] if row["verdict"] == word]) for word in ORDER}
    yield f"{counts['met']} met, {counts['breached']} breached, {counts['unknown']} unknown"
    for one in verdict["consequences"]:
        what = ""
        if one["action"] == "restrict":
            what = " to reading" if one["mode"] == "read-only" else f" to project {', '.join(one['projects'])}"
        yield f"{one['action'].replace('_', ' ')}{what}: clause {', '.join(one['clauses'])}"
    yield verdict["decision"] or OUTCOMES[verdict["outcome"]]
    if verdict["decision"]:
        yield f"notice by {verdict['notice_deadline']}"


def _head(row: Mapping[str, Any], word: str = "") -> Iterator[str]:
    word = word or ("CURING" if row.get("curing") else row["verdict"].upper())
    yield f"{word:<10}{row['ref']}{'  ' + row['control'] if row['control'] else ''}  {row['text']}"
    window = row["window"]
    yield f"{_INDENT}{row['measure']} ({row['grade']}): {row['sentence']}"
    yield f"{_INDENT}{row['why']}; {row['n']} {'sample' if row['n'] == 1 else 'samples'}, {window['from']} to {window['to']}"


def _since(row: Mapping[str, Any]) -> str:
    first = row["runs"][-1]
    if first["to"] is not None:
        return f"last breached from {first['from']} to {first['to']}"
    if not row["cure_ends"]:
        return f"breached since {first['from']}"
    return f"breached since {first['from']}; cure {'ends' if row['curing'] else 'ended'} {row['cure_ends']}"


def _leads(row: Mapping[str, Any]) -> str:
    costs = row["verdict"] == "breached" and row["clawback_percent_day"]
    return f"{row['consequence'] or 'nothing'}".replace("_", " ") + (
        f", {row['clawback_percent_day']} % of the monthly fee a day" if costs else ""
    )


def _entries(entries: list[int]) -> str:
    if not entries:
        return "no entry"
    return f"{'entry' if len(entries) == 1 else 'entries'} {', '.join(map(str, entries))}"
