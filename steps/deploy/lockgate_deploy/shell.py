"""What the programs share: their environment, and the verification before any change."""

import json
import os
from collections.abc import Mapping
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
    verify_images,
    verify_verdict,
)
from lockgate_step import BadCall, Record, file_digest, io_root, layout, read_spec
from lockgate_store import Store, open_store

from lockgate_deploy.local import Local
from lockgate_deploy.platform import Platform, Staged
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
    match _named(root):
        case "local":
            return Local()
        case "kubernetes":
            from lockgate_deploy.cluster import Cluster
            from lockgate_deploy.kubernetes import Kubernetes

            cluster = Cluster.around(root / layout.SERVICE_ACCOUNT)
            return Kubernetes(cluster, store, os.environ.get("LOCKGATE_IMAGE", ""))
        case other:
            msg = f"platform {other} is not supported; this version deploys to local and to kubernetes"
            raise BadCall(msg, fix=f"write local or kubernetes to {root / layout.ENVIRONMENT / 'platform'}")


def _named(root: Path) -> str:
    file = root / layout.ENVIRONMENT / "platform"
    return file.read_text().strip() if file.is_file() else "missing"


def prove(bundle: Path, spec: Path, policy: Path) -> VerifiedBundle:
    """Verify the bundle's files, signatures, subjects and waivers again, for this workflow's spec and policy.

    Both must be current: the template of an earlier policy may still be on the cluster. There, so must the images be.

    Errors: BadCall when the spec cannot be read, ProofError.
    """
    name = read_spec(spec).name
    proven = verify_bundle(bundle, Trust.read(), now=datetime.now(UTC), model=name, policy=file_digest(policy))
    if proven.subjects["spec"] != file_digest(spec):
        msg = "the bundle was judged under a different model spec than this workflow's"
        raise ProofError(msg, fix="deploy the bundle that this workflow's own run packaged")
    verify_current(proven, read_current())
    _check_images(proven.signed, name)
    return proven


def _check_images(records: Mapping[str, Statement], model: str) -> None:
    if _named(io_root()) != "local":  # there, programs run without images
        verify_images(records, model, read_current())


def prove_smoke(staged: Path, smoke: Path, proven: VerifiedBundle, platform: Platform) -> Statement:
    """Verify that this bundle passed smoke-test where the platform serves it, and that it is the one that was staged.

    Errors: ProofError.
    """
    said = _read(staged, "staged")
    if (said.get("model"), said.get("bundle")) != (proven.model, proven.digest):
        msg = f"another bundle was staged: {said.get('bundle')} of {said.get('model')}, not {proven.digest}"
        raise ProofError(msg, fix="promote the bundle that this run deployed")
    gate = "smoke-test"
    now = datetime.now(UTC)
    verdict = verify_verdict(smoke, Trust.read(), gate=gate, model=proven.model, subjects=proven.subjects, now=now)
    _check_images({gate: verdict}, proven.model)
    if wanted := platform.asked_at(proven):
        _check_asked(verdict.predicate.get("measurements"), wanted)
    return verdict


def _check_asked(measured: object, wanted: Staged) -> None:
    """Check that the smoke test called the staged version: whoever can write the store can replace `staged`."""
    said = measured if isinstance(measured, dict) else {}
    address, replicas = said.get("address"), said.get("replicas")
    if address != wanted.address or not isinstance(replicas, int) or replicas < wanted.replicas:
        msg = f"smoke-test called {replicas} servers at {address}, not at least {wanted.replicas} at {wanted.address}"
        raise ProofError(msg, fix="find out who can write the store, then start a new run")


def _read(path: Path, what: str) -> dict[str, Any]:
    said = json.loads(path.read_bytes())
    if not isinstance(said, dict):
        msg = f"{what} is not a JSON object"
        raise BadCall(msg, fix="use the file as its step wrote it, unchanged")
    return said
