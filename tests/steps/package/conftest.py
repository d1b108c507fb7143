from pathlib import Path

import pytest

from tests.steps.package.chain import Chain, make_chain


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chain:
    """Everything package needs, every record right; LOCKGATE_IO points at it."""
    monkeypatch.setenv("LOCKGATE_IO", str(tmp_path))
    monkeypatch.setenv("LOCKGATE_RUN", "run-1")
    return make_chain(tmp_path)
