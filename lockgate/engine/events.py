"""What happens in a run, as it happens."""

from dataclasses import dataclass
from typing import Any

from lockgate.engine.manifest.plan import Note
from lockgate.engine.record import Node, Run


@dataclass(frozen=True)
class Preparing:
    """An image's environment is made ready before the first step."""

    what: str


@dataclass(frozen=True)
class RunStarted:
    """The record exists and the first node is about to start."""

    run: Run
    inert: tuple[Note, ...] = ()  # what of the manifest has no meaning here


@dataclass(frozen=True)
class NodeStarted:
    """A node began: a program was started, or a dag entered."""

    node: Node


@dataclass(frozen=True)
class NodeFinished:
    """A node ended, or was skipped or omitted."""

    node: Node


@dataclass(frozen=True)
class LogLine:
    """A line a program wrote to stderr: its JSON object, or `{"text": line}`."""

    node: Node
    values: dict[str, Any]


@dataclass(frozen=True)
class Waiting:
    """A node, or the whole run, waits for a mutex that another holds, or for a retry."""

    node: str
    message: str


@dataclass(frozen=True)
class Stopping:
    """The run is being stopped, or has passed its deadline."""

    why: str


@dataclass(frozen=True)
class RunFinished:
    """Every node, onExit included, has ended."""

    run: Run


Event = Preparing | RunStarted | NodeStarted | NodeFinished | LogLine | Waiting | Stopping | RunFinished
