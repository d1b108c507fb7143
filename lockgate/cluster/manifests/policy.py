"""Admission policies: what the API server refuses, whatever the controller's version would accept.

An account that may create a Workflow chooses its fields, and some fields have overridden the named template in several
versions of Argo (CVE-2026-31892, -42296, -54526). So a run may name a template of the namespace, give parameters, and
be stopped; everything else is in the template, which its owner applied.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lockgate_step import layout

from lockgate.cluster.manifests import ownership, programs, serving
from lockgate.cluster.manifests.accounts import ARGO, PLATFORM
from lockgate.cluster.manifests.exactly import listed
from lockgate.cluster.manifests.objects import document
from lockgate.cluster.manifests.programs import Pins, Rendered
from lockgate.cluster.manifests.settings import Settings
from lockgate.engine.manifest import TAG
from lockgate.rendering.labels import COMPONENT, MANAGED_BY, NAME, PART_OF

_GROUP = "admissionregistration.k8s.io/v1"
_PREFIX = "workflows.argoproj.io/"
_INSTANCE = f"{_PREFIX}controller-instanceid"
# Written by `argo` and the Argo server to record the origin of a run; the controller reads none of them.
_HARMLESS = [
    f"{_PREFIX}{name}"
    for name in (
        "action", "actor", "actor-email", "actor-preferred-username", "creator", "creator-email",
        "creator-preferred-username", "description", "pod-name-format", "resubmitted-from-workflow", "title",
        "workflow-event-binding", "workflow-template",
    )
]  # fmt: skip


_NAMING = (layout.PROJECT, NAME, COMPONENT, PART_OF, MANAGED_BY)
_SCHEDULE = (
    "concurrencyPolicy", "failedJobsHistoryLimit", "schedule", "schedules", "startingDeadlineSeconds",
    "successfulJobsHistoryLimit", "suspend", "timezone", "workflowSpec",
)  # fmt: skip


@dataclass(frozen=True)
class _Policy:
    """One policy: the requests that it judges, by whom, and its rules as pairs of message and expression."""

    name: str
    groups: Sequence[str]
    resources: Sequence[str]
    rules: Sequence[tuple[str, str]]
    by: tuple[str, str] | None = None
    operations: Sequence[str] = ("CREATE", "UPDATE")
    param: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)


def documents(settings: Settings, pins: Pins) -> Iterator[dict[str, Any]]:
    """Yield each policy with its binding; pins: the images, commands and templates that are current."""
    others = ("not-by-argo-itself", f"request.userInfo.username != '{settings.controller_user}'")
    platform = ("by-the-platform", f"request.userInfo.username == '{settings.user(PLATFORM)}'")
    templates, kind = ["workflowtemplates"], "WorkflowTemplate"
    triggers = ["cronworkflows", "workfloweventbindings"]
    kinds, others_of = ["services", "horizontalpodautoscalers", "poddisruptionbudgets"], ["", "autoscaling", "policy"]
    ours, serve = [*ownership.served(pins.templates)], [*serving.services(), *serving.others()]
    for policy in (
        _Policy("runs", [ARGO], ["workflows", "workflows/*"], [*_runs(settings)], others, variables=_RUNS),
        _Policy("stored", [ARGO], ["workflows"], [*_stored(pins)], others, ["CREATE"], kind),
        _Policy("declared", [ARGO], ["workflows"], [*_declared()], others, ["CREATE"], kind),
        # Also for the controller, which starts the runs of a schedule.
        _Policy("current", [ARGO], ["workflows"], [*programs.current(pins)], None, ["CREATE"], kind),
        _Policy("triggers", [ARGO], triggers, [*_triggers()], others),
        _Policy("programs", [ARGO], templates, [*programs.templates()], ("not-rendered", programs.other(pins))),
        *_rendered(pins),
        _Policy(
            "pods", [""], ["pods", "pods/ephemeralcontainers"], [*programs.pods(settings)], variables=programs.POD
        ),
        _Policy("versions", ["apps"], ["deployments"], [*ours, *serving.versions(pins.images)], platform,
                variables=serving.VERSION),
        _Policy("served", others_of, kinds, [*ours, *serve], platform),
        _Policy("removed", ["apps"], ["deployments"], [*ownership.removed()], platform, ["DELETE"]),
        _Policy(ownership.PROJECT, ownership.GROUPS, ownership.RESOURCES, [*ownership.project(settings)]),
    ):  # fmt: skip
        yield from _documents(settings, policy)


def _rendered(pins: Pins) -> Iterator[_Policy]:
    """Yield a policy for each model: the size of an object is limited."""
    for model, found in ((model, found) for model, found in pins.templates.items() if found):
        rendered = Rendered(found)
        yield _Policy(f"rendered-{model}", [ARGO], ["workflowtemplates", "workflows"], [*rendered.rules()],
                      ("rendered", rendered.condition), variables=rendered.variables)  # fmt: skip


def _documents(settings: Settings, policy: _Policy) -> Iterator[dict[str, Any]]:
    # Policies are cluster-wide. With the project in the name, another project's apply adds policies and replaces none.
    full = f"lockgate-{policy.name}.{settings.namespace}.{settings.owner}"
    rule = {
        "apiGroups": list(policy.groups),
        "apiVersions": ["*"],
        "operations": list(policy.operations),
        "resources": list(policy.resources),
    }
    spec: dict[str, Any] = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": e, "message": f"Lockgate: {m}", "reason": "Forbidden"} for m, e in policy.rules],
    }
    if policy.by:
        spec["matchConditions"] = [{"name": policy.by[0], "expression": policy.by[1]}]
    if policy.param:
        spec["paramKind"] = {"apiVersion": f"{ARGO}/v1alpha1", "kind": policy.param}
    if policy.variables:
        spec["variables"] = [{"name": n, "expression": e} for n, e in policy.variables.items()]
    yield document(_GROUP, "ValidatingAdmissionPolicy", full, spec=spec)
    chosen = {"kubernetes.io/metadata.name": settings.namespace}
    if policy.name != ownership.PROJECT:
        chosen[layout.PROJECT] = settings.owner  # another project's policies judge nothing in our namespace
    binding: dict[str, Any] = {
        "policyName": full,
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": {"matchLabels": chosen}},
    }
    if policy.param:
        # The API server checks the request against each object of that kind in the namespace.
        binding["paramRef"] = {"selector": {}, "parameterNotFoundAction": "Deny"}
    yield document(_GROUP, "ValidatingAdmissionPolicyBinding", full, spec=binding)


_RUNS = {
    "old": "oldObject == null ? {} : oldObject.spec",
    "labels": "object.metadata.?labels.orValue({})",
    "oldLabels": "oldObject == null ? {} : oldObject.metadata.?labels.orValue({})",
    "annotations": "object.metadata.?annotations.orValue({})",
    "oldAnnotations": "oldObject == null ? {} : oldObject.metadata.?annotations.orValue({})",
}


def _runs(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield message and expression of each rule for a Workflow."""
    stop = listed("shutdown", "suspend")
    yield (
        # Not the entrypoint either: a template that runs alone accepts artifacts from the submitter.
        "a run may set only workflowTemplateRef and arguments; everything else belongs in the WorkflowTemplate",
        f"oldObject != null || object.spec.all(f, f in {listed('workflowTemplateRef', 'arguments')} || f in {stop})",
    )
    yield (
        "only shutdown and suspend of an existing run may change",
        f"oldObject == null || (object.spec.all(f, f in {stop} || "
        "(f in variables.old && object.spec[f] == variables.old[f]))"
        f" && variables.old.all(f, f in {stop} || f in object.spec))",
    )
    yield from _by_reference("object.spec", "oldObject != null || ")
    yield (
        # Argo names a scheduled run so, and starts none if there is a run of that name already.
        "a name that ends in a hyphen and 10 digits is that of a scheduled run; choose another one",
        "oldObject != null || !object.metadata.name.matches('-[0-9]{10}$')",
    )
    yield (
        # The stored spec in the status is what runs, and its nodes are the record of what ran.
        "only Argo may write the status of a run; start a new run instead of retrying one",
        "oldObject == null ? (!has(object.status) || object.status.all(f, f == 'storedTemplates' ||"
        " object.status[f] == null))"
        " : (has(object.status) == has(oldObject.status)"
        " && (!has(object.status) || object.status == oldObject.status))",
    )
    for what in ("labels", "annotations"):
        new, old = f"variables.{what}", f"variables.old{what.capitalize()}"
        own = f" || (k == '{_INSTANCE}' && {new}[k] == '{settings.instance_id}')" if settings.instance_id else ""
        yield (
            f"{what} below {_PREFIX} control the controller; a run may set only those that record its origin",
            f"{new}.all(k, !k.startsWith('{_PREFIX}') || k in {listed(*_HARMLESS)}"
            f" || (k in {old} && {new}[k] == {old}[k]){own})"
            f" && {old}.all(k, !k.startsWith('{_PREFIX}') || k in {new})",
        )
    yield (
        "the labels that name a run's project, model and workflow may not change: people find it by them",
        f"oldObject == null || {listed(*_NAMING)}.all(k,"
        " variables.labels[?k].orValue('') == variables.oldLabels[?k].orValue(''))",
    )
    yield (
        "only Argo may set owners and finalizers of a run",
        "oldObject == null ? (!has(object.metadata.ownerReferences) && !has(object.metadata.finalizers))"
        " : (object.metadata.?ownerReferences.orValue([]) == oldObject.metadata.?ownerReferences.orValue([])"
        " && object.metadata.?finalizers.orValue([]) == oldObject.metadata.?finalizers.orValue([]))",
    )


def _stored(pins: Pins) -> Iterator[tuple[str, str]]:
    """Yield the rules for the stored templates of a new run.

    `argo submit` and the Argo server send the templates that they resolved while they checked the run, and some
    versions of the controller prefer those to the named one: a forged template would run with its account and its keys.
    """
    yield (
        # The parameter below does not exist yet if the template is applied at the same time.
        "only a run of a template that is rendered now may contain templates; otherwise use kubectl create",
        f"object.?status.?storedTemplates.orValue({{}}).size() == 0"
        f" || object.spec.?workflowTemplateRef.?name.orValue('') in {listed(*pins.names)}",
    )
    yield (
        "a run may contain only unchanged templates of the WorkflowTemplate it names",
        "object.spec.?workflowTemplateRef.?name.orValue('') != params.metadata.name"
        " || object.?status.?storedTemplates.orValue({}).all(k, params.spec.templates.exists(t,"
        " k == 'namespaced/' + params.metadata.name + '/' + t.name"
        " && object.status.storedTemplates[k] == t))",
    )


def _declared() -> Iterator[tuple[str, str]]:
    """Yield the rule for the names of a new run's parameters; Argo would keep and show any other."""
    yield (
        "a run may give only parameters that its WorkflowTemplate declares",
        "object.spec.?workflowTemplateRef.?name.orValue('') != params.metadata.name"
        " || object.spec.?arguments.?parameters.orValue([]).all(p,"
        " params.spec.?arguments.?parameters.orValue([]).exists(d, d.name == p.?name.orValue('')))",
    )


def _by_reference(spec: str, unless: str = "") -> Iterator[tuple[str, str]]:
    """Yield the rules that a spec names a template of this namespace and gives only parameters."""
    ref, arguments = f"{spec}.workflowTemplateRef", f"{spec}.?arguments.orValue({{}})"
    parameters = f"{arguments}.?parameters.orValue([])"
    yield (
        "a run must name a WorkflowTemplate of this namespace",
        f"{unless}(has({ref}) && {ref}.all(f, f == 'name' || (f == 'clusterScope' && {ref}[f] == false)))",
    )
    yield (
        # An artifact's location could name any Secret of the namespace, and send it to any address.
        "a run may give only parameters with name and value, no artifacts",
        f"{unless}({arguments}.all(f, f == 'parameters') && "
        f"{parameters}.all(p, p.all(f, f in {listed('name', 'value')})))",
    )
    yield (
        "each parameter of a run must have a unique name and a value, both text",
        f"{unless}({parameters}.all(p, has(p.name) && has(p.value) && type(p.name) == string && type(p.value) == string"
        f" && {parameters}.filter(other, other.name == p.name).size() == 1))",
    )
    yield (
        # It evaluates them with its own memory, and a value that is replaced is not the one that the run shows.
        f"a parameter's value may not contain '{TAG}': Argo's controller would evaluate it",
        f"{unless}({parameters}.all(p, !p.value.contains('{TAG}')))",
    )


def _triggers() -> Iterator[tuple[str, str]]:
    """Yield the rules for a CronWorkflow or a WorkflowEventBinding: it may start what a submitter may start."""
    cron = "object.kind != 'CronWorkflow' || "
    yield (
        # No `when` and no `stopStrategy`: the controller evaluates their expressions.
        "a schedule may set only when its runs start, how many are kept, and its workflowSpec",
        f"{cron}object.spec.all(f, f in {listed(*_SCHEDULE)})",
    )
    yield (
        "a schedule may set only workflowTemplateRef and arguments",
        f"{cron}(object.spec.workflowSpec.all(f, f in {listed('workflowTemplateRef', 'arguments')})"
        " && !has(object.spec.workflowMetadata))",
    )
    yield from _by_reference("object.spec.workflowSpec", cron)
    submit = "object.spec.?submit.orValue({})"
    yield (
        "an event may only start a WorkflowTemplate of this namespace, with parameters from the event",
        f"object.kind != 'WorkflowEventBinding' || ({submit}.?workflowTemplateRef.?clusterScope.orValue(false) == false"
        f" && {submit}.?arguments.orValue({{}}).all(f, f == 'parameters')"
        f" && {submit}.?arguments.?parameters.orValue([]).all(p, p.all(f, f in {listed('name', 'valueFrom')})"
        " && p.?valueFrom.orValue({}).all(f, f == 'event')))",
    )
    expressions = (
        f"[object.spec.?event.?selector.orValue(''), {submit}.?metadata.?name.orValue('')]"
        f" + {submit}.?arguments.?parameters.orValue([]).map(p, p.?valueFrom.?event.orValue(''))"
    )
    yield (
        "an event may choose only the name and the parameters of its run, by expressions without a call: the Argo"
        " server evaluates them",
        f"object.kind != 'WorkflowEventBinding' || ({submit}.?metadata.orValue({{}}).all(f, f == 'name')"
        f" && ({expressions}).all(e, !e.contains('(')))",
    )
