"""Makes a bundle in the store and a version in the registry from files that passed every gate."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files as resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lockgate_proof import Trust, bundle_digest, seal, verify_bundle
from lockgate_step import Record, Refusal, canonical, copy_supplied, file_digest, io_root, layout, log, read_contract
from lockgate_store import Exists, Store, open_store, put_tree

from lockgate_package.bundle import lay_out
from lockgate_package.card import card
from lockgate_package.evidence import Evidence, Files, prove
from lockgate_package.interface import sample_request, schema
from lockgate_package.registry import register
from lockgate_package.sbom import sbom


def seal_and_publish(files: Files, folder: Path, report: Path) -> Record:
    """Verify the inputs, then write, store, register and sign the bundle, in this order, so that a retry converges.

    The manifest makes the bundle exist in the store, and the signed record makes it deployable; each is written after
    everything that it refers to.
    """
    with TemporaryDirectory() as private:
        model = Path(private, "model")  # the files that are proven are the files that are sealed and registered
        copy_supplied(files.model, model)
        return _seal_and_publish(replace(files, model=model), folder, report)


def _seal_and_publish(files: Files, folder: Path, report: Path) -> Record:
    root = io_root()
    trust, now = Trust.read(), datetime.now(UTC)
    evidence = prove(files, trust, now=now)
    manifest = lay_out(folder, files, make(evidence, files), model=evidence.name)
    digest = bundle_digest(manifest)
    report.write_bytes((folder / "card.html").read_bytes())
    log("sealed", model=evidence.name, bundle=digest)

    store = open_store(root / layout.ENVIRONMENT, root / layout.CREDENTIALS)
    place = f"models/{evidence.name}/bundles/{digest.removeprefix('sha256:')}"
    _store_once(store, folder, canonical(manifest), place)
    registered = _register(root / layout.ENVIRONMENT, evidence, digest, files.model)

    record = Record(
        kind="bundle",
        subjects={"bundle": digest, **evidence.subjects},
        predicate={"model": evidence.name, "registered": registered},
    )
    # The SDK writes the same bytes again from the returned record: Ed25519 signatures are deterministic.
    signed = canonical(seal(record, read_contract(Path(__file__).with_name("__main__.py"))[0], root))
    (folder / "record.json").write_bytes(signed)
    verify_bundle(folder, trust, now=now, model=evidence.name, policy=evidence.subjects["policy"], digest=digest)
    store.put(f"{place}/record.json", signed)
    return record


def make(evidence: Evidence, files: Files) -> Mapping[str, bytes]:
    """Make the files that package itself adds to the bundle; they do not depend on the time or place of the run."""
    golden = json.loads((files.answers / "golden.json").read_bytes())
    request = sample_request(evidence.model, golden)
    page = card(evidence, request)
    lock = resources("lockgate_package").joinpath("model-server.lock").read_text(encoding="utf-8")
    bill = sbom(
        evidence.model,
        name=evidence.name,
        model_digest=evidence.subjects["model"],
        file_digest=file_digest(files.model / evidence.model["file"]),
        lock=lock,
    )
    return {
        "schema.json": canonical(schema(evidence.name, evidence.model)),
        "sample-request.json": canonical(request),
        "card.md": page.markdown().encode(),
        "card.html": page.html().encode(),
        "sbom.cdx.json": bill.encode(),
    }


def _store_once(store: Store, folder: Path, manifest: bytes, place: str) -> None:
    """Store the bundle, its manifest last: a bundle without its manifest does not exist."""
    try:
        put_tree(store, folder, place)
        _create(store, f"{place}/manifest.json", manifest)
    except Exists as error:
        msg = f"{error.key} in the store has different content: an immutable file was changed"
        raise Refusal(msg, fix="find out who wrote it, then remove that bundle from the store and run again") from error
    (folder / "manifest.json").write_bytes(manifest)


def _create(store: Store, key: str, data: bytes) -> None:
    try:
        store.create(key, data)
    except Exists:
        if store.read(key).data != data:
            raise


def _register(environment: Path, evidence: Evidence, digest: str, model: Path) -> dict[str, Any] | None:
    uri = (environment / "registry").read_text().strip() if (environment / "registry").is_file() else ""
    if not uri:
        log("not-registered", model=evidence.name, bundle=digest, fix="name an MLflow registry in environment/registry")
        return None
    authority = environment / "ca.pem"
    found = register(
        uri,
        name=evidence.name,
        bundle=digest,
        tags={
            "lockgate.run": os.environ.get("LOCKGATE_RUN", ""),
            "lockgate.data": evidence.subjects["data"],
            "lockgate.policy": evidence.subjects["policy"],
            "lockgate.origin": "package",  # its own registration starts no workflow
        },
        model=model,
        ca=authority if authority.is_file() else None,
    )
    return {"name": found.name, "version": found.version}
