"""Measures the overhead per step of three engines with chains of steps that do nothing: Lockgate, kfp.local, Metaflow.

Each chain is one whole process: start, import, compile, run. The overhead per step is the chain's time per step minus
the time of a bare process (`python -S -c pass`), so it includes a share of the engine's start. Peers run a step in a
process that imports the peer. Compare them with Lockgate's step that is written with its SDK, since that step imports
the SDK. The target is for the engine alone.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.harness import CHILDREN, PEERS, AtMost, Benchmark, Figure, Measured, Stopwatch, main, surroundings
from lockgate.images.installed import command, environment

LENGTHS = (6, 20)
TARGET = AtMost(0.15)
NOWHERE = "http://127.0.0.1:9"  # the discard port: telemetry of a peer is refused at once
FLOW = """\
from metaflow import FlowSpec, step


class Chain(FlowSpec):
{methods}

if __name__ == "__main__":
    Chain()
"""
METHOD = """
    @step
    def {name}(self):
        {last}
"""


@dataclass(frozen=True)
class Rival:
    """An engine: its name in the figures, and the command line of a chain, by number of steps and folder."""

    name: str
    chain: Callable[[int, Path], list[str]]
    target: AtMost | None = None


def lockgate(body: str) -> Callable[[int, Path], list[str]]:
    """Return the command line of Lockgate's chain."""
    return lambda steps, folder: [sys.executable, str(CHILDREN / "lockgate_chain.py"), str(steps), str(folder), body]


def peer(name: str, *arguments: str) -> list[str]:
    """Return a command line in a peer's own environment, which is created if needed."""
    made = environment(PEERS / f"{name}.lock", [])
    argv, _ = command(made, arguments, lambda: print(f"installing {name}", flush=True))
    return argv


def kfp(steps: int, folder: Path) -> list[str]:
    """Return the command line of kfp's chain."""
    return peer("kfp", str(PEERS / "kfp_chain.py"), str(steps), str(folder))


def metaflow(steps: int, folder: Path) -> list[str]:
    """Return the command line of Metaflow's chain; Metaflow needs a file in which each step has a name."""
    names = ["start", *(f"step_{at}" for at in range(1, steps - 1)), "end"]
    following = [f"self.next(self.{name})" for name in names[1:]] + ["pass"]
    methods = "".join(METHOD.format(name=name, last=last) for name, last in zip(names, following, strict=True))
    (folder / "chain.py").write_text(FLOW.format(methods=methods))
    return peer("metaflow", "chain.py", "--quiet", "--no-pylint", "run")


RIVALS = (
    Rival("Lockgate, a bare process as step", lockgate("process"), TARGET),
    Rival("Lockgate, a step written with its SDK", lockgate("sdk")),
    Rival("kfp.local SubprocessRunner(use_venv=False)", kfp),
    Rival("Metaflow, local run", metaflow),
)


def bare() -> float:
    """Return the seconds of a process that does nothing, as the mean of several in sequence."""
    watch = Stopwatch()
    for _ in range(max(LENGTHS)):
        subprocess.run([sys.executable, "-S", "-c", "pass"], check=True, stdin=subprocess.DEVNULL)
    return watch.seconds / max(LENGTHS)


def whole(rival: Rival, steps: int) -> float:
    """Return the seconds of a chain in its own folder."""
    folder = Path(tempfile.mkdtemp())
    try:
        (folder / "environment").mkdir()
        settings = surroundings(
            HOME=str(folder), USERNAME="bench", METAFLOW_USER="bench", METAFLOW_HOME=str(folder),
            METAFLOW_DATASTORE_SYSROOT_LOCAL=str(folder), METAFLOW_DEFAULT_METADATA="local",
            METAFLOW_DEFAULT_MONITOR="nullSidecarMonitor", METAFLOW_DEFAULT_EVENT_LOGGER="nullSidecarLogger",
            HTTP_PROXY=NOWHERE, HTTPS_PROXY=NOWHERE, http_proxy=NOWHERE, https_proxy=NOWHERE,
            PYTHONDONTWRITEBYTECODE="1", PYTHONWARNINGS="ignore",
        )  # fmt: skip
        argv = rival.chain(steps, folder)
        watch = Stopwatch()
        done = subprocess.run(argv, cwd=folder, env=settings, capture_output=True, text=True, check=False)
        took = watch.seconds
        if done.returncode:
            sys.exit(f"{rival.name} failed with {steps} steps:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        return took
    finally:
        shutil.rmtree(folder)


def measure(repeats: int) -> Measured:
    """Run the chains in turn, so that a busy moment affects all engines alike."""
    for rival in RIVALS:
        whole(rival, min(LENGTHS))  # creates environments and fills file caches before the measurement
    processes: list[float] = []
    took: dict[tuple[Rival, int], list[float]] = {(rival, steps): [] for rival in RIVALS for steps in LENGTHS}
    for _ in range(repeats):
        processes.append(bare())
        for rival, steps in took:
            took[rival, steps].append(whole(rival, steps))
    spent = median(processes)
    figures = [Figure("a bare process", "s", processes)]
    for (rival, steps), seconds in took.items():
        beyond = [max(each / steps - spent, 0.0) for each in seconds]
        figures.append(Figure(f"{rival.name}, {steps} steps: overhead per step", "s", beyond, rival.target))
    figures += [Figure(f"{rival.name}, {steps} steps: total time", "s", all_) for (rival, steps), all_ in took.items()]
    return Measured(figures, {name: version(name) for name in ("kfp", "metaflow")})


def version(name: str) -> str:
    """Return the version in a peer's lock."""
    text = (PEERS / f"{name}.lock").read_text()
    return next(line.split("==")[1].split()[0] for line in text.splitlines() if line.startswith(f"{name}=="))


BENCHMARK = Benchmark("engine_overhead", "engine_overhead.py", 5, measure)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK))
