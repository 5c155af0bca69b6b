"""What observations say of keys: who used one, was given one, read one, and who took a repository's history or an object.

Each touch is of grade *observed* and is put down to whom the mapping says; an unknown principal's touches are kept apart, not
dropped. Nothing here knows what was found in repositories or assets: `response.keys` joins the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from limen.core.types import Grade
from limen.observe.globs import head
from limen.observe.who import folded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from limen.observe.depot import Depot
    from limen.observe.who import Attribution, Who

TAKES_HISTORY: Final = ("clone", "fetch", "download", "push")  # whoever pushes onto a history holds it
_DEPLOY_KEY: Final = "github:deploy-key/"
_ISSUES: Final = ("iam.CreateAccessKey", "deploy_key.create", "public_key.create", "personal_access_token.request_created")


@dataclass(frozen=True, slots=True)
class Touch:
    """Somebody's touch of a key, or of a place that may hold keys, as other systems logged it or as we served it.

    `reason` is `used`, `issued`, `read` (a secret of Vault), `cloned` (or fetched, downloaded, pushed to) or `served`.
    `certain` is False where the log leaves open whether it was this one: then it counts.
    """

    reason: str
    grade: Grade
    where: str
    first_us: int
    last_us: int
    count: int
    principal: str = ""
    people: tuple[str, ...] = ()
    vendors: tuple[str, ...] = ()
    lab: bool = False
    certain: bool = True

    @property
    def known(self) -> bool:
        """Whether anybody is known for it."""
        return bool(self.people or self.vendors or self.lab)

    def to_json(self) -> dict[str, Any]:
        """As a row of a report."""
        told = {"reason": self.reason, "grade": self.grade.value, "where": self.where, "principal": self.principal}
        span = {"first_us": self.first_us, "last_us": self.last_us, "count": self.count, "certain": self.certain}
        return {**told, "people": list(self.people), "vendors": list(self.vendors), **span}


@dataclass(frozen=True, slots=True)
class Credentials:
    """One credential as another system names it, and what was done with it."""

    name: str
    touch: Touch


class Observed:
    """The touches in a depot, under one mapping. Each method asks DuckDB once."""

    def __init__(self, depot: Depot, who: Who) -> None:
        self._depot = depot
        self._who = who
        self._cuts = sorted({m for rule in who.rules for m in (rule.from_us, rule.until_us) if m is not None})
        self._session = "session" if any(rule.session != "*" for rule in who.rules) else "''"

    def used(self) -> Iterator[Credentials]:
        """Every credential that signed something, refused or not."""
        name = f"CASE WHEN credential = '' THEN substr(principal, {len(_DEPLOY_KEY) + 1}) ELSE credential END"
        some = f"credential <> '' OR starts_with(principal, '{_DEPLOY_KEY}')"
        for row in self._rows(f"{name} AS name, source AS place", some):
            yield Credentials(row["name"], self._touch("used", row))

    def issued(self) -> Iterator[Credentials]:
        """Every credential that was made for somebody: for whom it was made, or else for whom made it."""
        for row in self._rows(
            "resource, detail, source AS place", "action = 'admin' AND outcome = 'ok' AND contains(detail, ' ')"
        ):
            made, _, name = row["detail"].partition(" ")
            if made not in _ISSUES:
                continue
            touch = self._touch("issued", row, fallbacks=(row["resource"], _DEPLOY_KEY + name))
            yield Credentials(name.split(" ")[0], touch)

    def read(self) -> Iterator[Credentials]:
        """Every secret of Vault that was read, or written by somebody who therefore knows it."""
        some = "starts_with(resource, 'vault:') AND action IN ('read', 'write') AND outcome = 'ok'"
        for row in self._rows("resource AS place", some):
            yield Credentials(row["place"], self._touch("read", row))

    def histories(self) -> dict[str, list[Touch]]:
        """Who took a repository's history, by the repository's name in small letters."""
        found: dict[str, list[Touch]] = {}
        some = f"action IN {TAKES_HISTORY} AND outcome = 'ok'"
        for row in self._rows("resource AS place", some):
            found.setdefault(row["place"].lower(), []).append(self._touch("cloned", row))
        return found

    def objects(self, assets: set[str]) -> Iterator[tuple[str, Touch]]:
        """Who read an object of which the mapping says that it is a copy of one of these assets; with the asset."""
        begins = sorted({head(place.resource) for place in self._who.places if place.asset in assets})
        if not begins:
            return
        wanted = " OR ".join(f"starts_with(resource, {_quoted(begin)})" for begin in begins)
        some = f"action IN ('read', 'download') AND outcome = 'ok' AND ({wanted})"
        for row in self._rows("resource AS place", some):
            asset = self._who.asset_of(row["place"])
            if asset in assets:
                yield asset, self._touch("served", row)

    def _rows(self, columns: str, some: str) -> Iterable[Mapping[str, Any]]:
        if not self._depot.imports():
            return []
        cut = " + ".join(f"(at_us >= {moment})::INTEGER" for moment in self._cuts) or "0"
        sql = f"""
            SELECT principal, {self._session} AS session, {cut} AS cut, {columns},
              min(at_us) AS first_us, max(at_us) AS last_us, count(*) AS count
            FROM observation WHERE {some} GROUP BY ALL ORDER BY ALL
            """  # noqa: S608  made of our own words; places of the mapping are quoted
        rows: list[Mapping[str, Any]] = self._depot.ask(sql).to_pylist()
        return rows

    def _touch(self, reason: str, row: Mapping[str, Any], *, fallbacks: Iterable[str] = ()) -> Touch:
        at_us = self._cuts[row["cut"] - 1] if row["cut"] else row["first_us"]
        # For whom a key was made says more than who made it.
        told = next((a for f in fallbacks if (a := self._who.of(f, "", at_us)).known), None)
        who: Attribution = told or self._who.of(row["principal"], row["session"], at_us)
        return Touch(
            reason=reason,
            grade=Grade.OBSERVED,
            where=row["place"],
            first_us=row["first_us"],
            last_us=row["last_us"],
            count=row["count"],
            principal=folded(row["principal"]),
            people=who.people,
            vendors=who.vendors,
            lab=who.lab,
        )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
