"""Questions to a language model and its answers, as JSON Lines: limen/model-questions/v1 and limen/model-answers/v1. Pure.

docs/formats/model-answers.md has the fields. A question has a name and a text; its answer is a loss in nats with the number
of tokens, or candidates for the next word. The head line says whose answers they are. Nothing tells which questions belong
together: whoever answers need not be trusted, only to answer for the model that the head names.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from limen.core.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

QUESTIONS: Final = "limen/model-questions/v1"
ANSWERS: Final = "limen/model-answers/v1"
MOST_CANDIDATES: Final = 100
_DIGEST: Final = re.compile("sha256:[0-9a-f]{64}")
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class Loss:
    """Nats over a text's tokens but the first, and how many those were."""

    nats: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Answers:
    """One model's answers by question: losses, or candidates. `model`: its digest, or `URL#name` of an endpoint's."""

    model: str
    losses: Mapping[str, Loss] = field(default_factory=dict)
    candidates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256, hex, of the answers alone, in one form whoever wrote them: what is logged before anything is scored."""
        return hashlib.sha256(b"".join(_rows(self))).hexdigest()


def check_digest(text: str, field_: str) -> str:
    """A model's digest as it is written; Invalid for anything else."""
    if not _DIGEST.fullmatch(text):
        raise Invalid(field_, f"{text[:_SHOWN]!a} is not sha256: and 64 hex digits")
    return text


def write_questions(test: int, questions: Mapping[str, str]) -> bytes:
    """A file of questions, in the order given."""
    head = _line({"schema": QUESTIONS, "test": test, "questions": len(questions)})
    return head + b"".join(_line({"question": name, "text": text}) for name, text in questions.items())


def read_questions(raw: bytes) -> tuple[dict[str, Any], dict[str, str]]:
    """Its head, and the questions by name. Invalid for anything else, and for a file that was cut short."""
    head, rows = _read(raw, QUESTIONS)
    found = {}
    for number, row in rows:
        if not isinstance(row.get("question"), str) or not isinstance(row.get("text"), str):
            raise Invalid(f"line {number}", "has no question and text")
        found[row["question"]] = row["text"]
    if not isinstance(head.get("test"), int) or head.get("questions") != len(found):
        raise Invalid("questions", f"{len(found)} were found, {head.get('questions')} were written: the file is not whole")
    return head, found


def write_answers(answers: Answers, *, test: int) -> bytes:
    """A file of answers, sorted by question."""
    return b"".join([_line({"schema": ANSWERS, "test": test, "model": answers.model, **answers.about}), *_rows(answers)])


def read_answers(raw: bytes) -> tuple[dict[str, Any], Answers]:
    """Its head, and the answers. Invalid names the line: a loss that is not finite, a question that is answered twice.

    A question without an answer is no mistake: it is an erasure, and whoever scores says how many there were.
    """
    head, rows = _read(raw, ANSWERS)
    if not isinstance(head.get("model"), str) or not isinstance(head.get("test"), int):
        raise Invalid("line 1", "has no model and test")
    losses: dict[str, Loss] = {}
    candidates: dict[str, tuple[str, ...]] = {}
    for number, row in rows:
        name = row.get("question")
        if not isinstance(name, str) or name in losses or name in candidates:
            raise Invalid(f"line {number}", "names no question, or one that was answered before")
        if "candidates" in row:
            candidates[name] = _candidates(row["candidates"], number)
        else:
            losses[name] = _loss(row, number)
    about = {name: value for name, value in head.items() if name not in {"schema", "test", "model"}}
    return head, Answers(head["model"], losses, candidates, about)


def _loss(row: Mapping[str, Any], number: int) -> Loss:
    loss, tokens = row.get("loss"), row.get("tokens")
    if isinstance(loss, bool) or not isinstance(loss, int | float) or not math.isfinite(loss):
        raise Invalid(f"line {number}", "its loss is no finite number; leave a question out that has none")
    if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 1:
        raise Invalid(f"line {number}", "its tokens are no whole number of 1 or more")
    return Loss(float(loss), tokens)


def _candidates(value: Any, number: int) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MOST_CANDIDATES or not all(isinstance(text, str) for text in value):
        raise Invalid(f"line {number}", f"its candidates are no list of at most {MOST_CANDIDATES} texts")
    return tuple(value)


def _rows(answers: Answers) -> list[bytes]:
    said: dict[str, dict[str, Any]] = {
        **{name: {"loss": loss.nats, "tokens": loss.tokens} for name, loss in answers.losses.items()},
        **{name: {"candidates": list(some)} for name, some in answers.candidates.items()},
    }
    return [_line({"question": name, **said[name]}) for name in sorted(said)]


def _line(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + b"\n"


def _read(raw: bytes, schema: str) -> tuple[dict[str, Any], Iterable[tuple[int, dict[str, Any]]]]:
    lines = [(number, line) for number, line in enumerate(raw.split(b"\n"), 1) if line.strip()]
    if not lines:
        raise Invalid("line 1", f"is missing: {schema} begins with a line that says so")
    head = _object(*lines[0])
    if head.get("schema") != schema:
        raise Invalid("line 1", f"its schema is not {schema}")
    return head, [(number, _object(number, line)) for number, line in lines[1:]]


def _object(number: int, line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as e:
        raise Invalid(f"line {number}", "is not JSON") from e
    if not isinstance(value, dict):
        raise Invalid(f"line {number}", "is not a JSON object")
    return value
