"""Somebody who signs in to the cluster with a token and nothing else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml


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
