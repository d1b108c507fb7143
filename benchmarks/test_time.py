"""Measures the time of `make test`: every suite, each in its own lock, two at a time.

Warm: in this checkout, with environments installed. With --cold: in a fresh clone. Neither is part of `make bench`,
because the whole suite is slow.
"""

import sys

from benchmarks.clone import NOTE, fresh_clone, make
from benchmarks.harness import ROOT, AtMost, Benchmark, Figure, Measured, main, surroundings


def warm(repeats: int) -> Measured:
    """Measure in this checkout."""
    seconds = [make("test", ROOT, surroundings()) for _ in range(repeats)]
    return Measured([Figure("make test, warm", "s", seconds, AtMost(12 * 60))])


def cold(repeats: int) -> Measured:
    """Measure in a fresh clone each time."""
    seconds = []
    for _ in range(repeats):
        with fresh_clone() as (root, settings):
            seconds.append(make("test", root, settings))
    return Measured([Figure("make test, fresh clone", "s", seconds, AtMost(20 * 60))], notes=[NOTE])


BENCHMARK = Benchmark("test_time", "test_time.py", 1, warm)
COLD = Benchmark("test_time_cold", "test_time.py --cold", 1, cold)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK, cold=COLD))
