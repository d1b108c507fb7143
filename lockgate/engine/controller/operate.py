"""Operate a workflow as the workflow controller does: repeated passes over its nodes until it has ended.

A pass starts the nodes that can start and ends those that have ended, like `operate` and `executeTemplate` of the
workflow controller. It does not start processes: it lists the pods to start.
"""

import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NoReturn

from lockgate.engine.controller import processed, retries
from lockgate.engine.controller.calls import Call, Locks, PodStart, TemplateError
from lockgate.engine.controller.hooks import Hooked, Hooks
from lockgate.engine.controller.nodes import Nodes
from lockgate.engine.controller.retries import Again, Ended, Wait
from lockgate.engine.controller.steps import Steps
from lockgate.engine.controller.tasks import Tasks
from lockgate.engine.controller.variables import Identity, Scope, failures, globals_of, node_id, pod_name
from lockgate.engine.events import Waiting
from lockgate.engine.expressions import ExpressionError, TagError, replace
from lockgate.engine.manifest import Json, Template, Workflow, hooks_of, text
from lockgate.engine.record import Node, Phase, Strategy, Type

_TYPES: dict[str, Type] = {"container": "Pod", "dag": "DAG", "steps": "Steps", "suspend": "Suspend"}


class Controller:
    """One workflow and its nodes; `operate` makes a pass over them."""

    def __init__(
        self, workflow: Workflow, identity: Identity, locks: Locks, clock: Callable[[], float] = time.time
    ) -> None:
        self.workflow = workflow
        self.identity = identity
        self.phase: Phase = "Pending"
        self.message = ""
        self.started_at: float | None = None
        self.finished_at: float | None = None
        self.shutdown: Strategy | None = None
        self.nodes = Nodes(identity.name, clock)
        self.starts: list[PodStart] = []
        self.wake_at: float | None = None
        self._locks = locks
        self._clock = clock
        self.shared = globals_of(workflow, identity)
        self._entry, self._exit = self._calls(workflow)
        self._hooks = Hooks(self)
        self._tasks = Tasks(self, self._hooks)
        self._steps = Steps(self, self._hooks)
        self._processed: dict[str, Json] = {}
        self._started: set[str] = set()
        self._locked_out: set[str] = set()
        self._holding: set[str] = set()
        self._active = 0

    def _calls(self, workflow: Workflow) -> tuple[Call, Call | None]:
        """Return the calls of the entrypoint and of onExit."""
        spec, shared = workflow.spec, workflow.spec.get("arguments") or {}
        entry = Call(
            self.identity.name, workflow.templates[workflow.document, spec["entrypoint"]], shared, caller="steps"
        )
        hook = hooks_of(spec, shared).get("exit")
        if hook is None:
            return entry, None
        name, template = f"{entry.node}.onExit", self.called(entry, hook)
        return entry, Call(name, template, hook["arguments"], caller="steps", at_exit=True, hooked=True)

    @property
    def deadline(self) -> float | None:
        """The time by which the workflow must have ended, except its onExit."""
        seconds = self.workflow.spec.get("activeDeadlineSeconds")
        return None if seconds is None or self.started_at is None else self.started_at + int(seconds)

    @property
    def late(self) -> bool:
        """Whether the workflow has exceeded its deadline."""
        return self.deadline is not None and self._clock() > self.deadline

    def ending(self, *, at_exit: bool, begun: bool = False) -> str:
        """Return why no node may start or continue, or an empty string; only Terminate stops onExit too."""
        if self.shutdown and not (at_exit and self.shutdown == "Stop"):
            # For a node that has started, the controller's message has two spaces.
            return f"workflow shutdown with strategy:{'  ' if begun else ' '}{self.shutdown}"
        return "Step exceeded its deadline" if self.late and not at_exit else ""

    def operate(self) -> None:
        """Make one pass; it fills `starts`, `wake_at` and the nodes' news."""
        self._pass()
        for name in [name for name in self._holding if self.nodes[name].fulfilled]:
            self._holding.discard(name)
            self._locks.release(name)

    def _pass(self) -> None:
        self.wake_at = None
        if self.finished_at is not None or not self._begun():
            return
        self.shared["workflow.status"] = self.phase
        self.shared["workflow.duration"] = f"{self._clock() - (self.started_at or 0):f}"
        pods = (node for node in self.nodes if node.type == "Pod" and not node.fulfilled)
        self._active = sum(node.name not in self._locked_out for node in pods)
        self._end_suspended()
        try:
            root = self.execute(self._entry)
        except TemplateError as error:
            return self._finish("Error", f"error in entry template execution: {error}")
        if root is None:
            return
        phase: Phase = "Succeeded" if root.fulfilled and not root.failed else root.phase
        self.shared["workflow.status"] = phase
        self.shared["workflow.failures"] = failures(self.identity.name, self.nodes)
        if not self._hooked(root) or not root.fulfilled:
            return
        message = f"Stopped with strategy '{self.shutdown}'" if root.failed and self.shutdown else root.message
        if self._exit is not None and (self.shutdown != "Terminate" or self._exit.node in self.nodes):
            try:
                at_exit = self.execute(self._exit)
            except TemplateError as error:
                return self._finish("Error", f"error in exit template execution : {error}")
            if at_exit is None or not at_exit.fulfilled:
                return
            if phase == "Succeeded" and at_exit.failed:
                phase, message = at_exit.phase, at_exit.message
        self._finish(phase, message)

    def _finish(self, phase: Phase, message: str) -> None:
        self.phase, self.message, self.finished_at = phase, message, self._clock()
        self._locks.release("")

    def _hooked(self, root: Node) -> bool:
        """Execute the workflow's hooks that are due; return whether none is running."""
        try:
            return self._hooks.passed(Hooked(self.workflow.spec, root, self._entry, "", Scope({}, {})))
        except (TagError, ExpressionError) as error:
            self.nodes.end(root, "Error", str(error))
            return False

    def _begun(self) -> bool:
        if self.started_at is not None:
            return True
        names = processed.mutexes(self.workflow.spec, self.workflow.namespace, self.shared)
        if self.shutdown:
            self.phase, self.message = "Failed", f"Stopped with strategy '{self.shutdown}'"
            self.started_at = self.finished_at = self._clock()
            return False
        if names and not self._locks.acquire("", names):
            if not self.message:
                self.message = _lock_message(names)
                self.nodes.news.append(Waiting(self.identity.name, self.message))
            return False
        self.phase, self.message, self.started_at = "Running", "", self._clock()
        return True

    def execute(self, call: Call) -> Node | None:
        """Start, continue or end a node; None if the parallelism does not allow it yet.

        Errors: TemplateError.
        """
        node = self.nodes.get(call.node)
        if node is not None and node.fulfilled:
            return node
        if node is not None and node.type == "Pod" and node.name not in self._locked_out:
            return node  # its process reports its end
        try:
            template = self._process(call)
        except (TagError, ExpressionError) as error:
            self._wrong(call, error)
        if not self._has_room(call, node, template):
            return node
        names = processed.mutexes(template, self.workflow.namespace, self.shared)
        if names and not self._has_locks(call, names):
            return self.nodes[call.node]
        strategy = self._strategy(template)
        return self._retried(call, strategy) if strategy else self._run(call.node, call)

    def _process(self, call: Call) -> Json:
        if call.node not in self._processed:
            local: dict[str, str | None] = {"node.name": call.node, f"{call.caller}.name": call.task}
            if call.template.is_pod and not self._strategy(call.template.body):
                local["pod.name"] = pod_name(self.identity.name, call.node, call.template.name)
            body = processed.template(call.template.body, call.arguments, self.shared, local)
            self._processed[call.node] = body
        return self._processed[call.node]

    def _strategy(self, template: Json) -> Json | None:
        return template.get("retryStrategy") or self.workflow.spec.get("retryStrategy")

    def _has_locks(self, call: Call, names: list[str]) -> bool:
        """Return whether the node has its mutexes; without them it is pending."""
        node = self.nodes.get(call.node)
        ending = self.ending(at_exit=call.at_exit) if node is None or call.node in self._locked_out else ""
        if not ending and self._locks.acquire(call.node, names):
            self._locked_out.discard(call.node)
            self._holding.add(call.node)
            return True
        node = node or self.add(call, _TYPES[call.template.kind], "Pending")
        if ending:
            self._locked_out.discard(call.node)
            self._locks.release(call.node)
            self.nodes.end(node, "Failed", ending)
        else:
            self._locked_out.add(call.node)
            self.nodes.waits(node, _lock_message(names))
        return False

    def _has_room(self, call: Call, node: Node | None, template: Json) -> bool:
        """Return whether the parallelism of workflow and templates lets a node run, like checkParallelism."""
        limit = self.workflow.spec.get("parallelism")
        if limit is not None and self._active >= int(limit):
            return False
        own = int(template.get("parallelism") or 0)
        if node is not None and own and self.nodes.count(call.node, "Pod") >= own:
            return False
        around = int(self._processed.get(call.boundary, {}).get("parallelism") or 0)
        begins = node is None or node.phase not in ("Pending", "Running")
        return not (begins and around and self.nodes.count(call.boundary, "Pod", "DAG", "Steps") >= around)

    def add(self, call: Call, kind: Type, phase: Phase, name: str = "") -> Node:
        """Add a node."""
        name = name or call.node
        node = self.nodes.add(
            name, kind, phase, call.template.name, call.boundary, at_exit=call.at_exit, hooked=call.hooked
        )
        if name in self._processed:
            node.inputs = processed.shown_inputs(self._processed[name])
        return node

    def ended(self, call: Call, phase: Phase, message: str) -> Node:
        """Return a node that ends without having run."""
        node = self.nodes.get(call.node) or self.add(call, "Skipped", phase)
        self.nodes.end(node, phase, message)
        return node

    def _wrong(self, call: Call, error: Exception) -> NoReturn:
        self.ended(call, "Error", str(error))
        raise TemplateError(str(error)) from error

    def processed(self, node: str) -> Json:
        """Return the template of a node with its arguments substituted."""
        return self._processed[node]

    def called(self, around: Call, caller: Json) -> Template:
        """Return the template that a task, a step or a hook within a template calls."""
        away = caller.get("templateRef")
        key = (away["name"], away["template"]) if away else (around.template.document, caller["template"])
        return self.workflow.templates[key]

    def _run(self, name: str, call: Call) -> Node:
        match call.template.kind:
            case "dag":
                return self._tasks.execute(name, call)
            case "steps":
                return self._steps.execute(name, call)
            case "suspend":
                return self._suspend(name, call)
        node = self.nodes.get(name) or self.add(call, "Pod", "Pending", name)
        if name not in self._started:
            ending = self.ending(at_exit=call.at_exit)
            if ending:
                self.nodes.end(node, "Failed", ending)
            else:
                self._started.add(name)
                self._active += 1
                self.starts.append(PodStart(node, self._processed[name], self._captured(call)))
        return node

    def _captured(self, call: Call) -> bool:
        """Return whether the template around a pod reads its stdout: includeScriptOutput of the controller."""
        task = re.escape(call.task.partition("(")[0])
        read = rf"{call.caller}(\.{task}|\[\\?['\"]{task}\\?['\"]\])\.outputs\.result"
        return bool(re.search(read, json.dumps(self._processed.get(call.boundary))))

    def _retried(self, call: Call, strategy: Json) -> Node:
        node = self.nodes.get(call.node) or self.add(call, "Retry", "Running")
        node.type, node.phase = (
            "Retry",
            "Running",
        )  # while it waited for a mutex, it was pending with the type of its attempts
        while True:
            attempts = self.nodes.tried(node)
            if attempts and not attempts[-1].fulfilled and not self._tried(node, attempts[-1].name, call, strategy):
                return node
            match self._after(attempts, strategy):
                case Ended(phase, message):
                    node.outputs = dict(attempts[-1].outputs)
                    self.nodes.end(node, phase, message)
                    return node
                case Wait(until, message):
                    self.nodes.waits(node, message)
                    self._wake(until)
                    return node
                case Again():
                    node.message = ""
            name = f"{call.node}({len(attempts)})"
            local = retries.next_variables(attempts)
            if call.template.is_pod:
                local["pod.name"] = pod_name(self.identity.name, name, call.template.name)
            self._processed[name] = replace(self._processed[call.node], local)
            node.children.append(node_id(self.identity.name, name))
            if not self._tried(node, name, call, strategy):
                return node

    def _tried(self, node: Node, name: str, call: Call, strategy: Json) -> bool:
        """Start or continue an attempt; return whether it has ended."""
        try:
            return self._run(name, call).fulfilled
        except TemplateError as error:
            if retries.policy(strategy) in ("Always", "OnError"):
                return True
            self.nodes.end(node, "Error", str(error))
            raise

    def _after(self, attempts: list[Node], strategy: Json) -> Again | Wait | Ended:
        if not attempts:
            return Again()
        last = attempts[-1]
        if not last.failed:
            return Ended("Succeeded", "")
        if self.shutdown:
            return Ended(last.phase, f"Stopped with strategy '{self.shutdown}'")
        if self.deadline is not None and self.late:
            deadline = datetime.fromtimestamp(self.deadline, UTC)
            return Ended(last.phase, f"retry exceeded workflow deadline {deadline:%Y-%m-%d %H:%M:%S} +0000 UTC")
        try:
            return retries.after(attempts, strategy, self._clock())
        except (ExpressionError, ValueError) as error:
            return Ended("Error", str(error))

    def _suspend(self, name: str, call: Call) -> Node:
        node = self.nodes.get(name) or self.add(call, "Suspend", "Pending", name)
        if node.phase == "Pending":
            self.nodes.begin(node)
            self._end_suspended()
            if node.fulfilled:
                return node
        try:
            until = (node.started_at or 0) + retries.duration(text(self._processed[name]["suspend"]["duration"]))
        except ValueError as error:
            return self._wrong(call, error)
        if self._clock() > until:
            self.nodes.end(node, "Succeeded", node.message)
        else:
            self._wake(until)
        return node

    def _wake(self, moment: float) -> None:
        self.wake_at = min(moment, self.wake_at or moment)

    def _end_suspended(self) -> None:
        """End the suspended nodes if the workflow is being stopped or is late."""
        for node in self.nodes:
            if node.type == "Suspend" and node.phase == "Running":
                if self.shutdown and not (node.at_exit and self.shutdown == "Stop"):
                    self.nodes.end(node, "Failed", f"Stopped with strategy '{self.shutdown}'")
                elif self.late and not node.at_exit:
                    self.nodes.end(node, "Failed", "Step exceeded its deadline")


def _lock_message(names: list[str]) -> str:
    return f"Waiting for {names[0]} lock. Lock status: 0/1"
