"""Accounts on the cluster: what they may do, and how somebody signs in with a token and nothing else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

RBAC = "rbac.authorization.k8s.io"
# What Argo's own containers ask of the API, beside a step's.
EXECUTOR: Mapping[str, Any] = {
    "apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"],
}  # fmt: skip


def service_account(namespace: str, name: str, *rules: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objects of an account that may do in its namespace what these rules say, and nothing else."""
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
    """Write a kubeconfig that leads where the administrator's does, as another user; returns its path.

    user: as kubeconfig says who signs in: `{"token": …}`, `{"exec": …}`.
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
