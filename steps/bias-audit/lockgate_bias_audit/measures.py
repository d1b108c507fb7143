"""Measure gaps between groups: counts by group, rates from counts, gaps between rates.

Counts are indexed [group, truth, prediction], where 1 is the positive label. An axis of resamples may come first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from lockgate_policy import Interval
from numpy.typing import NDArray

from lockgate_bias_audit.intervals import (
    Floats,
    Pairs,
    Rates,
    differences,
    joint_critical,
    ratios,
    smallest_ratio,
    widest_difference,
)

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
    """The gap of one measure: its interval, its rate, and the two groups (indices into the counts).

    pooled: the small groups that are one of the two together: then its index is the number of groups.
    """

    measured: Interval
    rate: RateName
    highest: int
    lowest: int
    pooled: tuple[int, ...] = ()


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
    """Bootstrap the counts `times` times; resampling counts is equivalent to resampling rows, and much faster.

    Groups are drawn in the order of their counts, so that their names and their order change nothing.
    """
    total = int(counts.sum())
    order = np.lexsort(counts.reshape(len(counts), -1).T)
    drawn = np.random.default_rng(seed).multinomial(total, counts[order].ravel() / total, size=times)
    back = np.argsort(order)
    return drawn.reshape(times, *counts.shape)[:, back]


def judged(counts: Counts, rate: RateName, support: int) -> NDArray[np.intp]:
    """Return the groups with enough rows in the rate's denominator."""
    return np.flatnonzero(parts(counts, rate)[1] >= support)


def gap(counts: Counts, resampled: Counts, measure: Measure, *, support: int, confidence: float) -> Gap | None:
    """Return the gap between the judged groups, or None if some rate has fewer than two of them."""
    groups = {rate: judged(counts, rate, support) for rate in measure.rates}
    if any(len(chosen) < 2 for chosen in groups.values()):
        return None
    widen = widest_difference if measure.form == "difference" else smallest_ratio
    found = {
        rate: widen(paired(counts[chosen], resampled[:, chosen], rate, measure, confidence))
        for rate, chosen in groups.items()
    }
    name = max(found, key=lambda rate: found[rate][0].value)
    _, highest, lowest = found[name]
    hits, tries = parts(counts[groups[name]], name)
    values = _float(hits) / _float(tries)
    if values.min() < values.max():  # a ratio of 0 has every group with a rate above 0 as the higher one
        highest, lowest = int(values.argmax()), int(values.argmin())
    interval = Interval(
        found[name][0].value,
        max(each.low for each, _, _ in found.values()),
        max(each.high for each, _, _ in found.values()),
    )
    return Gap(interval, name, int(groups[name][highest]), int(groups[name][lowest]))


def paired(counts: Counts, resampled: Counts, rate: RateName, measure: Measure, confidence: float) -> Pairs:
    """Return the simultaneous intervals of one rate for all pairs of these groups."""
    rates = Rates(*(_float(each) for each in (*parts(counts, rate), *parts(resampled, rate))))
    # Divide the error probability between the rates of the measure, because the widest gap of all rates is selected.
    critical = joint_critical(rates, 1 - (1 - confidence) / len(measure.rates))
    return (differences if measure.form == "difference" else ratios)(rates, critical)


def _float(counts: Counts) -> Floats:
    return counts.astype(np.float64)
