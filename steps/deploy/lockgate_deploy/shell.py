"""What the programs share: their environment, and the verification before any change."""

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lockgate_proof import (
    ProofError,
    Statement,
    Trust,
    VerifiedBundle,
    read_current,
    seal,
    verify_bundle,
    verify_current,
    verify_verdict,
)
from lockgate_step import BadCall, Record, file_digest, io_root, layout, read_spec
from lockgate_store import Store, open_store

from lockgate_deploy.local import Local
from lockgate_deploy.platform import Platform
from lockgate_deploy.pointers import Pointers


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


def sign(record: Record) -> dict[str, Any]:
    """Sign a promotion with the key of `promote`, as the SDK signs the program's output: the bytes are the same."""
    return seal(record, {"program": "promote"}, io_root())


def stored() -> Store:
    """Open the store of this program's environment."""
    root = io_root()
    return open_store(root / layout.ENVIRONMENT, root / layout.CREDENTIALS)


def _platform(root: Path, store: Store) -> Platform:
    file = root / layout.ENVIRONMENT / "platform"
    match file.read_text().strip() if file.is_file() else "missing":
        case "local":
            return Local()
        case "kubernetes":
            from lockgate_deploy.cluster import Cluster
            from lockgate_deploy.kubernetes import Kubernetes

            cluster = Cluster.around(root / layout.SERVICE_ACCOUNT)
            return Kubernetes(cluster, store, os.environ.get("LOCKGATE_IMAGE", ""))
        case other:
            msg = f"platform {other} is not supported; this version deploys to local and to kubernetes"
            raise BadCall(msg, fix=f"write local or kubernetes to {file}")


def prove(bundle: Path, spec: Path, policy: Path) -> VerifiedBundle:
    """Verify the bundle's files, signatures, subjects and waivers again, for this workflow's spec and policy.

    Both must be current: the template of an earlier policy may still be on the cluster.

    Errors: BadCall when the spec cannot be read, ProofError.
    """
    name = read_spec(spec).name
    proven = verify_bundle(bundle, Trust.read(), now=datetime.now(UTC), model=name, policy=file_digest(policy))
    if file_digest(bundle / "spec.json") != file_digest(spec):
        msg = "the bundle was judged under a different model spec than this workflow's"
        raise ProofError(msg, fix="deploy the bundle that this workflow's own run packaged")
    verify_current(bundle, name, read_current())
    return proven


def prove_smoke(staged: Path, smoke: Path, proven: VerifiedBundle) -> Statement:
    """Verify that this bundle passed smoke-test, and that it is the one that was staged.

    Errors: ProofError.
    """
    said = _read(staged, "staged")
    if (said.get("model"), said.get("bundle")) != (proven.model, proven.digest):
        msg = f"another bundle was staged: {said.get('bundle')} of {said.get('model')}, not {proven.digest}"
        raise ProofError(msg, fix="promote the bundle that this run deployed")
    return verify_verdict(
        smoke,
        Trust.read(),
        gate="smoke-test",
        model=proven.model,
        subjects=proven.subjects,
        now=datetime.now(UTC),
    )


def _read(path: Path, what: str) -> dict[str, Any]:
    said = json.loads(path.read_bytes())
    if not isinstance(said, dict):
        msg = f"{what} is not a JSON object"
        raise BadCall(msg, fix="use the file as its step wrote it, unchanged")
    return said
