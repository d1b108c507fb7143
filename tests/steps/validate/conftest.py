"""Both gates' surroundings for real: folders, keys, trust file, records signed as ingest and predict sign them."""

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
at_least = 0.8
why      = "Four answers in five must be right."

[[quality]]
measure = "accuracy"
no_worse_than_live_by = 0.05
why     = "Users must not be served worse than today."
"""
SPEC: dict[str, Any] = {
    "name": "tiny",
    "target": {"name": "income", "positive": "high", "negative": "low"},
    "inputs": [
        {"name": "age", "kind": "number", "low": 17, "high": 90, "whole": True, "missing": False},
        {"name": "job", "kind": "category", "values": ["clerk", "cook"], "missing": True},
    ],
    "sensitive": [
        {"name": "sex", "kind": "category", "values": ["Female", "Male"], "missing": True},
    ],
}
UNAUDITED = '\n[[unaudited]]\ncolumn = "sex"\nwhy = "Not what these tests are about."\n'
TABLES = ("rows", "test", "truth", "sensitive", "train_sensitive")
TYPES = {"age": pa.float64()}
Columns = Mapping[str, Sequence[object]]


def tiny(rows: int) -> dict[str, dict[str, list[Any]]]:
    """Clean tables of so many rows each."""
    inputs = {
        "age": [20.0 + at % 50 for at in range(rows)],
        "job": [["clerk", "cook", None][at % 3] for at in range(rows)],
    }
    income = ["high" if at % 4 == 0 else "low" for at in range(rows)]
    sex = ["Female" if at % 2 else "Male" for at in range(rows)]
    return {
        "rows": {**inputs, "income": income},
        "test": inputs,
        "truth": {"income": income},
        "sensitive": {"sex": sex},
        "train_sensitive": {"sex": sex},
    }


@dataclass
class Bench:
    """A program's `$LOCKGATE_IO`, filled by hand."""

    root: Path
    program: str
    spec: dict[str, Any] = field(default_factory=lambda: json.loads(json.dumps(SPEC)))
    policy: str = POLICY + UNAUDITED
    live: str | None = None
    base_problem: str | None = None

    def __post_init__(self) -> None:
        signers = ("ingest", "predict", "validate-data", "validate-model", "waive")
        publics = {name: new_key(self.root / "keys" / f"{name}.pem") for name in signers}
        keys = tuple(TrustedKey(public, (name,), f"{name}@example.org") for name, public in publics.items())
        self.trust = Trust(keys, untrusted_elsewhere=True)
        for folder in ("in/answers", "out", "environment", "key", "tmp"):
            (self.root / folder).mkdir(parents=True)
        (self.root / "environment" / "trust.json").write_bytes(self.trust.to_bytes())
        (self.root / "key" / "private.pem").write_bytes((self.root / "keys" / f"{self.program}.pem").read_bytes())
        self.path("expectations").write_text("[]")

    def path(self, name: str) -> Path:
        return self.root / "in" / name

    def sign(self, kind: str, signer: str, subjects: Mapping[str, str], predicate: Mapping[str, Any]) -> dict[str, Any]:
        return sign(kind, subjects, predicate, self.root / "keys" / f"{signer}.pem")

    def write(self, name: str, columns: Columns) -> None:
        arrays = {column: pa.array(values, TYPES.get(column, pa.string())) for column, values in columns.items()}
        pq.write_table(pa.table(arrays), self.path(name))

    def fill(self, tables: Mapping[str, Columns]) -> None:
        """Write the tables, and sign the data record over them as ingest would."""
        for name, columns in tables.items():
            self.write(name, columns)
        self.path("spec").write_bytes(canonical(self.spec))
        self.path("policy").write_text(self.policy)
        self.attest()

    def attest(self) -> None:
        """Sign the data record over what lies there now."""
        fixed = {name: sha256(name.encode()) for name in ("data", "test", "rows", "base")}
        present = {n: file_digest(self.path(n)) for n in (*TABLES, "spec") if self.path(n).exists()}
        test, train = (
            pq.read_metadata(self.path(n)).num_rows if self.path(n).exists() else 0 for n in ("truth", "rows")
        )
        frozen = {
            "model": "tiny",
            "rows": {"total": test + train, "train": train, "test": test},
            "base": {"bundle": self.live, "generation": 0},
        }
        self.data_subjects = fixed | present
        self.path("data").write_bytes(canonical(self.sign("data", "ingest", self.data_subjects, frozen)))

    def answer(
        self,
        truth: Sequence[str],
        labels: Sequence[str | None],
        scores: Sequence[float | None] | None = None,
        base: tuple[Sequence[str], Sequence[float]] | None = None,
    ) -> None:
        """Write truth and answers, and sign both records."""
        folder = self.path("answers")

        def table(labels: Sequence[str | None], scores: Sequence[float | None]) -> pa.Table:
            return pa.table({"label": pa.array(labels, pa.string()), "score": pa.array(scores, pa.float64())})

        own = scores if scores is not None else [0.9 if label == "high" else 0.1 for label in labels]
        pq.write_table(table(labels, own), folder / "answers.parquet")
        if base:
            pq.write_table(table(*base), folder / "base.parquet")
            self.live = sha256(b"live")
        self.fill({"truth": {"income": truth}})
        self.attest_answers(len(truth))

    def attest_answers(self, rows: int) -> None:
        """Sign the answers record over what lies there now."""
        folder = self.path("answers")
        subjects = {name: self.data_subjects[name] for name in ("data", "test", "base")} | {"model": sha256(b"model")}
        for name, file in (("answers", "answers.parquet"), ("base-answers", "base.parquet")):
            if (folder / file).exists():
                subjects[name] = file_digest(folder / file)
        said = {"model": "tiny", "rows": rows, "base_problem": self.base_problem}
        (folder / "record.json").write_bytes(canonical(self.sign("answers", "predict", subjects, said)))

    def run(self, *settings: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "lockgate_validate", self.program, *settings],
            env={**os.environ, "LOCKGATE_IO": str(self.root), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def verdict(self) -> dict[str, Any]:
        return dict(verify(self.root / "out" / "verdict", self.trust, signer=self.program, kind="verdict").predicate)

    @property
    def report(self) -> str:
        return (self.root / "out" / "report").read_text()

    def everything(self, result: subprocess.CompletedProcess[str]) -> str:
        """All that anybody gets to see of a run."""
        files = [path.read_text() for path in (self.root / "out").rglob("*") if path.is_file()]
        said = [(self.root / "termination").read_text(), json.dumps(self.verdict)] if files else []
        return "\n".join([result.stdout, result.stderr, *files, *said])


@pytest.fixture
def data_bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, "validate-data")


@pytest.fixture
def model_bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, "validate-model")
