"""Admission policies: what the API server itself refuses, whatever the controller's version lets through.

Whoever may create a Workflow chooses its fields, and Argo has let some of them override the template it names, again
and again (CVE-2026-31892, -42296, -54526). So a run may name a template of the namespace, give parameters, and be
stopped; everything else stands in the template, which its owner applied.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from lockgate_step import layout

from lockgate.cluster.manifests.accounts import ARGO, PLATFORM, SERVER
from lockgate.cluster.manifests.objects import document
from lockgate.cluster.manifests.settings import Settings

_GROUP = "admissionregistration.k8s.io/v1"
_PREFIX = "workflows.argoproj.io/"
# Written by `argo` and by the Argo server, to say where a run is from and who did what; the controller reads none.
_HARMLESS = [
    f"{_PREFIX}{name}"
    for name in (
        "action", "actor", "actor-email", "actor-preferred-username", "creator", "creator-email",
        "creator-preferred-username", "description", "pod-name-format", "resubmitted-from-workflow", "title",
        "workflow-event-binding", "workflow-template",
    )
]  # fmt: skip


def documents(settings: Settings) -> Iterator[dict[str, Any]]:
    """Each policy with its binding."""
    others = ("not-by-argo-itself", f"request.userInfo.username != '{settings.controller_user}'")
    yield from _policy(settings, "runs", [ARGO], ["workflows", "workflows/*"], _runs(), others)
    yield from _policy(settings, "stored", [ARGO], ["workflows"], _stored(), others, ["CREATE"], "WorkflowTemplate")
    yield from _policy(settings, "triggers", [ARGO], ["cronworkflows", "workfloweventbindings"], _triggers(), others)
    platform = ("by-the-platform", f"request.userInfo.username == '{settings.user(PLATFORM)}'")
    yield from _policy(settings, "versions", ["apps"], ["deployments"], _versions(), platform)


def _policy(
    settings: Settings,
    name: str,
    groups: list[str],
    resources: list[str],
    validations: Iterable[tuple[str, str]],
    condition: tuple[str, str],
    operations: Sequence[str] = ("CREATE", "UPDATE"),
    param: str = "",
) -> Iterator[dict[str, Any]]:
    # Policies belong to the cluster, so the namespace is part of the name: two namespaces of Lockgate may be on one.
    full = f"lockgate-{name}.{settings.namespace}"
    spec: dict[str, Any] = {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "resourceRules": [
                {
                    "apiGroups": groups,
                    "apiVersions": ["*"],
                    "operations": list(operations),
                    "resources": resources,
                }
            ]
        },
        "matchConditions": [{"name": condition[0], "expression": condition[1]}],
        "validations": [{"expression": e, "message": f"Lockgate: {m}", "reason": "Forbidden"} for m, e in validations],
    }
    if param:
        spec["paramKind"] = {"apiVersion": f"{ARGO}/v1alpha1", "kind": param}
    if name in _VARIABLES:
        spec["variables"] = [{"name": n, "expression": e} for n, e in _VARIABLES[name].items()]
    yield document(_GROUP, "ValidatingAdmissionPolicy", full, spec=spec)
    binding: dict[str, Any] = {
        "policyName": full,
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": settings.namespace}}},
    }
    if param:
        # Each object of that kind in the namespace is held against the request in turn.
        binding["paramRef"] = {"selector": {}, "parameterNotFoundAction": "Deny"}
    yield document(_GROUP, "ValidatingAdmissionPolicyBinding", full, spec=binding)


_VARIABLES: dict[str, dict[str, str]] = {
    "runs": {
        "old": "oldObject == null ? {} : oldObject.spec",
        "labels": "object.metadata.?labels.orValue({})",
        "oldLabels": "oldObject == null ? {} : oldObject.metadata.?labels.orValue({})",
        "annotations": "object.metadata.?annotations.orValue({})",
        "oldAnnotations": "oldObject == null ? {} : oldObject.metadata.?annotations.orValue({})",
    },
    "versions": {
        "pod": "object.spec.template.spec",
        "volumes": "object.spec.template.spec.?volumes.orValue([])",
        "containers": ("object.spec.template.spec.containers + object.spec.template.spec.?initContainers.orValue([])"),
    },
}


def _runs() -> Iterator[tuple[str, str]]:
    """What a Workflow may say: message and expression."""
    stop = _list("shutdown", "suspend")
    yield (
        # Not the entrypoint either: a template started on its own takes artifacts of the submitter's.
        "a run may set workflowTemplateRef and arguments alone; everything else belongs to the WorkflowTemplate",
        f"oldObject != null || object.spec.all(f, f in {_list('workflowTemplateRef', 'arguments')} || f in {stop})",
    )
    yield (
        "of a run that has begun only shutdown and suspend may change",
        f"oldObject == null || (object.spec.all(f, f in {stop} || "
        "(f in variables.old && object.spec[f] == variables.old[f]))"
        f" && variables.old.all(f, f in {stop} || f in object.spec))",
    )
    yield from _by_reference("object.spec", "oldObject != null || ")
    yield (
        # Its stored spec is what runs, and its nodes are what is said to have run.
        "the status of a run is Argo's alone; start a new run instead of retrying one",
        "oldObject == null ? (!has(object.status) || object.status.all(f, f == 'storedTemplates' ||"
        " object.status[f] == null))"
        " : (has(object.status) == has(oldObject.status)"
        " && (!has(object.status) || object.status == oldObject.status))",
    )
    for what in ("labels", "annotations"):
        new, old = f"variables.{what}", f"variables.old{what.capitalize()}"
        yield (
            f"{what} below {_PREFIX} steer the controller; a run may set those that say where it is from",
            f"{new}.all(k, !k.startsWith('{_PREFIX}') || k in {_list(*_HARMLESS)}"
            f" || (k in {old} && {new}[k] == {old}[k]))"
            f" && {old}.all(k, !k.startsWith('{_PREFIX}') || k in {new})",
        )
    yield (
        "owners and finalizers of a run are Argo's alone",
        "oldObject == null ? (!has(object.metadata.ownerReferences) && !has(object.metadata.finalizers))"
        " : (object.metadata.?ownerReferences.orValue([]) == oldObject.metadata.?ownerReferences.orValue([])"
        " && object.metadata.?finalizers.orValue([]) == oldObject.metadata.?finalizers.orValue([]))",
    )


def _stored() -> Iterator[tuple[str, str]]:
    """What a new run may bring along as stored.

    `argo submit` and the Argo server send what they resolved while they checked the run, and the controller takes a
    template from there before it looks at the one that is named: a forged one would run with its account and its keys.
    """
    yield (
        "a run may bring no templates but those of the WorkflowTemplate it names, as they are",
        "object.spec.?workflowTemplateRef.?name.orValue('') != params.metadata.name"
        " || object.?status.?storedTemplates.orValue({}).all(k, params.spec.templates.exists(t,"
        " k == 'namespaced/' + params.metadata.name + '/' + t.name"
        " && object.status.storedTemplates[k] == t))",
    )


def _by_reference(spec: str, unless: str = "") -> Iterator[tuple[str, str]]:
    """That a spec names a template of this namespace and gives nothing but parameters."""
    ref, arguments = f"{spec}.workflowTemplateRef", f"{spec}.?arguments.orValue({{}})"
    yield (
        "a run must name a WorkflowTemplate of this namespace",
        f"{unless}(has({ref}) && {ref}.all(f, f == 'name' || (f == 'clusterScope' && {ref}[f] == false)))",
    )
    yield (
        # An artifact's location may name any Secret of the namespace, and would send it to any address.
        "a run may give parameters by name and value, and no artifacts",
        f"{unless}({arguments}.all(f, f == 'parameters') && "
        f"{arguments}.?parameters.orValue([]).all(p, p.all(f, f in {_list('name', 'value')})))",
    )


def _triggers() -> Iterator[tuple[str, str]]:
    """What a CronWorkflow or a WorkflowEventBinding may start: runs as a submitter could."""
    cron = "object.kind != 'CronWorkflow' || "
    yield (
        "a schedule may set workflowTemplateRef and arguments alone",
        f"{cron}(object.spec.workflowSpec.all(f, f in {_list('workflowTemplateRef', 'arguments')})"
        " && !has(object.spec.workflowMetadata))",
    )
    yield from _by_reference("object.spec.workflowSpec", cron)
    submit = "object.spec.?submit.orValue({})"
    yield (
        "an event may start a WorkflowTemplate of this namespace with parameters from the event, and nothing else",
        f"object.kind != 'WorkflowEventBinding' || ({submit}.?workflowTemplateRef.?clusterScope.orValue(false) == false"
        f" && {submit}.?arguments.orValue({{}}).all(f, f == 'parameters')"
        f" && {submit}.?arguments.?parameters.orValue([]).all(p, p.all(f, f in {_list('name', 'valueFrom')})"
        " && p.?valueFrom.orValue({}).all(f, f == 'event')))",
    )


def _versions() -> Iterator[tuple[str, str]]:
    """What the platform's programs may deploy: a Deployment could mount any Secret of the namespace."""
    yield (
        f"a served version runs as {SERVER}, without a token",
        f"variables.pod.?serviceAccountName.orValue('') == '{SERVER}'"
        " && variables.pod.?automountServiceAccountToken.orValue(true) == false",
    )
    yield (
        f"a served version may mount {layout.CONFIG_MAP}, {layout.STORE_SECRET} and empty folders alone",
        "variables.volumes.all(v, has(v.emptyDir)"
        f" || (has(v.configMap) && v.configMap.name == '{layout.CONFIG_MAP}')"
        f" || (has(v.secret) && v.secret.secretName == '{layout.STORE_SECRET}'))",
    )
    yield (
        f"what answers users has no credentials; only init containers may mount {layout.STORE_SECRET}",
        "variables.pod.containers.all(c, c.?volumeMounts.orValue([]).all(m,"
        " !variables.volumes.exists(v, has(v.secret) && v.name == m.name)))",
    )
    yield (
        "no environment variable of a served version comes from a Secret",
        "variables.containers.all(c, !has(c.envFrom)"
        " && c.?env.orValue([]).all(e, !has(e.valueFrom) || !has(e.valueFrom.secretKeyRef)))",
    )
    yield (
        "the images of a served version are named by digest",
        "variables.containers.all(c, c.image.contains('@sha256:'))",
    )


def _list(*names: str) -> str:
    return "[" + ", ".join(f"'{name}'" for name in names) + "]"
