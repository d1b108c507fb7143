"""What the programs share: their environment, and the verification before any change."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lockgate_delivery.place import platform_name
from lockgate_proof import (
    RECALL,
    ProofError,
    Statement,
    Trust,
    VerifiedBundle,
    read_current,
    read_recalled,
    read_staged,
    seal,
    verify_bundle,
    verify_current,
    verify_images,
    verify_rules,
    verify_verdict,
)
from lockgate_step import Record, file_digest, io_root, read_spec


def sign(record: Record) -> dict[str, Any]:
    """Sign a promotion with the key of `promote`, as the SDK signs the program's output: the bytes are the same."""
    return seal(record, {"program": "promote", "inputs": [], "outputs": []}, io_root())  # it writes no page


def prove(bundle: Path, spec: Path, policy: Path, recalled: Path | None = None) -> VerifiedBundle:
    """Verify the bundle's files, signatures, subjects and waivers again, for this workflow's spec and policy.

    Both must be current: the template of an earlier policy may still be on the cluster. There, so must the images be.
    recalled: the verdict of recall, which brings back a version that was judged by the rules of its time.

    Errors: BadCall when the spec cannot be read, ProofError.
    """
    name = read_spec(spec).name
    if recalled is not None:
        return _prove_recalled(bundle, recalled, name, {"spec": file_digest(spec), "policy": file_digest(policy)})
    proven = verify_bundle(bundle, Trust.read(), now=datetime.now(UTC), model=name, policy=file_digest(policy))
    if proven.subjects["spec"] != file_digest(spec):
        msg = "the bundle was judged under a different model spec than this workflow's"
        raise ProofError(msg, fix="deploy the bundle that this workflow's own run packaged")
    verify_current(proven, read_current())
    _check_images(proven.signed, name)
    return proven


def _prove_recalled(bundle: Path, recalled: Path, model: str, rules: Mapping[str, str]) -> VerifiedBundle:
    trust = Trust.read()
    verify_rules(model, rules, read_current())
    verdict = read_recalled(recalled, trust, model=model, subjects=rules)
    # recall has judged the waivers that have ended since.
    proven = verify_bundle(bundle, trust, now=None, model=model, digest=verdict.bundle)
    _check_images({RECALL: verdict.statement}, model)
    return replace(proven, base=verdict.base, verdicts={**proven.verdicts, RECALL: verdict.statement})


def _check_images(records: Mapping[str, Statement], model: str) -> None:
    if platform_name(io_root()) != "local":  # there, programs run without images
        verify_images(records, model, read_current())


def prove_smoke(staged: Path, smoke: Path, proven: VerifiedBundle) -> Statement:
    """Verify that deploy staged this bundle in this run, and that it passed smoke-test as it was staged.

    Errors: ProofError.
    """
    trust = Trust.read()
    version = read_staged(staged, trust)
    if (version.model, version.bundle) != (proven.model, proven.digest):
        msg = f"another bundle was staged: {version.bundle} of {version.model}, not {proven.digest}"
        raise ProofError(msg, fix="promote the bundle that this run deployed")
    gate, now = "smoke-test", datetime.now(UTC)
    subjects = {**proven.subjects, "staged": version.statement.digest}
    verdict = verify_verdict(smoke, trust, gate=gate, model=proven.model, subjects=subjects, now=now)
    _check_images({"deploy": version.statement, gate: verdict}, proven.model)
    return verdict
