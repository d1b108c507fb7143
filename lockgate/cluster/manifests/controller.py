"""Argo's controller: the settings it needs, by minor version, and the versions that must not be used.

The settings lie apart, in `kubernetes/argo-controller/`, since another team may own the controller; `doctor` tells
whether they hold. They are patches: what they do not name stays. To apply them server-side would not do: kubectl then
takes over what an earlier apply wrote, and the next apply removes it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from textwrap import indent
from typing import Any

import yaml
from lockgate_step import layout

from lockgate.cluster.manifests.settings import Settings
from lockgate.rendering.canonical import dump
from lockgate.rendering.manifest import LOCKED_DOWN

CONFIG = "workflow-controller-configmap"
CONTROLLER = "workflow-controller"
Version = tuple[int, int, int]


@dataclass(frozen=True)
class Flaw:
    """A known vulnerability; fixed: the first good patch of each minor version that got one.

    since: the first version that had it, where it is not old.
    """

    name: str
    what: str
    fixed: tuple[Version, ...]
    since: Version = (0, 0, 0)

    def holds(self, version: Version) -> bool:
        """Whether this version has it: a fix is good for its own minor version and for later ones."""
        if version < self.since:
            return False
        same = [fix for fix in self.fixed if fix[:2] == version[:2]]
        return version < (same[0] if same else max(self.fixed))


FLAWS = (
    Flaw("CVE-2025-62156", "an artifact's archive writes outside its folder", ((3, 6, 12), (3, 7, 3))),
    Flaw("CVE-2026-28229", "templates are readable with any token", ((3, 7, 11), (4, 0, 2))),
    Flaw("CVE-2026-31892", "a run's podSpecPatch overrides its template under Secure", ((3, 7, 11), (4, 0, 2))),
    Flaw("CVE-2026-40886", "a pod's annotation crashes the controller again and again", ((3, 7, 14), (4, 0, 5))),
    Flaw("CVE-2026-42294", "an event's body is read without limit", ((3, 7, 14), (4, 0, 5))),
    Flaw("CVE-2026-42296", "a run's hostNetwork or account overrides its template", ((3, 7, 14), (4, 0, 5))),
    Flaw("CVE-2026-42297", "anybody may change synchronization limits", ((4, 0, 5),), since=(4, 0, 0)),
    Flaw("CVE-2026-54526", "a run's artifactGC.podSpecPatch overrides its template", ((3, 7, 15), (4, 0, 6))),
)
ADVISED = {"3.7": "3.7.15", "4.0": "4.0.6", "4.1": "4.1.2"}


def flaws(version: Version) -> list[Flaw]:
    """What is known to be wrong with a version of Argo."""
    return [flaw for flaw in FLAWS if flaw.holds(version)]


def documents(settings: Settings) -> Iterator[dict[str, Any]]:
    """Patches of the controller's ConfigMap and Deployment, for `kubectl patch` and for kustomize."""
    data = {name: dump(value) for name, value in configuration(settings.argo).items()}
    yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG}, "data": data}
    environment = [{"name": name, "value": value} for name, value in ENVIRONMENT.items()]
    spec = {"template": {"spec": {"containers": [{"name": CONTROLLER, "env": environment}]}}}
    yield {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": CONTROLLER}, "spec": spec}


# How long the controller lets a workflow rest after it looked at it; by default 10 s, so each step waits as long.
ENVIRONMENT = {"DEFAULT_REQUEUE_TIME": "200ms"}


# Without these a run may override its template, or its pods are refused.
REQUIRED: dict[str, Any] = {
    "workflowRestrictions": {"templateReferencing": "Secure"},
    "executor": {"securityContext": LOCKED_DOWN},
}


def read(data: Mapping[str, str]) -> dict[str, Any]:
    """The entries of the controller's ConfigMap as it reads them; nothing where it could not.

    It writes them into one document: a text of one line behind its name, others indented below it.
    """
    lines = [f"{name}: {text}" if "\n" not in text else f"{name}:\n{indent(text, '  ')}" for name, text in data.items()]
    try:
        found = yaml.safe_load(data.get("config") or "\n".join(lines))
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def configuration(minor: str) -> dict[str, Any]:
    """The entries of the controller's ConfigMap; an entry that a version does not know keeps it from starting."""
    found: dict[str, Any] = {
        # A run may only name a template, and ends when that changes under it.
        "workflowRestrictions": REQUIRED["workflowRestrictions"],
        "executor": {
            "imagePullPolicy": "IfNotPresent",
            "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "512Mi"}},
            # Its image would run as root, and whose workflows do not say otherwise would be refused.
            "securityContext": {**LOCKED_DOWN, "runAsUser": layout.USER},
        },
    }
    if minor != "3.7":
        # A pod that never began because its node went is made again; 3.7 does not know this setting.
        found["failedPodRestart"] = {"enabled": True, "maxRestarts": 3}
    return found
