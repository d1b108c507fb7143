"""What Argo counts of the gates: a counter of their results, by model and gate, that its controller shows."""

from collections.abc import Iterator
from typing import Any

from lockgate_wire.metrics import GATE_RESULTS

from lockgate.definition.catalog import Program

_ARGO = "argo_workflows_"  # what the controller puts before each name
_PLACE = "{{workflow.namespace}}"
# Only Argo's simple tags: it would evaluate an expression too early. `exitCode` is not known of a pod that is lost.
_WHEN = (
    ("passed", "{{status}} == Succeeded"),
    ("refused", "{{status}} == Failed && {{exitCode}} == 3"),
    ("error", "{{status}} == Failed && {{exitCode}} != 3"),
    ("error", "{{status}} == Error"),
)


def counted(model: str, task: str, program: Program) -> dict[str, Any] | None:
    """Return the metrics of a gate's template; None for a program that writes no verdict.

    model, task: labels, beside the namespace and the result. None of them depends on what a run does.
    """
    if not any(str(output["type"]).endswith("Verdict") for output in program.outputs):
        return None
    return {"prometheus": [*_counters(model, task)]}


def _counters(model: str, task: str) -> Iterator[dict[str, Any]]:
    for result, when in _WHEN:
        labels = {"workflow_namespace": _PLACE, "model": model, "gate": task, "result": result}
        yield {
            "name": GATE_RESULTS.name.removeprefix(_ARGO),
            "help": GATE_RESULTS.what,
            "labels": [{"key": key, "value": value} for key, value in labels.items()],
            "when": when,
            "counter": {"value": "1"},
        }
