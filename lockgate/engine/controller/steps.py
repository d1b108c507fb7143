"""Execute steps templates, like executeSteps and executeStepGroup of the controller."""

from dataclasses import replace

from lockgate.engine.controller import items, processed
from lockgate.engine.controller.calls import Call, Core, TemplateError
from lockgate.engine.controller.hooks import Hooked, Hooks
from lockgate.engine.controller.items import ItemError
from lockgate.engine.controller.variables import Scope
from lockgate.engine.expressions import ExpressionError, TagError, continues, decide_when
from lockgate.engine.manifest import Json, groups_of, hooks_of
from lockgate.engine.record import Node


class Steps:
    """Executes the steps templates of a run."""

    def __init__(self, core: Core, hooks: Hooks) -> None:
        self._core = core
        self._hooks = hooks
        self._expanded: dict[str, list[Json]] = {}  # by the group's node: the steps to execute, with their arguments

    def execute(self, name: str, call: Call) -> Node:
        """Start or continue a steps template, one group after another.

        Errors: TemplateError, if its outputs cannot be resolved.
        """
        nodes = self._core.nodes
        node = nodes.get(name) or self._core.add(call, "Steps", "Pending", name)
        if node.phase == "Pending":
            nodes.begin(node)
        body = self._core.processed(name)
        scope = Scope.of(body)
        before: Node | None = None
        for index, steps in enumerate(groups_of(body)):
            group = nodes.get(f"{name}[{index}]") or self._add_group(call, name, index)
            nodes.connect(
                group.name, [each.name for each in nodes.children(before)] if before else [], (before or node).name
            )
            if not group.fulfilled:
                self._group(replace(call, node=name), group, steps, scope)
            if not group.fulfilled:
                return node
            nodes.end_with(name, [each.name for each in nodes.children(group)])
            if group.failed:
                nodes.end(node, "Failed", group.message)
                return node
            try:
                self._take(replace(call, node=name), group, steps, scope)
            except ItemError as error:
                raise self._error(node, error) from error
            before = group
        try:
            node.outputs = processed.outputs(body, scope)
        except TagError as error:
            raise self._error(node, error) from error
        nodes.end(node, "Succeeded", node.message)
        return node

    def _error(self, node: Node, error: Exception) -> TemplateError:
        self._core.nodes.end(node, "Error", str(error))
        return TemplateError(str(error))

    def _add_group(self, call: Call, name: str, index: int) -> Node:
        return self._core.nodes.add(f"{name}[{index}]", "StepGroup", "Running", "", name, at_exit=call.at_exit)

    def _group(self, around: Call, group: Node, steps: list[Json], scope: Scope) -> None:
        """Start or continue the steps of a group, which run in parallel."""
        nodes = self._core.nodes
        try:
            if group.name not in self._expanded:
                self._expanded[group.name] = self._begin(around, group, steps, scope)
            for each in self._expanded[group.name]:
                self._each(around, group, each)
        except (TagError, ExpressionError, ItemError) as error:
            nodes.end(group, "Error", str(error))
            return
        except TemplateError as error:
            nodes.end(group, "Error", f"step group deemed errored due to {error}")
            return
        steps_by_node = {f"{group.name}.{each['name']}": each for each in self._expanded[group.name]}
        ended = True
        for child in nodes.children(group):
            try:
                ended = self._hooked(around, steps_by_node.get(child.name, {}), child, scope) and ended
            except (TagError, ExpressionError) as error:
                nodes.end(group, "Error", str(error))
                return
            ended = ended and child.fulfilled
        if not ended:
            return
        bad = [each for each in nodes.children(group) if each.failed]
        failed = [each for each in bad if not continues(steps_by_node.get(each.name, {}), each.phase)]
        if failed:
            nodes.end(group, "Failed", f"child '{failed[0].id}' failed")
        else:
            nodes.end(group, "Succeeded", "")

    def _begin(self, around: Call, group: Node, steps: list[Json], scope: Scope) -> list[Json]:
        """Return the steps to execute for a group: each step, or one step for each of its items."""
        try:
            found = [processed.task(step, self._core.shared, scope) for step in steps]
        except (TagError, ExpressionError) as error:
            message = f"Failed to resolve references: {error}"
            raise TagError(message) from error
        made: list[Json] = []
        for step in found:
            if not items.looped(step):
                made.append(step)
                continue
            expanded = items.expand(step)
            if not expanded:
                self._skipped(around, group, step, "Skipped, empty params")
            made += expanded
        return made

    def _each(self, around: Call, group: Node, step: Json) -> None:
        core = self._core
        call = self._call(around, group, step)
        try:
            if step["when"] and not decide_when(step["when"]):
                if call.node not in core.nodes:
                    self._skipped(around, group, step, f"when '{step['when']}' evaluated false")
                return
            node = core.execute(call)
        except ExpressionError as error:
            core.ended(call, "Error", str(error))
            core.nodes.add_child(group, call.node)
            raise
        except TemplateError as error:
            core.nodes.add_child(group, call.node)
            message = f"child {call.node} error: {error}"
            raise TemplateError(message) from error
        if node is not None:
            core.nodes.add_child(group, call.node)

    def _skipped(self, around: Call, group: Node, step: Json, message: str) -> None:
        call = self._call(around, group, step)
        self._core.ended(call, "Skipped", message)
        self._core.nodes.add_child(group, call.node)

    def _call(self, around: Call, group: Node, step: Json) -> Call:
        template, name = self._core.called(around, step), f"{group.name}.{step['name']}"
        return Call(name, template, step["arguments"], around.node, step["name"], "steps", at_exit=around.at_exit)

    def _hooked(self, around: Call, step: Json, node: Node, scope: Scope) -> bool:
        """Execute the hooks of a step that are due; return whether none is running."""
        if not hooks_of(step):
            return True
        known = Scope(dict(scope.values), dict(scope.artifacts))
        known.take(f"steps.{step['name']}", self._core.nodes.outcome(node), self._core.called(around, step))
        hooked = Hooked(step, node, around, around.node, known)
        return self._hooks.passed(hooked) and (not node.completed or self._hooks.exited(hooked))

    def _take(self, around: Call, group: Node, steps: list[Json], scope: Scope) -> None:
        """Add the outputs of a group to the scope of the next groups."""
        nodes = self._core.nodes
        for step in steps:
            prefix, name = f"steps.{step['name']}", f"{group.name}.{step['name']}"
            node = nodes.get(name)
            if node is not None:
                scope.take(prefix, nodes.outcome(node), self._core.called(around, step))
                continue
            looped = [
                each for each in nodes.tried(group) if each.name.startswith(f"{name}(") and each.type != "Skipped"
            ]
            if looped:
                scope.values |= items.gathered(prefix, looped)
