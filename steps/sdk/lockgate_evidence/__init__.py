"""What a gate judges, proven first: the signed records say which bytes belong together, and these are those bytes.

Standard library and `lockgate_proof` only; the gates read the tables themselves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from lockgate_policy import Policy, PolicyError, check, read
from lockgate_proof import ProofError, Statement, Trust, Waiver, read_waivers, verify, waiver_for
from lockgate_step import BadCall, Inconclusive, Passed, Refused, SpecFile, file_digest, read_spec

__all__ = ["Evidence", "answered", "frozen", "policy_for", "waived"]

_SAME_RUN = "use the files of one and the same run, as its steps wrote them"


@dataclass(frozen=True)
class Evidence:
    """Files that were proven to belong together.

    subjects: what a verdict on them is about: `data`, `policy`, and `model` and `base` once a model has answered.
    frozen: every subject of the data record.
    rows, train_rows: of the test share and of the training share.
    live: whether a live version existed when the data were frozen.
    base_problem: why the live version could not answer, where it could not.
    """

    model: str
    spec: SpecFile
    policy: Policy
    subjects: Mapping[str, str]
    frozen: Mapping[str, str]
    rows: int
    train_rows: int
    live: bool
    base_problem: str | None = None


def frozen(data: Path, spec: Path, policy: Path, tables: Mapping[str, Path], trust: Trust) -> Evidence:
    """Prove that the spec and these tables are the ones that ingest froze.

    Errors: ProofError when a signature or a digest does not hold, BadCall when the policy does not fit.
    """
    statement = verify(data, trust, signer="ingest")
    for name, path in {"spec": spec, **tables}.items():
        _same(name, file_digest(path), statement, "the data record")
    described = read_spec(spec)
    record = statement.predicate
    if record["model"] != described.name:
        msg = f"the data record is about {record['model']}, not {described.name}"
        raise ProofError(msg, fix=_SAME_RUN)
    return Evidence(
        model=described.name,
        spec=described,
        policy=policy_for(policy, [column.name for column in described.sensitive]),
        subjects={"data": statement.subjects["data"], "policy": file_digest(policy)},
        frozen=statement.subjects,
        rows=int(record["rows"]["test"]),
        train_rows=int(record["rows"]["train"]),
        live=record["base"]["bundle"] is not None,
    )


def answered(evidence: Evidence, answers: Path, trust: Trust) -> Evidence:
    """Prove that the answers are the ones that predict gave to the frozen test rows.

    Errors: ProofError.
    """
    statement = verify(answers / "record.json", trust, signer="predict")
    for name in ("data", "test", "base"):
        _same(name, evidence.frozen[name], statement, "the answers record")
    _same("answers", file_digest(answers / "answers.parquet"), statement, "the answers record")
    base = answers / "base.parquet"
    if base.exists() or "base-answers" in statement.subjects:
        _same("base-answers", file_digest(base) if base.exists() else "nothing", statement, "the answers record")
    said = statement.predicate
    problem = said.get("base_problem")
    if said["model"] != evidence.model or said["rows"] != evidence.rows:
        msg = f"the answers are {said['rows']} of {said['model']}, the test rows {evidence.rows} of {evidence.model}"
        raise ProofError(msg, fix=_SAME_RUN)
    if evidence.live and not base.exists() and problem is None:
        msg = "there is a live version, but neither its answers nor a reason why it gave none"
        raise ProofError(msg, fix="run predict again with the base that ingest froze")
    judged = {name: statement.subjects[name] for name in ("model", "base")}
    return replace(evidence, subjects={**evidence.subjects, **judged}, base_problem=problem)


def policy_for(path: Path, sensitive: Sequence[str]) -> Policy:
    """The policy, if it can be read and accounts for every sensitive column.

    Errors: BadCall, with the line and the next action.
    """
    try:
        policy = read(path)
        check(policy, sensitive)
    except PolicyError as error:
        msg = f"{error.where}: {error.problem}"
        raise BadCall(msg, fix=error.fix) from error
    return policy


def waived(
    outcome: Passed | Refused | Inconclusive, gate: str, waivers: Path | None, trust: Trust
) -> dict[str, Waiver]:
    """The waivers that cover reasons of this outcome, by rule; for the report: the SDK applies them on its own."""
    if waivers is None or not waivers.stat().st_size:
        return {}
    signed, now = read_waivers(waivers, trust), datetime.now(UTC)
    found = {
        reason.rule: waiver_for(
            signed, model=outcome.model, gate=gate, rule=reason.rule, subjects=outcome.subjects, now=now
        )
        for reason in outcome.reasons
    }
    return {rule: waiver for rule, waiver in found.items() if waiver}


def _same(name: str, digest: str, statement: Statement, record: str) -> None:
    attested = statement.subjects.get(name, "nothing")
    if attested != digest:
        msg = f"{name} is not the one in {record}: {digest}, not {attested}"
        raise ProofError(msg, fix=_SAME_RUN)
