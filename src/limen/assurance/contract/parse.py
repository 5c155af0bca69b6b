"""Makes the JSON form of a contract's YAML, or says everything that is wrong with it and where.

The JSON form (`limen.verify.verdict` says what each field does) holds what the clauses need of the table of measures, so
that it can be evaluated by somebody who has neither limen nor the table. The same YAML gives the same bytes.
"""

from __future__ import annotations

import difflib
from datetime import date
from decimal import ROUND_DOWN, Decimal, localcontext
from typing import TYPE_CHECKING, Any, Final

from limen.assurance.contract import form, marked
from limen.assurance.contract.form import CAPS, CLAUSE, CONTRACT, FITTING, RESTRICT, REWARD, Field, Word, word_of_value
from limen.assurance.measures import MEASURES
from limen.core.errors import Invalid
from limen.core.types import Grade

if TYPE_CHECKING:
    from collections.abc import Sequence

    from limen.assurance.contract.marked import Marked, Problem

MAX_CLAUSES: Final = 200
MAX_LENGTH_DAYS: Final = 3_660
_UNREADABLE: Final = ("0", False)
_PARTS: Final = ("caps", "restrict", "clauses", "rewards")


def parse(raw: bytes) -> tuple[dict[str, Any] | None, list[Problem]]:
    """The contract's JSON form, or None and all that is wrong, in the order of lines."""
    root, problems = marked.read(raw)
    if root is None:
        return None, problems
    reading = _Reading(problems)
    contract = reading.contract(root)
    return (None, sorted(set(problems))) if problems else (contract, [])


def parsed(raw: bytes, name: str) -> dict[str, Any]:
    """The contract's JSON form; Invalid with every problem, a line each."""
    contract, problems = parse(raw)
    if contract is None:
        raise Invalid(name, "is no contract that can be judged:\n" + "\n".join(f"  {name}:{one}" for one in problems))
    return contract


class _Reading:
    """Reads values by the closed table; notes what does not fit and goes on."""

    def __init__(self, problems: list[Problem]) -> None:
        self._problems = problems

    def contract(self, root: Marked) -> dict[str, Any]:
        if root.kind != "map":
            self._problems.append(root.problem("", "is not a contract: its fields stand one a line, as `vendor: quillwork`"))
            return {}
        top = self._fields(root, CONTRACT, "", beside=_PARTS)
        caps = self._caps(root.value.get("caps"), top.get("monthly_fee"))
        restrict = self._restrict(root.value.get("restrict"))
        clauses = self._rows(root, "clauses", CLAUSE)
        rewards = self._rows(root, "rewards", REWARD) if "rewards" in root.value else []
        if "clauses" not in root.value:
            self._problems.append(root.problem("clauses", "is missing"))
        self._whole(root, top, caps, restrict, [*clauses, *rewards])
        return {
            "v": 1,
            "id": top.get("contract"),
            **{
                name: top.get(name)
                for name in ("vendor", "starts", "ends", "notice_days", "currency", "monthly_fee", "passed_on")
            },
            "caps": caps,
            "restrict": restrict,
            "clauses": [row for _, row in clauses],
            "rewards": [row for _, row in rewards],
        }

    def _fields(self, node: Marked, fields: Sequence[Field], where: str, *, beside: Sequence[str] = ()) -> dict[str, Any]:
        """A map's values by name; those that can't be read are left out and noted."""
        names = [field.name for field in fields]
        for name, key, _ in marked.entries(node):
            if name not in names and name not in beside:
                near = difflib.get_close_matches(name, [*names, *beside], 1)
                hint = f"; did you mean {near[0]}?" if near else f"; there are: {', '.join([*names, *beside])}"
                self._problems.append(key.problem(_under(where, name), f"is no field here{hint}"))
        values: dict[str, Any] = {}
        for field in fields:
            value = node.value.get(field.name)
            if value is not None:
                self._scalar(value, field.word, _under(where, field.name), values, field.name)
            elif field.optional:
                values[field.name] = field.otherwise
            else:
                self._problems.append(node.problem(_under(where, field.name), "is missing"))
        return values

    def _scalar(self, node: Marked, word: Word, where: str, values: dict[str, Any], name: str) -> None:
        try:
            values[name] = word.read(node)
        except ValueError as e:
            self._problems.append(node.problem(where, str(e)))

    def _caps(self, node: Marked | None, fee: str | None) -> dict[str, str | None]:
        none: dict[str, str | None] = {field.name: None for field in CAPS}
        if node is None:
            return none
        if node.kind != "map":
            self._problems.append(node.problem("caps", "is not a map of caps"))
            return none
        read = self._fields(node, CAPS, "caps")
        given = {name: read.get(name, _UNREADABLE) for name in none}  # told once is enough
        return {name: None if cap is None else _amount(cap, fee or "0") for name, cap in given.items()}

    def _restrict(self, node: Marked | None) -> dict[str, Any] | None:
        if node is None:
            return None
        if node.kind != "map":
            self._problems.append(node.problem("restrict", "is not a map with mode and projects"))
            return None
        read = self._fields(node, RESTRICT, "restrict", beside=("projects",))
        projects = self._projects(node.value.get("projects"))
        if (read.get("mode") == "projects") != bool(projects) and "mode" in read:
            says = "names no project" if read["mode"] == "projects" else "belongs to mode: projects"
            self._problems.append(node.value.get("projects", node).problem("restrict.projects", says))
        return {"mode": read.get("mode"), "projects": sorted(projects)}

    def _projects(self, node: Marked | None) -> list[str]:
        if node is None:
            return []
        if node.kind != "list":
            self._problems.append(node.problem("restrict.projects", "is not a list of projects"))
            return []
        found: dict[str, Any] = {}
        for i, one in enumerate(node.value):
            self._scalar(one, form.ID, f"restrict.projects[{i + 1}]", found, str(i))
        return list(found.values())

    def _rows(self, root: Marked, part: str, fields: Sequence[Field]) -> list[tuple[Marked, dict[str, Any]]]:
        node = root.value.get(part)
        if node is None:
            return []
        if node.kind != "list" or not 1 <= len(node.value) <= MAX_CLAUSES:
            self._problems.append(node.problem(part, f"is not a list of 1 to {MAX_CLAUSES}"))
            return []
        rows = []
        for i, one in enumerate(node.value):
            where = f"{part}[{i + 1}]"
            if one.kind != "map":
                self._problems.append(one.problem(where, "is not a map of fields"))
                continue
            rows.append((one, self._row(one, fields, where)))
        return rows

    def _row(self, node: Marked, fields: Sequence[Field], where: str) -> dict[str, Any]:
        read = self._fields(node, fields, where, beside=("value",))
        if "value" not in node.value:
            self._problems.append(node.problem(f"{where}.value", "is missing"))
        if "measure" not in read or "statistic" not in read:
            return read
        measure, statistic = MEASURES[read["measure"]], read["statistic"]
        if statistic not in FITTING[measure.kind]:
            fitting = ", ".join(one for one in form.STATISTICS if one in FITTING[measure.kind])
            why = f"{statistic} says nothing of {measure.name}, whose values are of the kind {measure.kind}; it can be {fitting}"
            self._problems.append(node.value["statistic"].problem(f"{where}.statistic", why))
            return read
        if "value" in node.value:
            self._scalar(node.value["value"], word_of_value(statistic, measure), f"{where}.value", read, "value")
        if read.get("grade") is None:
            read["grade"] = str(measure.grade)
        elif measure.grade != Grade(read["grade"]) and not measure.grade.outranks(Grade(read["grade"])):
            why = f"{measure.name} is {measure.grade} at best, so that it could never be met"
            self._problems.append(node.value["grade"].problem(f"{where}.grade", why))
        self._samples(node, read, where)
        if read.get("due") is not None and read.get("owner") is None:
            self._problems.append(node.value["due"].problem(f"{where}.due", "needs an owner beside it"))
        return _row_in_json(read, fields)

    def _samples(self, node: Marked, read: dict[str, Any], where: str) -> None:
        statistic = read["statistic"]
        if read.get("min_n") is None:
            read["min_n"] = 0 if statistic in ("count", "sum") else 1
        elif statistic == "age_days" and read["min_n"] != 1:
            self._problems.append(node.value["min_n"].problem(f"{where}.min_n", "of an age is 1: the newest sample's"))
        elif statistic == "last" and read["min_n"] > 1:
            self._problems.append(node.value["min_n"].problem(f"{where}.min_n", "of the last value is 0 or 1"))
        of_truth = MEASURES[read["measure"]].kind == "bool" and statistic == "last"
        if of_truth and read.get("comparator", "==") != "==":
            self._problems.append(node.value["comparator"].problem(f"{where}.comparator", "of true or false must be =="))

    def _whole(
        self,
        root: Marked,
        top: dict[str, Any],
        caps: dict[str, str | None],
        restrict: dict[str, Any] | None,
        rows: list[tuple[Marked, dict[str, Any]]],
    ) -> None:
        """What only the fields together can get wrong."""
        if "starts" in top and "ends" in top:
            length = (date.fromisoformat(top["ends"]) - date.fromisoformat(top["starts"])).days
            if not 1 <= length <= MAX_LENGTH_DAYS:
                why = f"is {length} days after starts; a contract has 1 to {MAX_LENGTH_DAYS}"
                self._problems.append(root.value["ends"].problem("ends", why))
        seen: dict[str, int] = {}
        for node, row in rows:
            ref = row.get("ref")
            if ref in seen:
                self._problems.append(node.value["ref"].problem("ref", f"{ref} is the clause of line {seen[ref]} already"))
            elif ref is not None:
                seen[ref] = node.value["ref"].line
            for name in ("breach", "unknown"):
                if row.get(name) == "restrict" and restrict is None:
                    why = "needs a restrict field at the top: what is left of the vendor's access"
                    self._problems.append(node.value[name].problem(name, why))
            for kind in ("clawback", "reward"):
                if row.get(f"{kind}_percent_day") and not all(caps[f"{kind}_{span}"] for span in ("month", "total")):
                    why = f"needs caps: {kind}_month and {kind}_total, so that both sides know the most that it can be"
                    self._problems.append(node.value[f"{kind}_percent_day"].problem(f"{kind}_percent_day", why))


def _row_in_json(read: dict[str, Any], fields: Sequence[Field]) -> dict[str, Any]:
    """The row with its measure's own properties beside it; durations by their unit's name."""
    measure = MEASURES[read["measure"]]
    row = {field.name: read.get(field.name) for field in fields}
    row["window_days"] = row.pop("window")
    if "cure" in row:
        row["cure_days"] = row.pop("cure")
    return {
        **row,
        "value": read.get("value"),
        "sentence": measure.sentence,
        "unit": measure.unit,
        "kind": measure.kind,
        "shape": measure.shape,
        "worse": measure.worse,
    }


def _amount(cap: tuple[str, bool], fee: str) -> str:
    """A cap as an amount in the fee's places, rounded down: a cap is never more than was written."""
    number, of_fee = cap
    quantum = Decimal(1).scaleb(-len(fee.partition(".")[2]))
    with localcontext() as context:
        context.prec = 60
        amount = Decimal(number) * Decimal(fee) / 100 if of_fee else Decimal(number)
        return str(amount.quantize(quantum, ROUND_DOWN))


def _under(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
