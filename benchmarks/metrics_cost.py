"""Measures what the metrics of the model server cost: the same calls to a server with and one without them, in turn."""

import http.client
import json
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.harness import ROOT, AtMost, Benchmark, Figure, Measured, main
from benchmarks.serving import call, serving, tiny_bundle

PAIRS = {1: 2_000, 1_000: 200, 30_000: 20}
MOST_PERCENT = 2.0


def cost(counted: http.client.HTTPConnection, plain: http.client.HTTPConnection, rows: int) -> float:
    """Return by how many percent the median answer of the server with metrics takes longer.

    The two are called in turn, and each is the first of every second pair: so a change of the machine's load concerns
    both alike.
    """
    body = json.dumps(tiny_bundle.request((tiny_bundle.ROWS * rows)[:rows]))
    taken: dict[http.client.HTTPConnection, list[float]] = {counted: [], plain: []}
    for number in range(PAIRS[rows]):
        for connection in (counted, plain) if number % 2 else (plain, counted):
            taken[connection].append(call(connection, body))
    return 100 * (statistics.median(taken[counted]) / statistics.median(taken[plain]) - 1)


def measure(repeats: int) -> Measured:
    """Measure two new servers each time, on the same machine at the same time."""
    found: dict[int, list[float]] = {rows: [] for rows in PAIRS}
    for _ in range(repeats):
        with ExitStack() as stack:
            folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)]
            counted = stack.enter_context(serving(folders[0], ROOT, "--metrics-port", "0"))
            plain = stack.enter_context(serving(folders[1], ROOT))
            for rows, values in found.items():
                values.append(cost(counted, plain, rows))
    figures = [
        Figure(f"metrics, of an answer to {rows} row{'s'[: rows > 1]}", "%", values, AtMost(MOST_PERCENT))
        for rows, values in found.items()
    ]
    return Measured(figures, notes=["Two servers answer the same calls in turn; nobody reads the metrics meanwhile."])


BENCHMARK = Benchmark("metrics_cost", "metrics_cost.py", 7, measure)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK))
