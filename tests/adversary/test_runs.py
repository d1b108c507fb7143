"""What a submitter may try with the parameters, the name and the data of a run, and with a project's name."""

from pathlib import Path
from typing import Any

import pytest

from lockgate.cli.main import run_app
from lockgate.engine import ManifestError
from lockgate.engine.manifest import resolve
from lockgate.errors import BadCall
from tests import workshop

BOMB = "{{=sprig.repeat(1000000000,'A')}}"
TAGS = [BOMB, "s3://x/{{workflow.uid}}", "a{{pod.name}}b", "{{", "{{{}}}"]


# Parameters -----------------------------------------------------------------------------------------------------------


def test_no_setting_is_an_expression(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workshop.Project.make(tmp_path).root)
    for value in TAGS:
        for command in (["run", "--no-serve", "--data"], ["submit", "-n", "elsewhere", "--data"]):
            assert run_app([command[0], "grants", *command[1:], f"s3://b/{value}"]) == 2, (command, value)
            said = capsys.readouterr()
            assert "which Argo would evaluate" in said.out + said.err, (command, value)
    assert run_app(["submit", "grants", "-n", "elsewhere", "--set", f"seed={BOMB}"]) == 2
    assert "which Argo would evaluate" in capsys.readouterr().err


FLOW: dict[str, Any] = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "WorkflowTemplate",
    "metadata": {"name": "flow"},
    "spec": {
        "entrypoint": "main",
        "arguments": {"parameters": [{"name": "data", "value": "x"}]},
        "templates": [{"name": "main", "suspend": {"duration": "0"}}],
    },
}


@pytest.mark.parametrize("value", TAGS)
def test_the_engine_evaluates_no_given_value(value: str) -> None:
    with pytest.raises(BadCall, match="which Argo would evaluate"):
        resolve([FLOW], "flow", {"data": value})
    assert resolve([FLOW], "flow", {"data": "{'a': {1}}"}).parameters == {"data": "{'a': {1}}"}


def test_two_parameters_of_one_name_are_refused() -> None:
    twice = {
        **FLOW,
        "spec": {**FLOW["spec"], "arguments": {"parameters": [{"name": "data", "value": x} for x in "ab"]}},
    }
    with pytest.raises(ManifestError, match="'data' is there twice"):
        resolve([twice], "flow", {})
