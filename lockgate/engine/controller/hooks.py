"""Execute the lifecycle hooks of a task, a step or a workflow.

Like executeTmplLifeCycleHook, executeWfLifeCycleHook and runOnExitNode of the workflow controller.
"""

from dataclasses import dataclass
from typing import Any

from lockgate.engine.controller import processed
from lockgate.engine.controller.calls import Call, Core, TemplateError
from lockgate.engine.controller.variables import Scope
from lockgate.engine.expressions import decide, expand
from lockgate.engine.manifest import Json, hooks_of
from lockgate.engine.record import Node


@dataclass(frozen=True)
class Hooked:
    """A task, a step or a workflow that has hooks.

    holder: its part of the manifest. around: the call of the template that contains it. scope: what its hooks can read.
    """

    holder: Json
    node: Node
    around: Call
    boundary: str
    scope: Scope


class Hooks:
    """The hooks of a run."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def passed(self, hooked: Hooked) -> bool:
        """Execute the hooks that are due, except `exit`; return whether none is running.

        Errors: TagError, ExpressionError: the node of the hooks is in error.
        """
        ended = True
        for name, hook in hooks_of(hooked.holder).items():
            node = f"{hooked.node.name}.hooks.{name}"
            if name != "exit" and (node in self._core.nodes or self._due(hooked, hook)):
                ended = self._execute(hooked, hook, node, at_exit=hooked.around.at_exit) and ended
        return ended

    def exited(self, hooked: Hooked) -> bool:
        """Execute the hook `exit` of a completed node; return whether it has ended or there is none.

        Errors: TagError, ExpressionError: the node of the hook is in error.
        """
        shared = self._core.workflow.spec.get("arguments") or {}
        hook = hooks_of(hooked.holder, shared).get("exit")
        node = f"{hooked.node.name}.onExit"
        if hook is None or self._core.shutdown == "Terminate" or not self._due(hooked, hook):
            return True
        return self._execute(hooked, hook, node, at_exit=True)

    def _due(self, hooked: Hooked, hook: Json) -> bool:
        values: dict[str, Any] = expand({**self._core.shared, **hooked.scope.values})
        return not hook.get("expression") or decide(hook["expression"], values)

    def _execute(self, hooked: Hooked, hook: Json, name: str, *, at_exit: bool) -> bool:
        core = self._core
        given = processed.arguments(hook.get("arguments") or {}, core.shared, hooked.scope)
        template = core.called(hooked.around, hook)
        call = Call(name, template, given, hooked.boundary, caller="steps", at_exit=at_exit, hooked=True)
        try:
            node = core.execute(call)
        except TemplateError:
            node = core.nodes[name]  # in error, so it has ended
        core.nodes.add_child(hooked.node, name)
        return node is not None and node.fulfilled
