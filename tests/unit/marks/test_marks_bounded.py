import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LIMIT = 280  # mebibytes of data a reading process may hold; a third of it is libraries before it reads anything


def reading(kind, size, limit, *more):
    """Reads a sample that unpacks to `size` MiB in a process of its own."""
    asked = [sys.executable, HERE / "bounded.py", kind, str(size), str(limit), *more]
    # One thread: each would reserve memory of its own.
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}
    return subprocess.run(asked, capture_output=True, text=True, check=False, env=env)


def test_a_long_line_is_read_in_bounded_memory_and_what_is_ours_in_it_is_found():
    done = reading("one line", 24, LIMIT)
    assert done.returncode == 0, done.stderr
    found, unread, _ = map(int, done.stdout.split())
    assert (found, unread) == (20, 0)
    # The control: read as one text, a line takes more than there is.
    whole = reading("no word ends", 128, LIMIT, "whole")
    assert whole.returncode != 0
    assert "MemoryError" in whole.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["one line", "JSONL", "one JSON value", "CSV", "no word ends", "blank lines", "brackets", "entities", "marks"]
)
def test_samples_of_half_a_gibibyte_are_read_in_bounded_memory(kind):
    done = reading(kind, 512, LIMIT)
    assert done.returncode == 0, done.stderr
    found, unread, most = map(int, done.stdout.split())
    print(f"{kind}: {found} found, {most} MiB at most")
    assert unread == 0
    assert found == (20 if kind in {"one line", "JSONL", "one JSON value", "CSV"} else 0)


@pytest.mark.slow
def test_a_line_of_ten_gigabytes_is_read_in_bounded_memory():
    done = reading("one line", 10 << 10, LIMIT)
    assert done.returncode == 0, done.stderr
    found, unread, most = map(int, done.stdout.split())
    print(f"ten gigabytes: {found} found, {most} MiB at most")
    assert (found, unread) == (20, 0)
