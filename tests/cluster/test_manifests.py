"""Apply the cluster's manifests to a real API server as a user does, then test each account and each policy."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lockgate.cluster.manifests.accounts import EVENTS, EXECUTOR, OPERATOR, PLATFORM, SERVER, SUBMITTER
from tests import workshop
from tests.cluster.accounts import write_kubeconfig
from tests.cluster.place import ACCESS_KEY, BUCKET, CA, KUBECONFIG, PAUSE, S3, SECRET_KEY
from tests.cluster.processes import wait_for

pytestmark = pytest.mark.sample

NAMESPACE = "manifests"
IMAGE = "registry.example.org/lockgate/model-server@sha256:" + "0" * 64
CONTROLLER = "system:serviceaccount:argo:argo"
Manifest = dict[str, Any]
Change = Callable[[Manifest], object]


@dataclass(frozen=True)
class User:
    """A user of the API server, with their own kubeconfig."""

    kubeconfig: Path
    options: tuple[str, ...] = ()

    def call(self, *arguments: str, given: Manifest | None = None) -> subprocess.CompletedProcess[str]:
        argv = ["kubectl", f"--kubeconfig={self.kubeconfig}", "--namespace", NAMESPACE, *self.options, *arguments]
        text = json.dumps(given) if given else None
        return subprocess.run(argv, input=text, capture_output=True, text=True, check=False)

    def can(self, *arguments: str, given: Manifest | None = None) -> str:
        done = self.call(*arguments, given=given)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def cannot(self, *arguments: str, given: Manifest | None = None, why: str = "(?i)forbidden") -> None:
        done = self.call(*arguments, given=given)
        assert done.returncode != 0, f"{arguments} was allowed"
        assert re.search(why, done.stderr), done.stderr


@dataclass(frozen=True)
class Applied:
    """A project whose manifests are on the cluster."""

    project: Path
    admin: User
    scratch: Path

    def account(self, name: str) -> User:
        """Return one of our accounts, with only its token."""
        path = self.scratch / f"{name}.kubeconfig"
        if path.exists():
            return User(path)
        token = self.admin.can("create", "token", name).strip()
        write_kubeconfig(path, KUBECONFIG, {"token": token}, NAMESPACE)
        return User(path)

    @property
    def controller(self) -> User:
        """Argo's controller, with its user name at the API server."""
        return User(KUBECONFIG, (f"--as={CONTROLLER}", "--as-group=system:masters"))


@pytest.fixture(scope="session")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Applied]:
    """The manifests on this cluster, applied as in the README."""
    project = workshop.Project.make(tmp_path_factory.mktemp("project")).root
    (project / "images").mkdir()
    images = {"model-server": IMAGE, "deploy": IMAGE.replace("model-server", "deploy")}
    (project / "images" / "images.lock.json").write_text(json.dumps(images))
    admin = User(KUBECONFIG)
    values = {"store": f"s3://{BUCKET}/manifests", "endpoint": S3, "ca": str(CA)}
    settings = [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
    argv = [sys.executable, "-m", "lockgate", "render", "--kubernetes", "--namespace", NAMESPACE, *settings]
    credentials = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    subprocess.run(argv, cwd=project, check=True, capture_output=True, env={**os.environ, **credentials})
    admin.can("apply", "-k", str(project / "kubernetes"))
    admin.can("apply", "--server-side", "-k", str(project / ".lockgate" / "kubernetes"))
    for template in (TEMPLATE, WRITES):
        admin.can("apply", "--server-side", "-f", "-", given=template)
    made = Applied(project, admin, tmp_path_factory.mktemp("accounts"))
    submitter, hostile = made.account(SUBMITTER), run(put("spec", "affinity", value={}))
    # The API server needs a while to notice a policy.
    denied = wait_for(
        lambda: submitter.call("create", "--dry-run=server", "-f", "-", given=hostile).returncode != 0, 60
    )
    assert denied, "the applied policies deny nothing"
    yield made
    admin.can("delete", "-k", str(project / "kubernetes"), "--ignore-not-found", "--timeout=120s")


TEMPLATE: Manifest = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "WorkflowTemplate",
    "metadata": {"name": "released"},
    "spec": {
        "entrypoint": "main",
        "suspend": True,
        "arguments": {"parameters": [{"name": "data", "value": "s3://evidence/rows.csv"}]},
        "templates": [{"name": "main", "suspend": {}}],
    },
}


_LOCKED = {
    "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True,
    "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"},
}  # fmt: skip
# As `render` writes a program: without a token, locked down, with its output in the default repository.
WRITES: Manifest = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "WorkflowTemplate",
    "metadata": {"name": "writes"},
    "spec": {
        "entrypoint": "main",
        "automountServiceAccountToken": False,
        "serviceAccountName": EXECUTOR,
        "executor": {"serviceAccountName": EXECUTOR},
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "fsGroup": 65532},
        "volumes": [{"name": "out", "emptyDir": {"sizeLimit": "1Mi"}}],
        "templates": [
            {
                "name": "main",
                "container": {
                    "image": PAUSE,
                    "command": ["/bin/busybox", "touch", "/lockgate/out/done"],
                    "securityContext": _LOCKED,
                    "volumeMounts": [{"name": "out", "mountPath": "/lockgate/out"}],
                },
                "outputs": {
                    "artifacts": [
                        {
                            "name": "done", "path": "/lockgate/out/done", "archive": {"none": {}},
                            "s3": {"key": "lockgate/{{workflow.namespace}}/{{workflow.uid}}/done"},
                        }
                    ]
                },
            }
        ],
    },
}  # fmt: skip


def run(change: Change = lambda run: None) -> Manifest:
    """Return a run as `argo submit --from` creates it, changed."""
    made: Manifest = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {
            "generateName": "released-",
            "labels": {"workflows.argoproj.io/workflow-template": "released", "team": "labour"},
        },
        "spec": {
            "workflowTemplateRef": {"name": "released"},
            "arguments": {"parameters": [{"name": "data", "value": "s3://evidence/rows.csv"}]},
        },
        "status": {"startedAt": None, "finishedAt": None},
    }
    change(made)
    return made


def put(*path: str, value: object) -> Change:
    def change(made: Manifest) -> None:
        for key in path[:-1]:
            made = made.setdefault(key, {})
        made[path[-1]] = value

    change.__name__ = ".".join(path)
    return change


def artifact(made: Manifest) -> None:
    """Add an artifact whose location names our key: Argo would send it as an access key id to any address."""
    secret = {"name": "lockgate-key-bias-audit", "key": "private.pem"}
    place = {"endpoint": "203.0.113.1:9000", "bucket": "b", "key": "k", "accessKeySecret": secret}
    made["spec"]["arguments"]["artifacts"] = [{"name": "data", "s3": place}]


def from_config_map(made: Manifest) -> None:
    source = {"configMapKeyRef": {"name": "lockgate-environment", "key": "store"}}
    made["spec"]["arguments"]["parameters"] = [{"name": "data", "valueFrom": source}]


def stored(template: Manifest) -> Change:
    """Add a template as if Argo had stored it: it would run with the named template's account and keys."""

    def change(made: Manifest) -> None:
        made["status"]["storedTemplates"] = {f"namespaced/released/{template['name']}": template}

    change.__name__ = f"stored {template}"
    return change


def stored_of_another(made: Manifest) -> None:
    """Store a template that exists, but not in the WorkflowTemplate that the run names."""
    made["status"]["storedTemplates"] = {"namespaced/writes/main": WRITES["spec"]["templates"][0]}


def of_the_cluster(made: Manifest) -> None:
    made["spec"]["workflowTemplateRef"]["clusterScope"] = True


def no_template(made: Manifest) -> None:
    made["spec"] = {"entrypoint": "main", "templates": [{"name": "main", "suspend": {}}]}


# Every further field of a Workflow's spec, as Argo 3.7 to 4.1 know them.
FIELDS: dict[str, object] = {
    "activeDeadlineSeconds": 1, "affinity": {}, "archiveLogs": True,
    "artifactGC": {"strategy": "OnWorkflowCompletion", "podSpecPatch": "{}"}, "artifactRepositoryRef": {"key": "x"},
    "automountServiceAccountToken": True, "dnsConfig": {}, "dnsPolicy": "Default", "entrypoint": "main",
    "executor": {"serviceAccountName": PLATFORM}, "hooks": {"exit": {"template": "main"}}, "hostAliases": [],
    "hostNetwork": True, "imagePullSecrets": [{"name": "x"}], "metrics": {}, "nodeSelector": {"a": "b"},
    "onExit": "main", "parallelism": 1, "podDisruptionBudget": {}, "podGC": {}, "podMetadata": {"labels": {"a": "b"}},
    "podPriority": 1, "podPriorityClassName": "x", "podSpecPatch": "{}", "priority": 1, "retryStrategy": {},
    "schedulerName": "x", "securityContext": {"runAsUser": 0}, "serviceAccountName": PLATFORM, "synchronization": {},
    "templateDefaults": {}, "templates": [{"name": "mine", "suspend": {}}], "tolerations": [], "ttlStrategy": {},
    "volumeClaimGC": {}, "volumeClaimTemplates": [],
    "volumes": [{"name": "key", "secret": {"secretName": "lockgate-key-bias-audit"}}],
    "workflowMetadata": {"labels": {"workflows.argoproj.io/completed": "true"}},
}  # fmt: skip
HOSTILE: list[Change] = [
    *(put("spec", name, value=value) for name, value in FIELDS.items()),
    artifact,
    from_config_map,
    of_the_cluster,
    no_template,
    put("status", "phase", value="Running"),
    put("status", "storedWorkflowTemplateSpec", value={"templates": []}),
    stored({"name": "main", "suspend": {"duration": "1"}}),
    stored({"name": "mine", "suspend": {}}),
    stored_of_another,
    put("metadata", "labels", "workflows.argoproj.io/completed", value="true"),
    put("metadata", "labels", "workflows.argoproj.io/controller-instanceid", value="another"),
    put("metadata", "annotations", "workflows.argoproj.io/scheduled-time", value="2026-01-01T00:00:00Z"),
    put("metadata", "finalizers", value=["example.org/mine"]),
    put(
        "metadata",
        "ownerReferences",
        value=[{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "5f0c1b1e-0000-4000-8000-000000000000"}],
    ),
]


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda change: change.__name__)
def test_a_run_says_what_it_is_made_from_and_nothing_else(applied: Applied, hostile: Change) -> None:
    applied.account(SUBMITTER).cannot("create", "-f", "-", given=run(hostile), why="Lockgate: ")


@pytest.mark.parametrize("who", [SUBMITTER, OPERATOR, EVENTS])
def test_whoever_may_start_runs_starts_one(applied: Applied, who: str) -> None:
    assert "created" in applied.account(who).can("create", "-f", "-", given=run())


def of_one_that_is_gone(made: Manifest) -> None:
    """The API server may not have noticed a template yet, so what is not rendered brings nothing."""
    made["spec"]["workflowTemplateRef"]["name"] = "gone"
    made["status"]["storedTemplates"] = {"namespaced/gone/main": {"name": "main", "suspend": {}}}


def test_only_a_run_of_a_rendered_template_brings_templates(applied: Applied) -> None:
    for change in (stored({"name": "main", "suspend": {}}), of_one_that_is_gone):
        applied.account(SUBMITTER).cannot(
            "create", "-f", "-", given=run(change), why="only a run of a template that is"
        )


def test_a_run_ends_well_under_all_of_it(applied: Applied) -> None:
    """Argo's own account and token, the `restricted` level, the quota, the policies and the store, together."""
    submitter = applied.account(SUBMITTER)
    made = run(put("spec", value={"workflowTemplateRef": {"name": "writes"}}))
    name = submitter.can("create", "-o", "name", "-f", "-", given=made).strip()

    def phase() -> str:
        return submitter.can("get", name, "-o", "jsonpath={.status.phase} {.status.message}").strip()

    assert wait_for(lambda: phase().split(" ")[0] in ("Succeeded", "Failed", "Error"), 180), phase()
    assert phase() == "Succeeded"


def test_the_policy_holds_for_administrators_too(applied: Applied) -> None:
    applied.admin.cannot("create", "-f", "-", given=run(put("spec", "entrypoint", value="main")), why="Lockgate: ")


@pytest.fixture
def started(applied: Applied) -> str:
    """The name of a run that Argo has started."""
    name = applied.account(SUBMITTER).can("create", "-o", "name", "-f", "-", given=run()).strip()
    patch = {"status": {"phase": "Running"}, "metadata": {"labels": {"workflows.argoproj.io/phase": "Running"}}}
    applied.controller.can("patch", name, "--type=merge", "-p", json.dumps(patch))
    return name


@pytest.mark.parametrize(
    "patch",
    [
        {"spec": {"shutdown": "Stop"}},
        {"spec": {"shutdown": "Terminate"}, "metadata": {"labels": {"workflows.argoproj.io/action": "Terminate"}}},
        {"spec": {"suspend": False}},
        {"metadata": {"labels": {"team": "health"}}},
    ],
    ids=str,
)
def test_an_operator_stops_a_run(applied: Applied, started: str, patch: Manifest) -> None:
    applied.account(OPERATOR).can("patch", started, "--type=merge", "-p", json.dumps(patch))


@pytest.mark.parametrize(
    "patch",
    [
        {"status": {"phase": "Succeeded"}},
        {"status": {"nodes": {"x": {"outputs": {"artifacts": []}}}}},
        {"status": None},
        {"spec": {"arguments": {"parameters": []}}},
        {"spec": {"workflowTemplateRef": {"name": "another"}}},
        {"spec": {"serviceAccountName": PLATFORM}},
        {"spec": {"arguments": None}},
        {"metadata": {"labels": {"workflows.argoproj.io/phase": None}}},
        {"metadata": {"labels": {"workflows.argoproj.io/completed": "true"}}},
        {"metadata": {"finalizers": ["example.org/mine"]}},
    ],
    ids=str,
)
def test_an_operator_changes_nothing_else_of_it(applied: Applied, started: str, patch: Manifest) -> None:
    merge = ("patch", started, "--type=merge", "-p", json.dumps(patch))
    applied.account(OPERATOR).cannot(*merge, why="Lockgate: ")


def test_a_submitter_changes_nothing_of_a_run(applied: Applied, started: str) -> None:
    for merge in ({"spec": {"shutdown": "Stop"}}, {"status": {"phase": "Succeeded"}}):
        applied.account(SUBMITTER).cannot("patch", started, "--type=merge", "-p", json.dumps(merge))
    applied.account(SUBMITTER).cannot("delete", started)


# The rights of each account, as `kubectl auth can-i` returns them; everything else must be denied.
MAY: dict[str, set[str]] = {
    EXECUTOR: {"create workflowtaskresults", "patch workflowtaskresults"},
    PLATFORM: {
        *(f"{verb} deployments" for verb in ("get", "list", "create", "patch", "delete")),
        *(f"{verb} services" for verb in ("get", "create", "patch")),
        "list pods", "create horizontalpodautoscalers", "patch horizontalpodautoscalers", "get workflows",
    },
    SERVER: set(),
    SUBMITTER: {
        *(f"{verb} workflows" for verb in ("create", "get", "list")), "get workflowtemplates", "list workflowtemplates",
        "get cronworkflows", "list cronworkflows", "get pods", "list pods", "get pods/log", "get services",
        "list services",
    },
    EVENTS: {"create workflows", "get workflowtemplates", "list workfloweventbindings"},
}  # fmt: skip
MAY[OPERATOR] = MAY[SUBMITTER] | {"patch workflows"}
VERBS = ("get", "list", "create", "update", "patch", "delete")
RESOURCES = (
    "configmaps", "cronworkflows", "deployments", "horizontalpodautoscalers", "pods", "pods/exec", "pods/log",
    "rolebindings", "roles", "secrets", "serviceaccounts", "serviceaccounts/token", "services",
    "workfloweventbindings", "workflows", "workflowtaskresults", "workflowtemplates",
)  # fmt: skip


@pytest.mark.parametrize("account", sorted(MAY))
def test_each_account_may_do_what_it_needs_and_no_more(
    applied: Applied, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightkube.models.authorization_v1 import ResourceAttributes, SelfSubjectAccessReviewSpec
    from lightkube.resources.authorization_v1 import SelfSubjectAccessReview

    from lockgate.cluster.api import connect

    monkeypatch.setenv("KUBECONFIG", str(applied.account(account).kubeconfig))
    groups = {name: group for group, names in GROUPS.items() for name in names}
    with connect().client as client:
        may = set()
        for resource in RESOURCES:
            name, _, sub = resource.partition("/")
            for verb in VERBS:
                asked = ResourceAttributes(
                    group=groups.get(name, ""), resource=name, subresource=sub, verb=verb, namespace=NAMESPACE
                )
                answer = client.create(
                    SelfSubjectAccessReview(spec=SelfSubjectAccessReviewSpec(resourceAttributes=asked))
                )
                if answer.status and answer.status.allowed:
                    may.add(f"{verb} {resource}")
    assert may == MAY[account]


GROUPS = {
    "argoproj.io": {
        "cronworkflows", "workfloweventbindings", "workflows", "workflowtaskresults", "workflowtemplates",
    },
    "apps": {"deployments"},
    "autoscaling": {"horizontalpodautoscalers"},
    "rbac.authorization.k8s.io": {"roles", "rolebindings"},
}  # fmt: skip


@pytest.mark.parametrize("account", sorted(MAY))
def test_no_account_reads_a_key_or_makes_a_pod(applied: Applied, account: str) -> None:
    user = applied.account(account)
    user.cannot("get", "secret", "lockgate-key-bias-audit")
    user.cannot("create", "-f", "-", given=pod({}))
    user.cannot("create", "token", PLATFORM)


def pod(security: Manifest) -> Manifest:
    """Return a pod that the `restricted` level admits, except for this change."""
    locked = {
        "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True, "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    container = {"name": "main", "image": "example.org/none", "securityContext": locked | security}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": [container]}}


def test_the_namespace_takes_restricted_pods_alone(applied: Applied) -> None:
    applied.admin.can("create", "--dry-run=server", "-f", "-", given=pod({}))
    wrong: list[Manifest] = [
        {"privileged": True, "allowPrivilegeEscalation": True},
        {"allowPrivilegeEscalation": True},
        {"runAsNonRoot": False},
        {"capabilities": {"add": ["NET_ADMIN"]}},
    ]
    for security in wrong:
        # An API server that admits no privileged pods refuses it first.
        words = "violates PodSecurity|disallowed by cluster policy"
        applied.admin.cannot("create", "-f", "-", given=pod(security), why=words)
    outside = pod({})
    outside["spec"]["hostNetwork"] = True
    applied.admin.cannot("create", "-f", "-", given=outside, why="violates PodSecurity")


def test_nothing_is_opened_to_the_outside(applied: Applied) -> None:
    for kind in ("NodePort", "LoadBalancer"):
        spec = {"type": kind, "ports": [{"port": 80}], "selector": {"a": "b"}}
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "out"}, "spec": spec}
        applied.account(PLATFORM).cannot("create", "-f", "-", given=service, why="Lockgate: ")
        applied.admin.cannot("create", "-f", "-", given=service, why="exceeded quota")


def version(change: Change = lambda version: None) -> Manifest:
    """Return a version as deploy creates it, changed."""
    labels = {
        "app.kubernetes.io/name": "grants", "app.kubernetes.io/component": "model-server",
        "app.kubernetes.io/managed-by": "lockgate", "lockgate.io/bundle": "0123456789ab",
    }  # fmt: skip
    mount = {"name": "credentials", "mountPath": "/lockgate/credentials"}
    spec: Manifest = {
        "serviceAccountName": SERVER,
        "automountServiceAccountToken": False,
        "initContainers": [
            {
                "name": "pull",
                "image": IMAGE.replace("model-server", "deploy"),
                "volumeMounts": [mount],
                "command": ["python", "-m", "lockgate_deploy"],
                "args": ["pull"],
            }
        ],
        "containers": [
            {
                "name": "model-server",
                "image": IMAGE,
                "command": ["python", "-m", "lockgate_model_server"],
                "env": [{"name": "LOCKGATE_IO", "value": "/lockgate"}],
            }
        ],
        "volumes": [
            {"name": "bundle", "emptyDir": {}},
            {"name": "environment", "configMap": {"name": "lockgate-environment"}},
            {"name": "credentials", "secret": {"secretName": "lockgate-store", "optional": True}},
        ],
    }
    change(spec)
    template = {"metadata": {"labels": labels}, "spec": spec}
    selector = {name: labels[name] for name in labels if not name.endswith("managed-by")}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "grants-0123456789ab", "labels": labels},
        "spec": {"replicas": 0, "selector": {"matchLabels": selector}, "template": template},
    }  # fmt: skip


def with_volume(volume: Manifest) -> Change:
    def change(spec: Manifest) -> None:
        spec["volumes"].append({"name": "more", **volume})

    change.__name__ = str(volume)
    return change


def in_container(**fields: object) -> Change:
    def change(spec: Manifest) -> None:
        spec["containers"][0] |= fields

    change.__name__ = str(fields)
    return change


KEY = {"secretKeyRef": {"name": "lockgate-key-bias-audit", "key": "private.pem"}}
HOSTILE_VERSIONS: list[Change] = [
    put("serviceAccountName", value=PLATFORM),
    put("automountServiceAccountToken", value=True),
    with_volume({"secret": {"secretName": "lockgate-key-bias-audit"}}),
    with_volume({"hostPath": {"path": "/"}}),
    with_volume({"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}),
    with_volume({"configMap": {"name": "kube-root-ca.crt"}}),
    in_container(volumeMounts=[{"name": "credentials", "mountPath": "/x"}]),
    in_container(env=[{"name": "KEY", "valueFrom": KEY}]),
    in_container(envFrom=[{"secretRef": {"name": "lockgate-key-bias-audit"}}]),
    in_container(image="registry.example.org/lockgate/model-server:latest"),
]


@pytest.mark.parametrize("hostile", HOSTILE_VERSIONS, ids=lambda change: change.__name__)
def test_the_platform_serves_versions_and_nothing_else(applied: Applied, hostile: Change) -> None:
    applied.account(PLATFORM).cannot("create", "-f", "-", given=version(hostile), why="Lockgate: ")


def test_the_platform_serves_a_version(applied: Applied) -> None:
    applied.account(PLATFORM).can("create", "--dry-run=server", "-f", "-", given=version())


def cron(change: Change = lambda cron: None) -> Manifest:
    spec: Manifest = {"schedules": ["0 3 * * 1"], "workflowSpec": {"workflowTemplateRef": {"name": "released"}}}
    made: Manifest = {"metadata": {"name": "retrain"}, "spec": spec}
    change(made)
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "CronWorkflow", **made}


def binding(change: Change = lambda binding: None) -> Manifest:
    parameters: list[Manifest] = [{"name": "version", "valueFrom": {"event": "payload.data.version"}}]
    submit = {"workflowTemplateRef": {"name": "released"}, "arguments": {"parameters": parameters}}
    made: Manifest = {"metadata": {"name": "on-event"}, "spec": {"event": {"selector": "false"}, "submit": submit}}
    change(made)
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "WorkflowEventBinding", **made}


def test_triggers_start_what_a_submitter_could(applied: Applied) -> None:
    applied.admin.can("create", "--dry-run=server", "-f", "-", given=cron())
    applied.admin.can("create", "--dry-run=server", "-f", "-", given=binding())


@pytest.mark.parametrize(
    "hostile",
    [
        cron(put("spec", "workflowSpec", "serviceAccountName", value=PLATFORM)),
        cron(put("spec", "workflowSpec", "workflowTemplateRef", "clusterScope", value=True)),
        cron(put("spec", "workflowSpec", "arguments", value={"artifacts": [{"name": "x", "raw": {"data": "x"}}]})),
        cron(put("spec", "workflowMetadata", value={"labels": {"workflows.argoproj.io/completed": "true"}})),
        binding(put("spec", "submit", "workflowTemplateRef", "clusterScope", value=True)),
        binding(put("spec", "submit", "arguments", value={"artifacts": [{"name": "x", "raw": {"data": "x"}}]})),
    ],
    ids=str,
)
def test_triggers_start_nothing_else(applied: Applied, hostile: Manifest) -> None:
    applied.admin.cannot("create", "-f", "-", given=hostile, why="Lockgate: ")


def test_what_the_programs_see_is_what_was_told(applied: Applied) -> None:
    values = json.loads(applied.admin.can("get", "configmap", "lockgate-environment", "-o", "json"))["data"]
    folder = applied.project / "kubernetes" / "environment"
    assert values == {path.name: path.read_text() for path in folder.iterdir()}
    assert values["store"] == f"s3://{BUCKET}/manifests\n"
    token = json.loads(applied.admin.can("get", "secret", f"{EXECUTOR}.service-account-token", "-o", "json"))
    assert token["data"]["token"], "the API server fills it"
