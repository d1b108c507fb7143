"""The parts that every benchmark shares: figures, targets, tables, and results with machine and versions."""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RESULTS = HERE / "results"
CHILDREN = HERE / "children"  # scripts that run in a separate process
PEERS = HERE / "peers"  # scripts that run with other packages


@dataclass(frozen=True)
class AtMost:
    """A target that the median must not exceed."""

    value: float

    def __str__(self) -> str:
        return f"at most {self.value:g}"

    def holds(self, median: float) -> bool:
        """Return whether a median meets the target."""
        return median <= self.value


@dataclass(frozen=True)
class AtLeast:
    """A target that the median must reach."""

    value: float

    def __str__(self) -> str:
        return f"at least {self.value:g}"

    def holds(self, median: float) -> bool:
        """Return whether a median meets the target."""
        return median >= self.value


@dataclass(frozen=True)
class Figure:
    """One measured quantity with a value per repeat; a figure without a target is for comparison."""

    what: str
    unit: str
    values: Sequence[float]
    target: AtMost | AtLeast | None = None
    interval: tuple[float, float] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the figure as it is stored, rounded to four significant digits, the precision of the clock."""
        median = statistics.median(self.values)
        return {
            "what": self.what,
            "unit": self.unit,
            "repeats": len(self.values),
            "min": _rounded(min(self.values)),
            "median": _rounded(median),
            "max": _rounded(max(self.values)),
            "interval": list(self.interval) if self.interval else None,
            "target": str(self.target) if self.target else None,
            "holds": self.target.holds(median) if self.target else None,
        }


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


@dataclass(frozen=True)
class Measured:
    """The figures of a benchmark, the versions of the measured software, and notes for the reader."""

    figures: Sequence[Figure]
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    name: the name of its result.
    script: the script, with options, that reruns it.
    repeats: the default number of repeats.
    """

    name: str
    script: str
    repeats: int
    measure: Callable[[int], Measured]

    def run(self, repeats: int | None = None) -> dict[str, Any]:
        """Measure, write the result, and print it."""
        load = os.getloadavg()[0]
        measured = self.measure(repeats or self.repeats)
        result = {
            "name": self.name,
            "rerun": f".venv/bin/python benchmarks/{self.script}",
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine(),
            "load_before": round(load, 1),
            "versions": {"python": platform.python_version(), **measured.versions},
            "figures": [figure.to_json() for figure in measured.figures],
            "notes": list(measured.notes),
        }
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{self.name}.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
        print("\n".join(lines(result)), flush=True)
        return result


def main(benchmark: Benchmark, **others: Benchmark) -> int:
    """Run as a script: measure the benchmark, or another one by its option; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=(sys.modules["__main__"].__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int)
    for option, other in others.items():
        parser.add_argument(f"--{option}", action="store_const", const=other, dest="benchmark")
    parser.set_defaults(benchmark=benchmark)
    chosen = parser.parse_args()
    result = chosen.benchmark.run(chosen.repeats)
    return 1 if any(figure["holds"] is False for figure in result["figures"]) else 0


def lines(result: Mapping[str, Any]) -> list[str]:
    """Return a result as a table for a terminal."""
    rows = [("", "target", "median", "min", "max", "repeats")]
    for figure in result["figures"]:
        median, least, most = (f"{figure[key]:g}" for key in ("median", "min", "max"))
        missed = "  MISSED" if figure["holds"] is False else ""
        what = f"{figure['what']} ({figure['unit']})" if figure["unit"] else str(figure["what"])
        rows.append((what, figure["target"] or "", median, least, most, f"{figure['repeats']}{missed}"))
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [f"\n{result['name']} ({about(result)})", *table, *(f"  {note}" for note in result["notes"])]


def about(result: Mapping[str, Any]) -> str:
    """Return the date, machine, load and versions of a result."""
    on, versions = result["machine"], result["versions"]
    what = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"{result['date']}; {on['cpu']}, {on['cores']} cores, {on['memory_gib']} GiB, {on['kernel']}, "
        f"load {result['load_before']} before; {what}"
    )


def machine() -> dict[str, Any]:
    """Return a description of this machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    kernel = f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": _cpu(), "cores": cores, "memory_gib": round(memory / 2**30), "kernel": kernel}


def _cpu() -> str:
    try:
        said = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    named = [line.split(":", 1)[1].strip() for line in said.splitlines() if line.startswith("model name")]
    return named[0] if named else platform.machine()


def peak_mib(pid: int | str = "self") -> float:
    """Return the peak memory in MiB of a process, without its children. Linux only.

    `ru_maxrss` is not used, since a process inherits the peak of its parent in it.
    """
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


class Stopwatch:
    """Counts the seconds since its creation."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """The seconds since its creation."""
        return time.perf_counter() - self._began


def surroundings(**changed: str) -> dict[str, str]:
    """Return the environment variables for a child: this process's, without those of make or an activated shell."""
    dropped = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "VIRTUAL_ENV", "PYTHONPATH", "LOCKGATE_PORT")
    return {name: value for name, value in os.environ.items() if name not in dropped} | changed
