"""`lockgate doctor`: check by trial what this machine needs to run a model."""

import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from typing import Any

from lockgate.definition.project import Project
from lockgate.doctor.checks import Finding, check_key, examined, race
from lockgate.engine import NOT_ISOLATED, isolates
from lockgate.errors import BadCall
from lockgate.platform import control as platform
from lockgate.platform import supervisor
from lockgate.records.environment import (
    WAIVE,
    Environment,
    ensure_environment,
    find_approver_key,
    move_approver_key,
)
from lockgate.records.store import store_of
from lockgate.rendering.files import model_files

FREE_GIB = 4


def examine(project: Project) -> tuple[int, list[str], dict[str, Any]]:
    """Check this machine, and restore missing parts of the local environment; return exit code, lines, JSON values."""
    signers = project.signers
    environment = ensure_environment(project, signers)
    checks: dict[str, Callable[[], Finding]] = {
        "python": _python,
        "installer": _installer,
        "disk": lambda: _space(project),
        "keys": lambda: _keys(environment, signers),
        "steps": _isolation,
        "store": lambda: race(store_of(environment), environment.setting("store")),
        "platform": lambda: _port(project, environment),
        "workflows": lambda: _rendered(project),
    }
    return examined(checks)


def _python() -> Finding:
    here = ".".join(map(str, sys.version_info[:3]))
    good = (3, 11) <= sys.version_info[:2] < (3, 13)
    return Finding("python", f"{here}, {sys.platform}", "" if good else "use Python 3.11 or 3.12")


def _installer() -> Finding:
    return Finding("installer", f"uv {version('uv')}")


def _space(project: Project) -> Finding:
    free = shutil.disk_usage(project.root).free / 2**30
    return Finding(
        "disk",
        f"{free:.0f} GiB free",
        "" if free >= FREE_GIB else f"make {FREE_GIB} GiB free: each image's packages are stored once",
    )


def _keys(environment: Environment, signers: list[str]) -> Finding:
    """Sign and verify with every key: a key file that is not in the trust file is as useless as a missing one."""
    moved = move_approver_key(environment)
    keys = {signer: environment.key(signer) for signer in signers}
    with suppress(BadCall):  # only `waive` needs a folder for the keys of people
        keys |= {WAIVE: approver} if (approver := find_approver_key(environment)) else {}
    for signer, key in keys.items():
        check_key(key, environment.trust, signer)
    elsewhere = "; trusted on this machine only" if environment.trust.untrusted_elsewhere else ""
    return Finding("keys", f"{len(keys)} keys sign and verify{elsewhere}" + (f"; {moved}" if moved else ""))


def _isolation() -> Finding:
    """A machine without isolation is not a failure: a run says so, and containers have it."""
    if isolates():
        return Finding("steps", "isolated with Landlock: each reads only its own inputs, code and packages")
    return Finding("steps", NOT_ISOLATED)


def _port(project: Project, environment: Environment) -> Finding:
    if platform.runs(project):
        return Finding("platform", f"running at {environment.setting('gateway')}")
    supervisor.check_port(platform.described(project, environment))
    return Finding("platform", f"not running; it will use {environment.setting('gateway')}")


def _rendered(project: Project) -> Finding:
    stale = [
        str(path.relative_to(project.root))
        for model in project.models.values()
        for path, content in model_files(project, model, check=True).items()
        if not path.is_file() or path.read_bytes() != content
    ]
    if stale:
        return Finding("workflows", f"{len(stale)} rendered files are out of date", "lockgate render")
    return Finding("workflows", f"{len(project.models)} models; all rendered files are up to date")
