"""Parallel programs, parallel runs, and killed runs."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lockgate.engine import Node, Run, RunInUse
from lockgate.engine.events import NodeFinished, NodeStarted, RunFinished, RunStarted, Waiting
from lockgate.engine.record import Recorder
from lockgate.errors import BadCall, UnknownName

from .workshop import Json, Workshop, container, dag, files, inputs, task, workflow

# The code of another process: the same workshop, the same manifest.
OTHER = """
import json, sys
from pathlib import Path
sys.path[:0] = json.loads(sys.argv[1])
from lockgate.engine import Engine, Environment, Place, ProcessRuntime
from lockgate.images.environments import Environments
folder = Path(sys.argv[2])
made = Environment(Path(sys.executable), {"PYTHONPATH": str(folder / "code")})
shared = [Place(folder / "place", writable=True)]
runtime = ProcessRuntime(lambda image: made, Environments(folder / "cache"), lambda _: shared)
engine = Engine(folder / "state", folder / "environment", runtime, print)
run = engine.run([json.loads(sys.argv[3])], "flow", run_id=sys.argv[4])
sys.exit(0 if run.phase == "Succeeded" else 1)
"""


def other(shop: Workshop, document: Json, run_id: str) -> "subprocess.Popen[bytes]":
    """Run a manifest in another process."""
    command = [sys.executable, "-c", OTHER, json.dumps(sys.path), str(shop.folder), json.dumps(document), run_id]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def wait_for(path: Path) -> str:
    """Return the content of a file as soon as it exists."""
    until = time.monotonic() + 30
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.005)
    return path.read_text()


def test_programs_run_at_once(shop: Workshop) -> None:
    place = str(shop.place)
    document = workflow(
        dag("main", task("a"), task("b")),
        container("meet", place, "a", "b", name="a"),
        container("meet", place, "b", "a", name="b"),
    )
    assert shop.run(document).phase == "Succeeded"


MUTEX = {"synchronization": {"mutexes": [{"name": "m-{{workflow.namespace}}"}]}}
LIMITS: dict[str, tuple[Json, Json, Json, int]] = {
    "the engine's": ({}, {}, {}, 1),
    "the workflow's": ({"parallelism": 1}, {}, {}, 4),
    "the dag's": ({}, {"parallelism": 1}, {}, 4),
    "a mutex": ({}, {}, MUTEX, 4),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_but_no_more_than_allowed(shop: Workshop, limit: str) -> None:
    spec, around, own, parallel = LIMITS[limit]
    alone = container("alone", str(shop.place), name="alone", **own)
    tasks = [task(name, "alone") for name in ("a", "b", "c")]
    run = shop.run(workflow(dag("main", *tasks, **around), alone, **spec), parallel=parallel)
    assert run.phase == "Succeeded"
    waiting = {event.message for event in shop.events if isinstance(event, Waiting)}
    assert waiting == ({"Waiting for models/Mutex/m-models lock. Lock status: 0/1"} if own else set())


@pytest.mark.parametrize("level", ["workflow", "dag"])
def test_a_mutex_between_processes(shop: Workshop, level: str) -> None:
    lock = {"synchronization": {"mutex": {"name": "one-at-a-time"}}}
    inner = dag("inner", task("alone"), **(lock if level == "dag" else {}))
    document = workflow(
        dag("main", task("inner")),
        inner,
        container("alone", str(shop.place), name="alone"),
        **(lock if level == "workflow" else {}),
    )
    others = [other(shop, document, f"run-{number}") for number in range(2)]
    run = shop.run(document)
    assert [process.wait() for process in others] == [0, 0]
    assert run.phase == "Succeeded"


def test_a_mutex_is_waited_for_until_the_run_is_stopped(shop: Workshop) -> None:
    from lockgate.engine.runtime.mutexes import Mutexes

    held = Mutexes(shop.folder / "state" / "mutexes", lambda: None)
    assert held.acquire("", ["models/Mutex/m"])
    document = workflow(
        dag("main", task("a")),
        container(name="a", synchronization={"mutexes": [{"name": "m"}]}),
        activeDeadlineSeconds=1,
    )
    run = shop.run(document)
    assert shop.node(run, "a").message == "Step exceeded its deadline"
    held.release_all()
    del document["spec"]["activeDeadlineSeconds"]
    assert shop.run(document).phase == "Succeeded"


def test_events_come_in_order_and_end_with_the_record(shop: Workshop) -> None:
    run = shop.run(workflow(dag("main", task("a")), container(name="a")))
    told = [
        (type(event).__name__, event.node.display_name if isinstance(event, NodeStarted | NodeFinished) else "")
        for event in shop.events
    ]
    assert told == [
        ("RunStarted", ""),
        ("NodeStarted", run.id),
        ("NodeStarted", "a"),
        ("NodeFinished", "a"),
        ("NodeFinished", run.id),
        ("RunFinished", ""),
    ]
    first, last = shop.events[0], shop.events[-1]
    assert isinstance(first, RunStarted)
    assert isinstance(last, RunFinished)
    assert (first.run.phase, last.run.phase) == ("Pending", "Succeeded")


def chain(shop: Workshop) -> Json:
    """Return a workflow of three tasks; a test can let the second hang or fail."""
    counted = [str(shop.place / name) for name in ("first", "second", "third")]
    passed = {"x": "tasks.first.outputs.artifacts.x"}
    return workflow(
        dag(
            "main",
            task("first", told={"word": "{{workflow.parameters.word}}"}),
            task("second", depends="first.Succeeded", given=passed),
            task("third", depends="second.Succeeded", given={"x": "tasks.second.outputs.artifacts.x"}),
        ),
        container(
            *("count", counted[0], "write", "x", "{{inputs.parameters.word}} {{workflow.name}}"),
            name="first",
            inputs={"parameters": [{"name": "word"}]},
            outputs={"artifacts": files("x")},
        ),
        container(
            *("count", counted[1], "copy", "x", "x", "fail-until", str(shop.place / "tries"), "2", "3"),
            name="second",
            inputs=inputs("x"),
            outputs={"artifacts": files("x")},
        ),
        container(
            "count", counted[2], "copy", "x", "x", name="third", inputs=inputs("x"), outputs={"artifacts": files("x")}
        ),
        container("count", str(shop.place / "end"), name="end"),
        arguments={"parameters": [{"name": "word", "value": "hello"}]},
        onExit="end",
    )


def counts(shop: Workshop) -> list[int]:
    """Return how often each task of the chain has run."""
    return [
        len((shop.place / name).read_text()) if (shop.place / name).exists() else 0
        for name in ("first", "second", "third", "end")
    ]


def test_a_run_goes_on_where_it_failed(shop: Workshop) -> None:
    run = shop.run(chain(shop), run_id="one")
    assert (run.phase, counts(shop)) == ("Failed", [1, 1, 0, 1])
    again = shop.run(chain(shop), resume="one")
    assert (again.id, again.phase, counts(shop)) == ("one", "Succeeded", [1, 2, 1, 2])
    assert {node.display_name: node.reused for node in again.nodes if node.type == "Pod"} == {
        "first": True, "second": False, "third": False, "one.onExit": False,
    }  # fmt: skip
    assert shop.out(again, "third", "x") == "hello one"
    assert again.values["uid"] == run.values["uid"]
    once_more = shop.run(chain(shop), resume="one")
    assert (once_more.phase, counts(shop)) == ("Succeeded", [1, 2, 1, 3])


def test_what_would_not_be_the_same_is_done_again(shop: Workshop) -> None:
    shop.run(chain(shop), run_id="one")
    again = shop.run(chain(shop), resume="one", parameters={"word": "bye"})
    assert (again.phase, counts(shop)) == ("Succeeded", [2, 2, 1, 2])
    assert shop.out(again, "third", "x") == "bye one"
    changed = chain(shop)
    changed["spec"]["templates"][2]["container"]["args"] += ["log", "changed"]
    once_more = shop.run(changed, resume="one")
    assert (once_more.parameters, counts(shop)) == ({"word": "bye"}, [2, 3, 2, 3]), "and all that follows from it"


def test_what_is_gone_is_done_again(shop: Workshop) -> None:
    run = shop.run(chain(shop), run_id="one")
    (run.folder / "nodes/first/out/x").unlink()
    assert shop.run(chain(shop), resume="one").phase == "Succeeded"
    assert counts(shop)[0] == 2


def test_a_killed_engine_leaves_no_child_and_a_run_that_goes_on(shop: Workshop) -> None:
    document = chain(shop)
    second = document["spec"]["templates"][2]["container"]
    arguments = second["args"]
    second["args"] = ["pid", str(shop.place / "pid"), "sleep", "600"]
    process = other(shop, document, "one")
    child = int(wait_for(shop.place / "pid"))
    folder = shop.folder / "state" / "runs" / "one"
    assert Run.load(folder).alive
    with pytest.raises(RunInUse, match=f"run one is being executed by process {process.pid}"):
        shop.run(chain(shop), resume="one")
    process.send_signal(signal.SIGKILL)
    process.wait()
    until = time.monotonic() + 10
    while Path(f"/proc/{child}").exists() and time.monotonic() < until:
        time.sleep(0.005)
    assert not Path(f"/proc/{child}").exists()
    dead = Run.load(folder)
    assert (dead.phase, dead.alive) == ("Running", False)
    second["args"] = [*arguments[:5], "exit", "0"]
    again = shop.run(document, resume="one")
    assert (again.phase, counts(shop)[0]) == ("Succeeded", 1)


def test_a_stopped_process_stops_the_run(shop: Workshop) -> None:
    document = workflow(
        container("pid", str(shop.place / "pid"), "sleep", "600", name="main"),
        container("count", str(shop.place / "end"), name="end"),
        onExit="end",
    )
    process = other(shop, document, "one")
    child = int(wait_for(shop.place / "pid"))
    process.terminate()
    assert process.wait() == 1
    assert not Path(f"/proc/{child}").exists()
    assert (shop.place / "end").read_text() == "x"
    assert Run.load(shop.folder / "state/runs/one").message == "Stopped with strategy 'Stop'"


def test_names_of_runs(shop: Workshop) -> None:
    document = workflow(container(name="main"))
    assert shop.run(document, run_id="a.b-1").id == "a.b-1"
    with pytest.raises(BadCall, match=r"run a\.b-1 already exists"):
        shop.run(document, run_id="a.b-1")
    with pytest.raises(BadCall, match="is not a valid run name"):
        shop.run(document, run_id="../escape")
    with pytest.raises(UnknownName, match=r"unknown run 'a\.c-1'"):
        shop.run(document, resume="a.c-1")
    with pytest.raises(BadCall, match="there is no run in"):
        Run.load(shop.folder)


def test_a_node_is_kept_as_it_is(tmp_path: Path) -> None:
    node = Node(
        "id", "w.a", "a", "Pod", "t", "Failed", message="no\n", started_at=1.5, finished_at=2.25, children=["x"]
    )
    recorder = Recorder(tmp_path / "run")
    recorder.save({"phase": "Failed", "message": "", "nodes": {"id": node.to_json()}, "parameters": {}})
    recorder.close()
    (read,) = Run.load(tmp_path / "run").nodes
    assert read == node
    assert read.seconds == 0.75
    assert node.to_json()["startedAt"] == "1970-01-01T00:00:01.500000Z"
    assert [path.name for path in (tmp_path / "run").iterdir() if path.name.startswith(".")] == []


def test_a_mutex_file_names_no_other_place(shop: Workshop) -> None:
    document = workflow(container(name="main", synchronization={"mutexes": [{"name": "../../escape"}]}))
    assert shop.run(document).phase == "Succeeded"
    assert [path.parent for path in shop.folder.rglob("*escape*")] == [shop.folder / "state" / "mutexes"]


def test_the_engine_names_no_step() -> None:
    import lockgate.engine

    folder = Path(lockgate.engine.__file__).parent
    catalog = Path(lockgate.engine.__file__).parents[2] / "steps"
    names = {path.name for path in catalog.iterdir() if path.is_dir() and path.name != "sdk"}
    names |= {"validate-data", "validate-model", "promote", "conclude"}
    assert "train" in names
    for path in folder.rglob("*.py"):
        assert not names & set(re.findall(r"[\w-]+", path.read_text())), path.name
