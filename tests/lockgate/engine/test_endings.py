"""Retries, deadlines, stops and onExit."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lockgate.engine import Place, ask_to_stop
from lockgate.engine.events import Event, NodeStarted, RunStarted, Stopping, Waiting
from lockgate.rendering.manifest import RETRY as PINNED

from .workshop import Json, Workshop, container, dag, files, inputs, task, workflow

RETRY = "lastRetry.status == 'Error' || asInt(lastRetry.exitCode) == 4"


def retried(shop: Workshop, *args: str, **strategy: object) -> dict[str, str]:
    """Return the phases of a node that is retried by this strategy, and of its attempts."""
    run = shop.run(workflow(container(*args, name="main", retryStrategy=strategy)))
    phases = {node.name.removeprefix(run.id): node.phase for node in run.nodes}
    return {"message": run.message, **phases}


@pytest.mark.parametrize(
    ("code", "attempts"),
    [("4", 3), ("3", 1)],
)
def test_the_expression_decides(shop: Workshop, code: str, attempts: int) -> None:
    made = shop.place / "made"
    found = retried(shop, "count", str(made), "exit", code, limit=2, retryPolicy="Always", expression=RETRY)
    assert len(made.read_text()) == attempts
    assert found[""] == "Failed"
    why = {"4": "No more retries left", "3": "retryStrategy.expression evaluated to false"}
    assert found["message"] == why[code]


@pytest.fixture
def narrow() -> Iterator[Path]:
    """A control group of 64 MiB; the test is skipped if this account cannot create one."""
    old, unified = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
    place, limit = (old, "memory.limit_in_bytes") if old.is_dir() else (unified, "memory.max")
    made = place / f"lockgate-test-{os.getpid()}"
    try:
        made.mkdir()
        (made / limit).write_text(str(64 << 20))
    except OSError as error:
        pytest.skip(f"cannot create a memory control group: {error}")
    yield made
    made.rmdir()


def test_what_was_killed_for_want_of_memory_says_so_and_is_not_tried_again(shop: Workshop, narrow: Path) -> None:
    shop.shared.append(Place(narrow, writable=True))
    found = retried(shop, "starve", str(narrow), limit=2, retryPolicy="Always", expression=PINNED)
    assert found == {"": "Failed", "(0)": "Failed", "message": "retryStrategy.expression evaluated to false"}
    run = shop.run(workflow(container("starve", str(narrow), name="main")))
    assert run.message.startswith("main: OOMKilled (exit code 137)")


def test_what_was_killed_by_somebody_is_tried_again(shop: Workshop) -> None:
    found = retried(shop, "exit", "137", limit=1, retryPolicy="Always", expression=PINNED)
    assert found["message"] == "No more retries left"


def test_a_later_attempt_succeeds_and_its_outputs_count(shop: Workshop) -> None:
    made = shop.place / "made"
    run = shop.run(
        workflow(
            dag("main", task("a"), task("b", depends="a.Succeeded", given={"x": "tasks.a.outputs.artifacts.x"})),
            container("fail-until", str(made), "3", "4", "write", "x", "{{retries}} {{lastRetry.exitCode}}", name="a",
                      outputs={"artifacts": files("x")}, retryStrategy={"limit": "3", "expression": RETRY}),
            container("copy", "x", "y", name="b", inputs=inputs("x"), outputs={"artifacts": files("y")}),
        )
    )  # fmt: skip
    phases = {"a": "Succeeded", "a(0)": "Failed", "a(1)": "Failed", "a(2)": "Succeeded", "b": "Succeeded"}
    assert shop.phases(run) == {run.id: "Succeeded", **phases}
    assert shop.out(run, "b", "y") == "2 4"
    assert shop.node(run, "a").type == "Retry"
    assert shop.node(run, "a(2)").folder == "nodes/a.2"
    assert shop.node(run, "a(2)").children == [shop.node(run, "b").id]


@pytest.mark.parametrize(
    ("policy", "error", "attempts"),
    [
        ({}, False, 2),
        ({}, True, 1),
        ({"retryPolicy": "OnError"}, True, 2),
        ({"retryPolicy": "OnError"}, False, 1),
        ({"retryPolicy": "OnFailure"}, False, 2),
        ({"retryPolicy": "Always"}, True, 2),
    ],
)
def test_policies(shop: Workshop, policy: Json, error: bool, attempts: int) -> None:
    made = shop.place / "made"
    outputs = {"artifacts": files("never")} if error else {}
    body = container("count", str(made), "exit", "0" if error else "1", name="main", outputs=outputs,
                     retryStrategy={"limit": 1, **policy})  # fmt: skip
    assert shop.run(workflow(body)).phase == ("Error" if error else "Failed")
    assert len(made.read_text()) == attempts


def test_a_backoff_is_waited_out_before_another_attempt(shop: Workshop) -> None:
    run = shop.run(
        workflow(container("exit", "3", name="main", retryStrategy={"limit": 1, "backoff": {"duration": "300ms"}}))
    )
    first, second = [node for node in run.nodes if node.type == "Pod"]
    assert (second.started_at or 0) - (first.finished_at or 0) >= 0.3
    assert [event.message for event in shop.events if isinstance(event, Waiting)] == ["Backoff for 0.3 seconds"]


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ({"expression": "lastRetry.exitCode == '4'"}, "retryStrategy.expression evaluated to false"),
        ({"retryPolicy": "OnError"}, "main: Error (exit code 3)"),
    ],
)
def test_nobody_waits_for_a_retry_that_never_comes(shop: Workshop, strategy: Json, message: str) -> None:
    body = container("exit", "3", name="main", retryStrategy={"limit": 2, "backoff": {"duration": "1h"}, **strategy})
    run = shop.run(workflow(body))
    assert (run.nodes[0].message, len(run.nodes)) == (message, 2)
    assert not [event for event in shop.events if isinstance(event, Waiting)]


def test_a_backoff_that_would_take_too_long_ends_it(shop: Workshop) -> None:
    backoff = {"duration": "1h", "maxDuration": "1m"}
    assert retried(shop, "exit", "1", limit=2, backoff=backoff)["message"] == "Backoff would exceed max duration limit"


def test_a_dag_is_tried_again_as_a_whole(shop: Workshop) -> None:
    made = shop.place / "made"
    run = shop.run(
        workflow(
            dag("main", task("inner")),
            dag("inner", task("a"), retryStrategy={"limit": 1}),
            container("fail-until", str(made), "2", "1", name="a"),
        )
    )
    assert run.phase == "Succeeded"
    assert [node.name.removeprefix(run.id) for node in run.nodes] == [
        "", ".inner", ".inner(0)", ".inner(0).a", ".inner(1)", ".inner(1).a",
    ]  # fmt: skip


def test_a_pod_that_is_too_slow_is_ended(shop: Workshop) -> None:
    run = shop.run(workflow(container("sleep", "60", name="main", activeDeadlineSeconds=1)))
    assert (run.phase, run.message) == ("Failed", "Pod was active on the node longer than the specified deadline")


def test_a_pod_that_does_not_heed_sigterm_is_killed(shop: Workshop) -> None:
    run = shop.run(workflow(container("ignore-term", "sleep", "60", name="main", activeDeadlineSeconds=1)), grace=0.2)
    assert (run.phase, run.nodes[0].outputs) == ("Failed", {})


def test_a_workflow_that_is_too_slow_ends_but_for_its_onexit(shop: Workshop) -> None:
    run = shop.run(
        workflow(
            dag("main", task("slow"), task("later", "fine", depends="slow.Failed")),
            container("sleep", "60", name="slow", retryStrategy={"limit": 3}),
            container(name="fine"),
            container("args", "{{workflow.status}}", name="end"),
            onExit="end",
            activeDeadlineSeconds=1,
        )
    )
    assert run.phase == "Failed"
    assert shop.node(run, "slow(0)").message == "Step exceeded its deadline"
    assert shop.node(run, "slow").message.startswith("retry exceeded workflow deadline")
    assert shop.node(run, "later").message == "Step exceeded its deadline"
    assert (run.folder / "nodes/onExit/out/args").read_text() == '["Failed"]'


def test_onexit_learns_how_it_ended(shop: Workshop) -> None:
    run = shop.run(
        workflow(
            dag("main", task("bad")),
            container("say", "no good", "exit", "3", name="bad", terminationMessagePath="/lockgate/termination"),
            container("args", "{{workflow.status}}", "{{workflow.failures}}", "{{inputs.parameters.model}}", name="end",
                      inputs={"parameters": [{"name": "model"}]}),
            arguments={"parameters": [{"name": "model", "value": "adult"}]},
            onExit="end",
        )
    )  # fmt: skip
    status, failures, model = json.loads((run.folder / "nodes/onExit/out/args").read_text())
    assert (run.phase, status, model) == ("Failed", "Failed", "adult")
    first = json.loads(json.loads(failures))[0]
    assert (first["displayName"], first["message"]) == (run.id, "")
    assert json.loads(json.loads(failures))[1]["message"] == "main: Error (exit code 3): no good"


@pytest.mark.parametrize(("end", "phase"), [("0", "Succeeded"), ("1", "Failed")])
def test_an_onexit_that_fails_fails_the_workflow(shop: Workshop, end: str, phase: str) -> None:
    run = shop.run(workflow(container(name="main"), container("exit", end, name="end"), onExit="end"))
    assert run.phase == phase


@pytest.mark.parametrize(("end", "phase", "attempts"), [("0", "Succeeded", 1), ("1", "Failed", 3)])
def test_an_onexit_is_tried_as_often_as_its_strategy_allows(
    shop: Workshop, end: str, phase: str, attempts: int
) -> None:
    last = container("exit", end, name="end", retryStrategy={"limit": 2, "retryPolicy": "Always"})
    run = shop.run(workflow(container(name="main"), last, onExit="end"))
    tried = [node.phase for node in run.nodes if node.type == "Pod" and node.at_exit]
    assert (run.phase, tried) == (phase, [phase] * attempts)


def stopping(shop: Workshop, how: str) -> tuple[Path, list[Event]]:
    """Stop the run from outside as soon as its first program runs."""
    events: list[Event] = []
    folder: list[Path] = []

    def on_event(event: Event) -> None:
        events.append(event)
        if isinstance(event, RunStarted):
            folder.append(event.run.folder)
        if isinstance(event, NodeStarted) and event.node.type == "Pod" and not event.node.at_exit:
            if how == "signal":
                os.kill(os.getpid(), signal.SIGINT)
            else:
                ask_to_stop(folder[0], "Terminate" if how == "Terminate" else "Stop")

    engine = shop.engine(grace=0.5)
    made = type(engine)(shop.folder / "state", shop.folder / "environment", shop.runtime(), on_event, grace=0.5)
    made.run(
        [
            workflow(
                dag("main", task("slow"), task("next", "fine", depends="slow.Succeeded || slow.Failed")),
                container("sleep", "60", name="slow", retryStrategy={"limit": 3}),
                container(name="fine"),
                container("args", "{{workflow.status}}", name="end"),
                onExit="end",
            )
        ],
        "flow",
        run_id="flow",
    )
    return folder[0], events


@pytest.mark.parametrize("how", ["Stop", "signal"])
def test_a_stop_still_runs_onexit(shop: Workshop, how: str) -> None:
    folder, events = stopping(shop, how)
    run = json.loads((folder / "run.json").read_text())
    assert (run["phase"], run["message"]) == ("Failed", "Stopped with strategy 'Stop'")
    messages = {node["displayName"]: node["message"] for node in run["nodes"].values()}
    assert messages["slow(0)"] == "workflow shutdown with strategy:  Stop"
    assert messages["slow"] == "Stopped with strategy 'Stop'"
    assert "next" not in messages
    assert (folder / "nodes/onExit/out/args").read_text() == '["Failed"]'
    assert [event for event in events if isinstance(event, Stopping)] == [Stopping("Stopped with strategy 'Stop'")]


def test_terminating_does_not_run_onexit(shop: Workshop) -> None:
    folder, _ = stopping(shop, "Terminate")
    run = json.loads((folder / "run.json").read_text())
    assert run["message"] == "Stopped with strategy 'Terminate'"
    assert not (folder / "nodes/onExit").exists()


def test_what_a_program_leaves_behind_ends_with_it(shop: Workshop) -> None:
    left = shop.place / "left"
    shop.run(workflow(container("child", str(left), name="main")))
    pid = int(left.read_text())
    until = time.monotonic() + 10
    while _runs(pid) and time.monotonic() < until:
        time.sleep(0.01)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_run_in_a_thread_of_its_own_takes_no_signals(shop: Workshop) -> None:
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(shop.run(workflow(container(name="main"))).phase))
    thread.start()
    thread.join()
    assert found == ["Succeeded"]
