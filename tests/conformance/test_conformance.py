"""The local engine executes small workflows as the real controller did, node by node."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from lockgate.engine import Engine, Environment, ManifestError, ProcessRuntime, ask_to_stop, load_manifests
from lockgate.engine.events import Event, NodeStarted
from lockgate.images.environments import Environments

from .normal import Json, normal

HERE = Path(__file__).resolve().parent
WORKFLOWS = sorted((HERE / "workflows").glob("*.yaml"))
# The nodes in which a local run differs from Argo; README.md says why. "" is the workflow itself.
DIFFERENT = {
    "skipped-output-default": {".b"},
    "omitted-output-default-of-consumer": {".b"},
    "nested-without-an-output": {"", ".", ".inner.a"},
}
REFUSED = sorted((HERE / "refused").glob("*.yaml"))


def run(file: Path, state: Path) -> Json:
    """Run a workflow on this machine and return its normal form."""
    name = file.stem
    documents = load_manifests(file)
    annotations = (documents[-1]["metadata"].get("annotations")) or {}

    def on_event(event: Event) -> None:
        if isinstance(event, NodeStarted) and event.node.name == name + annotations.get("conformance/when-runs", "\0"):
            ask_to_stop(state / "runs" / name, annotations["conformance/strategy"])

    program = Environment(Path(sys.executable), {"PYTHONPATH": str(HERE / "program")})
    runtime = ProcessRuntime(lambda image: program, Environments(state / "cache"))
    (state / "environment").mkdir()
    engine = Engine(state, state / "environment", runtime, on_event, parallel=4, grace=2.0)
    for document in documents:
        document["metadata"]["namespace"] = "conformance"
    return normal(engine.run(documents, name, run_id=name).values, name)


def parts(status: Json) -> dict[str, Any]:
    """Return the parts of a normal form: the nodes by name, and the workflow itself."""
    return {"": (status["phase"], status["message"]), **status["nodes"]}


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_a_workflow_runs_as_it_does_on_argo(file: Path, tmp_path: Path) -> None:
    recorded: dict[str, Any] = json.loads((HERE / "recorded" / f"{file.stem}.json").read_text(encoding="utf-8"))
    here, there = parts(run(file, tmp_path)), parts(recorded["status"])
    known = DIFFERENT.get(file.stem, set())
    assert {name: part for name, part in here.items() if name not in known} == {
        name: part for name, part in there.items() if name not in known
    }
    # A difference that is gone must leave the list.
    assert {name for name in known if here.get(name) != there.get(name)} == known


@pytest.mark.parametrize("file", REFUSED, ids=lambda file: file.stem)
def test_what_is_not_executed_is_refused_by_name(file: Path, tmp_path: Path) -> None:
    expected = re.findall(r"^# (.*)", file.read_text(encoding="utf-8"), re.MULTILINE)
    with pytest.raises(ManifestError) as raised:
        run(file, tmp_path)
    assert [str(problem) for problem in raised.value.problems] == expected
    assert not (tmp_path / "runs").exists()


def test_every_record_is_of_a_workflow() -> None:
    recorded = {path.stem for path in (HERE / "recorded").glob("*.json")}
    assert recorded == {path.stem for path in WORKFLOWS}
