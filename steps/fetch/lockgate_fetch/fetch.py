"""Fetches a registered version and writes it as a model folder like train's."""

import re
import tempfile
from pathlib import Path

from lockgate_model import Labels, accepted_operators
from lockgate_step import BadCall, io_root, layout, log, read_spec, tree_digest, without_files

from lockgate_fetch.adopt import Wanted, adopt, place
from lockgate_fetch.registry import find


def fetch_version(spec_path: Path, policy: Path, folder: Path, *, version: str) -> None:
    """Fetch a version and write its model folder.

    Errors: BadCall, Refusal, OutsideFailed.
    """
    name, wanted = _read_spec(spec_path, policy)
    if not re.fullmatch(r"[1-9][0-9]{0,8}", version):
        msg = f"version {version!r} is not a number"
        raise BadCall(msg, fix="use the version's number in the registry, e.g. 7")
    environment = io_root() / layout.ENVIRONMENT
    ca = environment / "ca.pem"
    found = find(_registry(environment), name, version, ca=ca if ca.exists() else None)
    with tempfile.TemporaryDirectory() as scratch:
        place(adopt(found, wanted, Path(scratch)), folder)
    log("fetched", model=name, version=version, digest=tree_digest(folder))


def _read_spec(path: Path, policy: Path) -> tuple[str, Wanted]:
    spec = read_spec(path)
    labels = Labels(negative=spec.target.negative, positive=spec.target.positive)
    return spec.name, Wanted(spec.inputs, labels, accepted_operators(policy))


def _registry(environment: Path) -> str:
    try:
        address = (environment / "registry").read_text().strip()
    except FileNotFoundError as error:
        msg = f"{layout.CONFIG_MAP} has no `registry`"
        raise BadCall(msg, fix="write http(s)://host or sqlite:////absolute/path.db to `registry` there") from error
    return without_files(address, "the registry's address", environment)
