"""Runs that are concurrent, are killed, or run out of disk space: the live version changes once or not at all."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workshop import MODEL, Project, ended, unharmed


def phase(project: Project, run: str, step: str) -> str:
    """Return the phase of a step in a run's record."""
    nodes = json.loads((project.state / "runs" / run / "run.json").read_bytes())["nodes"].values()
    return next((node["phase"] for node in nodes if node["displayName"].split("(")[0] == step), "Omitted")


def killed_in(project: Project, step: str, *arguments: str) -> str:
    """Start a run, kill it with SIGKILL while this step runs, and return its id."""
    known = project.run_ids()
    process = project.start("run", MODEL, *arguments)
    resumed = arguments[-1] if "--resume" in arguments else None
    while process.poll() is None:
        run = resumed or next(iter(project.run_ids() - known), None)
        if run and phase(project, run, step) == "Running":
            os.kill(process.pid, signal.SIGKILL)
            ended(process)
            return run
        time.sleep(0.02)
    raise AssertionError(ended(process).said)


def begun_since(project: Project, known: set[str]) -> set[str]:
    """Return the recorded runs with an about.json, except the known ones."""
    return {run for run in project.run_ids() - known if (project.state / "runs" / run / "about.json").exists()}


def test_a_run_killed_at_any_moment_goes_on_and_promotes_once(released: Project, tmp_path: Path) -> None:
    project = released.twin(tmp_path / "project")
    before, generation = released.live(), released.generation
    run = killed_in(project, "train", "--set", "seed=1")
    for step in ("package", "deploy", "smoke-test"):
        assert project.lockgate("status").code == 0
        assert released.live() == before
        killed_in(project, step, "--resume", run)
    killed_in(project, "promote", "--resume", run)
    assert released.generation in (generation, generation + 1)
    done = project.lockgate("run", MODEL, "--resume", run[:4])
    assert done.code == 0, done.said
    # --resume keeps the settings of the first call.
    assert json.loads((project.state / "runs" / run / "run.json").read_bytes())["parameters"]["seed"] == "1"
    assert (released.generation, released.answers()) == (generation + 1, released.bundle)
    records = released.records()
    assert json.loads(records["live.json"])["run"] == run
    assert f"history/{generation + 1}.json" in records
    assert "candidate.json" not in records


def test_of_two_runs_at_once_one_is_promoted(released: Project, tmp_path: Path) -> None:
    project = released.twin(tmp_path / "project")
    generation = released.generation
    known = project.run_ids()
    first = project.start("run", MODEL, "--set", "seed=2")
    while first.poll() is None and not (begun := begun_since(project, known)):
        time.sleep(0.02)
    done = [ended(process) for process in (project.start("run", MODEL, "--set", "seed=3"), first)]
    assert [f"run {run} of {MODEL} is in progress" in done[0].err for run in begun] == [True], done[0].said
    said = "\n".join(each.said for each in done)
    assert sorted(each.code for each in done) == [0, 3], said
    assert (released.generation, released.answers()) == (generation + 1, released.bundle)
    (loser,) = [each for each in done if each.code == 3]
    loser.check(3, "live has moved")
    assert "Traceback" not in said
    assert "candidate.json" not in released.records()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of one megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_said_and_changes_nothing(released: Project, small_disk: Path, tmp_path: Path) -> None:
    project = released.twin(tmp_path / "project")
    project.own_state("runs")
    (project.state / "runs").symlink_to(small_disk)
    with unharmed(released):
        done = project.lockgate("run", MODEL)
    done.check(4, "(?i)space")
