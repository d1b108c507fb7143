"""`lockgate waive`: sign a waiver, a named and expiring exception to one reason of one verdict."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from lockgate_proof import LONGEST, ProofError, Statement, read_waiver, sign, verify
from lockgate_step import canonical, sha256

from lockgate.commands.render import cluster_manifests
from lockgate.commands.target import Target
from lockgate.definition.project import Project
from lockgate.errors import BadCall, Refusal, UnknownName
from lockgate.records.environment import WAIVE, approver_key, move_approver_key
from lockgate.records.evidence import of_run, signer_of
from lockgate.records.runs import RunRecord, Step
from lockgate.rendering.files import model_files, write_or_check
from lockgate.report.lines import again


@dataclass(frozen=True)
class Waiving:
    """A waiver to sign: the reason to except, who approved it, why, its last day, and the private key that signs.

    by: only the key that signs vouches for this name.
    """

    reason_id: str
    by: str | None
    why: str | None
    until: str | None
    key: Path | None


def waive(target: Target, run: RunRecord, asked: Waiving) -> tuple[list[str], dict[str, Any]]:
    """Sign a waiver, write it beside the model's policy, and name the next action: lines, and JSON values.

    Errors: BadCall if there is nothing to except, if the approver or the reason is missing, or if the last day is not
    a day within a year; UnknownName for a reason that no verdict of this run has; Refusal if the verdict is another
    run's, or if the key may not waive.
    """
    run, _ = target.fetch_evidence(run)
    reasons = {r["id"]: (s, r) for s in run.steps if s.verdict for r in s.verdict["reasons"]}
    if not reasons:
        msg = f"run {run.id} was not refused: there is nothing to waive"
        raise BadCall(msg, fix=f"lockgate status {target.options}".rstrip() + " shows the runs that were")
    if asked.reason_id not in reasons:
        raise UnknownName("reason", asked.reason_id, reasons)
    if not (gate := reasons[asked.reason_id][0]).reads_waivers:
        msg = f"{gate.name} judges the running version, and reads no waivers"
        raise BadCall(msg, fix="change what it found, or its rule in policy.toml, and run again")
    model = target.project.model(run.about.model)
    example = _example(run, asked.reason_id, target)
    approver = _one_line(asked.by, "a waiver needs the name of its approver", example)
    why = _one_line(asked.why, "a waiver needs a reason", example)
    expires = _end(asked.until, example)
    moved = "" if target.options else move_approver_key(target.environment)
    key = _key(asked.key, target)
    step, reason = reasons[asked.reason_id]
    verdict = _verdict(step, run, target)
    said = {
        "model": verdict.predicate["model"],
        "gate": verdict.predicate["gate"],
        "reason": reason["rule"],
        "verdict": verdict.digest,
        "approver": approver,
        "why": why,
        "expires": expires.isoformat(),
    }
    envelope = sign("waiver", verdict.subjects, said, key)
    try:
        signer = read_waiver("the waiver", envelope, target.environment.trust).signer
    except ProofError as error:
        msg = f"the key {key} may not sign waivers {target.place}"
        instead = "" if target.options else ", or leave out --key"
        fix = f"ask the platform's owner to add it to the trust file (docs/kubernetes.md){instead}"
        raise Refusal(msg, fix=fix) from error
    content = canonical(envelope)
    path = model.folder / "waivers" / f"{said['gate']}-{sha256(content).removeprefix('sha256:')[:8]}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    # The manifests carry the waivers, and on a cluster a policy admits only the manifests that it contains.
    project = Project(target.project.root)  # reads the new waiver
    policies = cluster_manifests(project) if (project.root / "kubernetes" / "kustomization.yaml").is_file() else {}
    write_or_check({**model_files(project, project.model(model.spec.name)), **policies})
    file = path.relative_to(target.project.root).as_posix()
    lines = [
        f"Waived until {expires.date()}: {reason['message']}",
        f"  approved by {approver}; signed by {signer}",
        *([f"  Note: {moved}"] if moved else []),
        f"  {file}, and in workflows/{model.spec.name}/",
        "  It covers this model on these data by this policy, while the same version is live; the model card shows it.",
        "Next",
        *[f"  {command}" for command in (*target.after_waiver(model.spec.name), again(run, target.options))],
    ]
    return lines, {"run": run.id, "reason_id": asked.reason_id, "file": file, "signer": signer, **said}


def _key(given: Path | None, target: Target) -> Path:
    """The private key that signs: the given one, or this user's own. Errors: BadCall."""
    key = given or (target.environment.key(WAIVE) if target.options else approver_key(target.environment))
    if not key.is_file() and given is None and target.options:
        msg = "a waiver for a cluster must be signed with the key of its approver"
        raise BadCall(msg, fix="add --key FILE; docs/kubernetes.md explains which keys may waive")
    if not key.is_file():
        msg = f"key file {key} not found"
        raise BadCall(msg, fix="name the approver's private key, in PEM form")
    return key


def _verdict(step: Step, run: RunRecord, target: Target) -> Statement:
    """The signed verdict of a step of this run. Errors: BadCall if it no longer exists, Refusal if it is another's."""
    if step.envelope is None:
        msg = f"the signed verdict of {step.name} in run {run.id} no longer exists"
        raise BadCall(msg, fix=again(run, target.options))
    signer = signer_of(step.name, run.about.model)
    verdict = verify(step.envelope, target.environment.trust, signer=signer, kind="verdict")
    if not of_run(verdict, run):
        msg = f"the verdict of {step.name} was not signed in run {run.id}, but in another"
        raise Refusal(msg, fix=again(run, target.options))
    return verdict


def _one_line(text: str | None, need: str, example: str) -> str:
    """The text on one line. Errors: BadCall if it is empty, or not printable."""
    line = " ".join((text or "").split())
    if not line:
        raise BadCall(need, fix=example)
    if not line.isprintable():
        msg = f"{line!r} has characters that cannot be printed"
        raise BadCall(msg, fix="use plain text")
    return line


def _example(run: RunRecord, reason: str, target: Target) -> str:
    day = datetime.now(UTC).date() + timedelta(days=30)
    signed = f" --key waive.pem {target.options}" if target.options else ""
    return f'lockgate waive {run.id} {reason} --by "NAME, ROLE" --until {day} --why "..."{signed}'


def _end(until: str | None, example: str) -> datetime:
    try:
        day = datetime.fromisoformat(until or "").replace(tzinfo=UTC)
    except ValueError as error:
        msg = f"--until {until!r} is not a date" if until else "a waiver needs a last day"
        raise BadCall(msg, fix=example) from error
    if not datetime.now(UTC) < day <= datetime.now(UTC) + LONGEST:
        msg = f"--until {until} is not within the next year"
        raise BadCall(msg, fix="choose a nearer day; a waiver can be signed again")
    return day
