"""Accounts on the cluster: their permissions, and kubeconfigs that authenticate as them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

RBAC = "rbac.authorization.k8s.io"
# The rights of Argo's own containers in a pod.
EXECUTOR: Mapping[str, Any] = {
    "apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"],
}  # fmt: skip


def service_account(namespace: str, name: str, *rules: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the objects of an account with exactly these rights in its namespace."""
    head = {"name": name, "namespace": namespace}
    role = {"apiGroup": RBAC, "kind": "Role", "name": name}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": head},
        {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": head, "rules": [dict(rule) for rule in rules]},
        {
            "apiVersion": f"{RBAC}/v1", "kind": "RoleBinding", "metadata": head, "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", **head}],
        },
    ]  # fmt: skip


def write_kubeconfig(path: Path, administrator: Path, user: Mapping[str, Any], namespace: str) -> Path:
    """Write a kubeconfig for the administrator's cluster with another user; return its path.

    user: the credentials in kubeconfig's form: `{"token": …}`, `{"exec": …}`.
    """
    cluster = yaml.safe_load(administrator.read_text())["clusters"][0]["cluster"]
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "tests",
        "clusters": [{"name": "tests", "cluster": cluster}],
        "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "account", "namespace": namespace}}],
        "users": [{"name": "account", "user": dict(user)}],
    }  # fmt: skip
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(config))
    return path
