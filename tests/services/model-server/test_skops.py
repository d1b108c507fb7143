"""A model that stays scikit-learn is served in the same way."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tiny_bundle
from lockgate_model import Labels, write
from lockgate_step import read_columns
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from tiny_bundle.child import serving

ROWS = pd.DataFrame(
    {
        "age": [20.0, 30.0, 40.0, 50.0, 60.0, 70.0] * 20,
        "hours": [10.0, 20.0, 30.0, 40.0, 50.0, 60.0] * 20,
        "occupation": ["Exec", "Clerk", "Exec", "Clerk", "Exec", "Exec"] * 20,
    }
)


def test_a_skops_model_answers_as_the_native_one(authority: tiny_bundle.Authority, io: Path, tmp_path: Path) -> None:
    prepare = ColumnTransformer(
        [
            ("number", SimpleImputer(), ["age", "hours"]),
            ("category", OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["occupation"]),
        ]
    )
    pipeline = make_pipeline(prepare, LogisticRegression()).fit(ROWS, [0, 0, 0, 1, 1, 1] * 20)
    card = write(
        tmp_path / "model",
        pipeline,
        inputs=read_columns(tiny_bundle.INPUTS),
        labels=Labels(negative="low", positive="high"),
        rows=ROWS,
        form="skops",
    )
    assert card.format == "skops"
    authority.write_bundle(tmp_path / "bundle", other=tmp_path / "model")
    asked: list[dict[str, Any]] = [
        {"age": 25.0, "hours": 55.0, "occupation": "Clerk"},
        {"age": 66.0, "hours": None, "occupation": None},
    ]
    with serving(tmp_path / "bundle", io, tmp_path / "log") as server:
        said = server.infer(tiny_bundle.request(asked)).json
    scores = next(output["data"] for output in said["outputs"] if output["name"] == "score")
    native = pipeline.predict_proba(pd.DataFrame(asked).fillna({"occupation": ""}))[:, 1]
    assert scores == pytest.approx(native.tolist(), abs=1e-12)
