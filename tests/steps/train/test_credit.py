"""The two one-file steps of the model `credit`."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from lockgate_model import load
from lockgate_step import read_contract

from tests.steps.train.pensions import ROOT, SPEC, Call, parquet, people

CREDIT = ROOT / "pipelines" / "credit"


@pytest.fixture
def io(tmp_path: Path) -> Path:
    """Inputs without missing values, as this trainer requires."""
    (tmp_path / "in").mkdir()
    whole: dict[str, Any] = {**SPEC, "inputs": [{**column, "missing": False} for column in SPEC["inputs"]]}
    (tmp_path / "in" / "spec").write_text(json.dumps(whole))
    parquet(people().dropna().drop(columns=["sex", "origin"]), tmp_path / "in" / "rows")
    return tmp_path


def test_balance_repeats_rows_of_the_rarer_label(io: Path) -> None:
    rows = pd.read_parquet(io / "in" / "rows")
    rare = rows["granted"] == "no"
    parquet(pd.concat([rows[rare].head(40), rows[~rare]]), io / "in" / "rows")
    outputs = []
    for seed in ("0", "0", "1"):
        code, log = Call(io)("--seed", seed, module="pipelines/credit/balance.py")
        assert code == 0, log
        outputs.append(pq.read_table(io / "out" / "balanced"))
    first, again, other = outputs
    assert first.equals(again)
    assert not first.equals(other)
    counts = Counter(first["granted"].to_pylist())
    assert counts["no"] == counts["yes"] == int((~rare).sum())
    given = {tuple(row.values()) for row in pq.read_table(io / "in" / "rows").to_pylist()}
    assert {tuple(row.values()) for row in first.to_pylist()} == given


def test_fit_writes_a_model_that_answers(io: Path) -> None:
    code, log = Call(io)(module="pipelines/credit/fit.py")
    assert code == 0, log
    predictor = load(io / "out" / "model")
    assert predictor.card.format == "onnx"
    rows = pd.read_parquet(io / "in" / "rows")
    labels, _ = predictor.predict({column.name: rows[column.name].tolist() for column in predictor.card.inputs})
    assert (np.array(labels) == rows["granted"]).mean() > 0.7


def test_a_column_too_few_is_a_bad_call(io: Path) -> None:
    rows = pd.read_parquet(io / "in" / "rows")
    parquet(rows.drop(columns=["granted"]), io / "in" / "rows")
    code, log = Call(io)(module="pipelines/credit/balance.py")
    assert code == 2
    assert "granted" in log


@pytest.mark.parametrize("name", ["balance", "fit"])
def test_each_states_its_contract_and_packages(name: str) -> None:
    (contract,) = read_contract(CREDIT / f"{name}.py")
    assert contract["program"] == name
    assert (CREDIT / f"{name}.py").read_text().startswith("# /// script\n")
