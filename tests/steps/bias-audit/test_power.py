"""The chance that a fair model passes, computed without numpy, is that of the audit itself."""

from collections.abc import Sequence

import numpy as np
import pytest
from lockgate_bias_audit.measures import MEASURES, gap, resample
from lockgate_policy import AtLeast, AtMost, chance_to_pass

DRAWS = 400
ERROR = 0.08  # three standard errors of 400 draws; tests/statistics has the stated 0.05


@pytest.mark.parametrize(
    ("sizes", "rate", "limit"),
    [((200, 200), 0.25, 0.11), ((1000, 60), 0.1, 0.12), ((300, 200, 100, 60), 0.3, 0.3), ((100,) * 8, 0.2, 0.3)],
)
def test_it_is_the_audits(sizes: Sequence[int], rate: float, limit: float) -> None:
    random = np.random.default_rng(5)
    passed = 0
    for draw in range(DRAWS):
        hits = random.binomial(sizes, rate)
        counts = np.stack([np.stack([np.array(sizes) - hits, hits], 1), np.zeros((len(sizes), 2), int)], 1)
        found = gap(
            counts, resample(counts, 400, draw), MEASURES["selection_rate_difference"], support=10, confidence=0.95
        )
        assert found is not None
        passed += AtMost(limit).judge(found.measured) == "within"
    assert chance_to_pass(sizes, rate, limit, "selection_rate_difference") == pytest.approx(passed / DRAWS, abs=ERROR)


def test_it_is_the_audits_for_a_ratio() -> None:
    random = np.random.default_rng(6)
    passed = 0
    for draw in range(DRAWS):
        hits = random.binomial((400, 300), 0.25)
        counts = np.stack([np.stack([np.array((400, 300)) - hits, hits], 1), np.zeros((2, 2), int)], 1)
        found = gap(counts, resample(counts, 400, draw), MEASURES["selection_rate_ratio"], support=10, confidence=0.95)
        assert found is not None
        passed += AtLeast(0.7).judge(found.measured) == "within"
    assert chance_to_pass((400, 300), 0.25, 0.7, "selection_rate_ratio") == pytest.approx(passed / DRAWS, abs=ERROR)
