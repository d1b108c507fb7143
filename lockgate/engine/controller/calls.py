"""Types that the controller's modules share: calls of templates, pods to start, mutexes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from lockgate.engine.controller.nodes import Nodes
from lockgate.engine.manifest import Json, Template, Workflow
from lockgate.engine.record import Node, Phase, Strategy, Type


class TemplateError(Exception):
    """A template that could not be executed: its node is in error, and the caller decides what follows."""


class Locks(Protocol):
    """The mutexes that a workflow needs."""

    def acquire(self, holder: str, names: Iterable[str]) -> bool:
        """Return whether the holder has all of them now."""
        ...

    def release(self, holder: str) -> None:
        """Release the mutexes of the holder."""
        ...


@dataclass(frozen=True)
class Call:
    """A template to execute as a node."""

    node: str
    template: Template
    arguments: Json
    boundary: str = ""
    task: str = ""
    caller: str = "tasks"  # the prefix of the task in tags: `tasks.x` or `steps.x`
    at_exit: bool = False
    hooked: bool = False


@dataclass(frozen=True)
class PodStart:
    """A pod to start: its node and its processed template."""

    node: Node
    template: Json
    captured: bool = False  # whether its stdout is read as `outputs.result`


class Core(Protocol):
    """The part of the controller that the executors of dags, steps and hooks use."""

    workflow: Workflow
    nodes: Nodes
    shutdown: Strategy | None
    shared: dict[str, str | None]  # the tags that have a value in the whole run

    def execute(self, call: Call) -> Node | None:
        """Start, continue or end a node; None if the parallelism does not allow it yet.

        Errors: TemplateError.
        """
        ...

    def processed(self, node: str) -> Json:
        """Return the template of a node with its arguments substituted."""
        ...

    def add(self, call: Call, kind: Type, phase: Phase, name: str = "") -> Node:
        """Add a node."""
        ...

    def ended(self, call: Call, phase: Phase, message: str) -> Node:
        """Return a node that ends without having run."""
        ...

    def called(self, around: Call, caller: Json) -> Template:
        """Return the template that a task, a step or a hook within a template calls."""
        ...
