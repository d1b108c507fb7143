"""What can start runs on a cluster: earlier templates that are still there, and the state of each schedule."""

from collections.abc import Mapping
from typing import Any

from lockgate.cluster.manifests.accounts import ARGO, EXECUTOR
from lockgate.cluster.objects import ClusterObjects
from lockgate.definition.project import Project
from lockgate.doctor.checks import Finding
from lockgate.records.schedule import Schedule
from lockgate.rendering.current import current_of
from lockgate.rendering.labels import PART_OF

_VERSION = f"{ARGO}/v1alpha1"
_OURS = {PART_OF: "lockgate"}
_SECRETS = ("accessKeySecret", "projected", "secret", "secretKeyRef", "secretKeySecret", "secretRef")
_ENDED = ("Succeeded", "Failed", "Error")


def templates(live: ClusterObjects, project: Project) -> Finding:
    """Name the templates that are out of date; the admission policy lets none of them start a run.

    A template with a key, an account or credentials that nobody rendered is a fault, whatever its labels say.
    """
    current = {name for each in current_of(project).values() for name in each.templates}
    there = live.listed(_VERSION, "WorkflowTemplate", {})
    ours = {_name(each) for each in there if _OURS.items() <= (each["metadata"].get("labels") or {}).items()}
    place = live.settings.namespace
    if strange := sorted(_name(each) for each in there if _name(each) not in ours | current and _takes(each)):
        found = f"not rendered, but with keys, an account or credentials: {', '.join(strange)}"
        fix = f"find out who applied them, then kubectl delete workflowtemplate -n {place} {' '.join(strange)}"
        return Finding("templates", found, fix)
    old = sorted(ours - current)
    if not old:
        return Finding("templates", f"{len(ours)} templates, none out of date")
    runs = [run for run in live.listed(_VERSION, "Workflow", {}) if _phase(run) not in _ENDED]
    used = {run["spec"].get("workflowTemplateRef", {}).get("name", "") for run in runs}
    free, busy = [name for name in old if name not in used], [name for name in old if name in used]
    # A run fails if its template is deleted, so only the free ones are in the command.
    remove = f"; remove: kubectl delete workflowtemplate -n {place} {' '.join(free)}" if free else ""
    keep = f"; runs in progress use {', '.join(busy)}" if busy else ""
    return Finding("templates", f"{len(old)} templates are out of date and cannot start a run{remove}{keep}")


def _name(template: Mapping[str, Any]) -> str:
    return str(template["metadata"]["name"])


def _takes(template: Mapping[str, Any]) -> bool:
    """Return whether a template names a Secret or another account than the executor's, anywhere."""

    def walk(value: Any) -> bool:
        if isinstance(value, list):
            return any(map(walk, value))
        if not isinstance(value, dict):
            return isinstance(value, str) and "secretName" in value  # a patch of a pod is a text
        named = value.get("serviceAccountName", EXECUTOR) != EXECUTOR
        return named or any(key in _SECRETS or walk(each) for key, each in value.items())

    return walk(template["spec"])


def _phase(run: dict[str, object]) -> str:
    status = run.get("status")
    return str(status.get("phase", "")) if isinstance(status, dict) else ""


def schedules(live: ClusterObjects, project: Project) -> Finding:
    """Check that Argo has stopped no schedule, and that each starts the current template, and did when it should."""
    found = [Schedule.of(each) for each in live.listed(_VERSION, "CronWorkflow", _OURS)]
    shown = "; ".join(each.line for each in found) or "no schedule"
    place = live.settings.namespace
    if stopped := [each for each in found if each.state == "stopped"]:
        names = " ".join(each.name for each in stopped)
        apply = f"kubectl apply --server-side -n {place} -R -f workflows"
        return Finding("schedules", shown, f"kubectl delete cronworkflow -n {place} {names}, then {apply}")
    current = {name for each in current_of(project).values() for name in each.templates}
    if old := [each.name for each in found if each.template not in current]:
        fix = f"lockgate render, then kubectl apply --server-side -n {place} -R -f workflows"
        return Finding("schedules", f"{', '.join(old)} would start a template that is out of date; {shown}", fix)
    if missed := [each for each in found if each.missed]:
        names = " ".join(each.run_missed for each in missed)
        taken = f"see who has taken its name: kubectl get workflows -n {place} {names}"
        fix = f"{taken}; then lockgate submit {missed[0].model}"
        return Finding("schedules", shown, fix)
    return Finding("schedules", shown)
