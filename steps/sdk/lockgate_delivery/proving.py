"""What the programs that move versions share: how they sign, and what they verify before any change."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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
from lockgate_step import ABTest, Canary, Judged, Record, Shadow, file_digest, io_root, read_spec

from lockgate_delivery.place import platform_name


def signing(program: str) -> Callable[[Record], dict[str, Any]]:
    """Return a function that signs a record with the program's key, as the SDK signs its output: the same bytes."""
    return lambda record: seal(record, {"program": program, "inputs": [], "outputs": []}, io_root())  # without a page


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


def prove_staged(staged: Path, proven: VerifiedBundle, **verdicts: Path) -> dict[str, Statement]:
    """Verify that deploy staged this bundle in this run, and that it passed these gates as it was staged.

    verdicts: the file of each gate's verdict, with `_` for `-` in its name. Returns the verdicts by gate.
    Errors: ProofError.
    """
    trust, now = Trust.read(), datetime.now(UTC)
    version = read_staged(staged, trust)
    if (version.model, version.bundle) != (proven.model, proven.digest):
        msg = f"another bundle was staged: {version.bundle} of {version.model}, not {proven.digest}"
        raise ProofError(msg, fix="promote the bundle that this run deployed")
    subjects = {**proven.subjects, "staged": version.statement.digest}
    found = {
        gate: verify_verdict(file, trust, gate=gate, model=proven.model, subjects=subjects, now=now)
        for gate, file in ((name.replace("_", "-"), file) for name, file in verdicts.items())
    }
    _check_images({"deploy": version.statement, **found}, proven.model)
    return found


def rollout_of(proven: VerifiedBundle) -> Judged | None:
    """Return the rollout that canary must judge, as the bundle's spec names it; None if it is all at once.

    A version that comes back was live before, so its rollout is over.
    """
    serving = read_spec(proven.folder / "spec.json").serving
    rollout = serving.rollout if serving and RECALL not in proven.verdicts else None
    return rollout if isinstance(rollout, Canary | ABTest | Shadow) else None
