import json
from pathlib import Path

import pytest

from tests.steps.audit_bench import POLICY, SPEC, AuditBench


@pytest.fixture
def bench(tmp_path: Path) -> AuditBench:
    """A bench with only its spec and policy."""
    return AuditBench(tmp_path, "bias-audit", json.loads(json.dumps(SPEC)), POLICY)
