"""Network policies: deny everything, then allow each connection that is needed.

Policies support addresses and labels, but no host names: a host inside the cluster is allowed by its namespace, an IP
address by itself, any other host only by its port. They have an effect only if the network plug-in enforces them.
"""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from lockgate.cluster.manifests.objects import LABELS, document
from lockgate.cluster.manifests.settings import Cluster

CALLERS = "lockgate.io/calls-models"  # the label of a namespace whose pods may call served models
PORT = 8080
_NAMESPACE = "kubernetes.io/metadata.name"
_COMPONENT = "app.kubernetes.io/component"
_RUN = {"key": "workflows.argoproj.io/workflow", "operator": "Exists"}
_SERVER = {"matchLabels": {_COMPONENT: "model-server"}}


def documents(cluster: Cluster, with_registry: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the policies; with_registry: the programs that connect to the model registry."""
    settings, steps = cluster.settings, {"matchExpressions": [_RUN]}
    ours = {"matchLabels": {"app.kubernetes.io/part-of": LABELS["app.kubernetes.io/part-of"]}}

    def policy(name: str, why: str, pods: dict[str, Any], **rules: Any) -> dict[str, Any]:
        types = [kind for kind in ("Ingress", "Egress") if kind.lower() in rules or not rules]
        spec = {"podSelector": pods, "policyTypes": types, **rules}
        return document("networking.k8s.io/v1", "NetworkPolicy", name, settings.namespace, why, spec=spec)

    yield policy("lockgate-deny-all", "deny everything that no other policy allows", {})
    dns = {"namespaceSelector": {"matchLabels": {_NAMESPACE: "kube-system"}}}
    yield policy(
        "lockgate-dns",
        "every pod resolves names",
        {},
        egress=[{"to": [dns], "ports": [{"port": 53, "protocol": kind} for kind in ("UDP", "TCP")]}],
    )
    yield policy(
        "lockgate-store",
        "steps and served models read and write the store; Argo's containers its artifacts",
        ours,
        egress=[_way(cluster.store.endpoint)],
    )
    api = [{"ipBlock": {"cidr": cidr}} for cidr in settings.api_server.split(",") if cidr]
    yield policy(
        "lockgate-api-server",
        "Argo's containers report results; deploy, promote and conclude make versions reachable",
        steps,
        egress=[{**({"to": api} if api else {}), "ports": [_tcp(443), _tcp(6443)]}],
    )
    if registry := cluster.value("registry"):
        yield policy(
            "lockgate-registry",
            "only these programs use the model registry",
            {"matchExpressions": [_RUN, {"key": _COMPONENT, "operator": "In", "values": sorted(with_registry)}]},
            egress=[_way(registry)],
        )
    yield policy(
        "lockgate-smoke-test",
        "the smoke test calls a version as users do",
        {"matchExpressions": [_RUN], "matchLabels": {_COMPONENT: "smoke-test"}},
        egress=[{"to": [{"podSelector": _SERVER}], "ports": [_tcp(PORT)]}],
    )
    callers: list[dict[str, Any]] = [
        {"podSelector": {}},
        {"namespaceSelector": {"matchLabels": {CALLERS: "true"}}},
    ]
    yield policy(
        "lockgate-model-server",
        f"this namespace and those labelled {CALLERS}=true may call served models",
        _SERVER,
        ingress=[{"from": callers, "ports": [_tcp(PORT)]}],
    )


def _tcp(port: int) -> dict[str, Any]:
    return {"port": port, "protocol": "TCP"}


def _way(address: str) -> dict[str, Any]:
    """Return the egress rule for a server, as narrow as a policy can express its address."""
    parts = urlsplit(address)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    names = host.removesuffix(".cluster.local").split(".")
    if len(names) == 3 and names[2] == "svc":
        # The pods' port may differ from the Service's, and policies apply after the Service was resolved.
        return {"to": [{"namespaceSelector": {"matchLabels": {_NAMESPACE: names[1]}}}]}
    try:
        number = ip_address(host)
    except ValueError:
        return {"ports": [_tcp(port)]}
    return {"to": [{"ipBlock": {"cidr": f"{number}/{number.max_prefixlen}"}}], "ports": [_tcp(port)]}
