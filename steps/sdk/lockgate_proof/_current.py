"""The current policy and spec of each model: an earlier template brings its own, which no longer count."""

import json
from pathlib import Path

from lockgate_step import file_digest, io_root, layout

from lockgate_proof._errors import ProofError


def verify_current(bundle: Path, model: str, path: Path | None = None) -> None:
    """Verify that a bundle was judged by the policy and the spec that the environment names as current.

    bundle: the folder of a verified bundle, which contains both files. path: by default this program's environment.
    Errors: ProofError, naming the file that is not current, also if the environment does not name the model.
    """
    path = path or io_root() / layout.ENVIRONMENT / layout.CURRENT
    try:
        said = json.loads(path.read_bytes())
        models = dict(said["models"]) if said["version"] == 1 else {}
    except FileNotFoundError:
        models = {}
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{path} does not contain what is current of each model"
        raise ProofError(msg, fix=_RENDER) from error
    if model not in models:
        msg = f"the environment does not name the current policy of {model}"
        raise ProofError(msg, fix=_RENDER)
    for name, file in (("policy", "policy.toml"), ("spec", "spec.json")):
        wanted, found = models[model].get(name), file_digest(bundle / file)
        if found != wanted:
            msg = f"{model} was judged by the {name} {found[:19]}, but the current {name} is {str(wanted)[:19]}"
            raise ProofError(msg, fix="start a new run of the current workflow: lockgate run, or lockgate submit")


_RENDER = "lockgate render; on a cluster, then kubectl apply --server-side -k kubernetes"
