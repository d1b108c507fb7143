"""The outer form of every object."""

from typing import Any

LABELS = {"app.kubernetes.io/part-of": "lockgate", "app.kubernetes.io/managed-by": "lockgate"}
WHY = "lockgate.io/why"


def document(version: str, kind: str, name: str, namespace: str = "", why: str = "", **body: Any) -> dict[str, Any]:
    """One object; `why` is kept with it as an annotation, where whoever finds it on the cluster reads it."""
    metadata: dict[str, Any] = {"name": name, "labels": dict(LABELS)}
    if namespace:
        metadata["namespace"] = namespace
    if why:
        metadata["annotations"] = {WHY: why}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **body}
