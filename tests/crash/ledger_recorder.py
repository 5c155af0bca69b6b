"""A process of its own that keeps what appenders were told: copies standard input to a file until it ends.

    ledger_recorder.py FILE

A line that begins with `mark` is answered on standard output once all before it is in the file. Whoever kills appenders
asks here what had been acknowledged; the appenders' own words die with them.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    with Path(sys.argv[1]).open("wb", buffering=0) as kept:
        for line in sys.stdin.buffer:
            if line.startswith(b"mark"):
                sys.stdout.buffer.write(line)
                sys.stdout.buffer.flush()
            else:
                kept.write(line)
