"""Execute dag templates, like executeDAG and executeDAGTask of the controller."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from lockgate.engine.controller import items, processed
from lockgate.engine.controller.calls import Call, Core, TemplateError
from lockgate.engine.controller.dag import Dag
from lockgate.engine.controller.hooks import Hooked, Hooks
from lockgate.engine.controller.items import ItemError
from lockgate.engine.controller.variables import Scope
from lockgate.engine.expressions import ExpressionError, TagError, decide_depends, decide_when
from lockgate.engine.manifest import Json, hooks_of
from lockgate.engine.record import Node


@dataclass
class _Dag:
    """A dag in execution: its node's name, its tasks, its call, and the tasks that this pass has visited."""

    name: str
    dag: Dag
    call: Call
    seen: set[str] = field(default_factory=set)

    def node(self, task: str) -> str:
        return f"{self.name}.{task}"


class Tasks:
    """Executes the dag templates of a run."""

    def __init__(self, core: Core, hooks: Hooks) -> None:
        self._core = core
        self._hooks = hooks
        self._dags: dict[str, Dag] = {}
        self._expanded: dict[str, list[Json]] = {}  # by the task's node: the tasks to execute, with their arguments

    def execute(self, name: str, call: Call) -> Node:
        """Start or continue a dag.

        Errors: TemplateError, if its outputs cannot be resolved.
        """
        nodes = self._core.nodes
        node = nodes.get(name) or self._core.add(call, "DAG", "Pending", name)
        if node.phase == "Pending":
            nodes.begin(node)
        dag = self._dags.setdefault(name, Dag.of(self._core.processed(name)))
        here = _Dag(name, dag, call)
        exited = True
        for target in dag.targets:
            self._task(here, target)
            held = nodes.get(here.node(target))
            try:
                self._scope(here, dag.ancestors(target) if held is not None else ())
            except ItemError as error:
                raise self._error(node, error) from error
            if held is not None and self._passed(here, target, held) and held.completed:
                exited = self._exited(here, target, held) and exited
        ended = "Failed" if self._stopped(here, exited) else dag.phase(node, nodes)
        if ended == "Running":
            return node
        nodes.end_with(name, map(here.node, dag.targets))
        if ended == "Succeeded":
            try:
                node.outputs = processed.outputs(self._core.processed(name), self._scope(here, dag.tasks))
            except (TagError, ItemError) as error:
                raise self._error(node, error) from error
        nodes.end(node, ended, node.message)
        return node

    def _error(self, node: Node, error: Exception) -> TemplateError:
        self._core.nodes.end(node, "Error", str(error))
        return TemplateError(str(error))

    def _stopped(self, here: _Dag, exited: bool) -> bool:
        begun = (self._core.nodes.get(here.node(task)) for task in here.dag.tasks)
        ended = all(node is None or node.fulfilled for node in begun)
        return bool(self._core.shutdown) and not here.call.at_exit and exited and ended

    def _task(self, here: _Dag, task: str) -> None:
        """Start or continue a task, after those it depends on."""
        if task in here.seen:
            return
        here.seen.add(task)
        name, nodes = here.node(task), self._core.nodes
        node = nodes.get(name)
        if node is not None and (node.fulfilled or node.phase == "Running") and not self._passed(here, task, node):
            return
        if node is not None and node.fulfilled:
            if node.completed:
                self._exited(here, task, node)
            return
        for before in here.dag.waits[task]:
            self._task(here, before)
        if name not in self._expanded and self._ready(here, task):
            self._expanded[name] = self._begin(here, task)
        for each in self._expanded.get(name, []):
            if not self._each(here, task, each):
                return
        group = nodes.get(name)
        if group is not None and group.type == "TaskGroup":
            made = [nodes.get(here.node(each["name"])) for each in self._expanded[name]]
            phases = [each.phase for each in made if each is not None and each.fulfilled]
            if len(phases) == len(made):
                failed = [phase for phase in phases if phase in ("Failed", "Error")]
                nodes.end(group, failed[-1] if failed else "Succeeded", "")

    def _ready(self, here: _Dag, task: str) -> bool:
        """Return whether all dependencies of a task have ended, including hooks; a run being stopped starts no task."""
        if self._core.shutdown and not here.call.at_exit:
            return False
        awaited = [self._core.nodes.get(here.node(before)) for before in here.dag.waits[task]]
        return all(node is not None and node.fulfilled and self._core.nodes.hooks_ended(node) for node in awaited)

    def _begin(self, here: _Dag, task: str) -> list[Json]:
        """Return the tasks to execute for a task: the task, one for each of its items, or none."""
        core, body, dag = self._core, here.dag.tasks[task], here.dag
        call = self._call(here, task)
        try:
            if dag.logic[task] and not decide_depends(dag.logic[task], *self._phases(here, task)):
                core.ended(call, "Omitted", "omitted: depends condition not met")
                self._connect(here, task, call.node)
                return []
            found = processed.task(body, core.shared, self._scope(here, dag.ancestors(task)))
            made = items.expand(found) if items.looped(body) else [found]
        except (TagError, ExpressionError, ItemError) as error:
            core.ended(call, "Error", str(error))
            self._connect(here, task, call.node)
            return []
        if items.looped(body):
            if made:
                core.add(call, "TaskGroup", "Running")
            else:
                core.ended(call, "Skipped", "Skipped, empty params")
            self._connect(here, task, call.node)
        return made

    def _each(self, here: _Dag, task: str, each: Json) -> bool:
        """Execute a task, or the task of one item; return whether the others may go on."""
        core = self._core
        call = replace(
            self._call(here, each["name"]), template=core.called(here.call, each), arguments=each["arguments"]
        )
        fresh = call.node not in core.nodes
        try:
            if fresh and each["when"] and not decide_when(each["when"]):
                node: Node | None = core.ended(call, "Skipped", f"when '{each['when']}' evaluated false")
            else:
                node = core.execute(call)
        except ExpressionError as error:
            node = core.ended(call, "Error", str(error))
        except TemplateError as error:
            node = core.nodes[call.node]
            core.nodes.end(node, "Error", f"task '{call.node}' errored: {error}")
        if node is None:
            return False
        if fresh:  # nodes that a parent's hooks add later are not parents of this one
            self._connect(here, task, call.node)
        return not node.completed or self._exited(here, task, node)

    def _call(self, here: _Dag, name: str) -> Call:
        body = here.dag.tasks[name.partition("(")[0]]
        template = self._core.called(here.call, body)
        return Call(here.node(name), template, {}, here.name, name, at_exit=here.call.at_exit)

    def _connect(self, here: _Dag, task: str, node: str) -> None:
        group = here.node(task)
        if node != group:
            self._core.nodes.connect(node, [], group)
        else:
            self._core.nodes.connect(node, map(here.node, here.dag.waits[task]), here.name)

    def _phases(self, here: _Dag, task: str) -> tuple[dict[str, str], dict[str, list[str]]]:
        """Return the phases of the dependencies of a task, and of their items."""
        nodes = self._core.nodes
        awaited = {before: nodes[here.node(before)] for before in here.dag.waits[task]}
        return (
            {before: node.phase for before, node in awaited.items()},
            {
                before: [child.phase for child in nodes.children(node)]
                for before, node in awaited.items()
                if node.type == "TaskGroup"
            },
        )

    def _passed(self, here: _Dag, task: str, node: Node) -> bool:
        return self._hooked(here, task, node, self._hooks.passed)

    def _exited(self, here: _Dag, task: str, node: Node) -> bool:
        return self._hooked(here, task, node, self._hooks.exited)

    def _hooked(self, here: _Dag, task: str, node: Node, run: Callable[[Hooked], bool]) -> bool:
        body = here.dag.tasks[task]
        if not hooks_of(body):
            return True
        core = self._core
        scope = self._scope(here, here.dag.ancestors(task))
        scope.take(f"tasks.{task}", core.nodes.outcome(node), core.called(here.call, body))
        try:
            return run(Hooked(body, node, here.call, here.name, scope))
        except (TagError, ExpressionError) as error:
            core.nodes.end(node, "Error", str(error))
            return False

    def _scope(self, here: _Dag, tasks: Iterable[str]) -> Scope:
        """Return the scope with the outputs of these tasks and the inputs of the dag."""
        core = self._core
        scope = Scope.of(core.processed(here.name))
        for task in tasks:
            node = core.nodes.get(here.node(task))
            if node is not None and node.type == "TaskGroup":
                scope.values |= items.gathered(f"tasks.{task}", core.nodes.tried(node))
            elif node is not None:
                scope.take(f"tasks.{task}", core.nodes.outcome(node), core.called(here.call, here.dag.tasks[task]))
        return scope
