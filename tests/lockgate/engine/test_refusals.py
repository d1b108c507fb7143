"""Problems are reported by name and place, before anything starts."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.engine import ManifestError, load_manifests
from lockgate.engine.checks import verify
from lockgate.engine.manifest import resolve
from lockgate.engine.manifest.fields import Executed, Inert, Refused, check_fields, table
from lockgate.errors import BadCall, UnknownName

from .workshop import Json, Workshop, container, dag, files, inputs, task, workflow

WORK = container(name="work")


def problems(*documents: Json, **parameters: str) -> list[str]:
    """Return the problems of the first of these documents."""
    try:
        verify(resolve(documents, str(documents[0]["metadata"]["name"]), parameters))
    except ManifestError as error:
        assert error.exit_code == 2
        assert error.fix
        return [str(problem) for problem in error.problems]
    return []


def put(document: Json, place: str, value: Any) -> Json:
    """Return the document with a value at a place such as `spec.templates[0].daemon`."""
    *path, last = place.replace("[", ".#").replace("]", "").split(".")
    where: Any = document
    for step in path:
        where = where[int(step[1:])] if step.startswith("#") else where.setdefault(step, {})
    where[int(last[1:]) if last.startswith("#") else last] = value
    return document


def fresh() -> Json:
    """Return a valid workflow."""
    return workflow(dag("main", task("a", "work")), container(name="work"))


def test_nothing_is_wrong_with_what_the_tests_start_from() -> None:
    assert problems(fresh()) == []


@pytest.mark.parametrize(
    ("place", "value", "what"),
    [
        ("spec.templates[1].daemon", True, "not executed locally; start it outside the run"),
        ("spec.templates[1].dameon", True, "not executed locally; the field is unknown"),
        ("spec.templates[1].container.lifecycle", {}, "not executed locally; do it in the program"),
        ("spec.templates[0].dag.tasks[0].withItems", [None], "must be a list of strings, numbers, booleans, lists or"),
        ("spec.templates[0].dag.tasks[0].inline", {}, "not executed locally; define it as a template"),
        ("spec.templates[0].dag.tasks[0].hooks", [], "must be a mapping, not a list"),
        ("spec.suspend", False, "not executed locally; start the run when it is needed"),
        ("spec.ttlSecondsAfterFinished", 1, "not executed locally; the field is unknown"),
        ("metadata.lables", {}, "not executed locally; the field is unknown"),
        ("spec.templates[1].container.args", "one text", "must be a list of strings, not a string"),
        ("spec.templates[1].container.args", [1], "must be a list of strings, not a list"),
        ("spec.templates[1].container.image", 7, "must be a string, not a number"),
        ("spec.templates[0].dag.tasks", {"a": {}}, "must be a list, not a mapping"),
        ("spec.templates[1].container", "work", "must be a mapping, not a string"),
        ("spec.parallelism", "many", "must be a whole number, not a string"),
        ("spec.synchronization", {"mutexes": [{}]}, "each mutex must have a name"),
        ("spec.templates[0].dag.failFast", "yes", "must be a boolean, not a string"),
    ],
)
def test_a_field_is_refused_by_name_and_place(place: str, value: Any, what: str) -> None:
    (problem,) = problems(put(fresh(), place, value))
    assert problem.startswith(f"{place}: {what}")


def test_every_problem_is_named_at_once() -> None:
    document = put(put(fresh(), "spec.suspend", True), "spec.templates[1].daemon", True)
    assert len(problems(document)) == 2


ONE = {"artifacts": files("x")}
TAKES = container(name="takes", inputs=inputs("x"))
TOLD = container("{{inputs.parameters.p}}", name="told", inputs={"parameters": [{"name": "p"}]})
BESIDE = task("c", "work", dependencies=["b"])
LETTER = {"x": "tasks.a.outputs.artifacts.x"}
MAKES = container(name="makes", outputs=ONE)


@pytest.mark.parametrize(
    ("templates", "problem"),
    [
        ([dag("main", task("a", "none"))], "spec.templates[0].dag.tasks[0]: there is no template 'none'"),
        ([dag("main", task("a", "takes")), TAKES], "template takes requires artifact 'x', which is not passed"),
        ([dag("main", task("a", "told")), TOLD], "template told requires parameter 'p', which is not passed"),
        ([dag("main", task("a", "work", told={"q": "1"})), WORK], "template work has no input parameter 'q'"),
        (
            [dag("main", task("a", "makes"), task("b", "takes", depends="a.Succeeded",
                                                  given={"x": "tasks.a.outputs.artifacts.y"})), MAKES, TAKES],
            "arguments.artifacts[0].from: {{tasks.a.outputs.artifacts.y}} is not an artifact that this task can read",
        ),
        (
            [dag("main", task("a", "makes"), task("b", "takes", given=LETTER)), MAKES, TAKES],
            "is not an artifact that this task can read",
        ),
        (
            [dag("main", task("a", "told", told={"p": "{{tasks.z.outputs.parameters.q}}"})), TOLD],
            "{{tasks.z.outputs.parameters.q}} has no value here",
        ),
        ([container("{{workflow.parameters.no}}", name="main")], "{{workflow.parameters.no}} has no value here"),
        ([container("{{inputs.parameters.no}}", name="main")], "{{inputs.parameters.no}} has no value here"),
        ([container("{{workflow.failures}}", name="main")], "{{workflow.failures}} has no value here"),
        ([container("{{=1 +}}", name="main")], "cannot be parsed: it ends too early"),
        ([container("{{inputs.parameters.{{workflow.name}}}}", name="main")], "contains a tag within a tag"),
        ([dag("main", task("a", "work", depends="b")), WORK], "tasks[0].depends: there is no task 'b'"),
        ([dag("main", task("b", "work"), task("a", "work", depends="b.Done")), WORK],
         "b.Done: the result must be one of"),
        ([dag("main", task("b", "work"), task("a", "work", depends="b.AllFailed")), WORK],
         "b.AllFailed applies only to loops, and b is not a loop"),
        ([dag("main", task("b", "work"), task("a", "work", depends="b.Failed ||")), WORK],
         "cannot be parsed: it ends too early"),
        ([dag("main", task("b", "work"), task("a", "work", depends="b && and")), WORK], "there is no task 'and'"),
        (
            [dag("main", task("a", "work", depends="b"), task("b", "work", depends="a")), WORK],
            "tasks[0]: a depends on itself, through a, b",
        ),
        (
            [dag("main", task("b", "work"), task("a", "work", depends="b"), BESIDE), WORK],
            "tasks[2].dependencies: cannot be used together with depends",
        ),
        ([dag("main", task("a", "work"), task("a", "work")), WORK], "'a' is not a unique task name"),
        ([dag("main", task("a_b", "work")), WORK], "'a_b' is not a unique task name"),
        ([dag("main")], "dag.tasks: must have at least one task"),
        ([dag("main", task("a", "main"))], "template main calls itself"),
        ([{"name": "main"}], "spec.templates[0]: must have a unique name, and exactly one of container, dag,"),
        ([container(name="main", outputs={"artifacts": [{"name": "x", "path": "/tmp/x"}]})],
         "is not a path below /lockgate"),
        ([container(name="main", inputs={"artifacts": [{"name": "x", "path": "/lockgate/../x", "raw": {"data": ""}}]})],
         "is not a path below /lockgate"),
        ([container(name="main", volumeMounts=[{"name": "v", "mountPath": "/lockgate/v"}])], "there is no volume 'v'"),
        ([container(name="main", retryStrategy={"retryPolicy": "Often"})], "retryPolicy: must be one of Always"),
        ([container(name="main", retryStrategy={"expression": "lastRetry.exitCode =="})],
         "cannot be parsed: it ends too early"),
        ([container(name="main", retryStrategy={"expression": "retries == 1"})], "== does not take number and string"),
        ([container(name="main", retryStrategy={"backoff": {"duration": "soon"}})], "unable to parse soon"),
        ([container(name="main", parallelism=1)],
         "spec.templates[0].parallelism: is allowed only in dag and steps templates"),
        ([dag("main", task("a", "work"), activeDeadlineSeconds=1), WORK],
         "activeDeadlineSeconds: is allowed only in container templates"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together(templates: list[Json], problem: str) -> None:
    found = problems(workflow(*templates))
    assert any(problem in each for each in found), found


def test_what_is_given_to_the_workflow_must_suit_it() -> None:
    document = fresh()
    document["spec"]["arguments"] = {
        "parameters": [{"name": "mode", "value": "a", "enum": ["a", "b"]}, {"name": "data"}]
    }
    assert problems(document) == ["spec.arguments.parameters.data: has no value"]
    assert problems(document, data="", mode="c") == ["spec.arguments.parameters.mode: is 'c', not one of a, b"]
    assert problems(document, data="x") == []
    with pytest.raises(UnknownName, match="unknown parameter 'moed'") as raised:
        problems(document, moed="a")
    assert "did you mean mode" in raised.value.fix
    assert problems({**document, "spec": {**document["spec"], "entrypoint": "mian"}}, data="x") == [
        "spec.entrypoint: there is no template 'mian'"
    ]


def test_a_missing_document_is_named() -> None:
    asked = {"kind": "Workflow", "metadata": {"name": "w"}, "spec": {"workflowTemplateRef": {"name": "other"}}}
    assert problems(asked, fresh()) == [
        "spec.workflowTemplateRef.name: there is no WorkflowTemplate 'other' in the given manifests"
    ]
    with pytest.raises(UnknownName, match="unknown manifest 'none'"):
        resolve([fresh()], "none", {})


def test_nothing_is_left_of_a_run_that_is_refused(shop: Workshop) -> None:
    with pytest.raises(ManifestError, match="flow cannot be executed"):
        shop.run(put(fresh(), "spec.templates[1].daemon", True))
    assert not (shop.folder / "state").exists()
    assert shop.events == []


def test_configmaps_and_secrets_must_be_there(shop: Workshop) -> None:
    document = workflow(
        container(
            name="main",
            env=[{"name": "T", "valueFrom": {"secretKeyRef": {"name": "token", "key": "value"}}}],
            volumeMounts=[{"name": "settings", "mountPath": "/lockgate/settings"}],
        ),
        volumes=[{"name": "settings", "configMap": {"name": "settings"}}],
    )
    with pytest.raises(BadCall, match="flow needs ConfigMap settings, key value of Secret token"):
        shop.run(document)


@pytest.mark.parametrize("text", ["a: [", "- 1", "\x00", "just a text"])
def test_a_file_that_is_no_manifest(tmp_path: Path, text: str) -> None:
    file = tmp_path / "manifest.yaml"
    file.write_text(text)
    with pytest.raises(BadCall, match=r"manifest\.yaml"):
        load_manifests(file)


def test_dates_and_switches_stay_what_kubernetes_makes_of_them(tmp_path: Path) -> None:
    file = tmp_path / "manifest.yaml"
    file.write_text("a: 2024-01-02\nb: on\n---\nc: 1\n---\n")
    assert load_manifests(file) == [{"a": "2024-01-02", "b": True}, {"c": 1}]


def test_the_table_says_what_is_done_with_each_field() -> None:
    rows = dict(table())
    assert rows["WorkflowTemplate.spec.templates[].container.image"] is Executed.TEXT
    assert rows["WorkflowTemplate.spec.podGC"] is Inert.INERT
    assert isinstance(rows["CronWorkflow.spec.workflowSpec.templates[].script"], Refused)


INERT = ["spec.podGC", "spec.templates[1].container.resources", "spec.templates[1].metadata"]


@pytest.mark.parametrize("place", INERT)
def test_inert_fields_are_listed_on_demand(place: str) -> None:
    wrong, notes = check_fields(put(fresh(), place, {"anything": [1]}))
    assert (wrong, [note.place for note in notes]) == ([], [place])


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=6), inner, max_size=2),
    max_leaves=6,
)
PLACES = [
    "spec",
    "spec.entrypoint",
    "spec.templates",
    "spec.arguments",
    "spec.volumes",
    "spec.synchronization",
    "metadata",
]
PLACES += [
    "spec.templates[0]",
    "spec.templates[0].dag",
    "spec.templates[0].dag.tasks",
    "spec.templates[0].dag.tasks[0]",
]
PLACES += [f"spec.templates[0].dag.tasks[0].{field}" for field in ("withItems", "withSequence", "hooks", "hooks.exit")]
PLACES += ["spec.hooks", "spec.templates[0].steps"]
PLACES += [
    f"spec.templates[1].{field}" for field in ("inputs", "outputs", "container", "retryStrategy", "container.env")
]
PLACES += ["spec.templates[1].inputs.artifacts", "spec.templates[1].outputs.parameters", "spec.templateDefaults"]


@given(st.sampled_from(PLACES), ANYTHING)
def test_whatever_stands_in_a_manifest_it_runs_or_is_refused(place: str, value: Any) -> None:
    document = put(fresh(), place, value)
    with contextlib.suppress(BadCall):
        verify(resolve([document], "flow", {}))
