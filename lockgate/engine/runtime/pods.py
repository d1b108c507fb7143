"""One pod: its folder made, its program started and listened to, its outputs taken; in a thread of its own."""

import contextlib
import json
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lockgate_step import layout

from lockgate.engine.controller.calls import PodStart
from lockgate.engine.manifest.manifest import Json
from lockgate.engine.record import Node, Phase
from lockgate.engine.runtime import files
from lockgate.engine.runtime.process import CannotStart, Launch, Process, Runtime

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")


@dataclass(frozen=True)
class Began:
    """The program runs."""

    node: Node


@dataclass(frozen=True)
class Said:
    """The program wrote a line to stderr."""

    node: Node
    line: bytes


@dataclass(frozen=True)
class Over:
    """The pod has ended."""

    node: Node
    phase: Phase
    message: str
    outputs: Json


@dataclass(frozen=True)
class Place:
    """Where a pod has its files: the run's folder, the ConfigMaps and Secrets, and what is mounted where."""

    run: Path
    environment: Path
    volumes: Mapping[str, Path | None]


class Pod:
    """A pod from its start to its end. `tell` is called in its threads."""

    def __init__(
        self, start: PodStart, place: Place, runtime: Runtime, tell: Callable[[Began | Said | Over], None]
    ) -> None:
        self.node = start.node
        self.began_at: float | None = None
        seconds = start.template.get("activeDeadlineSeconds")
        self.seconds = None if seconds is None else int(seconds)
        self._template = start.template
        self._captured = start.captured
        self._place = place
        self._folder = place.run / start.node.folder
        self._runtime = runtime
        self._tell = tell
        self._guard = threading.Lock()
        self._process: Process | None = None
        self._stopped_for = ""
        self._starved_before = 0

    def start(self) -> None:
        """Begin, in a thread that stays until the program has ended: a child dies with the thread that started it."""
        threading.Thread(target=self._live, name=self.node.name, daemon=True).start()

    def stop(self, why: str) -> None:
        """Ask the program to end; its node then fails with this message."""
        with self._guard:
            self._stopped_for = self._stopped_for or why
            if self._process is not None:
                self._process.terminate()

    def kill(self) -> None:
        """End the program."""
        with self._guard:
            if self._process is not None:
                self._process.kill()

    @property
    def stopping(self) -> bool:
        """Whether it was asked to end."""
        return bool(self._stopped_for)

    def _live(self) -> None:
        try:
            over = self._work()
        except Exception as error:  # whatever a disk or a runtime throws: the node is in error, the run goes on
            over = Over(self.node, "Error", f"{type(error).__name__}: {error}", {})
        with contextlib.suppress(OSError):
            files.unmount(self._folder, self._place.volumes)
        self._tell(over)

    def _work(self) -> Over:
        try:
            files.stage(self._place.run, self._folder, self._template, self._place.volumes)
        except files.StagingError as error:
            return Over(self.node, "Error", f"init: Error (exit code 64): {error}", {})
        try:
            code = self._run()
        except CannotStart as error:
            code = 64
            files.inside(self._folder, f"{layout.IO}/log").write_text(f"{error}\n", "utf-8")
            return Over(self.node, "Failed", f"main: Error (exit code 64): {error}", {"exitCode": "64"})
        return self._result(code)

    def _result(self, code: int | None) -> Over:
        if self._stopped_for or code is None:
            return Over(self.node, "Failed", self._stopped_for, {})  # of what was stopped Argo keeps no exit code
        outputs, missing = files.collect(self._place.run, self._folder, self._template, self.node.execution)
        outputs["exitCode"] = str(code)
        if self._captured:
            outputs["result"] = files.result(self._folder)
        if code:
            log = self._folder / "log"
            said = files.termination_message(self._folder, self._template["container"], log, failed=True)
            reason = "OOMKilled" if code == 137 and _starved() > self._starved_before else "Error"
            message = f"main: {reason} (exit code {code})" + (f": {said}" if said else "")
            return Over(self.node, "Failed", message, outputs)
        if missing:
            return Over(self.node, "Error", f"wait: Error (exit code 64): {missing[0]}", outputs)
        return Over(self.node, "Succeeded", "", outputs)

    def _run(self) -> int | None:
        """Run the program and listen to it; nothing where it was stopped before it began."""
        log = (self._folder / "log").open("wb", buffering=0)
        reading, writing = os.pipe()
        listener = threading.Thread(target=self._listen, args=(os.fdopen(reading, "rb"), log), daemon=True)
        listener.start()
        with os.fdopen(writing, "wb") as stderr, (self._folder / "stdout").open("wb") as stdout:
            launch = self._launch(stdout, stderr)
            with self._guard:
                if self._stopped_for:
                    return None
                self._starved_before = _starved()
                self._process = self._runtime.start(launch)
        self._tell(Began(self.node))
        code = self._process.wait()
        # All of its group has ended; what left the group may hold the pipe for ever, and is not waited for.
        listener.join(timeout=2)
        return code

    def _launch(self, stdout: IO[bytes], stderr: IO[bytes]) -> Launch:
        container = self._template["container"]
        env: dict[str, str] = {}
        for name, value in files.variables(container, self._place.environment).items():
            env[name] = _referenced(value, env)
        return Launch(
            image=container["image"],
            command=tuple(_referenced(each, env) for each in container["command"]),
            args=tuple(_referenced(each, env) for each in container.get("args") or ()),
            env=env,
            folder=self._folder,
            volumes={path: source for path, source in self._place.volumes.items() if source is not None},
            stdout=stdout,
            stderr=stderr,
        )

    def _listen(self, lines: IO[bytes], log: IO[bytes]) -> None:
        with lines, log:
            while line := lines.readline(1 << 20):
                with contextlib.suppress(OSError):  # a full disk must not stop the program
                    log.write(line)
                self._tell(Said(self.node, line))


def _starved() -> int:
    """How many processes this machine has killed for want of memory since it started, as far as it says so."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text("ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def _referenced(value: str, env: Mapping[str, str]) -> str:
    """A text with `$(NAME)` replaced by the variables declared so far, and `$$` by `$`, as Kubernetes does it."""
    return _REFERENCE.sub(lambda found: env.get(found[1], found[0]) if found[1] else "$", value)


def log_values(line: bytes) -> dict[str, Any]:
    """What a log line says: its JSON object, or its text."""
    said = line.decode("utf-8", "replace").rstrip("\n")
    try:
        values = json.loads(said)
    except ValueError:
        values = None
    return values if isinstance(values, dict) else {"text": said}
