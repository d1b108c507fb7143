"""Predicts the same rows with the candidate and the base; the base may fail, the candidate may not."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import assert_never

import pyarrow.parquet as pq
from lockgate_model import BadModel, read
from lockgate_proof import ProofError, Statement, Trust, verify, verify_bundle
from lockgate_step import BadCall, Record, Refusal, SpecFile, copy_supplied, file_digest, log, read_spec, tree_digest

from lockgate_predict.answers import Answered, CannotAnswer, answer, write
from lockgate_predict.golden import golden


@dataclass(frozen=True)
class Inputs:
    """The paths of the inputs."""

    model: Path
    test: Path
    data: Path
    spec: Path
    policy: Path
    base: Path | None


def run(given: Inputs, answers: Path, *, batch: int) -> Record:
    """Predict the test rows and return the record of the answers.

    Both models are copied first: the files whose digests are signed are the files that are loaded.
    Errors: BadCall; Refusal when the record or the columns do not match or the candidate refuses rows; BadModel.
    """
    with TemporaryDirectory() as private:
        candidate, before = Path(private, "candidate"), Path(private, "base")
        copy_supplied(given.model, candidate)
        if given.base is not None:
            copy_supplied(given.base, before)
        copies = replace(given, model=candidate, base=before if given.base is not None else None)
        return _run(copies, answers, batch=batch)


def _run(given: Inputs, answers: Path, *, batch: int) -> Record:
    if batch < 1:
        msg = f"batch is {batch}"
        raise BadCall(msg, fix="use at least 1 row per request")
    trust = Trust.read()
    record = verify(given.data, trust, signer="ingest")
    _expect(record, "test", file_digest(given.test))
    _expect(record, "spec", file_digest(given.spec))
    described = read_spec(given.spec)
    _expect_inputs(described, given.model, given.test)

    name = described.name
    match answer(name, given.model, given.policy, given.test, batch):
        case CannotAnswer() as cannot:
            msg = f"the candidate refuses rows of the test set: {cannot.problem}"
            raise Refusal(
                msg, fix="correct the data, or the inputs' ranges and categories in the ModelSpec, and run again"
            )
        case Answered() as candidate:
            write(candidate, answers / "answers.parquet")
            (answers / "golden.json").write_bytes(golden(candidate, given.model))
        case never:
            assert_never(never)
    subjects = {
        "answers": file_digest(answers / "answers.parquet"),
        "golden": file_digest(answers / "golden.json"),
        "model": tree_digest(given.model),
        **{subject: record.subjects[subject] for subject in ("test", "data", "base")},
    }
    problem = None
    live = _base(record, given.base, trust, name)
    if live is not None:
        match _base_answer(name, live, given.test, batch):
            case CannotAnswer() as refused:
                problem = refused.problem
                log("base-cannot-answer", problem=problem)
            case Answered() as by_base:
                write(by_base, answers / "base.parquet")
                subjects["base-answers"] = file_digest(answers / "base.parquet")
            case never_either:
                assert_never(never_either)
    asked = candidate.asked
    predicate = {
        "model": name,
        "rows": len(candidate.labels),
        "base_problem": problem,
        "asked": {"rows": asked.rows, "arrangements": list(asked.arrangements), "largest_difference": asked.largest},
    }
    return Record(kind="answers", subjects=subjects, predicate=predicate)


def _expect(record: Statement, subject: str, found: str) -> None:
    if record.subjects.get(subject) != found:
        wanted = record.subjects.get(subject, "none")
        msg = f"the {subject} input is not the one in the data record: {found}, not {wanted}"
        raise Refusal(msg, fix="use the outputs of the same ingest")


def _expect_inputs(spec: SpecFile, model: Path, test: Path) -> None:
    """Check that the model takes the spec's inputs, and that neither it nor the test rows have a forbidden column."""
    wanted = {column.name: column for column in spec.inputs}
    card = read(model)
    taken = {column.name: column for column in card.inputs}
    if wanted != taken:
        odd = sorted(name for name in wanted.keys() | taken.keys() if wanted.get(name) != taken.get(name))
        msg = f"the model and the spec differ in the inputs {', '.join(odd)}"
        raise Refusal(msg, fix="train it on the spec's inputs, or correct the ModelSpec")
    if (card.labels.positive, card.labels.negative) != (spec.target.positive, spec.target.negative):
        msg = "the model's labels are not those of the spec: which one is positive decides what a score means"
        raise Refusal(msg, fix="train it on the spec's labels, or correct the ModelSpec")
    kept = {spec.target.name} | ({column.name for column in spec.sensitive} - set(spec.also_inputs))
    seen = sorted(kept & (set(pq.read_schema(test).names) | taken.keys()))
    if seen:
        msg = f"the model would see the target or a sensitive column: {', '.join(seen)}"
        raise Refusal(msg, fix="remove it from the ModelSpec's inputs; ingest then keeps it out of the test rows")


def _base(record: Statement, base: Path | None, trust: Trust, name: str) -> Path | None:
    """Verify the live bundle with which the run started; None if nothing was live."""
    if base is None:
        if record.predicate["base"]["bundle"] is None:
            return None
        msg = "the data record names a live bundle, but the base input is missing"
        raise Refusal(msg, fix="use the outputs of the same ingest")
    _expect(record, "base", file_digest(base / "base.json"))
    digest = json.loads((base / "base.json").read_bytes())["bundle"]
    if digest is None:
        return None
    try:
        return verify_bundle(base / "bundle", trust, now=None, model=name, digest=digest).folder
    except ProofError as error:
        msg = f"the live version {digest[:13]} can no longer be verified: {error.message}"
        raise ProofError(
            msg, fix="keep each key that signed a live version, or a waiver of it, in the trust file"
        ) from error


def _base_answer(name: str, bundle: Path, test: Path, batch: int) -> Answered | CannotAnswer:
    try:
        return answer(name, bundle / "model", bundle / "policy.toml", test, batch)
    except BadModel as error:
        return CannotAnswer(error.message)
