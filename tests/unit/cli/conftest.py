"""Commands on a data directory, in the test's own process."""

from __future__ import annotations

import json

import pytest

from limen import cli
from simulator import catalog


@pytest.fixture
def operator(tmp_path, capsys, monkeypatch):
    """Run a command on the simulator's catalog as some account; its exit code, what it answered and what it said."""
    monkeypatch.setenv("LIMEN_DATA", str(tmp_path / "data"))

    def run(*words, uid=1001):
        monkeypatch.setattr("os.getuid", lambda: uid)
        code = 0
        try:
            cli.main([str(word) for word in words])
        except SystemExit as e:
            code = e.code
        return code, *capsys.readouterr()

    document = tmp_path / "catalog.json"
    document.write_text(json.dumps(catalog("https://id.example")))
    assert run("init", tmp_path / "data", "--dev")[0] == 0
    assert run("import", document)[0] == 0
    return run
