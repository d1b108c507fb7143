"""The rules for the cluster's manifests; `render` refuses to write manifests that break one.

A rule reads all manifests as the API server does and yields each violation, so it also works for manifests edited by
hand.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import yaml
from lockgate_step import layout

from lockgate.cluster.manifests.accounts import ARGO, EVENTS, EXECUTOR, SUBMITTER
from lockgate.cluster.manifests.objects import LABELS

Manifest = Mapping[str, Any]
Rule = Callable[[Sequence[Manifest]], Iterator[str]]

_OF_THE_CLUSTER = {"Namespace", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
# Each of these gives every right in the namespace.
_NEVER = {"secrets", "pods/exec", "pods/attach", "serviceaccounts/token", "roles", "rolebindings", "serviceaccounts"}
_WRITES = {"create", "update", "patch", "delete", "deletecollection"}


def broken(manifests: Sequence[Manifest]) -> list[str]:
    """Return every violation, as `rule: violation`, sorted."""
    return sorted(f"{name}: {what}" for name, rule in RULES.items() for what in rule(manifests))


def _of(manifests: Sequence[Manifest], kind: str) -> list[Manifest]:
    return [m for m in manifests if m["kind"] == kind]


def _namespace(manifests: Sequence[Manifest]) -> str:
    return next((str(m["metadata"]["name"]) for m in _of(manifests, "Namespace")), "")


def _of_argo(manifest: Manifest) -> bool:
    """Return whether it is a patch of the controller, which may belong to another team."""
    return str(manifest["metadata"]["name"]).startswith("workflow-controller")


def restricted(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Without the labels the namespace admits any pod; warnings alone refuse none."""
    for namespace in _of(manifests, "Namespace"):
        labels = namespace["metadata"].get("labels", {})
        for mode in ("enforce", "warn", "audit"):
            if labels.get(f"pod-security.kubernetes.io/{mode}") != "restricted":
                yield f"{namespace['metadata']['name']} does not {mode} the level restricted"
    if not _of(manifests, "Namespace"):
        yield "there is no namespace"


def one_namespace(manifests: Sequence[Manifest]) -> Iterator[str]:
    """An object without a namespace is created in the current one; only the controller's settings are elsewhere."""
    ours = _namespace(manifests)
    for manifest in manifests:
        name, kind = manifest["metadata"]["name"], manifest["kind"]
        if kind not in _OF_THE_CLUSTER and not _of_argo(manifest) and manifest["metadata"].get("namespace") != ours:
            yield f"{kind} {name} is not in {ours}"


def no_cluster_rights(manifests: Sequence[Manifest]) -> Iterator[str]:
    """A right in the whole cluster is a right over other teams' namespaces."""
    for manifest in manifests:
        if manifest["kind"].startswith("ClusterRole"):
            yield f"{manifest['kind']} {manifest['metadata']['name']}"
    for binding in _of(manifests, "RoleBinding"):
        if binding["roleRef"]["kind"] != "Role":
            yield f"{binding['metadata']['name']} binds a {binding['roleRef']['kind']}"


def least_rights(manifests: Sequence[Manifest]) -> Iterator[str]:
    """No wildcards, no right that gives every other right, and no right to write what others run."""
    for role in _of(manifests, "Role"):
        name = role["metadata"]["name"]
        for rule in role["rules"]:
            if "*" in {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}:
                yield f"{name} has a wildcard"
            for resource in rule["resources"]:
                writes = set(rule["verbs"]) & _WRITES
                if resource in _NEVER or (
                    writes and resource in {"pods", "configmaps", "workflowtemplates", "cronworkflows"}
                ):
                    yield f"{name} may {', '.join(rule['verbs'])} {resource}"


def submitters_only_create(manifests: Sequence[Manifest]) -> Iterator[str]:
    """An account that may update or patch a Workflow can write its status, and so the results of its steps."""
    roles = {role["metadata"]["name"]: role["rules"] for role in _of(manifests, "Role")}
    for binding in _of(manifests, "RoleBinding"):
        accounts = {subject["name"] for subject in binding["subjects"]} & {SUBMITTER, EVENTS}
        for rule in roles.get(binding["roleRef"]["name"], []) if accounts else []:
            wrong = set(rule["verbs"]) & (_WRITES - {"create"})
            if ARGO in rule["apiGroups"] and wrong:
                yield f"{', '.join(sorted(accounts))} may {', '.join(sorted(wrong))} {', '.join(rule['resources'])}"


def no_tokens(manifests: Sequence[Manifest]) -> Iterator[str]:
    """A token is mounted only where a program needs it, and not stored elsewhere; Argo needs the executor's."""
    for account in _of(manifests, "ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield f"{account['metadata']['name']} has its token mounted in every pod"
    tokens = {
        secret["metadata"].get("annotations", {}).get("kubernetes.io/service-account.name")
        for secret in _of(manifests, "Secret")
    }
    if tokens != {EXECUTOR}:
        yield f"tokens are stored for {', '.join(sorted(map(str, tokens))) or 'no account'}; only {EXECUTOR} needs one"


def nothing_private(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Many people read a repository: keys and credentials are applied separately."""
    for manifest in manifests:
        name = manifest["metadata"]["name"]
        if manifest["kind"] == "Secret" and ({"data", "stringData"} & set(manifest)):
            yield f"Secret {name} contains data"
        if "PRIVATE KEY" in json.dumps(manifest):
            yield f"{manifest['kind']} {name} contains a private key"


def closed_network(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Policies only allow: without one that denies everything, they block nothing."""
    policies = _of(manifests, "NetworkPolicy")
    closing = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    if not any(policy["spec"] == closing for policy in policies):
        yield "no policy denies by default"
    for policy in policies:
        for rule in policy["spec"].get("ingress", []):
            if not rule.get("from") or not rule.get("ports"):
                yield f"{policy['metadata']['name']} accepts connections from anywhere"
        for rule in policy["spec"].get("egress", []):
            if not rule.get("to"):
                yield f"{policy['metadata']['name']} allows connections to anywhere"


def limited(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Runs must use up neither the cluster nor what serves models; no Service may be reachable from outside."""
    hard: dict[str, str] = {}
    of_runs: dict[str, str] = {}
    for quota in _of(manifests, "ResourceQuota"):
        scopes = quota["spec"].get("scopes", [])
        of_those = hard if not scopes else of_runs if scopes == ["Terminating"] else {}
        of_those |= quota["spec"]["hard"]
    for resource in ("requests.cpu", "requests.memory", "limits.memory", "pods"):
        if resource not in hard:
            yield f"no quota for {resource}"
        if resource not in of_runs:
            yield f"runs may use up the whole quota for {resource}"
    for service in ("services.loadbalancers", "services.nodeports"):
        if hard.get(service) != "0":
            yield f"{service} are allowed"
    # With a quota on memory, a container without a request is refused; Argo's own containers have none.
    defaults = [limit for m in _of(manifests, "LimitRange") for limit in m["spec"]["limits"]]
    if not any({"default", "defaultRequest"} <= set(limit) for limit in defaults):
        yield "no defaults for containers without requests"


def fail_closed(manifests: Sequence[Manifest]) -> Iterator[str]:
    """A policy has no effect if it is not bound, only warns, or admits what it cannot evaluate."""
    ours = _namespace(manifests)
    labels = {key: value for m in _of(manifests, "Namespace") for key, value in m["metadata"].get("labels", {}).items()}
    named = {"kubernetes.io/metadata.name": ours}
    chosen = (named, {**named, layout.PROJECT: labels.get(layout.PROJECT, "")})
    bound = {binding["spec"]["policyName"]: binding["spec"] for binding in _of(manifests, _BINDING)}
    for policy in _of(manifests, "ValidatingAdmissionPolicy"):
        name = policy["metadata"]["name"]
        if policy["spec"].get("failurePolicy") != "Fail":
            yield f"{name} admits what it cannot evaluate"
        binding = bound.get(name)
        if binding is None or binding.get("validationActions") != ["Deny"]:
            yield f"{name} denies nothing"
        elif binding.get("matchResources") not in [{"namespaceSelector": {"matchLabels": each}} for each in chosen]:
            yield f"{name} does not apply to {ours} only"
    judged = {
        resource
        for policy in _of(manifests, "ValidatingAdmissionPolicy")
        for rule in policy["spec"]["matchConstraints"]["resourceRules"]
        if {"CREATE", "UPDATE"} <= set(rule["operations"])
        for resource in rule["resources"]
    }
    for resource in sorted({"workflows", "cronworkflows", "workfloweventbindings", "deployments"} - judged):
        yield f"no policy checks {resource}"


_BINDING = "ValidatingAdmissionPolicyBinding"


def safe_artifacts(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Artifacts are transferred over TLS, with credentials from a Secret."""
    found = [m for m in _of(manifests, "ConfigMap") if m["metadata"]["name"] == "artifact-repositories"]
    for manifest in found:
        default = manifest["metadata"].get("annotations", {}).get("workflows.argoproj.io/default-artifact-repository")
        s3 = (yaml.safe_load(manifest["data"].get(default, "{}")) or {}).get("s3", {})
        if s3.get("insecure") is not False:
            yield "artifacts are transferred unencrypted"
        if not {"accessKeySecret", "secretKeySecret"} <= set(s3):
            yield "artifacts need credentials from a Secret"
    if not found:
        yield "Argo has no artifact repository"


def secure_controller(manifests: Sequence[Manifest]) -> Iterator[str]:
    """The controller runs only templates, and its own containers pass the `restricted` level."""
    for manifest in _of(manifests, "ConfigMap"):
        if manifest["metadata"]["name"] != "workflow-controller-configmap":
            continue
        data = {name: yaml.safe_load(text) for name, text in manifest["data"].items()}
        if data.get("workflowRestrictions", {}).get("templateReferencing") != "Secure":
            yield "templateReferencing is not Secure"
        if data.get("executor", {}).get("securityContext", {}).get("capabilities") != {"drop": ["ALL"]}:
            yield "the executor is not locked down"


def labelled(manifests: Sequence[Manifest]) -> Iterator[str]:
    """Objects on a cluster are labelled as Lockgate's."""
    for manifest in manifests:
        labels = manifest["metadata"].get("labels", {})
        if not _of_argo(manifest) and not LABELS.items() <= labels.items():
            yield f"{manifest['kind']} {manifest['metadata']['name']}"


RULES: Mapping[str, Rule] = {
    "closed-network": closed_network,
    "fail-closed": fail_closed,
    "labelled": labelled,
    "least-rights": least_rights,
    "limited": limited,
    "no-cluster-rights": no_cluster_rights,
    "no-tokens": no_tokens,
    "nothing-private": nothing_private,
    "one-namespace": one_namespace,
    "restricted": restricted,
    "safe-artifacts": safe_artifacts,
    "secure-controller": secure_controller,
    "submitters-only-create": submitters_only_create,
}
