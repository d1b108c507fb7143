"""Staged versions: the signed record of `deploy` says at which address a bundle can be tested, and in which run.

`smoke-test` calls only such an address, and `promote` moves live only to what was deployed and tested in its own run.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from lockgate_step import Record, is_digest

from lockgate_proof._envelope import Statement, verify
from lockgate_proof._errors import ProofError
from lockgate_proof._trust import Trust

SIGNER = "deploy"
_FIX = "run the whole workflow again: each run deploys, tests and promotes its own version"


@dataclass(frozen=True)
class StagedVersion:
    """A bundle at its own address, as `deploy` signed it in this run; replicas: the servers behind the address."""

    model: str
    bundle: str
    address: str
    replicas: int
    statement: Statement


def staged(model: str, *, bundle: str, address: str, replicas: int) -> Record:
    """Return the record of a bundle that is ready at its own address; `deploy` signs it, with its run."""
    said = {"model": model, "address": address, "replicas": replicas, "uid": _this_run()[1]}
    return Record(kind="staged", subjects={"bundle": bundle}, predicate=said)


def read_staged(record: Path, trust: Trust) -> StagedVersion:
    """Verify the record of a staged version, and that it was signed in the run of this program.

    Errors: ProofError, for the first check that fails.
    """
    statement = verify(record, trust, signer=SIGNER)
    found, said = _version(statement), statement.predicate
    run, uid = (said.get(name) for name in ("run", "uid"))
    if not (found and run and uid):
        msg = f"{record.name} is signed, but its record does not state a staged version"
        raise ProofError(msg, fix=_FIX)
    here = _this_run()
    if (run, uid) != here:
        other = f"another run named {run}" if run == here[0] else f"run {run}"
        msg = f"{found.bundle} of {found.model} was staged in {other}, not in this run"
        raise ProofError(msg, fix=_FIX)
    return found


def _this_run() -> tuple[str, str]:
    """Return the name and the uid of this program's run: a name may be used again when the run is deleted."""
    return os.environ.get("LOCKGATE_RUN", ""), os.environ.get("LOCKGATE_UID", "")


def _version(statement: Statement) -> StagedVersion | None:
    said, bundle = statement.predicate, statement.subjects.get("bundle")
    model, address, replicas = (said.get(name) for name in ("model", "address", "replicas"))
    if not (isinstance(model, str) and isinstance(address, str) and is_digest(bundle)):
        return None
    if type(replicas) is not int or replicas < 1:
        return None
    return StagedVersion(model, str(bundle), address, replicas, statement)
