"""Checks between the tasks of a dag or steps, and between a task, a step or a hook and the template it calls."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lockgate.engine.checks.scope import Key, called, calls, outputs_of, tags_read, unknown_tags
from lockgate.engine.controller.items import LOOPS, looped
from lockgate.engine.errors import Problem
from lockgate.engine.expressions import (
    RESULTS,
    ExpressionError,
    check,
    decide_depends,
    depends_logic,
    expand,
    parse,
    reference,
)
from lockgate.engine.manifest import Json, Template, Workflow, entries, groups_of, hooks_of, text

_NO_TASKS = "must have at least one task"
_NO_STEPS = "must have at least one group, and each group at least one step"
_FORMAT = re.compile(r'[^%"\\]*%0?[0-9]*[dxXo][^%"\\]*')
_TASK_NAME = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9]*")
_RESULT = re.compile(r"([a-zA-Z0-9][-a-zA-Z0-9]*?)\.([A-Z][a-zA-Z]+)")


def task_problems(workflow: Workflow, template: Template, known: set[str]) -> Iterator[Problem]:
    """Yield the problems of a dag or steps: names, dependencies, arguments and outputs."""
    body, tasks = template.body, template.tasks
    names = [str(task.get("name")) for task in tasks]
    if template.kind == "steps" and not (tasks and all(groups_of(body))):
        yield Problem(f"{template.place}.steps", _NO_STEPS)
    if template.kind == "dag" and not (tasks and all(tasks)):
        yield Problem(f"{template.place}.dag.tasks", _NO_TASKS)
    if body.get("activeDeadlineSeconds") is not None:
        yield Problem(f"{template.place}.activeDeadlineSeconds", "is allowed only in container templates")
    places = list(_places(template))
    for place, name, seen in zip(places, names, range(len(names)), strict=True):
        if not _TASK_NAME.fullmatch(name) or name in names[:seen]:
            what = "step" if template.kind == "steps" else "task"
            yield Problem(f"{place}.name", f"{name!r} is not a unique {what} name of letters, digits and -")
    if template.kind == "dag":
        yield from _waits(template, names)
    before = _before(template, names)
    for place, name, (task, key) in zip(places, names, calls(template), strict=True):
        given = known | {each for earlier in before[name] for each in outputs_of(workflow, template, earlier)}
        yield from _loop(place, task)
        yield from _call(place, workflow, task, key, given | _item_tags(task))
        own = given | outputs_of(workflow, template, name) | (_item_tags(task) if template.kind == "steps" else set())
        yield from hook_problems(place, workflow, template.document, task, own)
    yield from _outputs(template, known | {each for name in names for each in outputs_of(workflow, template, name)})


def _places(template: Template) -> Iterator[str]:
    for index in range(len(entries(template.body, "dag", "tasks"))):
        yield f"{template.place}.dag.tasks[{index}]"
    for index, group in enumerate(groups_of(template.body)):
        yield from (f"{template.place}.steps[{index}][{place}]" for place in range(len(group)))


def _before(template: Template, names: list[str]) -> dict[str, set[str]]:
    """Return, for each task or step, those that have ended when it begins."""
    if template.kind == "steps":
        groups = [[str(step.get("name")) for step in group] for group in groups_of(template.body)]
        return {
            name: {each for group in groups[:at] for each in group} for at, now in enumerate(groups) for name in now
        }
    tasks = {str(task.get("name")): task for task in template.tasks}
    waits = {name: set(depends_logic(task, tasks)[0]) & set(names) for name, task in tasks.items()}
    return {name: _ancestors(name, waits) for name in waits}


def _waits(template: Template, names: list[str]) -> Iterator[Problem]:
    tasks = {name: task for name, task in zip(names, template.tasks, strict=True)}
    before = _before(template, names)
    depends_used = any(task.get("depends") for task in template.tasks)
    for place, name, task in zip(_places(template), names, template.tasks, strict=True):
        yield from _depends(place, task, tasks, depends_used)
        if name in before[name]:
            yield Problem(place, f"{name} depends on itself, through {', '.join(sorted(before[name]))}")


def _call(place: str, workflow: Workflow, caller: Json, key: Key, known: set[str]) -> Iterator[Problem]:
    """Yield the problems of what a task, a step or a hook calls, and of its arguments."""
    target = workflow.templates.get(key)
    if target is None:
        yield Problem(place, f"there is no template {key[1]!r}")
        return
    yield from supplied(place, caller.get("arguments") or {}, target)
    yield from _arguments(place, caller.get("arguments") or {}, target, known)
    rest = {name: value for name, value in caller.items() if name not in ("arguments", "hooks")}
    yield from unknown_tags(place, rest, known)


def hook_problems(place: str, workflow: Workflow, document: str, holder: Json, known: set[str]) -> Iterator[Problem]:
    """Yield the problems of the hooks of a task, a step or a workflow."""
    if holder.get("onExit") and "exit" in (holder.get("hooks") or {}):
        yield Problem(f"{place}.onExit", "cannot be used together with hooks.exit")
    for name, hook in hooks_of(holder).items():
        older = name == "exit" and holder.get("onExit")
        here = f"{place}.onExit" if older else f"{place}.hooks.{name}"
        if not _TASK_NAME.fullmatch(name):
            yield Problem(here, f"{name!r} is not a valid hook name; use letters, digits and -")
        if name != "exit" and not hook.get("expression"):
            yield Problem(f"{here}.expression", "is required; only the hook `exit` may omit it")
        target = workflow.templates.get(called(document, hook))
        if target is not None and name == "exit" and not hook["arguments"]:
            # It then gets the workflow's arguments; the template may declare only some of them.
            yield from supplied(here, workflow.spec.get("arguments") or {}, target, extras=True)
        else:
            call = {field: value for field, value in hook.items() if field != "expression"}
            yield from _call(here, workflow, call, called(document, hook), known)
        if hook.get("expression"):
            yield from unknown_tags(f"{here}.expression", "{{=" + hook["expression"] + "}}", known)
            try:
                check(parse(hook["expression"]), expand(dict.fromkeys(known, "")))
            except ExpressionError as error:
                yield Problem(f"{here}.expression", str(error))


def _item_tags(task: Json) -> set[str]:
    """Return the tags that the items of a task set; with `withParam`, every `item.` tag that the task reads."""
    if not looped(task):
        return set()
    listed = {f"item.{key}" for item in task.get("withItems") or [] if isinstance(item, dict) for key in item}
    unknown = {name for name in tags_read(task) if name.startswith("item.")} if task.get("withParam") else set()
    return {"item"} | listed | unknown


def _loop(place: str, task: Json) -> Iterator[Problem]:
    used = [field for field in LOOPS if field in task]
    if len(used) > 1:
        yield Problem(f"{place}.{used[1]}", f"cannot be used together with {used[0]}")
    sequence = task.get("withSequence")
    if sequence is not None:
        if ("count" in sequence) == ("end" in sequence):
            yield Problem(f"{place}.withSequence", "must have either count or end")
        if not _FORMAT.fullmatch(sequence.get("format") or "%d"):
            yield Problem(f"{place}.withSequence.format", "must contain one of %d, %x, %X and %o")


def _outputs(template: Template, known: set[str]) -> Iterator[Problem]:
    for index, parameter in enumerate(entries(template.body, "outputs", "parameters")):
        here = f"{template.place}.outputs.parameters[{index}]"
        if reference(str((parameter.get("valueFrom") or {}).get("parameter"))) not in known:
            yield Problem(f"{here}.valueFrom.parameter", "must be one tag that has a value here")
    for index, artifact in enumerate(entries(template.body, "outputs", "artifacts")):
        here = f"{template.place}.outputs.artifacts[{index}]"
        if artifact.get("path") is not None or reference(str(artifact.get("from"))) not in known:
            yield Problem(f"{here}.from", "must be one tag that names an artifact, without a path")
    for index, artifact in enumerate(entries(template.body, "inputs", "artifacts")):
        if artifact.get("path") is not None:
            yield Problem(f"{template.place}.inputs.artifacts[{index}].path", "is allowed only in container templates")


def supplied(place: str, arguments: Mapping[str, Any], target: Template, *, extras: bool = False) -> Iterator[Problem]:
    """Yield a problem for each missing and each undeclared argument of a template."""
    for kind in ("parameters", "artifacts"):
        wanted = {each.get("name"): each for each in entries(target.body, "inputs", kind)}
        given = {each.get("name") for each in entries(arguments, kind)}
        for name, each in wanted.items():
            source = (each.get("value"), each.get("default"), each.get("raw"), each.get("optional") or None)
            if name not in given and all(value is None for value in source):
                yield Problem(place, f"template {target.name} requires {kind[:-1]} {name!r}, which is not passed")
        for name in [] if extras else sorted(given - set(wanted), key=str):
            yield Problem(place, f"template {target.name} has no input {kind[:-1]} {name!r}")


def _arguments(place: str, arguments: Mapping[str, Any], target: Template, known: set[str]) -> Iterator[Problem]:
    parameters = {each.get("name"): each for each in entries(target.body, "inputs", "parameters")}
    for index, parameter in enumerate(entries(arguments, "parameters")):
        here = f"{place}.arguments.parameters[{index}]"
        value = parameter.get("value")
        if value is None:
            yield Problem(here, "has no value")
            continue
        allowed = [text(each) for each in parameters.get(parameter.get("name"), {}).get("enum") or []]
        if allowed and "{{" not in text(value) and text(value) not in allowed:
            yield Problem(here, f"is {text(value)!r}, not one of {', '.join(allowed)}")
        yield from unknown_tags(here, value, known)
    artifacts = {name for name in known if ".artifacts." in name}
    for index, artifact in enumerate(entries(arguments, "artifacts")):
        here = f"{place}.arguments.artifacts[{index}]"
        sources = [field for field in ("from", "raw") if artifact.get(field) is not None]
        if len(sources) != 1:
            yield Problem(here, "must have either from or raw")
        elif sources == ["from"] and reference(artifact["from"]) not in artifacts:
            yield Problem(f"{here}.from", f"{artifact['from']} is not an artifact that this task can read")
        elif sources == ["raw"]:
            yield from unknown_tags(f"{here}.raw", artifact["raw"], known)


def _depends(place: str, task: Json, tasks: Mapping[str, Json], depends_used: bool) -> Iterator[Problem]:
    if depends_used and task.get("dependencies"):
        yield Problem(f"{place}.dependencies", "cannot be used together with depends in one dag")
        return
    if depends_used and task.get("continueOn"):
        what = "cannot be used together with depends in one dag; use depends with .Failed or .Errored"
        yield Problem(f"{place}.continueOn", what)
    field = f"{place}.{'depends' if task.get('depends') else 'dependencies'}"
    waits, logic = depends_logic(task, tasks)
    for name in waits:
        if name not in tasks:
            yield Problem(field, f"there is no task {name!r}")
        elif name[0].isdigit():
            yield Problem(field, f"{name!r} begins with a digit; the controller cannot read such a name here")
    for name, result in _RESULT.findall(task.get("depends") or ""):
        if result not in RESULTS:
            yield Problem(field, f"{name}.{result}: the result must be one of {', '.join(RESULTS)}")
        elif result in ("AnySucceeded", "AllFailed") and name in tasks and not looped(tasks[name]):
            yield Problem(field, f"{name}.{result} applies only to loops, and {name} is not a loop")
    if logic and all(name in tasks for name in waits):
        try:
            for phase in ("Succeeded", "Failed"):
                decide_depends(logic, dict.fromkeys(waits, phase), {})
        except ExpressionError as error:
            yield Problem(field, str(error))


def _ancestors(name: str, waits: Mapping[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    ahead = [name]
    while ahead:
        new = waits.get(ahead.pop(), set()) - seen
        seen |= new
        ahead += new
    return seen
