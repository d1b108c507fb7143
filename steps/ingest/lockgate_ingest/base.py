"""Copies the present live version, so that the run compares its candidate with the same base throughout."""

import json
from pathlib import Path
from typing import Any

from lockgate_proof import bundle_digest, read_manifest
from lockgate_step import Refusal, canonical, file_digest, log
from lockgate_store import Missing, Store


def freeze_base(store: Store, model: str, folder: Path) -> dict[str, Any]:
    """Write base.json and, if a version is live, its bundle; return the content of base.json.

    Errors: Refusal when the live bundle does not match its digest.
    """
    base = _live(store, model)
    folder.mkdir(parents=True, exist_ok=True)
    if base["bundle"]:
        _bundle(store, model, str(base["bundle"]), folder / "bundle")
    (folder / "base.json").write_bytes(canonical(base))
    log("base", bundle=base["bundle"], generation=base["generation"])
    return base


def _live(store: Store, model: str) -> dict[str, Any]:
    key = f"models/{model}/live.json"
    try:
        live = json.loads(store.read(key).data)
        return {"bundle": live["bundle"], "generation": int(live["generation"]), "model": model}
    except Missing:
        return {"bundle": None, "generation": 0, "model": model}
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{key} in the store is damaged"
        raise Refusal(msg, fix=f"restore it from the newest record in models/{model}/history") from error


def _bundle(store: Store, model: str, digest: str, folder: Path) -> None:
    prefix = f"models/{model}/bundles/{digest.removeprefix('sha256:')}"
    fix = "restore the bundle from a copy, or promote another one"
    try:
        store.download(f"{prefix}/manifest.json", folder / "manifest.json")
        manifest = read_manifest(folder)
        if bundle_digest(manifest) != digest:
            msg = f"the live bundle {digest} has a different manifest in the store"
            raise Refusal(msg, fix=fix)
        for name, wanted in manifest["files"].items():
            store.download(f"{prefix}/{name}", folder / name)
            if file_digest(folder / name) != wanted:
                msg = f"the live bundle {digest} is damaged in the store: {name} was changed"
                raise Refusal(msg, fix=fix)
        store.download(f"{prefix}/record.json", folder / "record.json")
    except Missing as missing:
        msg = f"the live bundle {digest} is incomplete in the store: {missing.key} is missing"
        raise Refusal(msg, fix=fix) from None
