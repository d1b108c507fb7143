"""What Argo counts of the gates: every end of a gate once, by fixed words, and nothing of other programs."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from lockgate_wire.metrics import GATE_RESULTS

from lockgate.engine.expressions.evaluation import decide_when
from lockgate.engine.expressions.tags import replace
from lockgate.rendering.manifest import RETRY

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
Manifest = dict[str, Any]
JUDGES = {"validate-data", "validate-model", "bias-audit", "smoke-test", "recall", "canary"}
FILES = sorted(WORKFLOWS.glob("*/re[lv][ei]*.yaml")) + sorted(WORKFLOWS.glob("*/rollback.yaml"))


def counting(file: Path) -> dict[str, list[Manifest]]:
    """Return the counters of each template that has any: its name -> them."""
    templates = yaml.safe_load(file.read_bytes())["spec"]["templates"]
    return {each["name"]: each["metrics"]["prometheus"] for each in templates if "metrics" in each}


def labels(counter: Manifest) -> dict[str, str]:
    return {label["key"]: label["value"] for label in counter["labels"]}


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_gates_count_their_results_and_nothing_else_does(file: Path) -> None:
    found = counting(file)
    templates = {each["name"] for each in yaml.safe_load(file.read_bytes())["spec"]["templates"]}
    assert set(found) == JUDGES & templates
    assert found
    for gate, counters in found.items():
        for counter in counters:
            own = labels(counter)
            assert f"argo_workflows_{counter['name']}" == GATE_RESULTS.name
            assert counter["help"] == GATE_RESULTS.what  # Argo refuses a second text for one name
            assert counter["counter"] == {"value": "1"}
            assert set(own) == {"model", *GATE_RESULTS.labels}
            assert (own["model"], own["gate"]) == (file.parent.name, gate)
            assert own["workflow_namespace"] == "{{workflow.namespace}}"


@pytest.mark.parametrize(
    ("status", "code", "results"),
    [
        ("Succeeded", "0", ["passed"]),
        ("Failed", "3", ["refused"]),
        *(("Failed", code, ["error"]) for code in ("1", "2", "4", "137", "143", "13", "33")),
        ("Error", "0", ["error"]),
        ("Error", "3", ["error"]),
        ("Skipped", "0", []),
        ("Omitted", "0", []),
        ("Pending", "0", []),
    ],
)
def test_every_end_of_a_gate_is_counted_once(status: str, code: str, results: list[str]) -> None:
    counters = counting(WORKFLOWS / "credit" / "release.yaml")["bias-audit"]
    counted = [
        labels(counter)["result"]
        for counter in counters
        if decide_when(replace(counter["when"], {"status": status, "exitCode": code}))
    ]
    assert counted == results


def test_a_lost_pod_without_an_exit_code_counts_as_an_error() -> None:
    """Argo leaves out a counter whose tags have no value, so one may not need the exit code."""
    counters = counting(WORKFLOWS / "credit" / "release.yaml")["bias-audit"]
    known = [counter for counter in counters if "exitCode" not in counter["when"]]
    assert [labels(c)["result"] for c in known if decide_when(replace(c["when"], {"status": "Error"}))] == ["error"]
    assert "lastRetry.status == 'Error'" in RETRY
