"""Real runs of adult-income for the benchmarks, in a separate project, on a separate port, without reused results."""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockgate_proof import Trust, verify

from benchmarks.harness import CHILDREN, ROOT, Stopwatch, peak_mib, surroundings
from lockgate.definition.catalog import Catalog
from lockgate.images.installed import Installed, command

MODEL = "adult-income"
Json = dict[str, Any]


@dataclass(frozen=True)
class Released:
    """One run: its seconds, the seconds of each step, and the peak memory of the engine and of the supervisor."""

    seconds: float
    steps: Mapping[str, float]
    engine_mib: float
    supervisor_mib: float
    exit_code: int
    folder: Path
    trust: Path

    def verdict(self, gate: str) -> Json:
        """Return the measurements in a gate's verdict, after verifying its signature."""
        trust = Trust.read(self.trust)
        (record,) = self.folder.glob(f"nodes/*{gate}.*/out/verdict")
        return dict(verify(record, trust, signer=gate, kind="verdict").predicate["measurements"])


def install() -> None:
    """Create the environments that a run needs, if they do not exist."""
    catalog = Catalog.find()
    for image in sorted({program.image for program in catalog.programs.values()} | {"model-server"}):
        command(Installed(catalog)(f"lockgate/{image}"), [], lambda name=image: print(f"installing {name}", flush=True))  # type: ignore[misc]


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def project() -> Iterator[Path]:
    """Yield a project with a copy of the models and no state; its platform is stopped at the end."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "project"
        shutil.copytree(ROOT / "pipelines", root / "pipelines", ignore=shutil.ignore_patterns("__pycache__"))
        try:
            yield root
        finally:
            lockgate(root, "serve", "--stop")


def lockgate(root: Path, *arguments: str, **changed: str) -> subprocess.CompletedProcess[str]:
    """Run one command in a project."""
    return subprocess.run(
        [sys.executable, "-m", "lockgate", *arguments], cwd=root, env=surroundings(**changed),
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@contextmanager
def released(**settings: str) -> Iterator[Released]:
    """Run the release workflow once with these settings; its files exist until the block ends."""
    with project() as root:
        peak = root / "peak"
        given = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
        argv = [sys.executable, str(CHILDREN / "own_peak.py"), str(peak), "run", MODEL, *given, "--json"]
        watch = Stopwatch()
        done = subprocess.run(
            argv,
            cwd=root,
            env=surroundings(LOCKGATE_PORT=str(free_port())),
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = watch.seconds
        if done.returncode not in (0, 3):
            said = done.stderr[-2000:] + done.stdout[-2000:]
            sys.exit(f"the run of {MODEL} failed with exit code {done.returncode}:\n{said}")
        result = json.loads(done.stdout)
        serving = json.loads((root / ".lockgate" / "serve" / "address.json").read_bytes())
        yield Released(
            seconds,
            {step["name"]: step["seconds"] for step in result["steps"] if step["seconds"]},
            float(peak.read_text()),
            peak_mib(serving["pid"]),
            done.returncode,
            root / ".lockgate" / "runs" / result["run"],
            root / ".lockgate" / "environment" / "lockgate-environment" / "trust.json",
        )
