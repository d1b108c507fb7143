"""A complete bundle of a model of 708 bytes: signed, verifiable, and small enough to read.

It uses the standard library and the SDK only, so that every test that needs a bundle can make one.
"""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lockgate_proof import Trust, TrustedKey, base_digest, bundle_digest, new_key, sign
from lockgate_step import canonical, file_digest, sha256, tree_digest

NAME = "tiny"
GATES = ("validate-data", "validate-model", "bias-audit", "smoke-test")
SIGNERS = ("ingest", "predict", *GATES, "package", "recall", "deploy", "promote")
INPUTS: list[dict[str, Any]] = [
    {"name": "age", "kind": "number", "low": 17, "high": 90, "whole": True, "missing": False, "unit": "years"},
    {"name": "hours", "kind": "number", "low": 1, "high": 99, "whole": False, "missing": True},
    {"name": "occupation", "kind": "category", "values": ["Exec", "Clerk"], "missing": True},
]
NO_BASE: Mapping[str, Any] = {"bundle": None, "generation": 0}
SPEC: dict[str, Any] = {
    "name": NAME,
    "owner": "tiny@example.org",
    "classification": "unclassified",
    "data": {"uri": "data/rows.csv"},
    "split": {"test_share": 0.25, "key": [], "seed": "tiny"},
    "serving": {"replicas": 2, "max_replicas": 2, "cpu": "50m", "memory": "512Mi"},
    "target": {"name": "income", "positive": "high", "negative": "low", "spellings": {}},
    "inputs": INPUTS,
    "sensitive": [{"name": "sex", "kind": "category", "values": ["F", "M"], "missing": False}],
}
MODEL: dict[str, Any] = {
    "format": "onnx",
    "file": "model.onnx",
    "inputs": INPUTS,
    "labels": {"negative": "low", "positive": "high"},
    "threshold": 0.5,
    "trusted": [],
    "versions": {},
    "differences": {"rows": 3, "labels": 0, "largest_score": 0.0},
}
ROWS: list[dict[str, Any]] = [
    {"age": 50.0, "hours": 60.0, "occupation": "Exec"},
    {"age": 25.0, "hours": None, "occupation": "Clerk"},
    {"age": 38.0, "hours": 12.5, "occupation": None},
]
SCHEMA: dict[str, Any] = {
    "name": NAME,
    "platform": "onnx",
    "inputs": [
        {
            "name": entry["name"],
            "datatype": {"number": "FP64", "category": "BYTES"}[entry["kind"]],
            "shape": [-1],
            "parameters": {key: value for key, value in entry.items() if key != "name"},
        }
        for entry in INPUTS
    ],
    "outputs": [
        {"name": "label", "datatype": "BYTES", "shape": [-1], "parameters": {"values": ["low", "high"]}},
        {
            "name": "score",
            "datatype": "FP64",
            "shape": [-1],
            "parameters": {"low": 0.0, "high": 1.0, "probability_of": "high", "threshold": 0.5},
        },
    ],
}
POLICY = """
[[quality]]
measure = "accuracy"
at_least = 0.5
why = "Better than a coin."

[[smoke]]
measure = "p99_ms"
at_most = 60000
why = "Answers while the caller waits."
"""


def answer(row: Mapping[str, Any]) -> dict[str, Any]:
    """Compute the model's answer from its formula."""
    hours = 40 if row["hours"] is None else row["hours"]
    logit = 0.08 * (row["age"] - 40) + 0.05 * (hours - 40) + (row["occupation"] == "Exec")
    score = 1 / (1 + math.exp(-logit))
    return {"label": "high" if score > 0.5 else "low", "score": score}


def write_model(folder: Path, **changes: object) -> Path:
    """Write the model folder; `changes` to model.json."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(__file__).with_name("model.onnx"), folder / "model.onnx")
    (folder / "model.json").write_bytes(canonical({**MODEL, **changes}))
    golden = {"tolerance": 1e-5, "requests": ROWS, "answers": [answer(row) for row in ROWS]}
    (folder / "golden.json").write_bytes(canonical(golden))
    return folder


class Authority:
    """Every signer's key, and the environment that trusts them."""

    def __init__(self, folder: Path) -> None:
        self.keys = {who: folder / f"{who}.pem" for who in SIGNERS}
        trusted = tuple(TrustedKey(new_key(path), (who,), f"{who}@example.org") for who, path in self.keys.items())
        self.trust = Trust(trusted, untrusted_elsewhere=True)

    def sign(self, who: str, kind: str, subjects: Mapping[str, str], predicate: Mapping[str, object]) -> bytes:
        return canonical(sign(kind, subjects, predicate, self.keys[who]))

    def write_io(self, root: Path, program: str | None = None) -> Path:
        """Write a LOCKGATE_IO folder: trust file, scratch folder, and the key of a program that signs."""
        for name in ("environment", "in", "out", "tmp", "key"):
            (root / name).mkdir(parents=True, exist_ok=True)
        (root / "environment" / "trust.json").write_bytes(self.trust.to_bytes())
        if program:
            shutil.copy(self.keys[program], root / "key" / "private.pem")
        return root

    def staged(self, bundle: str, address: str | None, *, run: str, key: str = "deploy", **changes: object) -> bytes:
        """Make deploy's record of a staged bundle; key and content can be wrong on purpose."""
        said = {"model": NAME, "address": address, "replicas": 1, "run": run, "uid": f"uid-of-{run}", **changes}
        return self.sign(key, "staged", {"bundle": bundle}, said)

    def recalled(self, bundle: str, policy: str, *, key: str = "recall", **changes: object) -> bytes:
        """Make recall's verdict on a bundle that was live before; key and content can be wrong on purpose."""
        live = {"bundle": sha256(b"live"), "generation": 2}
        base = base_digest(sha256(b"live"), 2)
        subjects = {"bundle": bundle, "base": base, "spec": sha256(canonical(SPEC)), "policy": policy}
        said = {"model": NAME, "gate": "recall", "result": "passed", "reasons": [], "notes": [], **changes}
        return self.sign(key, "verdict", subjects, {**said, "measurements": {"live": live}})

    def data_record(self, base: Mapping[str, Any] = NO_BASE, **subjects: str) -> bytes:
        """Make ingest's record, with further subjects by name."""
        nothing = sha256(b"")
        named = {"data": sha256(b"data"), "base": nothing, "spec": sha256(canonical(SPEC)), "test": nothing, **subjects}
        return self.sign("ingest", "data", named, {"model": NAME, "base": dict(base)})

    def write_bundle(
        self,
        folder: Path,
        *,
        policy: str = POLICY,
        other: Path | None = None,
        base: Mapping[str, Any] = NO_BASE,
        image: str = "",
        serving: Mapping[str, Any] | None = None,
        **changes: object,
    ) -> str:
        """Write a bundle as package does; return its digest.

        other: a model folder instead of the tiny one; `changes` to the tiny one's model.json.
        base: what was live when it was judged. image: the image that answered then. serving: changes to the spec's.
        """
        shutil.rmtree(folder, ignore_errors=True)
        model = folder / "model"
        if other is None:
            write_model(model, **changes)
        else:
            shutil.copytree(other, model)
        (folder / "spec.json").write_bytes(canonical({**SPEC, "serving": {**SPEC["serving"], **(serving or {})}}))
        (folder / "schema.json").write_bytes(canonical(SCHEMA))
        (folder / "policy.toml").write_text(policy)
        shutil.copy(model / "golden.json", folder / "golden.json")
        (folder / "data.json").write_bytes(self.data_record(base, spec=file_digest(folder / "spec.json")))
        data = {"data": sha256(b"data"), "base": sha256(b"")}
        judged = {**data, "model": tree_digest(model), "policy": file_digest(folder / "policy.toml")}
        judged["spec"] = file_digest(folder / "spec.json")
        answers = {**{k: judged[k] for k in ("model", "data", "base")}, "test": sha256(b""), "answers": sha256(b"a")}
        answers["golden"] = file_digest(folder / "golden.json")
        answered = {"model": NAME, "rows": 0, "program": {"name": "predict", "image": image, "code": ""}}
        (folder / "answers.json").write_bytes(self.sign("predict", "answers", answers, answered))
        (folder / "verdicts").mkdir()
        subjects = dict.fromkeys(("validate-model", "bias-audit"), judged)
        subjects["validate-data"] = {**judged, "expectations": sha256(b"[]")}
        for gate in subjects:
            said: dict[str, object] = {
                "model": NAME,
                "gate": gate,
                "result": "passed",
                "reasons": [],
                "notes": [],
                "measurements": {},
            }
            (folder / "verdicts" / f"{gate}.json").write_bytes(self.sign(gate, "verdict", subjects[gate], said))
        files = {p.relative_to(folder).as_posix(): file_digest(p) for p in sorted(folder.rglob("*")) if p.is_file()}
        manifest = {"protocol": 1, "model": NAME, "files": files}
        (folder / "manifest.json").write_bytes(canonical(manifest))
        digest = bundle_digest(manifest)
        record = self.sign("package", "bundle", {**judged, "bundle": digest}, {"model": NAME, "registered": None})
        (folder / "record.json").write_bytes(record)
        return digest


def request(rows: Sequence[Mapping[str, Any]], **changes: object) -> dict[str, Any]:
    """Make the Open Inference request of rows; `changes` to its top level."""
    inputs = [
        {
            "name": entry["name"],
            "datatype": "FP64" if entry["kind"] == "number" else "BYTES",
            "shape": [len(rows)],
            "data": [row[entry["name"]] for row in rows],
        }
        for entry in INPUTS
    ]
    return {"inputs": inputs, **changes}


def parse_log(text: str) -> list[dict[str, Any]]:
    """Read the JSON lines of a log."""
    return [json.loads(line) for line in text.splitlines()]
