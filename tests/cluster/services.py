"""The services of the tests' cluster: Argo, an S3 service with TLS and credentials, and a model registry.

They run as processes in the cluster's network and not as pods, so that a test can stop and start each of them. Argo's
two programs have only the rights of their service accounts.
"""

import re
import socket
import subprocess
import sys
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from tests import seaweed
from tests.cluster import tools
from tests.cluster.place import ACCESS_KEY, ARGO, CA, MLFLOW, NODE, S3, SECRET_KEY
from tests.cluster.processes import wait_for

if TYPE_CHECKING:
    from tests.cluster.cluster import OwnCluster

# Our recommendation to the controller's owner: docs/kubernetes.md has the reason, benchmarks/README.md the effect.
CONTROLLER_SETTINGS = {"DEFAULT_REQUEUE_TIME": "200ms"}
_PORTS = (9333, 9340, 8888, 8333, 19333, 19340, 18888, 18333)
CONTROLLER = {
    "workflowRestrictions": "{templateReferencing: Secure}",
    "executor": """
imagePullPolicy: IfNotPresent
securityContext:
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  runAsUser: 65532
  seccompProfile: {type: RuntimeDefault}
resources:
  requests: {cpu: 10m, memory: 32Mi}
  limits: {cpu: "1", memory: 512Mi}
""",
}


def start(cluster: "OwnCluster") -> None:
    """Start the services that are not running."""
    _registry(cluster)
    _store(cluster)
    _argo(cluster)
    if not wait_for(lambda: _answers(f"{MLFLOW}/health"), 120):
        raise cluster.failed("mlflow")


def store() -> seaweed.SeaweedFS:
    """Return the S3 service for tests and programs."""
    return seaweed.SeaweedFS(S3, CA, (ACCESS_KEY, SECRET_KEY))


def start_store(cluster: "OwnCluster") -> None:
    """Start the S3 service with its existing data."""
    cluster.authority.issue("s3", "s3", addresses=(NODE,))
    pair = (cluster.authority.path("s3"), cluster.authority.key("s3"))
    command = seaweed.serve_command(cluster.state / "s3", NODE, _PORTS, pair)
    cluster.processes.start("s3", cluster.inside(*command))


def start_controller(cluster: "OwnCluster", settings: dict[str, str] = CONTROLLER_SETTINGS) -> None:
    """Start Argo's controller with these environment variables."""
    environment = {"LEADER_ELECTION_DISABLE": "true", **settings}
    cluster.processes.start("argo-controller", controller_command(cluster), environment)


def controller_command(cluster: "OwnCluster", *more: str) -> list[str]:
    """Return the command line of Argo's controller."""
    return cluster.inside(
        cluster.programs / "workflow-controller", f"--kubeconfig={cluster.authority.folder / 'argo.kubeconfig'}",
        f"--namespace={ARGO}", f"--executor-image={cluster.executor_image}",
        "--executor-image-pull-policy=IfNotPresent", *more,
    )  # fmt: skip


def _store(cluster: "OwnCluster") -> None:
    start_store(cluster)
    seaweed.make_bucket(store(), lambda: cluster.processes.running("s3"))


def _registry(cluster: "OwnCluster") -> None:
    folder = cluster.state / "mlflow"
    folder.mkdir(exist_ok=True)
    lock = (Path(__file__).resolve().parents[2] / "images" / "fetch" / "requirements.lock").read_text()
    found = re.search(r"^mlflow-skinny==(\S+)", lock, re.MULTILINE)
    assert found, "the step fetch has a client of the registry"
    # Installed outside, because the cluster's network has no access to the internet.
    ask = [sys.executable, "-m", "uv", "tool", "run", "--from", f"mlflow=={found[1]}", "python", "-c"]
    python = subprocess.run([*ask, "import sys; print(sys.executable)"], check=True, capture_output=True, text=True)
    command: list[str | Path] = [
        python.stdout.strip(), "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{folder}/server.db",
        "--artifacts-destination", folder / "files", "--host", NODE, "--port", "5001", "--workers", "1",
        "--allowed-hosts", f"{NODE}:5001",
    ]  # fmt: skip
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    cluster.processes.start("mlflow", cluster.inside(*command), quiet)


def _argo(cluster: "OwnCluster") -> None:
    manifests = tools.module("argo") / "manifests"
    cluster.kubectl("apply", "--server-side", "-k", str(manifests / "base" / "crds" / "minimal"))
    with suppress(subprocess.CalledProcessError):  # it exists
        cluster.kubectl("create", "namespace", ARGO)
    # Argo's own accounts and rights; its two programs run as processes here.
    made = yaml.safe_load_all(cluster.kubectl("kustomize", str(manifests / "cluster-install-no-crds")))
    own = [document for document in made if document["kind"] not in ("Service", "ConfigMap")]
    for document in own:
        if document["kind"] == "Deployment":
            # Without a pod: it only shows which version runs, and with which settings.
            document["spec"]["replicas"] = 0
            [container] = document["spec"]["template"]["spec"]["containers"]
            container["image"] = container["image"].replace(":latest", f":{tools.version(tools.tool('argo'))}")
            container.setdefault("env", []).extend({"name": k, "value": v} for k, v in CONTROLLER_SETTINGS.items())
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=yaml.safe_dump_all(own))
    settings = [f"--from-literal={key}={value}" for key, value in CONTROLLER.items()]
    config = cluster.kubectl(
        "create", "configmap", "workflow-controller-configmap", "-n", ARGO, "--dry-run=client", "-o", "yaml", *settings
    )
    cluster.kubectl("apply", "--server-side", "-f", "-", given=config)
    for name, account in (("argo", "argo"), ("argo-server", "argo-server")):
        cluster.authority.issue(name, f"system:serviceaccount:{ARGO}:{account}")
        cluster.authority.kubeconfig(name, f"https://{NODE}:6443")
    _server_certificate(cluster)
    start_controller(cluster)
    command: list[str | Path] = [
        cluster.programs / "argo", "server", "--auth-mode=client", "--tls-certificate-secret-name=argo-server-tls",
        f"--kubeconfig={cluster.authority.folder / 'argo-server.kubeconfig'}", f"--namespace={ARGO}",
    ]  # fmt: skip
    # For requests to the API server, the address comes from here, and the token from the caller.
    meeting = {"KUBECONFIG": str(cluster.authority.folder / "argo-server.kubeconfig")}
    cluster.processes.start("argo-server", cluster.inside(*command), meeting)
    if not wait_for(lambda: listens(f"{NODE}:2746"), 60):
        raise cluster.failed("argo-server")


def _server_certificate(cluster: "OwnCluster") -> None:
    cluster.authority.issue("argo-tls", "argo-server", addresses=(NODE, "argo-server.argo.svc"))
    made = cluster.kubectl(
        "create", "secret", "tls", "argo-server-tls", "-n", ARGO, "--dry-run=client", "-o", "yaml",
        f"--cert={cluster.authority.path('argo-tls')}", f"--key={cluster.authority.key('argo-tls')}",
    )  # fmt: skip
    cluster.kubectl("apply", "--server-side", "-f", "-", given=made)


def listens(address: str) -> bool:
    """Return whether something accepts connections at `host:port`."""
    host, port = address.rsplit(":", 1)
    try:
        with socket.create_connection((host, int(port)), timeout=2):
            return True
    except OSError:
        return False


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2):
            return True
    except OSError:
        return False
