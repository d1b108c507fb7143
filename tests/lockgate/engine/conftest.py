"""The fixture `shop`: one workshop for each test."""

from pathlib import Path

import pytest

from .workshop import Workshop


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    """A new workshop."""
    return Workshop(tmp_path)
