"""What can start runs on a cluster: earlier templates that are still there, and the state of each schedule."""

from lockgate.cluster.manifests.accounts import ARGO
from lockgate.cluster.objects import ClusterObjects
from lockgate.cluster.watch import PART_OF
from lockgate.definition.project import Project
from lockgate.doctor.checks import Finding
from lockgate.records.schedule import Schedule
from lockgate.rendering.current import current_of

_VERSION = f"{ARGO}/v1alpha1"
_OURS = {PART_OF: "lockgate"}
_ENDED = ("Succeeded", "Failed", "Error")


def templates(live: ClusterObjects, project: Project) -> Finding:
    """Name the templates that are out of date; the admission policy lets none of them start a run."""
    current = {name for each in current_of(project).values() for name in each.templates}
    there = [each["metadata"]["name"] for each in live.listed(_VERSION, "WorkflowTemplate", _OURS)]
    old = sorted(set(there) - current)
    if not old:
        return Finding("templates", f"{len(there)} templates, none out of date")
    runs = [run for run in live.listed(_VERSION, "Workflow", {}) if _phase(run) not in _ENDED]
    used = {run["spec"].get("workflowTemplateRef", {}).get("name", "") for run in runs}
    free, busy = [name for name in old if name not in used], [name for name in old if name in used]
    # A run fails if its template is deleted, so only the free ones are in the command.
    remove = f"; remove: kubectl delete workflowtemplate -n {live.settings.namespace} {' '.join(free)}" if free else ""
    keep = f"; runs in progress use {', '.join(busy)}" if busy else ""
    return Finding("templates", f"{len(old)} templates are out of date and cannot start a run{remove}{keep}")


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
