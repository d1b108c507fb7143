"""How often a fair model would pass a bias rule, given the sizes of the groups; and what would decide it.

A fair model has the same rate in every group. Counts are drawn from that rate, and each draw is judged by the interval
of bias-audit (Wilson limits, Newcombe's difference or Donner and Zou's ratio, simultaneous for all pairs of groups).
Standard library only, so that `lockgate new` and `lockgate render` can state the power before anything has run.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from random import Random
from statistics import NormalDist

from lockgate_policy._rules import Settings

LIKELY = 0.8  # a rule "decides" if a fair model passes at least this often
MOST_ROWS = 10_000_000
_DRAWS = 1000
_EXTREME = 12  # of many groups, only so many at either end can be the widest pair
_SEED = 20

Limits = tuple[float, float, float]  # a rate, and its lower and upper limit


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
    sizes = tuple(sorted(group_sizes))
    critical = _critical(sizes, rate, _confidence(measure, settings))
    return _chance(sizes, rate, limit, measure.endswith("_ratio"), critical, _draws(len(sizes)))


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

    # The critical value depends on the proportions and hardly on the number of rows, so one is enough.
    least = -(-settings.minimum_support // min(group_sizes))
    critical = _critical(tuple(sorted(size * least for size in group_sizes)), rate, _confidence(measure, settings))

    def enough(rows: int) -> bool:
        sizes = tuple(sorted(rows * size // total for size in group_sizes))
        draws = _draws(len(sizes)) // 3
        ratio = measure.endswith("_ratio")
        return sizes[0] >= settings.minimum_support and _chance(sizes, rate, limit, ratio, critical, draws) >= chance

    few, many = 0, 100
    while not enough(many):
        few, many = many, many * 2
        if many > MOST_ROWS:
            return None
    while many - few > max(1, many // 50):
        middle = (few + many) // 2
        few, many = (few, middle) if enough(middle) else (middle, many)
    place: int = 10 ** max(0, len(str(many)) - 2)
    return -(-many // place) * place


def limit_to_decide(
    rates: Sequence[tuple[Sequence[int], float]],
    measure: str,
    *,
    settings: Settings | None = None,
    chance: float = LIKELY,
) -> float | None:
    """Return the strictest limit, in hundredths, that a fair model passes with this chance and these groups.

    rates: the group sizes and the rate of each rate that the measure compares, as for `chance_to_pass`.
    It depends on the groups only, never on a gap that was measured. It is None if only a limit beyond 0.5 would do.
    """
    hundredths = range(99, 49, -1) if measure.endswith("_ratio") else range(1, 51)

    def likely(number: int) -> bool:
        chances = (chance_to_pass(sizes, rate, number / 100, measure, settings=settings) for sizes, rate in rates)
        return math.prod(chances) >= chance

    if not likely(hundredths[-1]):
        return None
    return hundredths[bisect_left(hundredths, True, key=likely)] / 100


def _confidence(measure: str, settings: Settings) -> float:
    """The confidence of one rate: the audit divides the error probability between the two of equalized odds."""
    return 1 - (1 - settings.confidence) / 2 if measure == "equalized_odds_difference" else settings.confidence


@lru_cache(maxsize=4096)
def _chance(sizes: tuple[int, ...], rate: float, limit: float, ratio: bool, critical: float, draws: int) -> float:
    shift = 0.0 if len(sizes) == 2 else 0.5
    tables = {size: _Binomial(size, rate, critical, shift) for size in sizes}
    random = Random(_SEED)  # noqa: S311 - a simulation
    passed = 0
    for _ in range(draws):
        limits = [tables[size].draw(random.random()) for size in sizes]
        lows = sorted(range(len(sizes)), key=lambda at: limits[at][1])[:_EXTREME]
        highs = sorted(range(len(sizes)), key=lambda at: -limits[at][2])[:_EXTREME]
        pairs = [(limits[low], limits[high]) for low in lows for high in highs if low != high]
        passed += all(_ratio_reaches(*pair, limit) if ratio else _difference_stays(*pair, limit) for pair in pairs)
    return passed / draws


def _draws(groups: int) -> int:
    return max(100, min(_DRAWS, 20_000 // groups))


def _difference_stays(lower: Limits, higher: Limits, limit: float) -> bool:
    """Whether the upper limit of a pair's difference is at most the limit."""
    (small, low, _), (large, _, high) = lower, higher
    return large - small + math.hypot(high - large, small - low) <= limit


def _ratio_reaches(lower: Limits, higher: Limits, limit: float) -> bool:
    """Whether the lower limit of a pair's ratio is at least the limit."""
    (small, low, _), (large, _, high) = lower, higher
    product, floor = small * large, low * (2 * small - low)
    root = product + math.sqrt(max(product**2 - floor * high * (2 * large - high), 0.0))
    return (floor / root if root else 0.0) >= limit


class _Binomial:
    """The hits of one group: drawn exactly, by the inverse of the distribution; each with its rate and limits."""

    def __init__(self, tries: int, rate: float, critical: float, shift: float) -> None:
        spread = 8 * math.sqrt(tries * rate * (1 - rate)) + 8
        self._first = max(0, math.floor(tries * rate - spread))
        last = min(tries, math.ceil(tries * rate + spread))
        self._below = list(accumulate(_mass(hits, tries, rate) for hits in range(self._first, last + 1)))
        self._tries, self._critical, self._shift = tries, critical, shift
        self._known: dict[int, Limits] = {}

    def draw(self, share: float) -> Limits:
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
    one_pair = NormalDist().inv_cdf((1 + confidence) / 2)
    if len(sizes) == 2:
        return one_pair
    damped = [(size * rate + 2) / (size + 4) for size in sizes]
    errors = [math.sqrt(each * (1 - each) / (size + 4)) for each, size in zip(damped, sizes, strict=True)]
    spreads = [math.sqrt(rate * (1 - rate) / size) for size in sizes]
    random = Random(_SEED)  # noqa: S311 - a simulation
    widest = []
    for _ in range(draws := 2 * _draws(len(sizes))):
        moved = sorted(((random.gauss(0, s), e) for s, e in zip(spreads, errors, strict=True)), key=_scaled)
        pairs = ((one, other) for one in moved[:_EXTREME] for other in moved[-_EXTREME:] if one is not other)
        widest.append(max(abs(m - n) / math.hypot(d, e) for (m, d), (n, e) in pairs))
    return max(one_pair, sorted(widest)[min(draws - 1, math.ceil(confidence * draws))])


def _scaled(moved: tuple[float, float]) -> float:
    """A deviation in standard errors."""
    return moved[0] / moved[1]
