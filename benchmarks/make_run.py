"""Measures the time of `lockgate run adult-income`, in total and by step, and the memory of its own two processes.

Warm: environments are installed, and no step's result is reused. With --cold: `make run` in a fresh clone.
"""

import sys
from statistics import median

from benchmarks.clone import NOTE, fresh_clone, make
from benchmarks.harness import AtMost, Benchmark, Figure, Measured, main
from benchmarks.release import install, released

TARGETS = {"train": AtMost(20)}


def warm(repeats: int) -> Measured:
    """Run in a new project each time."""
    install()
    runs = []
    for _ in range(repeats):
        with released() as run:
            runs.append(run)
    if any(run.exit_code for run in runs):
        sys.exit("a run was refused; see lockgate run adult-income")
    figures = [Figure("lockgate run adult-income, total time", "s", [run.seconds for run in runs], AtMost(45))]
    figures += [
        Figure(f"  {name}", "s", [run.steps[name] for run in runs], TARGETS.get(name)) for name in runs[0].steps
    ]
    figures += [
        Figure("peak memory of the engine", "MiB", [run.engine_mib for run in runs], AtMost(150)),
        Figure("peak memory of the supervisor", "MiB", [run.supervisor_mib for run in runs]),
    ]
    between = median([run.seconds - sum(run.steps.values()) for run in runs])
    shared = "Parallel steps share the cores, so the sum of their times may exceed the total"
    return Measured(figures, notes=[f"{shared} (here: total minus sum {between:.1f} s)."])


def cold(repeats: int) -> Measured:
    """Run in a fresh clone each time."""
    seconds = []
    for _ in range(repeats):
        with fresh_clone() as (root, settings):
            seconds.append(make("run", root, settings))
    return Measured([Figure("make run, fresh clone", "s", seconds, AtMost(180))], notes=[NOTE])


BENCHMARK = Benchmark("make_run", "make_run.py", 3, warm)
COLD = Benchmark("make_run_cold", "make_run.py --cold", 1, cold)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK, cold=COLD))
