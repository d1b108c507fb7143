"""Verify the files that a gate judges: they must be the ones that the signed records name.

Imports only the standard library and the SDK; the gates read the tables themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lockgate_policy import Policy, read_given
from lockgate_proof import ProofError, Statement, Trust, Waiver, read_waivers, verify, waiver_for
from lockgate_step import Inconclusive, NotJudged, Passed, Refused, SpecFile, file_digest, read_spec

__all__ = ["Evidence", "answered", "frozen", "waived"]

_SAME_RUN = "use the unchanged files of one run"


@dataclass(frozen=True)
class Evidence:
    """Files that were verified to belong together.

    subjects: the subjects of a verdict on them: `data` and `policy`, and `model` and `base` once a model has answered.
    frozen: every subject of the data record.
    rows, train_rows: the number of test rows and of training rows.
    unlabelled: the rows without a label that were left out, by share and group, as ingest counted them; None if there
        were none.
    copies: the test rows that are equal to a training row, as ingest counted them; None in an earlier record.
    live: whether a live version existed when the data were frozen.
    base_problem: why the live version could not answer, if it could not.
    """

    model: str
    spec: SpecFile
    policy: Policy
    subjects: Mapping[str, str]
    frozen: Mapping[str, str]
    rows: int
    train_rows: int
    live: bool
    unlabelled: Mapping[str, Any] | None = None
    copies: Mapping[str, Any] | None = None
    base_problem: str | None = None


def frozen(data: Path, spec: Path, policy: Path, tables: Mapping[str, Path], trust: Trust) -> Evidence:
    """Verify that the spec and these tables are the ones that ingest froze.

    Errors: ProofError if a signature or a digest does not match, BadCall if the policy does not fit.
    """
    statement = verify(data, trust, signer="ingest")
    for name, path in {"spec": spec, **tables}.items():
        _same(name, file_digest(path), statement, "the data record")
    described = read_spec(spec)
    record = statement.predicate
    if record["model"] != described.name:
        msg = f"the data record is for the model {record['model']}, not {described.name}"
        raise ProofError(msg, fix=_SAME_RUN)
    return Evidence(
        model=described.name,
        spec=described,
        policy=read_given(policy, [column.name for column in described.sensitive]),
        # The spec too: with other bands, labels or another split the same data and model have another verdict.
        subjects={
            "data": statement.subjects["data"],
            "spec": statement.subjects["spec"],
            "policy": file_digest(policy),
        },
        frozen=statement.subjects,
        rows=int(record["rows"]["test"]),
        train_rows=int(record["rows"]["train"]),
        live=record["base"]["bundle"] is not None,
        unlabelled=record.get("unlabelled"),
        copies=record.get("copies"),
    )


def answered(evidence: Evidence, answers: Path, trust: Trust) -> Evidence:
    """Verify that the answers are the ones that predict gave for the frozen test rows.

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
        given, wanted = f"{said['rows']} answers of {said['model']}", f"{evidence.rows} test rows of {evidence.model}"
        msg = f"there are {given}, but {wanted}"
        raise ProofError(msg, fix=_SAME_RUN)
    if evidence.live and not base.exists() and problem is None:
        msg = "there is a live version, but neither its answers nor a reason why they are missing"
        raise ProofError(msg, fix="run predict again with the base that ingest froze")
    judged = {name: statement.subjects[name] for name in ("model", "base")}
    return replace(evidence, subjects={**evidence.subjects, **judged}, base_problem=problem)


def waived(
    outcome: Passed | NotJudged | Refused | Inconclusive, gate: str, waivers: Path | None, trust: Trust
) -> dict[str, Waiver]:
    """Return the waivers that cover reasons of this outcome, by rule.

    For the report only: the SDK itself applies waivers to the verdict.
    """
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
        msg = f"{name} does not match {record}: found {digest}, expected {attested}"
        raise ProofError(msg, fix=_SAME_RUN)
