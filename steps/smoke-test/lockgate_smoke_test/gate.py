"""Verify the bundle, call the staged version, and return the verdict."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx
from lockgate_policy import read_given
from lockgate_proof import Trust, read_recalled, read_staged, verify_bundle
from lockgate_step import BadCall, OutsideFailed, Passed, Reason, Refused, file_digest, log

from lockgate_smoke_test.checks import CHECKS, Failed, Finding, Version
from lockgate_smoke_test.latency import latency
from lockgate_smoke_test.replicas import measurements_of, reasons_of, replicas


def run(
    staged: Path, bundle: Path, policy: Path, recalled: Path | None = None, *, requests: int, patience: int
) -> Passed | Refused:
    """Run every check against every replica behind the staged address; a refusal lists each check that failed.

    recalled: the verdict of recall on a version that an earlier policy judged; the rules of this one count here.

    Errors: BadCall, ProofError if the bundle is not valid or was not staged in this run, OutsideFailed if the version
    does not become ready.
    """
    if requests < 1:
        msg = f"requests is {requests}, but the latency needs at least 1"
        raise BadCall(msg, fix="set requests to a number such as 200")
    trust, digest = Trust.read(), file_digest(policy)
    said = read_staged(staged, trust)
    # now=None: package and deploy check the waivers' dates; here the bundle must only be the one that they passed.
    if recalled is not None:
        read_recalled(recalled, trust, model=said.model, subjects={"bundle": said.bundle, "policy": digest})
    judged_by = digest if recalled is None else None
    proven = verify_bundle(bundle, trust, now=None, model=said.model, policy=judged_by, digest=said.bundle)
    rules = read_given(policy).smoke
    with ExitStack() as stack:
        clients = [stack.enter_context(client) for client in replicas(said.address, said.replicas, patience)]
        versions = [Version.of(client, bundle, said.model, said.bundle) for client in clients]
        for version in versions:
            _wait_until_ready(version, patience)
        found = [[*_checked(version)] for version in versions]
        found.append([*_carry_out("latency", latency(versions, rules, requests), versions)])
    reasons = reasons_of(found, len(versions))
    log("checked", model=said.model, bundle=said.bundle, replicas=len(versions), failed=[r.rule for r in reasons])
    measurements = {**measurements_of(found), "replicas": len(versions)}
    subjects = {**proven.subjects, "staged": said.statement.digest}
    if reasons:
        return Refused(model=said.model, subjects=subjects, reasons=reasons, measurements=measurements)
    return Passed(model=said.model, subjects=subjects, measurements=measurements)


def _checked(version: Version) -> Iterator[Finding]:
    for check in CHECKS:
        yield from _carry_out(check.__name__, check(version), [version])


def _carry_out(check: str, findings: Iterator[Finding], versions: Sequence[Version]) -> Iterator[Finding]:
    try:
        yield from findings
    except httpx.TransportError as error:
        # If the server is gone, the gate is retried. If it is still ready, it closed the connection, which is a fault.
        for version in versions:
            if not version.is_ready():
                raise _unreachable(version) from error
        yield Failed(
            Reason(
                rule=f"smoke:{check}",
                message=f"the server closed the connection without an answer ({type(error).__name__})",
                why="Every request must get an answer.",
            )
        )


def _wait_until_ready(version: Version, patience: int) -> None:
    deadline = time.monotonic() + patience
    while not version.is_ready():
        if time.monotonic() > deadline:
            raise _unreachable(version)
        time.sleep(0.2)


def _unreachable(version: Version) -> OutsideFailed:
    msg = f"{version.name} is not ready at its own address {version.client.base_url}"
    return OutsideFailed(msg, fix="look at its log (lockgate logs), then run again")
