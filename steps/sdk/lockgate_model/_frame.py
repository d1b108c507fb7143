"""The table a scikit-learn pipeline is called with.

Numbers are float32 in every form of a model, as ONNX takes them. Histogram boosting splits at values of the data, so a
model fitted on finer numbers would answer differently for exactly the rows it learnt from.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from lockgate_step import Category, Column, Number


def frame(columns: Mapping[str, Sequence[Any]], inputs: Sequence[Column]) -> pd.DataFrame:
    """The inputs in the model's order: a missing number is NaN, a missing category the empty string."""
    return pd.DataFrame({column.name: _series(column, columns[column.name]) for column in inputs})


def _series(column: Column, values: Sequence[Any]) -> pd.Series:
    match column:
        case Number():
            numbers = np.asarray([np.nan if value is None else value for value in values], dtype=np.float32)
            return pd.Series(numbers.astype(np.float64))
        case Category():
            # `object`, because pandas' own string type keeps a missing value that scikit-learn's encoders do not know.
            return pd.Series(["" if value is None else value for value in values], dtype=object)
