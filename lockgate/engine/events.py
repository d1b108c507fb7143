"""The events of a run, in the order in which they happen."""

from dataclasses import dataclass
from typing import Any

from lockgate.engine.manifest import Note
from lockgate.engine.record import Node, Run


@dataclass(frozen=True)
class Preparing:
    """The environment of an image is being prepared before the first step."""

    what: str


@dataclass(frozen=True)
class RunStarted:
    """The record exists and the first node is about to start."""

    run: Run
    inert: tuple[Note, ...] = ()  # fields of the manifest without effect on this machine


@dataclass(frozen=True)
class NodeStarted:
    """A node started: a program runs, or a dag was entered."""

    node: Node


@dataclass(frozen=True)
class NodeFinished:
    """A node ended, or was skipped or omitted."""

    node: Node


@dataclass(frozen=True)
class LogLine:
    """A program wrote a line to stderr: its JSON object, or `{"text": line}`."""

    node: Node
    values: dict[str, Any]


@dataclass(frozen=True)
class Waiting:
    """A node, or the whole run, waits for a mutex or for a retry."""

    node: str
    message: str


@dataclass(frozen=True)
class Stopping:
    """The run is being stopped, or has exceeded its deadline."""

    why: str


@dataclass(frozen=True)
class RunFinished:
    """Every node, including onExit, has ended."""

    run: Run


Event = Preparing | RunStarted | NodeStarted | NodeFinished | LogLine | Waiting | Stopping | RunFinished
