"""Measures the command line: the time of --help, and of rendering everything."""

import sys
from collections.abc import Sequence

from benchmarks.harness import ROOT, AtMost, Benchmark, Figure, Measured, Stopwatch, main
from benchmarks.release import lockgate


def seconds(repeats: int, *arguments: str) -> Sequence[float]:
    """Return the times of whole processes; the first one does not count, since its files are not cached yet."""
    found = []
    for _ in range(repeats + 1):
        watch = Stopwatch()
        done = lockgate(ROOT, *arguments)
        found.append(watch.seconds)
        if done.returncode:
            sys.exit(f"lockgate {' '.join(arguments)} failed:\n{done.stderr}")
    return found[1:]


def measure(repeats: int) -> Measured:
    """Measure both; rendering writes no files here, because nothing has changed."""
    return Measured(
        [
            Figure("lockgate --help", "s", seconds(repeats, "--help"), AtMost(0.25)),
            Figure("lockgate render, everything", "s", seconds(repeats, "render"), AtMost(2)),
        ]
    )


BENCHMARK = Benchmark("cli", "cli.py", 10, measure)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK))
