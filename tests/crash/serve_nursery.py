"""Gateways to be killed: imports limen once, and forks a `limen serve` for each line read, so that a start costs little.

    serve_nursery.py LOG

`serve DIRECTORY` forks a gateway and answers its process id; `reap` waits for it and answers how it ended.
"""

from __future__ import annotations

import os
import sys

import uvloop  # noqa: F401  what every start would import

from limen import server  # noqa: F401  what every start would import
from limen.cli import main


def born(directory: str, log: str) -> int:
    """A gateway's process id; only the nursery returns."""
    child = os.fork()
    if child:
        return child
    try:
        said = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(said, 1)
        os.dup2(said, 2)
        main(["serve", "--data", directory])
    finally:
        os._exit(1)


def nurse(log: str) -> None:
    """Do what each line says."""
    child = 0
    for line in sys.stdin:
        command, _, directory = line.strip().partition(" ")
        if command == "serve":
            answer = child = born(directory, log)
        else:
            answer = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(answer, flush=True)


if __name__ == "__main__":
    nurse(sys.argv[1])
