"""The namespace itself: its security level, its limits, and where Argo keeps what steps pass to each other."""

from collections.abc import Iterator
from typing import Any

from lockgate_step import layout

from lockgate.cluster.manifests.objects import document
from lockgate.cluster.manifests.settings import Settings, Store

# What enforces is pinned, so that no upgrade of the cluster stops a served model from restarting; what warns is not.
ENFORCED = "v1.34"
_LEVEL = "pod-security.kubernetes.io/"


def namespace(settings: Settings) -> dict[str, Any]:
    """The namespace, which takes no pod that the `restricted` level refuses."""
    made = document("v1", "Namespace", settings.namespace)
    for mode, version in (("enforce", ENFORCED), ("warn", "latest"), ("audit", "latest")):
        made["metadata"]["labels"] |= {f"{_LEVEL}{mode}": "restricted", f"{_LEVEL}{mode}-version": version}
    return made


def limits(settings: Settings) -> Iterator[dict[str, Any]]:
    """What the namespace may use in all, and what a container gets that asks for nothing."""
    # No limits of cpu: they would slow served models' answers down, and a quota of them asks every pod for one.
    hard = {
        "limits.memory": "128Gi",
        "pods": "200",
        "requests.cpu": "32",
        "requests.memory": "64Gi",
        # Served models are reached through the cluster's own gateway.
        "services.loadbalancers": "0",
        "services.nodeports": "0",
    }
    yield document("v1", "ResourceQuota", "lockgate", settings.namespace, spec={"hard": hard})
    limit = {
        "type": "Container",
        "default": {"memory": "512Mi"},
        "defaultRequest": {"cpu": "50m", "memory": "64Mi"},
    }
    why = "Argo's own containers say nothing where its controller is not ours to set, and a quota refuses that"
    yield document("v1", "LimitRange", "lockgate", settings.namespace, why, spec={"limits": [limit]})


def artifacts(settings: Settings, text: str) -> dict[str, Any]:
    """The artifact repository that Argo takes by default in this namespace; text: its settings as YAML."""
    made = document("v1", "ConfigMap", "artifact-repositories", settings.namespace, data={"lockgate": text})
    made["metadata"]["annotations"] = {"workflows.argoproj.io/default-artifact-repository": "lockgate"}
    return made


def repository(store: Store) -> dict[str, Any]:
    """The store as Argo's S3 client takes it: the same bucket, credentials and authority as the programs'."""
    s3: dict[str, Any] = {
        "bucket": store.bucket,
        "endpoint": store.host,
        "insecure": False,
        "accessKeySecret": {"name": layout.STORE_SECRET, "key": layout.ACCESS_KEY},
        "secretKeySecret": {"name": layout.STORE_SECRET, "key": layout.SECRET_KEY},
    }
    if store.region:
        s3["region"] = store.region
    if store.has_ca:
        s3["caSecret"] = {"name": layout.AUTHORITY_SECRET, "key": "ca.pem"}
    return {"s3": s3}
