"""What VEX documents say, whichever format they are in: statements that somebody makes about their own products.

A statement has the ids of one vulnerability, one of four statuses, and what it is about. It is *declared*, whoever made it: it
is shown beside what was found, and clears nothing that is malicious. A poisoned package is not a weakness that a product may
happen not to use; whoever ran it was hit, and is not the one to rule on it.

OpenVEX is read by `openvex`, CycloneDX by `cyclonedxvex`; `read` tells them apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from limen.core.errors import Invalid
from limen.formats import jsonobject
from limen.formats.purl import Package, package_of

NOT_AFFECTED: Final = "not_affected"
AFFECTED: Final = "affected"
FIXED: Final = "fixed"
UNDER_INVESTIGATION: Final = "under_investigation"
STATUSES: Final = (NOT_AFFECTED, AFFECTED, FIXED, UNDER_INVESTIGATION)
MAX_DOCUMENT: Final = 16 << 20
MAX_STATEMENTS: Final = 100_000
_MAX_TEXT: Final = 4096
_MAX_WHY: Final = 300


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: a vulnerability's ids, a status, and the products it is about as the document names them.

    `why` is its justification, or the beginning of what it says in words. `at_us`: when that was known to be true.
    """

    names: tuple[str, ...]
    status: str
    products: tuple[str, ...]
    why: str = ""
    at_us: int | None = None

    def about(self, named: Package, version: str) -> bool | None:
        """Whether it is about this version of a package; None if it names nothing that could be compared with it."""
        found = [package_of(product) for product in self.products]
        if any(each and each[0] == named and each[1] in {"", version} for each in found):
            return True
        return None if None in found else False

    def clears(self, *, malicious: bool) -> bool:
        """Whether it says that nothing need be done, about something on which its maker's word may count."""
        return not malicious and self.status in {NOT_AFFECTED, FIXED}

    def to_json(self) -> dict[str, Any]:
        """For a derived table; `from_json` reads it back."""
        return {
            "names": list(self.names),
            "status": self.status,
            "products": list(self.products),
            "why": self.why,
            "at": self.at_us,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Statement:
        """What `to_json` wrote."""
        return cls(tuple(value["names"]), value["status"], tuple(value["products"]), value["why"], value["at"])


@dataclass(frozen=True, slots=True)
class Document:
    """One VEX document: its format, the name it gives itself, when it was issued, and its statements."""

    form: str
    name: str
    issued_us: int | None
    statements: tuple[Statement, ...]


def read(raw: bytes) -> Document:
    """Read an OpenVEX or CycloneDX document; Invalid says what is wrong with it."""
    from limen.formats import cyclonedxvex, openvex  # noqa: PLC0415  they read into the values above

    document = jsonobject.read(raw, "document", limit=MAX_DOCUMENT)
    if str(document.get("@context", "")).startswith(openvex.CONTEXT):
        return openvex.read(document)
    if document.get("bomFormat") == "CycloneDX":
        return cyclonedxvex.read(document)
    raise Invalid("document", f"is neither OpenVEX (@context {openvex.CONTEXT}…) nor CycloneDX (bomFormat)")


def text(value: object, where: str) -> str:
    """Text of a document, not empty, of bounded length and valid Unicode."""
    if not isinstance(value, str) or not value or len(value) > _MAX_TEXT:
        raise Invalid(where, f"is not text of 1 to {_MAX_TEXT} characters")
    try:
        value.encode()
    except UnicodeEncodeError as e:
        raise Invalid(where, "is not valid Unicode") from e
    return value


def some_text(value: object) -> str:
    """The beginning of text in somebody's own words, on one line; empty for what is none."""
    if not isinstance(value, str):
        return ""
    shown = value[:_MAX_WHY].encode(errors="replace").decode()
    return "".join(c if c.isprintable() else " " for c in shown)


def items(value: object, where: str) -> list[dict[str, Any]]:
    """A list of objects; empty if it is missing."""
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise Invalid(where, "is not a list of objects")
    if len(value) > MAX_STATEMENTS:
        raise Invalid(where, f"has {len(value)} entries, more than {MAX_STATEMENTS}")
    return value
