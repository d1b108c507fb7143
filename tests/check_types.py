"""Run mypy in strict mode: the composer here, each step and its tests with the packages of its own lock."""

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from run_all import FAULTS, ROOT, Suite, suites

from lockgate.images.installed import command, environment

COMPOSER = [
    "lockgate",
    "tests/adversary",
    "tests/audit",
    "tests/lockgate",
    "tests/rendered",
    "tests/contracts",
    "tests/journeys",
    "tests/cluster",
    "tests/conformance",
    "docs/generate",
    "benchmarks/cluster.py",
    "benchmarks/images.py",
    "tests/pages.py",
    "tests/run_all.py",
    "pipelines/adult_income/release_couler.py",
]
MYPY = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml")]


def check(name: str, paths: list[str], code: Sequence[Path] = (), python: str | None = None) -> tuple[str, int, str]:
    """Run mypy on some folders, with this code on the path and the packages of one interpreter."""
    options = ["--cache-dir", f".mypy_cache/{name}", *(["--python-executable", python] if python else [])]
    folders = [path for path in paths if (ROOT / path).exists()]
    # Other suites that call a server share the stub bundle of the model server's tests.
    path = [*code, ROOT / "steps" / "sdk", ROOT / "tests" / "services" / "model-server"]
    env = {**os.environ, "MYPYPATH": os.pathsep.join(map(str, dict.fromkeys(path)))}
    done = subprocess.run([*MYPY, *options, *folders], capture_output=True, text=True, check=False, cwd=ROOT, env=env)
    return name, done.returncode, done.stdout + done.stderr


def of_step(suite: Suite) -> tuple[str, int, str]:
    """Check a step and its tests with the lock of its tests."""
    assert suite.lock is not None
    (python, *_), _ = command(environment(suite.lock, suite.code), [])
    folders = [f for f in suite.code if f.name == suite.folder.name and f != ROOT]
    return check(suite.name, [str(f.relative_to(ROOT)) for f in [*folders, suite.folder]], suite.code, python)


def main() -> int:
    """Check everything; print the errors."""
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(check, "composer", COMPOSER, sorted((ROOT / "pipelines").glob("*/")))]
        futures += [
            pool.submit(of_step, suite) for suite in suites() if suite.lock and not suite.name.startswith(FAULTS)
        ]
        bad = 0
        for future in futures:
            name, code, output = future.result()
            print(f"  {'ok ' if code == 0 else 'BAD'} types of {name}", flush=True)
            if code:
                bad += 1
                print(output)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
