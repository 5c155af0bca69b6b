"""A data directory to import into, without a gateway that serves it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from limen.observe.depot import Depot

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass
class Lab:
    """Imports by the command, and asks the depot."""

    data: Path
    logs: Path
    limen: Callable[..., tuple[int, str, str]]

    def put(self, name: str, raw: bytes) -> Path:
        """Lay down a log."""
        path = self.logs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)
        return path

    def run(self, kind: str, *words: object, source: str = "trail-eu", path: Path | None = None) -> tuple[int, dict[str, Any]]:
        """Import all logs, or one; the exit code and the answer."""
        code, out, err = self.limen(
            "observe", "import", kind, path or self.logs, "--source", source, "--data", self.data, "--json", *words
        )
        assert out, err
        return code, json.loads(out)

    @property
    def depot(self) -> Depot:
        """What was imported."""
        return Depot.open(self.data / "observed")

    def rows(self, columns: str = "*", where: str = "true") -> list[Any]:
        """Rows, by time."""
        table = self.depot.ask(f"SELECT {columns} FROM observation WHERE {where} ORDER BY at_us, resource, principal")
        return [tuple(row.values()) if columns != "*" else row for row in table.to_pylist()]

    def whole(self) -> list[tuple[int, str]]:
        """Every row by id, for comparing two moments."""
        return sorted(map(tuple, (row.values() for row in self.depot.ask("SELECT hex(id), entry FROM observation").to_pylist())))


@pytest.fixture
def lab(tmp_path: Path, limen: Callable[..., tuple[int, str, str]]) -> Lab:
    """An empty data directory and a place for logs."""
    assert limen("init", tmp_path / "data", "--dev")[0] == 0
    (tmp_path / "logs").mkdir()
    return Lab(tmp_path / "data", tmp_path / "logs", limen)
