"""The common part of every object."""

from typing import Any

from lockgate.rendering.labels import MANAGED_BY, PART_OF

LABELS = {PART_OF: "lockgate", MANAGED_BY: "lockgate"}
WHY = "lockgate.io/why"
AS_RENDERED = "-as-rendered"  # the name of what `doctor` asks about ends so; it is never stored


def document(version: str, kind: str, name: str, namespace: str = "", why: str = "", **body: Any) -> dict[str, Any]:
    """Return one object; `why` becomes an annotation that explains it on the cluster."""
    metadata: dict[str, Any] = {"name": name, "labels": dict(LABELS)}
    if namespace:
        metadata["namespace"] = namespace
    if why:
        metadata["annotations"] = {WHY: why}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **body}
