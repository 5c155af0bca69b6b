"""Who is given what. One table, in words that ride in every bundle.

All of them get the facts, the contract, the verdict and the proofs: without these nothing could be recomputed. They differ in
the documents of others, in whose entries they see with their bytes, and in whether detail may be opened for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_PAPERS: Final = "papers (SOC 2 reports, tests, policies) by digest alone: ask whoever gave them"


@dataclass(frozen=True, slots=True)
class Scope:
    """One recipient's. `documents` are whole (`what` of a document); all others are named by their digests.

    `entries`: of which entries the bytes are given: `all` that are named and are about this vendor, or only those that
    `documents` rest on. `openings`: whether a person's detail may be opened for them. `own`: they wrote the vendor's documents,
    so persons in those are no reason to keep them back.
    """

    documents: frozenset[str]
    entries: str
    openings: bool
    own: bool
    words: Mapping[str, str]


SCOPES: Final[Mapping[str, Scope]] = MappingProxyType(
    {
        "auditor": Scope(
            frozenset({"contract", "run", "bom", "vex", "advisory"}),
            "all",
            openings=True,
            own=False,
            words={
                "documents": "contract, gate runs, bills of material, VEX, advisories; where one names people, a reading without",
                "entries": "the bytes of every entry named that is about this vendor",
                "detail of people": "only what was opened by two people and is in openings/",
                "papers": _PAPERS,
            },
        ),
        "vendor": Scope(
            frozenset({"contract", "run", "bom", "vex", "advisory"}),
            "all",
            openings=False,
            own=True,
            words={
                "documents": "contract, gate runs, their own bills of material and VEX as they gave them, advisories",
                "entries": "the bytes of every entry named that is about this vendor",
                "detail of people": "none: the vendor holds the names of its people, and the lab opens none to it",
                "papers": _PAPERS,
            },
        ),
        "insurer": Scope(
            frozenset({"contract", "run"}),
            "documents",
            openings=False,
            own=False,
            words={
                "documents": "contract and gate runs; bills of material and advisories by digest alone",
                "entries": "hashes and proofs; bytes only of entries that a document or the bundle itself rests on",
                "detail of people": "none",
                "papers": _PAPERS,
            },
        ),
        "regulator": Scope(
            frozenset({"contract", "run", "bom", "vex", "advisory", "action"}),
            "all",
            openings=True,
            own=False,
            words={
                "documents": "as for an auditor, and what followed from advisories (actions)",
                "entries": "the bytes of every entry named that is about this vendor, and of orders that cut or restricted it",
                "detail of people": "only what was opened by two people and is in openings/",
                "papers": _PAPERS,
            },
        ),
    }
)
