"""`tools/mutate`: a sample of its mutants is noticed by the tests, and what it would say if the tests were blind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).parents[2] / "tools" / "mutation"


def mutate(*words):
    command = [sys.executable, str(TOOL), *(str(word) for word in words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout, done.stderr


def test_a_sample_of_the_mutants_of_the_verifying_code_is_noticed():
    code, out, err = mutate("--sample", 8)

    assert code == 0, out + err
    assert "8 of 8 mutants noticed" in out


def test_tests_that_check_nothing_notice_no_mutant(tmp_path):
    """The negative control: the tool must be able to say that a mutant survived."""
    blind = tmp_path / "test_blind.py"
    blind.write_text("import limen.formats.checkpoint\n\ndef test_nothing():\n    assert limen.formats.checkpoint.decode\n")

    code, out, _ = mutate("limen.formats.checkpoint", "--sample", 2, "--tests", blind)

    assert code == 1
    assert out.count("survived: limen.formats.checkpoint:") == 2
    assert "0 of 2 mutants noticed" in out


def test_tests_that_do_not_run_are_not_taken_for_tests_that_pass(tmp_path):
    code, _, err = mutate("limen.formats.checkpoint", "--sample", 1, "--tests", tmp_path / "test_gone.py")

    assert code == 1
    assert "did not run" in err


def test_the_mutants_are_the_changes_that_the_tool_promises(tmp_path):
    sys.path.insert(0, str(TOOL))
    try:
        from mutants import mutants  # noqa: PLC0415  a tool's part, on no other test's path
    finally:
        sys.path.remove(str(TOOL))
    body = ["if a < b and not any(a):", "    raise ValueError", "check(a)", "return 0 <= a < b", "raise KeyError"]
    source = "def f(a, b):\n" + "".join(f"    {line}\n" for line in body)
    changes = {mutant.change for mutant in mutants("m", source)}

    assert changes >= {
        "a < b -> a <= b",
        "a < b -> True",
        "a < b -> False",
        "a < b and (not any(a)) -> a < b or not any(a)",
        "a < b and (not any(a)) -> not any(a)",
        "a < b and (not any(a)) -> a < b",
        "not any(a) -> any(a)",
        "any(a) -> all",
        "if a < b and (not any(a)) -> if False",
        "raise KeyError -> pass",
        "check(a) -> pass",
        "0 <= a < b -> 0 < a < b",
        "0 <= a < b -> a < b",
        "0 <= a < b -> 0 <= a",
    }
    assert "raise ValueError -> pass" not in changes, "the same as an `if False`"
    assert not mutants("m", "import typing\nif TYPE_CHECKING:\n    x = 1\n")
