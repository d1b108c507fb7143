"""A dag as its template has it: who waits for whom, and what its phase is when its tasks have theirs."""

from collections.abc import Mapping
from dataclasses import dataclass

from lockgate.local.evaluation import depends_logic
from lockgate.local.manifest import Json, entries
from lockgate.local.record import Node, Phase


@dataclass(frozen=True)
class Dag:
    """The tasks of a processed dag template."""

    tasks: Mapping[str, Json]
    waits: Mapping[str, tuple[str, ...]]
    logic: Mapping[str, str]
    fail_fast: bool

    @classmethod
    def of(cls, template: Json) -> "Dag":
        """Read a template."""
        tasks = {task["name"]: task for task in entries(template, "dag", "tasks")}
        found = {name: depends_logic(task) for name, task in tasks.items()}
        return cls(
            tasks=tasks,
            waits={name: tuple(waits) for name, (waits, _) in found.items()},
            logic={name: logic for name, (_, logic) in found.items()},
            fail_fast=template["dag"].get("failFast", True) is not False,
        )

    @property
    def targets(self) -> list[str]:
        """The tasks nobody waits for, in the controller's order."""
        waited_for = {name for waits in self.waits.values() for name in waits}
        return sorted(set(self.tasks) - waited_for)

    def ancestors(self, task: str) -> list[str]:
        """Every task a task waits for, directly or not, nearest last."""
        found: dict[str, None] = {}

        def visit(name: str) -> None:
            for before in self.waits[name]:
                if before not in found:
                    visit(before)
                    found[before] = None

        visit(task)
        return list(found)

    def phase(self, nodes: Mapping[str, Node | None]) -> Phase:
        """The phase of the dag, from the nodes of its tasks.

        A task that was skipped or omitted passes on the phase of what it waited for, a failure before a success; with
        `failFast` a failed branch decides although another has not begun. Mirrors assessDAGPhase.
        """
        if any(each is not None and not each.fulfilled for each in nodes.values()):
            return "Running"
        branch: dict[str, Phase] = {}
        for name in [each for target in self.targets for each in [*self.ancestors(target), target]]:
            held = nodes[name]
            if held is None or name in branch:
                continue
            inherited = [branch[before] for before in self.waits[name] if before in branch]
            failed = [phase for phase in inherited if phase in ("Failed", "Error")]
            branch[name] = held.phase if held.completed else (failed[0] if failed else "Succeeded")
        result: Phase = "Succeeded"
        for target in self.targets:
            if target not in branch:
                result = "Running"
                if not self.fail_fast:
                    break
            elif branch[target] in ("Failed", "Error"):
                result = branch[target]
                if self.fail_fast:
                    break
        return result
