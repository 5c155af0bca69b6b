"""Of which entries the bytes may be shown: those about this vendor that name nobody. Pure.

An entry that is not shown is still proved, by its leaf hash. Entries hold pseudonyms and commitments by design; that none of
those shown holds a name is checked all the same.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from limen.assurance.evidence.persons import Persons

_VENDORS = re.compile(rb'"vendor":"([^"]*)"|"vendors":\[([^\]]*)\]|"vendor/([^"]*)"')


@dataclass(frozen=True, slots=True)
class Shown:
    """The rule for one bundle. `only`: no others than these, if given."""

    vendor: str
    vendors: frozenset[str]
    persons: Persons
    only: set[int] | None = None

    def hidden(self, entries: Mapping[int, bytes]) -> set[int]:
        """Those whose bytes are not shown."""
        hidden = {index for index in entries if self.only is not None and index not in self.only}
        hidden |= {index for index, raw in entries.items() if self._names_another(raw)}
        left = {index: raw.decode() for index, raw in entries.items() if index not in hidden}
        # Almost always nobody is named: one look at all of them together finds that out.
        if self.persons.named_in("\n".join(left.values())):
            hidden |= {index for index, text in left.items() if self.persons.named_in(text)}
        return hidden

    def _names_another(self, raw: bytes) -> bool:
        if raw.count(b"vendor") == raw.count(b'"vendor":"%s"' % self.vendor.encode()):
            return False  # nearly always: it speaks of vendors where it names this one, and nowhere else
        for one, several, subject in _VENDORS.findall(raw):
            names = {one, subject, *(name.strip(b'"') for name in several.split(b","))} - {b""}
            if any(name.decode() in self.vendors and name.decode() != self.vendor for name in names):
                return True
        return False
