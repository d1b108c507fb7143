"""The tasks of a dag template: their dependencies, and the phase of the dag from the phases of its tasks."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from lockgate.engine.controller.nodes import Nodes
from lockgate.engine.expressions import continues, depends_logic
from lockgate.engine.manifest import Json, entries
from lockgate.engine.record import Node, Phase


@dataclass(frozen=True)
class Dag:
    """The tasks of a processed dag template."""

    tasks: Mapping[str, Json]
    waits: Mapping[str, tuple[str, ...]]
    logic: Mapping[str, str]
    fail_fast: bool

    @classmethod
    def of(cls, template: Json) -> "Dag":
        """Read a dag template."""
        tasks = {task["name"]: task for task in entries(template, "dag", "tasks")}
        found = {name: depends_logic(task, tasks) for name, task in tasks.items()}
        return cls(
            tasks=tasks,
            waits={name: tuple(waits) for name, (waits, _) in found.items()},
            logic={name: logic for name, (_, logic) in found.items()},
            fail_fast=template["dag"].get("failFast", True) is not False,
        )

    @property
    def targets(self) -> list[str]:
        """The tasks without dependents, in the controller's order."""
        waited_for = {name for waits in self.waits.values() for name in waits}
        return sorted(set(self.tasks) - waited_for)

    def ancestors(self, task: str) -> list[str]:
        """Return every task that a task depends on, directly or not, nearest last."""
        found: dict[str, None] = {}

        def visit(name: str) -> None:
            for before in self.waits[name]:
                if before not in found:
                    visit(before)
                    found[before] = None

        visit(task)
        return list(found)

    def phase(self, boundary: Node, nodes: Nodes) -> Phase:
        """Return the phase of the dag from the nodes below its own: assessDAGPhase of the controller.

        A task that was skipped or omitted has the phase of its dependencies, a failure before a success; with
        `failFast` a failed branch decides although another has not started.
        """
        ends: dict[str, Phase | None] = {f"{boundary.name}.{task}": None for task in self.targets}
        seen: set[tuple[str, Phase]] = set()
        ahead: deque[tuple[str, Phase]] = deque((child, "Succeeded") for child in boundary.children)
        while ahead:
            child, branch = ahead.popleft()
            node = nodes.by_id(child)
            if node is None or not node.fulfilled:
                return "Running"
            if (child, branch) in seen:
                continue
            seen.add((child, branch))
            branch = node.phase if node.completed else branch
            if node.name in ends and ends[node.name] not in ("Failed", "Error"):
                ends[node.name] = branch
            ahead.extend((each, branch) for each in _below(node, nodes))
        result: Phase = "Succeeded"
        for target in self.targets:
            end = ends[f"{boundary.name}.{target}"]
            if end is None:
                result = "Running"
                if not self.fail_fast:
                    break
            elif end in ("Failed", "Error") and not continues(self.tasks[target], end):
                result = end
                if self.fail_fast:
                    break
        return result


def _below(node: Node, nodes: Nodes) -> list[str]:
    """Return the next nodes of the walk, without the attempts of a retry node: its phase is that of the last."""
    if node.type != "Retry":
        return node.children
    tried = reversed(nodes.children(node))
    return [each for child in tried for each in ([child.id] if child.hooked else child.children)]
