"""Measures equal scikit-learn's; intervals match resampling and have their nominal coverage."""

import math

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lockgate_policy import Interval, Settings
from lockgate_validate.measures import LABELS, MEASURES, Bools, Floats, Given, TooFew, gain, measure

ALL = Settings(minimum_support=1, resamples=400)
ORACLES = {
    "accuracy": sk.accuracy_score,
    "balanced_accuracy": sk.balanced_accuracy_score,
    "precision": sk.precision_score,
    "recall": sk.recall_score,
    "f1": sk.f1_score,
}
ROWS = st.lists(st.tuples(st.booleans(), st.integers(0, 10), st.integers(0, 10)), min_size=4, max_size=60)


def split(rows: list[tuple[bool, int, int]]) -> tuple[Bools, Given, Given]:
    truth = np.array([row[0] for row in rows])
    versions = [np.array([row[at] for row in rows]) / 10 for at in (1, 2)]
    assume(2 <= truth.sum() <= len(truth) - 2)  # a variance needs two rows of each label
    assume(all((score > 0.5).any() for score in versions))
    one, other = (Given(score > 0.5, score) for score in versions)
    return truth, one, other


def oracle(name: str, truth: Bools, given: Given) -> float:
    if name in ORACLES:
        return float(ORACLES[name](truth, given.positive))
    return float(sk.roc_auc_score(truth, given.score) if name == "roc_auc" else sk.brier_score_loss(truth, given.score))


@settings(max_examples=80, deadline=None)
@given(ROWS, st.sampled_from(MEASURES))
def test_values_are_scikit_learns(rows: list[tuple[bool, int, int]], name: str) -> None:
    truth, one, other = split(rows)
    found = measure(name, truth, one, ALL)
    assert isinstance(found, Interval)
    assert found.value == pytest.approx(oracle(name, truth, one), abs=1e-12)
    assert -1e-12 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1 + 1e-12
    difference = gain(name, truth, one, other, ALL, 0)
    if isinstance(difference, Interval) and not math.isnan(difference.value):
        sign = -1 if name == "brier" else 1
        wanted = sign * (oracle(name, truth, one) - oracle(name, truth, other))
        assert difference.value == pytest.approx(wanted, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.sampled_from(MEASURES))
def test_swapping_the_versions_turns_the_gain_round(rows: list[tuple[bool, int, int]], name: str) -> None:
    truth, one, other = split(rows)
    there, back = gain(name, truth, one, other, ALL, 0), gain(name, truth, other, one, ALL, 0)
    assert isinstance(there, Interval)
    assert isinstance(back, Interval)
    assert there.value == pytest.approx(-back.value, abs=1e-12)
    if name not in LABELS:
        assert [there.low, there.high] == pytest.approx([-back.high, -back.low], abs=1e-9)


def test_a_version_gains_nothing_over_itself() -> None:
    random = np.random.default_rng(0)
    truth = random.random(500) < 0.3
    same = Given(random.random(500) < 0.3, random.random(500))
    for name in MEASURES:
        assert gain(name, truth, same, same, ALL, 0) == Interval(0.0, 0.0, 0.0)


def test_delong_is_what_resampling_rows_gives() -> None:
    random = np.random.default_rng(1)
    truth = random.random(600) < 0.3
    base = random.normal(size=600) + truth
    scores: list[Floats] = [1 / (1 + np.exp(-(base + random.normal(size=600) * noise))) for noise in (0.2, 1.0)]
    one, other = (Given(score > 0.5, score) for score in scores)
    own, paired = measure("roc_auc", truth, one, ALL), gain("roc_auc", truth, one, other, ALL, 0)
    again = []
    for _ in range(800):
        rows = random.integers(0, 600, 600)
        again.append([sk.roc_auc_score(truth[rows], score[rows]) for score in scores])
    areas = np.array(again)
    assert isinstance(own, Interval)
    assert isinstance(paired, Interval)
    assert np.quantile(areas[:, 0], [0.025, 0.975]) == pytest.approx([own.low, own.high], abs=0.012)
    assert np.quantile(areas[:, 0] - areas[:, 1], [0.025, 0.975]) == pytest.approx([paired.low, paired.high], abs=0.012)


def test_resampling_counts_is_resampling_rows() -> None:
    random = np.random.default_rng(2)
    truth = random.random(800) < 0.3
    answers = [np.where(random.random(800) < wrong, ~truth, truth) for wrong in (0.1, 0.15)]
    one, other = (Given(answer, answer.astype(float)) for answer in answers)
    found = gain("f1", truth, one, other, Settings(resamples=4000), 0)
    rows = random.integers(0, 800, (800, 800))
    again = [sk.f1_score(truth[r], answers[0][r]) - sk.f1_score(truth[r], answers[1][r]) for r in rows]
    assert isinstance(found, Interval)
    assert np.quantile(again, [0.025, 0.975]) == pytest.approx([found.low, found.high], abs=0.012)


def test_a_perfect_score_is_not_a_certain_one() -> None:
    truth = np.arange(60) % 2 == 0
    perfect = Given(truth, truth.astype(float))
    for name in set(MEASURES) - {"brier"}:
        found = measure(name, truth, perfect, ALL)
        assert isinstance(found, Interval)
        assert found.value == found.high == 1
        assert found.low < 0.95


@pytest.mark.parametrize(("name", "rows"), [("precision", 12), ("recall", 20), ("roc_auc", 20), ("accuracy", 25)])
def test_too_few_rows_in_a_denominator(name: str, rows: int) -> None:
    size = 25 if name == "accuracy" else 200
    truth = np.arange(size) < 20
    given = Given(np.arange(size) < 12, np.linspace(0, 1, size))
    assert measure(name, truth, given, Settings(minimum_support=30)) == TooFew(rows)


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "f1", "roc_auc", "brier"])
def test_intervals_cover_the_truth_about_as_often_as_they_say(name: str) -> None:
    """A small version of the simulation in tests/statistics."""
    random, draws, size = np.random.default_rng(5), 300, 250

    def draw(rows: int) -> tuple[Bools, Given]:
        truth = random.random(rows) < 0.35
        score = 1 / (1 + np.exp(-(random.normal(size=rows) + 1.5 * truth - 0.75)))
        return truth, Given(score > 0.5, score)

    truth, given = draw(400_000)
    true = oracle(name, truth, given)
    hits = 0
    for _ in range(draws):
        found = measure(name, *draw(size), ALL)
        assert isinstance(found, Interval)
        hits += found.low <= true <= found.high
    assert abs(hits / draws - 0.95) < 3 * math.sqrt(0.05 * 0.95 / draws) + 0.01
