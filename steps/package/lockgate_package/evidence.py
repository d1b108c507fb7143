"""Verifies every signature, subject and waiver that a bundle depends on, before anything is sealed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lockgate_policy import Policy, read_given
from lockgate_proof import ProofError, Statement, Trust, Waiver, read_waivers, verify, verify_verdicts
from lockgate_step import SpecFile, file_digest, read_columns, read_spec, tree_digest

_SAME_RUN = "package only files of the same run"


@dataclass(frozen=True)
class Files:
    """The paths of the inputs: the model and answers are folders, the rest are files.

    verdicts: by gate, those of the additional gates too.
    """

    model: Path
    data: Path
    answers: Path
    verdicts: Mapping[str, Path]
    spec: Path
    policy: Path
    waivers: Path | None


@dataclass(frozen=True)
class Evidence:
    """The verified evidence about one model.

    subjects: `model`, `data`, `base`, `spec`, `policy` -> `sha256:<hex>`, of the present bytes.
    """

    spec: SpecFile
    model: Mapping[str, Any]
    policy: Policy
    subjects: Mapping[str, str]
    data: Statement
    answers: Statement
    verdicts: Mapping[str, Statement]
    waivers: Sequence[Waiver]

    @property
    def name(self) -> str:
        """The model's name."""
        return self.spec.name


def prove(files: Files, trust: Trust, *, now: datetime) -> Evidence:
    """Verify that every record is signed by its own program and is about these bytes.

    now: the time at which the waivers must be valid.
    Errors: ProofError, for the first fault.
    """
    data = verify(files.data, trust, signer="ingest")
    answers = verify(files.answers / "record.json", trust, signer="predict")
    subjects = {
        "model": tree_digest(files.model),
        "data": data.subjects.get("data", ""),
        "base": data.subjects.get("base", ""),
        "spec": file_digest(files.spec),
        "policy": file_digest(files.policy),
    }
    answered = {
        **{name: subjects[name] for name in ("model", "data", "base")},
        "test": data.subjects.get("test", ""),
        "answers": _digest(files.answers / "answers.parquet"),
        "golden": _digest(files.answers / "golden.json"),
    }
    _about("the data record", data, {"spec": subjects["spec"]})
    _about("the answers record", answers, answered)
    # Only now: a file is not parsed before a record has confirmed its digest.
    spec = read_spec(files.spec)
    model = json.loads((files.model / "model.json").read_bytes())
    name = spec.name
    for record in (data, answers):
        _named(record, name)
    _same_inputs(spec, model)
    waivers = read_waivers(files.waivers, trust) if files.waivers else []
    verdicts = verify_verdicts(
        lambda gate: files.verdicts.get(gate, files.spec.parent / f"{gate}.json"),
        files.verdicts,
        trust,
        model=name,
        subjects=subjects,
        additional=spec.gates,
        waivers=waivers,
        now=now,
    )
    return Evidence(spec, model, read_given(files.policy), subjects, data, answers, verdicts, waivers)


def _digest(path: Path) -> str:
    return file_digest(path) if path.is_file() else "nothing"


def _about(what: str, record: Statement, subjects: Mapping[str, str]) -> None:
    for name, digest in subjects.items():
        if record.subjects.get(name) != digest:
            msg = f"{what} is about another {name}: {record.subjects.get(name, 'none')}, not {digest}"
            raise ProofError(msg, fix=_SAME_RUN)


def _named(record: Statement, model: str) -> None:
    if record.predicate.get("model") != model:
        msg = f"the {record.kind} record is about the model {record.predicate.get('model')}, not {model}"
        raise ProofError(msg, fix=_SAME_RUN)


def _same_inputs(spec: SpecFile, model: Mapping[str, Any]) -> None:
    """Check that the spec declares each of the model's inputs; callers could never send an undeclared column."""
    declared = {column.name: type(column) for column in spec.inputs}
    for column in read_columns(model["inputs"]):
        if declared.get(column.name) is not type(column):
            kind = type(column).__name__.lower()
            msg = f"the model needs the {kind} column {column.name!r}, which the spec does not declare"
            raise ProofError(msg, fix="declare it in ModelSpec.inputs and run the whole workflow again")
