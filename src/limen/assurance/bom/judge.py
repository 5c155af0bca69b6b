"""Judges a BOM before it is filed: refused, kept in quarantine with the reason, or counted. Pure but for the schemas' files.

What is no CycloneDX JSON document at all, or beyond a limit, is refused (Invalid) and not kept. A CycloneDX document that
breaks the rules of its version is kept, since the vendor did send it, and nothing of it counts.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limen.assurance.bom import schemas
from limen.assurance.bom.quiet import collector_still
from limen.core.errors import Invalid
from limen.formats import cyclonedx

if TYPE_CHECKING:
    from limen.formats.cyclonedx import Document


@dataclass(frozen=True, slots=True)
class Judged:
    """A BOM's content, or the reason for its quarantine (`document` is None). `unnamed`: components no advisory can name."""

    document: Document | None
    reason: str = ""
    unnamed: int = 0
    gaps: tuple[str, ...] = ()

    def fields(self) -> dict[str, Any]:
        """What the entry of a BOM says of its content; whoever reads the log relies on it, the fold among them."""
        found = self.document
        if found is None:
            return {"quarantined": _logged(self.reason)}
        return {
            "spec": found.spec,
            "serial": found.serial,
            "version": found.version,
            "timestamp_us": found.timestamp_us,
            "components": len(found.parts),
            "unnamed": self.unnamed,
            "services": len(found.services),
            "complete": not found.incomplete,
            "why": _logged("; ".join(found.incomplete[:5])),
            "gaps": [_logged(gap) for gap in self.gaps[:20]],
            "quarantined": "",
        }


def judge(raw: bytes) -> Judged:
    """Judge a BOM's bytes; Invalid for what is no CycloneDX JSON document, or is beyond a limit."""
    with collector_still():
        return _judged(cyclonedx.parse(raw))


def _judged(parsed: dict[str, Any]) -> Judged:
    reason = schemas.fault(parsed)
    if reason:
        return Judged(None, reason)
    try:
        document = cyclonedx.read(parsed)
    except Invalid as e:
        if e.field == "components":
            raise
        return Judged(None, str(e))
    unnamed, sentences = cyclonedx.unnamed(document.parts)
    return Judged(document, unnamed=unnamed, gaps=(*document.gaps, *sentences))


def _logged(text: str) -> str:
    """A sentence as an entry can hold it."""
    return unicodedata.normalize("NFC", text)[:600]
