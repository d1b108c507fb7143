"""Which names have a value where: the tags of a template, and what its tasks give to those that wait for them."""

from collections.abc import Iterator

from lockgate.local.errors import Problem
from lockgate.local.expressions import ExpressionError
from lockgate.local.manifest import Json, Template, Workflow, entries
from lockgate.local.retries import SAMPLE
from lockgate.local.tags import tags

# Only tags that begin so are the controller's; any other is left as it stands.
_ROOTS = ("item", "steps.", "tasks.", "inputs.", "outputs.", "workflow.", "pod.", "node.", "lastRetry.", "retries")
_GLOBALS = "name namespace uid mainEntrypoint serviceAccountName creationTimestamp parameters parameters.json status"
_GLOBALS += " labels labels.json annotations annotations.json duration"
_CLOCK = ("s", "RFC3339", *"aAbBcdHIjmMpSUwWxXyYZz")


def calls(template: Template) -> Iterator[tuple[Json, tuple[str, str]]]:
    """Each task of a template, and the template it calls."""
    for task in entries(template.body, "dag", "tasks"):
        away = task.get("templateRef")
        yield (
            task,
            (str(away.get("name")), str(away.get("template")))
            if away
            else (template.document, str(task.get("template"))),
        )


def reached(workflow: Workflow, document: str, name: str) -> set[tuple[str, str]]:
    """The templates reached from a template, itself among them."""
    waiting = [(document, name)]
    seen: set[tuple[str, str]] = set()
    while waiting:
        key = waiting.pop()
        if key in workflow.templates and key not in seen:
            seen.add(key)
            waiting += [called for _, called in calls(workflow.templates[key])]
    return seen


def scope_of(workflow: Workflow, template: Template) -> set[str]:
    """Every tag that has a value in a template, whatever its tasks give."""
    known = {f"workflow.{name}" for name in _GLOBALS.split()} | {"node.name", "tasks.name", "inputs.parameters"}
    known |= {f"workflow.creationTimestamp.{part}" for part in _CLOCK}
    known |= {f"workflow.parameters.{name}" for name in workflow.parameters}
    known |= {f"workflow.labels.{name}" for name in workflow.labels}
    known |= {f"workflow.annotations.{name}" for name in workflow.annotations}
    known |= {f"inputs.parameters.{each.get('name')}" for each in entries(template.body, "inputs", "parameters")}
    known |= {f"inputs.artifacts.{each.get('name')}" for each in entries(template.body, "inputs", "artifacts")}
    if not template.is_dag:
        known |= {"pod.name"}
        known |= {f"inputs.artifacts.{each.get('name')}.path" for each in entries(template.body, "inputs", "artifacts")}
        for kind in ("artifacts", "parameters"):
            known |= {f"outputs.{kind}.{each.get('name')}.path" for each in entries(template.body, "outputs", kind)}
    if template.body.get("retryStrategy") or workflow.spec.get("retryStrategy"):
        known |= set(SAMPLE)
    return known


def outputs_of(workflow: Workflow, template: Template, task_name: str) -> set[str]:
    """Every tag that a task of a dag gives to those that wait for it."""
    prefix = f"tasks.{task_name}"
    called = next((called for task, called in calls(template) if task.get("name") == task_name), None)
    target = workflow.templates.get(called) if called else None
    given = {f"{prefix}.{name}" for name in ("id", "status", "startedAt", "finishedAt")}
    if target is None:
        return given
    if not target.is_dag:
        given |= {f"{prefix}.exitCode"}
    for kind in ("parameters", "artifacts"):
        given |= {f"{prefix}.outputs.{kind}.{each.get('name')}" for each in entries(target.body, "outputs", kind)}
    return given


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
