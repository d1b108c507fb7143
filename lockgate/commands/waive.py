"""Writing a waiver: a signed, expiring, named exception to one reason of one verdict."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from lockgate_proof import ProofError, sign, verify
from lockgate_step import canonical, sha256

from lockgate.cluster.workflows import Where
from lockgate.definition.project import Project, load_model
from lockgate.errors import BadCall, Refused, UnknownName
from lockgate.records.account import of_run
from lockgate.records.environment import Environment
from lockgate.records.runs import RunRecord
from lockgate.rendering.files import model_files, write_or_check
from lockgate.report.lines import again

LONGEST = timedelta(days=366)


@dataclass(frozen=True)
class Waiving:
    """What is asked for: the reason to except, who approved it, why, until which day, and the private key that signs.

    by: the key that signs only vouches for whoever is named here.
    """

    reason_id: str
    by: str | None
    why: str | None
    until: str | None
    key: Path | None


def write_waiver(
    project: Project, environment: Environment, run: RunRecord, asked: Waiving, where: Where
) -> tuple[list[str], dict[str, Any]]:
    """Sign the waiver, put it beside the model's policy, and say what to do next: lines for people, and JSON values.

    environment: of where the run was. where: the cluster it was on, or this machine.
    Errors: BadCall when there is nothing to except, nobody or no reason is named, or the end is not a day within a
    year; UnknownName for a reason that no verdict of this run has.
    """
    reasons = {r["id"]: (s, r) for s in run.steps if s.verdict for r in s.verdict["reasons"]}
    if not reasons:
        msg = f"run {run.id} was not refused: there is nothing to waive"
        raise BadCall(msg, fix=f"lockgate status {where.options}".rstrip() + " names the runs that were")
    if asked.reason_id not in reasons:
        raise UnknownName("reason", asked.reason_id, reasons)
    model = project.model(run.about.model)
    example = _example(run, asked.reason_id, where)
    approver = _said(asked.by, "a waiver names who approved it", example)
    why = _said(asked.why, "a waiver says why", example)
    expires = _end(asked.until, example)
    key = asked.key or environment.key("waive")
    if asked.key is None and where.elsewhere and not key.is_file():
        msg = "a waiver for a cluster is signed with its approver's own key"
        raise BadCall(msg, fix="add --key FILE; docs/kubernetes.md says how a key may waive")
    if asked.key is not None and not key.is_file():
        msg = f"there is no key {key}"
        raise BadCall(msg, fix="name the approver's private key, in PEM form")
    step, reason = reasons[asked.reason_id]
    trust = environment.trust
    if step.envelope is None:
        msg = f"the signed verdict of {step.name} in run {run.id} is no longer there"
        raise BadCall(msg, fix=again(run, where.options))
    verdict = verify(step.envelope, trust, signer=step.name, kind="verdict")
    if not of_run(verdict, run):
        msg = f"the verdict of {step.name} was signed in another run than {run.id}"
        raise Refused(msg, fix=again(run, where.options))
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
        signer = verify(envelope, trust, signer="waive").owner
    except ProofError as error:
        place, instead = ("there", "") if where.elsewhere else ("here", ", or leave out --key")
        msg = f"nobody may waive {place} with the key {key}"
        fix = f"ask the platform's owner to add it to the trust file (docs/kubernetes.md){instead}"
        raise Refused(msg, fix=fix) from error
    content = canonical(envelope)
    path = model.folder / "waivers" / f"{said['gate']}-{sha256(content).removeprefix('sha256:')[:8]}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    write_or_check(model_files(project, load_model(model.folder)))  # the manifests carry the waivers
    file = path.relative_to(project.root).as_posix()
    lines = [
        f"Waived until {expires.date()}: {reason['message']}",
        f"  approved by {approver}; signed by {signer}",
        f"  {file}, and in workflows/{model.spec.name}/",
        "  It covers this model on these data by this policy, while the same version is live; the model card shows it.",
        "Next",
        *[f"  {line}" for line in _next(run, where)],
    ]
    return lines, {"run": run.id, "reason_id": asked.reason_id, "file": file, "signer": signer, **said}


def _next(run: RunRecord, where: Where) -> list[str]:
    if not where.elsewhere:
        return [again(run)]
    kubectl = ["kubectl", *(["--context", where.context] if where.context else [])]
    kubectl += ["-n", where.namespace] if where.namespace else []
    apply = [*kubectl, "apply", "--server-side", "-f", f"workflows/{run.about.model}"]
    return [" ".join(apply), again(run, where.options)]


def _said(text: str | None, need: str, example: str) -> str:
    """The text on one line. Errors: BadCall where there is none, or it would not print."""
    line = " ".join((text or "").split())
    if not line:
        raise BadCall(need, fix=example)
    if not line.isprintable():
        msg = f"{line!r} holds characters that do not print"
        raise BadCall(msg, fix="write it in plain text")
    return line


def _example(run: RunRecord, reason: str, where: Where) -> str:
    day = _today() + timedelta(days=30)
    signed = f" --key waive.pem {where.options}" if where.elsewhere else ""
    return f'lockgate waive {run.id} {reason} --by "NAME, ROLE" --until {day} --why "..."{signed}'


def _today() -> date:
    return datetime.now(UTC).date()


def _end(until: str | None, example: str) -> datetime:
    try:
        day = datetime.fromisoformat(until or "").replace(tzinfo=UTC)
    except ValueError as error:
        msg = f"--until {until!r} is not a date" if until else "a waiver ends on a day"
        raise BadCall(msg, fix=example) from error
    if not datetime.now(UTC) < day <= datetime.now(UTC) + LONGEST:
        msg = f"--until {until} is not a day within the next year"
        raise BadCall(msg, fix="choose a nearer day; a waiver can be signed again")
    return day
