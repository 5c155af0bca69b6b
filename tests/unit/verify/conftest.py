"""The log of `laid_out`, whole, and as a copy to damage."""

from __future__ import annotations

import shutil

import pytest
from laid_out import lay_out

from limen.verify.published import Published


@pytest.fixture(scope="session")
def original(tmp_path_factory):
    path = tmp_path_factory.mktemp("published")
    lay_out(path)
    return path


@pytest.fixture
def log(original, tmp_path):
    """A copy of the log, for a test to damage."""
    shutil.copytree(original, tmp_path / "copy")
    return Published(tmp_path / "copy")
