"""A rollout by shares: users come to a new version step by step, and stay on live if it is worse."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lockgate_proof import predicate
from lockgate_step import loads

from tests.asking import Client, infer
from tests.contracts.test_schemas import problems, statement
from tests.workshop import MODEL, Project, ended, platform

NEAR = {"years": 22, "income": 45000, "sector": "public"}  # beside the threshold of one half

DISAGREEMENT = """
[[canary]]
measure = "disagreement_rate"
at_most = 0.5
why     = "Most clerks must see the answer that they would have seen yesterday."
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose spec names a rollout, with a first version live."""
    with platform(Project.make(tmp_path_factory.mktemp("canary"))) as project:
        project.give_rollout("Canary(shares=(20, 50), hold='8s')")
        done = project.lockgate("run", MODEL, "--set", "threshold=0.3", "--keep")
        assert done.code == 0, done.said
        assert "canary: not judged; no version was live to compare with" in done.said
        yield project


def asking(project: Project) -> Callable[[], str]:
    return lambda: str(infer(f"http://127.0.0.1:{project.port}", MODEL, NEAR, seconds=60)["parameters"]["bundle"])


def verdict(project: Project) -> dict[str, Any]:
    """The verdict of canary in the last run, which follows the schema."""
    run = max((project.state / "runs").glob("*/run.json"), key=lambda path: path.stat().st_mtime).parent.name
    file = project.node(run, "canary") / "out" / "verdict"
    assert problems("verdict", statement(file)) == []
    return dict(predicate(loads(file.read_bytes())))


def rollout(project: Project) -> dict[str, Any] | None:
    found = json.loads(project.lockgate("status", MODEL, "--json").out)["models"][MODEL]["rollout"]
    return dict(found) if found else None


def until(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.2)
    raise AssertionError


def program_of(project: Project) -> int | None:
    """The process of canary in this project."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
            root = (folder / "environ").read_bytes()
        except OSError:
            continue
        if b"lockgate_canary" in command and str(project.state).encode() in root:
            return int(folder.name)
    return None


def test_the_first_version_has_nobody_to_compare_with_and_says_so(project: Project) -> None:
    said = verdict(project)
    assert said["result"] == "not_judged"
    assert "no rule of [[canary]] was judged" in str(said["notes"])
    assert rollout(project) is None


def test_a_good_version_comes_to_its_users_by_shares(project: Project) -> None:
    old = project.bundle
    with Client(asking(project)) as client:
        run = project.start("run", MODEL, "--set", "threshold=0.31", "--keep")
        found = until(lambda: (now := rollout(project)) and now["figures"] and now)
        shown = project.lockgate("status", MODEL).out
        done = ended(run)
    assert done.code == 0, done.said
    assert project.bundle != old
    assert client.failures == []
    shares = verdict(project)["measurements"]["shares"]
    assert [(each["share"], each["seconds"] >= 8) for each in shares] == [(20, True), (50, True)]
    assert all(each["requests"] for each in shares)
    assert "canary" in json.loads(project.records()[f"history/{project.generation}.json"])["verdicts"]
    assert project.lockgate("verify", MODEL).code == 0
    assert (found["kind"], found["share"] in (20, 50), found["hold"]) == ("canary", True, "8s")
    assert "% of the requests for" in shown
    assert "server error: 0.000 (0.000 to" in shown
    assert rollout(project) is None


def test_a_version_that_answers_otherwise_is_refused_and_users_stay(project: Project) -> None:
    old, generation = project.bundle, project.generation
    with Client(asking(project)) as client:
        done = project.lockgate("run", MODEL, "--set", "threshold=0.7")
        time.sleep(1)
        end = time.time()
    assert done.code == 3, done.said
    assert "answer_shift" in done.said
    assert "Nobody's chances may change" in done.said
    assert (project.bundle, project.generation) == (old, generation)
    assert client.failures == []
    assert {digest for began, _, digest in client.answers if began > end - 1} == {old}
    assert {digest for _, _, digest in client.answers} - {old}, "no request reached the candidate"
    assert "traffic.json" not in project.records()


def test_a_gate_that_is_killed_goes_on_where_it_was(project: Project) -> None:
    with Client(asking(project)) as client:
        run = project.start("run", MODEL, "--set", "threshold=0.32", "--keep")
        until(lambda: (now := rollout(project)) and now["figures"] and now["figures"]["shares"][0]["seconds"] >= 3)
        pid = until(lambda: program_of(project))
        os.kill(pid, signal.SIGKILL)
        done = ended(run)
    assert done.code == 0, done.said
    assert client.failures == []
    shares = verdict(project)["measurements"]["shares"]
    assert [8 <= each["seconds"] < 10 for each in shares] == [True, True]


def test_too_few_requests_are_inconclusive_and_users_stay(project: Project) -> None:
    old = project.bundle
    done = project.lockgate("run", MODEL, "--set", "threshold=0.33")
    assert done.code == 3, done.said
    assert "no request reached the candidate" in done.said
    assert "a longer hold or larger shares" in done.said
    assert "lockgate waive" not in done.said
    run = max(project.run_ids(), key=lambda run: (project.state / "runs" / run / "run.json").stat().st_mtime)
    project.lockgate("waive", run, "canary/1").check(2, "reads no waivers")
    assert project.bundle == old


def callers(project: Project, number: int) -> tuple[str, str]:
    """Ask twice as one caller; return the bundles that answered."""
    headers = {"x-user": f"clerk-{number}"}
    address = f"http://127.0.0.1:{project.port}"
    found = [infer(address, MODEL, NEAR, seconds=60, headers=headers)["parameters"]["bundle"] for _ in range(2)]
    return str(found[0]), str(found[1])


def test_callers_of_an_ab_test_stay_with_their_version(project: Project, tmp_path: Path) -> None:
    twin = changed(project, tmp_path, "ABTest(share=50, hold='15s')")
    seen: list[tuple[float, int, tuple[str, str]]] = []
    in_force: list[float] = []
    ends = threading.Event()

    def ask() -> None:
        while not ends.is_set():
            for number in range(40):
                status = json.loads(twin.store.read(f"models/{MODEL}/status.json").data)
                if status.get("traffic"):
                    in_force.append(time.monotonic())
                    seen.append((in_force[-1], number, callers(twin, number)))

    asker = threading.Thread(target=ask)
    asker.start()
    done = twin.lockgate("run", MODEL, "--set", "threshold=0.34")
    ends.set()
    asker.join()
    assert done.code == 0, done.said
    versions: dict[int, set[str]] = {}
    for moment, number, answers in seen:
        if moment < in_force[-1] - 2:  # the relay leaves the test a moment before the status says so
            versions.setdefault(number, set()).update(answers)
    assert len(versions) > 30
    assert {len(each) for each in versions.values()} == {1}
    assert len(set.union(*versions.values())) == 2


def test_a_shadow_answers_nobody(project: Project, tmp_path: Path) -> None:
    """What it would have answered is compared with what live did: on this machine the relay sees both."""
    twin, old = changed(project, tmp_path, "Shadow(share=100, hold='8s')"), project.bundle
    policy = twin.pipeline / "policy.toml"
    policy.write_text(policy.read_text() + DISAGREEMENT)
    with Client(asking(twin)) as client:
        run = twin.start("run", MODEL, "--set", "threshold=0.7", "--keep")
        done = ended(run)
    assert done.code == 3, done.said
    assert {digest for _, _, digest in client.answers} == {old}
    measured = verdict(twin)["measurements"]["rules"]["canary:disagreement_rate:at_most"]
    assert (measured["standing"], measured["value"]) == ("beyond", 1.0)
    assert measured["requests"] > 0


def changed(project: Project, folder: Path, rollout: str) -> Project:
    """A twin of the project with another rollout."""
    twin = project.twin(folder)
    source = twin.pipeline / "pipeline.py"
    kind = rollout.partition("(")[0]
    text = source.read_text().replace("import Canary", f"import {kind}")
    source.write_text(text.replace("Canary(shares=(20, 50), hold='8s')", rollout))
    return twin
