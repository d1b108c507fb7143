"""Which names have a value where: the tags of a template, and what its tasks give to those that wait for them."""

from collections.abc import Iterator

from lockgate.engine.controller.items import looped
from lockgate.engine.controller.retries import SAMPLE
from lockgate.engine.errors import Problem
from lockgate.engine.expressions.expressions import ExpressionError
from lockgate.engine.expressions.tags import tags
from lockgate.engine.manifest.manifest import Json, Template, Workflow, entries, hooks_of

# Only tags that begin so are the controller's; any other is left as it stands.
_ROOTS = ("item", "steps.", "tasks.", "inputs.", "outputs.", "workflow.", "pod.", "node.", "lastRetry.", "retries")
_GLOBALS = "name namespace uid mainEntrypoint serviceAccountName creationTimestamp parameters parameters.json status"
_GLOBALS += " labels labels.json annotations annotations.json duration"
_CLOCK = ("s", "RFC3339", *"aAbBcdHIjmMpSUwWxXyYZz")


Key = tuple[str, str]  # a template: its document and its name


def called(document: str, caller: Json) -> Key:
    """The template that a task, a step or a hook in a document calls."""
    away = caller.get("templateRef")
    return (str(away.get("name")), str(away.get("template"))) if away else (document, str(caller.get("template")))


def calls(template: Template) -> Iterator[tuple[Json, Key]]:
    """Each task or step of a template, and the template it calls."""
    for task in template.tasks:
        yield task, called(template.document, task)


def reached(workflow: Workflow, *keys: Key) -> set[Key]:
    """The templates reached from templates, themselves among them."""
    waiting = list(keys)
    seen: set[Key] = set()
    while waiting:
        key = waiting.pop()
        if key in workflow.templates and key not in seen:
            seen.add(key)
            for task in workflow.templates[key].tasks:
                waiting += [called(key[0], caller) for caller in (task, *hooks_of(task).values())]
    return seen


def reached_in(workflow: Workflow) -> set[Key]:
    """The templates a run can reach: from its entrypoint, and from its hooks."""
    spec, document = workflow.spec, workflow.document
    hooks = [called(document, hook) for hook in hooks_of(spec).values()]
    return reached(workflow, (document, str(spec.get("entrypoint"))), *hooks)


def tags_of_a_run(workflow: Workflow) -> set[str]:
    """Every tag that has a value everywhere in a run."""
    known = {f"workflow.{name}" for name in _GLOBALS.split()}
    known |= {f"workflow.creationTimestamp.{part}" for part in _CLOCK}
    known |= {f"workflow.parameters.{name}" for name in workflow.parameters}
    known |= {f"workflow.labels.{name}" for name in workflow.labels}
    known |= {f"workflow.annotations.{name}" for name in workflow.annotations}
    return known


def scope_of(workflow: Workflow, template: Template) -> set[str]:
    """Every tag that has a value in a template, whatever its tasks give."""
    known = tags_of_a_run(workflow) | {"node.name", "tasks.name", "steps.name", "inputs.parameters"}
    known |= {f"inputs.parameters.{each.get('name')}" for each in entries(template.body, "inputs", "parameters")}
    known |= {f"inputs.artifacts.{each.get('name')}" for each in entries(template.body, "inputs", "artifacts")}
    if template.is_pod:
        known |= {"pod.name"}
        known |= {f"inputs.artifacts.{each.get('name')}.path" for each in entries(template.body, "inputs", "artifacts")}
        for kind in ("artifacts", "parameters"):
            known |= {f"outputs.{kind}.{each.get('name')}.path" for each in entries(template.body, "outputs", kind)}
    if template.body.get("retryStrategy") or workflow.spec.get("retryStrategy"):
        known |= set(SAMPLE)
    return known


def outputs_of(workflow: Workflow, template: Template, task_name: str) -> set[str]:
    """Every tag that a task of a dag, or a step, gives to those after it."""
    prefix = f"{template.kind if template.kind == 'steps' else 'tasks'}.{task_name}"
    task, key = next(((task, key) for task, key in calls(template) if task.get("name") == task_name), ({}, ("", "")))
    target = workflow.templates.get(key)
    if looped(task):  # of a loop there are lists, and no single node
        names = [each.get("name") for each in entries(target.body if target else {}, "outputs", "parameters")]
        parts = ["result", "parameters", *(f"parameters.{name}" for name in names)]
        return {f"{prefix}.outputs.{part}" for part in parts}
    given = {f"{prefix}.{name}" for name in ("id", "status", "startedAt", "finishedAt")}
    if target is None:
        return given
    if target.is_pod:
        given |= {f"{prefix}.exitCode", f"{prefix}.outputs.result"}
    for kind in ("parameters", "artifacts"):
        given |= {f"{prefix}.outputs.{kind}.{each.get('name')}" for each in entries(target.body, "outputs", kind)}
    return given


def tags_read(tree: object) -> set[str]:
    """The names that the tags of a tree read."""
    try:
        return {name for tag in tags(tree) for name in tag.reads}
    except ExpressionError:
        return set()  # `unknown_tags` says so


def unknown_tags(place: str, tree: object, known: set[str]) -> Iterator[Problem]:
    """The tags of a tree that would have no value."""
    try:
        for tag in tags(tree):
            if "{{" in tag.text:
                yield Problem(place, f"{{{{{tag.text}}}}} holds a tag within a tag, which is not executed locally")
            for name in tag.reads:
                parent = any(each.startswith(f"{name}.") for each in known) if tag.expression else False
                if name.startswith(_ROOTS) and name not in known and not parent:
                    yield Problem(place, f"{{{{{tag.text}}}}} has no value here")
    except ExpressionError as error:
        yield Problem(place, str(error))
