"""Makes the golden answers that predict signs: smoke-test replays them, and they are the sample that callers see."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lockgate_model import UnsafeModel
from lockgate_model_server.check import Accepted, Tensor, Value, check
from lockgate_step import Category, Column, Number, canonical, synthetic_rows

from lockgate_predict.answers import Answered

TOLERANCE = 1e-5  # of a score: another processor may round a sum of float32 numbers in another way
_ROWS = 40
_DRAWN = 1000  # values of a column to draw from
_RANGE = 11  # values of a number's range
_WRITE = "write the model again with train or fetch"


def golden(answered: Answered, model: Path) -> bytes:
    """Return golden.json: synthetic rows and the answers of the model that was judged.

    The rows are drawn column by column from values that at least ten of the test rows share, so none is a person's; a
    column without such values is drawn from the spec's range or categories.
    Errors: UnsafeModel if the golden answers in the model's own folder are not what it answers.
    """
    predictor = answered.runtime.predictor
    _check_own(answered, model)
    pools = {column.name: _drawn_from(column, answered.sample[column.name]) for column in predictor.card.inputs}
    rows = synthetic_rows(pools, _ROWS, support=1)
    labels, scores = predictor.predict(_columns(predictor.card.inputs, rows))
    clear = [i for i, score in enumerate(scores) if abs(score - predictor.card.threshold) > 10 * TOLERANCE]
    clear = clear or list(range(len(rows)))  # every score at the threshold
    return canonical(
        {
            "tolerance": TOLERANCE,
            "requests": [rows[i] for i in clear],
            "answers": [{"label": labels[i], "score": scores[i]} for i in clear],
        }
    )


def _check_own(answered: Answered, model: Path) -> None:
    """Check the golden answers that the model's author wrote."""
    card, predictor = answered.runtime.predictor.card, answered.runtime.predictor
    try:
        said = json.loads((model / "golden.json").read_bytes())
        rows, wanted = said["requests"], [(str(each["label"]), float(each["score"])) for each in said["answers"]]
        given = _columns(card.inputs, rows)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"golden.json of the model cannot be read ({type(error).__name__})"
        raise UnsafeModel(msg, fix=_WRITE) from error
    datatypes = {Number: "FP64", Category: "BYTES"}
    tensors = [Tensor(c.name, datatypes[type(c)], [len(rows)], given[c.name]) for c in card.inputs]
    checked = check(card.inputs, tensors)
    if not isinstance(checked, Accepted) or len(rows) != len(wanted):
        msg = "golden.json of the model has requests that the model does not take"
        raise UnsafeModel(msg, fix=_WRITE)
    found = zip(*predictor.predict(checked.columns), strict=True)
    wrong = sum(
        label != own or not abs(score - mine) <= TOLERANCE  # so that NaN is wrong
        for (label, score), (own, mine) in zip(found, wanted, strict=True)
    )
    if wrong:
        msg = f"{wrong} of {len(rows)} answers in the model's golden.json are not what the model answers"
        raise UnsafeModel(msg, fix=_WRITE)


def _columns(inputs: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    return {column.name: [row[column.name] for row in rows] for column in inputs}


def _drawn_from(column: Column, values: Sequence[Value]) -> list[Value]:
    """Return values that a synthetic row of this column may have."""
    try:
        found = [row[column.name] for row in synthetic_rows({column.name: values}, _DRAWN, seed=1)]
    except ValueError:
        found = _of_the_spec(column)
    if not isinstance(column, Number):
        return found
    within = [max(column.low, min(column.high, value)) if isinstance(value, float) else value for value in found]
    return [float(round(value)) if column.whole and isinstance(value, float) else value for value in within]


def _of_the_spec(column: Column) -> list[Value]:
    missing: list[Value] = [None] if column.missing else []
    match column:
        case Category():
            return [*column.values, *missing]
        case Number():
            ends = [end for end in (column.low, column.high) if math.isfinite(end)] or [0.0]
            step = (ends[-1] - ends[0]) / (_RANGE - 1)
            return [ends[0] + step * i for i in range(_RANGE)] + missing
