"""Brings a bundle from the store to where it is served."""

import shutil
from pathlib import Path

from lockgate_proof import bundle_digest, read_manifest
from lockgate_step import BadCall, Refusal, log
from lockgate_store import Missing, Store, get_tree


def pull(store: Store, model: str, bundle: str, folder: Path) -> None:
    """Write the bundle of this digest into the folder, in place of what is there.

    Only that it is the one that was asked for is checked here; who serves it proves every file of it again.
    Errors: Refusal when the store has it not, or has another in its place.
    """
    shutil.rmtree(folder, ignore_errors=True)
    try:
        get_tree(store, f"models/{model}/bundles/{bundle.removeprefix('sha256:')}", folder)
    except ValueError as error:
        msg = f"{bundle!r} of {model!r} names no bundle"
        raise BadCall(msg, fix="give a model's name, and sha256: with 64 digits") from error
    except Missing as error:
        msg = f"the store does not keep {bundle} of {model}"
        raise Refusal(msg, fix="run the workflow again: it packages the bundle anew") from error
    found = bundle_digest(read_manifest(folder))
    if found != bundle:
        msg = f"in the store {found} stands in the place of {bundle}"
        raise Refusal(msg, fix="run the workflow again: it packages the bundle anew")
    log("pulled", model=model, bundle=bundle)
