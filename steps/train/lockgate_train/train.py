"""Fit a pipeline on the training rows."""

import warnings
from collections.abc import Sequence

from lockgate_step import BadCall, Column, log
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils._param_validation import InvalidParameterError
from threadpoolctl import threadpool_limits

from lockgate_train.estimators import columns
from lockgate_train.mitigation import Mitigation, Rows, mitigated
from lockgate_train.rows import Training


def fit(
    training: Training,
    inputs: Sequence[Column],
    estimator: BaseEstimator,
    plan: Mitigation | None = None,
) -> Pipeline:
    """Fit the encoder of the spec's columns and the estimator, with mitigation if there is a plan.

    Errors: BadCall if the estimator rejects a parameter's value or the rows.
    """
    encoder = columns(inputs, estimator)
    # One thread: sums of floats are then the same on every machine, and small data is faster.
    with threadpool_limits(limits=1), warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        features = encoder.fit_transform(training.inputs)
        try:
            fitted = (
                estimator.fit(features, training.labels)
                if plan is None
                else mitigated(estimator, Rows(features, training.labels), plan)
            )
        except InvalidParameterError as error:
            raise BadCall(str(error), fix="change that value in the setting `parameters`") from error
        except ValueError as error:  # its message may contain data
            msg = f"{type(estimator).__name__} cannot be fitted to these rows ({type(error).__name__})"
            raise BadCall(msg, fix="choose another estimator, or other parameters") from error
    for kind in sorted({warning.category.__name__ for warning in raised}):
        log("warning", kind=kind, count=sum(warning.category.__name__ == kind for warning in raised))
    return Pipeline([("columns", encoder), ("estimator", fitted)])
