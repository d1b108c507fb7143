"""Reduce differences between groups while fitting, with Fairlearn's reductions, and keep one deterministic model.

Both reductions fit many models to the same rows with different weights. The model that is kept is the most accurate on
the training rows among those whose difference between groups is within the bound. If there is none, it is the model
with the smallest difference; the gates then judge whether that is good enough.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from fairlearn.reductions import DemographicParity, EqualizedOdds, ExponentiatedGradient, GridSearch, UtilityParity
from lockgate_step import BadCall, log
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import has_fit_parameter

Method = Literal["grid-search", "exponentiated-gradient"]
Constraint = Literal["demographic-parity", "equalized-odds"]


@dataclass(frozen=True)
class Mitigation:
    """The method, the groups and the bounds of a mitigation."""

    method: Method
    groups: NDArray[np.str_]
    constraint: Constraint
    difference_bound: float
    fits: int
    threshold: float

    def __post_init__(self) -> None:
        if not 0 < self.difference_bound < 1:
            msg = f"the difference bound {self.difference_bound} is not between 0 and 1"
            raise BadCall(msg, fix="set difference_bound to a number such as 0.1")
        if self.fits < 1:
            msg = f"a mitigation cannot fit {self.fits} models"
            raise BadCall(msg, fix="set fits to a number such as 20")


@dataclass(frozen=True)
class Rows:
    """The training rows in the form that the reductions take."""

    features: NDArray[np.float64]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Fitted:
    """One model with its accuracy and its difference between groups on the training rows."""

    estimator: BaseEstimator
    accuracy: float
    difference: float


def mitigated(estimator: BaseEstimator, rows: Rows, plan: Mitigation) -> BaseEstimator:
    """Return the one fitted model that the mitigation keeps.

    Errors: BadCall if the estimator does not accept sample weights.
    """
    if not has_fit_parameter(estimator, "sample_weight"):
        msg = f"{type(estimator).__name__} does not accept sample weights, which every mitigation needs"
        raise BadCall(msg, fix="choose an estimator whose fit takes sample_weight, or set mitigation to none")
    candidates = _grid_search if plan.method == "grid-search" else _exponentiated_gradient
    fits = []
    for number, fitted in enumerate(candidates(estimator, rows, plan), start=1):
        log("progress", done=number, total=plan.fits, what="models", difference=round(fitted.difference, 4))
        fits.append(fitted)
    kept = _best(fits, plan.difference_bound)
    log("mitigated", models=len(fits), accuracy=round(kept.accuracy, 4), difference=round(kept.difference, 4))
    return kept.estimator


def _best(fits: list[Fitted], bound: float) -> Fitted:
    within = [fitted for fitted in fits if fitted.difference <= bound]
    return max(within, key=lambda each: each.accuracy) if within else min(fits, key=lambda each: each.difference)


def _grid_search(estimator: BaseEstimator, rows: Rows, plan: Mitigation) -> Iterator[Fitted]:
    """Search along one ray: multipliers proportional to each group's violation, starting at zero.

    A full grid has one dimension for each group except one, which needs too many fits. Along the ray every step costs
    accuracy, so the search ends at the first model within the bound.
    """
    fitted = _measure(clone(estimator).fit(rows.features, rows.labels), rows, plan)
    yield fitted
    direction = _violation(fitted.estimator, rows, plan)
    for strength in np.linspace(0, 1, plan.fits)[1:]:
        if fitted.difference <= plan.difference_bound:
            return
        search = GridSearch(clone(estimator), _moment(plan.constraint), grid=pd.DataFrame({0: direction * strength}))
        search.fit(rows.features, rows.labels, sensitive_features=plan.groups)
        (predictor,) = search.predictors_
        if not isinstance(predictor, type(estimator)):  # all weights on one label: Fairlearn returns a constant
            return
        fitted = _measure(predictor, rows, plan)
        yield fitted


def _exponentiated_gradient(estimator: BaseEstimator, rows: Rows, plan: Mitigation) -> Iterator[Fitted]:
    """Yield each of the models between which the randomised classifier would choose."""
    gradient = ExponentiatedGradient(
        clone(estimator), _moment(plan.constraint), eps=plan.difference_bound / 2, max_iter=plan.fits
    )
    gradient.fit(rows.features, rows.labels, sensitive_features=plan.groups)
    usable = [each for each in gradient.predictors_ if isinstance(each, type(estimator))]
    for predictor in usable or [clone(estimator).fit(rows.features, rows.labels)]:
        yield _measure(predictor, rows, plan)


def _moment(constraint: Constraint) -> UtilityParity:
    return DemographicParity() if constraint == "demographic-parity" else EqualizedOdds()


def _violation(estimator: BaseEstimator, rows: Rows, plan: Mitigation) -> "pd.Series[float]":
    moment = _moment(plan.constraint)
    moment.load_data(rows.features, pd.Series(rows.labels), sensitive_features=pd.Series(plan.groups))
    violated = moment.gamma(lambda features: _selected(estimator, features, plan)).clip(lower=0)
    total = violated.sum()
    return violated / total if total else violated


def _selected(estimator: Any, features: NDArray[np.float64], plan: Mitigation) -> NDArray[np.int64]:
    selected: NDArray[np.int64] = (estimator.predict_proba(features)[:, 1] >= plan.threshold).astype(np.int64)
    return selected


def _measure(estimator: BaseEstimator, rows: Rows, plan: Mitigation) -> Fitted:
    selected = _selected(estimator, rows.features, plan)
    parts = [np.ones_like(selected, dtype=bool)]
    if plan.constraint == "equalized-odds":
        parts = [rows.labels == 0, rows.labels == 1]
    difference = max(_difference(selected[part], plan.groups[part]) for part in parts)
    return Fitted(estimator, float(np.mean(selected == rows.labels)), difference)


def _difference(selected: NDArray[np.int64], groups: NDArray[np.str_]) -> float:
    rates = pd.Series(selected).groupby(groups).mean()
    return float(rates.max() - rates.min())
