"""Loads the served form and answers with it."""

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

_ROUNDING = 1e-5  # float32 sums of a forest's shares end a little above one


@dataclass(frozen=True)
class Predictor:
    """A loaded model."""

    card: ModelCard
    scores: Callable[[Columns], "NDArray[np.float64]"]

    def predict(self, columns: Columns) -> tuple[list[str], list[float]]:
        """Labels and scores, one of each a row; `columns` holds every input, missing values as None.

        Errors: BadModel when a score is no probability.
        """
        scores = self.scores(columns)
        return decide(scores, self.card.labels, self.card.threshold), [float(score) for score in scores]


def decide(scores: "NDArray[np.float64]", labels: Labels, threshold: float) -> list[str]:
    """The label of each score: positive from the threshold upwards, whatever form the model has."""
    return [labels.positive if score >= threshold else labels.negative for score in scores]


def load(folder: str | os.PathLike[str], *, threads: int = 1) -> Predictor:
    """Load the model of a model folder without running code from it.

    threads: of the arithmetic; with one, the same row gets the same score to the last bit.
    Errors: BadModel when the file is damaged, is not what model.json says, or holds what is not allowed.
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
    """Ask for one answer, so that parts which do not fit together are found now and not by a user."""
    try:
        predictor.scores({column.name: [_some_value(column)] for column in predictor.card.inputs})
    except BadModel:
        raise
    except Exception as error:  # each library fails in its own ways
        msg = f"{predictor.card.file} cannot answer a row of its own inputs ({type(error).__name__})"
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
        if not np.all((found > -_ROUNDING) & (found < 1 + _ROUNDING)):  # a NaN fails both
            msg = "the model answers with scores that are no probabilities"
            raise BadModel(msg, fix="look at how it was trained; its last layer must give probabilities")
        return found.clip(0.0, 1.0)

    return checked


def _onnx(path: Path, card: ModelCard, threads: int) -> Callable[[Columns], "NDArray[np.float64]"]:
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 4  # its warnings go past our log, and may show values
    try:
        # From bytes, without a folder: a graph that refers to other files cannot reach any.
        session = ort.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises many kinds, each a class of its own
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
        msg = f"the graph and model.json disagree about the inputs {', '.join(differing)}"
        raise BadModel(
            msg, fix="give the graph one input a column: float32 [N,1] for a number, string [N,1] for a category"
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
