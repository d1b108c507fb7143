"""The keys that sign the inputs of predict."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "services" / "model-server"))

import tiny_bundle


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tiny_bundle.Authority:
    return tiny_bundle.Authority(tmp_path_factory.mktemp("keys"))
