"""Network policies: deny everything, then allow each connection that is needed.

Policies support addresses and labels, but no host names: a host inside the cluster is allowed by its namespace, an IP
address by itself. Any other host is closed until the settings name its addresses. Policies have an effect only if the
network plug-in enforces them.
"""

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

from lockgate_step import layout

from lockgate.cluster.manifests.objects import LABELS, document
from lockgate.cluster.manifests.settings import Cluster, opens
from lockgate.rendering.labels import COMPONENT, PART_OF

CALLERS = "lockgate.io/calls-models"  # the label of a namespace whose pods may call served models
PORT = 8080
_NAMESPACE = "kubernetes.io/metadata.name"
_RUN = {"key": "workflows.argoproj.io/workflow", "operator": "Exists"}
_SERVER = {"matchLabels": {COMPONENT: "model-server"}}


def documents(cluster: Cluster, with_registry: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the policies; with_registry: the programs that connect to the model registry."""
    settings, steps = cluster.settings, {"matchExpressions": [_RUN]}
    ours = {"matchLabels": {PART_OF: LABELS[PART_OF]}}

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
    if store := _way(cluster.store.endpoint, settings.opened("store_egress")):
        yield policy(
            "lockgate-store",
            "steps and served models read and write the store; Argo's containers its artifacts",
            ours,
            egress=[store],
        )
    if api := [_peer(place) for place in settings.opened("api_server")]:
        yield policy(
            "lockgate-api-server",
            "Argo's containers report results; deploy, promote and conclude make versions reachable",
            steps,
            egress=[{"to": api, "ports": [_tcp(443), _tcp(6443)]}],
        )
    if registry := _way(cluster.registry, settings.opened("registry_egress")):
        yield policy(
            "lockgate-registry",
            "only these programs use the model registry",
            {"matchExpressions": [_RUN, {"key": COMPONENT, "operator": "In", "values": sorted(with_registry)}]},
            egress=[registry],
        )
    yield policy(
        "lockgate-smoke-test",
        "the smoke test calls a version as users do",
        {"matchExpressions": [_RUN], "matchLabels": {COMPONENT: "smoke-test"}},
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
    if settings.monitored:
        yield policy(
            "lockgate-metrics",
            "only the namespace of Prometheus may read the metrics of served models",
            _SERVER,
            ingress=[
                {"from": [_peer(f"namespace/{settings.monitoring_namespace}")], "ports": [_tcp(layout.METRICS_PORT)]}
            ],
        )


def _tcp(port: int) -> dict[str, Any]:
    return {"port": port, "protocol": "TCP"}


def closed(cluster: Cluster) -> list[str]:
    """Return the settings whose servers no pod can reach where policies are enforced: they name no address."""
    servers = {"store_egress": cluster.store.endpoint, "registry_egress": cluster.registry}
    shut = [name for name, server in servers.items() if server and not _way(server, cluster.settings.opened(name))]
    return shut + ([] if cluster.settings.opened("api_server") else ["api_server"])


def opened_by(policy: Mapping[str, Any]) -> list[str]:
    """Return the directions that a policy opens to any address or to every namespace: policies only ever add."""
    spec = policy.get("spec") or {}
    return [
        direction
        for direction, peers in (("egress", "to"), ("ingress", "from"))
        if any(not rule.get(peers) or any(map(_is_anybody, rule[peers])) for rule in spec.get(direction) or ())
    ]


def _is_anybody(peer: Mapping[str, Any]) -> bool:
    if block := peer.get("ipBlock"):
        try:
            return opens(ip_network(str(block.get("cidr")), strict=False))
        except ValueError:
            return True
    everywhere = peer.get("namespaceSelector")
    return everywhere is not None and not any(everywhere.values()) and not any((peer.get("podSelector") or {}).values())


def _peer(place: str) -> dict[str, Any]:
    kind, _, name = place.partition("/")
    if kind == "namespace":
        return {"namespaceSelector": {"matchLabels": {_NAMESPACE: name}}}
    return {"ipBlock": {"cidr": place}}


def _way(address: str, opened: list[str]) -> dict[str, Any] | None:
    """Return the egress rule for a server, or None if nothing tells its addresses.

    opened: the addresses that the settings name; by default what the server's own name tells.
    """
    if not address:
        return None
    parts = urlsplit(address)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if opened:
        return {"to": [_peer(place) for place in opened], "ports": [_tcp(port)]}
    names = host.removesuffix(".cluster.local").split(".")
    if len(names) == 3 and names[2] == "svc":
        # The pods' port may differ from the Service's, and policies apply after the Service was resolved.
        return {"to": [_peer(f"namespace/{names[1]}")]}
    try:
        number = ip_address(host)
    except ValueError:
        return None
    return {"to": [_peer(f"{number}/{number.max_prefixlen}")], "ports": [_tcp(port)]}
