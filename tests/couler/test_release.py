"""A release written in Couler is rendered like any other release; what a release cannot have is refused."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import couler.argo as couler
import pytest
import yaml
from lockgate_step import ModelFile

from lockgate import steps
from lockgate.couler.frontend import couler_steps, finish
from lockgate.definition import workflows
from lockgate.definition.graph import Artifact, Setting, graph, nested
from lockgate.definition.project import Project
from lockgate.errors import SpecError
from lockgate.rendering.files import model_files
from tests.gates import add_gate

ROOT = Path(__file__).resolve().parents[2]
ADULT = Project(ROOT).model("adult-income")
DATA = Setting("workflow.parameters.data")


def rendered(model: str) -> bytes:
    return (ROOT / "workflows" / model / "release.yaml").read_bytes()


def test_the_release_in_couler_is_byte_for_byte_the_release() -> None:
    program = ROOT / "pipelines" / "adult_income" / "release_couler.py"
    done = subprocess.run([sys.executable, str(program)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == rendered("adult-income")


def test_a_chain_with_steps_of_its_own_is_written_by_the_same_functions() -> None:
    model = Project(ROOT).model("credit")
    assert model.spec.candidate
    with couler_steps(model):
        couler.config_workflow(name="release")
        with nested("gates", model.spec.candidate(model.spec)) as inside:
            workflows.gates(model.spec, inside)
    assert finish(model) == rendered("credit")


@pytest.mark.parametrize("asked", [True, False])
def test_an_additional_gate_is_asked_for(tmp_path: Path, asked: bool) -> None:
    shutil.copytree(ROOT / "pipelines" / "adult_income", tmp_path / "pipelines" / "adult_income")
    add_gate(tmp_path / "pipelines" / "adult_income")
    project = Project(tmp_path)
    model = project.model("adult-income")
    with couler_steps(model):
        couler.config_workflow(name="release")
        with nested("gates", workflows.train_candidate(model.spec)) as inside:
            workflows.gates(model.spec, inside, model.gates.values() if asked else ())
    if asked:
        assert (
            finish(model)
            == model_files(project, model, check=True)[tmp_path / "workflows" / "adult-income" / "release.yaml"]
        )
    else:
        with pytest.raises(SpecError, match="does not get the verdict of the additional gate calibration"):
            finish(model)


def test_the_images_that_were_built_are_those_of_the_render(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "pipelines" / "adult_income", tmp_path / "pipelines" / "adult_income")
    references = {name: f"registry.example.org/{name}@sha256:{'0c' * 32}" for name in ("ingest", "train", "deploy")}
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "images.lock.json").write_text(json.dumps(references))
    project = Project(tmp_path)
    done = subprocess.run(
        [sys.executable, str(tmp_path / "pipelines" / "adult_income" / "release_couler.py")],
        capture_output=True,
        check=False,
    )
    wanted = model_files(project, project.model("adult-income"))[tmp_path / "workflows/adult-income/release.yaml"]
    assert done.stdout == wanted, done.stderr.decode()
    assert references["train"].encode() in done.stdout


def chain(train: Callable[[steps.Ingest, steps.ValidateData], Artifact[ModelFile]]) -> None:
    """Write the release; `train` calls the trainer."""
    couler.config_workflow(name="release")
    data, checked = workflows.frozen_data(ADULT.spec)
    fitted = train(data, checked)
    with nested("gates", workflows.brought(fitted, data, checked)) as inside:
        workflows.gates(ADULT.spec, inside)


def trained(data: steps.Ingest, checked: steps.ValidateData) -> Artifact[ModelFile]:
    del checked
    return steps.train(data.rows, data.train_sensitive, estimator="sklearn.linear_model.LogisticRegression")


def task(manifest: bytes, name: str) -> dict[str, Any]:
    dags = [t["dag"] for t in yaml.safe_load(manifest)["spec"]["templates"] if "dag" in t]
    return next(task for dag in dags for task in dag["tasks"] if task["name"] == name)


@pytest.mark.parametrize("dependencies", ["validate-data.Succeeded", ["validate-data"]], ids=["depends", "a list"])
def test_what_couler_says_must_come_first_does(dependencies: object) -> None:
    with couler_steps(ADULT):
        chain(lambda data, checked: couler.set_dependencies(lambda: trained(data, checked), dependencies))  # type: ignore[no-any-return]  # Couler has no types
        held = couler.states.workflow.get_template("train").to_dict()
        assert task(finish(ADULT), "train")["depends"] == "ingest.Succeeded && validate-data.Succeeded"
    # A dependency alone passes no files: Couler would pass on every output.
    assert [file["name"] for file in held["inputs"]["artifacts"]] == ["rows", "sensitive"]


def test_what_nobody_says_must_come_first_does_not() -> None:
    with couler_steps(ADULT):
        chain(trained)
        manifest = finish(ADULT)
    assert task(manifest, "train")["depends"] == "ingest.Succeeded"
    assert task(manifest, "bias-audit")["depends"] == "predict.Succeeded"


def test_edges_of_coulers_dag_are_kept() -> None:
    def fit() -> Artifact[ModelFile]:
        return trained(data, checked)

    with couler_steps(ADULT):
        couler.config_workflow(name="release")
        data, checked = workflows.frozen_data(ADULT.spec)
        couler.dag([[fit], [lambda: workflows.frozen_data(ADULT.spec), fit]])
        with nested("gates", workflows.brought(fit(), data, checked)) as inside:
            workflows.gates(ADULT.spec, inside)
        manifest = finish(ADULT)
    assert task(manifest, "train")["depends"] == "ingest.Succeeded && validate-data.Succeeded"


def when_heads(data: steps.Ingest, checked: steps.ValidateData) -> Artifact[ModelFile]:
    verdict = couler.equal(couler.get_step_output("validate-data"), "passed")
    couler.when(verdict, lambda: steps.validate_data(data.rows, data.test, data.truth, data.record, name="again"))
    return trained(data, checked)


def own_container(data: steps.Ingest, checked: steps.ValidateData) -> Artifact[ModelFile]:
    couler.set_dependencies(lambda: couler.run_container(image="busybox", command=["true"], step_name="own"))
    return trained(data, checked)


def retried(data: steps.Ingest, checked: steps.ValidateData) -> Artifact[ModelFile]:
    fitted = trained(data, checked)
    couler.states.workflow.get_template("train").retry = 3
    return fitted


def of_another_image(data: steps.Ingest, checked: steps.ValidateData) -> Artifact[ModelFile]:
    fitted = trained(data, checked)
    couler.states.workflow.get_template("train").image = "busybox"
    return fitted


def after_refusal(data: steps.Ingest, checked: steps.ValidateData) -> Artifact[ModelFile]:
    fitted: Artifact[ModelFile] = couler.set_dependencies(lambda: trained(data, checked), "validate-data.Failed")
    return fitted


def after_nobody(data: steps.Ingest, checked: steps.ValidateData) -> Artifact[ModelFile]:
    fitted: Artifact[ModelFile] = couler.set_dependencies(lambda: trained(data, checked), "nobody.Succeeded")
    return fitted


def on_exit(data: steps.Ingest, checked: steps.ValidateData) -> Artifact[ModelFile]:
    couler.set_exit_handler(couler.WFStatus.Failed, lambda: steps.conclude(model="adult-income"))
    return trained(data, checked)


def twice(data: steps.Ingest, checked: steps.ValidateData) -> Artifact[ModelFile]:
    steps.train(data.rows, estimator="sklearn.linear_model.LogisticRegression")
    return trained(data, checked)


def with_timeout(data: steps.Ingest, checked: steps.ValidateData) -> Artifact[ModelFile]:
    couler.config_workflow(timeout=60)
    return trained(data, checked)


def scheduled(data: steps.Ingest, checked: steps.ValidateData) -> Artifact[ModelFile]:
    couler.config_workflow(cron_config={"schedule": "30 4 * * *"})
    return trained(data, checked)


def lost_file(data: steps.Ingest, checked: steps.ValidateData) -> Artifact[ModelFile]:
    fitted = trained(data, checked)
    couler.states.workflow.get_dag_task("train")["arguments"]["artifacts"][0]["from"] = "{{workflow.outputs.rows}}"
    return fitted


def no_data(data: steps.Ingest, checked: steps.ValidateData) -> Artifact[ModelFile]:
    fitted = trained(data, checked)
    del couler.states.workflow.get_dag_task("train")["arguments"]["artifacts"]
    return fitted


def named_like_the_workflow(data: steps.Ingest, checked: steps.ValidateData) -> Artifact[ModelFile]:
    return steps.train(data.rows, estimator="sklearn.linear_model.LogisticRegression", name="release")


@pytest.mark.parametrize(
    ("train", "says"),
    [
        (when_heads, r"release\.again sets when"),
        (own_container, r"release\.own runs busybox, which is not the image of a program"),
        (retried, r"release\.train sets retryStrategy"),
        (of_another_image, r"release\.train runs busybox"),
        (after_refusal, r"'validate-data\.Failed' would let a task start after a gate refused"),
        (after_nobody, r"release depends on nobody, which is not one of its tasks"),
        (on_exit, r"conclude is called by an exit handler"),
        (twice, r"two tasks named 'train'"),
        (with_timeout, r"couler\.config_workflow sets activeDeadlineSeconds"),
        (scheduled, r"a release cannot have a schedule of Couler"),
        (lost_file, r"release\.train reads \{\{workflow\.outputs\.rows\}\}, which is not a file of its graph"),
        (no_data, r"release\.train does not get rows, an input of train"),
        (named_like_the_workflow, r"both named 'release'"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_no_release_can_have_is_refused(
    train: Callable[[steps.Ingest, steps.ValidateData], Artifact[ModelFile]], says: str
) -> None:
    with pytest.raises(SpecError, match=says) as error, couler_steps(ADULT):
        chain(train)
        finish(ADULT)
    assert error.value.fix


def test_a_refusal_leaves_nothing_behind() -> None:
    with pytest.raises(SpecError), couler_steps(ADULT):
        chain(after_refusal)
    with couler_steps(ADULT):
        chain(trained)
        assert task(finish(ADULT), "train")["depends"] == "ingest.Succeeded"
    with graph("plain") as plain:
        steps.ingest(data=DATA)
    assert [task.name for task in plain.tasks] == ["ingest"]
