"""What is live on this machine: a whole project, attacked by somebody who can write its store."""

import json
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lockgate_step import canonical

from tests.workshop import MODEL, POLICY, Bench, Project, platform, release, unharmed

SECRET = "hunter2secret"  # pragma: allowlist secret


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with platform(Project.make(tmp_path_factory.mktemp("released"))) as project:
        release(project)
        yield project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project in which nothing has run yet."""
    return Project.make(tmp_path / "project")


@pytest.fixture(scope="module")
def refused(released: Project, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A bundle that package sealed and smoke-test refused."""
    known = bundles(released)
    project = released.twin(tmp_path_factory.mktemp("refused") / "project")
    (project.pipeline / "policy.toml").write_text(POLICY.replace("at_most = 5000", "at_most = 1"))
    done = project.lockgate("run", MODEL, "--set", "seed=1")
    assert (done.code, "Refused by smoke-test" in done.said) == (3, True), done.said
    (found,) = bundles(released) - known
    return f"sha256:{found}"


def bundles(project: Project) -> set[str]:
    return {path.name for path in (project.state / "store" / "models" / MODEL / "bundles").iterdir()}


def status(project: Project) -> dict[str, Any]:
    done = project.lockgate("status", MODEL, "--json")
    assert done.code == 0, done.said
    return dict(json.loads(done.out)["models"][MODEL])


def until_followed(project: Project, says: str) -> None:
    """Wait until the supervisor has looked at the pointer and written what it concluded."""
    file = project.state / "store" / "models" / MODEL / "status.json"
    while says not in str(json.loads(file.read_bytes()).get("alert")):
        project.ask()


def test_a_pointer_to_a_refused_bundle_is_not_followed(released: Project, refused: str) -> None:
    honest, live = released.bundle, json.loads(released.live() or b"")
    key = f"models/{MODEL}/live.json"
    says = "its bundle is not the one in its signed promotion"
    try:
        released.store.put(key, canonical({**live, "bundle": refused}))
        until_followed(released, says)
        assert released.answers() == honest
        released.lockgate("verify", MODEL).check(3, says)
        said = status(released)
        assert (said["live"]["bundle"], said["answers"]) == (honest, True)
        assert says in said["alert"]
        assert "is not followed" in released.lockgate("status", MODEL).out
        released.lockgate("run", MODEL).check(3, says)
        # The platform remembers across a restart, and serves the version before.
        assert released.lockgate("serve", "--stop").code == 0
        assert released.lockgate("serve").code == 0
        until_served(released)
        assert released.answers() == honest
    finally:
        released.store.put(key, canonical(live))
    until_followed(released, "")
    assert released.lockgate("verify", MODEL).code == 0
    assert status(released)["alert"] == ""


def until_served(project: Project) -> None:
    file = project.state / "store" / "models" / MODEL / "status.json"
    while not (json.loads(file.read_bytes())["live"] or {}).get("ready"):
        os.sched_yield()


def test_verify_lists_the_promotion(released: Project) -> None:
    done = released.lockgate("verify", MODEL, "--json")
    checks = {check["check"]: check for check in json.loads(done.out)["checks"]}
    assert checks["promotion"]["result"] == f"generation {released.generation}"
    assert checks["promotion"]["signer"] == "this machine (promote key)"
    assert checks["promotion"]["subjects"]["bundle"] == released.bundle


def test_a_manifest_that_is_a_link_is_not_verified(released: Project, tmp_path: Path) -> None:
    folder = released.state / "store" / "models" / MODEL / "bundles" / released.bundle.removeprefix("sha256:")
    copy = Path(shutil.copytree(folder, tmp_path / "bundle"))
    (copy / "manifest.json").rename(tmp_path / "manifest.json")
    (copy / "manifest.json").symlink_to(tmp_path / "manifest.json")
    released.lockgate("verify", str(copy)).check(3, "is a link or not a regular file")
    (copy / "manifest.json").unlink()
    (tmp_path / "manifest.json").rename(copy / "manifest.json")
    os.mkfifo(copy / "more")
    released.lockgate("verify", str(copy)).check(3, "more is a link or not a regular file")


@pytest.mark.parametrize(
    "address", [f"s3://user:{SECRET}@bucket/rows.csv", f"s3://bucket/rows.csv?X-Amz-Signature={SECRET}"]
)
@pytest.mark.parametrize("verb", ["run", "submit"])
def test_an_address_with_credentials_is_stored_nowhere(project: Project, verb: str, address: str) -> None:
    done = project.lockgate(verb, MODEL, "--data", address)
    done.check(2, "setting data contains credentials")
    assert SECRET not in done.said
    assert project.run_ids() == set()
    kept = (path for path in project.root.rglob("*") if path.is_file() and path.suffix != ".parquet")
    assert [path for path in kept if SECRET.encode() in path.read_bytes()] == []


@pytest.mark.parametrize("name", ["store", "registry"])
def test_a_setting_with_credentials_is_refused(project: Project, name: str) -> None:
    assert project.lockgate("status").code == 0  # makes the environment
    setting = project.state / "environment" / "lockgate-environment" / name
    setting.write_text(f"https://user:{SECRET}@host/path\n")
    done = project.lockgate("run", MODEL)
    assert (done.code, SECRET in done.said, "contains credentials" in done.said) == (2, False, True), done.said


def test_a_spec_with_credentials_is_refused(project: Project) -> None:
    source = (project.pipeline / "pipeline.py").read_text()
    (project.pipeline / "pipeline.py").write_text(source.replace("data/rows.csv", f"s3://u:{SECRET}@bucket/rows.csv"))
    done = project.lockgate("render")
    assert (done.code, SECRET in done.said, "contains credentials" in done.said) == (2, False, True), done.said


@pytest.mark.parametrize("kind", ["fifo", "link"])
def test_a_waiver_that_is_not_a_regular_file_is_refused_at_once(project: Project, kind: str) -> None:
    (project.pipeline / "waivers").mkdir()
    path = project.pipeline / "waivers" / "a.json"
    path.symlink_to("/dev/zero") if kind == "link" else os.mkfifo(path)
    project.lockgate("render").check(2, r"waivers/a\.json of grants is not a waiver")


def refuses(bench: Bench, says: str) -> None:
    """Check that a program refuses its inputs, and writes nothing."""
    done = bench.call()
    assert (done.code, says in json.loads(bench.termination)["error"], bench.written) == (3, True, set()), done.said


def test_a_staged_file_written_by_hand_is_neither_called_nor_promoted(released: Project, tmp_path: Path) -> None:
    run = json.loads(released.live() or b"")["run"]
    test, promote = (released.bench(run, step, tmp_path / step) for step in ("smoke-test", "promote"))
    with socket.create_server(("127.0.0.1", 0)) as server, unharmed(released):
        server.setblocking(False)
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        staged = {"model": MODEL, "bundle": released.bundle, "address": address, "replicas": 1, "run": run}
        for bench in (test, promote):
            bench.input("staged").write_bytes(canonical(staged))
            refuses(bench, "staged is not signed by a key that may sign as deploy")
        with pytest.raises(BlockingIOError):
            server.accept()


def test_the_records_of_a_run_stand_for_no_other_run(released: Project, tmp_path: Path) -> None:
    run = json.loads(released.live() or b"")["run"]
    with unharmed(released):
        for step in ("smoke-test", "promote"):
            bench = replace(released.bench(run, step, tmp_path / step), run="another")
            refuses(bench, f"was staged in run {run}, not in this run")
