from pathlib import Path

import pytest

from tests.steps.package.chain import Chain, make_chain


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chain:
    """Make everything that package needs, with valid records; LOCKGATE_IO points to it."""
    monkeypatch.setenv("LOCKGATE_IO", str(tmp_path))
    monkeypatch.setenv("LOCKGATE_RUN", "run-1")
    return make_chain(tmp_path)
