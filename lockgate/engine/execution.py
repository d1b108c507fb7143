"""One run in this process."""

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

from lockgate.engine.controller.calls import PodStart
from lockgate.engine.controller.controller import Controller
from lockgate.engine.controller.variables import Identity
from lockgate.engine.events import Event, LogLine, RunFinished, RunStarted, Stopping
from lockgate.engine.manifest.manifest import Workflow, entries
from lockgate.engine.record import Node, Recorder, Run, Strategy, folder_of, timestamp
from lockgate.engine.runtime import files
from lockgate.engine.runtime.mutexes import Mutexes
from lockgate.engine.runtime.pods import Began, Over, Place, Pod, Said, log_values
from lockgate.engine.runtime.process import Runtime

# How soon a stop that another process asks for is seen; nothing else is polled.
_LOOK = 0.25


@dataclass(frozen=True)
class Machine:
    """What a run has of the machine it is on; see `Engine`."""

    state: Path
    environment: Path
    runtime: Runtime
    on_event: Callable[[Event], None]
    parallel: int
    grace: float


@dataclass(frozen=True)
class _Wake:
    """Something outside the queue has changed: a mutex, a signal."""


class Execution:
    """One run in this process: passes of the controller between what its pods and the world outside tell."""

    def __init__(self, machine: Machine, workflow: Workflow, recorder: Recorder, earlier: Run | None) -> None:
        self._machine = machine
        self._workflow = workflow
        self._recorder = recorder
        self._queue: queue.SimpleQueue[Began | Said | Over | _Wake] = queue.SimpleQueue()
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
        self._looked_at = 0.0
        self._announced = False

    def run(self) -> Run:
        """Execute to the end."""
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
        """Let the controller look, start what it asks for, and write down and tell what is new."""
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
        """Start what there is room for; true where a node ended without being started."""
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
        """Whether an earlier attempt at the run has done this already, with the same inputs; then its outputs count."""
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
        place = Place(self._recorder.folder, self._machine.environment, volumes)
        self._pods[node.name] = Pod(start, place, self._machine.runtime, self._queue.put)
        self._pods[node.name].start()

    def _next(self) -> None:
        """Wait until something happens that asks for another pass."""
        while True:
            try:
                message = self._queue.get(timeout=max(0.0, self._next_look() - time.time()))
            except queue.Empty:
                if self._look():
                    return
                continue
            match message:
                case Said(node, line):
                    self._machine.on_event(LogLine(node, log_values(line)))
                    if time.time() - self._looked_at > _LOOK and self._look():
                        return
                case Began(node):
                    self._pods[node.name].began_at = time.time()
                    self._controller.nodes.begin(node)
                    return
                case Over(node, phase, text, outputs):
                    del self._pods[node.name]
                    self._kill_at.pop(node.name, None)
                    node.outputs = outputs
                    self._controller.nodes.end(node, phase, text)
                    return
                case _Wake():
                    self._look()
                    return

    def _next_look(self) -> float:
        moments = [self._looked_at + _LOOK, *self._kill_at.values()]
        moments += [each for each in (self._controller.wake_at, self._controller.deadline) if each is not None]
        moments += [pod.began_at + pod.seconds for pod in self._pods.values() if pod.began_at and pod.seconds]
        return min(moment for moment in moments if moment > self._looked_at)

    def _look(self) -> bool:
        """Look at the clock, and at what somebody may have asked for; true where the controller has to know."""
        now = self._looked_at = time.time()
        changed = self._controller.wake_at is not None and now >= self._controller.wake_at
        asked: Strategy | None = self._recorder.stop_asked()
        if self._interrupts:
            asked = "Terminate" if self._interrupts > 1 or asked == "Terminate" else "Stop"
        if asked and self._controller.shutdown != asked and self._controller.shutdown != "Terminate":
            self._controller.shutdown = asked
            changed = True
            self._machine.on_event(Stopping(f"Stopped with strategy '{asked}'"))
        if self._controller.late and not self._announced:
            self._announced = changed = True
            self._machine.on_event(Stopping("the run has passed its deadline"))
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
        """Take Ctrl-C and its kin as a wish to stop; the second one ends everything."""
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
        """Of all that decides what a pod does: its template, what it is given, and the image's lock."""
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
                "nodes": {node.id: node.to_json() for node in controller.nodes},
            }
        )


_DECIDING = ("image", "command", "args", "env", "volumeMounts")


def _task(node: Node) -> str:
    """The name of a node without the number of its attempt."""
    return re.sub(r"\(\d+\)$", "", node.name)


def _can_be_reused(node: Node) -> bool:
    # onExit answers the end of this attempt, so it is always run.
    return node.type == "Pod" and node.phase == "Succeeded" and not node.at_exit
