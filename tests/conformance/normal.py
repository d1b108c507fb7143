"""The normal form of a run: phase, message and nodes, without what differs from one run to the next.

One function reads both the status of a Workflow and the record of a local run: they use the same names. A run has the
name of its workflow, so its ids are equal too; nodes are named without that prefix, the first one `.`.
"""

import re
from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

_STOPPED = re.compile("exceeded its deadline|shutdown with strategy|Stopped with strategy|exceeded workflow deadline")
_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ])\d\d:\d\d:\d\d")


def normal(status: Mapping[str, Any], workflow: str) -> Json:
    """Return the form in which a run is recorded and compared."""
    nodes = {node["id"]: node for node in status["nodes"].values()}
    names = {key: node["name"].removeprefix(workflow) or "." for key, node in nodes.items()}
    found = {names[key]: _node(node, names) for key, node in nodes.items()}
    return {
        "phase": status["phase"],
        "message": _timeless(status.get("message")),
        "nodes": {name: found[name] for name in sorted(found)},
    }


def _stopped(node: Mapping[str, Any]) -> bool:
    """Return whether a pod was stopped from outside: Argo does not always learn its exit code then."""
    return node["type"] in ("Pod", "Retry") and bool(_STOPPED.search(node.get("message") or ""))


def _node(node: Mapping[str, Any], names: Mapping[str, str]) -> Json:
    reference = node.get("templateRef")
    boundary = node.get("boundaryID")
    form = {
        "display": node["displayName"],
        "type": node["type"],
        "template": reference["template"] if reference else node.get("templateName"),
        "phase": node["phase"],
        "message": _timeless(node.get("message")),
        "within": names[boundary] if boundary else None,
        "hook": node.get("hooked") or (node.get("nodeFlag") or {}).get("hooked"),
        "children": sorted(names.get(child, child) for child in node.get("children") or []),
        "inputs": _values(node.get("inputs")),
        "outputs": _values(node.get("outputs")),
    }
    if _stopped(node):
        form["outputs"].pop("exitCode", None)
    return {field: value for field, value in form.items() if value not in (None, "", [], {}, False)}


def _values(given: Mapping[str, Any] | None) -> Json:
    """Return parameters with their values, artifacts by name."""
    given = given or {}
    form: Json = {field: given[field] for field in ("exitCode", "result") if given.get(field) is not None}
    if given.get("parameters"):
        form["parameters"] = {each["name"]: each.get("value") for each in given["parameters"]}
    if given.get("artifacts"):
        form["artifacts"] = sorted(each["name"] for each in given["artifacts"])
    return form


def _timeless(message: str | None) -> str:
    return _TIME.sub(r"0000-00-00\g<1>00:00:00", message or "")
