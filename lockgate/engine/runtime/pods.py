"""Run one pod in its own thread: stage its files, run its program, read its log, collect its outputs."""

import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lockgate_step import layout, loads

from lockgate.engine.controller import PodStart
from lockgate.engine.manifest import Json
from lockgate.engine.record import Node, Phase
from lockgate.engine.runtime import files
from lockgate.engine.runtime.log import KeptLog
from lockgate.engine.runtime.process import CannotStart, Launch, Process, Runtime

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")


@dataclass(frozen=True)
class Started:
    """The program runs."""

    node: Node


@dataclass(frozen=True)
class Logged:
    """The program wrote a line to stderr."""

    node: Node
    line: bytes


@dataclass(frozen=True)
class Ended:
    """The pod has ended."""

    node: Node
    phase: Phase
    message: str
    outputs: Json


@dataclass(frozen=True)
class Folders:
    """The folders of a pod: the run's folder, the ConfigMaps and Secrets, and the volumes by mount path."""

    run: Path
    environment: Path
    volumes: Mapping[str, Path | None]


class Pod:
    """A pod from its start to its end. `send` is called in its threads."""

    def __init__(
        self, start: PodStart, folders: Folders, runtime: Runtime, send: Callable[[Started | Logged | Ended], None]
    ) -> None:
        self.node = start.node
        self.began_at: float | None = None
        seconds = start.template.get("activeDeadlineSeconds")
        self.seconds = None if seconds is None else int(seconds)
        self._template = start.template
        self._captured = start.captured
        self._folders = folders
        self._folder = folders.run / start.node.folder
        self._runtime = runtime
        self._send = send
        self._guard = threading.Lock()
        self._process: Process | None = None
        self._stopped_for = ""
        self._oom_kills_before = 0

    def start(self) -> None:
        """Start a thread that lasts until the program has ended: a child dies with the thread that started it."""
        threading.Thread(target=self._live, name=self.node.name, daemon=True).start()

    def stop(self, why: str) -> None:
        """Send the program SIGTERM; its node then fails with this message."""
        with self._guard:
            self._stopped_for = self._stopped_for or why
            if self._process is not None:
                self._process.terminate()

    def kill(self) -> None:
        """Send the program SIGKILL."""
        with self._guard:
            if self._process is not None:
                self._process.kill()

    @property
    def stopping(self) -> bool:
        """Whether it is being stopped."""
        return bool(self._stopped_for)

    def _live(self) -> None:
        try:
            ended = self._work()
        except Exception as error:  # any error of a disk or runtime: the node is in error, the run goes on
            ended = Ended(self.node, "Error", f"{type(error).__name__}: {error}", {})
        with contextlib.suppress(OSError):
            files.unmount(self._folder, self._folders.volumes)
        self._send(ended)

    def _work(self) -> Ended:
        try:
            files.stage(self._folders.run, self._folder, self._template, self._folders.volumes)
        except files.StagingError as error:
            return Ended(self.node, "Error", f"init: Error (exit code 64): {error}", {})
        try:
            code = self._run()
        except CannotStart as error:
            code = 64
            files.inside(self._folder, f"{layout.IO}/log").write_text(f"{error}\n", "utf-8")
            return Ended(self.node, "Failed", f"main: Error (exit code 64): {error}", {"exitCode": "64"})
        return self._result(code)

    def _result(self, code: int | None) -> Ended:
        if self._stopped_for or code is None:
            return Ended(self.node, "Failed", self._stopped_for, {})  # Argo records no exit code of a stopped pod
        outputs, missing = files.collect(self._folders.run, self._folder, self._template, self.node.execution)
        outputs["exitCode"] = str(code)
        if self._captured:
            outputs["result"] = files.result(self._folder)
        if code:
            log = self._folder / "log"
            text = files.termination_message(self._folder, self._template["container"], log, failed=True)
            reason = "OOMKilled" if code == 137 and _oom_kills() > self._oom_kills_before else "Error"
            message = f"main: {reason} (exit code {code})" + (f": {text}" if text else "")
            return Ended(self.node, "Failed", message, outputs)
        if missing:
            return Ended(self.node, "Error", f"wait: Error (exit code 64): {missing[0]}", outputs)
        return Ended(self.node, "Succeeded", "", outputs)

    def _run(self) -> int | None:
        """Run the program and read its log; return its exit code, or None if it was stopped before it started."""
        readers, pipes = [], []
        for name, told in (("log", True), ("stdout", False)):
            reading, writing = os.pipe()
            given = (os.fdopen(reading, "rb"), KeptLog(self._folder / name), told)
            readers.append(threading.Thread(target=self._listen, args=given, daemon=True))
            readers[-1].start()
            pipes.append(os.fdopen(writing, "wb"))
        with pipes[0] as stderr, pipes[1] as stdout:
            launch = self._launch(stdout, stderr)
            with self._guard:
                if self._stopped_for:
                    return None
                self._oom_kills_before = _oom_kills()
                self._process = self._runtime.start(launch)
        self._send(Started(self.node))
        code = self._process.wait()
        files.unmount(self._folder, self._folders.volumes)
        files.settle(self._folder)
        # Its process group has ended; a process that left the group may keep a pipe open, so do not wait for it.
        until = time.monotonic() + 2
        for reader in readers:
            reader.join(timeout=max(0.0, until - time.monotonic()))
        return code

    def _launch(self, stdout: IO[bytes], stderr: IO[bytes]) -> Launch:
        container = self._template["container"]
        env: dict[str, str] = {}
        for name, value in files.variables(container, self._folders.environment).items():
            env[name] = _referenced(value, env)
        return Launch(
            image=container["image"],
            command=tuple(_referenced(each, env) for each in container["command"]),
            args=tuple(_referenced(each, env) for each in container.get("args") or ()),
            env=env,
            folder=self._folder,
            volumes={path: source for path, source in self._folders.volumes.items() if source is not None},
            stdout=stdout,
            stderr=stderr,
        )

    def _listen(self, lines: IO[bytes], log: KeptLog, told: bool) -> None:
        with lines, log:
            while line := lines.readline(1 << 20):
                log.write(line)
                if told:
                    self._send(Logged(self.node, line))


def _oom_kills() -> int:
    """Return the number of processes that this machine has killed for lack of memory since its start, if known."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text("ascii").splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def _referenced(value: str, env: Mapping[str, str]) -> str:
    """Return a string with `$(NAME)` replaced by the variables declared so far and `$$` by `$`, as in Kubernetes."""
    return _REFERENCE.sub(lambda found: env.get(found[1], found[0]) if found[1] else "$", value)


def log_values(line: bytes) -> dict[str, Any]:
    """Return the JSON object of a log line, or its text."""
    text = line.decode("utf-8", "replace").rstrip("\n")
    try:
        values = loads(text)
    except ValueError:
        values = None
    return values if isinstance(values, dict) else {"text": text}
