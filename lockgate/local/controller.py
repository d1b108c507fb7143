"""What the workflow controller does with a workflow: one pass after another over its nodes, until nothing changes.

A pass starts what can start and ends what has ended, as `operate`, `executeTemplate` and `executeDAG` of the workflow
controller (3.7.16, 4.0.7) do. It starts no process: it lists the pods that are to be started.
"""

import dataclasses
import time
from collections.abc import Callable, Iterable

from lockgate.local import processed, retries
from lockgate.local.calls import Call, Locks, PodStart
from lockgate.local.dag import Dag
from lockgate.local.evaluation import decide_depends, decide_when
from lockgate.local.events import Waiting
from lockgate.local.expressions import ExpressionError
from lockgate.local.manifest import Json, Template, Workflow, entries
from lockgate.local.nodes import Nodes
from lockgate.local.record import Node, Phase, Strategy, Type, rfc3339
from lockgate.local.retries import Again, Ended, Wait
from lockgate.local.tags import TagError, replace
from lockgate.local.variables import Identity, failures, globals_of, node_id, pod_name, task_scope


class Controller:
    """One workflow, its nodes, and the next pass over them."""

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
        self._globals = globals_of(workflow, identity)
        self._calls: dict[str, Call] = {}
        self._processed: dict[str, Json] = {}
        self._dags: dict[str, Dag] = {}
        self._started: set[str] = set()
        self._locked_out: set[str] = set()
        self._holding: set[str] = set()
        self._active = 0

    @property
    def deadline(self) -> float | None:
        """When the workflow has to be done, its onExit excepted."""
        seconds = self.workflow.spec.get("activeDeadlineSeconds")
        return None if seconds is None or self.started_at is None else self.started_at + int(seconds)

    @property
    def late(self) -> bool:
        """Whether the workflow has passed its deadline."""
        return self.deadline is not None and self._clock() > self.deadline

    def ending(self, *, at_exit: bool) -> str:
        """Why nothing may start or go on, or nothing; onExit may whatever happens, unless all is terminated."""
        if self.shutdown and not (at_exit and self.shutdown == "Stop"):
            return f"workflow shutdown with strategy: {self.shutdown}"
        return "Step exceeded its deadline" if self.late and not at_exit else ""

    def operate(self) -> None:
        """Make one pass: afterwards `starts`, `wake_at` and the nodes' news hold what it asks for."""
        self._pass()
        for name in [name for name in self._holding if self.nodes[name].fulfilled]:
            self._holding.discard(name)
            self._locks.release(name)

    def _pass(self) -> None:
        self.wake_at = None
        if self.finished_at is not None or not self._begun():
            return
        self._globals["workflow.status"] = self.phase
        self._globals["workflow.duration"] = f"{self._clock() - (self.started_at or 0):f}"
        pods = (node for node in self.nodes if node.type == "Pod" and not node.fulfilled)
        self._active = sum(node.name not in self._locked_out for node in pods)
        root = self._top(self.identity.name, "entrypoint")
        if root is None or not root.fulfilled:
            return
        phase: Phase = root.phase if root.failed else "Succeeded"
        message = f"Stopped with strategy '{self.shutdown}'" if root.failed and self.shutdown else root.message
        self._globals["workflow.status"] = phase
        self._globals["workflow.failures"] = failures(self.identity.name, self.nodes)
        name = f"{self.identity.name}.onExit"
        if self.workflow.spec.get("onExit") and (self.shutdown != "Terminate" or name in self.nodes):
            at_exit = self._top(name, "onExit")
            if at_exit is None or not at_exit.fulfilled:
                return
            if phase == "Succeeded" and at_exit.failed:
                phase, message = at_exit.phase, at_exit.message
        self.phase, self.message, self.finished_at = phase, message, self._clock()
        self._locks.release("")

    def _top(self, name: str, field: str) -> Node | None:
        spec = self.workflow.spec
        template = self.workflow.templates[self.workflow.document, spec[field]]
        return self._execute(Call(name, template, spec.get("arguments") or {}, at_exit=field == "onExit"))

    def _begun(self) -> bool:
        if self.started_at is not None:
            return True
        names = processed.mutexes(self.workflow.spec, self.workflow.namespace, self._globals)
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

    def _execute(self, call: Call) -> Node | None:
        """Begin, continue or end a node; None where the workflow has no room for it yet."""
        node = self.nodes.get(call.node)
        if node is not None and node.fulfilled:
            return node
        if node is not None and node.type == "Pod" and node.name not in self._locked_out:
            return node  # its process says when it has ended
        try:
            template = self._process(call)
        except (TagError, ExpressionError) as error:
            subject = f"task '{call.node}' errored" if call.task else "error in template execution"
            return self._ended(call, "Error", f"{subject}: {error}")
        if not self._has_room(call, node, template):
            return node
        names = processed.mutexes(template, self.workflow.namespace, self._globals)
        if names and not self._has_locks(call, names):
            return self.nodes[call.node]
        strategy = self._strategy(template)
        return self._retried(call, strategy) if strategy else self._run(call.node, call)

    def _process(self, call: Call) -> Json:
        if call.node not in self._processed:
            local: dict[str, str | None] = {"node.name": call.node}
            if call.task:
                local["tasks.name"] = call.task
            if not call.template.is_dag and not self._strategy(call.template.body):
                local["pod.name"] = pod_name(self.identity.name, call.node, call.template.name)
            body = processed.template(call.template.body, call.arguments, self._globals, local)
            self._processed[call.node] = body
        return self._processed[call.node]

    def _strategy(self, template: Json) -> Json | None:
        return template.get("retryStrategy") or self.workflow.spec.get("retryStrategy")

    def _has_locks(self, call: Call, names: list[str]) -> bool:
        """Whether the node has its mutexes; without them it is pending."""
        node = self.nodes.get(call.node)
        ending = self.ending(at_exit=call.at_exit) if node is None or call.node in self._locked_out else ""
        if not ending and self._locks.acquire(call.node, names):
            self._locked_out.discard(call.node)
            self._holding.add(call.node)
            return True
        node = node or self._add(call, "DAG" if call.template.is_dag else "Pod", "Pending")
        if ending:
            self._locked_out.discard(call.node)
            self._locks.release(call.node)
            self.nodes.end(node, "Failed", ending)
        else:
            self._locked_out.add(call.node)
            self.nodes.waits(node, _lock_message(names))
        return False

    def _has_room(self, call: Call, node: Node | None, template: Json) -> bool:
        """Whether the parallelism of the workflow and of the templates around lets a node go on: checkParallelism."""
        limit = self.workflow.spec.get("parallelism")
        if limit is not None and self._active >= int(limit):
            return False
        own = int(template.get("parallelism") or 0)
        if node is not None and own and self.nodes.count(call.node, "Pod") >= own:
            return False
        around = int(self._processed.get(call.boundary, {}).get("parallelism") or 0)
        begins = node is None or node.phase not in ("Pending", "Running")
        return not (begins and around and self.nodes.count(call.boundary, "Pod", "DAG") >= around)

    def _add(self, call: Call, kind: Type, phase: Phase, name: str = "") -> Node:
        return self.nodes.add(name or call.node, kind, phase, call.template.name, call.boundary, at_exit=call.at_exit)

    def _ended(self, call: Call, phase: Phase, message: str) -> Node:
        """A node that ends without having run."""
        node = self.nodes.get(call.node) or self._add(call, "Skipped", phase)
        self.nodes.end(node, phase, message)
        return node

    def _run(self, name: str, call: Call) -> Node:
        if call.template.is_dag:
            return self._dag(name, call)
        node = self.nodes.get(name) or self._add(call, "Pod", "Pending", name)
        if name not in self._started:
            ending = self.ending(at_exit=call.at_exit)
            if ending:
                self.nodes.end(node, "Failed", ending)
            else:
                self._started.add(name)
                self._active += 1
                self.starts.append(PodStart(node, self._processed[name]))
        return node

    def _retried(self, call: Call, strategy: Json) -> Node:
        node = self.nodes.get(call.node) or self._add(call, "Retry", "Running")
        node.type, node.phase = "Retry", "Running"  # while it waited for a mutex it was pending as what it tries
        while True:
            attempts = self.nodes.attempts(node)
            if attempts and not attempts[-1].fulfilled and not self._run(attempts[-1].name, call).fulfilled:
                return node
            match self._after(attempts, strategy):
                case Ended(phase, message):
                    node.outputs = dict(attempts[-1].outputs)
                    self.nodes.end(node, phase, message)
                    return node
                case Wait(until, message):
                    self.nodes.waits(node, message)
                    self.wake_at = min(until, self.wake_at or until)
                    return node
                case Again():
                    node.message = ""
            name = f"{call.node}({len(attempts)})"
            local = retries.next_variables(attempts)
            if not call.template.is_dag:
                local["pod.name"] = pod_name(self.identity.name, name, call.template.name)
            self._processed[name] = replace(self._processed[call.node], local)
            node.children.append(node_id(self.identity.name, name))
            if not self._run(name, call).fulfilled:
                return node

    def _after(self, attempts: list[Node], strategy: Json) -> Again | Wait | Ended:
        if not attempts:
            return Again()
        last = attempts[-1]
        if not last.failed:
            return Ended("Succeeded", "")
        if self.shutdown:
            return Ended(last.phase, f"Stopped with strategy '{self.shutdown}'")
        if self.deadline is not None and self.late:
            return Ended(last.phase, f"retry exceeded workflow deadline {rfc3339(self.deadline)}")
        try:
            return retries.after(attempts, strategy, self._clock())
        except (ExpressionError, ValueError) as error:
            return Ended("Error", str(error))

    def _dag(self, name: str, call: Call) -> Node:
        node = self.nodes.get(name) or self._add(call, "DAG", "Pending", name)
        if node.phase == "Pending":
            self.nodes.begin(node)
        if name not in self._dags:
            self._dags[name] = Dag.of(self._processed[name])
        dag = self._dags[name]
        seen: set[str] = set()
        for target in dag.targets:
            self._task(dag, name, call, target, seen)
        tasks = {task: self.nodes.get(f"{name}.{task}") for task in dag.tasks}
        phase = dag.phase(tasks)
        if self.shutdown and not call.at_exit and all(each is None or each.fulfilled for each in tasks.values()):
            phase = "Failed"
        if phase in ("Failed", "Error"):
            self.nodes.end(node, phase, "")
        elif phase == "Succeeded":
            values, artifacts = self._scope(dag, name, call, dag.tasks)
            try:
                node.outputs = processed.dag_outputs(self._processed[name], values, artifacts)
                self.nodes.end(node, "Succeeded", "")
            except TagError as error:
                self.nodes.end(node, "Error", str(error))
        return node

    def _task(self, dag: Dag, boundary: str, around: Call, task: str, seen: set[str]) -> None:
        """Begin or continue a task, after those it waits for: executeDAGTask."""
        name = f"{boundary}.{task}"
        if task in seen or (name in self.nodes and self.nodes[name].fulfilled):
            return
        seen.add(task)
        for before in dag.waits[task]:
            self._task(dag, boundary, around, before, seen)
        fresh = name not in self.nodes
        if name not in self._calls:
            awaited = [self.nodes.get(f"{boundary}.{each}") for each in dag.waits[task]]
            if any(node is None or not node.fulfilled for node in awaited):
                return
            self._begin(dag, boundary, around, task)
        if name in self._calls:
            self._execute(self._calls[name])
        if fresh and name in self.nodes:
            self.nodes.connect(boundary, name, list(dag.waits[task]), self._ends)

    def _begin(self, dag: Dag, boundary: str, around: Call, task: str) -> None:
        """Find what a task calls with which arguments, or end its node without running it."""
        body = dag.tasks[task]
        template = self._called(around, body)
        call = Call(f"{boundary}.{task}", template, {}, boundary, task, around.at_exit)
        try:
            phases = {each: self.nodes[f"{boundary}.{each}"].phase for each in dag.waits[task]}
            if dag.logic[task] and not decide_depends(dag.logic[task], phases):
                self._ended(call, "Omitted", "omitted: depends condition not met")
                return
            values, artifacts = self._scope(dag, boundary, around, dag.ancestors(task))
            values = {**self._globals, **values}
            when = replace(body.get("when") or "", values, strict=processed.LATE)
            if when and not decide_when(when):
                self._ended(call, "Skipped", f"when '{when}' evaluated false")
                return
            given = processed.arguments(body.get("arguments") or {}, values, artifacts)
        except (TagError, ExpressionError) as error:
            self._ended(call, "Error", str(error))
            return
        self._calls[call.node] = dataclasses.replace(call, arguments=given)

    def _called(self, around: Call, task: Json) -> Template:
        away = task.get("templateRef")
        key = (away["name"], away["template"]) if away else (around.template.document, task["template"])
        return self.workflow.templates[key]

    def _ends(self, name: str) -> list[str]:
        return self._dags[name].targets if name in self._dags else []

    def _scope(
        self, dag: Dag, boundary: str, around: Call, tasks: Iterable[str]
    ) -> tuple[dict[str, str | None], dict[str, Json]]:
        """What these tasks gave, and what the dag itself was given."""
        inputs = self._processed[boundary]
        values: dict[str, str | None] = {
            f"inputs.parameters.{each['name']}": each["value"] for each in entries(inputs, "inputs", "parameters")
        }
        artifacts = {
            f"inputs.artifacts.{each['name']}": each
            for each in entries(inputs, "inputs", "artifacts")
            if "local" in each or "raw" in each
        }
        for task in tasks:
            node = self.nodes.get(f"{boundary}.{task}")
            if node is not None:
                source = (self.nodes.attempts(node) or [node])[-1]
                texts, files = task_scope(task, source, self._called(around, dag.tasks[task]))
                values |= texts
                artifacts |= files
        return values, artifacts


def _lock_message(names: list[str]) -> str:
    return f"Waiting for {names[0]} lock. Lock status: 0/1"
