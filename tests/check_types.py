"""mypy strict, everywhere: the composer here, each step and its tests with the packages of its own lock."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from run_all import ROOT, Suite, suites

from lockgate.installed import command, environment
from lockgate.shelf import Shelf

COMPOSER = ["lockgate", "tests/lockgate", "tests/rendered", "tests/contracts", "tests/journeys", "tests/run_all.py"]
MYPY = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml")]


def check(name: str, paths: list[str], python: str | None = None) -> tuple[str, int, str]:
    """Run mypy over some folders, with the packages of one interpreter."""
    options = ["--cache-dir", f".mypy_cache/{name}", *(["--python-executable", python] if python else [])]
    folders = [path for path in paths if (ROOT / path).exists()]
    done = subprocess.run([*MYPY, *options, *folders], capture_output=True, text=True, check=False, cwd=ROOT)
    return name, done.returncode, done.stdout + done.stderr


def of_step(suite: Suite) -> tuple[str, int, str]:
    """Check a step and its tests inside the lock its tests run in."""
    assert suite.lock is not None
    (python, *_), _ = command(environment(suite.lock, suite.code), [])
    folders = [str(folder.relative_to(ROOT)) for folder in suite.code if folder != Shelf.find().sdk]
    return check(suite.name, [*folders, str(suite.folder.relative_to(ROOT))], python)


def main() -> int:
    """Check everything; print what is wrong."""
    os.environ["MYPYPATH"] = os.pathsep.join(["steps/sdk", *(str(f) for f in (ROOT / "pipelines").glob("*/"))])
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(check, "composer", COMPOSER)]
        futures += [pool.submit(of_step, suite) for suite in suites() if suite.lock is not None]
        bad = 0
        for future in futures:
            name, code, said = future.result()
            print(f"  {'ok ' if code == 0 else 'BAD'} types of {name}", flush=True)
            if code:
                bad += 1
                print(said)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
