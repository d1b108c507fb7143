"""Run a chain of programs that do nothing with the local engine: lockgate_chain.py STEPS FOLDER process|sdk."""

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from lockgate.definition.catalog import Catalog
from lockgate.engine import Engine, Environment, ProcessRuntime
from lockgate.images.environments import Environments

BODIES = {"process": ["-S", "-c", "pass"], "sdk": ["-m", "noop"]}


def manifest(steps: int, body: list[str]) -> dict[str, Any]:
    """Return the manifest of a chain of steps."""
    tasks: list[dict[str, Any]] = [{"name": f"step-{at}", "template": "step"} for at in range(steps)]
    for before, task in pairwise(tasks):
        task["depends"] = f"{before['name']}.Succeeded"
    step = {"name": "step", "container": {"image": "noop", "command": ["python", *body]}}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "WorkflowTemplate",
        "metadata": {"name": "chain"},
        "spec": {"entrypoint": "chain", "templates": [{"name": "chain", "dag": {"tasks": tasks}}, step]},
    }


def main(steps: int, folder: Path, body: str) -> int:
    """Run the chain once, with a new record."""
    code = f"{Catalog.find().sdk}:{Path(__file__).resolve().parent}"
    python = Environment(Path(sys.executable), {"PYTHONPATH": code, "PYTHONDONTWRITEBYTECODE": "1"})
    runtime = ProcessRuntime(lambda image: python, Environments(folder / "cache"))
    run = Engine(folder, folder / "environment", runtime).run([manifest(steps, BODIES[body])], "chain")
    return 0 if run.phase == "Succeeded" and len(run.nodes) == steps + 1 else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
