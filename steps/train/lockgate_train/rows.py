"""Read the inputs of `train`, and refuse rows on which no valid model can be fitted."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from lockgate_model import Labels
from lockgate_step import BadCall, Category, Column, Number, SpecFile
from numpy.typing import NDArray

_FEWEST = 50  # rows; fewer do not allow a model, nor golden requests that match no person
_FEWEST_IN_GROUP = 30  # rows; smaller groups are mitigated as one group


@dataclass(frozen=True)
class Problem:
    """The part of the spec that train needs."""

    inputs: tuple[Column, ...]
    target: str
    labels: Labels
    sensitive: tuple[str, ...]

    @classmethod
    def of(cls, spec: SpecFile) -> "Problem":
        """Read it from the spec."""
        return cls(
            inputs=spec.inputs,
            target=spec.target.name,
            labels=Labels(negative=spec.target.negative, positive=spec.target.positive),
            sensitive=tuple(column.name for column in spec.sensitive),
        )


@dataclass(frozen=True)
class Training:
    """The inputs in the form that scikit-learn takes, and the labels: 1 for a positive row, else 0."""

    inputs: pd.DataFrame
    labels: NDArray[np.int64]


def table(path: Path, problem: Problem) -> Training:
    """Read the training rows, and check every column against the spec.

    Errors: BadCall that names the column that does not match.
    """
    rows = pq.read_table(path)
    _expect_columns(rows.column_names, problem)
    if rows.num_rows < _FEWEST:
        msg = f"only {rows.num_rows} training rows; at least {_FEWEST} are needed"
        raise BadCall(msg, fix="provide more data, or a smaller test share")
    inputs = pd.DataFrame({column.name: _values(rows[column.name], column) for column in problem.inputs})
    return Training(inputs, _labels(rows[problem.target], problem))


def groups(path: Path | None, problem: Problem, mitigate: str, rows: int) -> NDArray[np.str_]:
    """Return the group of each training row; several columns form intersections, and small groups are one group.

    Errors: BadCall if the sensitive columns are missing or do not match.
    """
    if path is None:
        msg = "a mitigation needs the sensitive columns, but train got none"
        raise BadCall(msg, fix="pass `sensitive=` to train in the pipeline, or set mitigation to none")
    names = [name.strip() for name in mitigate.split(",") if name.strip()] or list(problem.sensitive[:1])
    held = pq.read_table(path)
    unknown = [name for name in names if name not in held.column_names]
    if unknown or not names:
        msg = f"no sensitive column is called {', '.join(unknown)}" if unknown else "the spec has no sensitive columns"
        raise BadCall(msg, fix=f"the sensitive columns are: {', '.join(held.column_names)}")
    if held.num_rows != rows:
        msg = f"the sensitive columns have {held.num_rows} rows, but there are {rows} training rows"
        raise BadCall(msg, fix="use the files of one run of ingest")
    parts = [held[name].cast(pa.string()).fill_null("").to_pylist() for name in names]
    together = pd.Series([" · ".join(part) for part in zip(*parts, strict=True)])
    small = together.map(together.value_counts()) < _FEWEST_IN_GROUP
    merged: NDArray[np.str_] = together.mask(small, "few").to_numpy(dtype=str)
    if len(set(merged.tolist())) < 2:
        msg = f"{', '.join(names)} has the same value in all training rows, so there is nothing to mitigate"
        raise BadCall(msg, fix="mitigate another column, or set mitigation to none")
    return merged


def _expect_columns(found: Sequence[str], problem: Problem) -> None:
    wanted = [*(column.name for column in problem.inputs), problem.target]
    extra = sorted(set(found) - set(wanted))
    if extra:
        msg = f"the rows have columns that are not in the model's inputs: {', '.join(extra)}"
        raise BadCall(msg, fix="add them to ModelSpec.inputs, because callers send exactly those, or drop them")
    missing = [name for name in wanted if name not in found]
    if missing:
        msg = f"the rows do not have the columns {', '.join(missing)}"
        raise BadCall(msg, fix="remove them from ModelSpec.inputs, or keep them in the rows")


def _values(column: pa.ChunkedArray, expected: Column) -> Any:
    if column.null_count and not expected.missing:
        msg = f"column {expected.name!r} has {column.null_count} missing values, but the spec allows none"
        raise BadCall(msg, fix="set missing=True for the column in ModelSpec.inputs, or correct the data")
    match expected:
        case Number():
            return _numbers(column, expected)
        case Category():
            return _categories(column, expected)


def _numbers(column: pa.ChunkedArray, expected: Number) -> NDArray[np.float64]:
    try:
        numbers: NDArray[np.float64] = column.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid as error:
        msg = f"column {expected.name!r} has values that are not numbers"
        raise BadCall(msg, fix="make it a category in ModelSpec.inputs, or correct the data") from error
    if np.isinf(numbers).any() or np.isnan(numbers).sum() > column.null_count:
        msg = f"column {expected.name!r} has numbers that are not finite"
        raise BadCall(msg, fix="write a missing number as a missing value, and correct the others")
    return numbers.astype(np.float32).astype(np.float64)  # the precision of serving


def _categories(column: pa.ChunkedArray, expected: Category) -> NDArray[np.object_]:
    text = column.cast(pa.string())
    known = pc.is_in(text, value_set=pa.array(expected.values, pa.string()))
    foreign = sum(
        1
        for inside, value in zip(known.to_pylist(), text.is_null().to_pylist(), strict=True)
        if not inside and not value
    )
    if foreign:
        msg = f"column {expected.name!r} has {foreign} values that the spec does not list"
        raise BadCall(msg, fix="list them in ModelSpec.inputs, or correct the data")
    values: NDArray[np.object_] = text.fill_null("").to_numpy()
    return values.astype(object)


def _labels(column: pa.ChunkedArray, problem: Problem) -> NDArray[np.int64]:
    text = column.cast(pa.string())
    counts = {entry["values"]: entry["counts"] for entry in pc.value_counts(text).to_pylist()}
    both = (problem.labels.negative, problem.labels.positive)
    foreign = sum(count for label, count in counts.items() if label not in both)
    if foreign:
        msg = f"the target {problem.target!r} is neither of its two labels in {foreign} rows"
        raise BadCall(msg, fix="add the other spellings to the spec's target, or drop those rows")
    absent = [label for label in both if not counts.get(label)]
    if absent:
        msg = f"the target {problem.target!r} is never {absent[0]!r} in the training rows, so there is nothing to learn"
        raise BadCall(msg, fix="check the data and the split: both labels must occur")
    labels: NDArray[np.int64] = pc.equal(text, problem.labels.positive).to_numpy().astype(np.int64)
    return labels
