"""Execute one run in this process."""

import hashlib
import json
import math
import queue
import re
import signal
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from lockgate.engine.controller import Controller, Identity, PodStart
from lockgate.engine.events import Event, LogLine, RunFinished, RunStarted, Stopping
from lockgate.engine.manifest import Workflow, entries
from lockgate.engine.record import Node, Recorder, Run, Strategy, folder_of, timestamp
from lockgate.engine.runtime import Runtime, files
from lockgate.engine.runtime.mutexes import Mutexes
from lockgate.engine.runtime.pods import Ended, Folders, Logged, Pod, Started, log_values

# Seconds between two checks for a stop request of another process.
_CHECK_SECONDS = 0.25
# Lines of logs that wait to be shown; their log has those that are left out then.
_BACKLOG = 10_000


@dataclass(frozen=True)
class Machine:
    """The machine's part of a run; see `Engine` for the fields."""

    state: Path
    environment: Path
    runtime: Runtime
    on_event: Callable[[Event], None]
    parallel: int
    grace: float


@dataclass(frozen=True)
class _Wake:
    """A mutex was acquired, or a signal arrived."""


class Execution:
    """One run in this process: a pass of the controller after each message of a pod, a mutex or a signal."""

    def __init__(self, machine: Machine, workflow: Workflow, recorder: Recorder, earlier: Run | None) -> None:
        self._machine = machine
        self._workflow = workflow
        self._recorder = recorder
        self._queue: queue.SimpleQueue[Started | Logged | Ended | _Wake] = queue.SimpleQueue()
        self._mutexes = Mutexes(machine.state / "mutexes", lambda: self._queue.put(_Wake()))
        if earlier is None:
            self._identity = Identity(recorder.folder.name, str(uuid.uuid4()), time.time())
        else:
            values = earlier.values
            self._identity = Identity(recorder.folder.name, values["uid"], values["createdAt"])
        self._done_before = {_task(node): node for node in (earlier.nodes if earlier else []) if _can_be_reused(node)}
        self._controller = Controller(workflow, self._identity, self._mutexes)
        self._ready: deque[PodStart] = deque()
        self._pods: dict[str, Pod] = {}
        self._kill_at: dict[str, float] = {}
        self._interrupts = 0
        self._checked_at = 0.0
        self._announced = False

    def run(self) -> Run:
        """Execute the run to its end."""
        try:
            self._save()
            self._machine.on_event(RunStarted(Run.load(self._recorder.folder), self._workflow.notes))
            with self._signals():
                while self._controller.finished_at is None:
                    self._pass()
                    if self._controller.finished_at is None:
                        self._next()
        finally:
            for pod in self._pods.values():
                pod.kill()
            self._mutexes.release_all()
        run = Run.load(self._recorder.folder)
        self._machine.on_event(RunFinished(run))
        return run

    def _pass(self) -> None:
        """Make a pass of the controller, start the pods it lists, save the record and send the new events."""
        again = True
        while again:
            self._controller.operate()
            self._ready += self._controller.starts
            self._controller.starts.clear()
            again = self._start()
        self._save()
        news, self._controller.nodes.news = self._controller.nodes.news, []
        for event in news:
            self._machine.on_event(event)

    def _start(self) -> bool:
        """Start as many pods as allowed; return whether a node ended without being started."""
        ended = False
        while self._ready and len(self._pods) < self._machine.parallel:
            start = self._ready.popleft()
            ending = self._controller.ending(at_exit=start.node.at_exit)
            if ending:
                self._controller.nodes.end(start.node, "Failed", ending)
            if ending or self._reused(start):
                ended = True
            else:
                self._start_pod(start)
        return ended

    def _reused(self, start: PodStart) -> bool:
        """Take the outputs of an earlier attempt at the run if it executed this node with the same inputs."""
        node = start.node
        node.digest = self._digest(start)
        before = self._done_before.get(_task(node))
        if before is None or before.digest != node.digest or not self._is_whole(before):
            return False
        node.outputs, node.folder, node.execution = before.outputs, before.folder, before.execution
        node.reused = True
        self._controller.nodes.end(node, "Succeeded", "")
        node.started_at, node.finished_at = before.started_at, before.finished_at
        return True

    def _start_pod(self, start: PodStart) -> None:
        node = start.node
        node.folder = folder_of(self._identity.name, node.name)
        node.execution = uuid.uuid4().hex
        volumes = files.volumes_of(start.template, self._workflow.spec, self._machine.environment)
        folders = Folders(self._recorder.folder, self._machine.environment, volumes)
        self._pods[node.name] = Pod(start, folders, self._machine.runtime, self._hear)
        self._pods[node.name].start()

    def _hear(self, message: Started | Logged | Ended) -> None:
        """Queue a message of a pod. A program that writes faster than its lines are shown must not fill the memory."""
        if not isinstance(message, Logged) or self._queue.qsize() < _BACKLOG:
            self._queue.put(message)

    def _next(self) -> None:
        """Wait until something happens that needs another pass."""
        while True:
            try:
                message = self._queue.get(timeout=max(0.0, self._next_check() - time.time()))
            except queue.Empty:
                if self._check():
                    return
                continue
            match message:
                case Logged(node, line):
                    self._machine.on_event(LogLine(node, log_values(line)))
                    if time.time() - self._checked_at > _CHECK_SECONDS and self._check():
                        return
                case Started(node):
                    self._pods[node.name].began_at = time.time()
                    self._controller.nodes.begin(node)
                    return
                case Ended(node, phase, text, outputs):
                    del self._pods[node.name]
                    self._kill_at.pop(node.name, None)
                    node.outputs = outputs
                    self._controller.nodes.end(node, phase, text)
                    return
                case _Wake():
                    self._check()
                    return

    def _next_check(self) -> float:
        moments = [self._checked_at + _CHECK_SECONDS, *self._kill_at.values()]
        moments += [each for each in (self._controller.wake_at, self._controller.deadline) if each is not None]
        moments += [pod.began_at + pod.seconds for pod in self._pods.values() if pod.began_at and pod.seconds]
        return min(moment for moment in moments if moment > self._checked_at)

    def _check(self) -> bool:
        """Check the clock and for a stop request; return whether the controller must make a pass."""
        now = self._checked_at = time.time()
        changed = self._controller.wake_at is not None and now >= self._controller.wake_at
        requested: Strategy | None = self._recorder.requested_stop()
        if self._interrupts:
            requested = "Terminate" if self._interrupts > 1 or requested == "Terminate" else "Stop"
        if requested and self._controller.shutdown != requested and self._controller.shutdown != "Terminate":
            self._controller.shutdown = requested
            changed = True
            self._machine.on_event(Stopping(f"Stopped with strategy '{requested}'"))
        if self._controller.late and not self._announced:
            self._announced = changed = True
            self._machine.on_event(Stopping("the run exceeded its deadline"))
        for name, pod in self._pods.items():
            why = self._why_stop(pod, now)
            if why and not pod.stopping:
                pod.stop(why)
                self._kill_at[name] = now + self._machine.grace
            elif self._kill_at.get(name, math.inf) <= now:
                pod.kill()
                del self._kill_at[name]
        return changed

    def _why_stop(self, pod: Pod, now: float) -> str:
        if pod.began_at and pod.seconds and now >= pod.began_at + pod.seconds:
            return "Pod was active on the node longer than the specified deadline"
        return self._controller.ending(at_exit=pod.node.at_exit, begun=True)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Handle SIGINT, SIGTERM and SIGHUP as a request to stop; a second signal terminates the run."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def interrupted(number: int, frame: FrameType | None) -> None:
            del number, frame
            self._interrupts += 1
            self._queue.put(_Wake())

        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, interrupted) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _digest(self, start: PodStart) -> str:
        """Return the digest of everything that determines what a pod does: template, inputs and the image's lock."""
        container = {key: value for key, value in start.template["container"].items() if key in _DECIDING}
        decides = [container, start.template.get("inputs"), start.template.get("outputs"), *([True] * start.captured)]
        image = self._machine.runtime.identity(container["image"])
        written = json.dumps([image, *decides], sort_keys=True, default=str)
        return "sha256:" + hashlib.sha256(written.encode()).hexdigest()

    def _is_whole(self, node: Node) -> bool:
        return all((self._recorder.folder / each["local"]).exists() for each in entries(node.outputs, "artifacts"))

    def _save(self) -> None:
        controller, identity = self._controller, self._identity
        self._recorder.save(
            {
                "name": identity.name,
                "entry": self._workflow.name,
                "uid": identity.uid,
                "createdAt": identity.created_at,
                "phase": controller.phase,
                "message": controller.message,
                "startedAt": controller.started_at and timestamp(controller.started_at),
                "finishedAt": controller.finished_at and timestamp(controller.finished_at),
                "parameters": self._workflow.parameters,
                "isolation": self._machine.runtime.isolation,
                "nodes": {node.id: node.to_json() for node in controller.nodes},
            }
        )


_DECIDING = ("image", "command", "args", "env", "volumeMounts")


def _task(node: Node) -> str:
    """Return the name of a node without the number of its attempt."""
    return re.sub(r"\(\d+\)$", "", node.name)


def _can_be_reused(node: Node) -> bool:
    # onExit belongs to the end of this attempt, so it always runs.
    return node.type == "Pod" and node.phase == "Succeeded" and not node.at_exit
