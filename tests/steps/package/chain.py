"""A small chain of really signed records about a small model folder, and the environment of package."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lockgate_package.evidence import Files
from lockgate_proof import GATES_OF_A_BUNDLE, Trust, TrustedKey, new_key, sign
from lockgate_step import canonical, file_digest, sha256, tree_digest

SIGNERS = ("ingest", "predict", "validate-data", "validate-model", "bias-audit", "package", "waive")

SPEC: dict[str, Any] = {
    "name": "adult-income",
    "owner": "labour-statistics@example.gc.ca",
    "classification": "unclassified",
    "description": "Who earns more than $50,000 a year? <i>",
    "data": {"uri": "data/adult.csv.gz", "format": "csv"},
    "target": {"name": "income", "positive": ">50K", "negative": "<=50K", "spellings": {}},
    "inputs": [
        {"name": "age", "kind": "number", "low": 17, "high": 90, "whole": True, "missing": False, "unit": "years"},
        {"name": "job", "kind": "category", "values": ["clerk", "o'brien & sons"], "missing": True},
    ],
    "sensitive": [{"name": "sex", "kind": "category", "values": ["Female", "Male"], "missing": False}],
    "split": {"test_share": 0.25, "key": [], "seed": "adult-income"},
    "train": {"estimator": "sklearn.linear_model.LogisticRegression"},
    "tunable": [],
}  # fmt: skip

MODEL: dict[str, Any] = {
    "format": "onnx",
    "file": "model.onnx",
    "inputs": SPEC["inputs"],
    "labels": {"negative": "<=50K", "positive": ">50K"},
    "threshold": 0.5,
    "trusted": [],
    "versions": {"scikit-learn": "1.9.1", "onnx": "1.23.2"},
    "differences": {"rows": 5000, "labels": 2, "largest_score": 6e-7},
}

GOLDEN: dict[str, Any] = {
    "tolerance": 1e-5,
    "requests": [{"age": 30.0 + n, "job": None if n % 2 else "clerk"} for n in range(5)],
    "answers": [{"label": "<=50K", "score": 0.25} for _ in range(5)],
}

POLICY = """\
[[quality]]
measure  = "accuracy"
at_least = 0.84
why      = "Below this the old form was better."

[[bias]]
between = ["sex"]
measure = "selection_rate_difference"
at_most = 0.15
why     = "Men and women must be selected at rates the programme can defend."
"""


@dataclass
class Chain:
    """The inputs of package as the earlier steps write them; a test may change them and sign again."""

    root: Path
    spec: dict[str, Any]
    verdicts: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def inputs(self) -> Path:
        return self.root / "in"

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def files(self) -> Files:
        names = {"validate-data": "data_verdict", "validate-model": "quality_verdict", "bias-audit": "bias_verdict"}
        return Files(
            model=self.inputs / "model",
            data=self.inputs / "data",
            answers=self.inputs / "answers",
            verdicts={gate: self.inputs / name for gate, name in names.items()},
            spec=self.inputs / "spec",
            policy=self.inputs / "policy",
            waivers=self.inputs / "waivers",
        )

    def key(self, signer: str) -> Path:
        return self.root / "keys" / f"{signer}.pem"

    def trust(self) -> Trust:
        return Trust.read(self.root / "environment" / "trust.json")

    def subjects(self) -> dict[str, str]:
        return {
            "model": tree_digest(self.inputs / "model"),
            "data": sha256(b"data"),
            "base": sha256(b"base"),
            "spec": file_digest(self.inputs / "spec"),
            "policy": file_digest(self.inputs / "policy"),
        }

    def sign_all(self) -> None:
        """Sign every record about the present bytes."""
        self.sign_data({"spec": file_digest(self.inputs / "spec")})
        self.sign_answers({})
        for gate in self.files.verdicts:
            self.sign_verdict(gate, {})

    def sign_data(self, subjects: Mapping[str, str], *, model: str = "adult-income") -> None:
        about = {name: self.subjects()[name] for name in ("data", "base")}
        rest = {name: sha256(name.encode()) for name in ("test", "truth", "sensitive", "rows", "spec")}
        said = {
            "model": model,
            "uri": "file:///data/adult.csv.gz",
            "rows": {"total": 40, "train": 30, "test": 10},
            "split": self.spec["split"],
            "base": {"bundle": None, "generation": 0},
        }
        self._write("data", sign("data", {**rest, **about, **subjects}, said, self.key("ingest")))

    def sign_answers(self, subjects: Mapping[str, str]) -> None:
        about = {name: self.subjects()[name] for name in ("model", "data", "base")}
        about |= {"test": sha256(b"test"), "answers": file_digest(self.inputs / "answers" / "answers.parquet")}
        about["golden"] = file_digest(self.inputs / "answers" / "golden.json")
        said = {"model": "adult-income", "rows": 10, "base_problem": None}
        self._write("answers/record.json", sign("answers", {**about, **subjects}, said, self.key("predict")))

    def sign_verdict(self, gate: str, subjects: Mapping[str, str], *, key: str = "", **said: Any) -> None:
        about = {name: self.subjects()[name] for name in GATES_OF_A_BUNDLE[gate]} | dict(subjects)
        predicate = {"model": "adult-income", "gate": gate, "result": "passed", "reasons": [], "notes": [], "run": "r1"}
        predicate |= {"program": {"name": gate, "image": "", "code": ""}, "measurements": MEASUREMENTS[gate]} | said
        envelope = sign("verdict", about, predicate, self.key(key or gate))
        self._write(self.files.verdicts[gate].name, envelope)

    def waive(self, gate: str, rule: str, *, expires: str) -> None:
        about = {name: self.subjects()[name] for name in GATES_OF_A_BUNDLE["bias-audit"]}
        said = {"model": "adult-income", "gate": gate, "reason": rule, "approver": "Ana Diaz", "why": "Pilot only."}
        envelope = sign("waiver", about, said | {"expires": expires}, self.key("waive"))
        self._write("waivers", [{"file": "waivers/pilot.json", "envelope": envelope}])

    def _write(self, name: str, value: object) -> None:
        (self.inputs / name).write_bytes(canonical(value))


MEASUREMENTS: dict[str, dict[str, Any]] = {
    "validate-data": {"expectations": 12, "critical": 9, "met": 11, "train_rows": 30, "test_rows": 10},
    "validate-model": {
        "rows": 10,
        "rules": {
            "quality:accuracy:at_least": {"standing": "within", "limit": 0.84, "value": 0.871, "low": 0.85, "high": 0.9}
        },
        "measures": {
            "accuracy": {"value": 0.871, "low": 0.85, "high": 0.9},
            "brier": {"value": 0.09, "low": 0.08, "high": 0.1},
            "f1": {"value": None, "low": None, "high": None},
        },
        "live": {"accuracy": {"value": 0.866, "low": 0.84, "high": 0.89}},
        "gain": {"accuracy": {"value": 0.005, "low": -0.01, "high": 0.02}},
    },
    "bias-audit": {
        "rows": 10,
        "rules": {
            "bias:sex:selection_rate_difference": {
                "standing": "within", "limit": 0.15, "value": None, "low": 0.08, "high": 0.14,
            }
        },
        "groups": {
            "sex": [
                {"group": "Female", "rows": 5421, "selection_rate": 0.084, "accuracy": None},
                {"group": "Male", "rows": None, "selection_rate": 0.192, "accuracy": 0.84},
            ]
        },
    },
}  # fmt: skip


def make_chain(root: Path) -> Chain:
    """Make everything that package needs in one folder, with valid records."""
    made = Chain(root, SPEC)
    for folder in ("in/model", "in/answers", "out", "environment", "key", "keys", "tmp"):
        (root / folder).mkdir(parents=True)
    keys = [TrustedKey(new_key(made.key(signer)), (signer,), f"{signer}@example.gc.ca") for signer in SIGNERS]
    (root / "environment" / "trust.json").write_bytes(Trust(tuple(keys)).to_bytes())
    (root / "environment" / "store").write_text(made.store.as_uri())
    (root / "key" / "private.pem").write_bytes(made.key("package").read_bytes())
    (made.inputs / "spec").write_text(json.dumps(SPEC))
    (made.inputs / "policy").write_text(POLICY)
    (made.inputs / "waivers").write_text("[]")
    (made.inputs / "model" / "model.json").write_bytes(canonical(MODEL))
    (made.inputs / "model" / "model.onnx").write_bytes(b"a tiny graph")
    (made.inputs / "model" / "golden.json").write_bytes(canonical(GOLDEN))
    (made.inputs / "answers" / "answers.parquet").write_bytes(b"answers")
    (made.inputs / "answers" / "golden.json").write_bytes(canonical(GOLDEN))
    made.sign_all()
    return made


def run(chain: Chain) -> subprocess.CompletedProcess[str]:
    """Run the program as the engine does."""
    command = [sys.executable, "-m", "lockgate_package"]
    environment = {**os.environ, "LOCKGATE_IO": str(chain.root)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def last(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the last line of the log."""
    return dict(json.loads(done.stderr.strip().splitlines()[-1]))
