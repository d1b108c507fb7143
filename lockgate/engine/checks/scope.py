"""Find which tags have a value where: those of a template, and the outputs of tasks for the tasks after them."""

from collections.abc import Iterator

from lockgate.engine.controller.items import looped
from lockgate.engine.controller.retries import SAMPLE
from lockgate.engine.errors import Problem
from lockgate.engine.expressions import ExpressionError, find_tags
from lockgate.engine.manifest import Json, Template, Workflow, entries, hooks_of

# The controller replaces only tags with these prefixes; it leaves any other unchanged.
_ROOTS = ("item", "steps.", "tasks.", "inputs.", "outputs.", "workflow.", "pod.", "node.", "lastRetry.", "retries")
_GLOBALS = "name namespace uid mainEntrypoint serviceAccountName creationTimestamp parameters parameters.json status"
_GLOBALS += " labels labels.json annotations annotations.json duration"
_CLOCK = ("s", "RFC3339", *"aAbBcdHIjmMpSUwWxXyYZz")

Key = tuple[str, str]  # a template: its document and its name


def called(document: str, caller: Json) -> Key:
    """Return the template that a task, a step or a hook in a document calls."""
    away = caller.get("templateRef")
    return (str(away.get("name")), str(away.get("template"))) if away else (document, str(caller.get("template")))


def calls(template: Template) -> Iterator[tuple[Json, Key]]:
    """Yield each task or step of a template, and the template it calls."""
    for task in template.tasks:
        yield task, called(template.document, task)


def reached(workflow: Workflow, *keys: Key) -> set[Key]:
    """Return the templates that can be reached from these, including these."""
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
    """Return the templates that a run can reach, from its entrypoint and its hooks."""
    spec, document = workflow.spec, workflow.document
    hooks = [called(document, hook) for hook in hooks_of(spec).values()]
    return reached(workflow, (document, str(spec.get("entrypoint"))), *hooks)


def tags_of_a_run(workflow: Workflow) -> set[str]:
    """Return every tag that has a value everywhere in a run."""
    known = {f"workflow.{name}" for name in _GLOBALS.split()}
    known |= {f"workflow.creationTimestamp.{part}" for part in _CLOCK}
    known |= {f"workflow.parameters.{name}" for name in workflow.parameters}
    known |= {f"workflow.labels.{name}" for name in workflow.labels}
    known |= {f"workflow.annotations.{name}" for name in workflow.annotations}
    return known


def scope_of(workflow: Workflow, template: Template) -> set[str]:
    """Return every tag that has a value in a template, without the outputs of its tasks."""
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
    """Return every tag that a task of a dag, or a step, sets for those after it."""
    prefix = f"{template.kind if template.kind == 'steps' else 'tasks'}.{task_name}"
    task, key = next(((task, key) for task, key in calls(template) if task.get("name") == task_name), ({}, ("", "")))
    target = workflow.templates.get(key)
    if looped(task):  # a loop has lists of outputs, and no single node
        names = [each.get("name") for each in entries(target.body if target else {}, "outputs", "parameters")]
        parts = ["result", "parameters", *(f"parameters.{name}" for name in names)]
        return {f"{prefix}.outputs.{part}" for part in parts}
    found = {f"{prefix}.{name}" for name in ("id", "status", "startedAt", "finishedAt")}
    if target is None:
        return found
    if target.is_pod:
        found |= {f"{prefix}.exitCode", f"{prefix}.outputs.result"}
    for kind in ("parameters", "artifacts"):
        found |= {f"{prefix}.outputs.{kind}.{each.get('name')}" for each in entries(target.body, "outputs", kind)}
    return found


def tags_read(tree: object) -> set[str]:
    """Return the names that the tags of a tree read."""
    try:
        return {name for tag in find_tags(tree) for name in tag.reads}
    except ExpressionError:
        return set()  # `unknown_tags` reports it


def unknown_tags(place: str, tree: object, known: set[str]) -> Iterator[Problem]:
    """Yield a problem for each tag of a tree that would have no value."""
    try:
        for tag in find_tags(tree):
            if "{{" in tag.text:
                yield Problem(place, f"{{{{{tag.text}}}}} contains a tag within a tag, which is not executed locally")
            for name in tag.reads:
                parent = any(each.startswith(f"{name}.") for each in known) if tag.expression else False
                if name.startswith(_ROOTS) and name not in known and not parent:
                    yield Problem(place, f"{{{{{tag.text}}}}} has no value here")
    except ExpressionError as error:
        yield Problem(place, str(error))
