"""What a gate leaves for Kubernetes stays JSON, however much it has to say."""

import json
from pathlib import Path

import pytest
from lockgate_step._run import _terminate

LIMIT = 4096


@pytest.mark.parametrize(("count", "kept"), [(0, 0), (3, 3), (40, 18)])
def test_the_last_reasons_give_way(count: int, kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCKGATE_IO", str(tmp_path))
    reasons = [f"bias-audit/{number:02}: {'é' * 100}" for number in range(1, count + 1)]
    _terminate({"result": "refused", "verdict": "sha256:9c41e0", "reasons": reasons})
    written = (tmp_path / "termination").read_bytes()
    said = json.loads(written)
    assert len(written) <= LIMIT
    assert (said["result"], said["verdict"], said["reasons"]) == ("refused", "sha256:9c41e0", reasons[:kept])
