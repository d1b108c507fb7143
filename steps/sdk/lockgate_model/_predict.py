"""Loads the served form of a model and predicts with it."""

import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
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
Scores = Callable[[Columns], "NDArray[np.float64]"]

_ROUNDING = 1e-5  # a forest's sums of float32 shares can be slightly above one


@dataclass(frozen=True)
class Predictor:
    """A loaded model.

    at_once: the scores of a graph in one run of all rows, for a graph that is not proved to compute each row by itself;
        it is served one row at a time, and predict shows that this makes no difference.
    """

    card: ModelCard
    scores: Scores
    at_once: "Callable[[Columns], NDArray[np.float64] | None] | None" = None

    def predict(self, columns: Columns) -> tuple[list[str], list[float]]:
        """Return one label and one score per row; `columns` has every input, with None for a missing value.

        Errors: BadModel if a score is not a probability.
        """
        scores = self.scores(columns)
        return decide(scores, self.card.labels, self.card.threshold), scores.tolist()


def decide(scores: "NDArray[np.float64]", labels: Labels, threshold: float) -> list[str]:
    """Return the label of each score: positive from the threshold upwards, in every form of a model."""
    return [labels.positive if positive else labels.negative for positive in (scores >= threshold).tolist()]


def load(folder: str | os.PathLike[str], *, accepted: Collection[str] = ()) -> Predictor:
    """Load the model of a model folder without running code from it; predict and the server both use it.

    accepted: ONNX operators beside those on the list, which the model's policy accepts.
    Errors: BadModel if the file is damaged, does not match model.json, or contains a type that is not allowed;
        UnsafeModel if a graph uses an operator that is not allowed, or reads beyond a row.
    """
    card = read(folder)
    path = Path(folder) / card.file
    if not path.is_file():
        msg = f"model.json names {card.file!r}, which is not in the model folder"
        raise BadModel(msg, fix="write the model again with train or fetch")
    match card.format:
        case "onnx":
            predictor = _onnx(path, card, accepted)
        case "skops":
            predictor = Predictor(card, _checked(_skops(path, card)))
    _try(predictor)
    return predictor


def open_session(path: Path, *, accepted: Collection[str] = ()) -> Any:
    """Check the operators of a graph that has no model.json yet, and load it for any number of rows.

    Errors: BadModel, UnsafeModel.
    """
    from lockgate_model._operators import parse
    from lockgate_model._session import session_of

    return session_of(parse(path.read_bytes(), accepted).SerializeToString())


def accepted_operators(policy: Path) -> frozenset[str]:
    """Return the ONNX operators that a policy.toml accepts beside those on the list.

    Errors: BadCall if the policy cannot be read.
    """
    from lockgate_policy import read_given

    return frozenset(entry.operator for entry in read_given(policy).operators)


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


def _checked(scores: Scores) -> Scores:
    import numpy as np

    def checked(columns: Columns) -> "NDArray[np.float64]":
        found = scores(columns)
        if not np.all((found > -_ROUNDING) & (found < 1 + _ROUNDING)):  # NaN fails both comparisons
            msg = "the model returns scores that are not probabilities"
            raise BadModel(msg, fix="check how it was trained; its last layer must return probabilities")
        return found.clip(0.0, 1.0)

    return checked


def _onnx(path: Path, card: ModelCard, accepted: Collection[str]) -> Predictor:
    from lockgate_model._session import open_graph

    try:
        graph = open_graph(path.read_bytes(), card.inputs, accepted)
    except BadModel as error:
        msg = f"{card.file}: {error.message}"
        raise type(error)(msg, fix=error.fix) from error

    def feed(columns: Columns) -> dict[str, "NDArray[Any]"]:
        return {column.name: _tensor(column, columns[column.name]) for column in card.inputs}

    at_once = None if graph.proved else lambda columns: graph.run_at_once(feed(columns))
    return Predictor(card, _checked(lambda columns: graph.run(feed(columns))), at_once)


def _tensor(column: Column, values: Sequence[Value]) -> "NDArray[Any]":
    import numpy as np

    match column:
        case Number():
            return np.asarray(values, dtype=np.float32).reshape(-1, 1)  # None becomes NaN
        case Category():
            return np.asarray(["" if value is None else value for value in values], dtype=object).reshape(-1, 1)


def _skops(path: Path, card: ModelCard) -> Scores:
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
