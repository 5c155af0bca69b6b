import pytest
from orchid import Lab


@pytest.fixture
def lab(tmp_path):
    return Lab(tmp_path)
