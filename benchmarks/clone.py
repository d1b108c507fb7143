"""A fresh clone with empty caches, as a new user has it."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness import ROOT, Stopwatch, surroundings
from benchmarks.release import free_port

NOTE = "Fresh clone, without an environment or a download cache; packages come from pip's configured index."


@contextmanager
def fresh_clone() -> Iterator[tuple[Path, dict[str, str]]]:
    """Yield a clone of the committed files, and environment variables that point caches to empty folders."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(root)], check=True)
        caches = {name: str(Path(folder) / name) for name in ("LOCKGATE_CACHE", "UV_CACHE_DIR", "XDG_CACHE_HOME")}
        settings = surroundings(**caches, PIP_NO_CACHE_DIR="1", LOCKGATE_PORT=str(free_port()))
        settings["PATH"] = _without_venv(settings["PATH"])
        try:
            yield root, settings
        finally:
            if (root / ".venv" / "bin" / "lockgate").exists():
                subprocess.run([root / ".venv/bin/lockgate", "serve", "--stop"], cwd=root, env=settings, check=False)


def _without_venv(path: str) -> str:
    return os.pathsep.join(each for each in path.split(os.pathsep) if Path(each) != Path(sys.executable).parent)


def make(target: str, root: Path, settings: dict[str, str]) -> float:
    """Return the seconds that a make target takes; exit if it fails."""
    make_found = shutil.which("make", path=settings["PATH"]) or "make"
    watch = Stopwatch()
    done = subprocess.run([make_found, target], cwd=root, env=settings, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"make {target} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return watch.seconds
