import json
from pathlib import Path

import pytest

from tests.steps.gate_bench import Bench
from tests.steps.validate.tables import POLICY, SPEC


@pytest.fixture
def data_bench(tmp_path: Path) -> Bench:
    """A bench for validate-data with only spec and policy."""
    return Bench(tmp_path, "validate-data", json.loads(json.dumps(SPEC)), POLICY)


@pytest.fixture
def model_bench(tmp_path: Path) -> Bench:
    """A bench for validate-model with only spec and policy."""
    return Bench(tmp_path, "validate-model", json.loads(json.dumps(SPEC)), POLICY)
