"""Measure all benchmarks, or the named ones, and render the tables of benchmarks/README.md from the results.

.venv/bin/python benchmarks/run_all.py                      all but the slow ones
.venv/bin/python benchmarks/run_all.py cli make_run_cold    only these
.venv/bin/python benchmarks/run_all.py --table              only render, without measuring
"""

import argparse
import json
import sys
from collections.abc import Mapping
from typing import Any

from benchmarks import (
    adult_accuracy,
    bias_audit_resampling,
    cli,
    cluster,
    engine_overhead,
    images,
    ingest_memory,
    make_run,
    manifest_size,
    metrics_cost,
    rollout,
    serving,
    test_time,
)
from benchmarks.harness import HERE, RESULTS, about

USUAL = (
    cli.BENCHMARK,
    engine_overhead.BENCHMARK,
    make_run.BENCHMARK,
    adult_accuracy.BENCHMARK,
    bias_audit_resampling.BENCHMARK,
    manifest_size.BENCHMARK,
    serving.BENCHMARK,
    metrics_cost.BENCHMARK,
    rollout.BENCHMARK,
)
SLOW = (
    make_run.COLD, ingest_memory.BENCHMARK, ingest_memory.SMALL, test_time.BENCHMARK, test_time.COLD,
    cluster.UP, cluster.STEPS, cluster.RELEASE, images.BENCHMARK,
)  # fmt: skip
BEGIN, END = "<!-- begin: figures -->\n", "<!-- end: figures -->"


def main() -> int:
    """Measure, then render; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    every = {benchmark.name: benchmark for benchmark in (*USUAL, *SLOW)}
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(every)}")
    parser.add_argument("--repeats", type=int, help="number of repeats (default: each benchmark's own number)")
    parser.add_argument("--table", action="store_true", help="only render the tables, without measuring")
    chosen = parser.parse_args()
    unknown = [name for name in chosen.names if name not in every]
    if unknown:
        parser.error(f"benchmark {unknown[0]} not found; choose from {', '.join(every)}")
    wanted = [every[name] for name in chosen.names] or list(USUAL)
    results = [] if chosen.table else [benchmark.run(chosen.repeats) for benchmark in wanted]
    readme = HERE / "README.md"
    readme.write_text(with_tables(readme.read_text("utf-8"), every), "utf-8")
    missed = [figure for result in results for figure in result["figures"] if figure["holds"] is False]
    print(f"\n{len(results)} measured, {len(missed)} targets missed; tables in {readme}")
    return 1 if missed else 0


def with_tables(readme: str, every: Mapping[str, Any]) -> str:
    """Return the README with its tables rendered from the results."""
    found = [RESULTS / f"{name}.json" for name in every]
    tables = "\n".join(table(json.loads(path.read_bytes())) for path in found if path.is_file())
    before, rest = readme.split(BEGIN, 1)
    return f"{before}{BEGIN}{tables}{END}{rest.split(END, 1)[1]}"


def table(result: Mapping[str, Any]) -> str:
    """Return one result as Markdown."""
    rows = ["| figure | target | median | min to max | repeats | |", "|---|---|---|---|---|---|"]
    for figure in result["figures"]:
        unit = f" {figure['unit']}" if figure["unit"] else ""
        interval = figure["interval"]
        spread = f"{figure['min']:g} to {figure['max']:g}"
        reached = f"{figure['median']:g}{unit}"
        if interval:
            reached, spread = f"{reached}, 95 % interval {interval[0]:g} to {interval[1]:g}", ""
        target = f"{figure['target']}{unit}" if figure["target"] else ""
        holds = {True: "met", False: "**missed**", None: ""}[figure["holds"]]
        rows.append(f"| {figure['what'].strip()} | {target} | {reached} | {spread} | {figure['repeats']} | {holds} |")
    notes = "".join(f"{note}\n" for note in result["notes"])
    return f"### {result['name']}\n\n" + "\n".join(rows) + f"\n\n{notes}{about(result)}. Rerun: `{result['rerun']}`\n\n"


if __name__ == "__main__":
    sys.exit(main())
