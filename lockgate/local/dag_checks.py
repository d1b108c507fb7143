"""What can be wrong between the tasks of a dag, and between a task and the template it calls."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lockgate.local.errors import Problem
from lockgate.local.evaluation import RESULTS, decide_depends, depends_logic
from lockgate.local.expressions import ExpressionError
from lockgate.local.manifest import Json, Template, Workflow, entries, text
from lockgate.local.scope import calls, outputs_of, unknown_tags
from lockgate.local.tags import reference

_TASK_NAME = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9]*")
_RESULT = re.compile(r"([a-zA-Z0-9][-a-zA-Z0-9]*?)\.([A-Z][a-zA-Z]+)")


def dag_problems(workflow: Workflow, template: Template, known: set[str]) -> Iterator[Problem]:
    """What is wrong with a dag: its tasks, what they wait for, what they are given, what they give."""
    place, tasks = f"{template.place}.dag", entries(template.body, "dag", "tasks")
    names = [str(task.get("name")) for task in tasks]
    if not tasks:
        yield Problem(f"{place}.tasks", "must hold at least one task")
    if template.body.get("activeDeadlineSeconds") is not None:
        yield Problem(f"{template.place}.activeDeadlineSeconds", "is for containers")
    waits: dict[str, set[str]] = {}
    for index, task in enumerate(tasks):
        here = f"{place}.tasks[{index}]"
        if not _TASK_NAME.fullmatch(names[index]) or names[index] in names[:index]:
            yield Problem(f"{here}.name", f"{names[index]!r} is no task name of its own")
        yield from _depends(here, task, names, any(each.get("depends") for each in tasks))
        waits[names[index]] = set(depends_logic(task)[0]) & set(names)
    ancestors = {name: _ancestors(name, waits) for name in waits}
    for index, (task, called) in enumerate(calls(template)):
        here = f"{place}.tasks[{index}]"
        if names[index] in ancestors.get(names[index], ()):
            yield Problem(here, f"{names[index]} waits for itself, by {', '.join(sorted(ancestors[names[index]]))}")
        target = workflow.templates.get(called)
        if target is None:
            yield Problem(here, f"there is no template {called[1]!r}")
            continue
        given = {name for each in ancestors[names[index]] for name in outputs_of(workflow, template, each)}
        yield from supplied(here, task.get("arguments") or {}, target)
        yield from _arguments(here, task.get("arguments") or {}, target, known | given)
        rest = {key: value for key, value in task.items() if key != "arguments"}
        yield from unknown_tags(here, rest, known | given)
    every = {name for each in names for name in outputs_of(workflow, template, each)}
    for index, parameter in enumerate(entries(template.body, "outputs", "parameters")):
        here = f"{template.place}.outputs.parameters[{index}]"
        source = reference(str((parameter.get("valueFrom") or {}).get("parameter")))
        if parameter.get("value") is None and source not in known | every:
            yield Problem(f"{here}.valueFrom.parameter", "must be one tag that has a value here")
    for index, artifact in enumerate(entries(template.body, "outputs", "artifacts")):
        here = f"{template.place}.outputs.artifacts[{index}]"
        if artifact.get("path") is not None or reference(str(artifact.get("from"))) not in known | every:
            yield Problem(f"{here}.from", "must be one tag that names an artifact, and no path")
    for index, artifact in enumerate(entries(template.body, "inputs", "artifacts")):
        if artifact.get("path") is not None:
            yield Problem(f"{template.place}.inputs.artifacts[{index}].path", "is for containers")


def supplied(place: str, arguments: Mapping[str, Any], target: Template, *, extras: bool = False) -> Iterator[Problem]:
    """What a template needs and is not given, and what it is given and does not take."""
    for kind in ("parameters", "artifacts"):
        wanted = {each.get("name"): each for each in entries(target.body, "inputs", kind)}
        given = {each.get("name") for each in entries(arguments, kind)}
        for name, each in wanted.items():
            source = (each.get("value"), each.get("default"), each.get("raw"), each.get("optional") or None)
            if name not in given and all(value is None for value in source):
                yield Problem(place, f"template {target.name} needs {kind[:-1]} {name!r}, which it is not given")
        for name in [] if extras else sorted(given - set(wanted), key=str):
            yield Problem(place, f"template {target.name} takes no {kind[:-1]} {name!r}")


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
            yield Problem(here, "must have one of from and raw")
        elif sources == ["from"] and reference(artifact["from"]) not in artifacts:
            yield Problem(f"{here}.from", f"{artifact['from']} is no artifact that this task can have")
        elif sources == ["raw"]:
            yield from unknown_tags(f"{here}.raw", artifact["raw"], known)


def _depends(place: str, task: Json, names: list[str], depends_used: bool) -> Iterator[Problem]:
    if depends_used and task.get("dependencies"):
        yield Problem(f"{place}.dependencies", "not beside depends in one dag; the controller refuses it")
        return
    field = f"{place}.{'depends' if task.get('depends') else 'dependencies'}"
    waits, logic = depends_logic(task)
    for name in waits:
        if name not in names:
            yield Problem(field, f"there is no task {name!r}")
        elif name[0].isdigit():
            yield Problem(field, f"{name!r} begins with a digit, which the controller cannot wait for")
    for name, result in _RESULT.findall(task.get("depends") or ""):
        if result not in RESULTS:
            yield Problem(field, f"{name}.{result}: a result is one of {', '.join(RESULTS)}")
        elif result in ("AnySucceeded", "AllFailed"):
            yield Problem(field, f"{name}.{result} is about items, and {name} has none")
    if logic and all(name in names for name in waits):
        try:
            for phase in ("Succeeded", "Failed"):
                decide_depends(logic, dict.fromkeys(waits, phase))
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
