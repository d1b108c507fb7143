"""Permissions in the namespace: one Role for each need, bound to the accounts that have the need."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lockgate_step import layout

from lockgate.cluster.manifests.objects import document
from lockgate.cluster.manifests.settings import Settings

ARGO = "argoproj.io"
EXECUTOR, PLATFORM, SERVER = layout.EXECUTOR_ACCOUNT, layout.PLATFORM_ACCOUNT, layout.SERVER_ACCOUNT
SUBMITTER, OPERATOR, EVENTS = layout.SUBMITTER_ACCOUNT, layout.OPERATOR_ACCOUNT, layout.EVENTS_ACCOUNT
ACCOUNTS = {
    EXECUTOR: "Argo's own containers in each pod of a run",
    PLATFORM: "the programs that make a version reachable: deploy, promote, conclude",
    SERVER: "served models; no rights and no token",
    SUBMITTER: "people and pipelines that start runs",
    OPERATOR: "people on duty, who may also stop runs",
    EVENTS: "the sender of a registry's events to the Argo server",
}


@dataclass(frozen=True)
class Right:
    """Some verbs on some resources of one API group."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]

    def to_rule(self) -> dict[str, Any]:
        """Return the right as a rule of a Role."""
        return {"apiGroups": [self.group], "resources": list(self.resources), "verbs": list(self.verbs)}


@dataclass(frozen=True)
class Need:
    """A task of some accounts, and the least rights that allow it."""

    name: str
    why: str
    accounts: tuple[str, ...]
    rights: tuple[Right, ...]


NEEDS = (
    Need(
        "lockgate-report-results",
        "Argo's executor reports what a step wrote",
        (EXECUTOR,),
        (Right(ARGO, ("workflowtaskresults",), ("create", "patch")),),
    ),
    Need(
        "lockgate-serve-models",
        "server-side apply of a version and its Service; deleting a version's Deployment deletes what it owns",
        (PLATFORM,),
        (
            Right("apps", ("deployments",), ("get", "list", "create", "patch", "delete")),
            Right("", ("services",), ("get", "create", "patch")),
            Right("autoscaling", ("horizontalpodautoscalers",), ("create", "patch")),
            Right("policy", ("poddisruptionbudgets",), ("create", "patch")),
            Right("", ("pods",), ("list",)),
            Right("discovery.k8s.io", ("endpointslices",), ("list",)),
            Right(ARGO, ("workflows",), ("get",)),  # to see whether the run that holds the candidate has ended
        ),
    ),
    Need(
        "lockgate-start-runs",
        # The verbs that write a run also write its status, and so the results of its steps.
        "only create: an account that may update or patch a run can write its status",
        (SUBMITTER, OPERATOR, EVENTS),
        (Right(ARGO, ("workflows",), ("create",)), Right(ARGO, ("workflowtemplates",), ("get",))),
    ),
    Need(
        "lockgate-watch-runs",
        "read runs, their templates and logs, and the live version (on the users' Service)",
        (SUBMITTER, OPERATOR),
        (
            Right(ARGO, ("workflows",), ("get", "list", "watch")),
            Right(ARGO, ("workflowtemplates", "cronworkflows"), ("get", "list")),
            Right("", ("pods",), ("get", "list", "watch")),
            Right("", ("pods/log",), ("get",)),
            Right("", ("services",), ("get", "list")),
        ),
    ),
    Need(
        "lockgate-stop-runs",
        "stop or terminate a run; the admission policy allows no other change",
        (OPERATOR,),
        (Right(ARGO, ("workflows",), ("patch",)),),
    ),
    Need(
        "lockgate-receive-events",
        "the Argo server looks up event bindings with the caller's rights",
        (EVENTS,),
        (Right(ARGO, ("workfloweventbindings",), ("list",)),),
    ),
)


def documents(settings: Settings) -> Iterator[dict[str, Any]]:
    """Yield the accounts, the executor's token, the Roles and their bindings."""
    for account, why in ACCOUNTS.items():
        # A pod that needs a token mounts it explicitly; no account mounts one by default.
        yield document("v1", "ServiceAccount", account, settings.namespace, why, automountServiceAccountToken=False)
    yield token(settings)
    for need in NEEDS:
        rules = [right.to_rule() for right in need.rights]
        yield document("rbac.authorization.k8s.io/v1", "Role", need.name, settings.namespace, need.why, rules=rules)
        yield document(
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            need.name,
            settings.namespace,
            subjects=[{"kind": "ServiceAccount", "name": a, "namespace": settings.namespace} for a in need.accounts],
            roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": need.name},
        )


def token(settings: Settings) -> dict[str, Any]:
    """Return the executor's token: Argo mounts it by this name, and without it pods wait forever."""
    secret = document(
        "v1",
        "Secret",
        f"{EXECUTOR}.service-account-token",
        settings.namespace,
        type="kubernetes.io/service-account-token",
    )
    secret["metadata"]["annotations"] = {"kubernetes.io/service-account.name": EXECUTOR}
    return secret
