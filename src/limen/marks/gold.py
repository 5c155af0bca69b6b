"""Gold items: canaries whose answer the lab knows. The answer is never served; it is committed to before the first serve.

A canary's line holds the record as it will be served and, in one named field, what the lab expects. `split` parts the two.
Whoever works on the record sees one like all others; when it comes back, its answer is right or wrong. Answers rest beside
the prepared version, each with a salt of its own, under a Merkle root (RFC 6962) that the ledger holds: one person's items
can be opened to that person, and nobody can have changed the answer after the work was done. Pure.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

import msgspec

from limen.core.errors import Invalid
from limen.formats.merkle import leaf_hash, root_of
from limen.marks.normalise import MIN_TEXT, digest, normalise
from limen.marks.records import leaves, parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

Answer = str | int | float | bool

FORMAT: Final = "limen/gold/v1"
GOLD: Final = "gold.json"  # beside the prepared version's tables
SALT_BYTES: Final = 16
LEAST_NAME: Final = 6  # letters and digits of an id that is looked for wherever it stands
_STYLES: Final = (
    {"separators": (", ", ": "), "ensure_ascii": False},
    {"separators": (",", ":"), "ensure_ascii": False},
    {"separators": (", ", ": "), "ensure_ascii": True},
    {"separators": (",", ":"), "ensure_ascii": True},
)


class Item(msgspec.Struct, frozen=True):
    """One canary's answer as JSON text, the digest of the record as it is served, and the salt that hides both."""

    number: int
    record: str
    answer: str
    salt: str

    def expected(self) -> Answer:
        """The answer as a value."""
        value: Answer = json.loads(self.answer)
        return value

    def leaf(self) -> bytes:
        """What the root commits to: salt, number, digest, answer, each on a line."""
        return "\n".join((self.salt, str(self.number), self.record, self.answer)).encode()


class Gold(msgspec.Struct, frozen=True):
    """A prepared version's answers, by canary number. `field` is where the lab wrote them."""

    field: str
    items: tuple[Item, ...]
    format: str = FORMAT

    def root(self) -> str:
        """The Merkle root over the items, hex: what the ledger holds before the first serve."""
        return root_of([leaf_hash(item.leaf()) for item in self.items]).hex()

    def encode(self) -> bytes:
        """As it rests beside the prepared version."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, raw: bytes) -> Gold:
        """What `encode` wrote; Invalid for anything else."""
        try:
            gold = msgspec.json.decode(raw, type=cls)
        except msgspec.MsgspecError as e:
            raise Invalid("gold", f"can't be read: {e}") from e
        if gold.format != FORMAT:
            raise Invalid("gold", f"is {gold.format}, not {FORMAT}")
        return gold


@dataclass(frozen=True, slots=True)
class Canaries:
    """Records made for single recipients: the first `each` for the first who was granted the asset, and so on.

    `gold` has their answers, if the lab gave any.
    """

    lines: tuple[bytes, ...] = ()
    each: int = 1
    gold: Gold | None = None

    def check(self) -> None:
        """Invalid for a line that is not one of JSON, or lines that don't go into whole shares."""
        if self.each < 1:
            raise Invalid("canaries", "each recipient gets at least one, or leave them out")
        if len(self.lines) % self.each:
            raise Invalid("canaries", f"{len(self.lines)} can't be dealt in shares of {self.each}")
        for number, line in enumerate(self.lines):
            if b"\n" in line or b"\r" in line or not parse_json(line)[0]:
                raise Invalid(f"canaries[{number}]", "is not one line of JSON")

    def check_told_apart(self, own: Collection[int], named: Collection[bytes], scope: bytes) -> None:
        """Invalid for a gold item that could not be told from other records when it comes back.

        `own`: canaries that have a field by which they alone are known; `named`: digests of the records' ids.
        """
        if self.gold is None:
            return
        ids = [name_of(line) for line in self.lines]
        times = Counter(ids)
        for number, name in enumerate(ids):
            if name is not None and digest(scope + b"\0" + name.encode()) in named:
                raise Invalid(f"canaries[{number}]", f"has the id of one of the records ({name})")
            if name is not None and times[name] > 1:
                raise Invalid(f"canaries[{number}]", f"has the same id as another one ({name})")
            telling = name is not None and len(normalise(name).replace(" ", "")) >= LEAST_NAME
            if not telling and number not in own:
                raise Invalid(
                    f"canaries[{number}]",
                    f"could not be told from other records when it comes back: give it an id of {LEAST_NAME} letters and digits"
                    f" or more, or a text of {MIN_TEXT} or more that nothing else here has",
                )


def split(lines: Sequence[bytes], field: str, *, random: Callable[[int], bytes]) -> tuple[tuple[bytes, ...], Gold]:
    """Part canaries into what is served and what is expected. Invalid names the line that has no usable answer.

    What is left of a line is written as the line was, so that nothing shows that a field is gone.
    """
    served: list[bytes] = []
    items: list[Item] = []
    for number, line in enumerate(lines):
        where = f"canaries[{number}]"
        good, value = parse_json(line)
        if not good or not isinstance(value, dict):
            raise Invalid(where, "a gold item is one JSON object on a line")
        if not isinstance(value.get(field), Answer) or value[field] == "":
            raise Invalid(where, f"has no answer in {field!r}: a text, a number, or true or false")
        rest = {name: item for name, item in value.items() if name != field}
        if not leaves(rest):
            raise Invalid(where, f"has nothing but its answer in {field!r}")
        record = json.dumps(rest, **_style(line, value)).encode()
        served.append(record)
        items.append(Item(number, digest(record).hex(), json.dumps(value[field]), random(SALT_BYTES).hex()))
    return tuple(served), Gold(field, tuple(items))


def name_of(line: bytes) -> str | None:
    """A record's `id`, as registries know it; None if it has none."""
    good, value = parse_json(line)
    name = value.get("id") if good and isinstance(value, dict) else None
    return str(name) if isinstance(name, str | int) and not isinstance(name, bool) else None


def same(expected: Answer, returned: object) -> bool:
    """Whether a returned answer is the expected one, however it was written down again.

    Numbers by value; texts in Unicode NFKC, case and spaces aside; truth values as `true` and `false`, or 1 and 0.
    """
    if isinstance(returned, bool | int | float | str):
        a, b = _plain(expected), _plain(returned)
        if a == b:
            return True
        if isinstance(expected, bool):
            return b == ("1" if expected else "0")
        x, y = _number(a), _number(b)
        return x is not None and x == y
    return isinstance(returned, list) and len(returned) == 1 and same(expected, returned[0])


def _plain(value: Answer) -> str:
    text = json.dumps(value) if isinstance(value, bool) else str(value)
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).split())


def _number(text: str) -> Decimal | None:
    try:
        found = Decimal(text)
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def _style(line: bytes, value: object) -> dict[str, Any]:
    """How this line was written, if it is one of the usual ways; the first of them otherwise."""
    text = line.decode().strip()
    return next((style for style in _STYLES if json.dumps(value, **style) == text), _STYLES[0])  # type: ignore[arg-type]
