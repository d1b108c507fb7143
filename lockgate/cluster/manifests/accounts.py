"""Who may do what in the namespace: one Role for each need, bound to the accounts that have it."""

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
    EVENTS: "what posts a registry's events to the Argo server",
}


@dataclass(frozen=True)
class Right:
    """Some verbs on some resources of one API group."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]

    def to_rule(self) -> dict[str, Any]:
        """The right as a Role's rule."""
        return {"apiGroups": [self.group], "resources": list(self.resources), "verbs": list(self.verbs)}


@dataclass(frozen=True)
class Need:
    """What some accounts have to do, and the least that lets them."""

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
        "server-side apply of a version and its Service; what a version owns goes with its Deployment",
        (PLATFORM,),
        (
            Right("apps", ("deployments",), ("get", "list", "create", "patch", "delete")),
            Right("", ("services",), ("get", "create", "patch")),
            Right("autoscaling", ("horizontalpodautoscalers",), ("create", "patch")),
            Right("policy", ("poddisruptionbudgets",), ("create", "patch")),
            Right("", ("pods",), ("list",)),
            Right("discovery.k8s.io", ("endpointslices",), ("list",)),
            Right(ARGO, ("workflows",), ("get",)),  # whether the run that holds the candidate is over
        ),
    ),
    Need(
        "lockgate-start-runs",
        # A run's status is written with the same verbs as the run, and with it what its steps are said to have done.
        "create alone: who may update or patch a run can write its status",
        (SUBMITTER, OPERATOR, EVENTS),
        (Right(ARGO, ("workflows",), ("create",)), Right(ARGO, ("workflowtemplates",), ("get",))),
    ),
    Need(
        "lockgate-watch-runs",
        "see runs, what they were made from, their logs, and what is live (on the users' Service)",
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
        "stop or terminate a run; the admission policy lets nothing else of it change",
        (OPERATOR,),
        (Right(ARGO, ("workflows",), ("patch",)),),
    ),
    Need(
        "lockgate-receive-events",
        "the Argo server looks up what an event starts with the caller's own rights",
        (EVENTS,),
        (Right(ARGO, ("workfloweventbindings",), ("list",)),),
    ),
)


def documents(settings: Settings) -> Iterator[dict[str, Any]]:
    """The accounts, the executor's token, the Roles and their bindings."""
    for account, why in ACCOUNTS.items():
        # Who needs a token is given one where it is mounted; nobody has one for being there.
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
    """The executor's token: Argo mounts it by this name, and pods wait for ever without it."""
    made = document(
        "v1",
        "Secret",
        f"{EXECUTOR}.service-account-token",
        settings.namespace,
        type="kubernetes.io/service-account-token",
    )
    made["metadata"]["annotations"] = {"kubernetes.io/service-account.name": EXECUTOR}
    return made
