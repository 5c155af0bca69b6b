"""`python -m limen.verify DIR | URL | FILE`: the verifier's own command, for a machine that has no more than this.

Verifies a published log (a directory or a server), a proof file or a consistency proof. Answers go to standard output,
reasons to standard error. Exit codes: 0 verified, 1 could not be read just now, 2 usage or invalid input, 4 not found,
5 verification failed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from limen.core.errors import Invalid, LimenError, NotFound, TamperDetected
from limen.verify.answer import SCHEMA, Question, answer, file_bytes, trusted

if TYPE_CHECKING:
    from collections.abc import Sequence

_EXIT: Final[tuple[tuple[type[LimenError], int], ...]] = ((Invalid, 2), (NotFound, 4), (TamperDetected, 5), (LimenError, 1))


def main(argv: Sequence[str] | None = None) -> int:
    """Verify, print, and return the exit code."""
    asked = _parser().parse_args(argv)
    try:
        trust = trusted(asked.policy, asked.vkey)
        brought = {name: file_bytes(path) for name in ("entry", "old") if (path := getattr(asked, name)) is not None}
        found = answer(Question(asked.target, trust, **brought))
    except LimenError as e:
        index = e.index if isinstance(e, TamperDetected) and e.index >= 0 else None
        if asked.json:
            print(json.dumps({"schema": SCHEMA, "ok": False, "first_bad": index, "why": str(e)}))  # noqa: T201
        where = "" if index is None else f" (first bad index {index})"
        print(f"limen.verify: error: {e}{where}", file=sys.stderr)  # noqa: T201
        return next(code for kind, code in _EXIT if isinstance(e, kind))
    if asked.json:
        print(json.dumps({"schema": SCHEMA, "ok": True, "first_bad": None, **found.fields}, ensure_ascii=False))  # noqa: T201
    else:
        print("\n".join([*found.lines, "OK"]))  # noqa: T201
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m limen.verify",
        description="Verify a published log, a proof of one entry, or that one checkpoint continues another.",
        epilog="Exit codes: 0 verified, 1 could not be read just now, 2 usage, 4 not found, 5 verification failed.",
    )
    parser.add_argument("target", metavar="DIR|URL|FILE", help="a published directory, its address, or a proof file")
    parser.add_argument("--policy", type=Path, help="whom to trust: a C2SP tlog-policy file")
    parser.add_argument("--vkey", help="instead of a policy: the log's key, or a file that holds it")
    parser.add_argument("--entry", type=Path, help="the entry's bytes, if the proof does not carry them")
    parser.add_argument("--old", type=Path, help="the older checkpoint that a consistency proof speaks about")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    return parser


if __name__ == "__main__":
    sys.exit(main())
