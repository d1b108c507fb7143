"""Measures how fast users are back: from a canary that is refused, and by `lockgate rollback`.

A small model with a rollout by shares, on this machine. A client sends 50 requests a second meanwhile.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness import AtMost, Benchmark, Figure, Measured, main
from tests.asking import Client, infer
from tests.workshop import MODEL, Project, platform

NEAR = {"years": 22, "income": 45000, "sector": "public"}  # beside the threshold of one half


@contextmanager
def project() -> Iterator[Project]:
    """A project with two versions that were live."""
    with TemporaryDirectory() as folder, platform(Project.make(Path(folder))) as made:
        made.give_rollout("Canary(shares=(20, 50), hold='5s')")
        _run(made, 0, "run", MODEL, "--set", "threshold=0.3")
        with Client(lambda: _asked(made)):
            _run(made, 0, "run", MODEL, "--set", "threshold=0.31")
        yield made


def measured(repeats: int) -> Measured:
    """Refuse a version whose answers are shifted, then bring the version before back."""
    told, seen, whole, answered, failed = [], [], [], [], 0
    with project() as made:
        for number in range(repeats):
            old = made.bundle
            with Client(lambda: _asked(made)) as client:
                _run(made, 3, "run", MODEL, "--set", f"threshold=0.7{number}")
                time.sleep(1)
            seconds, at = _back(made)
            told.append(seconds)
            last = max(end for _, end, bundle in client.answers if bundle != old)
            seen.append(max(0.0, last - (at - seconds)))
            failed += len(client.failures)
            began = time.time()
            with Client(lambda: _asked(made)) as client:
                _run(made, 0, "rollback", MODEL)
                whole.append(time.time() - began)
            answered.append(min(end for _, end, bundle in client.answers if bundle != old) - began)
            failed += len(client.failures)
    figures = [
        Figure("refused canary: from the decision until the relay sends everything to live", "s", told, AtMost(5)),
        Figure("refused canary: from the decision to the last answer of the refused version", "s", seen, AtMost(5)),
        Figure("lockgate rollback: to the first answer of the version before", "s", answered, AtMost(60)),
        Figure("lockgate rollback: the whole command", "s", whole, AtMost(60)),
        Figure("failed requests in all of these", "requests", [failed], AtMost(0)),
    ]
    notes = [
        "50 requests a second through the public port, one row each.",
        "The log has whole seconds: the second figure is up to 1 s too large.",
    ]
    return Measured(figures, notes=notes)


def _run(made: Project, code: int, *arguments: str) -> None:
    done = made.lockgate(*arguments)
    if done.code != code:
        sys.exit(done.said)


def _asked(made: Project) -> str:
    return str(infer(f"http://127.0.0.1:{made.port}", MODEL, NEAR, seconds=60)["parameters"]["bundle"])


def _back(made: Project) -> tuple[float, float]:
    """Return how long it took until everything went to live, and when that was, from the log of canary's last run."""
    newest = max((made.state / "runs").glob("*/run.json"), key=lambda path: path.stat().st_mtime).parent.name
    lines = (made.node(newest, "canary") / "log").read_text().splitlines()
    said = next(line for line in map(json.loads, lines) if line["event"] == "back-to-live")
    moment = time.mktime(time.strptime(said["time"], "%Y-%m-%dT%H:%M:%SZ")) - time.timezone
    return float(said["seconds"]), moment


BENCHMARK = Benchmark("rollout", "rollout.py", 3, measured)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK))
