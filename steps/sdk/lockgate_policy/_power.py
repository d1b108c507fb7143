"""How often a fair model would pass a bias rule, given the sizes of the groups; and how many rows would decide it.

A fair model has the same rate in every group. Counts are drawn from that rate, and each draw is judged by the interval
of bias-audit (Wilson limits, Newcombe's difference or Donner and Zou's ratio, simultaneous for all pairs of groups).
Standard library only, so that `lockgate new` and `lockgate render` can state the power before anything has run.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from random import Random
from statistics import NormalDist

from lockgate_policy._rules import AtLeast, AtMost, Settings

LIKELY = 0.8  # a rule "decides" if a fair model passes at least this often
MOST_ROWS = 100_000_000
_DRAWS = 1000
_PAIRS = 40_000  # pairs of groups to compare over all draws: with many groups there are fewer draws
_SEED = 20

Limit = AtMost | AtLeast
Limits = list[tuple[float, float, float]]  # for each group its rate, and the limits of the rate


def chance_to_pass(
    group_sizes: Sequence[int], rate: float, limit: float, measure: str, *, settings: Settings | None = None
) -> float:
    """Return how often a model with this same rate in every group would pass a rule, from 0 to 1.

    group_sizes: the rows of each group in the denominator of the rate: all test rows for a selection rate or accuracy,
        only the truly positive ones for a true positive rate. Leave out a group that the policy accepts as small.
    rate: the rate that the measure compares. limit: the number in the rule.
    measure: as in the policy. For `equalized_odds_difference` give the sizes and the rate of one of its two rates; the
        chance of the rule is the product of both.
    A group with fewer rows than `minimum_support` leaves the rule undecided, so the chance is 0.
    It agrees with the audit itself to 0.05 (tests/statistics).
    """
    settings = settings or Settings()
    if len(group_sizes) < 2 or min(group_sizes) < settings.minimum_support:
        return 0.0
    confidence = settings.confidence
    if measure == "equalized_odds_difference":
        confidence = 1 - (1 - confidence) / 2  # as the audit divides the error probability between the two rates
    return _chance(tuple(sorted(group_sizes)), rate, limit, measure.endswith("_ratio"), confidence)


def rows_to_decide(
    group_sizes: Sequence[int],
    rate: float,
    limit: float,
    measure: str,
    *,
    settings: Settings | None = None,
    chance: float = LIKELY,
) -> int | None:
    """Return how many rows in all, in groups of these proportions, let a fair model pass with this chance.

    The other parameters are those of `chance_to_pass`; sizes of 0 are not possible. The result is rounded up to two
    digits. It is None if no number of rows is enough: no interval shows a difference of 0, or a ratio of 1.
    """
    settings, total = settings or Settings(), sum(group_sizes)
    reachable = limit < 1 if measure.endswith("_ratio") else limit > 0
    if len(group_sizes) < 2 or min(group_sizes) < 1 or not reachable:
        return None

    def enough(rows: int) -> bool:
        sizes = [rows * size // total for size in group_sizes]
        return chance_to_pass(sizes, rate, limit, measure, settings=settings) >= chance

    few, many = 0, 100
    while not enough(many):
        few, many = many, many * 2
        if many > MOST_ROWS:
            return None
    while many - few > max(1, many // 50):
        middle = (few + many) // 2
        few, many = (few, middle) if enough(middle) else (middle, many)
    place = 10 ** max(0, len(str(many)) - 2)
    return -(-many // place) * place


@lru_cache(maxsize=4096)
def _chance(sizes: tuple[int, ...], rate: float, limit: float, ratio: bool, confidence: float) -> float:
    critical = _critical(sizes, rate, confidence)
    shift = 0.0 if len(sizes) == 2 else 0.5
    tables = {size: _Binomial(size, rate, critical, shift) for size in sizes}
    random, draws = Random(_SEED), max(50, min(_DRAWS, _PAIRS // len(sizes) ** 2 + 1))
    passed = 0
    for _ in range(draws):
        limits = [tables[size].draw(random.random()) for size in sizes]
        passed += _ratios_reach(limits, limit) if ratio else _differences_stay(limits, limit)
    return passed / draws


def _differences_stay(limits: Limits, limit: float) -> bool:
    """Whether the upper limit of every pair's difference is at most the limit."""
    return all(
        one - other + math.hypot(high - one, other - low) <= limit
        for at, (one, _, high) in enumerate(limits)
        for place, (other, low, _) in enumerate(limits)
        if at != place
    )


def _ratios_reach(limits: Limits, limit: float) -> bool:
    """Whether the lower limit of every pair's ratio is at least the limit."""
    for at, (one, low, _) in enumerate(limits):
        for place, (other, _, high) in enumerate(limits):
            if at != place:
                product, floor = one * other, low * (2 * one - low)
                root = product + math.sqrt(max(product**2 - floor * high * (2 * other - high), 0.0))
                if (floor / root if root else 0.0) < limit:
                    return False
    return True


class _Binomial:
    """The hits of one group: drawn exactly, by the inverse of the distribution; each with its rate and limits."""

    def __init__(self, tries: int, rate: float, critical: float, shift: float) -> None:
        spread = 8 * math.sqrt(tries * rate * (1 - rate)) + 8
        self._first = max(0, math.floor(tries * rate - spread))
        last = min(tries, math.ceil(tries * rate + spread))
        self._below = list(accumulate(_mass(hits, tries, rate) for hits in range(self._first, last + 1)))
        self._tries, self._critical, self._shift = tries, critical, shift
        self._known: dict[int, tuple[float, float, float]] = {}

    def draw(self, share: float) -> tuple[float, float, float]:
        """The rate and its limits at this share of the distribution."""
        hits = self._first + min(bisect_right(self._below, share), len(self._below) - 1)
        if hits not in self._known:
            low, _ = wilson(max(hits - self._shift, 0), self._tries, self._critical)
            _, high = wilson(min(hits + self._shift, self._tries), self._tries, self._critical)
            self._known[hits] = hits / self._tries, low, high
        return self._known[hits]


def wilson(hits: float, tries: int, critical: float) -> tuple[float, float]:
    """Return Wilson's score interval of a rate."""
    rate, square = hits / tries, critical**2 / tries
    centre = (rate + square / 2) / (1 + square)
    reach = math.sqrt(square * (rate * (1 - rate) + square / 4)) / (1 + square)
    return 0.0 if hits == 0 else max(0.0, centre - reach), 1.0 if hits == tries else min(1.0, centre + reach)


def _mass(hits: int, tries: int, rate: float) -> float:
    """The probability of exactly these hits."""
    if rate in (0, 1):
        return float(hits == tries * rate)
    ways = math.lgamma(tries + 1) - math.lgamma(hits + 1) - math.lgamma(tries - hits + 1)
    return math.exp(ways + hits * math.log(rate) + (tries - hits) * math.log1p(-rate))


@lru_cache(maxsize=4096)
def _critical(sizes: tuple[int, ...], rate: float, confidence: float) -> float:
    """The critical value for simultaneous intervals of all pairs; the audit finds it by resampling the counts."""
    one = NormalDist().inv_cdf((1 + confidence) / 2)
    if len(sizes) == 2:
        return one
    damped = [(size * rate + 2) / (size + 4) for size in sizes]
    errors = [math.sqrt(each * (1 - each) / (size + 4)) for each, size in zip(damped, sizes, strict=True)]
    spreads = [math.sqrt(rate * (1 - rate) / size) for size in sizes]
    random, draws = Random(_SEED), max(200, min(2000, 10 * _PAIRS // len(sizes) ** 2))
    widest = []
    for _ in range(draws):
        moved = [(random.gauss(0, spread), error) for spread, error in zip(spreads, errors, strict=True)]
        pairs = ((one, other) for at, one in enumerate(moved) for other in moved[:at])
        widest.append(max(abs(m - n) / math.hypot(d, e) for (m, d), (n, e) in pairs))
    return max(one, sorted(widest)[min(draws - 1, math.ceil(confidence * draws))])
