"""A rollout in the spec: its gate stands before promote, has the time that it needs, and is judged by a rule."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from lockgate.cluster.prepare import prepare
from lockgate.commands.render import render_project
from lockgate.definition.project import Project
from lockgate.errors import SpecError
from tests import workshop
from tests.workshop import CANARY_RULES, MODEL

ROLLOUTS = {
    "Canary(shares=(5, 25, 50), hold='10m')": 1800,
    "ABTest(share=50, hold='7d')": 604_800,
    "Shadow(share=10, hold='1h')": 3600,
}


def rolled(folder: Path, rollout: str) -> Project:
    made = workshop.Project.make(folder)
    made.give_rollout(rollout)
    return Project(made.root)


def templates(project: Project, workflow: str) -> tuple[dict[str, Any], dict[str, Any]]:
    spec = yaml.safe_load((project.workflows / MODEL / f"{workflow}.yaml").read_bytes())["spec"]
    return spec, {each["name"]: each for each in spec["templates"]}


@pytest.mark.parametrize("rollout", ROLLOUTS)
@pytest.mark.parametrize("workflow", ["release", "review"])
def test_the_gate_stands_between_smoke_test_and_promote(tmp_path: Path, rollout: str, workflow: str) -> None:
    project = rolled(tmp_path, rollout)
    render_project(project, [], check=False)
    spec, found = templates(project, workflow)
    tasks = {task["name"]: task for task in found["rollout"]["dag"]["tasks"]}
    given = {each["name"]: each["from"] for each in tasks["promote"]["arguments"]["artifacts"]}
    assert given["canary"] == "{{tasks.canary.outputs.artifacts.verdict}}"
    assert "smoke-test" in str(tasks["canary"]["arguments"])
    seconds = ROLLOUTS[rollout]
    assert spec["activeDeadlineSeconds"] == 6 * 3600 + seconds
    assert found["canary"]["activeDeadlineSeconds"] == 3600 + seconds
    assert {found[each]["activeDeadlineSeconds"] for each in ("deploy", "promote")} == {3600}
    assert found["canary"]["serviceAccountName"] == found["promote"]["serviceAccountName"]


def test_a_rollback_and_a_model_all_at_once_have_no_such_gate(tmp_path: Path) -> None:
    project = rolled(tmp_path, "Canary()")
    render_project(project, [], check=False)
    assert "canary" not in templates(project, "rollback")[1]
    plain = Project(workshop.Project.make(tmp_path / "plain").root)
    render_project(plain, [], check=False)
    assert "canary" not in templates(plain, "release")[1]


def test_a_rollout_without_a_rule_is_refused(tmp_path: Path) -> None:
    project = rolled(tmp_path, "Canary()")
    (tmp_path / "pipelines" / MODEL / "policy.toml").write_text(workshop.POLICY)
    with pytest.raises(SpecError, match=r"no \[\[canary\]\] rule in policy.toml judges the rollout Canary"):
        render_project(project, [], check=False)


def test_rules_without_a_rollout_are_refused(tmp_path: Path) -> None:
    project = Project(workshop.Project.make(tmp_path).root)
    (tmp_path / "pipelines" / MODEL / "policy.toml").write_text(workshop.POLICY + CANARY_RULES)
    with pytest.raises(SpecError, match="AllAtOnce is judged by no"):
        render_project(project, [], check=False)


@pytest.mark.parametrize(("rollout", "known"), [("Canary()", False), ("ABTest()", False), ("Shadow()", True)])
def test_disagreement_needs_answers_to_compare(tmp_path: Path, rollout: str, known: bool) -> None:
    project = rolled(tmp_path, rollout)
    policy = tmp_path / "pipelines" / MODEL / "policy.toml"
    policy.write_text(policy.read_text() + CANARY_RULES.replace("answer_shift", "disagreement_rate").split("\n\n")[1])
    if known:
        render_project(project, [], check=False)
        return
    with pytest.raises(SpecError, match="disagreement_rate needs the rollout Shadow"):
        render_project(project, [], check=False)


def test_render_says_that_the_cluster_refuses_the_rollout(tmp_path: Path) -> None:
    project = rolled(tmp_path, "Canary()")
    assert not any("on the cluster" in note for note in render_project(project, [], check=False)[1]["notes"])
    prepare(project, {"store": "s3://lockgate/models", "namespace": "lockgate"})
    notes = render_project(Project(project.root), [], check=False)[1]["notes"]
    assert f"{MODEL}: the rollout Canary works on one machine; on the cluster, canary refuses it" in notes
