"""Dags: order, conditions, values and outcome."""

import itertools
import json
import time
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from lockgate.engine.controller.dag import Dag
from lockgate.engine.controller.nodes import Nodes
from lockgate.engine.record import Phase

from .workshop import Json, Workshop, container, dag, files, inputs, task, workflow


def test_tasks_run_in_order_and_hand_files_on(shop: Workshop) -> None:
    run = shop.run(
        workflow(
            dag(
                "main",
                task("second", depends="first.Succeeded", given={"paper": "tasks.first.outputs.artifacts.letter"}),
                task("first"),
            ),
            container("write", "letter", "dear\n", name="first", outputs={"artifacts": files("letter")}),
            container(
                "copy", "paper", "kept", name="second", inputs=inputs("paper"), outputs={"artifacts": files("kept")}
            ),
        )
    )
    assert (run.phase, run.message) == ("Succeeded", "")
    assert shop.out(run, "second", "kept") == "dear\n"
    assert [node.display_name for node in run.nodes] == [run.id, "first", "second"]
    first = shop.node(run, "first")
    assert first.outputs["exitCode"] == "0"
    assert run.nodes[0].children == [first.id]
    assert first.children == [shop.node(run, "second").id]


ENDS = {
    "Succeeded": ["exit", "0"],
    "Failed": ["exit", "3"],
    "Errored": ["log", "nothing written"],
    "Skipped": [],
    "Omitted": [],
    "Daemoned": [],
}
PHASES = {"Errored": "Error"}


@pytest.mark.parametrize(
    ("end", "asked"), list(itertools.product(["Succeeded", "Failed", "Errored", "Skipped", "Omitted"], ENDS))
)
def test_a_result_is_met_by_its_phase_alone(shop: Workshop, end: str, asked: str) -> None:
    outputs = {"artifacts": files("missing")} if end == "Errored" else {}
    first: Json = task("first", "work")
    if end == "Skipped":
        first["when"] = "one == two"
    if end == "Omitted":
        first["depends"] = "zero.Failed"
    run = shop.run(
        workflow(
            dag("main", task("zero", "fine"), first, task("then", "fine", depends=f"first.{asked}")),
            container(*ENDS[end], name="work", outputs=outputs),
            container(name="fine"),
        )
    )
    assert shop.phases(run)["first"] == PHASES.get(end, end)
    assert shop.phases(run)["then"] == ("Succeeded" if end == asked else "Omitted")


@pytest.mark.parametrize(
    ("depends", "ends", "runs"),
    [
        ("a", {"a": "0"}, True),
        ("a", {"a": "skip"}, True),  # why gates never use a bare name
        ("a", {"a": "3"}, False),
        ("a && b", {"a": "0", "b": "3"}, False),
        ("a || b.Failed", {"a": "3", "b": "3"}, True),
        ("!a.Succeeded && !b.Succeeded", {"a": "3", "b": "skip"}, True),
        ("a.Succeeded || (b.Skipped && !a.Errored)", {"a": "3", "b": "skip"}, True),
        ("(a.Failed || a.Errored) && b.Succeeded", {"a": "3", "b": "3"}, False),
    ],
)
def test_conditions_join(shop: Workshop, depends: str, ends: dict[str, str], runs: bool) -> None:
    tasks = [
        task(name, "work", told={"code": end})
        if end != "skip"
        else task(name, "work", told={"code": "0"}, when="false")
        for name, end in ends.items()
    ]
    run = shop.run(
        workflow(
            dag("main", *tasks, task("then", "fine", depends=depends)),
            container("exit", "{{inputs.parameters.code}}", name="work", inputs={"parameters": [{"name": "code"}]}),
            container(name="fine"),
        )
    )
    assert shop.phases(run)["then"] == ("Succeeded" if runs else "Omitted")


def test_dependencies_are_bare_names(shop: Workshop) -> None:
    run = shop.run(
        workflow(
            dag("main", task("a", "fine"), task("b", "fine", when="1 > 2"), task("c", "fine", dependencies=["a", "b"])),
            container(name="fine"),
        )
    )
    assert shop.phases(run)["c"] == "Succeeded"


def test_what_follows_a_failure_is_omitted_and_the_dag_fails(shop: Workshop) -> None:
    run = shop.run(
        workflow(
            dag(
                "main",
                task("a", "bad"),
                task("b", "bad", depends="a.Succeeded"),
                task("c", "bad", depends="b.Succeeded"),
            ),
            container("exit", "3", name="bad"),
        )
    )
    assert run.phase == "Failed"
    assert shop.phases(run) == {run.id: "Failed", "a": "Failed", "b": "Omitted", "c": "Omitted"}
    assert shop.node(run, "b").message == "omitted: depends condition not met"
    assert shop.node(run, "b").type == "Skipped"


def test_a_failure_that_was_dealt_with_still_fails_the_dag_only_by_its_branch(shop: Workshop) -> None:
    run = shop.run(
        workflow(
            dag("main", task("a", "bad"), task("mend", "fine", depends="a.Failed")),
            container("exit", "3", name="bad"),
            container(name="fine"),
        )
    )
    assert run.phase == "Succeeded", "the only leaf succeeded"


def test_an_error_outranks_nothing_but_is_told_from_a_failure(shop: Workshop) -> None:
    run = shop.run(workflow(container(name="main", outputs={"artifacts": files("never")})))
    assert run.phase == "Error"
    where = "/var/run/argo/outputs/artifacts/lockgate/out/never.tgz"
    assert run.message == f"wait: Error (exit code 64): open {where}: no such file or directory; "


def test_a_program_that_fails_is_failed_whatever_it_did_not_write(shop: Workshop) -> None:
    run = shop.run(workflow(container("exit", "3", name="main", outputs={"artifacts": files("never")})))
    assert (run.phase, run.message) == ("Failed", "main: Error (exit code 3)")


def test_outputs_of_a_failed_program_are_kept(shop: Workshop) -> None:
    run = shop.run(
        workflow(
            dag(
                "main",
                task("gate"),
                task("tell", depends="gate.Failed", given={"verdict": "tasks.gate.outputs.artifacts.verdict"}),
            ),
            container(
                "write",
                "verdict",
                "no",
                "say",
                "refused",
                "exit",
                "3",
                name="gate",
                outputs={"artifacts": files("verdict")},
                terminationMessagePath="/lockgate/termination",
            ),
            container(
                "copy", "verdict", "told", name="tell", inputs=inputs("verdict"), outputs={"artifacts": files("told")}
            ),
        )
    )
    gate = shop.node(run, "gate")
    assert (gate.phase, gate.message, gate.outputs["exitCode"]) == ("Failed", "main: Error (exit code 3): refused", "3")
    assert shop.out(run, "tell", "told") == "no"


def test_the_end_of_the_log_stands_in_for_a_message_where_the_manifest_says_so(shop: Workshop) -> None:
    body = container("log", "out of luck", "exit", "1", name="main", terminationMessagePolicy="FallbackToLogsOnError")
    assert shop.run(workflow(body)).message == "main: Error (exit code 1): out of luck\n"


def values(shop: Workshop, value: Any, told: str = "{{tasks.a.outputs.parameters.word}}", **first: Any) -> list[str]:
    """Return the argument that `b` gets if `a` writes this parameter."""
    run = shop.run(
        workflow(
            dag("main", task("a"), task("b", depends="a || a.Omitted || a.Failed", told={"word": told}), **first),
            container(
                "write",
                "word",
                value,
                name="a",
                outputs={"parameters": [{"name": "word", "valueFrom": {"path": "/lockgate/out/word"}}]},
            ),
            container(
                "args",
                "{{inputs.parameters.word}}",
                name="b",
                inputs={"parameters": [{"name": "word"}]},
                outputs={"artifacts": files("args")},
            ),
        )
    )
    found = shop.out(run, "b", "args")
    return list(json.loads(found))


@pytest.mark.parametrize(
    "value",
    [
        "",
        "0",
        "false",
        "null",
        " ",
        "it's",
        'say "no"',
        "two\nlines",
        "tab\there",
        "ünï",
        "a\\b",
        "{}",
        "$(HOME)",
        "{{",
        "'",
        "%s",
    ],
)
def test_a_parameter_arrives_as_it_was_written(shop: Workshop, value: str) -> None:
    assert values(shop, value) == [value]


def test_one_final_newline_is_dropped(shop: Workshop) -> None:
    assert values(shop, "a\n\n") == ["a\n"]


def test_expressions_are_evaluated_in_tags(shop: Workshop) -> None:
    assert values(shop, "4", told="{{=asInt(tasks.a.outputs.parameters.word) + 1}}") == ["5"]
    assert values(shop, "x", told="{{=tasks.a.outputs.parameters.word == 'x' ? 'yes' : 'no'}}") == ["yes"]


def skipped(shop: Workshop, *, producer: Json, consumer: Json) -> tuple[str, str, str]:
    """Return how a task ends that reads the output of a skipped task, and the value it got."""
    run = shop.run(
        workflow(
            dag(
                "main",
                task("a", when="false"),
                task("b", depends="a.Skipped", told={"word": "{{tasks.a.outputs.parameters.word}}"}),
            ),
            container(
                name="a",
                outputs={"parameters": [{"name": "word", "valueFrom": {"path": "/lockgate/out/w", **producer}}]},
            ),
            container(
                "write",
                "word",
                "<{{inputs.parameters.word}}>",
                name="b",
                inputs={"parameters": [{"name": "word", **consumer}]},
                outputs={"artifacts": files("word")},
            ),
        )
    )
    node = shop.node(run, "b")
    return node.phase, node.message, shop.out(run, "b", "word") if node.phase == "Succeeded" else ""


def test_a_skipped_output_is_its_default(shop: Workshop) -> None:
    assert skipped(shop, producer={"default": "p"}, consumer={"value": "c"}) == ("Succeeded", "", "<p>")
    assert skipped(shop, producer={"default": ""}, consumer={"value": "c"}) == ("Succeeded", "", "<>")


def test_a_skipped_output_without_one_is_the_consumers_default(shop: Workshop) -> None:
    assert skipped(shop, producer={}, consumer={"value": "c"}) == ("Succeeded", "", "<c>")


def test_a_skipped_output_without_any_is_an_error(shop: Workshop) -> None:
    phase, message, _ = skipped(shop, producer={}, consumer={})
    assert phase == "Error"
    assert "argument references an absent optional" in message


def test_optional_artifacts(shop: Workshop) -> None:
    extra = {"name": "extra", "from": "{{tasks.a.outputs.artifacts.extra}}", "optional": True}
    run = shop.run(
        workflow(
            dag("main", task("a"), {**task("b", depends="a.Succeeded"), "arguments": {"artifacts": [extra]}}),
            container(name="a", outputs={"artifacts": files(extra=True)}),
            container("see", "in/extra", name="b", inputs=inputs(extra=True)),
        )
    )
    assert run.phase == "Succeeded"
    assert shop.log(run, "b") == [{"path": "in/extra", "there": False, "text": None}]


def test_an_artifact_that_is_needed_and_missing_is_an_error(shop: Workshop) -> None:
    run = shop.run(
        workflow(
            dag(
                "main", task("a"), task("b", depends="a.Succeeded", given={"extra": "tasks.a.outputs.artifacts.extra"})
            ),
            container(name="a", outputs={"artifacts": files(extra=True)}),
            container(name="b", inputs=inputs("extra")),
        )
    )
    assert shop.node(run, "b").phase == "Error"
    assert shop.node(run, "b").message == 'Unable to resolve: "tasks.a.outputs.artifacts.extra"'


def test_an_empty_folder_is_kept_by_no_store(shop: Workshop) -> None:
    run = shop.run(
        workflow(
            dag("main", task("a"), task("b", depends="a.Succeeded", given={"x": "tasks.a.outputs.artifacts.x"})),
            container("folder", "x", name="a", outputs={"artifacts": files("x")}),
            container(name="b", inputs=inputs("x")),
        )
    )
    assert shop.phases(run)["a"] == "Succeeded"
    assert shop.node(run, "b").message.endswith("artifact x failed to load: The specified key does not exist.")


def test_a_step_cannot_change_what_another_wrote(shop: Workshop) -> None:
    given = {"x": "tasks.a.outputs.artifacts.x"}
    run = shop.run(
        workflow(
            dag(
                "main",
                task("a"),
                task("b", depends="a.Succeeded", given=given),
                task("c", depends="b.Succeeded", given=given),
            ),
            container("write", "x", "true", name="a", outputs={"artifacts": files("x")}),
            container("spoil", "x", name="b", inputs=inputs("x")),
            container("copy", "x", "seen", name="c", inputs=inputs("x"), outputs={"artifacts": files("seen")}),
        )
    )
    assert shop.out(run, "c", "seen") == "true"


def test_raw_artifacts(shop: Workshop) -> None:
    text = 'limit = 1\n# it\'s "quoted" {% %} {single}\n'
    raw = {"artifacts": [{"name": "policy", "path": "/lockgate/in/policy", "raw": {"data": text}}]}
    run = shop.run(
        workflow(container("copy", "policy", "seen", name="main", inputs=raw, outputs={"artifacts": files("seen")}))
    )
    assert (run.folder / "nodes/main/out/seen").read_text() == text


def nested(inner_code: str, **more: Any) -> Json:
    return workflow(
        dag(
            "main",
            task("make"),
            task(
                "inner",
                depends="make.Succeeded",
                given={"stuff": "tasks.make.outputs.artifacts.x"},
                told={"code": inner_code},
            ),
            task(
                "after",
                depends="inner.Succeeded",
                given={"stuff": "tasks.inner.outputs.artifacts.best"},
                told={"word": "{{tasks.inner.outputs.parameters.word}}"},
            ),
            **more,
        ),
        container("write", "x", "stuff", name="make", outputs={"artifacts": files("x")}),
        dag(
            "inner",
            task("use", given={"x": "inputs.artifacts.stuff"}, told={"code": "{{inputs.parameters.code}}"}),
            task("last", depends="use.Succeeded"),
            inputs={"artifacts": [{"name": "stuff"}], "parameters": [{"name": "code"}]},
            outputs={
                "artifacts": [{"name": "best", "from": "{{tasks.use.outputs.artifacts.y}}"}],
                "parameters": [{"name": "word", "valueFrom": {"parameter": "{{tasks.use.outputs.parameters.word}}"}}],
            },
        ),
        container(
            "copy",
            "x",
            "y",
            "write",
            "word",
            "",
            "exit",
            "{{inputs.parameters.code}}",
            name="use",
            inputs={**inputs("x"), "parameters": [{"name": "code"}]},
            outputs={
                "artifacts": files("y"),
                "parameters": [{"name": "word", "valueFrom": {"path": "/lockgate/out/word"}}],
            },
        ),
        container(name="last"),
        container(
            "copy",
            "stuff",
            "end",
            "log",
            "[{{inputs.parameters.word}}]",
            name="after",
            inputs={**inputs("stuff"), "parameters": [{"name": "word"}]},
            outputs={"artifacts": files("end")},
        ),
    )


def test_a_dag_within_a_dag_takes_and_gives(shop: Workshop) -> None:
    run = shop.run(nested("0"))
    assert run.phase == "Succeeded"
    assert shop.out(run, "after", "end") == "stuff"
    assert (run.folder / shop.node(run, "after").folder / "log").read_text() == "[]\n"
    inner = shop.node(run, "inner")
    assert inner.type == "DAG"
    assert shop.node(run, "use").boundary_id == inner.id
    assert shop.node(run, "last").children == [shop.node(run, "after").id]


def test_a_dag_within_a_dag_that_fails_gives_nothing(shop: Workshop) -> None:
    run = shop.run(nested("3"))
    assert run.phase == "Failed"
    assert shop.phases(run)["inner"] == "Failed"
    assert shop.phases(run)["after"] == "Omitted"
    assert "artifacts" not in shop.node(run, "inner").outputs


def test_a_branch_that_failed_does_not_end_one_that_runs(shop: Workshop) -> None:
    run = shop.run(
        workflow(
            dag("main", task("bad"), task("slow"), task("more", "fine", depends="slow.Succeeded")),
            container("exit", "1", name="bad"),
            container("sleep", "0.3", name="slow"),
            container(name="fine"),
        )
    )
    assert run.phase == "Failed"
    assert shop.phases(run)["more"] == "Succeeded", "failFast lets running branches end, as the controller does"


def phase_of(fail_fast: bool | None, **phases: str | None) -> str:
    """Return the phase of a dag of independent tasks; None is a task that has not started."""
    body: Json = dag("main", *map(task, phases), **({} if fail_fast is None else {"failFast": fail_fast}))
    nodes = Nodes("run", time.time)
    boundary = nodes.add("run", "DAG", "Running", "main", "")
    for name, phase in phases.items():
        if phase is not None:
            nodes.connect(nodes.add(f"run.{name}", "Pod", cast(Phase, phase), name, "run").name, [], "run")
    return Dag.of(body).phase(boundary, nodes)


@pytest.mark.parametrize(
    ("phases", "fast", "slow"),
    [
        ({"a": "Failed", "z": None}, "Failed", "Running"),
        ({"a": None, "z": "Error"}, "Error", "Running"),
        ({"a": "Failed", "z": "Running"}, "Running", "Running"),
        ({"a": "Failed", "m": "Succeeded", "z": "Error"}, "Failed", "Error"),
        ({"a": "Succeeded", "z": "Skipped"}, "Succeeded", "Succeeded"),
        ({"a": "Succeeded", "z": None}, "Running", "Running"),
    ],
)
def test_fail_fast_does_not_wait_for_what_has_not_begun(phases: dict[str, str | None], fast: str, slow: str) -> None:
    assert phase_of(None, **phases) == phase_of(True, **phases) == fast
    assert phase_of(False, **phases) == slow


def test_when_reads_words_numbers_and_outputs(shop: Workshop) -> None:
    whens = {
        "1 < 2 && a != b": "Succeeded",
        "'{{workflow.parameters.mode}}' == 'full'": "Succeeded",
        "{{workflow.parameters.mode}} == quick": "Skipped",
        "{{workflow.parameters.mode}} in (quick, full)": "Succeeded",
        "a - b": "Error",
        "'{{workflow.parameters.mode}}": "Error",
    }
    run = shop.run(
        workflow(
            dag("main", *[task(f"t{index}", "fine", when=when) for index, when in enumerate(whens)]),
            container(name="fine"),
            arguments={"parameters": [{"name": "mode", "value": "full"}]},
        )
    )
    assert {when: shop.phases(run)[f"t{index}"] for index, when in enumerate(whens)} == whens
    assert shop.node(run, "t2").message == "when 'full == quick' evaluated false"


def test_templates_of_another_document(shop: Workshop) -> None:
    catalog = workflow(container("write", "x", "catalog", name="maker", outputs={"artifacts": files("x")}))
    catalog["metadata"]["name"] = "catalog"
    away = {"name": "a", "templateRef": {"name": "catalog", "template": "maker"}}
    run = shop.run(workflow(dag("main", away)), catalog)
    assert shop.out(run, "a", "x") == "catalog"
    assert (run.folder / "manifest.yaml").read_text().count("kind: WorkflowTemplate") == 2


@pytest.mark.parametrize("kind", ["Workflow", "CronWorkflow"])
def test_a_workflow_refers_to_its_template_and_its_values_win(shop: Workshop, kind: str) -> None:
    body = container(
        "args", "{{workflow.parameters.a}}", "{{workflow.parameters.b}}", "{{workflow.labels.team}}", name="main"
    )
    template = workflow(body, arguments={"parameters": [{"name": "a", "value": 1}, {"name": "b", "value": True}]})
    spec: Json = {"workflowTemplateRef": {"name": "flow"}, "arguments": {"parameters": [{"name": "b", "value": "two"}]}}
    if kind == "CronWorkflow":
        spec = {"schedules": ["0 5 * * *"], "timezone": "UTC", "concurrencyPolicy": "Forbid", "workflowSpec": spec}
    metadata = {"generateName": "again-", "labels": {"team": "other"}}
    asked = {"apiVersion": "argoproj.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
    run = shop.run(template, asked, entry="again")
    assert (run.folder / "nodes/main/out/args").read_text() == '["1", "two", "other"]'
    assert run.id.startswith("again-")


def test_template_defaults_fill_in_what_a_template_leaves_out(shop: Workshop) -> None:
    own = container("env", "A,B", name="own", env=[{"name": "B", "value": "own"}])
    defaults = {"container": {"env": [{"name": name, "value": "default"} for name in "AB"], "resources": {}}}
    run = shop.run(workflow(dag("main", task("own")), own, templateDefaults=defaults))
    assert shop.log(run, "own") == [{"env": {"A": "default", "B": "own"}}]


def test_tags_of_the_run(shop: Workshop) -> None:
    names = ["name", "namespace", "mainEntrypoint", "labels.team", "status", "creationTimestamp.Y", "parameters"]
    body = container(
        "args", *["{{workflow." + name + "}}" for name in names], "{{ pod.name }}", "{{other}}", name="main"
    )
    run = shop.run(workflow(body, arguments={"parameters": [{"name": "n", "value": 3}]}), run_id="one")
    year = str(datetime.now(UTC).year)
    listed = '[{"name":"n","value":"3"}]'
    seen = json.loads((run.folder / "nodes/main/out/args").read_text())
    assert seen == ["one", "models", "main", "statistics", "Running", year, listed, "one", "{{other}}"]
