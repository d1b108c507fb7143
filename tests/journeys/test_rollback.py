"""The way back: `lockgate rollback` brings an earlier version to users, and says what it needs where it may not."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.asking import Client
from tests.workshop import MODEL, Project, platform, release, unharmed


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project with two versions that were live, one after the other."""
    with platform(Project.make(tmp_path_factory.mktemp("rollback"))) as project:
        release(project)
        done = project.lockgate("run", MODEL, "--set", "seed=5")
        assert done.code == 0, done.said
        yield project


def bundle_of(project: Project, generation: int) -> str:
    return str(json.loads(project.records()[f"history/{generation}.json"])["bundle"])


def test_the_version_before_is_back_within_a_minute_and_no_request_fails(project: Project) -> None:
    old, bad = bundle_of(project, 1), bundle_of(project, 2)
    assert project.answers() == bad
    began = time.monotonic()
    with Client(project.answers) as client:
        done = project.lockgate("rollback", MODEL, "--json")
        time.sleep(1)
    assert done.code == 0, done.said
    assert time.monotonic() - began < 60
    assert (project.generation, project.bundle, project.answers()) == (3, old, old)
    assert client.failures == []
    assert {digest for _, _, digest in client.answers} == {old, bad}
    said = json.loads(done.out)
    assert [step["outcome"] for step in said["steps"]] == ["passed", "done", "passed", "done", "done"]
    lines = project.lockgate("history", MODEL).out.splitlines()
    assert lines[1].endswith("rollback, live")
    verified = project.lockgate("verify", MODEL)
    assert verified.code == 0, verified.said
    assert "generation 3" in verified.out
    assert project.lockgate("runs", MODEL).out.splitlines()[0].endswith("rolled back")


def test_a_version_that_is_live_or_never_was_is_not_brought_back(project: Project) -> None:
    with unharmed(project):
        done = project.lockgate("rollback", MODEL, "--to", "99")
        assert (done.code, "no version 99 of" in done.out) == (2, True), done.said
        done = project.lockgate("rollback", MODEL, "--to", str(project.generation))
        assert (done.code, "is live already" in done.out) == (3, True), done.said


def test_an_older_version_that_a_stricter_policy_did_not_judge_needs_an_approver(project: Project) -> None:
    """The way that the terminal names: the approval, then the same command again."""
    policy = project.pipeline / "policy.toml"
    oldest = bundle_of(project, 1)
    for seed in ("6", "7"):  # so that the first version is not the one before
        assert project.lockgate("run", MODEL, "--set", f"seed={seed}").code == 0
    kept = policy.read_text()
    try:
        policy.write_text(kept + "\n# stricter from today\n")
        with unharmed(project):
            refused = project.lockgate("rollback", MODEL, "--to", "1")
        assert refused.code == 3, refused.said
        assert "generation 1: " in refused.out and "was judged by the policy" in refused.out
        until = (datetime.now(UTC) + timedelta(days=2)).date().isoformat()
        (line,) = (line for line in refused.out.splitlines() if line.startswith("  lockgate waive"))
        run, reason = line.split()[2:4]
        assert reason == "recall/1"
        approved = project.lockgate(
            "waive", run, reason, "--by", "Ana Diaz, director", "--until", until, "--why", "The newer ones fail."
        )
        assert approved.code == 0, approved.said
        done = project.lockgate("rollback", MODEL, "--to", "1")
        assert done.code == 0, done.said
        assert "under a waiver until" in done.out
        assert (project.bundle, project.answers()) == (oldest, oldest)
        verified = project.lockgate("verify", MODEL)
        assert verified.code == 0, verified.said
        assert "those of its time" in verified.out
        # The next release is compared with what was brought back, by today's policy.
        assert project.lockgate("run", MODEL, "--set", "seed=8").code == 0
        assert project.answers() != oldest
    finally:
        policy.write_text(kept)
