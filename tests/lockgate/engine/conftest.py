"""One workshop for each test."""

from pathlib import Path

import pytest

from .workshop import Workshop


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    """A workshop of its own."""
    return Workshop(tmp_path)
