"""Loads the served form of a model and predicts with it."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockgate_step import Category, Column, Number

from lockgate_model._card import BadModel, Labels, ModelCard, read

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Value = float | int | str | None
Columns = Mapping[str, Sequence[Value]]

_ROUNDING = 1e-5  # a forest's sums of float32 shares can be slightly above one


@dataclass(frozen=True)
class Predictor:
    """A loaded model."""

    card: ModelCard
    scores: Callable[[Columns], "NDArray[np.float64]"]

    def predict(self, columns: Columns) -> tuple[list[str], list[float]]:
        """Return one label and one score per row; `columns` has every input, with None for a missing value.

        Errors: BadModel if a score is not a probability.
        """
        scores = self.scores(columns)
        return decide(scores, self.card.labels, self.card.threshold), [float(score) for score in scores]


def decide(scores: "NDArray[np.float64]", labels: Labels, threshold: float) -> list[str]:
    """Return the label of each score: positive from the threshold upwards, in every form of a model."""
    return [labels.positive if score >= threshold else labels.negative for score in scores]


def load(folder: str | os.PathLike[str], *, threads: int = 1) -> Predictor:
    """Load the model of a model folder without running code from it.

    threads: for the arithmetic; with one, the same row always gets exactly the same score.
    Errors: BadModel if the file is damaged, does not match model.json, or contains a type that is not allowed.
    """
    card = read(folder)
    path = Path(folder) / card.file
    if not path.is_file():
        msg = f"model.json names {card.file!r}, which is not in the model folder"
        raise BadModel(msg, fix="write the model again with train or fetch")
    match card.format:
        case "onnx":
            predictor = Predictor(card, _checked(_onnx(path, card, threads)))
        case "skops":
            predictor = Predictor(card, _checked(_skops(path, card)))
    _try(predictor)
    return predictor


def _try(predictor: Predictor) -> None:
    """Predict one row, so that parts that do not fit together are found now and not by a user."""
    try:
        predictor.scores({column.name: [_some_value(column)] for column in predictor.card.inputs})
    except BadModel:
        raise
    except Exception as error:  # each library raises its own errors
        msg = f"{predictor.card.file} cannot predict a row of its own inputs ({type(error).__name__})"
        raise BadModel(msg, fix="write the model again with train or fetch") from error


def _some_value(column: Column) -> Value:
    match column:
        case Number():
            return column.low if math.isfinite(column.low) else min(column.high, 0.0)
        case Category():
            return column.values[0]


def _checked(
    scores: Callable[[Columns], "NDArray[np.float64]"],
) -> Callable[[Columns], "NDArray[np.float64]"]:
    import numpy as np

    def checked(columns: Columns) -> "NDArray[np.float64]":
        found = scores(columns)
        if not np.all((found > -_ROUNDING) & (found < 1 + _ROUNDING)):  # NaN fails both comparisons
            msg = "the model returns scores that are not probabilities"
            raise BadModel(msg, fix="check how it was trained; its last layer must return probabilities")
        return found.clip(0.0, 1.0)

    return checked


def _onnx(path: Path, card: ModelCard, threads: int) -> Callable[[Columns], "NDArray[np.float64]"]:
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 4  # its warnings do not go to our log, and may contain values
    try:
        # From bytes, so without a folder: the graph cannot read other files.
        session = ort.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base class
        msg = f"{card.file} is not a graph that onnxruntime can run ({type(error).__name__})"
        raise BadModel(msg, fix="convert the model to ONNX again") from error
    _expect_signature(session, card)

    def scores(columns: Columns) -> "NDArray[np.float64]":
        feed = {column.name: _tensor(column, columns[column.name]) for column in card.inputs}
        if not len(next(iter(feed.values()))):
            return np.empty(0)
        (probabilities,) = session.run(["probabilities"], feed)
        return np.asarray(probabilities, dtype=np.float64)[:, 1]

    return scores


def _expect_signature(session: Any, card: ModelCard) -> None:
    wanted = {
        column.name: "tensor(float)" if isinstance(column, Number) else "tensor(string)" for column in card.inputs
    }
    found = {node.name: node.type for node in session.get_inputs()}
    if found != wanted:
        differing = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        msg = f"the inputs of the graph and of model.json differ: {', '.join(differing)}"
        raise BadModel(
            msg, fix="give the graph one input per column: float32 [N,1] for a number, string [N,1] for a category"
        )
    shapes = {node.name: node.shape for node in session.get_outputs()}
    if len(shapes.get("probabilities", ())) != 2 or shapes["probabilities"][1] not in (2, None, "C"):
        msg = "the graph has no output `probabilities` of shape [N,2]"
        raise BadModel(msg, fix="convert with zipmap off, and name the outputs `label` and `probabilities`")


def _tensor(column: Column, values: Sequence[Value]) -> "NDArray[Any]":
    import numpy as np

    match column:
        case Number():
            numbers = [np.nan if value is None else value for value in values]
            return np.asarray(numbers, dtype=np.float32).reshape(-1, 1)
        case Category():
            return np.asarray(["" if value is None else value for value in values], dtype=object).reshape(-1, 1)


def _skops(path: Path, card: ModelCard) -> Callable[[Columns], "NDArray[np.float64]"]:
    import numpy as np
    from threadpoolctl import threadpool_limits

    from lockgate_model._frame import frame
    from lockgate_model._skops import load_pipeline

    pipeline = load_pipeline(path, card)

    def scores(columns: Columns) -> "NDArray[np.float64]":
        table = frame(columns, card.inputs)
        if table.empty:
            return np.empty(0)
        with threadpool_limits(limits=1):
            return np.asarray(pipeline.predict_proba(table), dtype=np.float64)[:, 1]

    return scores
