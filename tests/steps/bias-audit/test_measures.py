"""Rates and gaps equal Fairlearn's; intervals have their nominal coverage."""

import math
import warnings

import fairlearn.metrics as fl
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from lockgate_bias_audit.intervals import Rates, joint_critical, joint_limits, normal_critical, wilson
from lockgate_bias_audit.measures import MEASURES, RATES, Counts, gap, parts, resample

CELL = st.integers(0, 60)
TABLES = st.lists(st.lists(CELL, min_size=4, max_size=4), min_size=2, max_size=6).map(
    lambda rows: np.array(rows, dtype=np.int64).reshape(-1, 2, 2)
)
ORACLES = {
    "selection_rate": fl.selection_rate,
    "true_positive_rate": fl.true_positive_rate,
    "false_positive_rate": fl.false_positive_rate,
    "accuracy": lambda y_true, y_pred: float(np.mean(y_true == y_pred)),
}
GAPS = {
    "selection_rate_difference": fl.demographic_parity_difference,
    "selection_rate_ratio": fl.demographic_parity_ratio,
    "true_positive_rate_difference": fl.true_positive_rate_difference,
    "false_positive_rate_difference": fl.false_positive_rate_difference,
    "equalized_odds_difference": fl.equalized_odds_difference,
}


def rows(counts: Counts) -> tuple[list[int], list[int], list[int]]:
    """The table as single rows: truth, prediction, group."""
    truth, predicted, group = [], [], []
    for (g, y, p), number in np.ndenumerate(counts):
        truth += [y] * int(number)
        predicted += [p] * int(number)
        group += [g] * int(number)
    return truth, predicted, group


@settings(max_examples=60, deadline=None)
@given(TABLES)
def test_rates_are_fairlearns(counts: Counts) -> None:
    assume((counts.sum(-1) > 0).all())
    truth, predicted, group = rows(counts)
    frame = fl.MetricFrame(
        metrics=ORACLES, y_true=np.array(truth), y_pred=np.array(predicted), sensitive_features=group
    )
    for name in RATES:
        hits, tries = parts(counts, name)
        np.testing.assert_allclose(hits / tries, frame.by_group[name].to_numpy(dtype=float), rtol=0, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(TABLES)
@example(np.array([[[1, 0], [0, 1]], [[1, 0], [1, 0]], [[0, 1], [0, 1]]]))  # ratios of 0 with two higher groups
def test_gaps_are_fairlearns(counts: Counts) -> None:
    assume((counts.sum(-1) > 0).all())
    truth, predicted, group = rows(counts)
    again = resample(counts, 20, 0)
    for name, oracle in GAPS.items():
        found = gap(counts, again, MEASURES[name], support=1, confidence=0.95)
        assert found is not None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Fairlearn divides 0 by 0 if no row is selected
            wanted = float(oracle(truth, predicted, sensitive_features=group))
        if math.isnan(wanted):
            wanted = 1.0  # no row is selected in any group: the rates are equal
        assert found.measured.value == pytest.approx(wanted, abs=1e-12)
        rate = parts(counts, found.rate)
        values = rate[0] / rate[1]
        assert values[found.highest] == values.max()
        assert values[found.lowest] == values.min()


@settings(max_examples=100, deadline=None)
@given(TABLES, st.sampled_from(sorted(MEASURES)))
def test_an_interval_holds_its_value_and_stays_in_range(counts: Counts, name: str) -> None:
    assume((counts.sum(-1) > 0).all())
    found = gap(counts, resample(counts, 50, 1), MEASURES[name], support=1, confidence=0.95)
    assert found is not None
    low, value, high = found.measured.low, found.measured.value, found.measured.high
    assert 0 <= low <= value + 1e-12
    assert value - 1e-12 <= high <= 1


def test_resampling_counts_is_resampling_rows() -> None:
    counts = np.array([[[50, 20], [10, 40]], [[30, 5], [10, 15]]])
    by_counts = resample(counts, 4000, 0)
    truth, predicted, group = (np.array(column) for column in rows(counts))
    random = np.random.default_rng(1)
    picked = random.integers(0, len(truth), size=(4000, len(truth)))
    cells = group[picked] * 4 + truth[picked] * 2 + predicted[picked]
    by_rows = np.stack([(cells == cell).sum(1) for cell in range(8)], axis=1).reshape(-1, 2, 2, 2)
    assert (by_counts.sum((1, 2, 3)) == len(truth)).all()
    np.testing.assert_allclose(by_counts.mean(0), by_rows.mean(0), atol=0.5)
    np.testing.assert_allclose(by_counts.std(0), by_rows.std(0), rtol=0.06)


@pytest.mark.parametrize(
    ("hits", "tries", "low", "high"),
    # Newcombe 1998, Table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_published_intervals(hits: int, tries: int, low: float, high: float) -> None:
    found = wilson(np.array([float(hits)]), np.array([float(tries)]), normal_critical(0.95))
    assert [float(found[0][0]), float(found[1][0])] == pytest.approx([low, high], abs=6e-5)


@pytest.mark.parametrize(
    ("one", "other", "low", "high"),
    # Newcombe 1998, Table II, method 10
    [((56, 70), (48, 80), 0.0524, 0.3339), ((9, 10), (3, 10), 0.1705, 0.8090), ((10, 10), (0, 10), 0.6075, 1.0)],
)
def test_newcombes_published_intervals(
    one: tuple[int, int], other: tuple[int, int], low: float, high: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The published intervals are for one pair chosen in advance, so they use the normal critical value.
    monkeypatch.setattr(
        "lockgate_bias_audit.measures.joint_critical", lambda _, confidence: normal_critical(confidence)
    )
    counts = np.array([[[tries - hits, hits], [0, 0]] for hits, tries in (one, other)])
    found = gap(counts, resample(counts, 20, 0), MEASURES["selection_rate_difference"], support=1, confidence=0.95)
    assert found is not None
    assert [found.measured.low, found.measured.high] == pytest.approx([low, high], abs=6e-5)


@pytest.mark.parametrize(
    ("hits", "tries", "low", "high"),
    # Newcombe 1998, Table I, method 4: with continuity correction
    [(81, 263, 0.2535, 0.3682), (15, 148, 0.0598, 0.1644), (0, 20, 0.0, 0.2005), (1, 29, 0.0018, 0.1963)],
)
def test_the_published_correction_for_continuity(hits: int, tries: int, low: float, high: float) -> None:
    many = Rates(np.array([float(hits)] * 3), np.array([float(tries)] * 3), np.zeros((1, 3)), np.ones((1, 3)))
    found = joint_limits(many, normal_critical(0.95))
    assert [float(found[0][0]), float(found[1][0])] == pytest.approx([low, high], abs=6e-5)


def test_two_groups_need_the_normal_critical_value_and_many_need_tukeys() -> None:
    def critical(groups: int) -> float:
        counts = np.tile(np.array([[[500, 500], [0, 0]]]), (groups, 1, 1))
        again = resample(counts, 4000, 0)
        return joint_critical(
            Rates(
                *(part.astype(float) for part in (*parts(counts, "selection_rate"), *parts(again, "selection_rate")))
            ),
            0.95,
        )

    assert critical(2) == pytest.approx(1.96, abs=0.06)
    assert critical(5) == pytest.approx(3.858 / math.sqrt(2), abs=0.08)  # the studentised range of 5 groups


def test_the_same_seed_gives_the_same_interval_and_another_seed_nearly() -> None:
    counts = np.array([[[7000, 1000], [1300, 1560]], [[4700, 200], [265, 256]], [[300, 40], [30, 30]]])

    def high(seed: int) -> float:
        found = gap(counts, resample(counts, 2000, seed), MEASURES["accuracy_difference"], support=30, confidence=0.95)
        assert found is not None
        return found.measured.high

    assert high(0) == high(0)
    assert high(0) == pytest.approx(high(1), abs=0.01)


def test_groups_below_the_support_take_no_part() -> None:
    counts = np.array([[[80, 20], [50, 50]], [[90, 10], [60, 40]], [[0, 9], [0, 20]]])
    found = gap(counts, resample(counts, 100, 0), MEASURES["selection_rate_difference"], support=30, confidence=0.95)
    assert found is not None
    assert {found.highest, found.lowest} == {0, 1}
    assert (
        gap(counts, resample(counts, 100, 0), MEASURES["selection_rate_difference"], support=101, confidence=0.95)
        is not None
    )
    assert (
        gap(counts, resample(counts, 100, 0), MEASURES["true_positive_rate_difference"], support=101, confidence=0.95)
        is None
    )


SIZES = [[40, 60], [30, 1000], [400, 300, 100, 60, 40]]


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_null_data_are_rarely_refused_and_the_truth_is_mostly_covered(sizes: list[int]) -> None:
    """A small version of the simulation in tests/statistics; the bound allows three standard errors for 400 draws."""
    random, covered, draws = np.random.default_rng(7), 0, 400
    share = np.array(sizes) / sum(sizes)
    cells = share[:, None, None] * np.array([[0.56, 0.14], [0.14, 0.16]])
    for draw in range(draws):
        counts = random.multinomial(sum(sizes), cells.ravel()).reshape(-1, 2, 2)
        found = gap(
            counts, resample(counts, 300, draw), MEASURES["selection_rate_difference"], support=10, confidence=0.95
        )
        assert found is not None
        covered += found.measured.low == 0
    assert covered / draws > 0.95 - 3 * math.sqrt(0.05 * 0.95 / draws)
