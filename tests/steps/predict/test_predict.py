"""Runs predict as a process: its files, its exit code and its signed record."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiny_bundle
from lockgate_model import Labels, write
from lockgate_proof import Statement, verify
from lockgate_step import canonical, file_digest, read_columns, sha256, tree_digest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

ROWS: list[dict[str, Any]] = [
    {"age": float(age), "hours": hours, "occupation": occupation}
    for age in range(20, 80)
    for hours, occupation in ((None, "Exec"), (12.5, "Clerk"), (60.0, None))
]


@dataclass
class Run:
    """One LOCKGATE_IO folder on which predict runs."""

    authority: tiny_bundle.Authority
    io: Path
    bundle: str | None = None

    def write_test(self, rows: Sequence[Mapping[str, Any]], **kinds: pa.DataType) -> None:
        names = list(rows[0]) if rows else ["age", "hours", "occupation"]
        usual = {"age": pa.float64(), "hours": pa.float64()}
        schema = pa.schema([(name, kinds.get(name, usual.get(name, pa.string()))) for name in names])
        pq.write_table(pa.Table.from_pylist(list(rows), schema), self.io / "in" / "test")

    def write_spec(self, **changes: object) -> None:
        (self.io / "in" / "spec").write_bytes(canonical({**tiny_bundle.SPEC, **changes}))

    def write_base(self, **changes: object) -> None:
        self.bundle = self.authority.write_bundle(self.io / "in" / "base" / "bundle", **changes)  # type: ignore[arg-type]
        self._write_pointer()

    def _write_pointer(self) -> None:
        pointer = {"bundle": self.bundle, "generation": 3, "model": tiny_bundle.NAME}
        path = self.io / "in" / "base" / "base.json"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(canonical(pointer))

    def write_policy(self, more: str = "") -> None:
        (self.io / "in" / "policy").write_text(tiny_bundle.POLICY + more)

    def sign_data(self, who: str = "ingest", **changes: str) -> None:
        files = {"test": "test", "spec": "spec", "base": "base/base.json"}
        subjects = {name: file_digest(self.io / "in" / path) for name, path in files.items()}
        subjects |= {"data": sha256(b"data"), **changes}
        predicate = {"model": tiny_bundle.NAME, "base": {"bundle": self.bundle, "generation": 3}}
        (self.io / "in" / "data").write_bytes(self.authority.sign(who, "data", subjects, predicate))

    def predict(self, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
        """Run predict; return its exit code and log."""
        argv = [sys.executable, "-m", "lockgate_predict", *arguments]
        environment = {**os.environ, "LOCKGATE_IO": str(self.io), "LOCKGATE_RUN": "run-1"}
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
        assert done.stdout == ""
        return done.returncode, tiny_bundle.parse_log(done.stderr)

    def passes(self, *arguments: str) -> Statement:
        code, log = self.predict(*arguments)
        assert code == 0, log
        return verify(self.io / "out" / "answers" / "record.json", self.authority.trust, signer="predict")

    def refuses(self, code: int, *arguments: str) -> str:
        found, log = self.predict(*arguments)
        assert found == code, log
        assert log[-1]["fix"]
        assert not (self.io / "out" / "answers" / "record.json").exists()
        return str(log[-1]["message"])

    def answers(self, name: str = "answers.parquet") -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = pq.read_table(self.io / "out" / "answers" / name).to_pylist()
        return rows


@pytest.fixture
def run(authority: tiny_bundle.Authority, tmp_path: Path) -> Run:
    made = Run(authority, authority.write_io(tmp_path / "io", "predict"))
    tiny_bundle.write_model(made.io / "in" / "model")
    made.write_test(ROWS)
    made.write_spec()
    made.write_policy()
    made._write_pointer()
    made.sign_data()
    return made


def test_every_row_is_answered_in_order_and_the_record_says_by_what(run: Run) -> None:
    record = run.passes()
    for given, row in zip(run.answers(), ROWS, strict=True):
        wanted = tiny_bundle.answer(row)
        assert given == {"label": wanted["label"], "score": pytest.approx(wanted["score"], abs=1e-6)}
    assert record.kind == "answers"
    assert record.subjects == {
        "answers": file_digest(run.io / "out" / "answers" / "answers.parquet"),
        "golden": file_digest(run.io / "out" / "answers" / "golden.json"),
        "model": tree_digest(run.io / "in" / "model"),
        "test": file_digest(run.io / "in" / "test"),
        "base": file_digest(run.io / "in" / "base" / "base.json"),
        "data": sha256(b"data"),
    }
    said = {key: record.predicate[key] for key in ("model", "rows", "base_problem")}
    assert said == {"model": "tiny", "rows": len(ROWS), "base_problem": None}
    assert {path.name for path in (run.io / "out" / "answers").iterdir()} == {
        "answers.parquet",
        "golden.json",
        "record.json",
    }


def test_the_answers_have_the_schema_the_gates_read(run: Run) -> None:
    run.passes()
    schema = pq.read_schema(run.io / "out" / "answers" / "answers.parquet")
    assert [(field.name, field.type) for field in schema] == [("label", pa.string()), ("score", pa.float64())]


def test_no_batch_size_changes_an_answer(run: Run) -> None:
    digests = {run.passes("--batch", batch).subjects["answers"] for batch in ("1", "7", "4096")}
    assert len(digests) == 1


def test_the_live_version_answers_the_same_rows(run: Run) -> None:
    run.write_base()
    run.sign_data()
    record = run.passes()
    assert run.answers("base.parquet") == run.answers()
    assert record.subjects["base-answers"] == file_digest(run.io / "out" / "answers" / "base.parquet")


def test_a_base_that_refuses_rows_is_a_stated_problem(run: Run) -> None:
    narrow = [{**tiny_bundle.INPUTS[0], "high": 60}, *tiny_bundle.INPUTS[1:]]
    run.write_base(inputs=narrow)
    run.sign_data()
    record = run.passes("--batch", "50")
    assert record.predicate["base_problem"] == "column 'age': 57 of 180 values are above 60"
    assert "base-answers" not in record.subjects
    assert not (run.io / "out" / "answers" / "base.parquet").exists()
    assert len(run.answers()) == len(ROWS)


def test_a_base_that_needs_other_columns_is_a_stated_problem(run: Run) -> None:
    """The candidate takes two columns and stays scikit-learn; the live version needs a third column."""
    inputs = [tiny_bundle.INPUTS[0], tiny_bundle.INPUTS[2]]
    rows = pd.DataFrame({"age": [20.0, 30.0, 60.0, 70.0] * 10, "occupation": ["Exec", "Clerk"] * 20})
    pipeline = make_pipeline(
        make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["occupation"]), remainder="passthrough"),
        LogisticRegression(),
    ).fit(rows, [0, 0, 1, 1] * 10)
    labels = Labels(negative="low", positive="high")
    shutil.rmtree(run.io / "in" / "model")
    write(run.io / "in" / "model", pipeline, inputs=read_columns(inputs), labels=labels, rows=rows, form="skops")
    run.write_test([{"age": row["age"], "occupation": row["occupation"]} for row in ROWS])
    run.write_spec(inputs=inputs)
    run.write_base()
    run.sign_data()
    record = run.passes()
    assert record.predicate["base_problem"] == "column 'hours' is missing"
    assert len(run.answers()) == len(ROWS)


def test_rows_that_the_candidate_refuses_are_counted_and_not_shown(run: Run) -> None:
    bad = [{"age": 91.0, "hours": 3.25, "occupation": "Zookeeper"}] * 3 + [{**ROWS[0], "age": 17.5}]
    run.write_test([*ROWS, *bad])
    run.sign_data()
    message = run.refuses(3, "--batch", "182")
    assert message == (
        "the candidate refuses rows of the test set: column 'age': 3 of 184 values are above 90; "
        "column 'occupation': 3 of 184 values are not among its 2 categories; "
        "column 'age': 1 of 184 values are not whole"
    )
    assert not (run.io / "out" / "answers" / "answers.parquet").exists()


def test_whole_numbers_and_dictionaries_of_texts_are_columns_too(run: Run) -> None:
    rows = [{**row, "age": int(row["age"])} for row in ROWS]
    run.write_test(rows, age=pa.int32(), occupation=pa.dictionary(pa.int8(), pa.string()))
    run.sign_data()
    run.passes()
    assert [given["label"] for given in run.answers()] == [tiny_bundle.answer(row)["label"] for row in ROWS]


@pytest.mark.parametrize("column", ["income", "sex"])
def test_the_target_or_a_sensitive_column_is_never_shown_to_a_model(run: Run, column: str) -> None:
    run.write_test([{**row, column: "x"} for row in ROWS])
    run.sign_data()
    assert column in run.refuses(3)


def test_a_model_that_takes_a_sensitive_column_is_refused(run: Run) -> None:
    inputs = [*tiny_bundle.INPUTS, *tiny_bundle.SPEC["sensitive"]]
    run.write_spec(inputs=inputs)
    tiny_bundle.write_model(run.io / "in" / "model", inputs=inputs)
    run.sign_data()
    assert "sex" in run.refuses(3)


def test_a_model_trained_on_other_inputs_than_the_specs_is_refused(run: Run) -> None:
    wider = [{**tiny_bundle.INPUTS[0], "high": 120}, *tiny_bundle.INPUTS[1:]]
    tiny_bundle.write_model(run.io / "in" / "model", inputs=wider)
    assert run.refuses(3) == "the model and the spec differ in the inputs age"


def test_a_model_whose_labels_are_the_other_way_round_is_refused(run: Run) -> None:
    """Its score would be the probability of the other label."""
    card = json.loads((run.io / "in" / "model" / "model.json").read_bytes())
    labels = {"positive": card["labels"]["negative"], "negative": card["labels"]["positive"]}
    (run.io / "in" / "model" / "model.json").write_bytes(canonical({**card, "labels": labels}))
    assert run.refuses(3).startswith("the model's labels are not those of the spec")


def swap_test(run: Run) -> None:
    run.write_test(ROWS[:-1])


def swap_spec(run: Run) -> None:
    run.write_spec(owner="somebody@example.org")


def swap_base(run: Run) -> None:
    run.write_base()  # the data record still says that nothing is live


def leave_base_out(run: Run) -> None:
    run.write_base()
    run.sign_data()
    shutil.rmtree(run.io / "in" / "base")


def change_base(run: Run) -> None:
    run.write_base()
    run.sign_data()
    (run.io / "in" / "base" / "bundle" / "card.md").write_text("better than it was")


def give_another_bundle_as_base(run: Run) -> None:
    run.write_base()
    run.sign_data()
    run.authority.write_bundle(run.io / "in" / "base" / "bundle", threshold=0.9)


def let_another_program_sign(run: Run) -> None:
    run.sign_data(who="package")


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (swap_test, "the test input is not the one in the data record"),
        (swap_spec, "the spec input is not the one in the data record"),
        (swap_base, "the base input is not the one in the data record"),
        (leave_base_out, "names a live bundle, but the base input is missing"),
        (change_base, "card.md is not in the manifest"),
        (give_another_bundle_as_base, "the bundle's bundle is"),
        (let_another_program_sign, "not signed by a key that may sign as ingest"),
    ],
)
def test_inputs_of_another_run_are_refused(run: Run, tamper: Callable[[Run], None], said: str) -> None:
    tamper(run)
    assert said in run.refuses(3)


def test_an_empty_test_table_is_a_bad_call(run: Run) -> None:
    run.write_test([])
    run.sign_data()
    assert "the test table has no rows" in run.refuses(2)


@pytest.mark.parametrize("batch", ["0", "-1"])
def test_a_batch_of_nothing_is_a_bad_call(run: Run, batch: str) -> None:
    assert "batch" in run.refuses(2, "--batch", batch)


def test_a_damaged_model_is_a_bad_call(run: Run) -> None:
    path = run.io / "in" / "model" / "model.onnx"
    path.write_bytes(path.read_bytes()[:300])
    assert "model.onnx" in run.refuses(2)


def test_a_truncated_table_is_a_bad_call(run: Run) -> None:
    path = run.io / "in" / "test"
    path.write_bytes(path.read_bytes()[:-100])
    run.sign_data()
    assert "damaged" in run.refuses(2)


def test_the_log_counts_rows_and_shows_none(run: Run) -> None:
    _, log = run.predict("--batch", "100")
    assert [(line["done"], line["total"]) for line in log if line["event"] == "progress"] == [(100, 180), (180, 180)]
    assert "Clerk" not in json.dumps(log)
