"""docs/witnesses.md does what it says: its commands run in a fresh directory and print what the page shows.

`LIMEN_WRITE_PAGE=1` writes what they print into the page instead.
"""

from __future__ import annotations

import os
from pathlib import Path

from pages import Shell, blocks, shape, written

PAGE = Path(__file__).parents[2] / "docs" / "witnesses.md"
PORTS = (8460, 8461, 8462, 8470, 8471, 8472)


def test_the_page_shows_what_its_commands_print(tmp_path):
    page = PAGE.read_text()
    with Shell(tmp_path, PORTS) as shell:
        for command, shown in blocks(page):
            printed = shell.run(command)
            if os.environ.get("LIMEN_WRITE_PAGE"):
                page = written(page, command, printed, shell.ports)
            else:
                assert shape(printed, shell.ports) == shape(shown, {}), command
    if os.environ.get("LIMEN_WRITE_PAGE"):
        PAGE.write_text(page)


def test_that_check_sees_another_output():
    assert list(blocks("```console\n$ a \\\n> b\nx\n$ c\n```\n")) == [("a b", "x\n"), ("c", "")]
    assert shape("log a+12345678+" + "A" * 44 + " :81", {80: 81}) == shape("log a+87654321+" + "B" * 44 + " :80", {})
    assert shape("size 5", {}) != shape("size 6", {})
