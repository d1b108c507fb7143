"""A program's surroundings for real: folders, keys, trust file, records signed as ingest and predict sign them."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lockgate_proof import Trust, TrustedKey, new_key, sign, verify
from lockgate_step import canonical, file_digest, sha256

POLICY = """\
[[quality]]
measure  = "accuracy"
at_least = 0.5
why      = "Better than a coin."

[[bias]]
between = ["sex"]
measure = "selection_rate_difference"
at_most = 0.15
why     = "Men and women must be selected at rates the programme can defend."
"""
SPEC: dict[str, Any] = {
    "name": "tiny",
    "target": {"name": "income", "positive": "high", "negative": "low"},
    "inputs": [{"name": "age", "kind": "number", "low": 0, "high": 120, "missing": False}],
    "sensitive": [{"name": "sex", "kind": "category", "values": ["Female", "Male"], "missing": True}],
}


@dataclass
class Bench:
    """One program's `$LOCKGATE_IO`, filled by hand."""

    root: Path
    spec: dict[str, Any] = field(default_factory=lambda: json.loads(json.dumps(SPEC)))
    policy: str = POLICY

    def __post_init__(self) -> None:
        signers = ("ingest", "predict", "bias-audit", "waive")
        publics = {name: new_key(self.root / "keys" / f"{name}.pem") for name in signers}
        keys = tuple(TrustedKey(public, (name,), f"{name}@example.org") for name, public in publics.items())
        self.trust = Trust(keys, untrusted_elsewhere=True)
        for folder in ("in/answers", "out", "environment", "key", "tmp"):
            (self.root / folder).mkdir(parents=True)
        (self.root / "environment" / "trust.json").write_bytes(self.trust.to_bytes())
        (self.root / "key" / "private.pem").write_bytes((self.root / "keys" / "bias-audit.pem").read_bytes())

    def path(self, name: str) -> Path:
        return self.root / "in" / name

    def sign(self, kind: str, signer: str, subjects: Mapping[str, str], predicate: Mapping[str, Any]) -> dict[str, Any]:
        return sign(kind, subjects, predicate, self.root / "keys" / f"{signer}.pem")

    def fill(
        self, truth: Sequence[str], answers: Sequence[str | None], sensitive: Mapping[str, Sequence[str | None]]
    ) -> None:
        """Write the tables and the records over them."""
        rows = len(truth)
        self.path("spec").write_bytes(canonical(self.spec))
        self.path("policy").write_text(self.policy)
        pq.write_table(pa.table({"income": pa.array(truth, pa.string())}), self.path("truth"))
        columns = {name: pa.array(values, pa.string()) for name, values in sensitive.items()}
        pq.write_table(pa.table(columns), self.path("sensitive"))
        scores = pa.array([0.5] * rows, pa.float64())
        table = pa.table({"label": pa.array(answers, pa.string()), "score": scores})
        pq.write_table(table, self.path("answers") / "answers.parquet")
        self.attest(rows)

    def attest(self, rows: int) -> None:
        """Sign what lies there now, as ingest and predict would."""
        fixed = {name: sha256(name.encode()) for name in ("data", "test", "rows", "base", "model")}
        names = ("truth", "sensitive", "spec")
        record = {
            **{k: fixed[k] for k in ("data", "test", "rows", "base")},
            **{n: file_digest(self.path(n)) for n in names},
        }
        frozen = {
            "model": "tiny",
            "rows": {"total": 4 * rows, "train": 3 * rows, "test": rows},
            "base": {"bundle": None, "generation": 0},
        }
        self.path("data").write_bytes(canonical(self.sign("data", "ingest", record, frozen)))
        said = {
            **{k: fixed[k] for k in ("data", "test", "base", "model")},
            "answers": file_digest(self.path("answers") / "answers.parquet"),
        }
        answered = self.sign("answers", "predict", said, {"model": "tiny", "rows": rows, "base_problem": None})
        (self.path("answers") / "record.json").write_bytes(canonical(answered))

    def run(self, *settings: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lockgate_bias_audit", *settings],
            env={**os.environ, "LOCKGATE_IO": str(self.root), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def verdict(self) -> dict[str, Any]:
        return dict(verify(self.root / "out" / "verdict", self.trust, signer="bias-audit", kind="verdict").predicate)

    @property
    def report(self) -> str:
        return (self.root / "out" / "report").read_text()

    def everything(self, result: subprocess.CompletedProcess[str]) -> str:
        """All that anybody gets to see of a run."""
        files = [path.read_text() for path in (self.root / "out").rglob("*") if path.is_file()]
        return "\n".join(
            [result.stdout, result.stderr, json.dumps(self.verdict), *files, (self.root / "termination").read_text()]
        )


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def people(*groups: tuple[str | None, int, int]) -> tuple[list[str], list[str], list[str | None]]:
    """Truth, answers and sex of groups given as (name, rows, selected); truth is positive for every other row."""
    truth: list[str] = []
    answers: list[str] = []
    names: list[str | None] = []
    for name, rows, selected in groups:
        truth += ["high" if at % 2 else "low" for at in range(rows)]
        answers += ["high"] * selected + ["low"] * (rows - selected)
        names += [name] * rows
    return truth, answers, names
