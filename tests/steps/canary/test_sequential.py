"""Laws of the confidence sequences; their error rates are in tests/statistics/test_canary.py."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lockgate_canary.sequential import (
    TILTS,
    Floats,
    Stage,
    difference,
    live_limits,
    proportion,
    rejects,
    rejects_difference,
)

ALPHA = 0.05
NEAR = 1e-6
RATIOS = st.sampled_from([0.05, 1 / 3, 1.0, 19.0])


def limits(found: tuple[Floats, Floats]) -> tuple[float, float]:
    """The two limits as numbers."""
    low, high = found
    return float(low), float(high)


@st.composite
def counted(draw: st.DrawFn) -> tuple[int, int]:
    """Hits and tries."""
    tries = draw(st.integers(0, 3000))
    return draw(st.integers(0, tries)), tries


@st.composite
def stages(draw: st.DrawFn) -> Stage:
    """One stage of two versions."""
    (hits, tries), (live_hits, live_tries) = draw(counted()), draw(counted())
    return Stage(hits, tries, live_hits, live_tries, draw(RATIOS))


def test_without_requests_nothing_is_known() -> None:
    assert limits(proportion(0, 0, ALPHA)) == (0, 1)
    assert limits(difference([Stage(0, 0, 0, 0)], ALPHA)) == (-1, 1)
    assert limits(difference([Stage(0, 0, 0, 0), Stage(0, 0, 5, 100, 0.1)], ALPHA)) == (-1, 1)


@given(counted())
@settings(deadline=None)
def test_a_proportion_is_inside_and_the_rejected_rates_are_outside(given_: tuple[int, int]) -> None:
    hits, tries = given_
    low, high = proportion(hits, tries, ALPHA)
    assert 0 <= low <= high <= 1
    if tries:
        assert low <= hits / tries <= high
    for rate in (0.0, 0.01, 0.3, 0.5, 0.9, 1.0):
        out = bool(rejects(hits, tries, rate, 1, ALPHA / 2) or rejects(hits, tries, rate, -1, ALPHA / 2))
        assert out == (not low <= rate <= high) or min(abs(rate - low), abs(rate - high)) < NEAR


def test_hits_and_misses_mirror_each_other() -> None:
    low, high = limits(proportion(30, 500, ALPHA))
    assert (1 - high, 1 - low) == pytest.approx(limits(proportion(470, 500, ALPHA)), abs=NEAR)
    low, high = limits(difference([Stage(30, 500, 90, 2000, 0.25)], ALPHA))
    mirrored = limits(difference([Stage(470, 500, 1910, 2000, 0.25)], ALPHA))
    assert (-high, -low) == pytest.approx(mirrored, abs=NEAR)


@given(counted(), st.integers(2, 5))
@settings(deadline=None)
def test_more_requests_at_the_same_rate_never_widen_a_proportion(given_: tuple[int, int], times: int) -> None:
    hits, tries = given_
    low, high = proportion(hits, tries, ALPHA)
    more_low, more_high = proportion(times * hits, times * tries, ALPHA)
    assert more_low >= low - NEAR
    assert more_high <= high + NEAR


@given(counted())
@settings(deadline=None)
def test_a_further_hit_never_lowers_a_limit_and_a_miss_never_raises_one(given_: tuple[int, int]) -> None:
    hits, tries = given_
    low, high = proportion(hits, tries, ALPHA)
    hit, miss = proportion(hits + 1, tries + 1, ALPHA), proportion(hits, tries + 1, ALPHA)
    assert hit[0] >= low - NEAR
    assert hit[1] >= high - NEAR
    assert miss[0] <= low + NEAR
    assert miss[1] <= high + NEAR


@given(stages(), st.integers(2, 4))
@settings(deadline=None, max_examples=60)
def test_more_requests_at_the_same_rates_never_widen_a_difference(stage: Stage, times: int) -> None:
    hits, tries, live_hits, live_tries = (
        times * np.asarray(part) for part in (stage.hits, stage.tries, stage.live_hits, stage.live_tries)
    )
    low, high = difference([stage], ALPHA)
    more_low, more_high = difference([Stage(hits, tries, live_hits, live_tries, stage.ratio)], ALPHA)
    assert more_low >= low - NEAR
    assert more_high <= high + NEAR


@given(st.lists(stages(), min_size=1, max_size=3))
@settings(deadline=None, max_examples=60)
def test_a_difference_is_never_empty_and_has_a_value_that_the_stages_have(found: list[Stage]) -> None:
    low, high = difference(found, ALPHA)
    assert -1 <= low <= high + NEAR <= 1 + NEAR
    observed = [
        float(s.hits) / float(s.tries) - float(s.live_hits) / float(s.live_tries)  # type: ignore[arg-type]
        for s in found
        if s.tries and s.live_tries
    ]
    if len(observed) == len(found):
        assert low <= max(observed) + NEAR
        assert high >= min(observed) - NEAR


@given(stages(), st.floats(-1, 1))
@settings(deadline=None, max_examples=60)
def test_the_rejected_differences_are_outside(stage: Stage, value: float) -> None:
    low, high = difference([stage], ALPHA)
    live = live_limits([stage], ALPHA)
    for side in (1, -1):
        if rejects_difference([stage], value, side, ALPHA, live):  # type: ignore[arg-type]
            assert value < low + NEAR if side == 1 else value > high - NEAR


@given(st.integers(1, 400), st.integers(1, 400), RATIOS, st.floats(-0.9, 0.9), st.data())
@settings(deadline=None, max_examples=60)
def test_the_least_favourable_rate_of_live_is_found(
    tries: int, live_tries: int, ratio: float, value: float, data: st.DataObject
) -> None:
    """The closed form is at least as cautious as every rate of live on a fine grid."""
    hits, live_hits = data.draw(st.integers(0, tries)), data.draw(st.integers(0, live_tries))
    stage = Stage(hits, tries, live_hits, live_tries, ratio)
    ((low, high),) = live = live_limits([stage], ALPHA)
    most = max(1, ratio)
    for side in (1, -1):
        found = bool(rejects_difference([stage], value, side, ALPHA, live))  # type: ignore[arg-type]
        for rate in np.linspace(low, high, 50):
            tilts, opposite = side * TILTS / most, -side * TILTS * ratio / most
            grown = tilts * hits + opposite * live_hits
            grown = grown - tries * np.log1p(np.clip(rate + value, 0, 1) * np.expm1(tilts))
            grown = grown - live_tries * np.log1p(rate * np.expm1(opposite))
            if np.logaddexp.reduce(grown) - math.log(len(TILTS)) < -math.log(0.9 * ALPHA / 2) - NEAR:
                assert not found


def test_the_stages_share_what_live_takes_of_the_error_probability() -> None:
    one, two = Stage(5, 100, 40, 1900, 1 / 19), Stage(30, 500, 70, 1500, 1 / 3)
    for found, stages_ in ((live_limits([one], ALPHA), 1), (live_limits([one, two], ALPHA), 2)):
        assert limits(found[0]) == limits(proportion(40, 1900, ALPHA / 10 / stages_))


def test_the_order_of_stages_and_the_shape_of_the_counts_do_not_matter() -> None:
    one, two = Stage(5, 100, 40, 1900, 1 / 19), Stage(30, 500, 70, 1500, 1 / 3)
    assert limits(difference([one, two], ALPHA)) == pytest.approx(limits(difference([two, one], ALPHA)), abs=NEAR)
    low, high = difference([Stage(np.array([5, 50]), 100, np.array([40, 40]), 1900, 1 / 19)], ALPHA)
    assert (low[0], high[0]) == pytest.approx(limits(difference([one], ALPHA)), abs=NEAR)
    assert low[1] > high[0]


def test_the_mean_of_the_martingale_is_1_or_less() -> None:
    """Exactly, by adding up every outcome of a few requests, at the true rate."""
    tries, rate = 12, 0.3
    hits = np.arange(tries + 1)
    chance = np.array([math.comb(tries, h) * rate**h * (1 - rate) ** (tries - h) for h in hits])
    for side in (1, -1):
        tilts = side * TILTS
        value = np.exp(tilts * hits[:, None] - tries * np.log1p(rate * np.expm1(tilts))).mean(axis=1)
        assert float(chance @ value) == pytest.approx(1)


def test_it_is_wider_than_an_interval_for_one_look_and_not_twice_as_wide() -> None:
    low, high = proportion(500, 10_000, ALPHA)
    assert 1 < float(high - low) / (2 * 1.96 * math.sqrt(0.05 * 0.95 / 10_000)) < 2
