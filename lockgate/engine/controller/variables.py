"""The values of tags: of the whole run, and of the tasks and steps within a template."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from lockgate.engine.manifest import Json, Template, Workflow, entries, text
from lockgate.engine.record import Node, rfc3339


@dataclass(frozen=True)
class Identity:
    """The identity of a run; it stays when the run is resumed."""

    name: str
    uid: str
    created_at: float


def _fnv(name: str) -> int:
    value = 0x811C9DC5
    for byte in name.encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def node_id(workflow: str, node: str) -> str:
    """Return the id that the controller gives a node."""
    return workflow if node == workflow else f"{workflow}-{_fnv(node)}"


def pod_name(workflow: str, node: str, template: str) -> str:
    """Return the name that the controller gives a pod."""
    return workflow if node == workflow else f"{workflow}-{template}"[:242] + f"-{_fnv(node)}"


def globals_of(workflow: Workflow, identity: Identity) -> dict[str, str | None]:
    """Return the tags of a whole run."""
    spec = workflow.spec
    created = datetime.fromtimestamp(identity.created_at, UTC)
    listed = [{"name": name, "value": value} for name, value in workflow.parameters.items()]
    values: dict[str, str | None] = {
        "workflow.name": identity.name,
        "workflow.namespace": workflow.namespace,
        "workflow.uid": identity.uid,
        "workflow.mainEntrypoint": spec["entrypoint"],
        "workflow.serviceAccountName": spec.get("serviceAccountName", ""),
        "workflow.creationTimestamp": rfc3339(identity.created_at),
        "workflow.creationTimestamp.RFC3339": rfc3339(identity.created_at),
        "workflow.creationTimestamp.s": str(int(identity.created_at)),
        "workflow.status": "Running",
        "workflow.duration": "0.000000",
    }
    values |= {f"workflow.creationTimestamp.{code}": created.strftime(f"%{code}") for code in "aAbBcdHIjmMpSUwWxXyYZz"}
    for name, content in (
        ("parameters", listed),
        ("labels", dict(workflow.labels)),
        ("annotations", dict(workflow.annotations)),
    ):
        values[f"workflow.{name}"] = values[f"workflow.{name}.json"] = json.dumps(content, separators=(",", ":"))
    values |= {f"workflow.parameters.{name}": value for name, value in workflow.parameters.items()}
    values |= {f"workflow.labels.{name}": value for name, value in workflow.labels.items()}
    values |= {f"workflow.annotations.{name}": value for name, value in workflow.annotations.items()}
    return values


def failures(workflow: str, nodes: Iterable[Node]) -> str:
    """Return `workflow.failures`: a JSON list, quoted once more as by the controller."""
    listed = [
        {
            "displayName": node.display_name,
            "message": node.message,
            "templateName": node.template_name,
            "phase": node.phase,
            "podName": pod_name(workflow, node.name, node.template_name),
            "finishedAt": rfc3339(node.finished_at or 0),
        }
        for node in nodes
        if node.failed
    ]
    return json.dumps(json.dumps(listed or None, separators=(",", ":"), ensure_ascii=False), ensure_ascii=False)


@dataclass
class Scope:
    """What the tasks of a dag, the steps of a group and their hooks can read: values and artifacts."""

    values: dict[str, str | None]
    artifacts: dict[str, Json]

    @classmethod
    def of(cls, template: Json) -> "Scope":
        """Return the scope of the inputs of a processed template."""
        listed = entries(template, "inputs", "artifacts")
        return cls(
            {f"inputs.parameters.{each['name']}": each["value"] for each in entries(template, "inputs", "parameters")},
            {f"inputs.artifacts.{each['name']}": each for each in listed if "local" in each or "raw" in each},
        )

    def take(self, prefix: str, node: Node, template: Template) -> None:
        """Add the outputs of a node.

        An output of a skipped or omitted task is its default, or absent (None), as in Argo from 3.7.16 and 4.0.7 on.
        """
        values = self.values
        values |= {f"{prefix}.id": node.id, f"{prefix}.status": node.phase}
        if node.started_at:
            values[f"{prefix}.startedAt"] = rfc3339(node.started_at)
        if node.finished_at:
            values[f"{prefix}.finishedAt"] = rfc3339(node.finished_at)
        if "exitCode" in node.outputs:
            values[f"{prefix}.exitCode"] = node.outputs["exitCode"]
        if "result" in node.outputs:
            values[f"{prefix}.outputs.result"] = node.outputs["result"]
        for parameter in entries(node.outputs, "parameters"):
            if "value" in parameter:
                values[f"{prefix}.outputs.parameters.{parameter['name']}"] = parameter["value"]
        if node.phase in ("Skipped", "Omitted"):
            for parameter in entries(template.body, "outputs", "parameters"):
                default = (parameter.get("valueFrom") or {}).get("default")
                values[f"{prefix}.outputs.parameters.{parameter['name']}"] = None if default is None else text(default)
        for artifact in entries(node.outputs, "artifacts"):
            self.artifacts[f"{prefix}.outputs.artifacts.{artifact['name']}"] = artifact
