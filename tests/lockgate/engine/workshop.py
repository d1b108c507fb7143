"""Helpers for tests of the engine: a small program, small manifests, and an engine that runs them."""

import copy
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lockgate.engine import Engine, Environment, Node, Place, ProcessRuntime, Run
from lockgate.engine.events import Event
from lockgate.images.environments import Environments

Json = dict[str, Any]

PROGRAM = '''
"""Execute its arguments as commands, so that a manifest shows what it tests."""
import json, os, pathlib, sys, time

io = pathlib.Path(os.environ["LOCKGATE_IO"])
words = iter(sys.argv[1:])
for word in words:
    if word == "write":
        path = io / "out" / next(words)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(next(words))
    elif word == "copy":
        source, target = io / "in" / next(words), io / "out" / next(words)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes() if source.exists() else b"nothing")
    elif word == "folder":
        (io / "out" / next(words)).mkdir()
    elif word == "spoil":
        (io / "in" / next(words)).write_text("spoilt")
    elif word == "say":
        (io / "termination").write_text(next(words))
    elif word == "log":
        print(next(words), file=sys.stderr, flush=True)
    elif word == "env":
        print(json.dumps({"env": {name: os.environ.get(name) for name in next(words).split(",")}}), file=sys.stderr)
    elif word == "see":
        path = io / next(words)
        print(json.dumps({"path": str(path.relative_to(io)), "there": path.exists(),
                          "text": path.read_text() if path.is_file() else None}), file=sys.stderr)
    elif word == "args":
        (io / "out" / "args").write_text(json.dumps(list(words)))
    elif word == "sleep":
        time.sleep(float(next(words)))
    elif word == "meet":
        # Waits until another program is here at the same time; fails if none comes.
        place, name, other = pathlib.Path(next(words)), next(words), next(words)
        (place / name).touch()
        until = time.monotonic() + 20
        while not (place / other).exists() and time.monotonic() < until:
            time.sleep(0.005)
        sys.exit(0 if (place / other).exists() else 9)
    elif word == "alone":
        # Fails if another program is in the folder at the same time.
        place = pathlib.Path(next(words))
        (place / "inside").mkdir()
        time.sleep(0.3)
        (place / "inside").rmdir()
    elif word == "count":
        place = pathlib.Path(next(words))
        with place.open("a") as file:
            file.write("x")
    elif word == "fail-until":
        place, times = pathlib.Path(next(words)), int(next(words))
        with place.open("a") as file:
            file.write("x")
        if place.stat().st_size < times:
            sys.exit(int(next(words)))
        next(words)
    elif word == "child":
        import subprocess
        made = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        pathlib.Path(next(words)).write_text(str(made.pid))
    elif word == "pid":
        place = pathlib.Path(next(words))
        place.with_suffix(".new").write_text(str(os.getpid()))
        place.with_suffix(".new").rename(place)
    elif word == "ignore-term":
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif word == "starve":
        (pathlib.Path(next(words)) / "cgroup.procs").write_text(str(os.getpid()))
        held = b"x" * (256 << 20)
    elif word == "exit":
        sys.exit(int(next(words)))
    else:
        sys.exit(f"unknown word {word}")
'''


def container(*args: str, name: str = "", **more: Any) -> Json:
    """Return a template whose program executes these arguments."""
    body: Json = {
        "name": name,
        "container": {"image": "tools", "command": ["python", "-m", "program"], "args": list(args)},
    }
    for key, value in more.items():
        if key in ("env", "volumeMounts", "terminationMessagePath", "terminationMessagePolicy", "resources"):
            body["container"][key] = value
        else:
            body[key] = value
    return body


def files(*names: str, **optional: bool) -> list[Json]:
    """Return output artifacts of these names."""
    found: list[Json] = [{"name": name, "path": f"/lockgate/out/{name}"} for name in names]
    return found + [
        {"name": name, "path": f"/lockgate/out/{name}", "optional": flag} for name, flag in optional.items()
    ]


def inputs(*names: str, **optional: bool) -> Json:
    """Return input artifacts of these names."""
    found: list[Json] = [{"name": name, "path": f"/lockgate/in/{name}"} for name in names]
    found += [{"name": name, "path": f"/lockgate/in/{name}", "optional": flag} for name, flag in optional.items()]
    return {"artifacts": found}


def task(name: str, template: str = "", **more: Any) -> Json:
    """Return a task; `given`: its artifacts by source, `told`: its parameters by value."""
    body: Json = {"name": name, "template": template or name, **more}
    given, told = body.pop("given", {}), body.pop("told", {})
    arguments: Json = {}
    if given:
        arguments["artifacts"] = [{"name": key, "from": "{{" + source + "}}"} for key, source in given.items()]
    if told:
        arguments["parameters"] = [{"name": key, "value": value} for key, value in told.items()]
    return {**body, "arguments": arguments} if arguments else body


def dag(name: str, *tasks: Json, **more: Any) -> Json:
    """Return a dag template."""
    body: Json = {"tasks": list(tasks)}
    if "failFast" in more:
        body["failFast"] = more.pop("failFast")
    return {"name": name, "dag": body, **more}


def workflow(*templates: Json, **spec: Any) -> Json:
    """Return a WorkflowTemplate; its entrypoint is the first template."""
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "WorkflowTemplate",
        "metadata": {"name": "flow", "namespace": "models", "labels": {"team": "statistics"}},
        "spec": {"entrypoint": templates[0]["name"], "templates": list(templates), **spec},
    }


class Workshop:
    """The folders, programs and engines of one test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.events: list[Event] = []
        self.shared = [Place(folder / "place", writable=True)]  # what each program reaches beside its own folder
        for name in ("code", "environment", "place"):
            (folder / name).mkdir()
        (folder / "code" / "program.py").write_text(PROGRAM)

    @property
    def place(self) -> Path:
        """A folder that programs share."""
        return self.folder / "place"

    def runtime(self) -> ProcessRuntime:
        """Return a runtime that runs processes of this interpreter, without their own environments."""
        made = Environment(Path(sys.executable), {"PYTHONPATH": str(self.folder / "code")})
        return ProcessRuntime(lambda image: made, Environments(self.folder / "cache"), lambda _: self.shared)

    def engine(self, **more: Any) -> Engine:
        """Return an engine that records its events."""
        return Engine(
            self.folder / "state",
            self.folder / "environment",
            self.runtime(),
            self.events.append,
            **{"grace": 2.0, **more},
        )

    def run(
        self, *documents: Json, parameters: Mapping[str, str] | None = None, entry: str = "flow", **more: Any
    ) -> Run:
        """Execute these documents."""
        keys = ("parallel", "grace")
        engine = self.engine(**{key: more.pop(key) for key in keys if key in more})
        return engine.run(copy.deepcopy(documents), entry, parameters, **more)

    def log(self, run: Run, name: str) -> list[Json]:
        """Return the JSON lines that a node logged."""
        node = self.node(run, name)
        return [json.loads(line) for line in (run.folder / node.folder / "log").read_text().splitlines()]

    def node(self, run: Run, name: str) -> Node:
        """Return the node with this display name."""
        (found,) = [node for node in run.nodes if node.display_name == name]
        return found

    def out(self, run: Run, name: str, output: str) -> str:
        """Return an output of a node."""
        return (run.folder / self.node(run, name).folder / "out" / output).read_text()

    def phases(self, run: Run) -> dict[str, str]:
        """Return the phase of each node."""
        return {node.display_name: node.phase for node in run.nodes}
