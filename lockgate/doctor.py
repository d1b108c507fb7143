"""`lockgate doctor`: what this machine needs to run a model, each thing tried and not assumed."""

import shutil
import sys
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from lockgate_proof import sign, verify
from lockgate_step import StepError
from lockgate_store import Exists, Moved, Store, StoreError

from lockgate import platform, supervisor
from lockgate.calling import store_of
from lockgate.environment import Environment, ensure_environment
from lockgate.errors import LockgateError
from lockgate.project import Project
from lockgate.rendering import model_files
from lockgate.shelf import Shelf

WRITERS = 32
FREE_GIB = 4


@dataclass(frozen=True)
class Finding:
    """One check: what was looked at, what was found, and the next action where it is not well."""

    what: str
    found: str
    fix: str = ""

    @property
    def well(self) -> bool:
        """Whether nothing needs to be done."""
        return not self.fix


def examine(project: Project) -> tuple[int, list[str], dict[str, Any]]:
    """Check this machine and restore what is missing from the local environment: exit code, lines, JSON values."""
    signers = Shelf.find().signers
    environment = ensure_environment(project, signers)
    checks: dict[str, Callable[[], Finding]] = {
        "python": _python,
        "installer": _installer,
        "disk": lambda: _space(project),
        "keys": lambda: _keys(environment, signers),
        "store": lambda: race(store_of(environment), environment.setting("store")),
        "platform": lambda: _port(project, environment),
        "workflows": lambda: _rendered(project),
    }
    return told(checks)


def told(checks: Mapping[str, Callable[[], Finding]]) -> tuple[int, list[str], dict[str, Any]]:
    """Try each check: exit code, lines, JSON values."""
    findings = [_tried(what, check) for what, check in checks.items()]
    lines = [
        f"  {'ok ' if f.well else 'NOT'} {f.what:<12} {f.found}" + (f"\n      next: {f.fix}" if f.fix else "")
        for f in findings
    ]
    value = {f.what: {"well": f.well, "found": f.found, "fix": f.fix} for f in findings}
    return (0 if all(f.well for f in findings) else 2), lines, value


def _tried(what: str, check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except (LockgateError, StepError) as error:
        return Finding(what, error.message, error.fix or "see above")


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
        "" if free >= FREE_GIB else f"free {FREE_GIB} GiB: each image's packages are kept once",
    )


def _keys(environment: Environment, signers: list[str]) -> Finding:
    """Sign and verify with every key: a key file that the trust file does not know is as bad as none."""
    for signer in (*signers, "waive"):
        verify(sign("verdict", {}, {}, environment.key(signer)), environment.trust, signer=signer, kind="verdict")
    elsewhere = "; trusted on this machine only" if environment.trust.untrusted_elsewhere else ""
    return Finding("keys", f"{len(signers) + 1} keys sign and verify{elsewhere}")


def race(store: Store, where: str) -> Finding:
    """Many writers, one key, both conditional writes: if more than one wins, a promotion can overwrite another."""
    key = f"probe/{uuid.uuid4().hex}"
    created = _race(lambda n: store.create(key, str(n).encode()))
    version_now = store.read(key).version
    swapped = _race(lambda n: store.replace(key, f"swap {n}".encode(), version_now))
    store.delete(key, store.read(key).version)
    if (created, swapped) != (1, 1):
        found = f"{where}: of {WRITERS} writers {created} created and {swapped} swapped; exactly one may"
        return Finding("store", found, "use a store with working conditional writes; this one can lose a promotion")
    return Finding("store", f"{where}: one of {WRITERS} concurrent writers wins, as it must")


def _race(write: Callable[[int], str]) -> int:
    barrier, winners = threading.Barrier(WRITERS), []

    def attempt(number: int) -> None:
        barrier.wait()
        try:
            write(number)
        except (Exists, Moved):
            return
        except (StoreError, StepError):
            return
        winners.append(number)

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(winners)


def _port(project: Project, environment: Environment) -> Finding:
    if platform.runs(project):
        return Finding("platform", f"answers at {environment.setting('gateway')}")
    supervisor.check_port(platform.described(project, environment))
    return Finding("platform", f"not started; it will answer at {environment.setting('gateway')}")


def _rendered(project: Project) -> Finding:
    stale = [
        str(path.relative_to(project.root))
        for model in project.models.values()
        for path, content in model_files(project, model, check=True).items()
        if not path.is_file() or path.read_bytes() != content
    ]
    if stale:
        return Finding("workflows", f"{len(stale)} files do not agree with their source", "lockgate render")
    return Finding("workflows", f"{len(project.models)} models, all files agree with their source")
