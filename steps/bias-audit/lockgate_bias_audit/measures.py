"""Measure gaps between groups: counts by group, rates from counts, gaps between rates.

Counts are indexed [group, truth, prediction], where 1 is the positive label. An axis of resamples may come first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from lockgate_policy import Interval
from numpy.typing import NDArray

from lockgate_bias_audit.intervals import Floats, Rates, joint_critical, smallest_ratio, widest_difference

Counts = NDArray[np.int64]
RateName = Literal["selection_rate", "true_positive_rate", "false_positive_rate", "accuracy"]
RATES: tuple[RateName, ...] = ("selection_rate", "true_positive_rate", "false_positive_rate", "accuracy")


@dataclass(frozen=True)
class Measure:
    """A gap that a policy can limit: the rates it compares, as difference or ratio."""

    rates: tuple[RateName, ...]
    form: Literal["difference", "ratio"]


MEASURES: Mapping[str, Measure] = {
    "selection_rate_difference": Measure(("selection_rate",), "difference"),
    "selection_rate_ratio": Measure(("selection_rate",), "ratio"),
    "true_positive_rate_difference": Measure(("true_positive_rate",), "difference"),
    "false_positive_rate_difference": Measure(("false_positive_rate",), "difference"),
    "accuracy_difference": Measure(("accuracy",), "difference"),
    # The larger of the two differences, which is Fairlearn's default.
    "equalized_odds_difference": Measure(("true_positive_rate", "false_positive_rate"), "difference"),
}


@dataclass(frozen=True)
class Gap:
    """The gap of one measure: its interval, its rate, and the two groups (indices into the counts)."""

    measured: Interval
    rate: RateName
    highest: int
    lowest: int


def parts(counts: Counts, rate: RateName) -> tuple[Counts, Counts]:
    """Return the hits and tries of a rate for each group."""
    match rate:
        case "selection_rate":
            return counts[..., :, 1].sum(-1), counts.sum((-1, -2))
        case "true_positive_rate":
            return counts[..., 1, 1], counts[..., 1, :].sum(-1)
        case "false_positive_rate":
            return counts[..., 0, 1], counts[..., 0, :].sum(-1)
        case "accuracy":
            return counts[..., 0, 0] + counts[..., 1, 1], counts.sum((-1, -2))


def resample(counts: Counts, times: int, seed: int) -> Counts:
    """Bootstrap the counts `times` times; resampling counts is equivalent to resampling rows, and much faster."""
    total = int(counts.sum())
    drawn = np.random.default_rng(seed).multinomial(total, counts.ravel() / total, size=times)
    return drawn.reshape(times, *counts.shape)


def judged(counts: Counts, rate: RateName, support: int) -> NDArray[np.intp]:
    """Return the groups with enough rows in the rate's denominator."""
    return np.flatnonzero(parts(counts, rate)[1] >= support)


def gap(counts: Counts, resampled: Counts, measure: Measure, *, support: int, confidence: float) -> Gap | None:
    """Return the gap between the judged groups, or None if some rate has fewer than two of them."""
    groups = {rate: judged(counts, rate, support) for rate in measure.rates}
    if any(len(chosen) < 2 for chosen in groups.values()):
        return None
    rates = {rate: _rates(counts, resampled, rate, chosen) for rate, chosen in groups.items()}
    # Divide the error probability between the rates of the measure, because the widest gap of all rates is selected.
    share = 1 - (1 - confidence) / len(rates)
    widen = widest_difference if measure.form == "difference" else smallest_ratio
    found = {rate: widen(rates[rate], joint_critical(rates[rate], share)) for rate in rates}
    name = max(found, key=lambda rate: found[rate][0].value)
    _, highest, lowest = found[name]
    interval = Interval(
        found[name][0].value,
        max(each.low for each, _, _ in found.values()),
        max(each.high for each, _, _ in found.values()),
    )
    return Gap(interval, name, int(groups[name][highest]), int(groups[name][lowest]))


def _rates(counts: Counts, resampled: Counts, rate: RateName, groups: NDArray[np.intp]) -> Rates:
    hits, tries = parts(counts[groups], rate)
    again_hits, again_tries = parts(resampled[:, groups], rate)
    return Rates(_float(hits), _float(tries), _float(again_hits), _float(again_tries))


def _float(counts: Counts) -> Floats:
    return counts.astype(np.float64)
