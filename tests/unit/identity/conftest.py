import pytest
from small_issuer import SmallIssuer


@pytest.fixture
def issuer():
    return SmallIssuer()
