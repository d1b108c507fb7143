"""A small release for a real cluster: three tasks and an exit handler with busybox, like a rendered template."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockgate.cluster.submit import Order
from tests.cluster.accounts import service_account, write_kubeconfig
from tests.cluster.cluster import here
from tests.cluster.place import ARGO_SERVER, CA, KUBECONFIG, PAUSE

NAMESPACE = "submit"
MODEL = "tiny"
SUBMITTER, OPERATOR, STRANGER = "lockgate-submitter", "lockgate-operator", "stranger"
ARGO = "argoproj.io"
RIGHTS: Mapping[str, list[tuple[str, str, str]]] = {
    "lockgate-executor": [(ARGO, "workflowtaskresults", "create patch")],
    SUBMITTER: [
        (ARGO, "workflows", "create get list watch"),
        (ARGO, "workflowtemplates", "get list"),
        ("", "pods", "get list watch"),
        ("", "pods/log", "get"),
        ("", "services", "get list"),
    ],
    OPERATOR: [(ARGO, "workflows", "get list watch patch")],
    STRANGER: [],
}
LINES = ["0.20 [0.10, 0.30], at most 0.12", "policy.toml:7"]
# The termination message of a gate that refuses, as lockgate_step writes it.
REFUSAL = {
    "notes": [],
    "reasons": [
        {
            "id": "bias-audit/1",
            "lines": LINES,
            "message": "men are selected far more often than women",
            "rule": "selection-by-sex",
            "waived_by": None,
            "why": "law of the land",
        }
    ],
    "result": "refused",
    "verdict": f"sha256:{'9c' * 32}",
}
LABELS = {
    "app.kubernetes.io/component": "release",
    "app.kubernetes.io/managed-by": "lockgate",
    "app.kubernetes.io/name": MODEL,
    "app.kubernetes.io/part-of": "lockgate",
}
SAY = 'echo \'{"event":"%s","time":"2026-01-31T12:00:00Z"}\' >&2'


def kubectl(*arguments: str, given: Any = None) -> str:
    """Call kubectl as the administrator, in the namespace of these tests."""
    return here().kubectl(f"--namespace={NAMESPACE}", *arguments, given=json.dumps(given) if given else None)


def manifest(name: str = "tiny-release-00c0ffee") -> dict[str, Any]:
    """Return the WorkflowTemplate: `seconds` is the duration of ingest; bias-audit refuses `mitigation=none`."""
    refuse = f"printf '%s' '{json.dumps(REFUSAL)}' > /lockgate/termination; exit 3"
    programs = {
        "ingest": f"{SAY % 'frozen'}; sleep {{{{workflow.parameters.seconds}}}}",
        "bias-audit": f"{SAY % 'audited'}; if [ {{{{workflow.parameters.mitigation}}}} = none ]; then {refuse}; fi",
        "promote": f"{SAY % 'promoted'}; exit {{{{workflow.parameters.code}}}}",
        "conclude": SAY % "concluded",
    }
    tasks = [
        {"name": "ingest", "template": "ingest"},
        {"name": "bias-audit", "template": "bias-audit", "depends": "ingest.Succeeded"},
        {"name": "rollout", "template": "rollout", "depends": "bias-audit.Succeeded"},
    ]
    parameters = [
        {"name": "data", "value": "s3://evidence/tiny.csv"},
        {"name": "mitigation", "value": "grid-search", "enum": ["none", "grid-search"]},
        {"name": "seconds", "value": "1"},
        {"name": "code", "value": "0"},
    ]
    return {
        "apiVersion": f"{ARGO}/v1alpha1",
        "kind": "WorkflowTemplate",
        "metadata": {"name": name, "labels": LABELS},
        "spec": {
            "arguments": {"parameters": parameters},
            "automountServiceAccountToken": False,
            "entrypoint": "release",
            "executor": {"serviceAccountName": "lockgate-executor"},
            "onExit": "conclude",
            "podGC": {"strategy": "OnPodSuccess"},
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532},
            "serviceAccountName": "lockgate-executor",
            "templates": [
                {"name": "release", "dag": {"tasks": tasks}},
                {"name": "rollout", "dag": {"tasks": [{"name": "promote", "template": "promote"}]}},
                *(_template(program, script) for program, script in programs.items()),
            ],
            "volumes": [{"name": "out", "emptyDir": {}}],
            "workflowMetadata": {"labels": LABELS},
        },
    }


def _template(name: str, script: str) -> dict[str, Any]:
    return {
        "name": name,
        "container": {
            "image": PAUSE,  # busybox, the image of every pod's sandbox here
            "command": ["/bin/busybox", "sh", "-c"],
            # The rendered templates have images without a shell; this image has only a shell.
            "args": [f"alias echo='/bin/busybox echo' sleep='/bin/busybox sleep'; {script}"],
            "terminationMessagePath": "/lockgate/termination",
            "volumeMounts": [{"name": "out", "mountPath": "/lockgate/out"}],
        },
        "retryStrategy": {
            "limit": 3,
            "retryPolicy": "Always",
            "backoff": {"duration": "5", "factor": 1},
            "expression": "lastRetry.status == 'Error' || asInt(lastRetry.exitCode) == 4",
        },
    }


def order(**given: str) -> Order:
    """Return the release of the small model with these settings."""
    return Order(MODEL, manifest(), f"workflows/{MODEL}", given, ("mitigation",))


def prepare() -> None:
    """Create the namespace, its accounts and the template that exist before a submission."""
    made: list[dict[str, Any]] = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}]
    for name, rights in RIGHTS.items():
        rules = [{"apiGroups": [g], "resources": [r], "verbs": verbs.split()} for g, r, verbs in rights]
        made += service_account(NAMESPACE, name, *rules)
    token = {
        "name": "lockgate-executor.service-account-token",
        "namespace": NAMESPACE,
        "annotations": {"kubernetes.io/service-account.name": "lockgate-executor"},
    }
    made.append(
        {"apiVersion": "v1", "kind": "Secret", "metadata": token, "type": "kubernetes.io/service-account-token"}
    )
    for document in [*made, manifest()]:
        kubectl("apply", "-f", "-", given=document)


@dataclass(frozen=True)
class Account:
    """An account on the cluster: its token, and a kubeconfig with it."""

    name: str
    folder: Path

    @property
    def token(self) -> Path:
        """The file of its token."""
        path = self.folder / f"{self.name}.token"
        if not path.exists():
            path.write_text(kubectl("create", "token", self.name))
        return path

    def kubeconfig(self, user: Mapping[str, Any] | None = None) -> Path:
        """Write a kubeconfig with the token, or with another `user`."""
        given = user or {"token": self.token.read_text().strip()}
        return write_kubeconfig(self.folder / f"{self.name}.kubeconfig", KUBECONFIG, given, NAMESPACE)


def options(way: str, account: Account) -> list[str]:
    """Return the options that name the cluster, for either way."""
    if way == "kubernetes":
        return ["-n", NAMESPACE]
    return ["-n", NAMESPACE, "--server", ARGO_SERVER, "--token-file", str(account.token), "--ca", str(CA)]


def until(found: Callable[[], Any], seconds: float = 120) -> Any:
    """Wait until `found` returns a value, and return it. Errors: AssertionError."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.5)
    raise AssertionError(found)
