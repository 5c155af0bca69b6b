"""docs/bom.md does what it says: its commands run in a fresh directory and print what the page shows.

`LIMEN_WRITE_PAGE=1` writes what they print into the page instead.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from pages import Shell, blocks, shape, written

PAGE = Path(__file__).parents[2] / "docs" / "bom.md"
FILES = re.compile(r"`(\S+\.json)`:\n\n```json\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_page_shows_what_its_commands_print(tmp_path):
    page = PAGE.read_text()
    for name, content in FILES.findall(page):
        (tmp_path / name).write_text(content)
    with Shell(tmp_path, ()) as shell:
        for command, shown in blocks(page):
            printed = shell.run(command)
            if os.environ.get("LIMEN_WRITE_PAGE"):
                page = written(page, command, printed, shell.ports)
            else:
                assert shape(printed, shell.ports) == shape(shown, {}), command
    if os.environ.get("LIMEN_WRITE_PAGE"):
        PAGE.write_text(page)
