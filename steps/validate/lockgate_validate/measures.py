"""Quality measures with their intervals, and the gain over the live version on the same rows.

Proportions have Wilson intervals, the area under the ROC curve has DeLong's interval, and the Brier score has the
interval of a mean. A gain is paired: the same rows are resampled or subtracted together, so that rows that are hard for
both versions do not add variance to the difference.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from lockgate_policy import Interval, Settings
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Given:
    """The answers of one version: for each row, whether the label is positive, and the score."""

    positive: Bools
    score: Floats


@dataclass(frozen=True)
class TooFew:
    """A measure that cannot be judged, because its denominator has only these rows."""

    rows: int


Measured = Interval | TooFew

LABELS = ("accuracy", "balanced_accuracy", "precision", "recall", "f1")
SCORES = ("roc_auc", "brier")
MEASURES = (*LABELS, *SCORES)


def measure(name: str, truth: Bools, given: Given, settings: Settings) -> Measured:
    """Compute one measure of one version's answers."""
    few = _support(name, truth, given)
    if few < settings.minimum_support:
        return TooFew(few)
    if name in LABELS:
        return _of_labels(name, confusion(truth, given.positive), settings.confidence)
    if name == "brier":
        return _mean((given.score - truth) ** 2, settings.confidence, 0)
    return _area(*_placements(truth, given.score), settings.confidence)


def gain(name: str, truth: Bools, given: Given, base: Given, settings: Settings, seed: int) -> Measured:
    """Compute the gain of the answers over the base's on the same rows; above 0 is better for every measure."""
    few = min(_support(name, truth, each) for each in (given, base))
    if few < settings.minimum_support:
        return TooFew(few)
    if name in LABELS:
        return _resampled(_LABEL_VALUES[name], truth, given, base, settings, seed)
    if name == "brier":
        return _mean((base.score - truth) ** 2 - (given.score - truth) ** 2, settings.confidence, -1)
    ours, theirs = _placements(truth, given.score), _placements(truth, base.score)
    return _paired_area(ours, theirs, settings.confidence)


def confusion(truth: Bools, positive: Bools) -> Counts:
    """Count the rows by [truth, answer], where 1 is positive."""
    return np.bincount(truth * 2 + positive, minlength=4).reshape(2, 2)


def _support(name: str, truth: Bools, given: Given) -> int:
    """The smallest denominator of a measure."""
    positives, negatives = int(truth.sum()), int((~truth).sum())
    match name:
        case "accuracy" | "brier":
            return len(truth)
        case "precision":
            return int(given.positive.sum())
        case "recall":
            return positives
        case "f1":
            return int((truth | given.positive).sum())
        case _:
            return min(positives, negatives)


# Each takes counts [..., truth, answer].
_LABEL_VALUES: Mapping[str, Callable[[Floats], Floats]] = {
    "accuracy": lambda c: (c[..., 0, 0] + c[..., 1, 1]) / c.sum((-1, -2)),
    "balanced_accuracy": lambda c: (c[..., 0, 0] / c[..., 0, :].sum(-1) + c[..., 1, 1] / c[..., 1, :].sum(-1)) / 2,
    "precision": lambda c: c[..., 1, 1] / c[..., :, 1].sum(-1),
    "recall": lambda c: c[..., 1, 1] / c[..., 1, :].sum(-1),
    "f1": lambda c: 2 * c[..., 1, 1] / (c[..., 1, :].sum(-1) + c[..., :, 1].sum(-1)),
}


def _of_labels(name: str, counts: Counts, confidence: float) -> Interval:
    """The interval of a measure that is a proportion, or follows from proportions."""
    (true_negative, false_positive), (false_negative, true_positive) = counts.tolist()
    match name:
        case "accuracy":
            return _wilson(true_negative + true_positive, int(counts.sum()), confidence)
        case "precision":
            return _wilson(true_positive, true_positive + false_positive, confidence)
        case "recall":
            return _wilson(true_positive, true_positive + false_negative, confidence)
        case "f1":
            # F1 = 2J / (1 + J), which rises with J = TP / (TP + FP + FN), and J is a proportion.
            share = _wilson(true_positive, true_positive + false_positive + false_negative, confidence)
            return Interval(*(2 * j / (1 + j) for j in (share.value, share.low, share.high)))
        case _:
            found = _wilson(true_positive, true_positive + false_negative, confidence)
            kept = _wilson(true_negative, true_negative + false_positive, confidence)
            value = (found.value + kept.value) / 2
            below = math.hypot(found.value - found.low, kept.value - kept.low) / 2
            above = math.hypot(found.high - found.value, kept.high - kept.value) / 2
            return Interval(value, value - below, value + above)


def _wilson(hits: int, tries: int, confidence: float) -> Interval:
    share, square = hits / tries, _critical(confidence) ** 2 / tries
    centre = (share + square / 2) / (1 + square)
    reach = math.sqrt(square * (share * (1 - share) + square / 4)) / (1 + square)
    low = 0.0 if hits == 0 else max(0.0, centre - reach)
    high = 1.0 if hits == tries else min(1.0, centre + reach)
    return Interval(share, low, high)


def _resampled(
    value: Callable[[Floats], Floats], truth: Bools, given: Given, base: Given, settings: Settings, seed: int
) -> Interval:
    """The gain by resampling the counts of truth, answer and base answer: equivalent to resampling rows, but faster."""
    cells = np.bincount(truth * 4 + given.positive * 2 + base.positive, minlength=8)
    draws = np.random.default_rng(seed).multinomial(len(truth), cells / len(truth), size=settings.resamples)

    def difference(counts: Floats) -> Floats:
        cube = counts.reshape(-1, 2, 2, 2)
        with np.errstate(invalid="ignore"):  # a resample with an empty denominator gives NaN, which is left out
            return value(cube.sum(3)) - value(cube.sum(2))

    tail = (1 - settings.confidence) / 2
    low, high = np.nanquantile(difference(draws.astype(float)), [tail, 1 - tail])
    return Interval(float(difference(cells.astype(float))[0]), float(low), float(high))


def _mean(values: Floats, confidence: float, floor: float) -> Interval:
    reach = _critical(confidence) * float(values.std(ddof=1)) / math.sqrt(len(values))
    middle = float(values.mean())
    return Interval(middle, max(floor, middle - reach), min(1.0, middle + reach))


def _placements(truth: Bools, score: Floats) -> tuple[Floats, Floats]:
    """Each positive's share of negatives that score lower, and each negative's of positives that score higher."""
    positives, negatives = score[truth], score[~truth]
    among = _ranks(np.concatenate([positives, negatives]))
    first = (among[: len(positives)] - _ranks(positives)) / len(negatives)
    second = 1 - (among[len(positives) :] - _ranks(negatives)) / len(positives)
    return first, second


def _ranks(values: Floats) -> Floats:
    """Ranks from 1; ties get their average rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    middles: Floats = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return middles


def _area(positives: Floats, negatives: Floats, confidence: float) -> Interval:
    """DeLong's interval on the logit scale, so that it stays between 0 and 1."""
    area = float(positives.mean())
    if area in (0.0, 1.0):
        # No pair is out of order, so the variance is 0: use the exact binomial interval for tries without a miss.
        reach = 1 - ((1 - confidence) / 2) ** (1 / min(len(positives), len(negatives)))
        return Interval(area, max(0.0, area - reach), min(1.0, area + reach))
    error = math.sqrt(_variance(positives) + _variance(negatives)) / (area * (1 - area))
    middle, reach = math.log(area / (1 - area)), _critical(confidence) * error
    return Interval(area, *(1 / (1 + math.exp(-(middle + sign * reach))) for sign in (-1, 1)))


def _paired_area(ours: tuple[Floats, Floats], theirs: tuple[Floats, Floats], confidence: float) -> Interval:
    """DeLong's interval for the difference of two areas on the same rows."""
    apart = [mine - other for mine, other in zip(ours, theirs, strict=True)]
    middle = float(apart[0].mean())
    reach = _critical(confidence) * math.sqrt(sum(map(_variance, apart)))
    return Interval(middle, max(-1.0, middle - reach), min(1.0, middle + reach))


def _variance(values: Floats) -> float:
    """The variance of the mean."""
    return float(values.var(ddof=1)) / len(values)


def _critical(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)
