"""The environment of a program that moves versions: its run, the store and the platform."""

import os
from dataclasses import dataclass
from pathlib import Path

from lockgate_proof import Trust
from lockgate_step import BadCall, io_root, layout
from lockgate_store import Store, open_store

from lockgate_delivery.local import Local
from lockgate_delivery.platform import Platform
from lockgate_delivery.pointers import Pointers


@dataclass(frozen=True)
class Place:
    """The store and the platform of this program's environment, and the program's run by name and by uid."""

    store: Store
    platform: Platform
    run: str
    uid: str

    def pointers(self, model: str) -> Pointers:
        """Return the model's pointers."""
        return Pointers(self.store, model, Trust.read(), self.platform.accepted(model), uid=self.uid)


def here() -> Place:
    """Return the place that the program's environment describes.

    Errors: BadCall when the run has no name, or the platform is not supported.
    """
    root = io_root()
    run, uid = _variable("LOCKGATE_RUN"), _variable("LOCKGATE_UID")
    store = stored()
    return Place(store, _platform(root, store), run, uid)


def _variable(name: str) -> str:
    value = os.environ.get(name, "")
    if not value or "/" in value or value.startswith("."):
        msg = f"{name} is not a valid name of a run"
        raise BadCall(msg, fix="start the program through its workflow")
    return value


def stored() -> Store:
    """Open the store of this program's environment."""
    root = io_root()
    return open_store(root / layout.ENVIRONMENT, root / layout.CREDENTIALS)


def _platform(root: Path, store: Store) -> Platform:
    match platform_name(root):
        case "local":
            return Local()
        case "kubernetes":
            from lockgate_delivery.cluster import Cluster
            from lockgate_delivery.kubernetes import Kubernetes

            cluster = Cluster.around(root / layout.SERVICE_ACCOUNT)
            return Kubernetes(cluster, store, os.environ.get("LOCKGATE_IMAGE", ""))
        case other:
            msg = f"platform {other} is not supported; this version deploys to local and to kubernetes"
            raise BadCall(msg, fix=f"write local or kubernetes to {root / layout.ENVIRONMENT / 'platform'}")


def platform_name(root: Path) -> str:
    """Return the platform that an environment names."""
    file = root / layout.ENVIRONMENT / "platform"
    return file.read_text().strip() if file.is_file() else "missing"
