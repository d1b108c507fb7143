"""Argo's controller: the settings it needs, by minor version, and the versions that must not be used.

The settings are separate, in `kubernetes/argo-controller/`, because another team may own the controller; `doctor`
checks them. They are patches: they change only the fields they name. Server-side apply does not work here: kubectl
would take ownership of the fields of an earlier apply, and the next apply would remove them.
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
    """A known vulnerability.

    fixed: the first good patch of each minor version that has a fix.
    since: the first affected version, if older ones are not affected.
    """

    name: str
    what: str
    fixed: tuple[Version, ...]
    since: Version = (0, 0, 0)

    def holds(self, version: Version) -> bool:
        """Return whether this version is affected: a fix counts for its minor version and for later ones."""
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
    """Return the known vulnerabilities of a version of Argo."""
    return [flaw for flaw in FLAWS if flaw.holds(version)]


def documents(settings: Settings) -> Iterator[dict[str, Any]]:
    """Yield the patches of the controller's ConfigMap and Deployment, for `kubectl patch` and for kustomize."""
    data = {name: dump(value) for name, value in configuration(settings.argo).items()}
    yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG}, "data": data}
    environment = [{"name": name, "value": value} for name, value in ENVIRONMENT.items()]
    spec = {"template": {"spec": {"containers": [{"name": CONTROLLER, "env": environment}]}}}
    yield {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": CONTROLLER}, "spec": spec}


# The pause before the controller looks at a workflow again. Its default of 10 s would delay every step as much.
ENVIRONMENT = {"DEFAULT_REQUEUE_TIME": "200ms"}


# Without these a run can override its template, or its pods are refused.
REQUIRED: dict[str, Any] = {
    "workflowRestrictions": {"templateReferencing": "Secure"},
    "executor": {"securityContext": LOCKED_DOWN},
}


def read(data: Mapping[str, str]) -> dict[str, Any]:
    """Return the entries of the controller's ConfigMap as the controller reads them; empty if it could not.

    It joins them into one document: a one-line text after its name, others indented below it.
    """
    lines = [f"{name}: {text}" if "\n" not in text else f"{name}:\n{indent(text, '  ')}" for name, text in data.items()]
    try:
        found = yaml.safe_load(data.get("config") or "\n".join(lines))
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def configuration(minor: str) -> dict[str, Any]:
    """Return the entries of the controller's ConfigMap; with an unknown entry the controller does not start."""
    found: dict[str, Any] = {
        # A run may only name a template; it fails if the template changes meanwhile.
        "workflowRestrictions": REQUIRED["workflowRestrictions"],
        "executor": {
            "imagePullPolicy": "IfNotPresent",
            "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "500m", "memory": "512Mi"}},
            # The image's default user is root: workflows without settings of their own would be refused.
            "securityContext": {**LOCKED_DOWN, "runAsUser": layout.USER},
        },
    }
    if minor != "3.7":
        # Restart a pod that did not start because its node was lost; 3.7 does not have this setting.
        found["failedPodRestart"] = {"enabled": True, "maxRestarts": 3}
    return found
