"""What the controller hands round: calls of templates, pods that are to be started, mutexes it asks for."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from lockgate.local.manifest import Json, Template
from lockgate.local.record import Node


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
    at_exit: bool = False


@dataclass(frozen=True)
class PodStart:
    """A pod that is to be started: its node and its processed template."""

    node: Node
    template: Json
