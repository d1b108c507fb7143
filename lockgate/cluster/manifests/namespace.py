"""The namespace: its security level, its limits, and the store of the artifacts that steps pass on."""

from collections.abc import Iterator
from typing import Any

from lockgate_step import layout

from lockgate.cluster.manifests.objects import document
from lockgate.cluster.manifests.settings import Settings, Store

# The enforced version is pinned: an upgrade of the cluster must not keep a served model from restarting.
ENFORCED = "v1.34"
_LEVEL = "pod-security.kubernetes.io/"


def namespace(settings: Settings) -> dict[str, Any]:
    """Return the namespace, which admits only pods of the `restricted` level."""
    manifest = document("v1", "Namespace", settings.namespace)
    for mode, version in (("enforce", ENFORCED), ("warn", "latest"), ("audit", "latest")):
        manifest["metadata"]["labels"] |= {f"{_LEVEL}{mode}": "restricted", f"{_LEVEL}{mode}-version": version}
    return manifest


def limits(settings: Settings) -> Iterator[dict[str, Any]]:
    """Yield the quotas of the namespace and of its runs, and the defaults of containers without requests."""
    # No cpu limits: they would slow served models down, and a quota on them would require one of every pod.
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
    # Every step has a deadline and no served version has one, so this quota is of runs alone.
    of_runs = {"limits.memory": "96Gi", "pods": "150", "requests.cpu": "24", "requests.memory": "48Gi"}
    why = "runs must leave a part of the namespace's quota to served versions"
    spec = {"hard": of_runs, "scopes": ["Terminating"]}
    yield document("v1", "ResourceQuota", "lockgate-runs", settings.namespace, why, spec=spec)
    limit = {
        "type": "Container",
        "default": {"memory": "512Mi"},
        "defaultRequest": {"cpu": "50m", "memory": "64Mi"},
    }
    why = "the quota requires values; Argo's own containers have none unless its controller is configured"
    yield document("v1", "LimitRange", "lockgate", settings.namespace, why, spec={"limits": [limit]})


def artifacts(settings: Settings, text: str) -> dict[str, Any]:
    """Return Argo's default artifact repository for this namespace; text: its settings as YAML."""
    manifest = document("v1", "ConfigMap", "artifact-repositories", settings.namespace, data={"lockgate": text})
    manifest["metadata"]["annotations"] = {"workflows.argoproj.io/default-artifact-repository": "lockgate"}
    return manifest


def repository(store: Store) -> dict[str, Any]:
    """Return the settings of Argo's S3 client: the same bucket, credentials and CA as the programs use."""
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
