"""Process templates: substitute arguments and tags, as the controller does before it executes a template."""

import copy
import json
from collections.abc import Mapping
from typing import Any

from lockgate.engine.controller.items import LOOPS
from lockgate.engine.controller.variables import Scope
from lockgate.engine.expressions import ABSENT, ExpressionError, TagError, Values, decide_when, reference, replace
from lockgate.engine.manifest import Json, entries, text

LATE = ("tasks.", "steps.")


def arguments(given: Mapping[str, Any], shared: Values, scope: Scope) -> Json:
    """Return the arguments of a task, a step or a hook with the outputs of those before it substituted.

    Errors: TagError: the task is in error.
    """
    values = {**shared, **scope.values}
    parameters = []
    for parameter in entries(given, "parameters"):
        source = reference(text(parameter["value"]))
        if source in values and values[source] is None:
            # The output of a skipped task: treated as a missing argument, so that a default applies.
            parameters.append({"name": parameter["name"], "absent": True})
        else:
            value = replace(text(parameter["value"]), values, strict=LATE)
            parameters.append({"name": parameter["name"], "value": value})
    found = []
    for artifact in entries(given, "artifacts"):
        if artifact.get("raw") is not None:
            found.append({"name": artifact["name"], "raw": replace(artifact["raw"], values, strict=LATE)})
            continue
        source = reference(artifact["from"])
        if source in scope.artifacts:
            found.append({**scope.artifacts[source], "name": artifact["name"]})
        elif not artifact.get("optional"):
            message = f'Unable to resolve: "{source}"'
            raise TagError(message)
    return {"parameters": parameters, "artifacts": found}


def task(body: Json, shared: Values, scope: Scope) -> Json:
    """Return a task or a step with the outputs of those before it substituted; without arguments if it will not run.

    Errors: TagError, ExpressionError: the task is in error.
    """
    values = {**shared, **scope.values}
    when = replace(body.get("when") or "", values, strict=LATE)
    loops = replace({field: body[field] for field in LOOPS if field in body}, values, strict=LATE)
    try:
        runs = not when or decide_when(when)
    except ExpressionError:
        if not loops:
            raise
        runs = True  # it may have a value only with the item substituted
    given = arguments(body.get("arguments") or {}, shared, scope) if runs else {}
    return {**body, **loops, "when": when, "arguments": given}


def template(body: Json, given: Json, shared: Values, local: Values) -> Json:
    """Return a template with its arguments substituted; `shared` and `local` are the tags of workflow and node.

    Errors: TagError: the node is in error.
    """
    body = copy.deepcopy(body)
    passed = {each["name"]: each for each in entries(given, "parameters")}
    for parameter in entries(body, "inputs", "parameters"):
        parameter["value"] = _value(parameter, passed.get(parameter["name"]))
    located = {each["name"]: each for each in entries(given, "artifacts")}
    for artifact in entries(body, "inputs", "artifacts"):
        missing = artifact["name"] not in located and artifact.get("raw") is None
        if missing and not artifact.get("optional"):
            message = f"inputs.artifacts.{artifact['name']} was not supplied"
            raise TagError(message)
    body = replace(body, {**shared, **local})
    values: dict[str, str | None] = {**shared, **local}
    parameters = [{"name": each["name"], "value": each["value"]} for each in entries(body, "inputs", "parameters")]
    values |= {f"inputs.parameters.{each['name']}": each["value"] for each in parameters}
    values["inputs.parameters"] = json.dumps(parameters, separators=(",", ":"))
    for side in ("inputs", "outputs"):
        for artifact in entries(body, side, "artifacts"):
            values[f"{side}.artifacts.{artifact['name']}.path"] = artifact.get("path", "")
    for parameter in entries(body, "outputs", "parameters"):
        path = (parameter.get("valueFrom") or {}).get("path")
        values |= {f"outputs.parameters.{parameter['name']}.path": path} if path else {}
    body = replace(body, values)
    for artifact in entries(body, "inputs", "artifacts"):
        if artifact["name"] in located:
            # As in the controller, the argument decides where the artifact is and whether it is optional.
            artifact.pop("raw", None)
            artifact.pop("optional", None)
            artifact |= {key: value for key, value in located[artifact["name"]].items() if key != "path"}
    return dict(body)


def _value(parameter: Json, given: Json | None) -> str:
    value = parameter.get("value")
    if value is None:
        value = parameter.get("default")
    if given is not None and not given.get("absent"):
        value = given.get("value")
    if value is None:
        absent = given is not None and given.get("absent")
        message = f"inputs.parameters.{parameter['name']}"
        message += f": argument references an absent optional ({ABSENT})" if absent else " was not supplied"
        raise TagError(message)
    return text(value)


def shown_inputs(body: Json) -> Json:
    """Return the inputs of a processed template for the record, without raw data."""
    inputs: Json = {}
    for parameter in entries(body, "inputs", "parameters"):
        inputs.setdefault("parameters", []).append({"name": parameter["name"], "value": parameter["value"]})
    for artifact in entries(body, "inputs", "artifacts"):
        shown = {key: value for key, value in artifact.items() if key in ("name", "path", "local", "execution")}
        inputs.setdefault("artifacts", []).append({**shown, **({"raw": {}} if artifact.get("raw") else {})})
    return inputs


def outputs(body: Json, scope: Scope) -> Json:
    """Return the outputs of a dag or of steps, from the outputs of its nodes.

    Errors: TagError: the node is in error.
    """
    outputs: Json = {"parameters": [], "artifacts": []}
    for parameter in entries(body, "outputs", "parameters"):
        outputs["parameters"].append({"name": parameter["name"], "value": _output(parameter, scope.values)})
    for artifact in entries(body, "outputs", "artifacts"):
        source = reference(artifact["from"])
        if source in scope.artifacts:
            outputs["artifacts"].append({**scope.artifacts[source], "name": artifact["name"]})
        elif not artifact.get("optional"):
            message = f'unable to resolve outputs from scope: Unable to resolve: "{source}"'
            raise TagError(message)
    return {key: value for key, value in outputs.items() if value}


def _output(parameter: Json, values: Values) -> str:
    origin = parameter["valueFrom"]
    source = reference(origin["parameter"])
    value = values.get(source)
    if value is None and origin.get("default") is not None:
        return text(origin["default"])
    if value is None and source in values:
        message = f'output parameter "{parameter["name"]}": "{origin["parameter"]}" is an absent optional'
        message += " (skipped/omitted node output with no default)"
        raise TagError(message)
    if value is None:
        message = f'Unable to resolve: "{source}"'
        raise TagError(message)
    return value


def mutexes(holder: Json, namespace: str, shared: Values) -> list[str]:
    """Return the names of the mutexes of a workflow or template, as in the controller's messages."""
    wanted = holder.get("synchronization") or {}
    every = [*([wanted["mutex"]] if wanted.get("mutex") else []), *(wanted.get("mutexes") or [])]
    return [f"{each.get('namespace') or namespace}/Mutex/{replace(each['name'], shared)}" for each in every]
