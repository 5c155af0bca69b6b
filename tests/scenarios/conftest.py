"""One small invented lab for the reports over both worlds: its logs are imported once, and its mapping is set."""

from __future__ import annotations

import pytest

from desk import Desk
from lab.build import SMALL, Lab, build


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The lab and its truth."""
    return build(tmp_path_factory.mktemp("lab"), SMALL, seed=5)


@pytest.fixture(scope="session")
def desk(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """A data directory with all of it. Whoever sets another mapping sets the lab's again."""
    return Desk.of(lab, tmp_path_factory.mktemp("desk") / "data")
