"""Workflows of the real Couler are converted for current Argo; each change is listed, and keys are refused."""

import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import yaml

from lockgate.cli.main import run_app
from tests.workshop import Done

PROGRAMS = Path(__file__).resolve().parent / "programs"
Manifest = dict[str, Any]
Prints = Callable[[str], Path]


@pytest.fixture(scope="module")
def prints(tmp_path_factory: pytest.TempPathFactory) -> Prints:
    """Return the file that Couler prints for a program."""
    folder = tmp_path_factory.mktemp("printed")

    def made(name: str) -> Path:
        file = folder / f"{name}.yaml"
        if not file.exists():
            command = [sys.executable, str(PROGRAMS / f"{name}.py")]
            file.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
        return file

    return made


def convert(*arguments: object) -> Done:
    """Run `lockgate convert ARGUMENTS` in this process: Hera's models take a second to import."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run_app(["convert", *map(str, arguments)])
    return Done(code, out.getvalue(), err.getvalue())


def converted(file: Path, *more: str) -> tuple[Manifest, set[str]]:
    """Return the converted document of a file, and the places that are listed as changed."""
    done = convert(file, "--json", *more)
    assert done.code == 0, done.said
    result = json.loads(done.out)
    (document,) = result["documents"]
    return document, {change["place"] for change in result["changes"]}


def at(tree: Any, place: str) -> Any:
    """Return the value at a place, written as in the changes."""
    for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", place):
        tree = tree[int(index)] if index else tree[name]
    return tree


def altered(before: Any, after: Any, place: str = "") -> set[str]:
    """Return every place where two trees differ."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        keys = {str(key): (before.get(key), after.get(key)) for key in {**before, **after}}
        return {w for key, (b, a) in keys.items() for w in altered(b, a, f"{place}.{key}" if place else key)}
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return {w for index, (b, a) in pairs for w in altered(b, a, f"{place}[{index}]")}
    return set() if before == after else {place}


CHANGES = {
    "steps": {
        "spec.ttlSecondsAfterFinished",
        "spec.ttlStrategy",
        "spec.templates[0].steps[2][0].arguments.parameters[0].value",
        "spec.templates[2].container.args[0]",
        "spec.templates[2].container.env[0].value",
        "spec.templates[2].container.resources.limits.cpu",
        "spec.templates[2].container.resources.requests.cpu",
        "spec.templates[3].steps[0][0].arguments.parameters[0].value",
    },
    "graph": {
        "spec.ttlSecondsAfterFinished",
        "spec.ttlStrategy",
        "spec.templates[0].dag.tasks[1].arguments.parameters[1].value",
        "spec.templates[0].dag.tasks[1].dependencies",
        "spec.templates[0].dag.tasks[1].depends",
        "spec.templates[1].container.args[0]",
        "spec.templates[2].container.args[0]",
        "spec.templates[2].container.args[1]",
    },
    "nightly": {
        "spec.schedule",
        "spec.schedules",
        "spec.suspend",
        "spec.workflowSpec.ttlSecondsAfterFinished",
        "spec.workflowSpec.ttlStrategy",
        "spec.workflowSpec.templates[0].dag.tasks[1].arguments.parameters[1].value",
        "spec.workflowSpec.templates[0].dag.tasks[1].dependencies",
        "spec.workflowSpec.templates[0].dag.tasks[1].depends",
        "spec.workflowSpec.templates[1].container.args[0]",
        "spec.workflowSpec.templates[2].container.args[0]",
        "spec.workflowSpec.templates[2].container.args[1]",
    },
    "diamond": {"spec.templates[0].dag.tasks[1].dependencies[0]"},
    "job": {
        "spec.templates[0].steps[1][0].arguments.artifacts[0].from",
        "spec.templates[0].steps[1][0].arguments.artifacts[0].name",
        "spec.templates[0].steps[2][0].arguments.parameters[0].value",
        "spec.templates[3].resource.manifest",
        "spec.templates[3].resource.setOwnerReference",
        "spec.templates[3].outputs.parameters[0].valueFrom.jsonPath",
        "spec.templates[3].outputs.parameters[1].valueFrom.jsonPath",
        "spec.templates[3].outputs.parameters[2].valueFrom.jqFilter",
    },
}
# New fields that a change adds at another place than its own.
NEW = ("ttlStrategy", "schedules", "depends")


@pytest.mark.parametrize("program", CHANGES)
def test_each_change_is_made_and_listed_and_nothing_else_is(program: str, prints: Prints) -> None:
    file = prints(program)
    after, changes = converted(file)
    made = altered(yaml.safe_load(file.read_bytes()), after)
    assert made == CHANGES[program]
    listed = {place.split(":")[0] for place in changes}
    assert listed == {re.sub(r"(?<=dependencies)\[0\]", "", p) for p in made if p.rsplit(".", 1)[-1] not in NEW}


@pytest.mark.parametrize("program", CHANGES)
def test_a_second_conversion_changes_nothing(program: str, prints: Prints, tmp_path: Path) -> None:
    once = tmp_path / "once.yaml"
    assert convert(prints(program), "--output", once).code == 0
    twice = convert(once)
    assert (twice.code, twice.out) == (0, once.read_text())
    assert "nothing to change" in twice.err


def test_the_values_are_those_that_were_meant(prints: Prints) -> None:
    steps, _ = converted(prints("steps"))
    assert steps["spec"]["ttlStrategy"] == {"secondsAfterCompletion": 3600}
    assert at(steps, "spec.templates[2].container.args[0]") == "{{inputs.parameters.para-say-0}}"
    assert at(steps, "spec.templates[2].container.env[0].value") == "True"
    assert at(steps, "spec.templates[3].steps[0][0].arguments.parameters[0].value") == "7"
    graph, _ = converted(prints("graph"))
    assert at(graph, "spec.templates[0].dag.tasks[1].depends") == "write"
    diamond, _ = converted(prints("diamond"))
    assert at(diamond, "spec.templates[0].dag.tasks[1].dependencies") == ["b"]
    job, _ = converted(prints("job"))
    exported = at(job, "spec.templates[1].outputs.artifacts[0].globalName")
    wired = at(job, "spec.templates[0].steps[1][0].arguments.artifacts[0]")
    assert wired["from"] == f"{{{{workflow.outputs.artifacts.{exported}}}}}"
    assert wired["name"] == at(job, "spec.templates[2].inputs.artifacts[0].name")
    resource = job["spec"]["templates"][3]["resource"]
    assert resource["setOwnerReference"] is True
    assert yaml.safe_load(resource["manifest"])["metadata"]["name"] == "{{inputs.parameters.sum-up-para-name}}"
    assert at(job, "spec.templates[3].outputs.parameters[0].valueFrom.jsonPath") == "{.metadata.name}"


def test_a_schedule_is_a_list_and_its_zone_is_asked_about(prints: Prints) -> None:
    file = prints("nightly")
    kept = convert(file)
    assert "check spec.timezone: Asia/Shanghai is Couler's default" in kept.err
    spec = yaml.safe_load(kept.out)["spec"]
    assert (spec["schedules"], spec["suspend"], spec["timezone"]) == (["30 4 * * *"], False, "Asia/Shanghai")
    moved = convert(file, "--timezone", "America/Toronto")
    assert "spec.timezone: Asia/Shanghai is now America/Toronto" in moved.err
    assert "check" not in moved.err
    assert yaml.safe_load(moved.out)["spec"]["timezone"] == "America/Toronto"


def test_a_secure_platform_is_given_templates(prints: Prints, tmp_path: Path) -> None:
    once = tmp_path / "once.yaml"
    done = convert(prints("nightly"), "--template", "--output", once)
    assert "spec.workflowSpec: is now the WorkflowTemplate nightly" in done.out
    template, cron = yaml.safe_load_all(once.read_bytes())
    plain, _ = converted(prints("nightly"))
    assert (template["kind"], template["metadata"]) == ("WorkflowTemplate", {"name": "nightly"})
    assert template["spec"] == plain["spec"]["workflowSpec"]
    assert cron["kind"] == "CronWorkflow"
    assert cron["spec"] == {**plain["spec"], "workflowSpec": {"workflowTemplateRef": {"name": "nightly"}}}
    twice = convert(once, "--template")
    assert twice.out == once.read_text()
    assert "nothing to change" in twice.err


def test_a_generated_name_becomes_the_templates(prints: Prints, tmp_path: Path) -> None:
    made = yaml.safe_load(prints("steps").read_bytes())
    file = tmp_path / "generated.yaml"
    file.write_text(yaml.safe_dump({**made, "metadata": {"generateName": "steps-", "labels": {"a": "b"}}}))
    document, changes = converted(file, "--template")
    assert (document["kind"], document["metadata"]) == ("WorkflowTemplate", {"name": "steps", "labels": {"a": "b"}})
    assert "kind" in changes
    cron = yaml.safe_load(prints("nightly").read_bytes())
    file.write_text(yaml.safe_dump({**cron, "metadata": {"generateName": "nightly-"}}))
    template, scheduled = yaml.safe_load_all(convert(file, "--template").out)
    assert template["metadata"] == {"name": "nightly"}
    assert scheduled["spec"]["workflowSpec"] == {"workflowTemplateRef": {"name": "nightly"}}


def test_keys_are_refused_and_not_repeated(prints: Prints, tmp_path: Path) -> None:
    secret = next(d for d in yaml.safe_load_all(prints("keys").read_bytes()) if d["kind"] == "Secret")
    out = tmp_path / "out.yaml"
    done = convert(prints("keys"), "--output", out)
    assert (done.code, done.out, out.exists()) == (2, "", False)
    assert "Secret couler-" in done.err
    assert "kubectl create secret" in done.err
    assert not any(value in done.err for value in secret["data"].values())


def container(**fields: Any) -> Manifest:
    return {"name": "main", "container": {"image": "busybox", "command": ["true"], **fields}}


def workflow(template: Manifest, **spec: Any) -> Manifest:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "one"},
        "spec": {"entrypoint": "main", "templates": [template], **spec},
    }


KEY = "not-for-your-eyes"
PRIVATE = f"-----BEGIN PRIVATE KEY-----\n{KEY}"
BUCKET = {"bucket": "labour", "key": "table", "accessKey": KEY}
REFUSED: list[tuple[object, str]] = [
    (
        workflow(container(env=[{"name": "AWS_SECRET_ACCESS_KEY", "value": KEY}])),
        r"env\[0\]\.value: the file contains a key",
    ),
    (workflow(container(env=[{"name": "DB_PASSWORD", "value": KEY}])), r"env\[0\]\.value: the file contains a key"),
    (workflow(container(args=["AKIA" + "ABCDEFGHIJKLMNOP"])), r"args\[0\]: the file contains a key"),
    (workflow(container(args=[PRIVATE])), r"args\[0\]: the file contains a key"),
    (
        workflow({**container(), "inputs": {"artifacts": [{"name": "t", "path": "/t", "s3": BUCKET}]}}),
        r"inputs\.artifacts\[0\]\.s3\.accessKey: the file contains a key",
    ),
    (
        workflow(container(), arguments={"parameters": [{"name": "token", "value": KEY}]}),
        r"spec\.arguments\.parameters\[0\]\.value: the file contains a key",
    ),
    (workflow(container(), ttl=3), r"spec\.ttl: unknown field in Argo"),
    (workflow(container(imagePolicy="Always")), r"templates\[0\]\.container\.imagePolicy: unknown field in Argo"),
    (workflow(container(args="one")), r"spec\.templates\[0\]\.container\.args: input should be a valid array"),
    (workflow(container(), suspend=1), r"spec\.suspend: input should be a valid boolean"),
    (workflow(container(), suspend="perhaps"), r"spec\.suspend: input should be a valid boolean"),
    ({"apiVersion": "v1", "kind": "ConfigMap", "data": {}}, r"kind: 'ConfigMap' cannot be converted"),
    (["no", "manifest"], r"contains a document that is not a manifest"),
    ("", r"contains no workflow"),
]


@pytest.mark.parametrize(("document", "says"), REFUSED, ids=[says for _, says in REFUSED])
def test_what_cannot_be_converted_is_refused_by_its_place(document: object, says: str, tmp_path: Path) -> None:
    file = tmp_path / "made.yaml"
    file.write_text(yaml.safe_dump(document) if document else "")
    done = convert(file)
    assert (done.code, done.out) == (2, ""), done.err
    assert re.search(says, done.err), done.err
    assert re.search(r"(?m)^Next: .+\n\Z", done.err)
    assert KEY not in done.err


@pytest.mark.parametrize(
    "environment",
    [
        {"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "database", "key": "password"}}},
        {"name": "DB_PASSWORD", "value": "{{inputs.parameters.password}}"},
        {"name": "SECRET_NAME", "value": "database"},
        {"name": "TOKENIZER", "value": "words"},
        {"name": "DB_PASSWORD", "value": ""},
    ],
    ids=lambda value: " ".join(map(str, value.values())),
)
def test_what_only_says_where_a_key_is_is_let_through(environment: Manifest, tmp_path: Path) -> None:
    file = tmp_path / "made.yaml"
    file.write_text(yaml.safe_dump(workflow(container(env=[environment]))))
    assert convert(file).code == 0


def test_a_file_that_is_not_there_or_cannot_be_written(prints: Prints, tmp_path: Path) -> None:
    missing = convert(tmp_path / "missing.yaml")
    assert missing.code == 2
    assert "cannot be read" in missing.err
    nowhere = convert(prints("steps"), "--output", tmp_path / "no" / "folder.yaml")
    assert nowhere.code == 2
    assert "cannot be written" in nowhere.err


BOMB = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 9)}]" for n in range(9))
BROKEN = {
    "a million values in aliases": (BOMB, "stand for more than"),
    "an alias inside itself": ("spec: &a [*a]", "inside of what it stands for"),
    "deep": ("spec: " + "[" * 20_000, "cannot be read"),
    "deeper": ("spec: " + "[" * 20_000 + "]" * 20_000, "nested"),
    "deep, closed": ("spec: " + "[" * 500 + "]" * 500, "nested"),
    "a key twice": ("kind: Workflow\nspec: {entrypoint: a}\nspec: {entrypoint: b}", "'spec' is there twice"),
    "a key twice inside": ("kind: Workflow\nspec: {templates: [{name: a, name: b}]}", "'name' is there twice"),
    "a long number": (f"kind: Workflow\nspec: {{a: {'9' * 6000}}}", "number that is too long"),
    "a mapping for a list": ("kind: Workflow\nmetadata: {name: x}\nspec: {templates: {a: 1}}", "wrong type"),
    "a list for a mapping": ("kind: Workflow\nmetadata: {name: x}\nspec: [1]", "cannot be converted:\n  kind: "),
    "a text for a template": ("kind: Workflow\nmetadata: {name: x}\nspec: {templates: [a]}", "wrong type"),
}


@pytest.mark.parametrize(("content", "said"), BROKEN.values(), ids=BROKEN)
def test_a_hostile_file_is_refused_with_the_reason(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "workflow.yaml").write_text(content)
    began = time.process_time()
    done = convert(tmp_path / "workflow.yaml")
    assert done.code == 2, done.said
    assert said in done.said
    assert time.process_time() - began < 5
