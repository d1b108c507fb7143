"""Writing a waiver: a signed, expiring, named exception to one reason of one verdict."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from lockgate_proof import ProofError, Trust, sign, verify
from lockgate_step import canonical, sha256

from lockgate.environment import Environment
from lockgate.errors import BadCall, Refused, UnknownName
from lockgate.project import Model, Project, load_model
from lockgate.rendering import model_files, write_or_check
from lockgate.runs import RunRecord

LONGEST = timedelta(days=366)


def write_waiver(
    project: Project,
    environment: Environment,
    run: RunRecord,
    reason_id: str,
    why: str | None,
    until: str | None,
    key: Path | None,
) -> list[str]:
    """Sign the waiver, put it beside the model's policy, and say what to do next.

    Errors: BadCall when there is nothing to except, no reason given, or the end is not a day within a year;
    UnknownName for a reason that no verdict of this run has.
    """
    reasons = {r["id"]: (s, r) for s in run.steps if s.verdict for r in s.verdict["reasons"]}
    if not reasons:
        msg = f"run {run.id} was not refused: there is nothing to waive"
        raise BadCall(msg, fix="lockgate status names the runs that were")
    if reason_id not in reasons:
        raise UnknownName("reason", reason_id, reasons)
    model = project.model(run.about.model)
    if not why or not why.strip():
        msg = f"a waiver says why, and {model.spec.owner} answers for it"
        raise BadCall(
            msg, fix=f'lockgate waive {run.id} {reason_id} --why "..." --until {_today() + timedelta(days=30)}'
        )
    expires = _end(until, run.id, reason_id)
    step, reason = reasons[reason_id]
    trust = Trust.read(environment.config / "trust.json")
    verdict = verify(step.envelope or {}, trust, signer=step.name, kind="verdict")
    said = {
        "model": verdict.predicate["model"],
        "gate": verdict.predicate["gate"],
        "reason": reason["rule"],
        "verdict": verdict.digest,
        "why": why.strip(),
        "expires": expires.isoformat(),
    }
    envelope = sign("waiver", verdict.subjects, said, key or environment.key("waive"))
    approver = verify(envelope, trust, signer="waive").owner
    content = canonical(envelope)
    folder = model.folder / "waivers"
    folder.mkdir(exist_ok=True)
    path = folder / f"{said['gate']}-{sha256(content).removeprefix('sha256:')[:8]}.json"
    path.write_bytes(content)
    write_or_check(model_files(project, load_model(model.folder)))  # the manifests carry the waivers
    return [
        f"Waived until {expires.date()}: {reason['message']}",
        f"  signed by {approver}; {path.relative_to(project.root)}, and in workflows/{model.spec.name}/",
        "  It covers this model on these data by this policy, while the same version is live; the model card shows it.",
        "Next",
        f"  lockgate run {run.about.model}{_settings(run)}",
    ]


def check_waivers(model: Model, trust: Trust) -> None:
    """Refuse a waiver that nobody signed who may sign one here. Errors: Refused, naming the file."""
    for path, envelope in model.waivers.items():
        try:
            verify(envelope, trust, signer="waive")
        except ProofError as error:
            msg = f"waivers/{path.name} of {model.spec.name} {error.message}"
            raise Refused(msg, fix=f"have it signed again with lockgate waive, or remove it: {path}") from error


def _settings(run: RunRecord) -> str:
    given = {k: v for k, v in run.about.given.items() if k != "data"}
    return "".join(f" --set {name}={value}" for name, value in given.items())


def _today() -> date:
    return datetime.now(UTC).date()


def _end(until: str | None, run: str, reason: str) -> datetime:
    try:
        day = datetime.fromisoformat(until or "").replace(tzinfo=UTC)
    except ValueError as error:
        msg = f"--until {until!r} is not a date" if until else "a waiver ends on a day"
        raise BadCall(msg, fix=f"lockgate waive {run} {reason} --until {_today() + timedelta(days=30)}") from error
    if not datetime.now(UTC) < day <= datetime.now(UTC) + LONGEST:
        msg = f"--until {until} is not a day within the next year"
        raise BadCall(msg, fix="choose a nearer day; a waiver can be signed again")
    return day
