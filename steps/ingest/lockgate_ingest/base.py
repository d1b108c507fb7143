"""Copies the present live version, so that the run compares its candidate with the same base throughout."""

from pathlib import Path
from typing import Any

from lockgate_proof import Trust, bundle_digest, read_manifest, read_promotion
from lockgate_step import Refusal, canonical, file_digest, log
from lockgate_store import Missing, Store


def freeze_base(store: Store, model: str, folder: Path) -> dict[str, Any]:
    """Write base.json and, if a version is live, its bundle; return the content of base.json.

    Errors: Refusal when the live bundle does not match its digest; ProofError when no key that may promote signed the
    live pointer. `deploy` and `promote` also check the promotions before it.
    """
    base = _live(store, model)
    folder.mkdir(parents=True, exist_ok=True)
    if base["bundle"]:
        _bundle(store, model, str(base["bundle"]), folder / "bundle")
    (folder / "base.json").write_bytes(canonical(base))
    log("base", bundle=base["bundle"], generation=base["generation"])
    return base


def _live(store: Store, model: str) -> dict[str, Any]:
    try:
        content = store.read(f"models/{model}/live.json").data
    except Missing:
        return {"bundle": None, "generation": 0, "model": model}
    live = read_promotion(content, Trust.read(), model=model)
    return {"bundle": live.bundle, "generation": live.generation, "model": model}


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
