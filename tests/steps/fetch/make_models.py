"""Make the models in `models/`. Run it in train's environment, with steps/sdk on PYTHONPATH, to change one."""

import shutil
from pathlib import Path

import lockgate_model
import numpy as np
import pandas as pd
from lockgate_model import Labels
from lockgate_step import Category, Number
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

MODELS = Path(__file__).parent / "models"
INPUTS = (Number(name="income", low=0, high=100), Category(name="job", values=("clerk", "nurse"), missing=True))


def fitted(rows: pd.DataFrame, labels: np.ndarray) -> object:
    """Fit a pipeline on both columns."""
    columns = make_column_transformer(
        ("passthrough", ["income"]), (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["job"])
    )
    return make_pipeline(columns, LogisticRegression()).fit(rows, labels)


def main() -> None:
    """Make all models again."""
    draw = np.random.default_rng(0)
    income = draw.integers(0, 101, 400).astype(np.float32).astype(float)
    rows = pd.DataFrame({"income": income, "job": draw.choice(["clerk", "nurse", ""], 400).astype(object)})
    paid = (rows["income"] + 20 * (rows["job"] == "nurse") + draw.normal(0, 10, 400) > 55).to_numpy().astype(int)
    shutil.rmtree(MODELS, ignore_errors=True)
    labels = Labels(negative="no", positive="yes")
    for form in ("onnx", "skops"):
        lockgate_model.write(MODELS / form, fitted(rows, paid), inputs=INPUTS, labels=labels, rows=rows, form=form)
    columns = [("income", FloatTensorType([None, 1])), ("job", StringTensorType([None, 1]))]
    graphs = {
        "strings": (fitted(rows, np.where(paid, "yes", "no")), columns, False),
        "others": (fitted(rows, np.where(paid, "paid", "owed")), columns, False),
        "zipped": (fitted(rows, paid), columns, True),
        "matrix": (LogisticRegression().fit(rows[["income"]], paid), [("X", FloatTensorType([None, 1]))], False),
    }
    for name, (model, types, zipmap) in graphs.items():
        options, opsets = {id(model): {"zipmap": zipmap}}, {"": 18, "ai.onnx.ml": 3}
        graph = to_onnx(model, initial_types=types, options=options, target_opset=opsets)
        (MODELS / f"{name}.onnx").write_bytes(graph.SerializeToString())


if __name__ == "__main__":
    main()
