"""The AI training contractor profile: fourteen controls, as limen ships them.

`controls.yaml` says what is asked, why, what limen measures for it, what no program can check, and which controls of other
people's standards it answers, by their ids. `contract.yaml` asks the same as clauses that the gate can judge. Both are
package data; `oscal` forms of the first are made when they are asked for, always the same bytes. Pure but for reading them.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import yaml

from limen.core.errors import Invalid, NotFound
from limen.formats import oscal

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME: Final = "ai-training-contractor"
CATALOG: Final = f"{NAME}.catalog.json"
HEADER: Final = ("contract", "vendor", "starts", "ends", "currency", "monthly_fee")


@cache
def definition() -> dict[str, Any]:
    """The profile as `controls.yaml` defines it. Shared: don't change it."""
    found: dict[str, Any] = yaml.safe_load(_text("controls.yaml"))
    return found


def control(id_: str) -> dict[str, Any]:
    """One control by its id, however it is cased; NotFound if the profile has none."""
    for one in definition()["controls"]:
        if one["id"] == id_.upper():
            found: dict[str, Any] = one
            return found
    raise NotFound(f"control {id_} in the profile {NAME}")


def statement(one: Mapping[str, Any]) -> str:
    """A control's statement with its thresholds in place."""
    values = {param["id"]: param["value"] for param in one.get("params", ())}
    return re.sub(r"\{([a-z-]+)\}", lambda found: values[found[1]], one["statement"].strip())


def contract(settings: Mapping[str, str] | None = None) -> str:
    """`contract.yaml`, with the given lines of its header set: `vendor`, `starts` and the others of HEADER.

    Only the lines change, comments stay. What is set is checked where a contract is read (`limen contract check`).
    """
    text = _text("contract.yaml")
    for name, value in (settings or {}).items():
        if name not in HEADER or not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", value):
            raise Invalid(name, f"can't be set to {value!a} in a contract's first lines")
        written = f'"{value}"' if name == "monthly_fee" else value
        text, changed = re.subn(rf"^{name}: .*$", f"{name}: {written}", text, count=1, flags=re.MULTILINE)
        if not changed:
            raise RuntimeError(f"contract.yaml has no line {name}")
    return text


def oscal_catalog() -> dict[str, Any]:
    """The controls as an OSCAL catalog."""
    return oscal.catalog(definition())


def oscal_profile() -> dict[str, Any]:
    """The OSCAL profile over that catalog, which stands beside it under the name CATALOG."""
    return oscal.profile(definition(), catalog_href=CATALOG)


def _text(name: str) -> str:
    return (resources.files(__name__) / name).read_text("utf-8")
