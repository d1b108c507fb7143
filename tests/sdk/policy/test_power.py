"""How often a fair model passes: laws of the figure. `tests/steps/bias-audit/test_power.py` compares it with the audit."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lockgate_policy import Settings, chance_to_pass, rows_to_decide

SIZES = st.lists(st.integers(30, 3000), min_size=2, max_size=5)
MEASURE = "selection_rate_difference"


@pytest.mark.parametrize(("measure", "limit"), [(MEASURE, 0.0), ("selection_rate_ratio", 1.0)])
def test_a_limit_that_no_interval_can_show_never_passes(measure: str, limit: float) -> None:
    assert chance_to_pass([50_000, 50_000], 0.25, limit, measure) == 0
    assert rows_to_decide([1, 1], 0.25, limit, measure) is None


def test_a_group_below_the_minimum_support_decides_nothing() -> None:
    assert chance_to_pass([5000, 29], 0.25, 0.5, MEASURE) == 0
    assert chance_to_pass([5000], 0.25, 0.5, MEASURE) == 0
    assert chance_to_pass([5000, 29], 0.25, 0.5, MEASURE, settings=Settings(minimum_support=10)) > 0.9


def test_a_small_project_can_pass_a_wide_limit() -> None:
    """1,500 rows, half of them of each sex, a quarter of them tested or all: an interval of 0.10 decides 0.2."""
    assert chance_to_pass([187, 188], 0.5, 0.2, MEASURE) > 0.9
    assert chance_to_pass([750, 750], 0.5, 0.2, MEASURE) > 0.99
    assert chance_to_pass([187, 188], 0.5, 0.05, MEASURE) < 0.02


@settings(max_examples=25, deadline=None)
@given(SIZES, st.floats(0, 1), st.floats(0.05, 0.6))
def test_more_rows_and_a_wider_limit_never_lower_the_chance(sizes: list[int], rate: float, limit: float) -> None:
    chance = chance_to_pass(sizes, rate, limit, MEASURE)
    assert 0 <= chance <= 1
    assert chance_to_pass(sizes, rate, limit + 0.1, MEASURE) >= chance
    assert chance_to_pass([4 * size for size in sizes], rate, limit, MEASURE) >= chance - 0.06
    assert chance_to_pass(sizes[::-1], rate, limit, MEASURE) == chance


@pytest.mark.parametrize("measure", [MEASURE, "selection_rate_ratio", "equalized_odds_difference"])
def test_the_rows_that_decide_do_decide(measure: str) -> None:
    limit = 0.7 if measure.endswith("ratio") else 0.1
    rows = rows_to_decide([3, 2, 1], 0.3, limit, measure)
    assert rows is not None
    sizes = [rows * share // 6 for share in (3, 2, 1)]
    assert chance_to_pass(sizes, 0.3, limit, measure) >= 0.78
    assert chance_to_pass([size // 2 for size in sizes], 0.3, limit, measure) < 0.78


def test_many_groups_take_little_time() -> None:
    began = time.process_time()
    chance_to_pass([100] * 40, 0.2, 0.2, MEASURE)
    assert time.process_time() - began < 5
