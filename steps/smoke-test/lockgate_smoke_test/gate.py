"""Proves the bundle, calls the staged version, and gives the verdict."""

import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import httpx
from lockgate_policy import PolicyError, SmokeRule, read
from lockgate_proof import Trust, verify_bundle
from lockgate_step import BadCall, OutsideFailed, Passed, Reason, Refused, file_digest, log

from lockgate_smoke_test.checks import CHECKS, Check, Failed, Finding, Measured, Version
from lockgate_smoke_test.latency import latency

_REQUEST_SECONDS = 30.0


def run(staged: Path, bundle: Path, policy: Path, *, requests: int, patience: int) -> Passed | Refused:
    """Every check against the staged address; a refusal lists each that failed.

    Errors: BadCall, ProofError for a bundle that does not hold, OutsideFailed when nobody answers at the address.
    """
    if requests < 1:
        msg = f"requests is {requests}"
        raise BadCall(msg, fix="give at least 1 request to measure")
    address, name, digest = _staged(staged)
    # now=None: package and deploy judge the waivers' dates; here the bundle must only be the very one they passed.
    proven = verify_bundle(bundle, Trust.read(), now=None, model=name, policy=file_digest(policy), digest=digest)
    rules = _rules(policy)
    # trust_env off: a proxy set for the outside must not stand between the gate and a version beside it.
    with httpx.Client(base_url=address, timeout=_REQUEST_SECONDS, trust_env=False) as client:
        version = Version.of(client, bundle, name, digest)
        _wait_until_ready(version, patience)
        found = list(_carry_out([*CHECKS, latency(rules, requests)], version))
    reasons = tuple(finding.reason for finding in found if isinstance(finding, Failed))
    measurements = {finding.name: finding.value for finding in found if isinstance(finding, Measured)}
    log("checked", model=name, bundle=digest, failed=[reason.rule for reason in reasons])
    if reasons:
        return Refused(model=name, subjects=proven.subjects, reasons=reasons, measurements=measurements)
    return Passed(model=name, subjects=proven.subjects, measurements=measurements)


def _carry_out(checks: Iterable[Check], version: Version) -> Iterable[Finding]:
    for check in checks:
        try:
            yield from check(version)
        except httpx.TransportError as error:
            # A server that is gone may come back, and the gate is tried again; one that is there has hung up on us.
            if not version.is_ready():
                raise _unreachable(version) from error
            yield Failed(
                Reason(
                    rule=f"smoke:{check.__name__}",
                    message=f"the server broke off instead of answering ({type(error).__name__})",
                    why="A caller must get an answer to whatever he sends.",
                )
            )


def _wait_until_ready(version: Version, patience: int) -> None:
    deadline = time.monotonic() + patience
    while not version.is_ready():
        if time.monotonic() > deadline:
            raise _unreachable(version)
        time.sleep(0.2)


def _unreachable(version: Version) -> OutsideFailed:
    msg = f"{version.name} does not answer at its own address {version.client.base_url}"
    return OutsideFailed(msg, fix="look at its log (lockgate logs), then run again")


def _rules(policy: Path) -> Sequence[SmokeRule]:
    try:
        return read(policy).smoke
    except PolicyError as error:
        msg = f"{error.where}: {error.problem}"
        raise BadCall(msg, fix=error.fix) from error


def _staged(path: Path) -> tuple[str, str, str]:
    try:
        said = json.loads(path.read_bytes())
        address, name, digest = (str(said[key]) for key in ("address", "model", "bundle"))
        if httpx.URL(address).scheme not in ("http", "https"):
            raise ValueError(address)
    except (ValueError, KeyError, TypeError, httpx.InvalidURL) as error:
        msg = "the staged input does not say where which version was deployed"
        raise BadCall(msg, fix="give the staged file that deploy wrote") from error
    return address, name, digest
