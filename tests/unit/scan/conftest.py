"""Kingfisher, ready to search."""

import pytest

from limen.scan.keyring import Keyring
from limen.scan.secrets import Kingfisher


@pytest.fixture
def kingfisher(rules):
    """Kingfisher, ready."""
    with Kingfisher.ready(Keyring.of(b"k" * 32), rules=rules) as ready:
        yield ready
