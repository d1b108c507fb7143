"""The files of `kubernetes/`, rendered from the settings, the environment and the models."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lockgate_step import layout

from lockgate.cluster.manifests import accounts, controller, monitoring, namespace, network, policy
from lockgate.cluster.manifests.objects import LABELS
from lockgate.cluster.manifests.programs import Pins
from lockgate.cluster.manifests.rules import broken
from lockgate.cluster.manifests.settings import Cluster
from lockgate.definition.catalog import Catalog, Program
from lockgate.errors import SpecError
from lockgate.rendering.canonical import dump
from lockgate.rendering.current import current_bytes, current_of

HEADER = "# Rendered by `lockgate render` from settings.toml and environment/; do not edit, write an overlay.\n"
_KUSTOMIZATION = {
    "apiVersion": "kustomize.config.k8s.io/v1beta1",
    "kind": "Kustomization",
}
_APART = "argo-controller"  # another team may own the controller
PRIVATE = "# Written by `lockgate render --kubernetes`. Never commit this folder: it holds private keys.\n"
CREDENTIALS = (layout.ACCESS_KEY, layout.SECRET_KEY)


def cluster_files(cluster: Cluster) -> dict[Path, bytes]:
    """Return every rendered file of `kubernetes/` by path. Errors: SpecError, BadCall."""
    shown = {name: found for name, documents in _documents(cluster).items() if (found := list(documents))}
    for document in (each for documents in shown.values() for each in documents if "labels" in each["metadata"]):
        document["metadata"]["labels"][layout.PROJECT] = cluster.settings.owner
    if wrong := broken([document for documents in shown.values() for document in documents]):
        msg = f"kubernetes/ breaks a rule: {wrong[0]}"
        raise SpecError(
            msg, fix="correct kubernetes/settings.toml; lockgate/cluster/manifests/rules.py explains the rule"
        )
    files = {name: "---\n".join(dump(document) for document in documents) for name, documents in shown.items()}
    own = [name for name in files if not name.startswith(_APART)]
    files["kustomization.yaml"] = dump(_kustomization(cluster, own))
    environment = {cluster.environment / layout.CURRENT: current_bytes(current_of(cluster.project))}
    return {cluster.folder / name: (HEADER + text).encode() for name, text in files.items()} | environment


def left_over(cluster: Cluster, files: Mapping[Path, bytes]) -> list[Path]:
    """Return the files of `kubernetes/` that an earlier setting rendered; what somebody else wrote there stays."""
    found = [path for path in sorted(cluster.folder.glob("*.yaml")) if path not in files]
    return [path for path in found if path.read_text(encoding="utf-8").startswith(HEADER)]


def _documents(cluster: Cluster) -> dict[str, Iterable[dict[str, Any]]]:
    """Return the objects by file, in the order in which they are applied."""
    settings, store = cluster.settings, cluster.store
    config, deployment = controller.documents(settings)
    return {
        "namespace.yaml": [namespace.namespace(settings)],
        "accounts.yaml": accounts.documents(settings),
        "quota.yaml": namespace.limits(settings),
        "network.yaml": network.documents(cluster, _with_registry(cluster)),
        "artifacts.yaml": [namespace.artifacts(settings, dump(namespace.repository(store)))],
        monitoring.FILE: monitoring.documents(cluster),
        "policy.yaml": policy.documents(settings, Pins.of(cluster.project)),
        f"{_APART}/configmap.yaml": [config],
        f"{_APART}/deployment.yaml": [deployment],
    }


def _with_registry(cluster: Cluster) -> list[str]:
    programs: list[Program] = list(Catalog.find().programs.values())
    for model in cluster.project.models.values():
        programs += model.own_programs.values()
    return [program.name for program in programs if "registry" in program.contract["uses"]]


def _kustomization(cluster: Cluster, resources: list[str]) -> dict[str, Any]:
    values = _generator(cluster, layout.CONFIG_MAP, [f"environment/{key}" for key in cluster.keys])
    kustomization: dict[str, Any] = {**_head(cluster), "resources": resources, "configMapGenerator": [values]}
    if cluster.store.has_ca:
        # Argo reads a CA only from a Secret; it contains nothing secret.
        kustomization["secretGenerator"] = [_generator(cluster, layout.AUTHORITY_SECRET, ["environment/ca.pem"])]
    return kustomization


def _head(cluster: Cluster) -> dict[str, Any]:
    labels = {**LABELS, layout.PROJECT: cluster.settings.owner}
    # Workflows use the names of ConfigMaps and Secrets without a suffix.
    return {**_KUSTOMIZATION, "generatorOptions": {"disableNameSuffixHash": True, "labels": labels}}


def _generator(cluster: Cluster, name: str, files: Iterable[str]) -> Mapping[str, Any]:
    return {"name": name, "namespace": cluster.settings.namespace, "files": list(files)}


def private_files(cluster: Cluster) -> dict[Path, bytes]:
    """Return the kustomization that applies the keys and credentials on this machine."""
    secrets = sorted(p.name for p in cluster.private.iterdir() if p.is_dir())
    generators = [
        _generator(cluster, name, sorted(f"{name}/{p.name}" for p in (cluster.private / name).iterdir()))
        for name in secrets
    ]
    text = dump({**_head(cluster), "secretGenerator": generators})
    return {cluster.private / "kustomization.yaml": (PRIVATE + text).encode()}
