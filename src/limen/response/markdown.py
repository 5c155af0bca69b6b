"""Reports as Markdown pages: an asset's, a vendor's, and the index of a review. Values in, text out; nothing is decided here.

Names in other systems' logs are whatever somebody chose, so each cell is escaped: none can forge a row, a link or a page.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

SECTIONS: Final = (
    ("handled", "Who handles the data"),
    ("stored", "Where it is stored"),
    ("controlled", "How access is controlled"),
)
LEGEND: Final = (
    "`served`: records handed over by limen (measured). `observed`: objects handed over, by other systems' logs. A principal that"
    " is unknown may be any vendor's."
)
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>()#+!|~$&])")
_UNPRINTABLE: Final = re.compile(r"[\x00-\x1f\x7f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def asset_page(page: dict[str, Any]) -> str:
    """An asset's page."""
    about = f"Project {page['project']} · class {page['class']} · tier {page['tier']} · {page['kind']}"
    parts = [f"# {text(page['asset'])}", text(about)]
    if page["description"]:
        parts.append(text(page["description"]))
    for name, title in SECTIONS:
        rows = [{"what": row["what"], "who or where": _whom(row), "": _told(row), "grade": row["grade"]} for row in page[name]]
        parts += [f"## {title}", table(rows, ["what", "who or where", "", "grade"]) if rows else "Nothing is known."]
    return _ended(parts, page["unknown"], page["ledger"])


def vendor_page(vendor: dict[str, Any]) -> str:
    """A vendor's page of a review."""
    parts = [f"# {text(vendor['vendor'])}", text(_standing(vendor)), "## Served by limen (measured)"]
    measured = [{**row, "never served": row["never_served"], "served": row["served_ever"]} for row in vendor["measured"]]
    parts.append(table(measured, ["asset", "granted", "served", "never served", "people", "bytes"]) if measured else "Nothing.")
    parts.append("## Seen in other systems' logs (observed)")
    seen = [{**_seen(row), "who": _who(row)} for row in vendor["observed"]["rows"]]
    parts.append(
        table(seen, ["asset or place", "who", "objects", "reads", "bytes", "denied", "last", "grade"]) if seen else "Nothing."
    )
    strange = [
        {**_seen(row), "principal": row["principal"], "session": row["session"]}
        for row in vendor["observed"]["unknown_principals"]
    ]
    if strange:
        parts += [
            "## Unknown principals: each may be anybody",
            table(strange, ["principal", "session", "asset or place", "objects", "reads", "bytes", "denied", "last"]),
        ]
    parts.append("## Granted against used")
    access = [
        {
            "principal": row["principal"],
            "shared with": ", ".join(row["shared_with"]),
            "granted": len(row["granted"]),
            "used": row["check"]["uses"],
            "proposal": _proposal(row),
            "lost": len(row["check"]["lost"]),
            "covered": "partly" if row["coverage"]["partial"] else "wholly",
            "grade": row["grade"],
        }
        for row in vendor["access"]["principals"]
    ]
    parts.append(
        table(access, ["principal", "shared with", "granted", "used", "proposal", "lost", "covered", "grade"])
        if access
        else "Nothing."
    )
    return _ended(parts, vendor["unknown"], vendor["access"]["ledger"])


def index_page(review: dict[str, Any]) -> str:
    """The first page of a review."""
    parts = ["# Review of all vendors", "## Vendors"]
    rows = []
    for vendor in review["vendors"]:
        name = text(vendor["vendor"])
        figures = {key: vendor["sums"][key] for key in ("people", "served", "observed", "unknown principals", "unused grants")}
        rows.append({"vendor": f"[{name}](vendor-{vendor['vendor']}.md)", **figures, "cannot say": len(vendor["unknown"])})
    columns = ["vendor", "people", "served", "observed", "unknown principals", "unused grants", "cannot say"]
    parts.append(table(rows, columns, linked="vendor") if rows else "There are none.")
    parts.append(LEGEND)
    assets = [{"asset": f"[{text(page['asset'])}](asset-{page['asset']}.md)", **_sums(page)} for page in review["assets"]]
    parts += [
        "## Assets",
        table(assets, ["asset", "tier", "may", "served", "seen elsewhere", "places", "cannot say"], linked="asset")
        if assets
        else "There are none.",
    ]
    return _ended(parts, review["unknown"], review["ledger"])


def table(rows: Iterable[dict[str, Any]], columns: list[str], *, linked: str = "") -> str:
    """A table. The column `linked` holds Markdown of our own; every other cell is escaped."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        cells = (str(row[c]) if c == linked else text(row.get(c)) for c in columns)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def text(value: object) -> str:
    """Somebody's text as plain text in Markdown, on one line."""
    if value is None:
        return ""
    return _SPECIAL.sub(r"\\\1", _UNPRINTABLE.sub("\ufffd", str(value)))


def moment(at_us: int | None) -> str:
    """A time as people read it."""
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%SZ") if at_us else ""


def _ended(parts: list[str], unknown: list[str], ledger: dict[str, Any]) -> str:
    parts += ["## What is not known", "\n".join(f"- {text(line)}" for line in unknown) or "Nothing in the range that was read."]
    parts.append(f"Ledger {text(ledger['origin'])}, entries 0 to {ledger['to'] - 1}, root `{ledger['root']}`.")
    return "\n\n".join(parts) + "\n"


def _whom(row: dict[str, Any]) -> str:
    return " · ".join(str(row[key]) for key in ("who", "where") if row.get(key))


def _told(row: dict[str, Any]) -> str:
    """The rest of a row: its figures by their names."""
    rest = {
        key: value for key, value in row.items() if key not in {"what", "who", "where", "grade"} and value not in (None, [], "")
    }
    return ", ".join(f"{_noun(key)} {_value(key, value)}" for key, value in rest.items())


def _noun(key: str) -> str:
    return key.removesuffix("_us").removesuffix("_at").removesuffix("_s").replace("_", " ")


def _value(key: str, value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        if key.endswith("_us"):
            return moment(value)
        if key in {"until", "registered_at"}:
            return moment(value * 1_000_000)[:10]
        return f"{value} s" if key.endswith("_s") else f"{value:,}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _seen(row: dict[str, Any]) -> dict[str, Any]:
    untold = f" and {row['bytes_untold']} reads of unknown size" if row["bytes_untold"] else ""
    told = {"asset or place": row["asset"] or row["place"], "bytes": f"{row['bytes']:,}{untold}", "last": moment(row["last_us"])}
    return {**row, **told}


def _who(row: dict[str, Any]) -> str:
    names = ", ".join(row["people"] or row["vendors"])
    return {"one-of": f"one of {names}", "vendor": f"somebody at {names}"}.get(row["who"], names)


def _proposal(row: dict[str, Any]) -> str:
    proposal = row["proposal"]
    if proposal is None:
        return "cannot say"
    if "grants" in proposal:
        return f"{len(proposal['grants'])} grants for {len(proposal['end'])}"
    if "repositories" in proposal:
        return ", ".join(f"{each['repository']}: {each['role'] or 'none'}" for each in proposal["repositories"])
    return f"{len(proposal['document']['Statement'])} statements"


def _sums(page: dict[str, Any]) -> dict[str, Any]:
    def count(what: str) -> int:
        return sum(1 for row in page["handled"] if row["what"] == what)

    seen = sum(1 for row in page["handled"] if row["grade"] == "observed")
    places = sum(1 for row in page["stored"] if row.get("where", "").partition("/")[0] != "vendor")
    told = {"tier": page["tier"], "may": count("may"), "served": count("served by limen")}
    return {**told, "seen elsewhere": seen, "places": places, "cannot say": len(page["unknown"])}


def _standing(vendor: dict[str, Any]) -> str:
    until = moment(vendor["agreement"] * 1_000_000)[:10] if vendor["agreement"] else "none in force"
    return f"{vendor['sums']['people']} people · agreement until {until}"
