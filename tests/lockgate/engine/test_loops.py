"""Loops, steps and hooks in cases without a record of Argo: folders, resumed runs, problems of a manifest."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockgate.engine.controller.items import expand
from lockgate.engine.record import folder_of

from .test_refusals import problems
from .workshop import Json, Workshop, container, dag, files, task, workflow

WORD = {"parameters": [{"name": "word"}]}


def looping(*items: object, **more: object) -> Json:
    """Return a task that passes each item on."""
    return task("each", "take", withItems=list(items), told={"word": "{{item}}"}, **more)


def test_no_text_of_an_item_is_part_of_a_path(shop: Workshop) -> None:
    took = container(
        "args", "{{inputs.parameters.word}}", name="take", inputs=WORD, outputs={"artifacts": files("args")}
    )
    run = shop.run(workflow(dag("main", looping("../../escape", "a/b", "\n")), took), run_id="one")
    assert run.phase == "Succeeded"
    folders = [node.folder for node in run.nodes if node.type == "Pod"]
    assert folders == ["nodes/each.0", "nodes/each.1", "nodes/each.2"]
    assert json.loads((run.folder / "nodes/each.0/out/args").read_text()) == ["../../escape"]


@pytest.mark.parametrize(
    ("node", "folder"),
    [
        ("w", "main"),
        ("w.a", "a"),
        ("w(0)", "0"),
        ("w[1].a", "1.a"),
        ("w.a(1:x:y)(0)[2].b", "a.1.0.2.b"),
        ("w.a.hooks.won", "a.hooks.won"),
    ],
)
def test_folders_of_nodes(node: str, folder: str) -> None:
    assert folder_of("w", node) == f"nodes/{folder}"


def test_a_loop_goes_on_where_it_failed(shop: Workshop) -> None:
    counted = [str(shop.place / name) for name in ("good", "flaky")]
    document = workflow(
        dag(
            "main",
            task("good", withItems=["x", "y"], told={"word": "{{item}}"}),
            task("flaky", depends="good.Succeeded"),
        ),
        container("count", counted[0], "log", "{{inputs.parameters.word}}", name="good", inputs=WORD),
        container("fail-until", counted[1], "2", "3", name="flaky"),
    )
    assert shop.run(document, run_id="one").phase == "Failed"
    again = shop.run(document, resume="one")
    assert again.phase == "Succeeded"
    assert (shop.place / "good").read_text() == "xx"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.lists(JSON, max_size=4), st.sampled_from([None, 1]))
def test_a_list_is_cut_into_its_items_however_it_is_written(listed: list[object], indent: int | None) -> None:
    made = expand({"name": "a", "withParam": json.dumps(listed, indent=indent), "word": "{{item}}"})
    assert [each["name"].partition(":")[0] for each in made] == [f"a({index}" for index in range(len(listed))]
    for item, each in zip(listed, made, strict=True):
        if not isinstance(item, str):  # a string loses its quotes and keeps its escapes
            assert json.loads(each["word"]) == item


@pytest.mark.parametrize(
    ("templates", "problem"),
    [
        (
            [{"name": "main", "steps": []}],
            "spec.templates[0].steps: must have at least one group, and each group at least one step",
        ),
        (
            [{"name": "main", "steps": [[]]}],
            "spec.templates[0].steps: must have at least one group, and each group at least one step",
        ),
        ([{"name": "main", "steps": [task("a", "work")]}], "spec.templates[0].steps[0]: must be a list, not a mapping"),
        ([{"name": "main", "steps": [[task("a", "none")]]}], "steps[0][0]: there is no template 'none'"),
        (
            [{"name": "main", "steps": [[task("a", "work"), task("b", "told", told={"word": "{{steps.a.id}}"})]]}],
            "steps[0][1].arguments.parameters[0]: {{steps.a.id}} has no value here",
        ),
        ([dag("main", task("a", "work", withSequence={}))], "withSequence: must have either count or end"),
        ([dag("main", task("a", "work", withSequence={"count": 1, "format": "%s"}))], "must contain one of %d"),
        (
            [dag("main", task("a", "work", hooks={"../x": {"template": "work", "expression": "true"}}))],
            "'../x' is not a valid hook name",
        ),
        ([dag("main", task("a", "work", onExit="told"))], "onExit: template told requires parameter 'word'"),
        ([dag("main", task("a", "work", onExit="main"))], "template main calls itself"),
        (
            [dag("main", task("a", "work", onExit="work", hooks={"exit": {"template": "work"}}))],
            "cannot be used together with hooks.exit",
        ),
        (
            [dag("main", task("a", "work", hooks={"x": {"template": "work", "expression": "tasks.b.status == 'x'"}}))],
            "hooks.x.expression: {{=tasks.b.status == 'x'}} has no value here",
        ),
    ],
)
def test_what_does_not_fit_together(templates: list[Json], problem: str) -> None:
    told = container("{{inputs.parameters.word}}", name="told", inputs=WORD)
    found = problems(workflow(*templates, container(name="work"), told))
    assert any(problem in each for each in found), found


def test_a_hook_that_fails_is_told_and_fails_nothing(shop: Workshop) -> None:
    run = shop.run(
        workflow(
            dag("main", task("a", "fine", onExit="bad")), container(name="fine"), container("exit", "3", name="bad")
        )
    )
    assert shop.phases(run) == {run.id: "Succeeded", "a": "Succeeded", "a.onExit": "Failed"}
