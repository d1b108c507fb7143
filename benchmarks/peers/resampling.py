"""Compute the interval of one audit rule by bias-audit's resampling of counts and by Fairlearn's bootstrap of rows.

It runs in the lock of bias-audit's tests, which has Fairlearn, and prints JSON: resampling.py REPEATS
"""

import json
import sys
import time
from importlib.metadata import version

import numpy as np
from fairlearn.metrics import MetricFrame, selection_rate
from lockgate_bias_audit.groups import Column, group
from lockgate_bias_audit.measures import MEASURES, gap, resample

RESAMPLES = 2000
ROW_RESAMPLES = 100  # instead of 2,000, which would take minutes
# Group sizes and selection rates by sex, like those of UCI Adult's test set.
GROUPS = {"Female": (5421, 0.117), "Male": (10860, 0.217)}


def people() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return group, truth and prediction of synthetic people."""
    draw = np.random.default_rng(0)
    codes = np.repeat(np.arange(len(GROUPS)), [rows for rows, _ in GROUPS.values()])
    rates = np.array([rate for _, rate in GROUPS.values()])[codes]
    return codes, draw.random(len(codes)) < 0.24, draw.random(len(codes)) < rates


def main(repeats: int) -> dict[str, object]:
    """Measure both; return their times and intervals."""
    codes, truth, predicted = people()
    column = {"sex": Column("sex", tuple(GROUPS), codes.astype(np.int64))}
    ours, theirs = [], []
    for _ in range(repeats):
        began = time.perf_counter()
        counts = group(column, ["sex"], truth, predicted).counts
        again = resample(counts, RESAMPLES, 0)
        found = gap(counts, again, MEASURES["selection_rate_difference"], support=30, confidence=0.95)
        ours.append(time.perf_counter() - began)
        began = time.perf_counter()
        frame = MetricFrame(
            metrics=selection_rate, y_true=truth, y_pred=predicted, sensitive_features=codes,
            n_boot=ROW_RESAMPLES, ci_quantiles=[0.025, 0.975], random_state=0,
        )  # fmt: skip
        low, high = frame.difference_ci()
        theirs.append((time.perf_counter() - began) * RESAMPLES / ROW_RESAMPLES)
    assert found is not None
    return {
        "ours": ours,
        "theirs": theirs,
        "our_interval": [found.measured.low, found.measured.high],
        "their_interval": [float(low), float(high)],
        "versions": {name: version(name) for name in ("fairlearn", "numpy")},
    }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
