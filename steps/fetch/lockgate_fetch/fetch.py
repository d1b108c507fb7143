"""Fetches a registered version and writes it as a model folder like train's."""

import json
import re
import tempfile
from pathlib import Path

from lockgate_model import Labels, columns_of
from lockgate_step import BadCall, io_root, log, tree_digest

from lockgate_fetch.adopt import Wanted, adopt, place
from lockgate_fetch.registry import find


def fetch_version(spec_path: Path, folder: Path, *, version: str) -> None:
    """Fetch a version and write its model folder.

    Errors: BadCall, Refusal, OutsideFailed.
    """
    name, wanted = _read_spec(spec_path)
    if not re.fullmatch(r"[1-9][0-9]{0,8}", version):
        msg = f"version {version!r} is not a number"
        raise BadCall(msg, fix="use the version's number in the registry, e.g. 7")
    environment = io_root() / "environment"
    ca = environment / "ca.pem"
    found = find(_registry(environment), name, version, ca=ca if ca.exists() else None)
    with tempfile.TemporaryDirectory() as scratch:
        place(adopt(found, wanted, Path(scratch)), folder)
    log("fetched", model=name, version=version, digest=tree_digest(folder))


def _read_spec(path: Path) -> tuple[str, Wanted]:
    try:
        spec = json.loads(path.read_bytes())
        target = spec["target"]
        labels = Labels(negative=target["negative"], positive=target["positive"])
        return spec["name"], Wanted(columns_of(spec["inputs"]), labels)
    except (ValueError, KeyError, TypeError) as error:
        msg = f"the model spec cannot be read: {type(error).__name__}"
        raise BadCall(msg, fix="use the spec.json that `lockgate render` wrote") from error


def _registry(environment: Path) -> str:
    try:
        return (environment / "registry").read_text().strip()
    except FileNotFoundError as error:
        msg = "lockgate-environment has no `registry`"
        raise BadCall(msg, fix="write http(s)://host or sqlite:////absolute/path.db to `registry` there") from error
