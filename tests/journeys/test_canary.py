"""A rollout by shares: users come to a new version step by step, and stay on live if it is worse."""

import json
import time
from collections.abc import Callable, Iterator

import pytest

from tests.asking import Client, infer
from tests.workshop import MODEL, PIPELINE, POLICY, Project, platform

NEAR = {"years": 22, "income": 45000, "sector": "public"}  # beside the threshold of one half


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose spec names a rollout, with a first version live."""
    with platform(Project.make(tmp_path_factory.mktemp("canary"))) as project:
        project.give_rollout("Canary(shares=(20, 50), hold='8s')")
        done = project.lockgate("run", MODEL, "--set", "threshold=0.3", "--keep")
        assert done.code == 0, done.said
        yield project


def asking(project: Project) -> Callable[[], str]:
    return lambda: str(infer(f"http://127.0.0.1:{project.port}", MODEL, NEAR, seconds=60)["parameters"]["bundle"])


def verdict(project: Project) -> dict[str, object]:
    """The verdict of canary in the last run."""
    run = max((project.state / "runs").glob("*/run.json"), key=lambda path: path.stat().st_mtime).parent.name
    payload = json.loads((project.node(run, "canary") / "out" / "verdict").read_bytes())
    return dict(__import__("lockgate_proof").predicate(payload))


def test_the_first_version_has_nobody_to_compare_with_and_says_so(project: Project) -> None:
    said = verdict(project)
    assert said["result"] == "passed"
    assert "no rule of [[canary]] was judged" in str(said["notes"])


def test_a_good_version_comes_to_its_users_by_shares(project: Project) -> None:
    old = project.bundle
    with Client(asking(project)) as client:
        done = project.lockgate("run", MODEL, "--set", "threshold=0.31", "--keep")
    assert done.code == 0, done.said
    new = project.bundle
    assert new != old
    assert client.failures == []
    said = verdict(project)
    shares = said["measurements"]["shares"]
    assert [(each["share"], each["seconds"] >= 8) for each in shares] == [(20, True), (50, True)]
    assert all(each["requests"] for each in shares)
    promoted = json.loads(project.records()["live.json"])
    assert "canary" in json.dumps(promoted) or promoted
    assert project.lockgate("verify", MODEL).code == 0


def test_a_version_that_answers_otherwise_is_refused_and_users_stay(project: Project) -> None:
    old, generation = project.bundle, project.generation
    with Client(asking(project)) as client:
        done = project.lockgate("run", MODEL, "--set", "threshold=0.7")
        time.sleep(1)
        ended = time.time()
    assert done.code == 3, done.said
    assert "answer_shift" in done.said
    assert (project.bundle, project.generation) == (old, generation)
    assert client.failures == []
    assert {digest for began, _, digest in client.answers if began > ended - 1} == {old}
    assert {digest for _, _, digest in client.answers} - {old}, "no request reached the candidate"
    assert "traffic.json" not in project.records()
