"""Run the suites: the composer's here, each step's in the environment of its own lock, so that no import is missed.

python tests/run_all.py               everything that needs no cluster
python tests/run_all.py ingest train  only the suites whose names contain one of these words
python tests/run_all.py statistics    the slow simulations in full
python tests/run_all.py faults        only the tests marked `faults`, for $LOCKGATE_FAULT_SECONDS in all (600)
"""

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from lockgate.definition.catalog import Catalog
from lockgate.images.installed import command, environment

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
SUMMARY = re.compile(r"(\d+) (passed|failed|skipped|error|errors)\b")
AT_ONCE = 2
LONG = ("contracts", "journeys", "lockgate", "conformance", "train", "package", "model-server")
SLOW, CLUSTER, FAULTS = "statistics", "cluster", "faults"  # only if named
FAULT = re.compile(r"^@pytest\.mark\.faults$", re.MULTILINE)


@dataclass(frozen=True)
class Suite:
    """A folder of tests and the environment they run in."""

    name: str
    folder: Path
    lock: Path | None
    code: tuple[Path, ...]
    files: tuple[str, ...] = ()  # of the folder; all if empty
    options: tuple[str, ...] = ()  # of pytest

    def command(self) -> tuple[list[str], dict[str, str]]:
        """Return the command line and environment of its pytest."""
        tests = [str(self.folder / name) for name in self.files] or [str(self.folder)]
        options = ["-q", "-p", "no:cacheprovider", *self.options, *tests]
        if self.lock is None:
            return [sys.executable, "-m", "pytest", *options], dict(os.environ)
        found = environment(self.lock, self.code)
        argv, env = command(found, ["-m", "pytest", *options], lambda: print(f"  installing {self.name}", flush=True))
        passed = {k: v for k, v in os.environ.items() if k.startswith(("LOCKGATE_", "HYPOTHESIS_")) or k == "CI"}
        return argv, {**env, **passed}


def suites() -> list[Suite]:
    """Return every suite; the lock of a step's tests is its image's, plus the tests' tools and oracles."""
    every = _suites()
    return every + [
        replace(suite, name=f"{FAULTS}-{suite.name}", files=tuple(files), options=("-m", FAULTS))
        for suite in every
        if not suite.name.startswith((SLOW, CLUSTER)) and (files := _with_faults(suite))
    ]


def _with_faults(suite: Suite) -> dict[str, int]:
    """Return the files of a suite that have tests marked `faults`, and how many."""
    found = {path: len(FAULT.findall(path.read_text("utf-8"))) for path in sorted(suite.folder.rglob("test_*.py"))}
    return {str(path.relative_to(suite.folder)): count for path, count in found.items() if count}


def _fault_share(chosen: list[Suite]) -> float:
    """Return the seconds of each test marked `faults`, so that all end in time on the suites that run at once."""
    counts = [sum(_with_faults(suite).values()) for suite in chosen if suite.name.startswith(FAULTS)]
    seconds = float(os.environ.get("LOCKGATE_FAULT_SECONDS", "600"))
    return seconds / max(sum(counts) / AT_ONCE, *counts) if counts else 0.0


def _suites() -> list[Suite]:
    catalog = Catalog.find()
    names = ("lockgate", "conformance", "rendered", "contracts", "adversary", "journeys")
    composer = [f for f in (TESTS / name for name in names) if f.is_dir()]
    here = [Suite(f.name, f, None, ()) for f in composer]
    sdk = [f for f in sorted((TESTS / "sdk").glob("*/")) if not (f / "lock.txt").is_file()]
    here += [Suite(f"sdk-{f.name}", f, None, ()) for f in sdk if any(f.glob("test_*.py"))]
    locked = [f for kind in ("steps", "services", "sdk") for f in sorted((TESTS / kind).glob("*/"))]
    gates = tuple(ROOT / "steps" / name for name in ("bias-audit", "canary", "validate"))
    couler = TESTS / "couler"
    here.append(Suite(couler.name, couler, couler / "lock.txt", (ROOT, catalog.sdk)))
    slow = TESTS / "statistics"
    here += _on_the_cluster(TESTS / CLUSTER)
    here.append(Suite(SLOW, slow, slow / "lock.txt", (catalog.sdk, *gates)))
    return here + [
        Suite(f.name, f, f / "lock.txt", (catalog.sdk, *_code(f))) for f in locked if (f / "lock.txt").is_file()
    ]


def _on_the_cluster(folder: Path) -> list[Suite]:
    """Return the cluster suites: the releases one after the other to save CPU, and in parallel the lighter tests."""
    every = {path.name for path in folder.glob("test_*.py")}
    light = {f"test_{name}.py" for name in ("doctor", "images", "manifests", "platform", "submit")}
    return [
        Suite(f"{CLUSTER}-{name}", folder, None, (), tuple(sorted(files)))
        for name, files in (("releases", every - light), ("commands", light))
    ]


def _code(folder: Path) -> tuple[Path, ...]:
    served = ("predict", "smoke-test", "model-server")
    names = served if folder.name in served else (folder.name,)
    places = (ROOT / kind / name for kind in ("steps", "services") for name in names)
    return tuple(place for place in places if place.is_dir())


def run(suite: Suite, aloud: bool = False) -> tuple[Suite, int, str, float]:
    """Run one suite; its whole output is shown if it fails.

    aloud: print each test as it ends, for a long suite.
    """
    argv, env = suite.command()
    began = time.monotonic()
    lines = []
    more = ["-vv", "--durations=15"] if aloud else []  # one v cancels the q
    with subprocess.Popen(
        [*argv, *more], cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if aloud:
                print(f"{suite.name}: {line}", end="", flush=True)
    return suite, process.returncode, "".join(lines), time.monotonic() - began


def main(words: list[str]) -> int:
    """Run the suites, and print one last line that counts every test."""
    chosen = [
        suite
        for suite in suites()
        if (
            any(word in suite.name for word in words) and (FAULTS in words or not suite.name.startswith(FAULTS))
            if words
            else not suite.name.startswith((SLOW, CLUSTER, FAULTS))
        )
    ]
    os.environ["LOCKGATE_FAULT_SHARE"] = str(_fault_share(chosen))
    chosen.sort(key=lambda s: s.name not in LONG)  # the long ones first, so that no core is idle at the end
    counts = dict.fromkeys(("passed", "failed", "skipped"), 0)
    bad = []
    aloud = all(suite.name.startswith(CLUSTER) for suite in chosen)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for suite, code, output, took in pool.map(partial(run, aloud=aloud), chosen):
            for number, word in SUMMARY.findall(output.strip().splitlines()[-1] if output.strip() else ""):
                counts["failed" if word.startswith(("fail", "error")) else word] += int(number)
            last = next(iter(output.strip().splitlines()[-1:]), "no output")
            print(f"  {'ok ' if code == 0 else 'BAD'} {suite.name:<20} {took:6.1f} s  {last}", flush=True)
            if code:
                bad.append(suite.name)
                if not aloud:
                    print(output, flush=True)
    if bad and not counts["failed"]:
        counts["failed"] = len(bad)  # a suite that did not start has failed
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if bad or not counts["passed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
