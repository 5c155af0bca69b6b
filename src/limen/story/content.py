"""The story's material, all made here: nothing is downloaded, and the same interpreter gives the same bytes.

`orchid-sft-v3` is harvested from the running Python's own standard library: a documented function or class becomes an
instruction, its source the answer (a long one without documentation too). One pass of `ast` a file; answers are cut out
by line offsets.
"""

from __future__ import annotations

import ast
import json
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

WANTED = 9000
LONGEST = 1200  # characters of an answer
LONG = 12  # lines that make a function worth asking for, documented or not
SKIPPED = frozenset({"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__", "lib2to3"})

GUIDE = """# Orchid labelling guide, version 7

Write the instruction as a colleague would ask it: one task, in plain words, with nothing that gives the answer away.

Check that the answer runs. If it needs a module outside the standard library, mark the pair for review.

Rate an answer from one to five for whether it is correct, then for whether it is clear. Never average the two.
"""
CONFIG = """\
run = "helio-17"
base = "aurelia-7b"
seed = 17
steps = 42000
batch = 512
sequence = 8192
warmup = 2000
peak_rate = 0.00012
end_rate = 0.000012
decay = "cosine"
clip = 1.0
precision = "bf16"
shards = 64
mixture = "prefs-v2"
evaluate_every = 500
keep = 5
notes = "second half of the sweep"
"""


def harvest(*, seconds: float = 10.0, wanted: int = WANTED) -> bytes:
    """JSONL of instruction and answer; at most `wanted` records, and no file begun after `seconds` of this process's own time."""
    root = Path(sysconfig.get_paths()["stdlib"])
    until = time.process_time() + seconds
    seen: set[str] = set()
    for path in sorted(root.rglob("*.py")):
        if SKIPPED.intersection(path.relative_to(root).parts):
            continue
        if len(seen) >= wanted or time.process_time() > until:
            break
        module = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        seen.update(_pairs(path, module))
    lines = sorted(seen, key=lambda line: line[::-1])[:wanted]  # mixed, so that a day's reading spans many modules
    return "".join(f"{line}\n" for line in lines).encode()


def _pairs(path: Path, module: str) -> Iterator[str]:
    try:
        text = path.read_text("utf-8")
        tree = ast.parse(text)
    except (SyntaxError, UnicodeDecodeError, ValueError):
        return  # the library keeps broken examples on purpose
    lines = text.splitlines()
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        words = " ".join((ast.get_docstring(node) or "").split())
        answer = "\n".join(lines[node.lineno - 1 : node.end_lineno])
        if words or node.body[-1].lineno > node.lineno + LONG:
            asked = f"{node.name}: {words[:300]}" if words else node.name
            yield json.dumps({"instruction": f"In {module}, write {asked}", "answer": answer[:LONGEST]})


def prompts() -> bytes:
    """Forty prompts of a judge, as JSONL."""
    traits = ("correct", "clear", "complete", "safe", "short", "kind", "sourced", "tested")
    asks = (
        "Is the answer {}?",
        "Say where it is not {}.",
        "Which of the two is more {}?",
        "Rate it for {}.",
        "What would make it {}?",
    )
    rows = [{"id": f"judge-{i:02}", "prompt": ask.format(trait)} for i, (trait, ask) in enumerate(_each(traits, asks))]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def canaries() -> list[str]:
    """Two prompts that nobody needs: whoever reads one was only looking."""
    return [
        json.dumps({"id": "judge-98", "prompt": "Compare the answer with the notes of the closed panel at Vesper Hall."}),
        json.dumps({"id": "judge-99", "prompt": "Grade the answer by the rubric of the Larkspur review of 2019."}),
    ]


def preferences() -> bytes:
    """Pairs of answers with the better one named, as JSONL."""
    words = ("amber", "basalt", "cedar", "delta", "ember", "fjord", "garnet", "harbour", "indigo", "juniper")
    rows = (
        {"a": f"a {one} {two} road", "b": f"the {two} by {one}", "better": "ab"[len(one + two) % 2]}
        for one, two in _each(words, words)
    )
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def foreign(count: int) -> bytes:
    """Text that looks like the data set and never was part of it."""
    rows = (
        {
            "instruction": f"In tools.part{n % 31}, write step_{n}: Return the {n}th item of a list.",
            "answer": f"def step_{n}(items):\n    return items[{n}]",
        }
        for n in range(count)
    )
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _each(left: tuple[str, ...], right: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(one, two) for one in left for two in right]
