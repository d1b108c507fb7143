"""The table that a scikit-learn pipeline is called with.

Numbers are float32 in every form of a model, because ONNX takes float32. Histogram boosting splits at values of the
data, so a model fitted on more precise numbers would give other answers for exactly its training rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from lockgate_step import Category, Column, Number


def frame(columns: Mapping[str, Sequence[Any]], inputs: Sequence[Column]) -> pd.DataFrame:
    """Return the inputs in the model's order; a missing number is NaN, a missing category the empty string."""
    return pd.DataFrame({column.name: _series(column, columns[column.name]) for column in inputs})


def _series(column: Column, values: Sequence[Any]) -> pd.Series:
    match column:
        case Number():
            numbers = np.asarray([np.nan if value is None else value for value in values], dtype=np.float32)
            return pd.Series(numbers.astype(np.float64))
        case Category():
            # `object`, because scikit-learn's encoders do not know the missing value of pandas' own string type.
            return pd.Series(["" if value is None else value for value in values], dtype=object)
