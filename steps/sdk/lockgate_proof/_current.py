"""What each model is judged by now, and in which images: an earlier template brings its own, which no longer count."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lockgate_step import io_root, layout, loads

from lockgate_proof._bundle import VerifiedBundle
from lockgate_proof._envelope import Statement
from lockgate_proof._errors import ProofError

_RENDER = "lockgate render; on a cluster, then kubectl apply --server-side -k kubernetes"


def read_current(path: Path | None = None) -> dict[str, Any]:
    """Return what the environment names as current, by model; empty if it does not.

    Of each model: `policy`, `spec` and `expectations`, their digests, and `images`: program -> its image by digest.

    path: by default in this program's environment.
    Errors: ProofError if the file is damaged.
    """
    path = path or io_root() / layout.ENVIRONMENT / layout.CURRENT
    try:
        said = loads(path.read_bytes())
        return dict(said["models"]) if said["version"] == 1 else {}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{path} does not contain what is current of each model"
        raise ProofError(msg, fix=_RENDER) from error


def verify_current(bundle: VerifiedBundle, current: Mapping[str, Any]) -> None:
    """Verify that a bundle was judged by the policy, the spec and the expectations that are current.

    current: as `read_current` returns it.
    Errors: ProofError, naming the file that is not current, also if the model is not named.
    """
    verify_rules(bundle.model, bundle.judged_by, current)


def verify_rules(model: str, rules: Mapping[str, str], current: Mapping[str, Any]) -> None:
    """Verify that rules of a model are current.

    rules: name of a file -> its digest. current: as `read_current` returns it.
    Errors: ProofError, naming the file that is not current, also if the model is not named.
    """
    if model not in current:
        msg = f"the environment does not name the current policy of {model}"
        raise ProofError(msg, fix=_RENDER)
    for name, found in rules.items():
        wanted = current[model].get(name)
        if found != wanted:
            verb = "are" if name == "expectations" else "is"
            msg = f"{model} was judged by the {name} {found[:19]}, but the current {name} {verb} {str(wanted)[:19]}"
            raise ProofError(msg, fix="start a new run of the current workflow: lockgate run, or lockgate submit")


def verify_images(records: Mapping[str, Statement], model: str, current: Mapping[str, Any]) -> None:
    """Verify that records were signed in the images that are current: a signer with its key may have had other code.

    records: by program. current: as `read_current` returns it.
    Errors: ProofError, naming the program and its image.
    """
    images = current.get(model, {}).get("images", {})
    for program, record in records.items():
        said = record.predicate.get("program", {})
        found = said.get("image", "") if isinstance(said, Mapping) else ""
        if found != images.get(program, ""):
            msg = f"{program} of {model} ran in image {found or 'unknown'}, not in the current {images.get(program)}"
            raise ProofError(msg, fix="start a new run of the current workflow: lockgate submit")
