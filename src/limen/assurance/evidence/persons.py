"""What names people, so that none of it leaves with evidence: names and addresses that limen knows, and what looks like one.

Three nets, one behind the other. Fields that hold persons by their meaning (`authors`, `contact`, `credits`, …) are left out of
other people's documents. Mail addresses are found by their form, wherever they stand. Names that the lab was given are found
word by word, in any capitals. Pure; the names themselves are read by `known_names`, which opens side records for this alone.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import Invalid, NotFound, TamperDetected
from limen.ledger.scribe import open_side, side_ref

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from limen.custody import Custody

STANDS_FOR: Final = "[a person]"
FIELDS: Final = frozenset(
    {
        "author", "authors", "contact", "contacts", "credits", "committer", "email", "phone", "individual", "individuals",
        "assignee", "submitter", "signatory", "manufacturer-contact",
    }
)  # fmt: skip
NEAR: Final = 64  # entries that are read on the way to the next person's
# Fields of limen's own documents that hold one word of a closed table: somebody may be called as a measure is.
CLOSED: Final = frozenset(
    {
        "measure", "grade", "kind", "shape", "unit", "worse", "statistic", "comparator", "verdict", "breach",
        "control", "mode", "vendor", "currency",
    }
)  # fmt: skip
SHORTEST: Final = 3  # a name of fewer letters is found in everything
_MAIL: Final = re.compile(r"[A-Za-z0-9._%+-]+@([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,})")
# Words are runs of ASCII letters and digits and of whatever is beyond ASCII; the rest of ASCII parts them.
_PARTS: Final = bytes(n if n > 127 or chr(n).isalnum() else 32 for n in range(256))  # noqa: PLR2004  ASCII's last
_TIME: Final = re.compile(r"[0-9T:.Z+-]*")


@dataclass(frozen=True, slots=True)
class Persons:
    """The names to look for, as rows of words in small letters, in UTF-8."""

    names: frozenset[tuple[bytes, ...]] = frozenset()
    _first: Mapping[bytes, list[tuple[bytes, ...]]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        first: dict[bytes, list[tuple[bytes, ...]]] = {}
        for words in sorted(self.names):
            first.setdefault(words[0], []).append(words)
        object.__setattr__(self, "_first", first)  # frozen: set once, here

    @classmethod
    def of(cls, names: Iterable[str]) -> Persons:
        """Of names as people write them. One without enough letters is not looked for."""
        rows = (tuple(_words(name)) for name in names)
        return cls(frozenset(words for words in rows if sum(map(len, words)) >= SHORTEST))

    def named_in(self, text: str) -> str:
        """The first mail address or known name in a text, or nothing."""
        if "@" in text:
            for found in _MAIL.finditer(text):
                if not _is_version(found[1]):
                    return found[0]
        if not self._first:
            return ""
        words = _words(text)
        if self._first.keys().isdisjoint(words):
            return ""
        for at, word in enumerate(words):
            for name in self._first.get(word, ()):
                if tuple(words[at : at + len(name)]) == name:
                    return b" ".join(name).decode()
        return ""

    def scrubbed(self, value: Any) -> Any:
        """The same JSON value without persons: fields that hold them left out, texts that name one replaced."""
        if isinstance(value, dict):
            return {key: self.scrubbed(each) for key, each in value.items() if key.lower() not in FIELDS}
        if isinstance(value, list):
            return [self.scrubbed(each) for each in value]
        if isinstance(value, str) and self.named_in(value):
            return STANDS_FOR
        return value

    def stands_in(self, value: Any) -> bool:
        """Whether a JSON value names a person, by a field or in a text."""
        if isinstance(value, dict):
            return any((key.lower() in FIELDS and each) or self.stands_in(each) for key, each in value.items())
        if isinstance(value, list):
            return any(self.stands_in(each) for each in value)
        return isinstance(value, str) and bool(self.named_in(value))

    def texts_replaced(self, value: Any) -> Any:
        """The same JSON value with the texts replaced that name somebody, and no field left out: of limen's own documents."""
        naming = {text for text in _texts(value) if not _TIME.fullmatch(text) and self.named_in(text)}

        def walked(each: Any) -> Any:
            if isinstance(each, dict):
                return {key: inner if key in CLOSED else walked(inner) for key, inner in each.items()}
            if isinstance(each, list):
                return [walked(inner) for inner in each]
            return STANDS_FOR if isinstance(each, str) and each in naming else each

        return walked(value) if naming else value


def _texts(value: Any) -> set[str]:
    """The different texts in a JSON value: 100,000 facts hold few that are no times."""
    found: set[str] = set()
    left = [value]
    while left:
        each = left.pop()
        kind = type(each)
        if kind is dict:
            left += [inner for key, inner in each.items() if key not in CLOSED]
        elif kind is list:
            left += each
        elif kind is str:
            found.add(each)
    return found


def _words(text: str) -> list[bytes]:
    return text.lower().encode(errors="replace").translate(_PARTS).split()


def _is_version(domain: str) -> bool:
    """`litellm@1.82.8.dev` names a package: an address may begin with digits, but not with two labels of them."""
    labels = domain.split(".")
    return len(labels) > 2 and labels[0].isdigit() and labels[1][:1].isdigit()  # noqa: PLR2004


def known_names(custody: Custody) -> list[str]:
    """The names and addresses of everybody in the catalog, from the side records of the entries that added them.

    They are read to be looked for and go nowhere else. Who was erased has none any more. Reads the disk.
    """
    catalog = custody.catalog
    found = [vendor.contact for vendor in catalog.snapshot.state.vendors.values() if vendor.contact]
    added = sorted(catalog.entry_of(holder.id) for holder in catalog.snapshot.holders() if holder.erased_at is None)
    for start, end in _stretches(added):
        wanted = set(added[bisect_left(added, start) : bisect_left(added, end)])
        entries = {index: raw for index, raw in custody.ledger.entries(start, end) if index in wanted}
        for index, name, sealed in custody.ledger.sides(start, end):
            if name == "change" and index in wanted:
                found += _added(custody, entries[index], sealed)
    return found


def _stretches(indices: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The ranges that hold these indices, near ones together: people come by imports, one after the other."""
    start = last = -1
    for index in indices:
        if start >= 0 and index - last > NEAR:
            yield start, last + 1
            start = -1
        start, last = (index if start < 0 else start), index
    if start >= 0:
        yield start, last + 1


def _added(custody: Custody, entry: bytes, sealed: bytes) -> list[str]:
    try:
        value = open_side("change", sealed, entry, custody.catalog.key_under(side_ref(sealed))).value
    except (NotFound, Invalid, TamperDetected):
        return []  # erased meanwhile, or damaged: there is no name left to look for
    return [str(value[name]) for name in ("name", "email") if value.get(name)]
