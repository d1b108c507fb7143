"""Downloads a bundle from the store to the pod or folder where it is needed."""

import shutil
from pathlib import Path

from lockgate_proof import bundle_digest, read_manifest
from lockgate_step import BadCall, Refusal, log
from lockgate_store import Missing, Store, get_tree


def pull(store: Store, model: str, bundle: str, folder: Path) -> None:
    """Download the bundle with this digest into the folder, replacing the folder's content.

    This checks only that the manifest has the digest; the model server verifies every file again.
    Errors: Refusal when the store does not have it, or has another bundle in its place.
    """
    shutil.rmtree(folder, ignore_errors=True)
    try:
        get_tree(store, f"models/{model}/bundles/{bundle.removeprefix('sha256:')}", folder)
    except ValueError as error:
        msg = f"{bundle!r} of {model!r} is not a valid bundle name"
        raise BadCall(msg, fix="give a model's name, and sha256: with 64 digits") from error
    except Missing as error:
        msg = f"bundle {bundle} of {model} not found in the store"
        raise Refusal(msg, fix="run the workflow again to package a new bundle") from error
    found = bundle_digest(read_manifest(folder))
    if found != bundle:
        msg = f"the store has {found} in the place of {bundle}"
        raise Refusal(msg, fix="run the workflow again to package a new bundle")
    log("pulled", model=model, bundle=bundle)
