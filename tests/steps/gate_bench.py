"""A gate's real environment: folders, keys, trust file, and records signed as ingest and predict sign them.

Shared by the suites of validate and bias-audit; imports only packages that both steps' locks contain.
"""

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
from lockgate_proof import Statement, Trust, TrustedKey, new_key, sign, verify
from lockgate_step import canonical, file_digest, sha256

MODULES = {
    "validate-data": ("lockgate_validate", "validate-data"),
    "validate-model": ("lockgate_validate", "validate-model"),
    "bias-audit": ("lockgate_bias_audit",),
}
TABLES = ("rows", "test", "truth", "sensitive", "train_sensitive")
Columns = Mapping[str, Sequence[object]]


@dataclass
class Bench:
    """One program's `$LOCKGATE_IO`, filled by hand.

    live: the digest of the live bundle that ingest froze, if any.
    """

    root: Path
    program: str
    spec: dict[str, Any]
    policy: str
    live: str | None = None
    base_problem: str | None = None
    unlabelled: dict[str, Any] | None = None
    copies: dict[str, Any] | None = None
    data_subjects: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        signers = ("ingest", "predict", self.program, "waive")
        publics = {name: new_key(self.root / "keys" / f"{name}.pem") for name in signers}
        keys = tuple(TrustedKey(public, (name,), f"{name}@example.org") for name, public in publics.items())
        self.trust = Trust(keys, untrusted_elsewhere=True)
        for folder in ("in/answers", "out", "environment", "key", "tmp"):
            (self.root / folder).mkdir(parents=True)
        (self.root / "environment" / "trust.json").write_bytes(self.trust.to_bytes())
        (self.root / "key" / "private.pem").write_bytes((self.root / "keys" / f"{self.program}.pem").read_bytes())
        self.path("expectations").write_text("[]")

    def path(self, name: str) -> Path:
        """The path of an input."""
        return self.root / "in" / name

    def out(self, name: str) -> Path:
        """The path of an output."""
        return self.root / "out" / name

    def sign(self, kind: str, signer: str, subjects: Mapping[str, str], predicate: Mapping[str, Any]) -> bytes:
        """A record signed with the signer's own key."""
        return canonical(sign(kind, subjects, predicate, self.root / "keys" / f"{signer}.pem"))

    def freeze(self, tables: Mapping[str, Columns]) -> None:
        """Write the tables, and sign the data record over them as ingest would."""
        for name, columns in tables.items():
            arrays = {column: _array(values) for column, values in columns.items()}
            pq.write_table(pa.table(arrays), self.path(name))
        self.path("spec").write_bytes(canonical(self.spec))
        self.path("policy").write_text(self.policy)
        self.attest()

    def attest(self) -> None:
        """Sign the data record over the current files."""
        fixed = {name: sha256(name.encode()) for name in ("data", "test", "rows", "base")}
        present = {name: file_digest(self.path(name)) for name in (*TABLES, "spec") if self.path(name).exists()}
        test, train = (
            pq.read_metadata(self.path(name)).num_rows if self.path(name).exists() else 0 for name in ("truth", "rows")
        )
        frozen = {
            "model": self.spec["name"],
            "rows": {"total": test + train, "train": train, "test": test},
            "base": {"bundle": self.live, "generation": 0},
            "unlabelled": self.unlabelled,
            **({"copies": self.copies} if self.copies else {}),
        }
        self.data_subjects = fixed | present
        self.path("data").write_bytes(self.sign("data", "ingest", self.data_subjects, frozen))

    def answer(
        self,
        labels: Sequence[str | None],
        scores: Sequence[float | None] | None = None,
        base: tuple[Sequence[str], Sequence[float]] | None = None,
    ) -> None:
        """Write the answers, and the base's if there are any; sign the record over them as predict would."""
        own = scores if scores is not None else [0.9 if label == "high" else 0.1 for label in labels]
        given = {"answers": (labels, own)} | ({"base": base} if base else {})
        for name, (said, score) in given.items():
            table = pa.table({"label": pa.array(said, pa.string()), "score": pa.array(score, pa.float64())})
            pq.write_table(table, self.path("answers") / f"{name}.parquet")
        self.attest_answers()

    def attest_answers(self) -> None:
        """Sign the answers record over the current files."""
        folder = self.path("answers")
        subjects = {name: self.data_subjects[name] for name in ("data", "test", "base")} | {"model": sha256(b"model")}
        for name, file in (("answers", "answers.parquet"), ("base-answers", "base.parquet")):
            if (folder / file).exists():
                subjects[name] = file_digest(folder / file)
        rows = pq.read_metadata(self.path("truth")).num_rows
        said = {"model": self.spec["name"], "rows": rows, "base_problem": self.base_problem}
        (folder / "record.json").write_bytes(self.sign("answers", "predict", subjects, said))

    def run(self, *settings: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the program as a workflow does."""
        return subprocess.run(
            [sys.executable, "-m", *MODULES[self.program], *settings],
            env={**os.environ, "LOCKGATE_IO": str(self.root), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def statement(self) -> Statement:
        """The signed verdict, verified."""
        return verify(self.out("verdict"), self.trust, signer=self.program, kind="verdict")

    @property
    def verdict(self) -> dict[str, Any]:
        """The content of the signed verdict."""
        return dict(self.statement.predicate)

    @property
    def report(self) -> str:
        """The report page."""
        return self.out("report").read_text()

    def everything(self, result: subprocess.CompletedProcess[str]) -> str:
        """Everything of a run that anybody can see."""
        files = [path.read_text() for path in (self.root / "out").rglob("*") if path.is_file()]
        said = [json.dumps(self.verdict)] if self.out("verdict").exists() else []
        ended = self.root / "termination"
        return "\n".join([result.stdout, result.stderr, *files, *said, ended.read_text() if ended.exists() else ""])


def _array(values: Sequence[object]) -> pa.Array:
    """As ingest writes it: numbers float64, everything else text."""
    return pa.array(values, pa.float64() if any(isinstance(value, float) for value in values) else pa.string())
