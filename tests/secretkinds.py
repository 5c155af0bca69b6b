"""Made-up secrets of the kinds that Kingfisher knows: texts drawn at random from its own rules' patterns."""

from __future__ import annotations

import json
import random  # noqa: TC003  as the others, at run time
import re
import string
import subprocess
import warnings
from pathlib import Path
from re import _constants as const
from re import _parser as parser
from typing import Any

from limen.scan.keyring import Keyring
from limen.scan.secrets import Kingfisher, binary

LETTERS = string.ascii_letters + string.digits
MANY = 100


def compiled_rules() -> Path:
    """Where Kingfisher's compiled rules lie, made once for all test runs: it takes some seconds."""
    place = Path(__file__).resolve().parents[1] / ".make" / "rules"
    with Kingfisher.ready(Keyring.of(b"k" * 32), rules=place) as kingfisher:
        if kingfisher.rules is not None and not kingfisher.rules.exists():
            kingfisher.search([("00" * 20, b"nothing")])
    return place


def rules(home: Any) -> list[dict[str, str]]:
    """Kingfisher's rules, as it lists them."""
    listed = subprocess.run(
        [str(binary()), "rules", "list", "--format", "json"], env={"HOME": str(home)}, capture_output=True, check=True
    )
    return json.loads(listed.stdout)


def sample(pattern: str, draw: random.Random) -> str | None:
    """A text that a pattern matches, or None for one that Python's grammar of patterns does not read."""
    plain = re.sub(r"\(\?i\)", "", pattern).replace(r"\z", r"\Z")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # nested sets, which mean what they say
        try:
            text = "".join(_drawn(parser.parse(plain), draw, {}))
            return text if re.search(plain, text, re.IGNORECASE) else None
        except (re.error, OverflowError, NotImplementedError):
            return None


def _drawn(tree: Any, draw: random.Random, groups: dict[int, str]) -> list[str]:
    return [_one(op, value, draw, groups) for op, value in tree]


def _one(op: Any, value: Any, draw: random.Random, groups: dict[int, str]) -> str:  # noqa: C901  one arm a kind of node
    match op:
        case const.LITERAL:
            return chr(value)
        case const.ANY:
            return draw.choice(LETTERS)
        case const.NOT_LITERAL:
            return draw.choice([c for c in LETTERS if ord(c) != value])
        case const.IN:
            return draw.choice(_members(value))
        case const.BRANCH:
            return "".join(_drawn(draw.choice(value[1]), draw, groups))
        case const.SUBPATTERN:
            number, _, _, inner = value
            groups[number] = "".join(_drawn(inner, draw, groups))
            return groups[number]
        case const.MAX_REPEAT | const.MIN_REPEAT | const.POSSESSIVE_REPEAT:
            least, most, inner = value
            times = draw.randint(least, min(most, max(least, min(least + 4, MANY))))
            return "".join("".join(_drawn(inner, draw, groups)) for _ in range(times))
        case const.GROUPREF:
            return groups.get(value, "")
        case const.ATOMIC_GROUP:
            return "".join(_drawn(value, draw, groups))
        case const.AT | const.ASSERT | const.ASSERT_NOT:
            return ""
    raise NotImplementedError(op)


def _members(value: Any) -> list[str]:
    """The characters of a class, printable ones of ASCII; letters and digits if it has any."""
    held: set[str] = set()
    negated = False
    for op, what in value:
        match op:
            case const.NEGATE:
                negated = True
            case const.LITERAL:
                held.add(chr(what))
            case const.RANGE:
                held |= {chr(c) for c in range(what[0], min(what[1], 126) + 1)}
            case const.CATEGORY:
                held |= {c for c in string.printable if re.match(CATEGORIES[what], c)}
    if negated:
        held = set(LETTERS) - held
    return sorted(held & set(LETTERS)) or sorted(held) or [" "]


CATEGORIES = {
    const.CATEGORY_DIGIT: r"\d",
    const.CATEGORY_NOT_DIGIT: r"\D",
    const.CATEGORY_SPACE: r"[ \t]",
    const.CATEGORY_NOT_SPACE: r"\S",
    const.CATEGORY_WORD: r"\w",
    const.CATEGORY_NOT_WORD: r"\W",
}
