"""What the controller hands round: calls of templates, pods that are to be started, mutexes it asks for."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from lockgate.engine.controller.nodes import Nodes
from lockgate.engine.manifest.manifest import Json, Template, Workflow
from lockgate.engine.record import Node, Phase, Strategy, Type


class TemplateError(Exception):
    """A template that could not be executed: its node is in error, and whoever called it decides what follows."""


class Locks(Protocol):
    """The mutexes a workflow asks for."""

    def acquire(self, holder: str, names: Iterable[str]) -> bool:
        """Whether the holder has them now."""
        ...

    def release(self, holder: str) -> None:
        """Let go of what the holder has."""
        ...


@dataclass(frozen=True)
class Call:
    """A template to execute as a node."""

    node: str
    template: Template
    arguments: Json
    boundary: str = ""
    task: str = ""
    caller: str = "tasks"  # how a task is called in tags: `tasks.x` or `steps.x`
    at_exit: bool = False
    hooked: bool = False


@dataclass(frozen=True)
class PodStart:
    """A pod that is to be started: its node and its processed template."""

    node: Node
    template: Json
    captured: bool = False  # whether somebody reads what it writes to its output


class Core(Protocol):
    """What those who execute groups of tasks need of the controller."""

    workflow: Workflow
    nodes: Nodes
    shutdown: Strategy | None
    shared: dict[str, str | None]  # the tags of the whole run

    def execute(self, call: Call) -> Node | None:
        """Begin, continue or end a node; None where the workflow has no room for it yet.

        Errors: TemplateError.
        """
        ...

    def processed(self, node: str) -> Json:
        """The template of a node, with its arguments in it."""
        ...

    def add(self, call: Call, kind: Type, phase: Phase, name: str = "") -> Node:
        """A new node."""
        ...

    def ended(self, call: Call, phase: Phase, message: str) -> Node:
        """A node that ends without having run."""
        ...

    def called(self, around: Call, caller: Json) -> Template:
        """The template that a task, a step or a hook within a template names."""
        ...
