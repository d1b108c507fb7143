"""What of a run is compared: phase and message, and of every node what does not differ from one run to the next.

One function reads both, the status of a Workflow and a local run's record: they name things alike. A run has the name
of its workflow, so ids are alike too; nodes are named without it, the first one `.`.
"""

import re
from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

_STOPPED = re.compile("exceeded its deadline|shutdown with strategy|Stopped with strategy|exceeded workflow deadline")
_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ])\d\d:\d\d:\d\d")


def normal(status: Mapping[str, Any], workflow: str) -> Json:
    """The form in which a run is recorded and compared."""
    nodes = {node["id"]: node for node in status["nodes"].values()}
    names = {key: node["name"].removeprefix(workflow) or "." for key, node in nodes.items()}
    found = {names[key]: _node(node, names) for key, node in nodes.items()}
    return {
        "phase": status["phase"],
        "message": _timeless(status.get("message")),
        "nodes": {name: found[name] for name in sorted(found)},
    }


def _late(node: Mapping[str, Any]) -> bool:
    """Whether a pod was ended from outside: then it is by chance whether Argo still learns its exit code."""
    return node["type"] in ("Pod", "Retry") and bool(_STOPPED.search(node.get("message") or ""))


def _node(node: Mapping[str, Any], names: Mapping[str, str]) -> Json:
    reference = node.get("templateRef")
    boundary = node.get("boundaryID")
    made = {
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
    if _late(node):
        made["outputs"].pop("exitCode", None)
    return {field: value for field, value in made.items() if value not in (None, "", [], {}, False)}


def _values(given: Mapping[str, Any] | None) -> Json:
    """Parameters with their values, artifacts by their names."""
    given = given or {}
    made: Json = {field: given[field] for field in ("exitCode", "result") if given.get(field) is not None}
    if given.get("parameters"):
        made["parameters"] = {each["name"]: each.get("value") for each in given["parameters"]}
    if given.get("artifacts"):
        made["artifacts"] = sorted(each["name"] for each in given["artifacts"])
    return made


def _timeless(message: str | None) -> str:
    return _TIME.sub(r"0000-00-00\g<1>00:00:00", message or "")
