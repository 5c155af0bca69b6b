from __future__ import annotations

import pytest
from s3world import World


@pytest.fixture
def world():
    return World()
