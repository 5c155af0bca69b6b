"""`tools/mutate`: breaks the verifying code in one place at a time, and reports what no test notices."""

from __future__ import annotations

import argparse
import ast
import hashlib
import random
import sys
import time
import tomllib
from pathlib import Path

from mutants import Mutant, mutants
from trial import UNIT, source_of, survives

EQUIVALENT = Path(__file__).parent / "equivalent.toml"
NOTE = ["formats/test_note", "formats/test_cosignature", "formats/test_witness_requests", "formats/test_tlogpolicy"]
LOG = ["verify/test_published", "verify/test_consistency", "verify/test_proof"]
# Each module with the tests that should notice, the likeliest first.
TARGETS = {
    "limen.formats.merkle": ["formats/test_merkle", "formats/test_log_files", *LOG],
    "limen.formats.note": [*NOTE, "formats/test_log_files"],
    "limen.formats.checkpoint": ["formats/test_log_files", *NOTE],
    "limen.formats.cosignature": ["formats/test_cosignature", "formats/test_tlogpolicy"],
    "limen.formats.tlogpolicy": ["formats/test_tlogpolicy", "formats/test_log_files"],
    "limen.formats.tlogproof": ["formats/test_log_files", "verify/test_proof"],
    "limen.formats.tiles": ["formats/test_log_files", *LOG],
    "limen.formats.witness": ["formats/test_witness_requests", "verify/test_consistency"],
    "limen.verify.published": ["verify/test_published", "verify/test_consistency", "verify/test_answer", "verify/test_remote"],
    "limen.verify.consistency": ["verify/test_consistency", "verify/test_answer"],
    "limen.verify.proof": ["verify/test_proof", "verify/test_answer"],
    "limen.verify.disclosure": ["verify/test_disclosure"],
    "limen.verify.remote": ["verify/test_remote", "verify/test_answer"],
    "limen.verify.offline": ["verify/test_offline"],
    "limen.verify.answer": ["verify/test_answer", "verify/test_disclosure"],
    "limen.verify.__main__": ["verify/test_answer"],
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/mutate", description=__doc__)
    parser.add_argument("module", nargs="*", help="modules to break; without any: all")
    parser.add_argument("--sample", type=int, metavar="N", help="only N mutants, chosen by the sources' digest")
    parser.add_argument("--list", action="store_true", help="name the mutants and try none")
    parser.add_argument("--tests", type=Path, nargs="+", help="these tests instead, to see what they would miss")
    asked = parser.parse_args()
    modules = asked.module or list(TARGETS)
    if strange := [module for module in modules if module not in TARGETS]:
        parser.error(f"no tests are known for {', '.join(strange)}; there are: {', '.join(TARGETS)}")
    sources = {module: source_of(module).read_text() for module in modules}
    made = [mutant for module, source in sources.items() for mutant in mutants(module, source)]
    allowed = equivalent()
    tried = [mutant for mutant in made if key(mutant) not in allowed]
    stale = {k for k in allowed if k[0] in modules} - {key(mutant) for mutant in made}
    for module, where, change in sorted(stale):
        print(f"equivalent.toml names what is no mutant: {module} in {where}: {change}")
    if asked.sample is not None:
        digest = hashlib.sha256("".join(sources.values()).encode()).digest()
        tried = random.Random(digest).sample(tried, min(asked.sample, len(tried)))
    if asked.list:
        print("\n".join(map(str, tried)))
        return 0
    began = time.monotonic()
    if asked.sample is None:
        must_pass(sources, asked.tests)
    survivors = attempt(tried, asked.tests)
    took = time.monotonic() - began
    killed = len(tried) - len(survivors)
    print(f"{killed} of {len(tried)} mutants noticed in {took:.0f} s; {len(made)} made, {len(allowed)} named as equivalent")
    return 1 if survivors or stale else 0


def must_pass(sources: dict[str, str], tests: list[Path] | None) -> None:
    """Stop unless the tests pass without any change; for a sample, who runs it is taken to have run them."""
    for module, source in sources.items():
        if not survives(module, ast.parse(source), tests or tests_of(module)):
            raise SystemExit(f"the tests of {module} fail without any change")


def attempt(tried: list[Mutant], tests: list[Path] | None) -> list[Mutant]:
    """The mutants that no test noticed; each is printed as it is found."""
    survivors = []
    for mutant in tried:
        if survives(mutant.module, mutant.tree, tests or tests_of(mutant.module)):
            survivors.append(mutant)
            print(f"survived: {mutant}", flush=True)
    return survivors


def tests_of(module: str) -> list[Path]:
    """The tests that should notice a change of this module."""
    return [UNIT / f"{name}.py" for name in TARGETS[module]]


def key(mutant: Mutant) -> tuple[str, str, str]:
    """What a mutant is known by: not its line, which moves."""
    return mutant.module, mutant.where, mutant.change


def equivalent() -> set[tuple[str, str, str]]:
    """The mutants that do the same as the original, each listed with its reason."""
    listed = tomllib.loads(EQUIVALENT.read_text()).get("equivalent", []) if EQUIVALENT.exists() else []
    if any(not one["why"].strip() for one in listed):
        raise SystemExit("equivalent.toml: every mutant needs a reason")
    return {(one["module"], one["where"], one["change"]) for one in listed}


if __name__ == "__main__":
    sys.exit(main())
