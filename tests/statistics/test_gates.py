"""Coverage and error rates of the gates in simulations at full size; prints a table of the figures.

Only `make test-statistics` runs this: it takes minutes. The step folders of bias-audit and validate are on the path.
"""

import math
import os
from collections.abc import Sequence

import numpy as np
import pytest
from lockgate_bias_audit.measures import MEASURES, Counts, gap, resample
from lockgate_bias_audit.small import surest
from lockgate_policy import AtLeast, AtMost, Interval, Settings, chance_to_pass
from lockgate_validate.measures import Bools, Given, gain, measure

DRAWS = int(os.environ.get("LOCKGATE_DRAWS", "2000"))  # fewer are enough to find a gross fault
CONFIDENCE = 0.95
SLACK = 3 * math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / DRAWS)  # three standard errors of a proportion

BALANCED = [(20, 20), (50, 50), (200, 200), (1000, 1000), (5000, 5000)]
LOPSIDED = [(30, 1000), (60, 5000)]
MANY = [(100,) * 5, (500, 300, 100, 60, 40), (2000, 300, 100, 40, 30, 30, 30)]


def table(random: np.random.Generator, sizes: Sequence[int], rates: Sequence[float]) -> Counts:
    """Draw rows; in expectation each group has its size and its selection rate."""
    share = np.array(sizes) / sum(sizes)
    cells = np.array([[[0.7 * (1 - r), 0.7 * r], [0.3 * (1 - r), 0.3 * r]] for r in rates]) * share[:, None, None]
    return random.multinomial(sum(sizes), cells.ravel()).reshape(-1, 2, 2)


def simulate(sizes: Sequence[int], rates: Sequence[float], name: str = "selection_rate_difference") -> list[Interval]:
    """The gap's interval in each of many draws from one distribution."""
    random = np.random.default_rng(11)
    found = []
    for draw in range(DRAWS):
        counts = table(random, sizes, rates)
        gap_ = gap(counts, resample(counts, 400, draw), MEASURES[name], support=10, confidence=CONFIDENCE)
        if gap_ is not None:
            found.append(gap_.measured)
    assert len(found) > 0.9 * DRAWS
    return found


@pytest.mark.parametrize("sizes", [*BALANCED, *LOPSIDED, *MANY], ids=str)
@pytest.mark.parametrize("base", [0.05, 0.3])
def test_without_any_bias_hardly_a_gap_is_found(sizes: Sequence[int], base: float) -> None:
    found = simulate(sizes, [base] * len(sizes))
    alarms = sum(each.low > 0 for each in found) / len(found)
    print(f"null {sizes} at {base}: false alarm {alarms:.3f}")
    assert alarms <= 1 - CONFIDENCE + SLACK + 0.005


@pytest.mark.parametrize("sizes", [*BALANCED, *LOPSIDED], ids=str)
def test_the_interval_of_two_groups_covers_the_true_gap(sizes: Sequence[int]) -> None:
    for name, true in (("selection_rate_difference", 0.15), ("selection_rate_ratio", 0.4)):
        found = simulate(sizes, [0.25, 0.10], name)
        covered = sum(each.low <= true <= each.high for each in found) / len(found)
        print(f"{name} {sizes}: coverage {covered:.3f}")
        assert 0.93 <= covered <= 0.995


@pytest.mark.parametrize("sizes", MANY, ids=str)
def test_the_interval_of_many_groups_covers_at_least_as_often_as_it_says(sizes: Sequence[int]) -> None:
    rates = np.linspace(0.1, 0.3, len(sizes)).tolist()
    covered = sum(each.low <= 0.2 <= each.high for each in simulate(sizes, rates)) / DRAWS
    print(f"many {sizes}: coverage {covered:.3f}")
    assert covered >= CONFIDENCE - SLACK


def test_the_power_to_find_a_gap_grows_with_the_rows() -> None:
    """With a limit of 0.10, a gap of 0.15 must not pass, and must be refused if there are enough rows."""
    limit, refused = AtMost(0.10), {}
    for size in (50, 200, 1000, 5000):
        judged = [limit.judge(each) for each in simulate((size, size), [0.25, 0.10])]
        refused[size] = judged.count("beyond") / DRAWS
        passed = judged.count("within") / DRAWS
        print(f"power at {size} rows a group: refused {refused[size]:.3f}, passed {passed:.3f}")
        assert passed <= 0.03
    assert list(refused.values()) == sorted(refused.values())
    assert refused[5000] > 0.99


@pytest.mark.parametrize("sizes", [(1000, 1000, 29), (1000, 1000, *(29,) * 10), (2000, 300, *(15,) * 40)], ids=str)
@pytest.mark.parametrize("base", [0.05, 0.3])
def test_small_groups_hardly_ever_refuse_a_fair_model(sizes: Sequence[int], base: float) -> None:
    """The judged and the small groups share the error probability, so together they keep it."""
    random, measure_ = np.random.default_rng(12), MEASURES["selection_rate_difference"]
    half, alarms = 1 - (1 - CONFIDENCE) / 2, 0
    for number in range(DRAWS):
        counts = table(random, sizes, [base] * len(sizes))
        again = resample(counts, 400, number)
        judged = gap(counts, again, measure_, support=50, confidence=half)
        small = surest(counts, again, measure_, support=50, confidence=half, alone=range(len(sizes)), pooled=True)
        alarms += any(each and each.measured.low > 0 for each in (judged, small))
    print(f"null {sizes} at {base} with small groups: false alarm {alarms / DRAWS:.3f}")
    assert alarms / DRAWS <= 1 - CONFIDENCE + SLACK + 0.005


@pytest.mark.parametrize("sizes", [(200, 200), (5000, 60), (500, 300, 100, 60), (100,) * 8], ids=str)
@pytest.mark.parametrize("name", ["selection_rate_difference", "selection_rate_ratio"])
@pytest.mark.parametrize("base", [0.1, 0.4])
def test_the_chance_that_a_fair_model_passes_is_the_audits(sizes: Sequence[int], name: str, base: float) -> None:
    random, ratio = np.random.default_rng(13), name.endswith("ratio")
    found = []
    for number in range(DRAWS):
        hits = random.binomial(sizes, base)
        counts = np.stack([np.stack([np.array(sizes) - hits, hits], 1), np.zeros((len(sizes), 2), int)], 1)
        gap_ = gap(counts, resample(counts, 400, number), MEASURES[name], support=10, confidence=CONFIDENCE)
        assert gap_ is not None
        found.append(gap_.measured)
    for limit in (0.3, 0.5, 0.7) if ratio else (0.1, 0.2, 0.3):
        rule = AtLeast(limit) if ratio else AtMost(limit)
        real = sum(rule.judge(each) == "within" for each in found) / DRAWS
        said = chance_to_pass(sizes, base, limit, name)
        print(f"power {name} {sizes} at {base}, limit {limit}: {real:.3f}, computed {said:.3f}")
        assert abs(said - real) <= 0.05 + 2 * math.sqrt(0.25 / DRAWS)


def draw(random: np.random.Generator, rows: int) -> tuple[Bools, Given, Given]:
    """Truth, and two equally good versions that are wrong partly on the same rows."""
    truth = random.random(rows) < 0.3
    shared = random.normal(size=rows) + 1.6 * truth - 0.8
    versions = []
    for _ in range(2):
        score = 1 / (1 + np.exp(-(shared + 0.6 * random.normal(size=rows))))
        versions.append(Given(score > 0.5, score))
    return truth, versions[0], versions[1]


@pytest.mark.parametrize("rows", [150, 1000])
@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc", "brier"])
def test_quality_intervals_cover(name: str, rows: int) -> None:
    random, settings = np.random.default_rng(3), Settings(minimum_support=10, resamples=400)
    truth, given, _ = draw(random, 1_000_000)
    true = measure(name, truth, given, settings)
    assert isinstance(true, Interval)
    covered = still = 0
    for number in range(DRAWS):
        few, one, other = draw(random, rows)
        own, difference = measure(name, few, one, settings), gain(name, few, one, other, settings, number)
        assert isinstance(own, Interval)
        assert isinstance(difference, Interval)
        covered += own.low <= true.value <= own.high
        still += difference.low <= 0 <= difference.high
    print(f"{name} {rows}: coverage {covered / DRAWS:.3f}, of a zero gain {still / DRAWS:.3f}")
    assert 0.93 <= covered / DRAWS <= 0.975
    assert 0.93 <= still / DRAWS <= 0.975
