"""Measures the bytes per step of a rendered workflow, without its raw artifacts."""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from benchmarks.harness import ROOT, AtMost, Benchmark, Figure, Measured, main
from lockgate.rendering.canonical import dump


def measure(repeats: int) -> Measured:
    """Read the rendered workflows; their size does not vary, so it is read once."""
    del repeats
    found = {
        path.parent.name: yaml.safe_load(path.read_bytes()) for path in sorted(ROOT.glob("workflows/*/release.yaml"))
    }
    steps = [template for workflow in found.values() for template in _steps(workflow)]
    sizes = [_size([_without_raw(step)]) for step in steps]
    raw = [_size([step]) - size for step, size in zip(steps, sizes, strict=True)]
    figures = [
        Figure("release.yaml: size of a step", "bytes", sizes),
        Figure("release.yaml: size of the largest step", "bytes", [max(sizes)], AtMost(4096)),
        Figure("release.yaml: size of the raw artifacts of a step", "bytes", raw),
    ]
    for model, workflow in found.items():
        rest = workflow["spec"]["templates"] = [_without_raw(t) for t in workflow["spec"]["templates"]]
        share = _size(workflow) / sum("container" in template for template in rest)
        figures.append(Figure(f"release.yaml of {model}: total size per step", "bytes", [share], AtMost(4096)))
    return Measured(
        figures, notes=["A step is a template with a container; `repeats` is the number of steps of both models."]
    )


def _steps(workflow: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from (template for template in workflow["spec"]["templates"] if "container" in template)


def _without_raw(template: Mapping[str, Any]) -> dict[str, Any]:
    inputs = template.get("inputs", {})
    given = [{**a, "raw": {"data": ""}} if "raw" in a else a for a in inputs.get("artifacts", ())]
    return {**template, "inputs": {**inputs, "artifacts": given}} if given else dict(template)


def _size(document: Any) -> int:
    return len(dump(document).encode())


BENCHMARK = Benchmark("manifest_size", "manifest_size.py", 1, measure)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK))
