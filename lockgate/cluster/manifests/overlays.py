"""What an overlay may add to the rendered objects; every other difference on a cluster is a finding of `doctor`."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

# What an overlay may add to a rendered WorkflowTemplate: the nodes where its pods run, and how images are pulled.
PLACEMENT = ("affinity", "nodeSelector", "schedulerName", "tolerations")
OVERLAY_OF_SPEC = (*PLACEMENT, "imagePullSecrets", "podPriorityClassName", "priority", "suspend")
OVERLAY_OF_TEMPLATE = (*PLACEMENT, "priorityClassName")
OVERLAY_OF_CONTAINER = ("imagePullPolicy", "resources")
# Fields of a kind that an overlay, the cluster or a person on duty may set. `*` is each entry of a list.
MAY_DIFFER: Mapping[str, tuple[str, ...]] = {
    "WorkflowTemplate": (
        *(f"spec.{name}" for name in OVERLAY_OF_SPEC),
        *(f"spec.templates.*.{name}" for name in OVERLAY_OF_TEMPLATE),
        *(f"spec.templates.*.container.{name}" for name in OVERLAY_OF_CONTAINER),
    ),
    "CronWorkflow": ("spec.suspend",),  # `doctor` and `status` show it
    "LimitRange": ("spec.limits",),
    "ResourceQuota": ("spec.hard",),
    "Secret": ("data",),  # the token that the API server writes
    "ServiceAccount": ("imagePullSecrets", "secrets"),
}
# Labels and annotations that nobody else may add: they change what Argo, Pod Security or Lockgate does.
OWN_MARKS = ("workflows.argoproj.io/", "pod-security.kubernetes.io/", "lockgate.io/")


def differences(wanted: Mapping[str, Any], defaulted: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the fields in which an object on a cluster differs from the rendered one, additions too.

    wanted: as rendered. defaulted: what the API server makes of it.
    """
    for what in ("labels", "annotations"):
        ours, theirs = wanted["metadata"].get(what) or {}, found["metadata"].get(what) or {}
        names = set(ours) | {name for name in theirs if name.startswith(OWN_MARKS)}
        yield from (f"metadata.{what}.{name}" for name in sorted(names) if ours.get(name) != theirs.get(name))
    kind = str(wanted["kind"])
    yield from _unlike("", _bare(kind, defaulted), _bare(kind, found))


def _bare(kind: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object without its identity, its status and what may differ."""
    left = {k: v for k, v in copy.deepcopy(dict(manifest)).items() if k not in ("metadata", "status", "kind")}
    left.pop("apiVersion", None)
    for path in MAY_DIFFER.get(kind, ()):
        _drop(left, path.split("."))
    return left


def _drop(value: Any, path: list[str]) -> None:
    if path[0] == "*":
        for each in value if isinstance(value, list) else ():
            _drop(each, path[1:])
    elif isinstance(value, dict):
        if len(path) == 1:
            value.pop(path[0], None)
        elif path[0] in value:
            _drop(value[path[0]], path[1:])


def _unlike(place: str, wanted: Any, found: Any) -> Iterator[str]:
    if isinstance(wanted, dict) and isinstance(found, dict):
        for name in sorted(wanted.keys() | found.keys()):
            yield from _unlike(f"{place}.{name}" if place else name, wanted.get(name), found.get(name))
    elif isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        for number, (w, f) in enumerate(zip(wanted, found, strict=True)):
            yield from _unlike(f"{place}.{number}", w, f)
    elif wanted != found:
        yield place
